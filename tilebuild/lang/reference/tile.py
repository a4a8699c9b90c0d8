"""The tile: static extents, a dynamic valid rectangle, poison outside it, and the valid-region algebra."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tilebuild.lang import types
from tilebuild.lang.reference import dtypes
from tilebuild.lang.reference.dtypes import NUMPY, Values, scalar
from tilebuild.lang.reference.errors import fail
from tilebuild.optable import COMPOSED, IDENTITY, OPS, STORAGE, conversion

Pair = tuple[int, int]
_MOST_FACTORS = 64  # of a literal exponent that becomes products


def _operators(op: str) -> tuple[Callable[[Tile, Any], Any], Callable[[Tile, Any], Any]]:
    """The methods for `tile op other` and `other op tile`."""
    return lambda self, other: elementwise(op, self, other), lambda self, other: elementwise(op, other, self)


class Tile(types.Tile):
    """`data` has the tile's extents, [rows, columns]; only lanes inside `valid` mean anything, the others are poison.

    Every tile is made by this constructor, so no operation can let a lane outside `valid` through.
    """

    __slots__ = ("data", "dtype", "valid")
    __array_ufunc__ = None  # a NumPy scalar on the left leaves the operator to the tile

    def __init__(self, data: Values, valid: Pair, dtype: str) -> None:
        assert data.ndim == 2
        assert all(0 <= v <= n for v, n in zip(valid, data.shape))
        self.data = np.array(data, dtype=NUMPY[dtype])
        self.data[valid[0] :] = dtypes.poison(dtype)
        self.data[:, valid[1] :] = dtypes.poison(dtype)
        self.valid = valid
        self.dtype = dtype

    @property
    def shape(self) -> Pair:
        """The static extents."""
        return (self.data.shape[0], self.data.shape[1])

    @property
    def live(self) -> Values:
        """The valid lanes."""
        return self.data[: self.valid[0], : self.valid[1]]

    def __repr__(self) -> str:
        return f"<{describe(self)}, valid {list(self.valid)}>"

    def __bool__(self) -> bool:  # noqa: PLE0304
        fail("E114", f"{describe(self)} is used as a condition", "tb.where(...), or & | ~ instead of and, or, not")

    __add__, __radd__ = _operators("add")
    __sub__, __rsub__ = _operators("sub")
    __mul__, __rmul__ = _operators("mul")
    __truediv__, __rtruediv__ = _operators("div")
    __floordiv__, __rfloordiv__ = _operators("floordiv")
    __mod__, __rmod__ = _operators("mod")
    __lshift__, __rlshift__ = _operators("shl")
    __rshift__, __rrshift__ = _operators("shr")
    __and__, __rand__ = _operators("and")
    __or__, __ror__ = _operators("or")
    __xor__, __rxor__ = _operators("xor")
    __lt__, __gt__ = _operators("lt")[0], _operators("gt")[0]
    __le__, __ge__ = _operators("le")[0], _operators("ge")[0]
    __eq__, __ne__ = _operators("eq")[0], _operators("ne")[0]
    __hash__ = None  # type: ignore[assignment]

    def __pow__(self, other: Any) -> Any:
        return power(self, other)

    def __rpow__(self, other: Any) -> Any:
        return _composite("pow", other, self)

    def __neg__(self) -> Any:
        return elementwise("neg", self)

    def __abs__(self) -> Any:
        return elementwise("abs", self)

    def __invert__(self) -> Any:
        return elementwise("not", self)

    def __matmul__(self, other: Any) -> Tile:
        return dot(self, other)

    @property
    def T(self) -> Tile:  # noqa: N802
        return Tile(self.data.T, (self.valid[1], self.valid[0]), self.dtype)

    def sum(self, axis: int) -> Tile:
        return reduce("sum", self, axis)

    def max(self, axis: int) -> Tile:
        return reduce("max", self, axis)

    def min(self, axis: int) -> Tile:
        return reduce("min", self, axis)

    def prod(self, axis: int) -> Tile:
        return reduce("prod", self, axis)

    def any(self, axis: int) -> Any:
        return _composite("any", self, axis)

    def all(self, axis: int) -> Any:
        return _composite("all", self, axis)

    def argmax(self, axis: int) -> Any:
        return _composite("argmax", self, axis)

    def argmin(self, axis: int) -> Any:
        return _composite("argmin", self, axis)

    def fill(self, value: Any) -> Tile:
        """Fully valid, with `value` in the lanes that were not."""
        return Tile(around(self.live, self.shape, scalar(value, self.dtype)), self.shape, self.dtype)

    def to(self, dtype: Any, round: str = "trunc", sat: bool = False) -> Tile:
        """In another dtype; only valid lanes are converted (see `dtypes.convert`)."""
        try:
            steps = conversion(self.dtype, dtypes.dtype_name(dtype), round, sat)
        except ValueError as e:
            fail("E204", str(e), 't.to(tb.i32, round="nearest", sat=True)')
        result = self
        for n, (kind, name) in enumerate(steps):
            if result.dtype == "f32" and steps[n + 1 :] and kind == steps[n + 1][0] == "cast":
                continue  # at once, so that what fits the first and not the second dtype is refused
            if kind == "composite":
                result = _composite(name, result)
            elif kind == "unary":
                result = elementwise(name, result)
            elif result.dtype != name:
                result = Tile(around(dtypes.convert(result.live, name), self.shape), self.valid, name)
        return result


def around(values: Values, shape: Pair, outside: Any = 0) -> Values:
    """`values` at the origin of an array of the given shape."""
    data = np.full(shape, outside, values.dtype)
    data[: values.shape[0], : values.shape[1]] = values
    return data


def describe(value: Any) -> str:
    """A value as a message shows it."""
    if isinstance(value, Tile):
        return f"{value.dtype} tile [{value.shape[0]}, {value.shape[1]}]"
    return f"{type(value).__name__} {value!r}"


_OWN: dict[str, Callable[..., Any]] = {  # where NumPy has no such function, or leaves a case open
    "rsqrt": lambda x: np.reciprocal(np.sqrt(x)),
    "shl": lambda a, b: np.left_shift(a, b & b.dtype.type(31)),
    "shr": lambda a, b: np.right_shift(a, b & b.dtype.type(31)),
}
_NUMPY: dict[str, Callable[..., Any]] = {n: _OWN.get(n) or getattr(np, op.numpy) for n, op in OPS.items()}


def elementwise(name: str, *operands: Any) -> Any:
    """A unary, binary or compare operation of the table; scalars alone give a scalar."""
    dtype = one_dtype(name, operands)
    if name in COMPOSED and dtype == "f32":
        return _composite(COMPOSED[name], *operands)
    require_dtype(name, dtype)
    result = "bool" if OPS[name].result == "bool" else dtype
    return _lanewise(_NUMPY[name], operands, [dtype] * len(operands), result)


def _composite(name: str, *operands: Any) -> Any:
    """A composite of the library, which is built of the operations here."""
    from tilebuild.lang import functions

    return getattr(functions, name)(*operands)


def power(base: Tile, exponent: Any) -> Any:
    """A literal whole exponent is so many products; the rest is the library's `pow`."""
    if type(exponent) is not int or abs(exponent) > _MOST_FACTORS:
        return _composite("pow", base, exponent)
    if exponent < 0 and base.dtype != "f32":
        fail("E204", f"{base.dtype} values have no negative powers", ".to(tb.f32) first")
    if exponent == 0:
        return where(elementwise("eq", base, base), *[scalar(1, base.dtype)] * 2)
    result: Any = None
    factor, rest = base, abs(exponent)
    while rest:
        if rest & 1:
            result = factor if result is None else result * factor
        rest >>= 1
        if rest:
            factor = factor * factor
    return result if exponent > 0 else elementwise("recip", result)


