"""The flags of a command from its signature and docstring, parsed by argparse; every wrong use is one line."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import inspect
import re
import textwrap
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

from .._text import brief

WIDTH = 80
# What other programs call a flag.
SYNONYMS = {
    "--lr": "--learning-rate",
    "--epochs": "--steps",
    "--batch": "--batch-size",
    "--hidden": "--hidden-size",
    "--dim": "--hidden-size",
    "--attention-type": "--alignment",
    "--output": "--out",
    "--layers": "--hidden-size",
    "--lengths": "--length",
}


class Positional:
    """Marks a parameter that is given without a flag, in ``Annotated[Path, Positional("RUN")]``."""

    def __init__(self, metavar: str) -> None:
        self.metavar = metavar


class Flag:
    """Marks a parameter that has no default and is a flag all the same, in ``Annotated[Path, Flag]``."""


class UsageError(ValueError):
    """A command was called the wrong way."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, with a suggestion where there is one."""

    only = ""  # said of a flag that is not known

    def error(self, message: str) -> NoReturn:
        """Raise UsageError with one line."""
        told = self._told(message)
        raise UsageError(f"{told}{' See' if told.endswith('?') else '; see'} {self.prog} --help")

    def _told(self, message: str) -> str:
        if found := re.match(r"unrecognized arguments: (\S+)", message):
            name = found[1].partition("=")[0]
            if not name.startswith("-"):
                return f"{brief(name)[1:-1]}: there is no such argument here"
            if self.only:
                return f"{brief(name)[1:-1]}: {self.only}"
            known = [flag for action in self._actions for flag in action.option_strings]
            if name in known:
                return f"{name}: expected before --; no flag is read after it"
            near = SYNONYMS.get(name) if SYNONYMS.get(name) in known else did_you_mean(name, known)
            return f"{brief(name)[1:-1]}: there is no such flag{f'; did you mean {near}?' if near else ''}"
        if found := re.match(r"the following arguments are required: (\w+)", message):
            helped = next((action.help for action in self._actions if action.metavar == found[1]), "")
            return f"expected {found[1]}{f': {first_sentence(helped)}' if helped else ''}"
        if found := re.match(r"argument ([^:]+): (.*)", message, re.DOTALL):
            told = found[2].replace("expected one argument", "expected a value, got none")
            return f"{found[1]}: {told.replace('expected at least one argument', 'expected a value, got none')}"
        return message


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """The nearest of the known names, if one is near."""
    lower = {each.lower(): each for each in known}
    found = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.7)
    return lower[found[0]] if found else None


def first_sentence(text: str) -> str:
    """The first sentence, without its full stop."""
    return re.split(r"[.:;]\s|\.$", text)[0]


def run_command(
    command: Callable[..., int],
    arguments: Sequence[str],
    prog: str,
    *,
    choices: Mapping[str, Collection[str]] | None = None,
    groups: Mapping[str, Collection[str]] | None = None,
    extra: Mapping[str, tuple[str, str, str]] | None = None,
    examples: str = "",
    only: str = "",
) -> int:
    """Parse the arguments of a command and run it.

    Parameters
    ----------
    command : callable
        Its parameters become flags, those marked :class:`Positional` and those without a default positional; a
        parameter that is a dataclass stands for its fields. Docstrings in NumPy style are the help.
    arguments : sequence of str
    prog : str
    choices : dict, optional
        Possible values of flags, by name, for the help; the command rejects others.
    groups : dict, optional
        Names of flags by the heading under which the help lists them.
    extra : dict, optional
        Flags that the help shows and somebody else parses: heading, metavar and help by name.
    examples : str
        Commands for the end of the help.
    only : str
        What to say of a flag that is not known, in place of a suggestion.

    Returns
    -------
    status : int

    Raises
    ------
    UsageError
        In one line.
    """
    parser = Parser(
        prog=prog,
        description=summary_of(command),
        epilog=f"examples:\n{examples}" if examples else None,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=26, width=WIDTH),
        allow_abbrev=False,
    )
    parser.only = only
    headings = {name: heading for heading, names in (groups or {}).items() for name in names}
    made = {heading: parser.add_argument_group(heading) for heading in groups or {}}
    settings: dict[str, type] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        hint = typing.get_type_hints(command, include_extras=True)[name]
        if dataclasses.is_dataclass(hint):
            settings[name] = typing.cast(type, hint)
            helps, hints = helps_of(hint), typing.get_type_hints(hint, include_extras=True)
            for field in dataclasses.fields(hint):
                default = inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
                group = made.get(headings.get(field.name, ""), parser)
                _add(group, field.name, hints[field.name], default, helps.get(field.name, ""), choices or {})
        else:
            group = made.get(headings.get(name, ""), parser)
            _add(group, name, hint, parameter.default, helps_of(command).get(name, ""), choices or {})
    for name, (heading, metavar, told) in (extra or {}).items():
        made.get(heading, parser).add_argument(flag_of(name), metavar=metavar, help=told, default=argparse.SUPPRESS)
    places = [
        {"*": f"[{action.metavar} ...]", "?": f"[{action.metavar}]"}.get(str(action.nargs), str(action.metavar))
        for action in parser._positionals._group_actions
    ]
    parser.usage = " ".join([prog, *places, "[--flag value ...]"])
    given = vars(parser.parse_intermixed_args(list(arguments)))
    values: dict[str, Any] = {}
    for name, kind in settings.items():
        own = [field.name for field in dataclasses.fields(kind) if field.name in given]
        values[name] = kind(**{each: _tupled(given.pop(each)) for each in own})
    return command(**values, **{name: _tupled(value) for name, value in given.items()})


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def flag_of(name: str) -> str:
    """``--learning-rate`` of ``learning_rate``."""
    return f"--{name.replace('_', '-')}"


