"""Plain data into frozen dataclasses, every error collected and addressed by path.

`[tool.tilebuild]` and the toolchain files are read with it: the classes are the single source of what is allowed. A key
is the field's name with dashes for underscores; a field with the metadata `NOT_A_KEY` is not read. Types may be str,
int, bool, Literal of strings, `X | None`, `tuple[X, ...]`, `Mapping[str, X]`, other dataclasses, `object` (anything),
and types that are written as strings: they have a class attribute PATTERN, the regular expression that the strings
match, and the reader is given their parsers.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from tilebuild.diagnostics import did_you_mean

T = TypeVar("T")
KeyPath = tuple[str | int, ...]
NOT_A_KEY: Mapping[str, bool] = {"key": False}


@dataclass(frozen=True)
class Problem:
    """`kind` is "key" (unknown), "missing", "type" or "value"; `at_key` says that the key is wrong, not its value."""

    kind: str
    path: KeyPath
    message: str
    fix: str = ""

    @property
    def at_key(self) -> bool:
        return self.kind == "key"


def dotted(path: KeyPath) -> str:
    """`("targets", 1)` as `targets[1]`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


@dataclass(frozen=True)
class Key:
    """A field of a dataclass as it is written in a file; `required` where the field has no default."""

    name: str
    field: str
    hint: Any
    required: bool
    default: object


_KEYS: dict[type[Any], Mapping[str, Key]] = {}  # to look at a class takes longer than to read most tables


def keys(cls: type[Any]) -> Mapping[str, Key]:
    """The keys of a dataclass, by their written name, in order."""
    if cls not in _KEYS:
        _KEYS[cls] = _keys(cls)
    return _KEYS[cls]


def _keys(cls: type[Any]) -> Mapping[str, Key]:
    hints = typing.get_type_hints(cls)
    found = {}
    for field in dataclasses.fields(cls):
        if field.metadata.get("key", True):
            default: object = field.default
            if field.default_factory is not dataclasses.MISSING:
                default = field.default_factory()
            name = field.name.rstrip("_").replace("_", "-")
            required = default is dataclasses.MISSING
            found[name] = Key(name, field.name, hints[field.name], required, None if required else default)
    return found


class Reader:
    """Reads values against types and collects `problems`; a value with a problem reads as None."""

    def __init__(self, parsers: Mapping[type, Callable[[str], object]] | None = None) -> None:
        """`parsers` turn a string into a value of their type, or raise ValueError with the sentence to show and,
        optionally, a fix."""
        self.parsers = dict(parsers or {})
        self.problems: list[Problem] = []

    def report(self, kind: str, path: KeyPath, message: str, fix: str = "") -> None:
        self.problems.append(Problem(kind, path, message, fix))

    def read(self, cls: type[T], value: object, path: KeyPath = ()) -> T | None:
        """An instance of the dataclass `cls`, or None where the value or anything in it has a problem."""
        if not isinstance(value, Mapping):
            self._wrong(cls, value, path)
            return None
        before = len(self.problems)
        known = keys(cls)
        values = {}
        for name, item in value.items():
            if name in known:
                values[known[name].field] = self._value(known[name].hint, item, (*path, name))
            else:
                self.report(
                    "key",
                    (*path, name),
                    f"unknown key{_suggestion(str(name), list(known))}",
                    f"the keys here are {', '.join(known)}",
                )
        for key in known.values():
            if key.required and key.name not in value:
                self.report("missing", path, f'the key "{key.name}" is missing', f"add it: {expected(key.hint)}")
        return cls(**values) if len(self.problems) == before else None

    def _value(self, hint: Any, value: object, path: KeyPath) -> Any:
        hint = unwrapped(hint)
        if hint is object or hint is Any:
            return value
        if is_text(hint):
            return self._parsed(hint, value, path)
        if is_table(hint):
            return self.read(typing.cast(type, hint), value, path)
        options = choices(hint)
        if options is not None:
            return self._choice(options, value, path)
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if origin is tuple and isinstance(value, (list, tuple)):
            return tuple(self._value(arguments[0], item, (*path, i)) for i, item in enumerate(value))
        if origin is not None and origin is not tuple and isinstance(value, Mapping):
            return {name: self._value(arguments[1], item, (*path, name)) for name, item in value.items()}
        if origin is None and type(value) is hint:  # exactly: a bool is no int
            return value
        self._wrong(hint, value, path)
        return None

    def _parsed(self, hint: type, value: object, path: KeyPath) -> object:
        if not isinstance(value, str):
            self._wrong(hint, value, path)
            return None
        try:
            return self.parsers[hint](value)
        except ValueError as error:
            self.report("value", path, *error.args)
            return None

    def _choice(self, options: tuple[str, ...], value: object, path: KeyPath) -> object:
        if not isinstance(value, str):
            self._wrong(typing.Literal[options], value, path)
        elif value not in options:
            message = f'"{value}" is not supported{did_you_mean(value, options)}'
            self.report("value", path, message, f"write {expected(typing.Literal[options])}")
        return value

    def _wrong(self, hint: Any, value: object, path: KeyPath) -> None:
        fix = ""
        if typing.get_origin(hint) is tuple and isinstance(value, str):
            fix = f'write ["{value}"]'
        elif hint is str and type(value) in (int, float):
            fix = f'write "{value}"'
        self.report("type", path, f"expected {expected(hint)}, found {found(value)}", fix)


