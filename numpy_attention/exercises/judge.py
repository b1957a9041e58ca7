"""The judge says whether an answer is right, and if it is not, what is wrong with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from .._typing import Array
from ..gradcheck import check_vjp
from . import reference
from .cases import LARGE, SIZES, SMALL, Backward, Forward, Functions, Size
from .course import BY_NAME, EXERCISES, Exercise, given
from .guard import RefusedError, load
from .mistakes import alike, named
from .results import (
    ChangedError,
    Printed,
    copied,
    crash,
    difference,
    is_float,
    lines_of,
    listed,
    names_of,
    parts,
    watched,
    where_wrong,
)
from .words import MOST, form, kind_of, label, report_told, results_of, signature_told, telling

Status = Literal["solved", "wrong", "open", "refused", "failed"]
SLOW = 5.0  # times as long as ours: worth a word
POINTS = 2  # of a proof
FASTER = "Work on whole arrays: a product, or a sum along an axis, needs no loop over entries."
NEARLY = 1e-5  # of the largest entry: a gradient as close as that is an approximation


class TimeUpError(BaseException):
    """An answer took too long. It passes through code that goes on after an error."""


class Picture(NamedTuple):
    """Which entries of a gradient are wrong."""

    name: str  # what the exercise calls it, such as dW
    wrong: list[list[bool]]  # leading axes as one
    shape: Sequence[int]


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


def answers_of(exercise: Exercise, folder: Path, show: Callable[..., None] | None = None) -> Functions | Judgement:
    """The functions of the answer in a folder, or why there are none.

    Parameters
    ----------
    exercise : Exercise
    folder : Path
    show : function, optional
        In place of ``print`` of the answer, whose lines are lost without it.
    """
    path = folder / f"{exercise.name}.py"

    def failed(told: str, status: Status = "failed") -> Judgement:
        return Judgement(exercise.name, status, told=[told])

    try:
        module = load(path, given(exercise), show or Printed())
    except RefusedError as error:
        return failed(str(error), "refused")
    except SyntaxError as error:
        return failed(f"{path.name}, line {error.lineno or 1}: {error.msg}")
    except FileNotFoundError:
        return failed(f"{path.name} is not there; learn start puts back what is missing")
    except OSError as error:
        return failed(f"{path.name}: it cannot be read: {error.strerror or error}")
    except ValueError as error:
        return failed(f"{path.name}: {error}")
    except (RecursionError, MemoryError):
        return failed(f"{path.name}: it is nested too deep, or too large, to be read")
    except Exception as error:
        return failed(crash(error, path))
    found = {name: getattr(module, name, None) for name in exercise.functions}
    for name, function in found.items():
        if not callable(function):
            return failed(f"{path.name}: expected a function {name}, there is none")
        if unfit := signature_told(exercise.blank, name, function):
            return failed(f"{path.name}: {unfit}")
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
    where, plain = "", functions
    functions = {name: watched(name, function) for name, function in plain.items()}
    try:
        if exercise.cases is None:
            from .trials import tried

            return tried(exercise, functions)
        verdict = "RIGHT"
        for size in (*SIZES, LARGE):
            for number, case in enumerate(exercise.cases(functions, size)):
                where = "" if size is SMALL else _sizes(case)
                if isinstance(case, Forward):
                    found = _forward(exercise, case, functions)
                elif size is LARGE:
                    found = _large(exercise, case, number)
                else:
                    found = _backward(exercise, case, size, number, ours)
                    verdict = found.verdict
                if not found.ok:
                    return found._replace(told=[found.told[0] + where, *found.told[1:]])
        ratio = _ratio(exercise, plain)
        slow = f"Right, and {ratio:.0f} times as slow as ours. {FASTER}"
        return Judgement(exercise.name, "solved", verdict, [slow] if ratio > SLOW else [], ratio=ratio)
    except NotImplementedError:
        return Judgement(exercise.name, "open", told=["Not written yet."])
    except ChangedError as error:
        return Judgement(exercise.name, "wrong", "WRONG", [str(error)])
    except RecursionError:
        return Judgement(exercise.name, "failed", told=[f"{path.name}: a function calls itself without end."])
    except MemoryError as error:
        told = f"{crash(error, path)}. It takes more memory than there is.{where}"
        return Judgement(exercise.name, "failed", told=[told])
    except Exception as error:
        if lines_of(error, path):
            return Judgement(exercise.name, "failed", told=[crash(error, path) + where])
        told = crash(error, path).removeprefix("backward: ")  # the checker's word on what came back
        name = exercise.functions[-1]
        told = told if told.startswith(exercise.functions) else f"{name}: {told}"
        return Judgement(exercise.name, "wrong", "WRONG", [told + where])


def _sizes(case: Forward | Backward) -> str:
    """The shapes of a case's inputs, for a mistake that shows at some sizes alone."""
    inputs = case.inputs[0] if isinstance(case, Forward) else case.inputs
    shapes = [f"{name} {value.shape}" for name, value in inputs.items() if isinstance(value, np.ndarray)]
    return f" (Right at other sizes; here {', '.join(shapes[:4])}.)" if shapes else ""


