"""The command line: ``numpy-attention`` and ``python -m numpy_attention``."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from typing import Any

NEEDS = "the command line needs rich: pip install '.[cli]' in the project's folder"
DESCRIPTION = "Sequence-to-sequence learning with attention, every derivative written by hand."
PROGRAM = "numpy-attention"

# The module and the function of each command, what it does in a few words, and commands for the end of its help.
COMMANDS = {
    "train": (
        "train a model on a task or on your own pairs",
        """\
  numpy-attention train reverse
  numpy-attention train copy --length 3-20 --alignment dot
  numpy-attention train pairs.tsv --tokens characters --out runs/mine
  numpy-attention train --resume runs/mine""",
    ),
    "sweep": (
        "train a grid of settings, and compare the runs",
        """\
  numpy-attention sweep copy reverse --length 10,20 --seed 0,1,2
  numpy-attention sweep copy --alignment additive,none --cell tanh,lstm
  numpy-attention sweep pairs.tsv --hidden-size 64,128,256 --out sweeps/sizes""",
    ),
    "translate": (
        "outputs of a trained model for your texts",
        """\
  numpy-attention translate runs/reverse "a b c" --attention
  numpy-attention translate runs/reverse "a b c" --beam 5 --n-best 3
  numpy-attention translate runs/reverse --jsonl < texts.txt""",
    ),
    "evaluate": (
        "figures of a trained model on a file of pairs",
        """\
  numpy-attention evaluate runs/mine test.tsv --beam 5""",
    ),
    "gradcheck": (
        "check that every derivative is right",
        """\
  numpy-attention gradcheck layers.py::dense
  numpy-attention gradcheck --prove
  numpy-attention gradcheck --alignment dot --cell gru
  numpy-attention gradcheck --mutants""",
    ),
    "superhighway": (
        "measure where the gradient travels",
        """\
  numpy-attention superhighway
  numpy-attention superhighway --lengths 10,20,50 --train
  numpy-attention superhighway --run runs/reverse""",
    ),
    "explain": (
        "walk through one step, forward and backward, with its numbers",
        """\
  numpy-attention explain
  numpy-attention explain "a b c d" --step 2
  numpy-attention explain runs/reverse "a b c" --target "c b a"
  numpy-attention explain --out page.html""",
    ),
    "learn": (
        "write the backward passes yourself, judged by a proof",
        """\
  numpy-attention learn start exercises
  numpy-attention learn check dense
  numpy-attention learn hint dense
  numpy-attention learn show dense
  numpy-attention learn""",
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the program's name; by default those of the process.

    Returns
    -------
    status : int
        0 done, 1 a check failed or a run diverged, 2 wrong use or bad input, 130 interrupted.
    """
    try:
        try:
            _hold_interrupts(True)
            return _start(list(sys.argv[1:] if argv is None else argv))
        finally:
            _hold_interrupts(False)
    except KeyboardInterrupt:
        return _fail("interrupted", status=130)


def _start(arguments: list[str]) -> int:
    """Run a command, with outputs that this process and this terminal can write."""
    from ..training.parallel import launched
    from ..views.terminal import PLAIN

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=PLAIN)  # a terminal that cannot show a character shows another
    with ExitStack() as stack:
        if launched()[0]:  # of the processes that mpiexec started, only the first one prints
            nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
            stack.enter_context(redirect_stdout(nowhere))
            stack.enter_context(redirect_stderr(nowhere))
        return _main(arguments)


def _hold_interrupts(held: bool) -> None:
    """Hold a Ctrl-C back from the start until the command runs.

    In the middle of an import it can be lost, or come out as an ImportError, as NumPy makes of it. What ``signal`` is
    made from is there already: to import ``signal`` takes long enough to be interrupted itself.
    """
    signals: Any = sys.modules.get("_signal")
    if hasattr(signals, "pthread_sigmask"):
        signals.pthread_sigmask(signals.SIG_BLOCK if held else signals.SIG_UNBLOCK, {signals.SIGINT})


