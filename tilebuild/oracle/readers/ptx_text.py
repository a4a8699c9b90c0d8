"""PTX as tokens and as data: what a file declares and the instructions of its functions. Syntax only.

The grammar is that of the PTX ISA as compilers emit it. What it does not know, a directive or an instruction, is kept
with its line, so that a judge can say whether it matters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Union

LARGEST = 1 << 26  # characters of a file
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\f\v]+|//[^\n]*|/\*.*?(?:\*/|\Z))
      | (?P<line>\n)
      | (?P<string>"(?:[^"\\\n]|\\.)*")
      | (?P<word>[%$_A-Za-z][\w$]*(?:(?:\.|::)\w+)*)
      | (?P<directive>\.[A-Za-z_]\w*(?:(?:\.|::)\w+)*)
      | (?P<number>0[fFdD][0-9A-Fa-f]+|0[xX][0-9A-Fa-f]+U?|0[bB][01]+U?|\d+(?:\.\d*)?(?:[eE][-+]?\d+)?U?)
      | (?P<mark>[-+{}()\[\]<>;,:@!|=*&~/?^])""",
    re.VERBOSE | re.DOTALL,
)
TYPE_BYTES: Mapping[str, int] = {
    **{f"{kind}{bits}": bits // 8 for kind in "bus" for bits in (8, 16, 32, 64)},
    "b128": 16, "f16": 2, "f16x2": 4, "bf16": 2, "bf16x2": 4, "tf32": 4, "f32": 4, "f64": 8, "pred": 1,
    "e4m3x2": 2, "e5m2x2": 2, "f32x2": 8, "u16x2": 4, "s16x2": 4,
}  # fmt: skip
SPACES = ("shared", "global", "local", "const", "param")


class SyntaxProblem(ValueError):
    """The text is not PTX; `line` counts from 1."""

    def __init__(self, message: str, line: int) -> None:
        self.line = line
        super().__init__(f"line {line}: {message}")


@dataclass(frozen=True)
class Token:
    """`kind`: string, word, directive, number or mark; "end" after the last one."""

    kind: str
    text: str
    line: int


@dataclass(frozen=True)
class Register:
    """A register, or a special one such as %tid.x."""

    name: str


@dataclass(frozen=True)
class Number:
    """An integer."""

    value: int


@dataclass(frozen=True)
class Name:
    """A variable, label or function, with a byte offset."""

    name: str
    offset: int = 0


@dataclass(frozen=True)
class Address:
    """`[base + offset]`; no base where the address is a number."""

    base: Register | Name | None
    offset: int = 0


@dataclass(frozen=True)
class Group:
    """`{a, b}` or `(a, b)`."""

    items: tuple[Operand, ...]


@dataclass(frozen=True)
class Other:
    """A floating-point number, a sink `_`, or what no form above describes."""

    text: str


Operand = Union[Register, Number, Name, Address, Group, Other]


@dataclass(frozen=True)
class Instruction:
    """One instruction. `parts` is its name split at dots; `guard` a predicate register and whether it is negated;
    `loc` the file number and line of the `.loc` before it."""

    parts: tuple[str, ...]
    operands: tuple[Operand, ...]
    line: int
    guard: tuple[str, bool] | None = None
    loc: tuple[int, int] | None = None

    @property
    def op(self) -> str:
        """The first part of the name."""
        return self.parts[0]

    @property
    def text(self) -> str:
        """The whole name."""
        return ".".join(self.parts)


@dataclass(frozen=True)
class Variable:
    """A declared variable; `bytes` is None for an array without a size."""

    name: str
    space: str
    align: int
    bytes: int | None
    extern: bool
    line: int


@dataclass
class Function:
    """A kernel or a device function. `labels` are indices into `body`; `directives` those between head and body;
    `tables` the labels of each `.branchtargets`; `widths` the bits of registers, `%r<` for all that a declaration such
    as `%r<10>` makes; `variables` those declared inside, except
    parameters; `slots` the parameters declared inside, for calls."""

    name: str
    entry: bool
    line: int
    params: tuple[Variable, ...] = ()
    returns: tuple[Variable, ...] = ()
    directives: dict[str, tuple[int, ...]] = field(default_factory=dict)
    variables: list[Variable] = field(default_factory=list)
    body: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    tables: dict[str, tuple[str, ...]] = field(default_factory=dict)
    widths: dict[str, int] = field(default_factory=dict)
    defined: bool = True
    slots: set[str] = field(default_factory=set)

    def width(self, register: str) -> int:
        """The bits of a register as declared; 64 where it is not."""
        found = self.widths.get(register)
        return found if found is not None else self.widths.get(f"{register.rstrip('0123456789')}<", 64)


@dataclass
class Module:
    """A file: `unknown` are the directives, with their lines, that the reader skipped."""

    name: str
    version: str = ""
    target: str = ""
    address_size: int = 64
    variables: list[Variable] = field(default_factory=list)
    functions: list[Function] = field(default_factory=list)
    files: dict[int, str] = field(default_factory=dict)
    unknown: list[tuple[str, int]] = field(default_factory=list)

    @property
    def entries(self) -> tuple[Function, ...]:
        """The kernels, in order."""
        return tuple(f for f in self.functions if f.entry and f.defined)


def tokens(text: str) -> Iterator[Token]:
    """The tokens of a text; raises `SyntaxProblem`."""
    at, line = 0, 1
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise SyntaxProblem(f"{text[at : at + 20]!r} is no token of PTX", line)
        kind, found = match.lastgroup or "", match.group()
        if kind not in ("space", "line"):
            yield Token(kind, found, line)
        line += found.count("\n")
        at = match.end()


def integer(text: str) -> int | None:
    """The value of an integer's text, or None for a floating-point one."""
    digits = text.rstrip("U")
    if digits[:2] in ("0f", "0F", "0d", "0D") or (re.search(r"[.eE]", digits) and digits[:2] not in ("0x", "0X")):
        return None
    if len(digits) > 40:
        return None
    if digits[:2] in ("0x", "0X"):
        return int(digits, 16)
    if digits[:2] in ("0b", "0B"):
        return int(digits, 2)
    octal = digits.startswith("0") and len(digits) > 1
    if octal:
        return int(digits, 8) if set(digits) <= set("01234567") else None
    return int(digits)