def _forward(exercise: Exercise, case: Forward, functions: Functions) -> Judgement:
    """Compare a forward with ours."""

    def wrong(told: str, pictures: Sequence[Picture] = ()) -> Judgement:
        return Judgement(exercise.name, "wrong", "WRONG", [f"{case.name}: {told}"], pictures)

    for inputs in case.inputs:
        expected = parts(case.ours(**{name: copied(value) for name, value in inputs.items()}))
        with np.errstate(all="ignore"):
            result = functions[case.name](**inputs)
        if isinstance(result, list) and len(expected) == 1:
            return wrong("expected an array, got a list")
        if expected.keys() != (found := parts(result)).keys():
            return wrong(
                f"expected {listed(expected)}, got {listed(found) if isinstance(result, Mapping) else kind_of(result)}"
            )
        names = results_of(exercise.blank, case.name)
        names = names if len(names) == len(expected) else names_of(expected)
        for name, ours, theirs in zip(names, expected.values(), found.values(), strict=True):
            apart = difference(name, ours, theirs)
            if apart:
                largest = max((np.abs(value).max() for value in inputs.values() if is_float(value)), default=0)
                overflow = "; does something overflow?" if "finite" in apart else ""
                apart += f" (the largest input is {largest:.6g}{overflow})" if largest > 100 else ""
                fits = np.shape(theirs) == np.shape(ours)
                return wrong(apart, [Picture(name, where_wrong(theirs, ours), np.shape(ours))] if fits else [])
    return Judgement(exercise.name, "solved", "RIGHT")


def _large(exercise: Exercise, case: Backward, number: int) -> Judgement:
    """Compare a backward with ours on arrays that are too large for a proof."""
    assert exercise.cases is not None
    other = exercise.cases(reference.ANSWERS, LARGE)[number]
    assert isinstance(other, Backward)
    with np.errstate(all="ignore"):
        theirs, right = gradients_of(case), gradients_of(other)
    apart = [found for name in right if (found := difference(label(name, [*right]), right[name], theirs[name]))]
    if apart:
        return Judgement(exercise.name, "wrong", "WRONG", [f"{case.name}: {apart[0]}"])
    return Judgement(exercise.name, "solved", "RIGHT")


