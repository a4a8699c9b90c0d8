"""The operations by the names that `tb` gives them; the algebra itself is in `tile`."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import numpy as np

from tilebuild.lang.reference.dtypes import NUMPY, dtype_name, scalar
from tilebuild.lang.reference.errors import fail
from tilebuild.lang.reference.launch import Launch, current
from tilebuild.lang.reference.tile import Tile, describe, dot, elementwise, reduce, where
from tilebuild.lang.reference.view import tile_shape
from tilebuild.lang.types import f32
from tilebuild.optable import OPS

__all__ = ["dot", "where"]


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
