"""The operations by the names that `tb` gives them; the algebra itself is in `tile`."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import numpy as np

from tilebuild.lang.reference import indirect
from tilebuild.lang.reference.dtypes import NUMPY, dtype_name, scalar
from tilebuild.lang.reference.errors import fail
from tilebuild.lang.reference.launch import Launch, current
from tilebuild.lang.reference.shape import concat, interleave, reshape, slice
from tilebuild.lang.reference.tile import Tile, describe, dot, elementwise, reduce, where
from tilebuild.lang.reference.view import tile_shape
from tilebuild.lang.types import f32
from tilebuild.optable import OPS

__all__ = ["concat", "dot", "interleave", "reshape", "slice", "where"]


def _running(name: str) -> Launch:
    launch = current()
    if launch is None:
        fail("E111", f"tb.{name} is called outside a kernel", "call the kernel's reference: kernel.reference(x, y)")
    return launch


def program(*extents: Any, order: str = "row") -> int | tuple[int, ...]:
    """This program's ids in the logical grid; `order` is a hint for the order of execution."""
    return _running("program").program(extents)


def require(*conditions: Any) -> None:
    """The contract of a launch (E820)."""
    launch = _running("require")
    for n, condition in enumerate(conditions, 1):
        if not condition:
            fail("E820", f"{launch.call.function.__name__} requires this, and condition {n} of it does not hold")


def assume(*conditions: Any) -> None:
    """What the contract of a launch implies for every program (E820)."""
    launch = _running("assume")
    for n, condition in enumerate(conditions, 1):
        if not condition:
            fail("E820", f"{launch.call.function.__name__} assumes this, and condition {n} of it does not hold")


def full(shape: Any, value: Any, dtype: Any = f32) -> Tile:
    """A fully valid tile with `value` in every lane."""
    name = dtype_name(dtype)
    extents = tile_shape(shape)
    return Tile(np.full(extents, scalar(value, name)), extents, name)


def zeros(shape: Any, dtype: Any = f32) -> Tile:
    """`full` with zero, or False."""
    return full(shape, False if dtype_name(dtype) == "bool" else 0, dtype)


def iota(n: Any, axis: int = 1) -> Tile:
    """0, 1, 2, ... as i32 along an axis, whose extent is n; the other extent is 1."""
    if type(axis) is not int or axis not in (0, 1):
        fail("E206", f"axis {axis!r} of a two-dimensional tile", "use axis 0 (rows) or 1 (columns)")
    shape = tile_shape((n, 1) if axis == 0 else (1, n))
    return Tile(np.arange(n, dtype=NUMPY["i32"]).reshape(shape), shape, "i32")


def gather(x: Any, idx: Any, *, oob: str) -> Tile:
    """Elements of a vector by an i32 tile; an index outside gives zero, or the nearest element (`oob="clamp"`)."""
    return indirect.gather(x, idx, oob)


def gather_rows(x: Any, idx: Any, j: int = 0, *, oob: str) -> Tile:
    """Rows of `x.tiles(1, BN)`, its column tile j, by an i32 tile of one column."""
    return indirect.gather_rows(x, idx, j, oob)


def scatter(y: Any, idx: Any, t: Any, *, mode: str, oob: str, unique: bool = False) -> None:
    """Lanes of t to the elements of a vector that an i32 tile of the same shape names; others are dropped."""
    indirect.scatter(y, idx, t, mode=mode, oob=oob, unique=unique)


def scatter_rows(y: Any, idx: Any, t: Any, j: int = 0, *, mode: str, oob: str, unique: bool = False) -> None:
    """Rows of t to the rows of `y.tiles(1, BN)`, its column tile j, that an i32 tile of one column names."""
    indirect.scatter_rows(y, idx, t, j, mode=mode, oob=oob, unique=unique)


def atomic_add(y: Any, index: Any, t: Any) -> None:
    """Add a tile to that of a tile space; programs may meet there."""
    indirect.atomic_add(y, index, t)


def sum(x: Any, axis: int) -> Tile:
    return reduce("sum", x, axis)


def prod(x: Any, axis: int) -> Tile:
    return reduce("prod", x, axis)


def max(*args: Any, **kwargs: Any) -> Any:
    """Of a tile over an axis, or of two or more integers."""
    return _extreme("max", builtins.max, args, kwargs)


def min(*args: Any, **kwargs: Any) -> Any:
    """Of a tile over an axis, or of two or more integers."""
    return _extreme("min", builtins.min, args, kwargs)


def _extreme(name: str, of_integers: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    numbers = [type(a) in (int, float) for a in args]
    if len(args) >= 2 and not kwargs and all(numbers):
        return of_integers(args)
    if any(numbers[:1]):
        found = ", ".join(map(describe, args))
        fail("E205", f"tb.{name} takes two or more integers, or a tile and an axis, found {found}")
    return reduce(name, *args, **kwargs)


def _unary(name: str) -> Callable[[Any], Any]:
    return lambda x: elementwise(name, x)


def maximum(a: Any, b: Any) -> Any:
    return elementwise("maximum", a, b)


def minimum(a: Any, b: Any) -> Any:
    return elementwise("minimum", a, b)


globals().update({name: _unary(name) for name, op in OPS.items() if op.kind == "unary"})
