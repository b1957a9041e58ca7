"""``numpy-attention learn``: the exercises, judged in the terminal."""

from __future__ import annotations

import ast
import inspect
import json as json_module
import shlex
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from rich.console import Console
from rich.text import Text

from .._code import unwarned
from .._text import brief, printable
from ..exercises import work
from ..exercises.course import BY_NAME, EXERCISES, Exercise
from ..exercises.judge import Judgement
from ..exercises.shown import details, headline
from .flags import WIDTH, Positional, did_you_mean

ACTIONS = ("start", "check", "hint", "show")
STYLES = {"solved": "green", "wrong": "bold red", "failed": "bold red", "refused": "bold red"}


def learn_command(
    action: Annotated[str | None, Positional("ACTION")] = None,
    arguments: Annotated[tuple[str, ...], Positional("FOLDER or NAME")] = (),
    json: bool = False,
) -> int:
    """Learn the backward passes by writing them: sixteen exercises, each judged by a proof.

    Without ACTION the exercises are listed, with what is done. If no folder is named, it is the present one, or the
    only one in it that has exercises.

    Parameters
    ----------
    action : str, optional
        start FOLDER writes the exercises into a new folder; check [FOLDER] [NAME ...] judges answers, all that are
        begun if none is named; hint NAME gives one hint more; show NAME shows our own lines beside yours, once it is
        solved.
    arguments : tuple of str
        A folder, names of exercises, or both.
    json : bool
        For check: print the results as JSON, for programs.
    """
    if action is not None and action not in ACTIONS:
        near = did_you_mean(action, ACTIONS)
        told = f"; did you mean {near}?" if near else ""
        raise ValueError(f"ACTION: expected one of {', '.join(ACTIONS)}, got {brief(action)}{told}")
    if json and action != "check":
        raise ValueError("--json: expected with check alone")
    if action == "start":
        return _start(arguments)
    folder, names = _sorted(arguments, one=action in ("hint", "show"))
    if action is None:
        return _list(folder)
    if action == "check":
        return _check(work.find(folder), names, json)
    show = _hint if action == "hint" else _show
    return show(work.find(folder), BY_NAME[names[0]])


def _sorted(arguments: Sequence[str], one: bool) -> tuple[Path | None, list[str]]:
    """The folder and the names of exercises among the arguments."""
    names = [each.removesuffix(".py") for each in arguments if each.removesuffix(".py") in BY_NAME]
    others = [each for each in arguments if each.removesuffix(".py") not in BY_NAME]
    if len(others) > 1 or (others and not Path(others[0]).exists()):
        wrong = next((each for each in others if not Path(each).exists() or each != others[0]), others[-1])
        near = did_you_mean(wrong, BY_NAME)
        told = f"; did you mean {near}?" if near else ""
        raise ValueError(f"NAME: expected a folder or an exercise, got {brief(wrong)}{told}")
    if one and len(names) != 1:
        raise ValueError(f"NAME: expected one exercise, such as dense, got {len(names)}")
    return Path(others[0]) if others else None, names


def _start(arguments: Sequence[str]) -> int:
    if len(arguments) != 1:
        raise ValueError(f"FOLDER: expected one folder to write the exercises into, got {len(arguments)}")
    folder = Path(arguments[0])
    written = work.start(folder)
    place = printable(str(folder))
    if not written:
        print(f"{place}: all exercises are there already. Nothing was written.")
        return 0
    if len(written) < len(EXERCISES):
        print(textwrap.fill(f"{place}: put back {', '.join(written)}. The others are as they were.", WIDTH))
        return 0
    print(f"{place}: {len(written)} exercises are written.")
    print("Open the first one in your editor, fill its gap, and check it:")
    print(f"  {printable(str(folder / 'dense.py'))}")
    print(f"  numpy-attention learn check {printable(shlex.quote(str(folder)))} dense")
    return 0


def _list(folder: Path | None) -> int:
    """All exercises, with what is done."""
    try:
        folder = work.find(folder)
    except ValueError:
        if folder is not None:
            raise
    done = work.Progress({}, {}) if folder is None else work.progress(folder)
    console = Console(width=WIDTH, highlight=False)
    for number, exercise in enumerate(EXERCISES, start=1):
        solved = exercise.name in done.solved
        hints = done.hints.get(exercise.name, 0)
        asked = f"  ({hints} hint{'s' * (hints > 1)})" if hints else ""
        line = f"{number:3} {'✓' if solved else ' '} {exercise.name:15}{exercise.title}{asked}"
        console.print(Text(line, "green" if solved else ""))
    if folder is None:
        print("\nBegin with:  numpy-attention learn start exercises")
        return 0
    print(f"\n{printable(str(folder))}: {len(done.solved)} of {len(EXERCISES)} solved.")
    left = next((exercise.name for exercise in EXERCISES if exercise.name not in done.solved), None)
    if left is not None:
        print(f"Next: {printable(str(folder / left))}.py")
        print(f"      numpy-attention learn check {left}")
    return 0


