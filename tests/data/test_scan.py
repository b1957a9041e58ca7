import re

import numpy as np
import pytest

from numpy_attention.data.scan import commands, scan, split_commands


def meaning(command):
    """The actions of a command, read off from its words from the outside in."""
    for word, swapped in (("and", False), ("after", True)):
        if f" {word} " in command:
            first, second = map(meaning, command.split(f" {word} "))
            return second + first if swapped else first + second
    if match := re.fullmatch(r"(.*) (twice|thrice)", command):
        return meaning(match[1]) * {"twice": 2, "thrice": 3}[match[2]]
    verb, *rest = command.split()
    action = [] if verb == "turn" else [verb.upper()]
    if not rest:
        return action
    turn = [{"left": "LTURN", "right": "RTURN"}[rest[-1]]]
    return {"opposite": turn + turn + action, "around": (turn + action) * 4}.get(rest[0], turn + action)


def test_every_command_means_what_its_words_say():
    every = commands()
    assert len(every) == 20_910
    assert all(list(actions) == meaning(command) for command, actions in every.items())
    assert {len(command.split()) for command in every} == set(range(1, 10))
    lengths = {len(actions) for actions in every.values()}
    assert (min(lengths), max(lengths)) == (1, 48)


@pytest.mark.parametrize(
    ("command", "actions"),
    [
        ("jump", "JUMP"),
        ("jump left", "LTURN JUMP"),
        ("turn left twice", "LTURN LTURN"),
        ("jump around right", "RTURN JUMP RTURN JUMP RTURN JUMP RTURN JUMP"),
        ("jump thrice", "JUMP JUMP JUMP"),
        ("jump opposite left and walk thrice", "LTURN LTURN JUMP WALK WALK WALK"),
        (
            "jump opposite left after walk around left",
            "LTURN WALK LTURN WALK LTURN WALK LTURN WALK LTURN LTURN JUMP",
        ),
    ],
)
def test_the_published_examples(command, actions):
    assert commands()[command] == tuple(actions.split())


def test_the_simple_split_is_a_random_fifth_by_seed():
    training, test = split_commands("simple", seed=0)
    assert (len(training), len(test)) == (16_728, 4_182)
    assert dict(training + test) == commands()
    assert split_commands("simple", seed=0) == (training, test)
    assert len(set(test) & set(split_commands("simple", seed=1)[1])) < 1_500
    assert abs(np.mean([len(a) for _, a in test]) - np.mean([len(a) for _, a in training])) < 0.5


def test_the_length_split_keeps_long_targets_for_the_test():
    training, test = split_commands("length", seed=0)
    assert (len(training), len(test)) == (16_990, 3_920)
    assert max(len(actions) for _, actions in training) == 22
    assert min(len(actions) for _, actions in test) > 22
    assert dict(training + test) == commands()


@pytest.mark.parametrize("split", ["simple", "length"])
def test_what_is_held_out_is_neither_trained_on_nor_the_test(split):
    data = scan(split)
    training, test = split_commands(split)

    def read(sources, targets):
        decode = data.source_vocabulary.decode, data.target_vocabulary.decode
        return {
            (" ".join(decode[0](source)), tuple(decode[1](target)))
            for source, target in zip(sources, targets, strict=True)
        }

    trained, held_out = read(data.sources, data.targets), read(*data.held_out)
    assert len(held_out) == round(0.05 * len(training))
    assert not trained & held_out
    assert trained | held_out == set(training)
    assert read(*data.test) == set(test)
    assert (len(data.source_vocabulary), len(data.target_vocabulary)) == (16, 9)
    assert len(data.batch(0, 64).source) in (63, 64)


def test_a_split_that_is_none():
    with pytest.raises(ValueError, match="^split: expected one of simple, length, jump, got 'turn'$"):
        scan("turn")


def test_the_jump_split_trains_on_jump_alone():
    training, test = split_commands("jump", seed=0)
    assert (len(training), len(test)) == (14_670, 7_706)
    alone = ("jump", ("JUMP",))
    assert training.count(alone) == 1_467
    assert alone not in test
    assert not any("jump" in command.split() for command, _ in training if command != "jump")
    assert all("jump" in command.split() for command, _ in test)
    assert dict(training + test) == commands()
    assert training != split_commands("jump", seed=1)[0]
    data = scan("jump")
    assert len(data.sources) + len(data.held_out.sources) == 14_670