def where(condition: Any, a: Any, b: Any) -> Any:
    """`a` where the bool `condition` holds, else `b`: valid where all three are."""
    if one_dtype("where", [condition]) != "bool":
        fail("E202", f"where needs a bool condition, found {describe(condition)}", "compare first")
    dtype = one_dtype("where", [a, b])
    return _lanewise(np.where, (condition, a, b), ["bool", dtype, dtype], dtype)


def one_dtype(name: str, operands: Sequence[Any]) -> str:
    """The dtype of an operation: that of its tiles, which agree (E202), or of its scalars."""
    for other in operands:
        if not isinstance(other, Tile) and not dtypes.is_number(other):
            fail("E205", f"{name} takes tiles and numbers, found {describe(other)}")
    tiles = [t for t in operands if isinstance(t, Tile)]
    for t in tiles[1:]:
        if t.dtype != tiles[0].dtype:
            fail("E202", f"{name} of {describe(tiles[0])} and {describe(t)}", f"convert one: .to(tb.{tiles[0].dtype})")
    return tiles[0].dtype if tiles else dtypes.common_dtype(operands)


def require_dtype(name: str, dtype: str) -> None:
    allowed = OPS[name].dtypes
    if dtype not in allowed:
        wanted = "f32" if dtype in STORAGE or "f32" in allowed else allowed[0]
        fail("E204", f"{name} is not defined for {dtype} (only {', '.join(allowed)})", f".to(tb.{wanted}) first")


