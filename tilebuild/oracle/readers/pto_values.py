"""What the SSA values of a PTO function stand for: index expressions, scalars, arrays, tiles.

Integers are expressions over the function's own integer arguments ("dim" symbols, at least 1), loop ids and program
ids. What cannot be followed becomes a symbol of which nothing is known: no proof can use it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Union

from tilebuild.oracle.readers.pto_text import Operation
from tilebuild.oracle.readers.pto_types import TileType
from tilebuild.plan.expr import ONE, ZERO, Expr, Predicate, build, cdiv, const, sym


@dataclass(frozen=True)
class Block:
    """`factor` times the number of the core ("idx"), or of all cores ("num")."""

    what: str
    factor: Expr


@dataclass(frozen=True)
class AtLeast:
    """A number of which the least value that it can have is known, and nothing else."""

    least: int


@dataclass(frozen=True)
class Product:
    """A number that is made as a product; a loop over it, shared among the cores, is a grid of that many dimensions."""

    factors: tuple[Expr, ...]
    whole: Expr


@dataclass(frozen=True)
class Linear:
    """The number of a program in a grid of which only the leading dimensions are left; `ids` are their symbols."""

    ids: tuple[Expr, ...]
    extents: tuple[Expr, ...]

    @property
    def expr(self) -> Expr:
        total = ZERO
        for name, extent in zip(self.ids, self.extents):
            total = total * extent + name
        return total


@dataclass(frozen=True)
class Number:
    """A scalar operand: `op` and its attribute are those of the instruction that makes it in a plan."""

    op: str
    attribute: str
    value: str
    dtype: str


@dataclass(frozen=True)
class Pointer:
    """An argument, from `offset` elements on."""

    argument: str
    dtype: str
    offset: Expr


@dataclass(frozen=True)
class View:
    """A whole view of an array: the parameter that stands for it, and its extents."""

    parameter: str
    dtype: str
    extents: tuple[Expr, ...]


@dataclass(frozen=True)
class Part:
    """A rectangle of a view."""

    view: View
    offsets: tuple[Expr, ...]
    sizes: tuple[Expr, ...]


@dataclass(eq=False)
class Handle:
    """A tile as one allocation names it. `root` is the tile whose bytes it is, found at its first access."""

    name: str
    type: TileType
    address: int | None
    valid: tuple[Expr, Expr]
    line: int
    order: int
    root: Handle | None = None
    links: Handle | None = None  # another tile that is a column where this one is
    column: bool = field(default=False)


Value = Union[Expr, Block, AtLeast, Product, Linear, Number, Pointer, View, Part, Handle, Predicate, None]
_ARITHMETIC = {
    "arith.addi": "+", "arith.subi": "-", "arith.muli": "*", "arith.minsi": "min", "arith.maxsi": "max",
    "arith.minui": "min", "arith.maxui": "max",
}  # fmt: skip
_DIVISIONS = {
    "arith.divsi": "//", "arith.divui": "//", "arith.floordivsi": "//", "arith.remsi": "%", "arith.remui": "%",
}  # fmt: skip
_CASTS = ("arith.index_cast", "arith.index_castui", "arith.extsi", "arith.extui", "arith.trunci")
_COMPARISONS = {
    "eq": "==", "ne": "!=", "slt": "<", "sle": "<=", "sgt": ">", "sge": ">=", "ult": "<", "ule": "<=", "ugt": ">",
    "uge": ">=",
}  # fmt: skip


def as_expr(value: Value) -> Expr | None:
    """The value as an index expression, None where it is none."""
    if isinstance(value, Expr):
        return value
    if isinstance(value, Product):
        return value.whole
    return value.expr if isinstance(value, Linear) else None


def evaluate(op: Operation, operands: list[Value]) -> Value:
    """What an arithmetic operation gives; None where that is not known."""
    if op.name == "arith.constant":
        return _constant(op)
    if op.name in _CASTS:
        return operands[0] if operands else None
    if op.name == "arith.muli" and len(operands) == 2:
        return _product(operands[0], operands[1])
    if op.name in ("arith.divsi", "arith.remsi") and len(operands) == 2 and isinstance(operands[0], Linear):
        found = _part_of_grid(op.name, operands[0], as_expr(operands[1]))
        if found is not None:
            return found
    if op.name == "arith.addi" and len(operands) == 2:
        more = _more(operands[0], operands[1])
        if more is not None:
            return more
    if op.name == "arith.mulf" and len(operands) == 2:
        return _float_product(operands[0], operands[1])
    if op.name == "arith.truncf" and operands and isinstance(operands[0], Number):
        unchanged = operands[0].op == "full" and operands[0].value in ("inf", "-inf", "nan")
        return replace(operands[0], dtype=op.type) if unchanged else None
    if op.name == "arith.sitofp" and operands and isinstance(operands[0], AtLeast):
        return operands[0]
    if op.name == "arith.sitofp" and operands:
        number = as_expr(operands[0])
        return Number("index", "expr", str(number), op.type) if number is not None else None
    expressions = [as_expr(v) for v in operands]
    if any(e is None for e in expressions):
        return None
    known = [e for e in expressions if e is not None]
    if op.name == "arith.cmpi" and len(known) == 2:
        kind = next((t.text for t in op.tokens if t.kind == "word"), "")
        return Predicate(_COMPARISONS[kind], known[0], known[1]) if kind in _COMPARISONS else None
    if op.name == "arith.ceildivsi" and len(known) == 2:
        return cdiv(known[0], known[1])
    name = _ARITHMETIC.get(op.name) or _DIVISIONS.get(op.name)
    return build(name, known) if name and len(known) == 2 and not _by_zero(name, known) else None


def _by_zero(name: str, operands: list[Expr]) -> bool:
    return name in ("//", "%") and operands[1] == ZERO


def _constant(op: Operation) -> Value:
    text = next((t.text for t in op.tokens if t.kind == "number"), "")
    if op.type in ("f32", "f16", "bf16"):
        return Number("full", "value", _float(text), op.type)
    try:
        return const(int(text, 0))
    except ValueError:
        return None


def _float(text: str) -> str:
    """A literal as a number's text; MLIR writes what is not finite as the bits of a float32."""
    if not text.startswith("0x"):
        return text
    bits = int(text, 16)
    if bits & 0x7FFFFFFF == 0x7F800000:
        return "-inf" if bits >> 31 else "inf"
    return "nan"