def _main(arguments: list[str]) -> int:
    """Run a command, and turn an error into one line and a status."""
    try:
        import rich  # noqa: F401
    except ModuleNotFoundError as error:
        return _fail(f"{NEEDS} ({error})")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            return _dispatch(arguments)
    except BrokenPipeError:  # the reader of the output, such as head, is gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except SystemExit as asked:  # after --help
        return int(asked.code or 0)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        return _fail(str(error))
    except MemoryError as error:
        return _fail(f"not enough memory for these sizes: {error}")
    except ArithmeticError as error:
        return _fail(str(error), status=1)


def _dispatch(arguments: list[str]) -> int:
    """Parse the arguments of one command and run it."""
    from .._text import brief
    from ..memory import memory_kept
    from ..training.parallel import launched
    from .flags import did_you_mean, run_command

    name, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if name in ("-h", "--help"):
        print(_help())
        return 0 if arguments else 2
    if name == "--version":
        from .. import __version__

        print(f"{PROGRAM} {__version__}")
        return 0
    if name not in COMMANDS:
        near = did_you_mean(name, COMMANDS)
        told = f"; did you mean {near}?" if near else f"; expected one of {', '.join(COMMANDS)}"
        raise ValueError(f"there is no command {brief(name)}{told}")
    if name not in ("train", "sweep") and launched()[1] > 1:
        raise ValueError(f"mpiexec: only train shares its work among processes, got {name}; start it without mpiexec")
    command, options = _command(name, rest)
    _hold_interrupts(False)
    with memory_kept():  # no other code shares this process
        return run_command(command, rest, f"{PROGRAM} {name}", **options)


def _help() -> str:
    """The commands, a line each."""
    lines = [f"  {name:14}{told}" for name, (told, _) in COMMANDS.items()]
    usage = f"usage: {PROGRAM} COMMAND ...\n\n{DESCRIPTION}\n\ncommands:"
    return "\n".join([usage, *lines, f"\n{PROGRAM} COMMAND --help lists the settings of a command."])


def _command(name: str, rest: list[str]) -> tuple[Any, dict[str, Any]]:
    """The function of a command, and how its flags are shown."""
    options: dict[str, Any] = {"examples": COMMANDS[name][1]}
    if name == "train":
        from . import train

        if any(argument.split("=")[0] == "--resume" for argument in rest):
            return train.resume_command, {"only": "--resume goes with --steps, --workers and --quiet alone"}
        return train.train_command, options | train.FLAGS
    if name == "sweep":
        from .sweep import FLAGS, sweep_command

        return sweep_command, options | FLAGS
    if name == "translate":
        from .translate import translate_command

        return translate_command, options
    if name == "evaluate":
        from .evaluate import evaluate_command

        return evaluate_command, options
    if name == "gradcheck":
        from .gradcheck import CHOICES, gradcheck_command

        return gradcheck_command, options | {"choices": CHOICES}
    if name == "explain":
        from .explain import explain_command

        return explain_command, options
    if name == "learn":
        from .learn import learn_command

        return learn_command, options
    from ..training.config import CHOICES as SETTINGS
    from .superhighway import superhighway_command

    return superhighway_command, options | {"choices": SETTINGS}


def _warn(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any, **__: Any) -> None:
    """Print a warning as one line, with the place if it is of code that was read."""
    place = f"{os.path.basename(filename)}, line {lineno}: " if issubclass(category, SyntaxWarning) else ""
    _fail(f"{place}{message}")


def _fail(message: str, status: int = 2) -> int:
    """Print the first line of a message that is not empty, and return the exit status."""
    from .._text import printable

    line = next(filter(None, map(str.strip, message.splitlines())), "failed")
    print(f"{PROGRAM}: {printable(line)}", file=sys.stderr)
    return status
