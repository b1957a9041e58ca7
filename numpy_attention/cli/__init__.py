"""The command line: ``numpy-attention`` and ``python -m numpy_attention``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

NEEDS = "the command line needs tyro and rich: pip install 'numpy-attention[cli]'"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the program's name; those of the process by default.

    Returns
    -------
    status : int
        0 done, 1 a check failed, 2 wrong use or bad input, 130 interrupted.
    """
    try:
        import rich  # noqa: F401
        import tyro
    except ModuleNotFoundError as error:
        return _fail(f"{NEEDS} ({error})")
    from .gradcheck import gradcheck_command
    from .superhighway import superhighway_command
    from .train import train_command

    try:
        status: int = tyro.extras.subcommand_cli_from_dict(
            {"train": train_command, "gradcheck": gradcheck_command, "superhighway": superhighway_command},
            prog="numpy-attention",
            description="Sequence-to-sequence learning with attention, every derivative written by hand.",
            args=list(sys.argv[1:] if argv is None else argv),
            config=(tyro.conf.FlagCreatePairsOff, tyro.conf.PositionalRequiredArgs, tyro.conf.OmitArgPrefixes),
        )
        return status
    except (ValueError, OSError) as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        _fail("interrupted")
        return 130


def _fail(message: str) -> int:
    print(f"numpy-attention: {message}", file=sys.stderr)
    return 2
