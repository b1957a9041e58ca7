"""The judge says whether an answer is right, and if it is not, what is wrong with it."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from .._text import brief
from .._typing import Array
from ..gradcheck import GradientReport, check_vjp
from ..gradcheck.diagnosis import NO_PATTERN
from . import reference
from .cases import LARGE, Backward, Forward, Functions
from .course import BY_NAME, EXERCISES, Exercise, given
from .guard import RefusedError, load
from .mistakes import named

Status = Literal["solved", "wrong", "open", "refused", "failed"]
SLOW = 5.0  # times as long as ours: worth a word
CLOSE = 1e-12
MOST = 3  # gradients that are told of


class Picture(NamedTuple):
    """Which entries of a gradient are wrong."""

    name: str
    wrong: list[list[bool]]  # leading axes as one


class Judgement(NamedTuple):
    """What the judge says of an answer.

    Attributes
    ----------
    name : str
        Of the exercise.
    status : str
        ``solved``; ``wrong``; ``open``: nothing is written yet; ``refused``: it does what no answer may do; ``failed``:
        it cannot be run.
    verdict : str
        The checker's word, such as PROVED or REFUTED; empty if it did not come to that.
    told : list of str
        Sentences for the reader.
    pictures : list of Picture
    ratio : float or None
        How many times as long as ours it takes.
    """

    name: str
    status: Status
    verdict: str = ""
    told: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    ratio: float | None = None

    @property
    def ok(self) -> bool:
        """True if the exercise is solved."""
        return self.status == "solved"


def answers_of(exercise: Exercise, folder: Path) -> Functions | Judgement:
    """The functions of the answer in a folder, or why there are none."""
    path = folder / f"{exercise.name}.py"

    def failed(told: str, status: Status = "failed") -> Judgement:
        return Judgement(exercise.name, status, told=[told])

    try:
        module = load(path, given(exercise))
    except RefusedError as error:
        return failed(str(error), "refused")
    except SyntaxError as error:
        return failed(f"{path.name}, line {error.lineno}: {error.msg}")
    except FileNotFoundError:
        return failed(f"{path.name} is not there; learn start puts back what is missing")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        return failed(f"{path.name}: {brief(str(error))[1:-1]}")
    except Exception as error:
        return failed(crash(error, path))
    found = {name: getattr(module, name, None) for name in exercise.functions}
    for name, function in found.items():
        if not callable(function):
            return failed(f"{path.name}: expected a function {name}, there is none")
    return found  # type: ignore[return-value]


def judged(exercise: Exercise, functions: Functions, path: Path, ours: bool = True) -> Judgement:
    """Judge functions.

    Parameters
    ----------
    exercise : Exercise
    functions : dict of functions
        By the names that the exercise asks for.
    path : Path
        Of their file, for messages.
    ours : bool
        As for :func:`numpy_attention.exercises.mistakes.known`.
    """
    try:
        if exercise.cases is None:
            from .trials import tried

            return tried(exercise, functions)
        verdict = "RIGHT"
        for number, case in enumerate(exercise.cases(functions)):
            if isinstance(case, Forward):
                found = _forward(exercise, case, functions)
            else:
                found = _backward(exercise, case, number, ours)
                verdict = found.verdict
            if not found.ok:
                return found
        ratio = _ratio(exercise, functions)
        slow = f"Right, and {ratio:.0f} times as slow as ours: products of whole arrays need no loop over entries."
        return Judgement(exercise.name, "solved", verdict, [slow] if ratio > SLOW else [], ratio=ratio)
    except NotImplementedError:
        return Judgement(exercise.name, "open", told=["Not written yet."])
    except TimeoutError as error:
        return Judgement(exercise.name, "failed", told=[f"{crash(error, path)} Is there a loop that does not end?"])
    except RecursionError:
        return Judgement(exercise.name, "failed", told=[f"{path.name}: a function calls itself without end."])
    except MemoryError as error:
        return Judgement(exercise.name, "failed", told=[f"{crash(error, path)} It takes more memory than there is."])
    except Exception as error:
        return Judgement(exercise.name, "failed", told=[crash(error, path)])


def crash(error: BaseException, path: Path) -> str:
    """An error, with the line of the answer in which it arose; the checker's own errors say it themselves."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    message = str(error).splitlines()[0] if str(error) else ""
    if not frames:
        return message or type(error).__name__
    said = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return f"{path.name}, line {frames[-1].lineno}: {said}    {brief(frames[-1].line or '')[1:-1]}"


