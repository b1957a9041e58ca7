"""The command line: ``numpy-attention`` and ``python -m numpy_attention``."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack, redirect_stderr, redirect_stdout

NEEDS = "the command line needs tyro and rich: pip install '.[cli]' in the project's folder"
DESCRIPTION = "Sequence-to-sequence learning with attention, every derivative written by hand."


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
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that cannot show a character shows another
    from ..training.parallel import launched

    arguments = list(sys.argv[1:] if argv is None else argv)
    with ExitStack() as stack:
        if launched()[0]:  # of the processes that mpiexec started, only the first one prints
            nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
            stack.enter_context(redirect_stdout(nowhere))
            stack.enter_context(redirect_stderr(nowhere))
        return _main(arguments)


def _main(arguments: list[str]) -> int:
    """Run a command, and turn an error into one line and a status."""
    try:
        import rich  # noqa: F401
        import tyro  # noqa: F401
    except ModuleNotFoundError as error:
        return _fail(f"{NEEDS} ({error})")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            return _dispatch(arguments)
    except BrokenPipeError:  # the reader of the output, such as head, is gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, OSError, ModuleNotFoundError) as error:
        return _fail(str(error))
    except MemoryError as error:
        return _fail(f"not enough memory for these sizes: {error}")
    except ArithmeticError as error:
        return _fail(str(error), status=1)
    except KeyboardInterrupt:
        return _fail("interrupted", status=130)


def _dispatch(arguments: list[str]) -> int:
    """Parse the arguments of one command and run it."""
    import tyro

    from ..memory import memory_kept
    from ..training.parallel import launched

    commands = _commands()
    config = (tyro.conf.FlagCreatePairsOff, tyro.conf.PositionalRequiredArgs, tyro.conf.OmitArgPrefixes)
    name = arguments[0] if arguments else ""
    if name not in commands:
        tyro.extras.subcommand_cli_from_dict(
            commands, prog="numpy-attention", description=DESCRIPTION, args=arguments, config=config
        )
    if name != "train" and launched()[1] > 1:
        raise ValueError(f"mpiexec: only train shares its work among processes, got {name}; start it without mpiexec")
    command, rest = commands[name], arguments[1:]
    if name == "train" and any(argument.split("=")[0] == "--resume" for argument in rest):
        from .train import resume_command

        command = resume_command
    with memory_kept():  # no other code shares this process
        status: int = tyro.cli(command, prog=f"numpy-attention {name}", args=rest, config=config)
    return status


def _commands() -> dict[str, Callable[..., int]]:
    from .evaluate import evaluate_command
    from .gradcheck import gradcheck_command
    from .superhighway import superhighway_command
    from .train import train_command
    from .translate import translate_command

    return {
        "train": train_command,
        "translate": translate_command,
        "evaluate": evaluate_command,
        "gradcheck": gradcheck_command,
        "superhighway": superhighway_command,
    }


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    """Print a warning as one line."""
    _fail(str(message))


def _fail(message: str, status: int = 2) -> int:
    """Print the first line of a message that is not empty, and return the exit status."""
    from .._text import printable

    line = next(filter(None, map(str.strip, message.splitlines())), "failed")
    print(f"numpy-attention: {printable(line)}", file=sys.stderr)
    return status
