"""Result types: shapes (R02, R04, R05), dtypes (R03, R19) and the valid-region algebra (R13, D7).

Each function takes operand types and gives the result type or raises `RuleError` with a code, both facts and a
fix. The front end calls them to build operations, the operations' verifiers to check them: one rule, one place.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import Attribute

from tilebuild.ir.types import DTYPES, TileType, ViewType, dtype_name
from tilebuild.optable import OPS, STORAGE
from tilebuild.plan.expr import Expr, ExprLike, emin

DOT_DTYPES = {("f32", "f32", "f32")}  # (a, b, acc)


class RuleError(Exception):
    """A broken rule: an error code, the facts in conflict and what to write instead."""

    def __init__(self, code: str, message: str, fix: str = "") -> None:
        self.code, self.message, self.fix = code, message, fix
        super().__init__(f"[{code}] {message}")


def describe(t: Attribute) -> str:
    """A type as a message shows it: `f32 tile [4, 1024]`, `f32 scalar`."""
    if isinstance(t, TileType):
        return f"{t.dtype} tile [{t.shape[0]}, {t.shape[1]}]"
    if isinstance(t, ViewType):
        return f"{t.dtype} array [{', '.join(map(str, t.dims))}]"
    return f"{dtype_name(t)} scalar"


def dtype_of(t: Attribute) -> str:
    return t.dtype if isinstance(t, (TileType, ViewType)) else dtype_name(t)


def broadcast(types: Sequence[Attribute], dtype: str) -> Attribute:
    """The shape and validity of an elementwise result; a scalar is a fully valid [1, 1] without a shape."""
    tiles = [t for t in types if isinstance(t, TileType)]
    if not tiles:
        return DTYPES[dtype]
    shape: list[int] = []
    valid: list[Expr] = []
    for axis in (0, 1):
        extents = {t.shape[axis] for t in tiles}
        wide = extents - {1}
        if len(wide) > 1:
            a, b = (next(t for t in tiles if t.shape[axis] == e) for e in sorted(wide)[:2])
            raise RuleError(
                "E201",
                f"shapes do not broadcast: {describe(a)} with {describe(b)} ({'rows' if axis == 0 else 'columns'} "
                f"{a.shape[axis]} and {b.shape[axis]})",
                "give both the same tile extents, or 1 in the direction that is to be repeated",
            )
        extent = max(extents)
        shape.append(extent)
        valid.append(emin(*(t.valid[axis] for t in tiles if t.shape[axis] == extent)))
    return TileType.of((shape[0], shape[1]), dtype, (valid[0], valid[1]))


def elementwise(op: str, types: Sequence[Attribute]) -> Attribute:
    """Unary, binary and compare operations of the table."""
    entry = OPS[op]
    names = [dtype_of(t) for t in types]
    if len(set(names)) > 1:
        raise RuleError(
            "E202",
            f"{op} needs one dtype, found {describe(types[0])} and {describe(types[1])}",
            f"convert one of them: `.to(tb.{names[0]})`",
        )
    require_dtype(op, names[0])
    return broadcast(types, "bool" if entry.result == "bool" else names[0])


def require_dtype(op: str, dtype: str) -> None:
    allowed = OPS[op].dtypes
    if dtype not in allowed:
        hint = "`.to(tb.f32)` first" if dtype in STORAGE or "f32" in allowed else f"convert to {allowed[0]} first"
        raise RuleError("E204", f"{op} is not defined for {dtype} (only {', '.join(allowed)})", hint)


def select(types: Sequence[Attribute]) -> Attribute:
    condition, a, b = types
    if dtype_of(condition) != "bool":
        raise RuleError("E202", f"where needs a bool condition, found {describe(condition)}", "compare first")
    if dtype_of(a) != dtype_of(b):
        raise RuleError(
            "E202", f"where needs one dtype, found {describe(a)} and {describe(b)}", f"`.to(tb.{dtype_of(a)})`"
        )
    return broadcast(types, dtype_of(a))


def reduce(op: str, t: Attribute, axis: int) -> TileType:
    if not isinstance(t, TileType):
        raise RuleError("E205", f"{op} over an axis needs a tile, found {describe(t)}")
    if axis not in (0, 1):
        raise RuleError("E206", f"axis {axis} of a two-dimensional tile", "use axis 0 (rows) or 1 (columns)")
    require_dtype(op, t.dtype)
    shape, valid = list(t.shape), list(t.valid)
    shape[axis] = 1
    valid[axis] = Expr.of(1)
    return TileType.of((shape[0], shape[1]), t.dtype, (valid[0], valid[1]))


def dot(a: Attribute, b: Attribute, acc: Attribute) -> TileType:
    for name, t in (("a", a), ("b", b), ("acc", acc)):
        if not isinstance(t, TileType):
            raise RuleError("E205", f"dot needs tiles, found {describe(t)} for {name}")
    assert isinstance(a, TileType) and isinstance(b, TileType) and isinstance(acc, TileType)
    if a.shape[1] != b.shape[0]:
        raise RuleError(
            "E201",
            f"dot: {describe(a)} has {a.shape[1]} columns and {describe(b)} has {b.shape[0]} rows",
            "both tile spaces need the same BK",
        )
    if acc.shape != (a.shape[0], b.shape[1]):
        raise RuleError("E201", f"dot: the accumulator is {describe(acc)}, the product [{a.shape[0]}, {b.shape[1]}]")
    if (a.dtype, b.dtype, acc.dtype) not in DOT_DTYPES:
        known = "; ".join(", ".join(d) for d in sorted(DOT_DTYPES))
        raise RuleError("E204", f"dot of ({a.dtype}, {b.dtype}) into {acc.dtype} is not defined (a, b, acc: {known})")
    valid = (emin(a.valid[0], acc.valid[0]), emin(b.valid[1], acc.valid[1]))
    return TileType.of(acc.shape, acc.dtype, valid)


def transpose(t: Attribute) -> TileType:
    if not isinstance(t, TileType):
        raise RuleError("E205", f"a transpose needs a tile, found {describe(t)}")
    return TileType.of(t.shape[::-1], t.dtype, (t.valid[1], t.valid[0]))


def fill(t: Attribute) -> TileType:
    if not isinstance(t, TileType):
        raise RuleError("E205", f"fill needs a tile, found {describe(t)}")
    return TileType.of(t.shape, t.dtype)


def load(view: Attribute, start: tuple[ExprLike, ExprLike], shape: tuple[int, int]) -> TileType:
    """A [1, n] or [m, n] tile of a view of one or two dimensions, clipped to it."""
    if not isinstance(view, ViewType):
        raise RuleError("E205", f"a load needs an array, found {describe(view)}")
    rows, cols = extents_2d(view)
    if view.mode == "out":
        raise RuleError("E303", "an `Out` array is read", "declare it `tb.InOut`")
    return TileType.of(shape, view.dtype, (emin(shape[0], rows - start[0]), emin(shape[1], cols - start[1])))


def store(tile: Attribute, view: Attribute, shape: tuple[int, int]) -> None:
    if not isinstance(tile, TileType):
        raise RuleError("E205", f"a store needs a tile, found {describe(tile)}", "tb.full((BM, BN), value)")
    if not isinstance(view, ViewType):
        raise RuleError("E205", f"a store needs an array, found {describe(view)}")
    if view.mode == "in":
        raise RuleError("E303", "an `In` array is written", "declare it `tb.Out` or `tb.InOut`")
    if tile.shape != shape:
        raise RuleError("E201", f"{describe(tile)} is stored into a tile space of [{shape[0]}, {shape[1]}]")
    if tile.dtype != view.dtype:
        raise RuleError("E202", f"{describe(tile)} is stored into {describe(view)}", f"`.to(tb.{view.dtype})`")


def extents_2d(view: ViewType) -> tuple[Expr, Expr]:
    """A vector is seen as one row."""
    if len(view.dims) == 1:
        return Expr.of(1), view.dims[0]
    if len(view.dims) == 2:
        return view.dims[0], view.dims[1]
    raise RuleError(
        "E207", f"{describe(view)} has {len(view.dims)} dimensions, a tile space two", "index the leading ones: x[b, h]"
    )


def strides_2d(view: ViewType) -> tuple[Expr, Expr]:
    """Strides that go with `extents_2d`."""
    if len(view.strides) == 1:
        return Expr.of(0), view.strides[0]
    return view.strides[0], view.strides[1]