def _check(folder: Path, names: Sequence[str], json: bool) -> int:
    """Judge answers, and print what is to be said."""
    work.progress(folder)  # that it can be read is said before the work
    console = Console(width=WIDTH, highlight=False, stderr=json)
    found = []
    for name in names or BY_NAME:
        with console.status(f"checking {name}") if sys.stderr.isatty() or not json else _Quiet():
            judgement = work.check(folder, name)
        found.append(judgement)
        if not json and (names or judgement.status != "open"):
            _print(console, judgement)
    waiting = [each.name for each in found if each.status == "open"]
    if json:
        print(json_module.dumps(_graded(folder, found)))
    elif waiting and not names:
        print(textwrap.fill(f"Not begun: {', '.join(waiting)}.", WIDTH))
    elif len(names) == 1 and found[0].ok:
        print(f"    Ours beside yours: numpy-attention learn show {names[0]}")
    return 0 if all(each.ok for each in found) else 1


class _Quiet:
    """In place of a moving line."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


def _graded(folder: Path, found: Sequence[Judgement]) -> dict[str, Any]:
    hints = work.progress(folder).hints
    return {
        "folder": str(folder),
        "solved": sum(each.ok for each in found),
        "of": len(found),
        "exercises": [
            {
                "name": each.name,
                "status": each.status,
                "verdict": each.verdict,
                "told": list(each.told),
                "hints": hints.get(each.name, 0),
                "times_as_slow": None if each.ratio is None else round(each.ratio, 2),
            }
            for each in found
        ],
    }


def _print(console: Console, judgement: Judgement) -> None:
    """A line for what is right; for what is wrong the reason, a picture, and where to go on."""
    first, title = headline(judgement)
    console.print(Text.assemble((first, STYLES.get(judgement.status, "")), title), soft_wrap=True)
    for line in details(judgement):
        print(line)
    if judgement.status in ("wrong", "open") and judgement.verdict != "NOT YET":
        print(f"    A hint: numpy-attention learn hint {judgement.name}")


def _hint(folder: Path, exercise: Exercise) -> int:
    hints = work.next_hint(folder, exercise.name)
    for number, hint in enumerate(hints, start=1):
        lines = [line if line.startswith(" ") else textwrap.fill(line, WIDTH - 3) for line in hint.splitlines()]
        print(f"{number}. " + textwrap.indent("\n".join(lines), "   ")[3:])
    left = len(exercise.hints) - len(hints)
    print(f"({left} more)" if left else "(the last one)")
    return 0


def _show(folder: Path, exercise: Exercise) -> int:
    """The reader's lines, then ours."""
    if exercise.name not in work.progress(folder).solved:
        told = f"ours is shown once it is solved; check it with numpy-attention learn check {exercise.name}"
        raise ValueError(f"{exercise.name}: {told}")
    path = folder / f"{exercise.name}.py"
    print(f"YOURS, {printable(str(path))}\n")
    print("\n".join(map(printable, _code_of_file(path, exercise.functions))))
    for function in exercise.ours:
        file = inspect.getsourcefile(function) or ""
        place = "/".join(Path(file).parts[-3:])
        print(f"\nOURS, {place}\n")
        print("\n".join(without_docstring(inspect.getsource(function))))
    return 0


@unwarned()
def _code_of_file(path: Path, functions: Sequence[str]) -> list[str]:
    """The lines of these functions in a file."""
    try:
        text = path.read_text("utf-8")
        nodes = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef) and node.name in functions]
    except (OSError, ValueError, SyntaxError) as error:
        raise ValueError(f"{path.name}: it cannot be read any more ({brief(str(error))[1:-1]})") from error
    lines = text.splitlines()
    return [line for node in nodes for line in (*lines[node.lineno - 1 : node.end_lineno], "")][:-1]


def without_docstring(source: str) -> list[str]:
    """The lines of a function without its docstring."""
    lines = textwrap.dedent(source).splitlines()
    function = ast.parse("\n".join(lines)).body[0]
    assert isinstance(function, ast.FunctionDef)
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return lines[: first.lineno - 1] + lines[first.end_lineno :]
    return lines