def _more(a: Value, b: Value) -> AtLeast | None:
    """The sum of the number of cores, which is at least 1, and a constant."""
    for block, other in ((a, b), (b, a)):
        size = as_expr(other)
        if isinstance(block, Block) and (block.what, block.factor) == ("num", ONE) and size is not None:
            return AtLeast(1 + size.value) if size.is_const else None
    return None


def _float_product(a: Value, b: Value) -> Value:
    """A product of float32 numbers that no finite one can be: the others are not followed."""
    for number, other in ((a, b), (b, a)):
        if not isinstance(number, Number) or (number.op, number.dtype) != ("full", "f32"):
            continue
        value = float(number.value)
        if isinstance(other, AtLeast) and other.least >= 2 and math.isfinite(value) and abs(value) > 2.0**127:
            return replace(number, value="inf" if value > 0 else "-inf")
        zero = isinstance(other, Number) and other.op == "full" and float(other.value) == 0
        if zero and math.isinf(value):
            return replace(number, value="nan")
    return None


def _product(a: Value, b: Value) -> Value:
    for block, other in ((a, b), (b, a)):
        if isinstance(block, Block):
            factor = as_expr(other)
            return Block(block.what, block.factor * factor) if factor is not None else None
    x, y = as_expr(a), as_expr(b)
    if x is None or y is None:
        return None
    if x.is_const or y.is_const:
        return x * y
    left = a.factors if isinstance(a, Product) else (x,)
    return Product((*left, y), x * y)


def _part_of_grid(name: str, number: Linear, divisor: Expr | None) -> Value:
    if divisor != number.extents[-1] or len(number.ids) < 2:
        return None
    if name == "arith.remsi":
        return number.ids[-1]
    rest = Linear(number.ids[:-1], number.extents[:-1])
    return rest if len(rest.ids) > 1 else rest.ids[0]


def symbol(name: str) -> Expr:
    """A symbol for an SSA name: `%arg.M` and `%M` are M, other marks become underscores."""
    bare = name.lstrip("%").removeprefix("arg.")
    cleaned = "".join(c if c.isalnum() or c == "_" else "_" for c in bare)
    cleaned = cleaned.replace("__s", "_s")  # `<array>__s<axis>` are the strides of the plan's own arrays
    return sym(cleaned if cleaned and not cleaned[0].isdigit() else f"v_{cleaned}")