def _add(group: Any, name: str, hint: Any, default: Any, told: str, choices: Mapping[str, Collection[str]]) -> None:
    """Add one flag, or one positional argument."""
    positional, mark = None, None
    if typing.get_origin(hint) is Annotated:
        hint, mark = typing.get_args(hint)
        positional = mark if isinstance(mark, Positional) else None
    required = mark is Flag
    if default is inspect.Parameter.empty and positional is None and not required:
        positional = Positional(name.upper())
    kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)] if _is_union(hint) else [hint]
    many = typing.get_origin(kinds[0]) is tuple and typing.get_args(kinds[0])[1:] == (...,)
    if many:
        element = typing.get_args(kinds[0])[0]
        each = (
            [kind for kind in typing.get_args(element) if kind is not type(None)] if _is_union(element) else [element]
        )
    if typing.get_origin(kinds[0]) is typing.Literal:
        choices, kinds = {**choices, name: typing.get_args(kinds[0])}, [str]
    told = told.replace("%", "%%")
    given = default is not None and default is not inspect.Parameter.empty and hint is not bool and default != ()
    if given and "by default" not in told:
        told = f"{told.rstrip('.')} (default: {_shown(default)})."
    if hint is bool:
        group.add_argument(flag_of(name), action="store_true", default=argparse.SUPPRESS, help=told)
    elif kinds == [bool]:  # may be left to the program
        action = argparse.BooleanOptionalAction
        group.add_argument(flag_of(name), action=action, default=argparse.SUPPRESS, help=told)
    elif positional is not None and many:
        group.add_argument(name, nargs="*", metavar=positional.metavar, help=told)
    elif positional is not None:
        often = {} if default is inspect.Parameter.empty else {"nargs": "?"}
        group.add_argument(name, type=_reader(kinds), metavar=positional.metavar, help=told, **often)
    elif many:
        read = _several(_reader(each))
        told += f" Of {', '.join(choices[name])}." if name in choices else ""
        options: dict[str, Any] = {"metavar": f"{_metavar(each)},...", "default": argparse.SUPPRESS}
        group.add_argument(flag_of(name), type=read, nargs="+", action=_Joined, help=told, **options)
    else:
        metavar = "{" + ",".join(choices[name]) + "}" if name in choices else _metavar(kinds)
        reader = _reader(kinds)
        options = {"metavar": metavar, "default": argparse.SUPPRESS, "required": required}
        group.add_argument(flag_of(name), type=reader, help=told, **options)


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _shown(default: Any) -> str:
    """A default as it would be typed."""
    if isinstance(default, tuple):
        sign = "-" if len(default) == 2 and all(isinstance(each, int) for each in default) else ","
        return sign.join(map(str, default))
    return str(default)


def _metavar(kinds: list[Any]) -> str:
    if len(kinds) > 1 and int in kinds:
        return "N|N-M"
    return {int: "N", float: "X", Path: "PATH"}.get(kinds[0], "TEXT")


class _Joined(argparse.Action):
    """All values of all times that the flag was given, as one tuple."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        before = getattr(namespace, self.dest, ())
        setattr(namespace, self.dest, (*before, *(each for part in values for each in part)))


def _several(read: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    """A reader of values with commas between them."""
    return lambda text: tuple(read(part) for part in text.split(",") if part)


def _reader(kinds: list[Any]) -> Callable[[str], Any]:
    """A function that reads a value from text, for a type or a number or a range of numbers."""
    if len(kinds) > 1 and int in kinds:
        return _read_range
    if kinds[0] is int:
        return _read_int
    if kinds[0] is bool:
        return _read_flag
    return _read_float if kinds[0] is float else Path if kinds[0] is Path else str


def _read_range(text: str) -> int | tuple[int, int]:
    """``7``, or ``3-10``."""
    if found := re.fullmatch(r"(\d{1,18})(?:[-:](\d{1,18}))?", text):
        return int(found[1]) if found[2] is None else (int(found[1]), int(found[2]))
    raise argparse.ArgumentTypeError(f"expected a number, such as 7, or a range, such as 3-10, got {brief(text)}")


def _read_flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"expected true or false, got {brief(text)}")
    return text == "true"


def _read_int(text: str) -> int:
    if not re.fullmatch(r"[+-]?\d{1,400}", text):
        raise argparse.ArgumentTypeError(f"expected a whole number, got {brief(text)}")
    return int(text)


def _read_float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number, got {brief(text)}") from None


def summary_of(command: Any) -> str:
    """The docstring up to its parameters, filled."""
    text = inspect.getdoc(command) or ""
    paragraphs = re.split(r"\n\n?Parameters\n-+\n", text)[0].strip().split("\n\n")
    return "\n\n".join(textwrap.fill(paragraph, WIDTH) for paragraph in paragraphs)


def helps_of(documented: Any) -> dict[str, str]:
    """What a docstring in NumPy style says of each parameter."""
    text = inspect.getdoc(documented) or ""
    section = re.search(r"Parameters\n-+\n(.*?)(?:\n\n\w+\n-+\n|\Z)", text, re.DOTALL)
    if section is None:
        return {}
    found = re.findall(r"^(\w+) : [^\n]*\n((?:(?: +[^\n]*)?\n?)*)", section[1], re.MULTILINE)
    return {name: " ".join(body.split()) for name, body in found}
