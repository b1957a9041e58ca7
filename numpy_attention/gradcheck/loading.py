"""Layers in somebody's file: ``FILE.py::NAME`` or ``package.module::NAME`` as a forward, a backward and example inputs.

A layer is one of

* functions ``NAME_forward`` (or ``NAME``) and ``NAME_backward``, and ``NAME_inputs``;
* an object, or a class without arguments, with ``forward``, ``backward`` and ``inputs``;
* a ``torch.autograd.Function`` or a ``jax.custom_vjp`` called ``NAME``, and ``NAME_inputs``.

Inputs are an array, a tuple, a dict, or a function of ``rng`` and sizes that returns one. ``NAME_options``, or an
attribute ``options``, is a dict of further arguments of :func:`check_vjp`, such as ``batch_axis``.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from .._code import argument_names
from .._text import brief
from .adapters import as_pair


class Layer(NamedTuple):
    """A forward, its backward and example inputs, as :func:`check_vjp` takes them."""

    name: str
    forward: Callable[..., Any]
    backward: Callable[..., Any]
    inputs: Any
    options: dict[str, Any]


def load_layers(target: str) -> list[Layer]:
    """The layers that ``FILE.py::NAME`` names; without ``::NAME`` all that are in the file.

    Parameters
    ----------
    target : str
        A file or a module, and after ``::`` a name.

    Returns
    -------
    list of Layer

    Raises
    ------
    ValueError
        In one line: no such file or name, code that cannot be run, a layer without a backward or inputs.
    """
    place, _, name = target.partition("::")
    module = _module(place)
    if name:
        return [_layer(module, name, place)]
    found = [_layer(module, each, place) for each in _names(module)]
    if not found:
        raise ValueError(f"{place}: expected a layer: NAME_forward, NAME_backward and NAME_inputs, found none")
    return found


def _module(place: str) -> ModuleType:
    """The module of a file or of an importable name."""
    path = Path(place)
    if path.suffix == ".py" or path.exists():
        if not path.is_file():
            raise ValueError(f"{place}: there is no such file")
        spec = importlib.util.spec_from_file_location(f"_checked_{path.stem}", path)
        if spec is None or spec.loader is None:
            raise ValueError(f"{place}: expected a file of Python, that ends in .py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[module.__name__] = module
        sys.path.insert(0, str(path.parent.absolute()))
        try:
            spec.loader.exec_module(module)
        except SyntaxError as error:
            raise ValueError(f"{Path(error.filename or place).name}, line {error.lineno}: {error.msg}") from error
        except (Exception, SystemExit) as error:
            raise ValueError(f"{theirs(error)} raises {said(error)}") from error
        finally:
            sys.path.remove(str(path.parent.absolute()))
        return module
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        raise ValueError(f"{place}: there is no such file or module ({error})") from error
    except (Exception, SystemExit) as error:
        raise ValueError(f"{theirs(error)} raises {said(error)}") from error


def said(error: BaseException) -> str:
    """An error in a few words: its kind and its first line."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}{f': {lines[0]}' if lines else ''}"


def theirs(error: BaseException) -> str:
    """File and line of an error in the code that was loaded."""
    here = str(Path(__file__).parent)
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        each for each in frames if not each.filename.startswith(("<", here)) and "site-packages" not in each.filename
    ]
    frame = (own or list(frames))[-1]
    return f"{Path(frame.filename).name}, line {frame.lineno}:"


def _names(module: ModuleType) -> Iterator[str]:
    """The names of all layers of a module, in its order."""
    for name, value in vars(module).items():
        whole = not name.startswith("_") and all(hasattr(value, each) for each in ("forward", "backward", "inputs"))
        if name.endswith("_backward") and f"{name.removesuffix('_backward')}_inputs" in vars(module):
            yield name.removesuffix("_backward")
        elif whole or (hasattr(module, f"{name}_inputs") and as_pair(value) is not None):
            yield name


def _layer(module: ModuleType, name: str, place: str) -> Layer:
    """The layer of this name."""
    known = vars(module)
    value = known.get(name)
    if all(hasattr(value, each) for each in ("forward", "backward")) and as_pair(value) is None:
        return _of_object(value, name)
    forward, backward = known.get(f"{name}_forward", value), known.get(f"{name}_backward")
    pair = as_pair(value)
    if pair is not None:
        forward, backward = pair
    if forward is None:
        near = difflib.get_close_matches(name, _names(module), n=1) or difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"{place}: there is no {brief(name)[1:-1]}{hint}")
    if backward is None:
        raise ValueError(f"{place}: expected {name}_backward(dout, cache) beside {name}, there is none")
    if f"{name}_inputs" not in known:
        raise ValueError(
            f"{place}: expected {name}_inputs, example inputs of {name}: arrays, or a function of rng and sizes; "
            "there is none"
        )
    return Layer(name, forward, backward, known[f"{name}_inputs"], dict(known.get(f"{name}_options", {})))


def _of_object(value: Any, name: str) -> Layer:
    """The layer of an object, or of a class that is made without arguments."""
    made = value
    if isinstance(value, type):
        try:
            made = value()
        except TypeError as error:
            raise ValueError(f"{name}: expected a class that is made without arguments ({error})") from error
    if not hasattr(made, "inputs"):
        raise ValueError(f"{name}: expected an attribute inputs, its example inputs; there is none")
    forward: Callable[..., Any] = made.forward
    backward: Callable[..., Any] = made.backward
    if len(argument_names(backward)) == 1:  # it keeps its cache to itself

        def forward(*inputs: Any, **named: Any) -> tuple[Any, None]:
            return made.forward(*inputs, **named), None

        def backward(dout: Any, cache: None) -> Any:
            return made.backward(dout)

    return Layer(name, forward, backward, made.inputs, _options(made))


def _options(made: Any) -> dict[str, Any]:
    given = getattr(made, "options", {})
    if not isinstance(given, Mapping):
        raise ValueError(f"options: expected a dict of arguments of check_vjp, got {brief(given)}")
    return dict(given)
