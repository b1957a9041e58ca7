"""Shapes that run: every operation is called on arrays built from its docstring, and what it returns is held against it.

Read are the sections Parameters and Returns (``e : (B, T) array``, ``p : dict of arrays, W (D, A), v (A,)``) and the
comments behind the fields of a cache (``z: Array  # (B, T, A)``). All sizes differ, so that a wrong letter does not fit.
"""

import inspect
import re
from typing import NamedTuple

import numpy as np
import pytest

from numpy_attention.model import decoder, encoder
from numpy_attention.ops import attention, cells, cross_entropy, elementary, embedding
from numpy_attention.ops.attention import ALIGNMENTS
from numpy_attention.ops.cells import CELLS

SIZES = {"B": 2, "T": 3, "U": 5, "V": 7, "E": 11, "H": 13, "D": 17, "A": 19, "K": 23, "N": 29, "H'": 31}
LEADING = (3, 2)  # what "..." stands for

_SIZE = r"[A-Za-z]'?"
_PRODUCT = rf"(?:\d+|(?:\d+ )?{_SIZE}(?: {_SIZE})*)"
_AXIS = rf"(?:\.\.\.|{_PRODUCT}(?: \+ \d+)?)"
_SHAPE = rf"\((?:{_AXIS}(?:, {_AXIS})*)?,?\)"
_NAMED = rf"`{{0,2}}(\.?[A-Za-z][\w.]*)`{{0,2}} ({_SHAPE})"


class Entry(NamedTuple):
    """One entry of a section: ``names : kind`` and the text below."""

    names: tuple[str, ...]
    kind: str
    text: str


def section(function, title):
    """Entries of a section of the docstring."""
    found = re.search(
        rf"^{title}\n-+\n(.*?)(?=\n\n\w+\n---|\Z)", inspect.getdoc(function) or "", re.DOTALL | re.MULTILINE
    )
    if found is None:
        raise ValueError(f"{function.__name__}: no section {title}")
    entries = []
    for line in found.group(1).splitlines():
        if line and not line.startswith(" "):
            names, _, kind = line.partition(" : ")
            entries.append(Entry(tuple(names.split(", ")), kind, ""))
        elif entries:
            entries[-1] = entries[-1]._replace(text=f"{entries[-1].text} {line.strip()}".strip())
    return entries


def axes(shape):
    return [axis for axis in shape[1:-1].replace(" ,", ",").rstrip(",").split(", ") if axis]


def size(axis, sizes):
    """Size of an axis, such as ``2 A`` or ``U + 1``; None if it has a letter without a size."""
    total = 0
    for term in axis.split(" + "):
        product = 1
        for factor in term.split():
            if not factor.isdigit() and factor not in sizes:
                return None
            product *= int(factor) if factor.isdigit() else sizes[factor]
        total += product
    return total


def array(shape, kind, rng, sizes=SIZES):
    """Array of a stated shape."""
    built = []
    for axis in axes(shape):
        built += LEADING if axis == "..." else [size(axis, sizes)]
    if None in built:
        raise ValueError(f"{shape}: a letter of the legend was expected for every axis")
    if "int array" in kind:
        return rng.integers(0, 2, built)
    return np.ones(built, bool) if "bool array" in kind else rng.standard_normal(built)


def fits(shape, value, sizes, free=False):
    """Whether an array has a stated shape; if ``free``, letters without a size take the one that they meet first."""
    stated, found = axes(shape), np.shape(value)
    if stated[:1] == ["..."]:
        stated, rest = stated[1:], len(found) - len(stated) + 1
        if rest < 0 or sizes.setdefault("...", found[:rest]) != found[:rest]:
            return False
        found = found[rest:]
    if len(stated) != len(found):
        return False
    for axis, length in zip(stated, found, strict=True):
        if axis == "b":  # some of the B sequences
            continue
        if free and size(axis, sizes) is None and re.fullmatch(_SIZE, axis):
            sizes[axis] = length
        if size(axis, sizes) != length:
            return False
    return True


def arrays_of(entry):
    """Shapes of a dict of arrays by name; a name such as ``.U`` goes on with the prefix of the one before."""
    found, prefix = {}, ""
    for name, shape in re.findall(_NAMED, entry.kind) or re.findall(_NAMED, entry.text):
        if name.startswith("."):
            name = prefix + name
        prefix = name.rpartition(".")[0]
        found[name] = shape
    return found


