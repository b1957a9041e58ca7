"""The reader's folder: blank files, progress, and a process of its own for each answer that is judged."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .._files import written_whole
from .._text import brief, printable
from .child import limit_of
from .course import BY_NAME, EXERCISES
from .judge import Judgement, Picture

PROGRESS = "progress.json"
FORMAT = 1
ROOT = str(Path(__file__).parents[2])
START = f"import sys; sys.path[:1] = [{ROOT!r}]; from numpy_attention.exercises.child import main; main()"


class Progress(NamedTuple):
    """What is done: the day on which each exercise was solved, and how many hints were asked for."""

    solved: dict[str, str]
    hints: dict[str, int]


def start(folder: Path) -> list[str]:
    """Write the blank files into a new folder, or those that are missing into one that was begun before.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    list of str
        Names of the files that were written. No file is ever overwritten.

    Raises
    ------
    ValueError
        If there are other files in the folder, or it is no folder.
    OSError
        If it cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"FOLDER: expected a folder, got a file: {folder}")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / PROGRESS).is_file():
        raise ValueError(f"FOLDER: expected a new or an empty folder, got one with files in it: {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / PROGRESS).exists():
        _save(folder, Progress({}, {}))
    written = []
    for exercise in EXERCISES:
        path = folder / f"{exercise.name}.py"
        try:
            with open(path, "x", encoding="utf-8") as file:
                file.write(exercise.blank)
        except FileExistsError:
            continue
        written.append(path.name)
    return written


def find(folder: Path | None) -> Path:
    """The folder of the exercises: the one given, the present one, or the only one that stands in it.

    Raises
    ------
    ValueError
        If there is none, or there are several.
    """
    if folder is not None:
        if not (folder / PROGRESS).is_file():
            raise ValueError(f"{folder}: expected a folder of exercises; numpy-attention learn start {folder} makes it")
        return folder
    here = Path()
    if (here / PROGRESS).is_file():
        return here
    found = sorted(path.parent for path in here.glob(f"*/{PROGRESS}") if (path.parent / "dense.py").exists())
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"FOLDER: expected one of {', '.join(map(str, found))}, as there are several")
    raise ValueError(
        "FOLDER: expected a folder of exercises, found none; numpy-attention learn start exercises makes one"
    )


def progress(folder: Path) -> Progress:
    """What is done in a folder.

    Raises
    ------
    ValueError
        If the file cannot be understood.
    """
    path = folder / PROGRESS
    try:
        data = json.loads(path.read_text("utf-8"))
        solved, hints = data["solved"], data["hints"]
        if data["format"] != FORMAT:
            raise ValueError(f"its format is {data['format']!r}")
        if not (isinstance(solved, dict) and isinstance(hints, dict) and all(type(n) is int for n in hints.values())):
            raise ValueError("its entries are of the wrong kind")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        told = f"{path}: expected what learn wrote, cannot read it ({brief(str(error))[1:-1]}); "
        raise ValueError(f"{told}remove the file, and learn start {folder} writes a new one") from error
    return Progress(
        {name: str(solved[name]) for name in BY_NAME if name in solved},
        {name: hints[name] for name in BY_NAME if name in hints},
    )


def _save(folder: Path, done: Progress) -> None:
    with written_whole(folder / PROGRESS) as file:
        file.write((json.dumps({"format": FORMAT, **done._asdict()}, indent=1) + "\n").encode())


def remember(folder: Path, judgement: Judgement) -> None:
    """Note whether an exercise is solved: one that was, and is not any more, counts as open."""
    done = progress(folder)
    solved = {name: day for name, day in done.solved.items() if name != judgement.name}
    if judgement.ok:
        solved[judgement.name] = done.solved.get(judgement.name, datetime.date.today().isoformat())
    if solved != done.solved:
        _save(folder, done._replace(solved=solved))


def next_hint(folder: Path, name: str) -> list[str]:
    """The hints of an exercise so far, and one more.

    Parameters
    ----------
    folder : Path
    name : str
        Of the exercise.
    """
    done, hints = progress(folder), BY_NAME[name].hints
    number = min(done.hints.get(name, 0) + 1, len(hints))
    _save(folder, done._replace(hints={**done.hints, name: number}))
    return hints[:number]


def check(folder: Path, name: str) -> Judgement:
    """Judge an answer in a process of its own, which is stopped if it takes too long, and remember the result.

    Parameters
    ----------
    folder : Path
    name : str
        Of the exercise.
    """
    found = _judged(folder, name)
    remember(folder, found)
    return found


def _judged(folder: Path, name: str) -> Judgement:
    command = [sys.executable, "-c", START, name, str(folder.absolute())]
    limit = limit_of(name)
    try:
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit + 15, env=_environment(), check=False
        )
    except subprocess.TimeoutExpired:
        return Judgement(
            name, "failed", told=[f"{name}.py: stopped after {limit} s. Is there a loop that does not end?"]
        )
    printed = printable_lines(ended.stderr.decode("utf-8", "replace"))
    try:
        return _with(_read(json.loads(ended.stdout.decode("utf-8"))), printed)
    except (ValueError, KeyError, TypeError):
        why = f"by signal {-ended.returncode}" if ended.returncode < 0 else f"with status {ended.returncode}"
        last = f": {printed[-1]}" if printed else ""
        return Judgement(name, "failed", told=[f"{name}.py: the process that ran it ended {why}{last}"])


def _read(data: Mapping[str, Any]) -> Judgement:
    pictures = [Picture(name, wrong) for name, wrong in data["pictures"]]
    return Judgement(**{**data, "pictures": pictures})


def _with(judgement: Judgement, printed: list[str]) -> Judgement:
    """The judgement, and what the answer printed."""
    if not printed:
        return judgement
    return judgement._replace(told=[*judgement.told, "It printed:", *(f"  {line}" for line in printed[:10])])


def printable_lines(text: str) -> list[str]:
    """The lines of a text, safe to print, without empty ones."""
    return [printable(line) for line in text.splitlines() if line.strip()]


def _environment() -> dict[str, str]:
    """One thread for products of small matrices, so that the times of two processes do not disturb each other."""
    return {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
