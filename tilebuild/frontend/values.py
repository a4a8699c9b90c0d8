"""What a name in a kernel's body can stand for while it is lowered.

Numbers known while building are plain Python numbers; integers over dimensions and ids are `Expr`; tiles, scalars
and arrays are SSA values of the dialect. The rest is below.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard, Union

from xdsl.ir import SSAValue

from tilebuild.frontend.scope import Function
from tilebuild.ir.infer import describe
from tilebuild.ir.types import ViewType
from tilebuild.plan.expr import LARGEST, Expr, Predicate


@dataclass(frozen=True)
class TileSpace:
    """An array cut into tiles: `x.tiles(BM, BN)`."""

    view: SSAValue
    shape: tuple[int, int]
    rank: int  # indices it takes

    @property
    def type(self) -> ViewType:
        assert isinstance(self.view.type, ViewType)
        return self.view.type


@dataclass(frozen=True)
class DType:
    name: str


@dataclass(frozen=True)
class Condition:
    """A conjunction of comparisons of integers that are not known while building."""

    predicates: tuple[Predicate, ...]

    @property
    def symbols(self) -> frozenset[str]:
        return frozenset[str]().union(*(p.left.symbols | p.right.symbols for p in self.predicates))


@dataclass(frozen=True)
class Builtin:
    """An operation or construct of tilebuild, by name."""

    name: str


@dataclass(frozen=True)
class Helper:
    """A `tb.fn`, to be inlined where it is called."""

    function: Function


@dataclass(frozen=True)
class Method:
    """`value.name`, to be called."""

    value: SSAValue
    name: str


@dataclass(frozen=True)
class Iteration:
    """What a `for` may run over: `unrolled` means known while building and repeated in place."""

    lower: Expr
    upper: Expr
    stages: int = 1
    unrolled: bool = False


Value = Union[
    int,
    float,
    bool,
    str,
    None,
    tuple[Any, ...],
    Expr,
    SSAValue,
    TileSpace,
    DType,
    Condition,
    Builtin,
    Helper,
    Method,
    Iteration,
]


def is_integer(value: object) -> TypeGuard[int | Expr]:
    """An integer that indexes or counts: a Python int or an expression."""
    return isinstance(value, Expr) or type(value) is int


def plain(e: Expr) -> int | Expr:
    """A constant expression is the number itself, which may be a tile's extent."""
    return e.value if e.is_const else e


def in_64_bits(value: Any) -> int | float | str:
    """The result of Python arithmetic as a value of a kernel; raises ValueError where no machine has such a number."""
    if isinstance(value, int) and not -LARGEST - 1 <= value <= LARGEST:
        raise ValueError("an integer does not fit into 64 bits")
    if isinstance(value, (int, float, str)):
        return value
    raise ValueError(f"the result is a {type(value).__name__}")


def _power(a: Any, b: Any) -> Any:
    if isinstance(a, int) and isinstance(b, int) and b > 64 and abs(a) > 1:
        raise ValueError("an integer does not fit into 64 bits")  # without computing it
    return a**b


FOLDS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: _power,
}  # fmt: skip
COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def show(value: object) -> str:
    """A value as a message names it."""
    if isinstance(value, SSAValue):
        return describe(value.type)
    if isinstance(value, TileSpace):
        return f"tile space [{value.shape[0]}, {value.shape[1]}] of {describe(value.type)}"
    if isinstance(value, Expr):
        return f"the integer {value}"
    if isinstance(value, Condition):
        return "a condition on dimensions"
    if isinstance(value, (Builtin, Helper, Method)):
        return "a function"
    if isinstance(value, DType):
        return f"the dtype {value.name}"
    if isinstance(value, tuple):
        return f"a tuple of {len(value)}"
    return "nothing" if value is None else f"{value!r:.40}"