def hold(where, entry, value, sizes, params):
    """Assert that a value is what its entry says."""
    kind = entry.kind
    said = f"{where}: {', '.join(entry.names)} : {kind}"
    shapes = re.findall(_SHAPE, kind)
    if kind == "any":
        return
    if value is None:
        assert "None" in kind, said
    elif kind.startswith("dict of arrays"):
        stated = arrays_of(entry)
        if stated:
            assert set(value) == set(stated), said
            for name, shape in stated.items():
                assert fits(shape, value[name], sizes), f"{said}: {name} is {value[name].shape}"
        else:  # gradients have the shapes of the parameters
            assert (entry.text == "Empty.") == (not value), said
            for name, gradient in value.items():
                assert gradient.shape == params[name].shape, f"{said}: {name}"
    elif kind.startswith("list of"):
        assert len(shapes) == 1, said
        assert all(fits(shapes[0], each, sizes) for each in value), said
    elif isinstance(value, tuple):
        assert type(value).__name__ == kind.removesuffix(", or None"), said
        hold_record(said, value, sizes)
    elif kind.startswith("scalar"):
        assert np.ndim(value) == 0, said
    else:
        assert shapes, f"{said}: no shape"
        assert "array" in kind, said
        assert any(fits(shape, value, sizes) for shape in shapes), f"{said}: it is {np.shape(value)}"


def fields_of(record):
    """Shapes in the comments behind the fields of a NamedTuple."""
    return dict(re.findall(rf"^    (\w+): .*?  # ({_SHAPE})", inspect.getsource(record), re.MULTILINE))


def hold_record(where, record, sizes):
    """Hold the fields of a record against their comments, and those of the records of its module inside it."""
    free = {name: length for name, length in sizes.items() if name not in ("K", "N", "...")}
    for name, shape in fields_of(type(record)).items():
        value = getattr(record, name)
        if value is not None:
            assert fits(shape, value, free, free=True), f"{where}: field {name}, {shape}, is {np.shape(value)}"
    for value in record:
        for each in value.values() if isinstance(value, dict) else [value]:
            if hasattr(each, "_fields") and type(each).__module__ == type(record).__module__:
                hold_record(where, each, sizes)


# What stands for the arguments that are no arrays, by name.
OTHERS = {"cell": CELLS["tanh"], "look": ALIGNMENTS["additive"], "bidirectional": True, "dloss": 1.0}
PREFIXES = tuple(encoder.DIRECTIONS[True])


def arguments_of(function, sizes):
    """Arguments of an operation, built from its docstring."""
    rng = np.random.default_rng(0)
    parameters = inspect.signature(function).parameters
    entries = section(function, "Parameters")
    assert [name for entry in entries for name in entry.names] == list(parameters), function.__name__
    arguments = {}
    for entry in entries:
        for name in entry.names:
            required = parameters[name].default is inspect.Parameter.empty
            if required or re.search(_SHAPE, entry.kind):
                arguments[name] = argument(function, name, entry, rng, sizes)
    return arguments


def argument(function, name, entry, rng, sizes):
    kind = entry.kind
    shapes = re.findall(_SHAPE, kind)
    if name in OTHERS:
        return OTHERS[name]
    if kind == "None":
        return None
    if name in ("cache", "kept"):  # what the forward returned last
        forward = function.__name__.replace("_backward", "_forward" if name == "cache" else "")
        return called(globals_of(function, forward), sizes)[1][-1]
    if kind == "Shared":
        return called(decoder.share, sizes)[1]
    if name in ("alpha", "z", "gates") and not kind:
        return dict(zip(("s", "c", "alpha", "z", "gates"), called(decoder.decoder_step, sizes)[1], strict=True))[name]
    if name == "sums" and kind == "any":
        return None
    if kind.startswith("dict of arrays"):
        found = {key: array(shape, kind, rng, sizes) for key, shape in arrays_of(entry).items()}
        if function is encoder.encoder_forward:  # W, U and b of each direction
            for letter in "WUb":
                own = found.pop(letter)
                found |= {f"{prefix}.{letter}": own for prefix in PREFIXES}
        if "those of the alignment" in entry.text:
            own = OTHERS["look"].shapes(sizes["D"], sizes["H'"], sizes["A"])
            found |= {f"alignment.{letter}": rng.standard_normal(shape) for letter, shape in own.items()}
        return found
    if kind.startswith("list of"):
        return [array(shapes[0].replace("b,", "B,"), kind, rng, sizes)]
    if not shapes:  # a record, built from the comments behind its fields
        record = globals_of(function, kind.removesuffix(", or None"))
        if not hasattr(record, "_fields"):
            raise ValueError(f"{function.__name__}: expected a shape for {name}, its docstring says {kind!r}")
        return record(**{field: array(shape, "array", rng, sizes) for field, shape in fields_of(record).items()})
    return array(shapes[0], kind, rng, sizes)


