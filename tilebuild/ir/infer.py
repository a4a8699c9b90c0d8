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

FLOATS = ("f32", "f16", "bf16")
INTEGERS = {  # the ends of each range
    "bool": (0, 1), "i8": (-(1 << 7), (1 << 7) - 1), "u8": (0, (1 << 8) - 1),
    "i32": (-(1 << 31), (1 << 31) - 1), "u32": (0, (1 << 32) - 1),
}  # fmt: skip
DOT_DTYPES = {("f32", "f32", "f32"), ("bf16", "bf16", "f32"), ("f16", "f16", "f32")}  # (a, b, acc)


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
    return f"{dtype_of(t)} scalar"


def dtype_of(t: Attribute) -> str:
    """The dtype of a tile, an array or a scalar; raises `RuleError` for a type the language lacks."""
    if isinstance(t, (TileType, ViewType)):
        return t.dtype
    try:
        return dtype_name(t)
    except KeyError:
        raise RuleError("E202", f"{t} is not a dtype of the language", f"one of {', '.join(DTYPES)}") from None


def require_scalar(what: str, t: Attribute) -> None:
    if isinstance(t, (TileType, ViewType)):
        raise RuleError("E205", f"{what} takes one number for all lanes, found {describe(t)}", "a literal or a scalar")


def broadcast(types: Sequence[Attribute], dtype: str) -> Attribute:
    """The shape and validity of an elementwise result; a scalar is a fully valid [1, 1] without a shape."""
    for t in types:
        if isinstance(t, ViewType):
            raise RuleError("E205", f"{describe(t)} is not a tile", "load a tile: x.tiles(BM, BN)[i, j]")
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
    """Unary (one operand), binary and compare operations (two) of the table."""
    entry = OPS.get(op)
    if entry is None or entry.kind == "reduce" or (entry.kind == "unary") != (len(types) == 1):
        raise RuleError("E204", f"{op} is no operation on {len(types)} operand(s)")
    names = [dtype_of(t) for t in types]
    if len(set(names)) > 1:
        raise RuleError(
            "E202",
            f"{op} needs one dtype, found {describe(types[0])} and {describe(types[1])}",
            f"convert one of them: `.to(tb.{'f32' if 'f32' in names else names[0]})`",
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
        raise RuleError("E206", f"the axis of a tile is 0 (rows) or 1 (columns), found {axis}")
    if op not in OPS or OPS[op].kind != "reduce":
        raise RuleError("E204", f"{op} is no reduction")
    require_dtype(op, t.dtype)
    shape, valid = list(t.shape), list(t.valid)
    shape[axis] = 1
    valid[axis] = Expr.of(1)
    return TileType.of((shape[0], shape[1]), t.dtype, (valid[0], valid[1]))


def dot(a: Attribute, b: Attribute, acc: Attribute) -> TileType:
    if not (isinstance(a, TileType) and isinstance(b, TileType) and isinstance(acc, TileType)):
        found = ", ".join(describe(t) for t in (a, b, acc))
        raise RuleError("E205", f"dot(a, b, acc) needs tiles, found {found}")
    if a.shape[1] != b.shape[0]:
        raise RuleError(
            "E201",
            f"dot: {describe(a)} has {a.shape[1]} columns and {describe(b)} has {b.shape[0]} rows",
            "both tile spaces need the same BK",
        )
    if acc.shape != (a.shape[0], b.shape[1]):
        raise RuleError(
            "E201",
            f"dot: the accumulator is {describe(acc)}, the product [{a.shape[0]}, {b.shape[1]}]",
            f"acc = tb.zeros(({a.shape[0]}, {b.shape[1]}))",
        )
    if (a.dtype, b.dtype, acc.dtype) not in DOT_DTYPES:
        known = "; ".join(", ".join(d) for d in sorted(DOT_DTYPES))
        message = f"dot of ({a.dtype}, {b.dtype}) into {acc.dtype} is not defined (a, b, acc: {known})"
        raise RuleError("E204", message, "`.to(tb.f32)` first")
    valid = (emin(a.valid[0], acc.valid[0]), emin(b.valid[1], acc.valid[1]))
    return TileType.of(acc.shape, acc.dtype, valid)


def transpose(t: Attribute) -> TileType:
    if not isinstance(t, TileType):
        raise RuleError("E205", f"a transpose needs a tile, found {describe(t)}")
    return TileType.of(t.shape[::-1], t.dtype, (t.valid[1], t.valid[0]))


def constant(text: str, t: Attribute) -> None:
    """A literal's text against its type."""
    require_scalar("a constant", t)
    dtype = dtype_of(t)
    try:
        fits = dtype in FLOATS or INTEGERS[dtype][0] <= int(text) <= INTEGERS[dtype][1]
        float(text)
    except ValueError:
        fits = False
    if not fits:
        raise RuleError("E202", f"{text} is no {dtype}")


def fill(t: Attribute, value: Attribute) -> TileType:
    if not isinstance(t, TileType):
        raise RuleError("E205", f"fill needs a tile, found {describe(t)}")
    require_scalar("fill", value)
    if dtype_of(value) != t.dtype:
        raise RuleError("E202", f"{describe(t)} is filled with a {describe(value)}", f"`.to(tb.{t.dtype})`")
    return TileType.of(t.shape, t.dtype)


def load(view: Attribute, start: tuple[ExprLike, ExprLike], shape: tuple[int, int]) -> TileType:
    """A [1, n] or [m, n] tile of a view of one or two dimensions, clipped to it."""
    if not isinstance(view, ViewType):
        raise RuleError("E205", f"a load needs an array, found {describe(view)}")
    rows, cols = extents_2d(view)
    if view.mode == "out":
        raise RuleError("E303", "an `Out` array is read", "declare it `tb.InOut`")
    return TileType.of(shape, view.dtype, (emin(shape[0], rows - start[0]), emin(shape[1], cols - start[1])))


def window(view: Attribute, shape: tuple[int, int], steps: tuple[int, int], fill: str) -> TileType:
    """A fully valid [m, n] tile of an `In` array's elements `steps` apart, with the number `fill` where it has none."""
    if not isinstance(view, ViewType):
        raise RuleError("E205", f"a window needs an array, found {describe(view)}")
    extents_2d(view)
    if view.mode != "in":
        raise RuleError("E303", f"a window of an array that is written ({view.mode})", "declare the array tb.In")
    if min(steps) < 1:
        raise RuleError("E203", f"a window steps by ({steps[0]}, {steps[1]}) elements", "steps of at least 1")
    constant(fill, DTYPES[view.dtype])
    return TileType.of(shape, view.dtype)


def store(tile: Attribute, view: Attribute, shape: tuple[int, int]) -> None:
    if not isinstance(tile, TileType):
        raise RuleError("E205", f"a store needs a tile, found {describe(tile)}", "tb.full((BM, BN), value)")
    if not isinstance(view, ViewType):
        raise RuleError("E205", f"a store needs an array, found {describe(view)}")
    if view.mode == "in":
        raise RuleError("E303", "an `In` array is written", "declare it `tb.Out` or `tb.InOut`")
    if tile.shape != shape:
        message = f"{describe(tile)} is stored into a tile space of [{shape[0]}, {shape[1]}]"
        raise RuleError("E201", message, f"cut the array as the tile is: .tiles({tile.shape[0]}, {tile.shape[1]})")
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
