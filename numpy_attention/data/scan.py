"""SCAN: simplified commands and the actions that they mean, 20,910 commands of one grammar.

    C = S | S and S | S after S
    S = V | V twice | V thrice
    V = D | U opposite left|right | turn opposite left|right | U around left|right | turn around left|right
    D = U | U left|right | turn left|right
    U = walk | look | run | jump

References
----------
Lake and Baroni (2018), "Generalization without systematicity: on the compositional skills of sequence-to-sequence
recurrent networks".
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from .._checks import check_choice, check_size
from .corpus import Corpus
from .source import Pairs
from .vocabulary import SPECIAL, Vocabulary

Split = Literal["simple", "length", "jump"]
Actions = tuple[str, ...]
Command = tuple[str, Actions]

PRIMITIVES = ("walk", "look", "run", "jump")
TRAINING_SHARE = 0.8  # of the simple split
TRAINING_ACTIONS = 22  # longest target that the length split trains on
DEVELOPMENT_SHARE = 0.05  # of the training commands
PRIMITIVE = "jump"  # that the jump split trains on alone
REPEATED = 10  # of its training commands, every tenth is the primitive alone


def commands() -> dict[str, Actions]:
    """Every command of the language and its meaning.

    Returns
    -------
    meanings : dict of str to tuple of str
        20,910 entries.

    Examples
    --------
    >>> meanings = commands()
    >>> len(meanings)
    20910
    >>> " ".join(meanings["jump twice after turn opposite left"])
    'LTURN LTURN JUMP JUMP'
    """
    sentences: dict[str, Actions] = {}
    for verb, actions in _verbs().items():
        sentences |= {verb: actions, f"{verb} twice": actions * 2, f"{verb} thrice": actions * 3}
    meanings = dict(sentences)
    for first, first_actions in sentences.items():
        for second, second_actions in sentences.items():
            meanings[f"{first} and {second}"] = first_actions + second_actions
            meanings[f"{first} after {second}"] = second_actions + first_actions
    return meanings


def _verbs() -> dict[str, Actions]:
    """Meanings of V: 34 of them."""
    actions: dict[str, Actions] = {verb: (verb.upper(),) for verb in PRIMITIVES}
    verbs = dict(actions)
    for verb, action in {**actions, "turn": ()}.items():
        for side, turn in (("left", "LTURN"), ("right", "RTURN")):
            verbs[f"{verb} {side}"] = (turn, *action)
            verbs[f"{verb} opposite {side}"] = (turn, turn, *action)
            verbs[f"{verb} around {side}"] = (turn, *action) * 4
    return verbs


def split_commands(split: Split = "simple", seed: int = 0) -> tuple[list[Command], list[Command]]:
    """Training commands and test commands, both in a random order.

    Parameters
    ----------
    split : {"simple", "length", "jump"}
        Train on a random 80 % of the commands; on those of up to 22 actions; or on those without ``jump`` and on
        ``jump`` alone, which is repeated to be a tenth of them.
    seed : int

    Returns
    -------
    training, test : lists of (command, actions)
        16,728 and 4,182 of the simple split, 16,990 and 3,920 of the length split, 14,670 and 7,706 of the jump split.

    Raises
    ------
    ValueError
        If the split is unknown, or the seed is no whole number of at least 0.
    """
    check_choice("split", split, get_args(Split))
    check_size("seed", seed, least=0)
    every = list(commands().items())
    rng = np.random.default_rng([seed, *b"split"])
    shuffled = [every[number] for number in rng.permutation(len(every))]
    if split == "simple":
        end = round(TRAINING_SHARE * len(shuffled))
        return shuffled[:end], shuffled[end:]
    if split == "length":
        short = [command for command in shuffled if len(command[1]) <= TRAINING_ACTIONS]
        return short, [command for command in shuffled if len(command[1]) > TRAINING_ACTIONS]
    without = [command for command in shuffled if PRIMITIVE not in command[0].split()]
    test = [command for command in shuffled if PRIMITIVE in command[0].split() and command[0] != PRIMITIVE]
    alone: Command = (PRIMITIVE, (PRIMITIVE.upper(),))
    training = without + [alone] * round(len(without) / (REPEATED - 1))
    return [training[number] for number in rng.permutation(len(training))], test


def scan(split: Split = "simple", seed: int = 0) -> Corpus:
    """The commands as a corpus.

    A twentieth of the training commands are held out for evaluation during training, so that the test commands are
    used only once, at the end. Of the jump split, ``jump`` alone is among both.

    Parameters
    ----------
    split : {"simple", "length", "jump"}
        As in :func:`split_commands`.
    seed : int
        Of the split and of the order of training.

    Returns
    -------
    Corpus

    Examples
    --------
    >>> scan().description
    'scan, simple split: 15,892 training commands, 836 held out, 4,182 for the test'
    """
    training, test = split_commands(split, seed)
    words = sorted({word for command, _ in training for word in command.split()})
    actions = sorted({action for _, meaning in training for action in meaning})
    source_vocabulary, target_vocabulary = Vocabulary((*SPECIAL, *words)), Vocabulary((*SPECIAL, *actions))

    def encoded(part: list[Command]) -> Pairs:
        sources = [source_vocabulary.encode(command.split()) for command, _ in part]
        return Pairs(sources, [target_vocabulary.encode(meaning) for _, meaning in part])

    held_out = round(DEVELOPMENT_SHARE * len(training))
    trained = encoded(training[held_out:])
    return Corpus(
        source_vocabulary=source_vocabulary,
        target_vocabulary=target_vocabulary,
        sources=trained.sources,
        targets=trained.targets,
        held_out=encoded(training[:held_out]),
        test=encoded(test),
        description=f"scan, {split} split: {len(training) - held_out:,} training commands, {held_out:,} held out, "
        f"{len(test):,} for the test",
        seed=seed,
    )
