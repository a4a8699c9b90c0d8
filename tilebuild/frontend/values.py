"""What a name in a kernel's body can stand for while it is lowered.

Numbers known while building are plain Python numbers; integers over dimensions and ids are `Expr`; tiles, scalars
and arrays are SSA values of the dialect. The rest is below.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

from xdsl.ir import SSAValue

from tilebuild.frontend.scope import Function
from tilebuild.ir.infer import describe
from tilebuild.ir.types import ViewType
from tilebuild.plan.expr import Expr, Predicate


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

    value: object
    name: str


@dataclass(frozen=True)
class Iteration:
    """What a `for` may run over: `unrolled` means known while building and repeated in place."""

    lower: Expr
    upper: Expr
    stages: int = 1
    unrolled: bool = False


Value = Union[int, float, bool, str, None, tuple, Expr, SSAValue, TileSpace, DType, Condition, Builtin, Helper, Method, Iteration]


def is_number(value: object) -> bool:
    return isinstance(value, (int, float))


def is_integer(value: object) -> bool:
    """An integer that indexes or counts: a Python int or an expression."""
    return isinstance(value, Expr) or type(value) is int


def show(value: object) -> str:
    """A value as a message names it."""
    if isinstance(value, SSAValue):
        return describe(value.type)
    if isinstance(value, TileSpace):
        return f"tile space [{value.shape[0]}, {value.shape[1]}] of a {describe(value.type)}"
    if isinstance(value, Expr):
        return f"the integer {value}"
    if isinstance(value, Condition):
        return "a condition on dimensions"
    if isinstance(value, (Builtin, Helper, Method)):
        return "a function"
    if isinstance(value, DType):
        return f"the dtype {value.name}"
    return repr(value)
