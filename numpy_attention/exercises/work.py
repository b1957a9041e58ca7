"""The reader's folder: blank files, progress, and a process of its own for each answer that is judged."""

from __future__ import annotations

import datetime
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from .._files import written_whole
from .._text import brief, printable
from .course import BY_NAME, EXERCISES
from .judge import Judgement, Picture

PROGRESS = "progress.json"
FORMAT = 1
LARGEST = 1 << 20  # bytes of the file
LIMIT, TRAINING_LIMIT = 60, 300  # seconds for an answer
GRACE = 15  # seconds more until a process that does not stop by itself is stopped
# A process in another folder, whose files may be called numpy.py or json.py: that folder leaves the path.
ROOT = str(Path(__file__).parents[2])
START = f"""\
import sys
sys.path[:] = [each for each in sys.path if each]
if {ROOT!r} not in sys.path:
    sys.path.insert(0, {ROOT!r})
from numpy_attention.exercises.child import main
main()"""
SIGNALS = {"SIGKILL": "perhaps it took too much memory", "SIGSEGV": "compiled code was called in a wrong way"}


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
    if os.path.lexists(folder) and not folder.is_dir():
        raise ValueError(f"FOLDER: expected a folder, got something else: {_place(folder)}")
    if folder.is_dir() and set(os.listdir(folder)) - {PROGRESS} and not _is_begun(folder):
        raise ValueError(f"FOLDER: expected a new or an empty folder, got one with files in it: {_place(folder)}")
    folder.mkdir(parents=True, exist_ok=True)
    if not os.path.lexists(folder / PROGRESS):
        _save(folder, Progress({}, {}))
    written = []
    for exercise in EXERCISES:
        path = folder / f"{exercise.name}.py"
        made = False
        try:
            with open(path, "x", encoding="utf-8") as file:
                made = True
                file.write(exercise.blank)
        except FileExistsError:
            continue
        except OSError:  # a full disk
            if made:
                path.unlink()
            raise
        written.append(path.name)
    return written


def _place(folder: Path) -> str:
    return printable(str(folder))


def _is_begun(folder: Path) -> bool:
    """True if the exercises stand in a folder, even if one file or another was lost."""
    there = sum(os.path.exists(folder / f"{exercise.name}.py") for exercise in EXERCISES)
    return there > len(EXERCISES) // 2 or (there > 0 and os.path.isfile(folder / PROGRESS))


def find(folder: Path | None) -> Path:
    """The folder of the exercises: the one given, the present one, or the only one that stands in it.

    Raises
    ------
    ValueError
        If there is none, or there are several.
    """
    if folder is not None:
        if not _is_begun(folder):
            place = _place(folder)
            raise ValueError(f"{place}: expected a folder of exercises; numpy-attention learn start {place} makes it")
        return folder
    here = Path()
    if _is_begun(here):
        return here
    found = sorted(path for path in here.iterdir() if _is_begun(path))
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"FOLDER: expected one of {', '.join(map(_place, found))}, as there are several")
    raise ValueError(
        "FOLDER: expected a folder of exercises, found none; numpy-attention learn start exercises makes one"
    )


def progress(folder: Path) -> Progress:
    """What is done in a folder; nothing, if the file is not there.

    Raises
    ------
    ValueError
        If the file cannot be understood.
    """
    path = folder / PROGRESS
    if not os.path.lexists(path):
        return Progress({}, {})
    try:
        if not path.is_file():
            raise ValueError("it is no file")
        if path.stat().st_size > LARGEST:
            raise ValueError(f"it has {path.stat().st_size} bytes")
        data = json.loads(path.read_text("utf-8"))
        solved, hints = data["solved"], data["hints"]
        if data["format"] != FORMAT:
            raise ValueError(f"its format is {data['format']!r}")
        if not (isinstance(solved, dict) and isinstance(hints, dict) and all(type(n) is int for n in hints.values())):
            raise ValueError("its entries are of the wrong kind")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        told = f"{_place(path)}: expected what learn wrote, cannot read it ({brief(str(error))[1:-1]}); "
        raise ValueError(f"{told}remove it, and the next check writes a new one") from error
    return Progress(
        {name: str(solved[name]) for name in BY_NAME if name in solved},
        {name: min(max(hints[name], 0), len(BY_NAME[name].hints)) for name in BY_NAME if name in hints},
    )


def _save(folder: Path, done: Progress) -> None:
    with written_whole(folder / PROGRESS) as file:
        file.write((json.dumps({"format": FORMAT, **done._asdict()}, indent=1) + "\n").encode())


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Within the block no other process changes the progress of this folder, where the system can do that."""
    try:
        import fcntl

        number = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        yield
        return
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)


def remember(folder: Path, judgement: Judgement) -> None:
    """Note whether an exercise is solved: one that was, and is not any more, counts as open."""
    with _alone(folder):
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
    hints = BY_NAME[name].hints
    with _alone(folder):
        done = progress(folder)
        number = min(done.hints.get(name, 0) + 1, len(hints))
        if number != done.hints.get(name):
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
    try:
        remember(folder, found)
    except OSError as error:  # a folder that may only be read can be judged all the same
        return found._replace(told=[*found.told, f"This is not remembered: {error}"])
    return found


def limit_of(name: str) -> int:
    """Seconds that the answer of an exercise may take."""
    return TRAINING_LIMIT if name == EXERCISES[-1].name else LIMIT


def _judged(folder: Path, name: str) -> Judgement:
    limit = limit_of(name)
    command = [sys.executable, "-c", START, name, str(folder.absolute()), str(limit)]
    here, there = os.pipe()  # the other end of the process's input: it ends when this process does
    try:
        ended = subprocess.run(
            command, stdin=here, capture_output=True, timeout=limit + GRACE, env=_environment(), check=False
        )
    except subprocess.TimeoutExpired:
        return _stopped(name, limit)
    finally:
        os.close(here)
        os.close(there)
    try:
        return _read(json.loads(ended.stdout.decode("utf-8")))
    except (ValueError, KeyError, TypeError):
        return _died(name, ended.returncode, limit, ended.stderr.decode("utf-8", "replace"))


def _read(data: Mapping[str, Any]) -> Judgement:
    pictures = [Picture(*each) for each in data["pictures"]]
    return Judgement(**{**data, "pictures": pictures})


def _stopped(name: str, limit: int) -> Judgement:
    return Judgement(name, "failed", told=[f"{name}.py: stopped after {limit} s. Is there a loop that does not end?"])


def _died(name: str, status: int, limit: int, said: str) -> Judgement:
    """The process ended without a word of its own."""
    try:
        sign = signal.Signals(-status).name if status < 0 else ""
    except ValueError:
        sign = str(-status)
    if sign == "SIGXCPU":
        return _stopped(name, limit)
    last = next((line for line in reversed(said.splitlines()) if line.strip()), "")
    why = f"by {sign}: {SIGNALS.get(sign, 'something stopped it')}" if sign else f"with status {status}: {last}"
    return Judgement(name, "failed", told=[f"{name}.py: the process that judged it ended {why}"])


def _environment() -> dict[str, str]:
    """One thread for products of small matrices, so that the times of two processes do not disturb each other."""
    return {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