def _forward(exercise: Exercise, case: Forward, functions: Functions) -> Judgement:
    """Compare a forward with ours."""

    def wrong(told: str) -> Judgement:
        return Judgement(exercise.name, "wrong", "WRONG", [f"{case.name}: {told}"])

    for inputs in case.inputs:
        kept = {name: _copied(value) for name, value in inputs.items()}
        expected = _parts(case.ours(**{name: _copied(value) for name, value in inputs.items()}))
        with np.errstate(all="ignore"):
            found = _parts(functions[case.name](**inputs))
        if len(found) != len(expected):
            return wrong(f"expected {len(expected)} results, got {len(found)}")
        changed = [name for name, value in inputs.items() if not _equal(value, kept[name])]
        if changed:
            return wrong(f"it changes {', '.join(changed)}, which it is only to read")
        for name, ours, theirs in zip(_names(expected), expected.values(), found.values(), strict=True):
            told = _difference(name, ours, theirs)
            if told:
                largest = max((np.abs(value).max() for value in inputs.values() if _is_float(value)), default=0)
                return wrong(told + (f" (the largest input is {largest:.3g})" if largest > 100 else ""))
    return Judgement(exercise.name, "solved", "RIGHT")


def _difference(name: str, ours: Any, theirs: Any) -> str:
    """What is wrong with a result, or nothing."""
    shape = np.shape(theirs)
    if shape != np.shape(ours):
        return f"{name}: expected shape {np.shape(ours)}, got {shape}"
    kind = np.asarray(theirs).dtype
    if kind.kind != "f":
        return f"{name}: expected floats, got {kind}"
    if not np.isfinite(theirs).all():
        return f"{name}: {np.count_nonzero(~np.isfinite(theirs))} of {np.size(theirs)} entries are not finite"
    apart = np.abs(np.asarray(theirs) - ours)
    if apart.max(initial=0.0) <= CLOSE * max(1.0, np.abs(ours).max(initial=0.0)):
        return ""
    index = tuple(map(int, np.unravel_index(np.argmax(apart), apart.shape)))
    at = f"[{', '.join(map(str, index))}]" if index else ""
    return f"{name}{at}: expected {float(np.asarray(ours)[index]):.6g}, got {float(np.asarray(theirs)[index]):.6g}"


def _backward(exercise: Exercise, case: Backward, number: int, ours: bool) -> Judgement:
    """Prove a backward, or say what is wrong with it."""
    with np.errstate(all="ignore"):
        report = check_vjp(case.forward, case.backward, case.inputs, show_progress=False, **case.options)
    if report.verdict == "PROVED":
        return Judgement(exercise.name, "solved", "PROVED")
    if report.ok:
        assert report.proof is not None
        why = f"right to within rounding, but not proved: {report.proof.reason}"
        then = "Use sums, products and the functions of the forward alone."
        return Judgement(exercise.name, "wrong", "CANNOT PROVE", [f"{case.name}: {why}. {then}"])
    told = _told(report)

    def gradients(functions: Functions) -> dict[str, Array]:
        assert exercise.cases is not None
        found = exercise.cases(functions)[number]
        assert isinstance(found, Backward)
        return gradients_of(found)

    theirs, right = gradients_of(case), gradients(reference.ANSWERS)
    if not any(telling(row.diagnosis) for row in report.parameters):
        sentence = named(exercise, gradients, theirs, ours)
        told = [f"it is the right gradient but for one mistake: {sentence}.", *told] if sentence else told
    wrong = {name: _where(theirs[name], right[name]) for name in theirs if theirs[name].shape == right[name].shape}
    pictures = [Picture(name, rows) for name, rows in wrong.items() if any(map(any, rows))]
    more = [f"{len(told) - MOST} more gradients are wrong."] if len(told) > MOST + 1 else told[MOST:]
    told = [f"{case.name}: {told[0]}", *told[1:MOST], *more]
    return Judgement(exercise.name, "wrong", report.verdict.upper(), told, pictures[:MOST])