def _backward(exercise: Exercise, case: Backward, size: Size, number: int, ours: bool) -> Judgement:
    """Prove a backward, or say what is wrong with it."""
    with np.errstate(all="ignore"):
        badly = form(returned(case), case.inputs, with_gradients(case))
    if badly:
        return Judgement(exercise.name, "wrong", "WRONG", [f"{case.name}: {badly}"])
    with np.errstate(all="ignore"):
        report = check_vjp(case.forward, case.backward, case.inputs, points=POINTS, show_progress=False, **case.options)
    if report.verdict == "PROVED":
        return Judgement(exercise.name, "solved", "PROVED")
    if report.ok:
        assert report.proof is not None
        why = f"right to within rounding, but not proved: {report.proof.reason}"
        then = "Write it with sums, products and what you are given."
        return Judgement(exercise.name, "wrong", "CANNOT PROVE", [f"{case.name}: {why}. {then}"])

    def gradients(functions: Functions) -> dict[str, Array]:
        assert exercise.cases is not None
        found = exercise.cases(functions, size)[number]
        assert isinstance(found, Backward)
        return gradients_of(found)

    def wrong(said: Sequence[str], pictures: Sequence[Picture] = ()) -> Judgement:
        return Judgement(
            exercise.name, "wrong", report.verdict.upper(), [f"{case.name}: {said[0]}", *said[1:]], pictures
        )

    theirs, right = gradients_of(case), gradients(reference.ANSWERS)
    names = [*right]
    called = {name: label(name, names) for name in names}
    endless = [found for name in names if "finite" in (found := difference(called[name], right[name], theirs[name]))]
    if endless:
        return wrong(endless)
    said = report_told(report, names)
    if all(alike(right[name], theirs[name], NEARLY) for name in names):
        said.insert(
            0, "it is near the gradient, but not equal: is a number rounded, or a derivative made of differences?"
        )
    elif not any(telling(row.diagnosis) for row in report.parameters):
        sentence = named(exercise, gradients, theirs, ours)
        said = [f"it is the right gradient but for one mistake: {sentence}.", *said] if sentence else said
    pictures = [Picture(called[name], where_wrong(theirs[name], right[name]), right[name].shape) for name in names]
    return wrong(said, [each for each in pictures if any(map(any, each.wrong))][:MOST])


def with_gradients(case: Backward) -> list[str]:
    """Names of the inputs that have a gradient."""
    return [name for name, value in case.inputs.items() if is_float(value)]


def returned(case: Backward) -> Any:
    """What a case's backward returns, for one cotangent."""
    rng = np.random.default_rng(1)
    output, cache = case.forward(**{name: copied(value) for name, value in case.inputs.items()})
    outputs = output if isinstance(output, tuple) else (output,)
    dout = tuple(rng.standard_normal(np.shape(each)) for each in outputs)
    return case.backward(dout if isinstance(output, tuple) else dout[0], cache)


def gradients_of(case: Backward) -> dict[str, Array]:
    """The gradients of a case's backward, for one cotangent."""
    found, names = returned(case), with_gradients(case)
    if isinstance(found, Mapping):
        return {name: np.asarray(found[name]) for name in names}
    several = found if isinstance(found, (tuple, list)) else (found,)
    return {name: np.asarray(part) for name, part in zip(names, several, strict=True)}


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


def judge(name: str, folder: Path) -> Judgement:
    """Judge the answer in a folder, and add what it printed."""
    printed = Printed()
    try:
        found = _judge(name, folder, printed)
    except TimeUpError as error:
        lines = lines_of(error, folder / f"{name}.py")
        at = f", line {lines[-1].lineno}" if lines else ""
        told = f"{name}.py{at}: {error}. Is there a loop that does not end?"
        found = Judgement(name, "failed", told=[told])
    if not printed.lines:
        return found
    return found._replace(told=[*found.told, "It printed:", *(f"  {line}" for line in printed.lines)])


def _judge(name: str, folder: Path, show: Callable[..., None]) -> Judgement:
    exercise, path = BY_NAME[name], folder / f"{name}.py"
    functions = answers_of(exercise, folder, show)
    if isinstance(functions, Judgement):
        return functions
    found = judged(exercise, functions, path)
    if found.ok and exercise is EXERCISES[-1]:
        from .training import trained

        try:
            return trained(exercise, functions, folder)
        except Exception as error:
            return Judgement(exercise.name, "failed", told=[crash(error, path)])
    return found