def _suggestion(name: str, known: list[str]) -> str:
    """Swapped letters first: "targest" is nearer to "target" by length, and to "targets" by what a hand does."""
    return did_you_mean(name, [key for key in known if sorted(key) == sorted(name)] or known)


def leaves(cls: type, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Key]]:
    """Every key of a tree of dataclasses that holds a value rather than a table, with its path."""
    for key in keys(cls).values():
        if is_table(key.hint):
            yield from leaves(typing.cast(type, key.hint), (*path, key.name))
        else:
            yield (*path, key.name), key


def from_text(hint: Any, text: str) -> object:
    """The plain value that a text stands for where only text can be given: an environment variable, `-C key=value`.

    Lists are separated by commas; a text that does not fit the type is returned as it is, for the reader to judge.
    """
    hint = unwrapped(hint)
    if typing.get_origin(hint) is tuple:
        return [from_text(typing.get_args(hint)[0], part.strip()) for part in text.split(",") if part.strip()]
    if hint is bool:
        return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)
    if hint is int and text.removeprefix("-").isdecimal():
        return int(text)
    return text


def expected(hint: Any) -> str:
    """What a type is called in a message."""
    options = choices(hint)
    if options is not None:
        *most, last = (f'"{option}"' for option in options)
        return f"{', '.join(most)} or {last}" if most else last
    hint = unwrapped(hint)
    if typing.get_origin(hint) is tuple:
        item = typing.get_args(hint)[0]
        return (
            "a list of tables"
            if is_table(item)
            else f"a list of {expected(item)}"
            if choices(item)
            else "a list of strings"
        )
    if is_table(hint) or typing.get_origin(hint) is not None:
        return "a table"
    return {bool: "true or false", int: "an integer"}.get(hint, "a string")


def found(value: object) -> str:
    """What a value is called in a message."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, (list, tuple)):
        return "a list"
    if value is None:
        return "nothing"
    name = {str: "the string", int: "the integer", float: "the number"}.get(type(value), "the date or time")
    return f'{name} "{value}"' if isinstance(value, str) else f"{name} {value}"


def is_table(hint: Any) -> bool:
    """Whether values of a type are tables with known keys."""
    return dataclasses.is_dataclass(hint) and not is_text(hint)


def is_one_text(hint: Any) -> bool:
    """Whether a value of a type can be given as one text: neither a table with free names nor a list of tables."""
    hint = unwrapped(hint)
    origin = typing.get_origin(hint)
    if origin is tuple:
        return not is_table(typing.get_args(hint)[0])
    return origin is None or origin is typing.Literal


def is_text(hint: Any) -> bool:
    """Whether values of a type are written as strings with a form of their own."""
    return hasattr(hint, "PATTERN")


def choices(hint: Any) -> tuple[str, ...] | None:
    """The options of a `Literal[...]` or a `Literal[...] | None`; None for any other type."""
    inner = unwrapped(hint)
    return typing.get_args(inner) if typing.get_origin(inner) is typing.Literal else None


def unwrapped(hint: Any) -> Any:
    """X, of `X | None`; any other type as it is."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return next(argument for argument in typing.get_args(hint) if argument is not type(None))
    return hint