def globals_of(function, name):
    try:
        return function.__globals__[name]
    except KeyError:
        raise ValueError(f"{function.__name__}: cannot build {name}, which its docstring asks for") from None


def called(function, sizes):
    """Arguments and result of an operation on arrays of the stated shapes."""
    arguments = arguments_of(function, sizes)
    return arguments, function(**arguments)


def params_of(arguments):
    """The parameters that an operation was given, or that are in its cache."""
    for value in arguments.values():
        if isinstance(value, dict):
            return value
        if hasattr(value, "_fields") and params_of(value._asdict()):
            return params_of(value._asdict())
    return {}


def hold_operation(function):
    """Call an operation as its docstring says, and hold arguments and results against it."""
    sizes = dict(SIZES)
    if function.__module__ == encoder.__name__:
        sizes["H'"] = 2 * sizes["H"]
    arguments, result = called(function, sizes)
    for argument in arguments.values():
        if hasattr(argument, "_fields") and type(argument).__module__ == function.__module__:
            hold_record(function.__name__, argument, sizes)
    returns = section(function, "Returns")
    results = result if type(result) is tuple else (result,)
    assert len(results) == len(returns), f"{function.__name__}: returns {len(results)}, its docstring {len(returns)}"
    params = params_of(arguments)
    for entry, value in zip(returns, results, strict=True):
        hold(function.__name__, entry, value, sizes, params)
        (name,) = entry.names
        own = arguments.get(name[1:]) if name.startswith("d") else None  # a gradient has the shape of what it is of
        assert own is None or value is None or own.shape == value.shape, f"{function.__name__}: {name}"


def operations():
    """Every public function of the calculus that takes arrays."""
    for module in (attention, cells, cross_entropy, elementary, embedding, decoder, encoder):
        for name, function in inspect.getmembers(module, inspect.isfunction):
            own = function.__module__ == module.__name__ and not name.startswith("_")
            if own and re.search(r"Array|Cache", " ".join(map(str, function.__annotations__.values()))):
                yield function


@pytest.mark.parametrize("function", list(operations()), ids=lambda function: function.__name__)
def test_an_operation_takes_and_returns_the_shapes_that_its_docstring_states(function):
    hold_operation(function)


def test_every_function_of_a_cell_and_of_an_alignment_is_among_them():
    found = set(operations())
    for cell in CELLS.values():
        assert {cell.step, cell.step_backward} <= found
    for look in ALIGNMENTS.values():
        assert look is None or {look.keys, look.scores, look.scores_backward, look.after} <= found


# A docstring that is wrong must not pass.


def scaled(x, w):
    """Row by row.

    Parameters
    ----------
    x : (B, T) array
    w : (T,) array

    Returns
    -------
    y : (B, T) array
    p : dict of arrays, W (T, B), v (T,)
    """
    return x * w, {"W": x.T, "v": w}


def test_a_right_docstring_passes():
    hold_operation(scaled)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("w : (T,) array", "w : (U,) array"),
        ("w : (T,) array", "w : (2 T,) array"),
        ("w : (T,) array", "v : (T,) array"),
        ("w : (T,) array", "w : array"),
        ("w : (T,) array", "w : (Q,) array"),
        ("y : (B, T) array", "y : (T, B) array"),
        ("y : (B, T) array", "y : (B, T + 1) array"),
        ("y : (B, T) array", "y : (B, 2 T) array"),
        ("y : (B, T) array", "y : (B,) array"),
        ("y : (B, T) array", "y : array"),
        ("y : (B, T) array", "y : None"),
        ("y : (B, T) array\n", ""),
        ("W (T, B), ", ""),
        ("v (T,)", "v (B,)"),
        ("v (T,)", "u (T,)"),
        ("Returns\n-------", "Result\n------"),
    ],
)
def test_a_wrong_docstring_fails(right, wrong, monkeypatch):
    text = inspect.getdoc(scaled)
    assert right in text
    monkeypatch.setattr(scaled, "__doc__", text.replace(right, wrong))
    with pytest.raises((AssertionError, ValueError)):
        hold_operation(scaled)