def _lanewise(function: Callable[..., Any], operands: Sequence[Any], wanted: Sequence[str], result: str) -> Any:
    tiles = [t for t in operands if isinstance(t, Tile)]
    shape, valid = broadcast(tiles)
    values = [t.data if isinstance(t, Tile) else scalar(t, dtype) for t, dtype in zip(operands, wanted)]
    with np.errstate(all="ignore"):
        data = np.asarray(function(*values))
    if not tiles:
        return data[()]
    return Tile(np.broadcast_to(data, shape), valid, result)


def broadcast(tiles: Sequence[Tile]) -> tuple[Pair, Pair]:
    """Extents and valid region of an elementwise result: the least of all, where an extent of 1 repeats (E201)."""
    (rows, valid_rows), (cols, valid_cols) = (_broadcast_axis(tiles, axis) for axis in (0, 1))
    return (rows, cols), (valid_rows, valid_cols)


def _broadcast_axis(tiles: Sequence[Tile], axis: int) -> Pair:
    extent = max((t.shape[axis] for t in tiles), default=1)
    for t in tiles:
        if t.shape[axis] not in (1, extent):
            fail(
                "E201",
                f"shapes do not broadcast: {' with '.join(map(describe, tiles))}",
                "give both the same extents, or 1 in the direction that is to be repeated",
            )
    return extent, min((t.valid[axis] * (extent // t.shape[axis]) for t in tiles), default=1)


# Integers have no greatest and no least number of their own to start from.
_IDENTITY = {k: float(v) for k, v in IDENTITY.items() if k[1] == "f32" or k[0] in ("sum", "prod")}


def reduce(name: str, tile: Any, axis: int) -> Tile:
    """Over the valid lanes of an axis, which stays with extent 1; over none, the identity if there is one (E330)."""
    if not isinstance(tile, Tile):
        fail("E205", f"{name} over an axis needs a tile, found {describe(tile)}")
    if type(axis) is not int or axis not in (-2, -1, 0, 1):
        fail("E206", f"axis {axis!r} of a two-dimensional tile", "use axis 0 (rows) or 1 (columns)")
    require_dtype(name, tile.dtype)
    axis %= 2
    live = tile.live
    if live.shape[axis] == 0:
        if (name, tile.dtype) not in _IDENTITY:
            fail(
                "E330",
                f"{name} of {describe(tile)} over axis {axis}, where no lane is valid",
                "fill it first: .fill(v)",
            )
        lanes = (1, live.shape[1]) if axis == 0 else (live.shape[0], 1)
        live = np.full(lanes, _IDENTITY[name, tile.dtype], live.dtype)
    with np.errstate(all="ignore"):
        reduced = _NUMPY[name](live, axis=axis, keepdims=True)  # 64-bit results of integers wrap in the tile
    shape = (1, tile.shape[1]) if axis == 0 else (tile.shape[0], 1)
    return Tile(around(reduced, shape), (reduced.shape[0], reduced.shape[1]), tile.dtype)


def dot(a: Any, b: Any, acc: Any = None) -> Tile:
    """`acc + a @ b` in f32 over the shared valid extent; valid where a's rows, b's columns and acc are."""
    operands = (a, b) if acc is None else (a, b, acc)
    for t in operands:
        if not isinstance(t, Tile):
            fail("E205", f"dot needs tiles, found {describe(t)}")
    if a.shape[1] != b.shape[0]:
        fail(
            "E201",
            f"dot: {describe(a)} has {a.shape[1]} columns and {describe(b)} has {b.shape[0]} rows",
            "both tile spaces need the same extent there",
        )
    if a.dtype != b.dtype:
        fail("E202", f"dot of {describe(a)} and {describe(b)}", f"convert one: .to(tb.{a.dtype})")
    if a.dtype not in dtypes.FLOATS or (acc is not None and acc.dtype != "f32"):
        fail("E204", f"dot of {' and '.join(map(describe, operands))}", "operands f32, f16 or bf16; accumulator f32")
    shape = (a.shape[0], b.shape[1])
    if acc is not None and acc.shape != shape:
        fail("E201", f"dot: the accumulator is {describe(acc)}, the product [{shape[0]}, {shape[1]}]")
    shared = min(a.valid[1], b.valid[0])
    with np.errstate(all="ignore"):
        product = a.live[:, :shared].astype(np.float32) @ b.live[:shared].astype(np.float32)
    result = Tile(around(product, shape), (a.valid[0], b.valid[1]), "f32")
    return result if acc is None else Tile(acc.data + result.data, broadcast([acc, result])[1], "f32")
