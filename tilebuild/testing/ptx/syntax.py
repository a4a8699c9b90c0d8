"""PTX as data: operands, instructions, variables, functions, a module. Lines count from 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Union


@dataclass(frozen=True)
class Register:
    """A register or a special one such as %tid.x; registers of an inner block have a `#n` after their name."""

    name: str


@dataclass(frozen=True)
class Literal:
    """A constant. `value` is an integer of at most 64 bits, possibly negative; of a floating-point constant it is the
    bits, and `width` is 32 or 64 (0 for an integer)."""

    value: int
    width: int = 0


@dataclass(frozen=True)
class Symbol:
    """The address of a variable or a function plus bytes; `generic` where it is written `generic(name)`."""

    name: str
    offset: int = 0
    generic: bool = False


@dataclass(frozen=True)
class Vector:
    """`{a, b, c, d}`"""

    items: tuple[Operand, ...]


@dataclass(frozen=True)
class Address:
    """`[base + offset]`; `base` is None for `[offset]`."""

    base: Register | Symbol | None
    offset: int


@dataclass(frozen=True)
class Pair:
    """`d|p`: a second destination."""

    first: Operand
    second: Operand


@dataclass(frozen=True)
class Negated:
    """`!p`"""

    operand: Operand


@dataclass(frozen=True)
class Sink:
    """`_`: a result that nobody wants."""


@dataclass(frozen=True)
class Group:
    """`(a, b)`: the arguments or results of a call."""

    items: tuple[Operand, ...]


Operand = Union[Register, Literal, Symbol, Vector, Address, Pair, Negated, Sink, Group]


@dataclass(frozen=True)
class Guard:
    """`@p` or `@!p`"""

    register: str
    negated: bool


@dataclass(frozen=True)
class Instruction:
    """`opcode` is the first word, `modifiers` the others, without their dots."""

    line: int
    opcode: str
    modifiers: tuple[str, ...]
    operands: tuple[Operand, ...]
    guard: Guard | None = None

    @property
    def text(self) -> str:
        """The name with its modifiers."""
        return ".".join((self.opcode, *self.modifiers))


@dataclass(frozen=True)
class Variable:
    """A declared variable of `count` elements of `type`; count 0 for an array without a size. `values` are initial
    bytes, and `addresses` the places in them (byte offset) where a symbol's address stands."""

    name: str
    space: str
    type: str
    count: int
    align: int
    line: int
    array: bool = False
    values: bytes = b""
    addresses: Mapping[int, Symbol] = field(default_factory=dict)


@dataclass(frozen=True)
class Function:
    """`registers` maps names to types, `labels` to indices of instructions; `targets` are the label lists of
    .branchtargets and .calltargets. A function without a body has `body` False."""

    name: str
    entry: bool
    line: int
    results: tuple[Variable, ...]
    parameters: tuple[Variable, ...]
    registers: Mapping[str, str]
    variables: tuple[Variable, ...]
    instructions: tuple[Instruction, ...]
    labels: Mapping[str, int]
    targets: Mapping[str, tuple[str, ...]]
    body: bool
    block: tuple[int, int, int] | None = None
    """.reqntid"""
    most_threads: int = 0
    """.maxntid, as a number of threads; 0 without one"""


@dataclass(frozen=True)
class Module:
    """What a text declares, by name; `version` and `target` as written."""

    version: str
    target: str
    variables: Mapping[str, Variable]
    functions: Mapping[str, Function]