def telling(diagnosis: str) -> bool:
    """True if a diagnosis names a mistake, and does not only say where it is."""
    return bool(diagnosis) and NO_PATTERN not in diagnosis and not diagnosis.startswith("only ")


def _told(report: GradientReport) -> list[str]:
    """What the report says, the most telling first: broken laws, patterns, and the worst entry."""
    laws = [law.message for law in report.laws if not law.ok]
    rows = [row for row in report.parameters if row.verdict != "ok"]
    rows.sort(key=lambda row: not telling(row.diagnosis))
    found = []
    for row in rows:
        worst = ""
        if row.index is not None and row.gradient is not None and row.expected is not None:
            at = f"[{', '.join(map(str, row.index))}]" if row.index else ""
            worst = f" The worst entry is d{row.name}{at}: {row.gradient:.6g}, expected {row.expected:.6g}."
        name = f"the gradient of {row.name}" if "." in row.name else f"d{row.name}"
        found.append(f"{name} is wrong: {row.diagnosis.replace(NO_PATTERN, 'no simple pattern')}.{worst}")
    return [*laws, *found] or ["it is wrong"]


def gradients_of(case: Backward) -> dict[str, Array]:
    """The gradients of a case's backward, for one cotangent."""
    rng = np.random.default_rng(1)
    output, cache = case.forward(**{name: _copied(value) for name, value in case.inputs.items()})
    outputs = output if isinstance(output, tuple) else (output,)
    dout = tuple(rng.standard_normal(np.shape(each)) for each in outputs)
    found = case.backward(dout if isinstance(output, tuple) else dout[0], cache)
    names = [name for name, value in case.inputs.items() if _is_float(value)]
    if isinstance(found, Mapping):
        return {name: np.asarray(found[name]) for name in names}
    parts = found if isinstance(found, (tuple, list)) else (found,)
    return {name: np.asarray(part) for name, part in zip(names, parts, strict=True)}


def _where(theirs: Array, ours: Array) -> list[list[bool]]:
    wrong = ~(np.abs(theirs - ours) <= 1e-9 * max(np.abs(ours).max(initial=0.0), 1e-300))
    rows: list[list[bool]] = wrong.reshape(-1, wrong.shape[-1] if wrong.ndim else 1).tolist()
    return rows


def _ratio(exercise: Exercise, functions: Functions) -> float:
    """How many times as long as ours an answer takes, on larger arrays."""
    with np.errstate(all="ignore"):
        return _seconds(exercise, functions) / _seconds(exercise, reference.ANSWERS)


def _seconds(exercise: Exercise, functions: Functions) -> float:
    assert exercise.cases is not None
    total = 0.0
    for case in exercise.cases(functions, LARGE):
        if isinstance(case, Forward):
            run = partial(functions[case.name], **case.inputs[0])
        else:
            output, cache = case.forward(**case.inputs)
            ones: Any = (
                tuple(np.ones_like(each) for each in output) if isinstance(output, tuple) else np.ones_like(output)
            )
            run = partial(case.backward, ones, cache)
        best = np.inf
        for _ in range(3):
            begin = time.perf_counter()
            run()
            best = min(best, time.perf_counter() - begin)
        total += best
    return total


def _parts(result: Any) -> dict[str, Any]:
    """The results of a forward, by name or number."""
    if isinstance(result, Mapping):
        return dict(result)
    parts = result if isinstance(result, (tuple, list)) else (result,)
    return {str(number): part for number, part in enumerate(parts)}


def _names(results: Mapping[str, Any]) -> list[str]:
    if len(results) == 1:
        return ["the result"]
    return [f"result {int(name) + 1}" if name.isdigit() else name for name in results]


def _is_float(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copied(each) for name, each in value.items()}
    return value.copy() if isinstance(value, np.ndarray) else value


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(one[name], other[name]) for name in one)
    return bool(np.array_equal(one, other, equal_nan=False)) if isinstance(one, np.ndarray) else bool(one == other)


def judge(name: str, folder: Path) -> Judgement:
    """Judge the answer in a folder."""
    exercise, path = BY_NAME[name], folder / f"{name}.py"
    functions = answers_of(exercise, folder)
    if isinstance(functions, Judgement):
        return functions
    found = judged(exercise, functions, path)
    if found.ok and exercise is EXERCISES[-1]:
        from .training import trained

        return trained(exercise, functions, folder)
    return found
