"""Code of a user's own, read without running it: the arguments of a function, and syntax trees."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ._shared import filtered


def argument_names(function: Callable[..., Any]) -> list[str]:
    """Names of a function's arguments; raises as ``inspect.signature``.

    Their annotations are left alone: from Python 3.14 on they may name what only a type checker imports.

    Examples
    --------
    >>> argument_names(lambda dout, cache=None: dout)
    ['dout', 'cache']
    """
    if sys.version_info >= (3, 14):
        from annotationlib import Format

        return list(inspect.signature(function, annotation_format=Format.FORWARDREF).parameters)
    return list(inspect.signature(function).parameters)


@contextmanager
def unwarned() -> Iterator[None]:
    r"""Without warnings of what is parsed inside, such as a ``\s`` in a docstring: who imports the code gets them."""
    with _no_syntax(), _no_deprecation():
        yield


_no_syntax = filtered("ignore", SyntaxWarning)
_no_deprecation = filtered("ignore", DeprecationWarning)  # the same before Python 3.12
