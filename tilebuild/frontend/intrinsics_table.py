"""The tile intrinsics of ascend-rs and tile-rs: what each takes and what it computes.

The forms are those that tile-rs declares for its kernels (`extern "C"` functions of its `tile` module) and that both
print, with the prefix `__tile_` or `ascend_tile_` and the dtype as a suffix: `__tile_add_f32(dst, a, b, rows, cols)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

PREFIXES = ("__tile_", "ascend_tile_")
DTYPES = ("f32", "f16", "bf16", "i32", "u32", "i8", "u8")

# What an argument is, by its name in a signature; the rest are whole numbers known while building.
POINTERS = ("array",)
TILES = ("a", "b")
NUMBERS = ("scalar", "lo", "hi", "eps")
# `dst` is a tile whose contents may be overwritten, or a number that is ignored; a product's also says whether to
# add to what is there, for which there is no tile, so only 0 is taken.


@dataclass(frozen=True)
class Intrinsic:
    """`kind` says how it is read: "load", "store", or what `intrinsics` builds of it; `op` names the operation of the
    table (`tilebuild.optable`) behind an elementwise or reducing one."""

    name: str
    kind: str
    arguments: tuple[str, ...]
    op: str = ""


def _table(*entries: Intrinsic) -> Mapping[str, Intrinsic]:
    return {entry.name: entry for entry in entries}


_ONE = ("dst", "a", "rows", "cols")
_TWO = ("dst", "a", "b", "rows", "cols")

INTRINSICS: Mapping[str, Intrinsic] = _table(
    Intrinsic("load", "load", ("array", "rows", "cols")),
    Intrinsic("store", "store", ("array", "a", "rows", "cols")),
    Intrinsic("add", "elementwise", _TWO, "add"),
    Intrinsic("sub", "elementwise", _TWO, "sub"),
    Intrinsic("mul", "elementwise", _TWO, "mul"),
    Intrinsic("div", "elementwise", _TWO, "div"),
    Intrinsic("max", "elementwise", _TWO, "maximum"),
    Intrinsic("min", "elementwise", _TWO, "minimum"),
    Intrinsic("neg", "elementwise", _ONE, "neg"),
    Intrinsic("abs", "elementwise", _ONE, "abs"),
    Intrinsic("exp", "elementwise", _ONE, "exp"),
    Intrinsic("log", "elementwise", _ONE, "log"),
    Intrinsic("sqrt", "elementwise", _ONE, "sqrt"),
    Intrinsic("rsqrt", "elementwise", _ONE, "rsqrt"),
    Intrinsic("sigmoid", "sigmoid", _ONE),
    Intrinsic("silu", "silu", _ONE),
    Intrinsic("softmax", "softmax", _ONE),
    Intrinsic("rms_norm", "rms_norm", ("dst", "a", "eps", "rows", "cols")),
    Intrinsic("reduce_max", "reduce", _ONE, "max"),
    Intrinsic("reduce_min", "reduce", _ONE, "min"),
    Intrinsic("reduce_sum", "reduce", _ONE, "sum"),
    Intrinsic("scale", "scale", ("dst", "a", "scalar", "rows", "cols")),
    Intrinsic("clamp", "clamp", ("dst", "a", "lo", "hi", "rows", "cols")),
    Intrinsic("cast", "cast", _ONE),
    Intrinsic("transpose", "transpose", _ONE),
    Intrinsic(
        "slice", "slice",
        ("dst", "a", "first_row", "first_col", "rows", "cols", "taken_rows", "taken_cols"),
    ),
    Intrinsic("concat", "concat", ("dst", "a", "b", "rows", "cols_a", "cols_b")),
    Intrinsic("matmul", "matmul", ("dst", "a", "b", "m", "k", "n")),
)  # fmt: skip


@dataclass(frozen=True)
class Called:
    """An intrinsic as a call names it; `result` is the dtype a cast converts to, elsewhere `dtype` itself."""

    intrinsic: Intrinsic
    dtype: str
    result: str


def named(symbol: str) -> Called | None:
    """The intrinsic that a function's name stands for, or None."""
    prefix = next((p for p in PREFIXES if symbol.startswith(p)), None)
    if prefix is None:
        return None
    word, _, dtype = symbol[len(prefix) :].rpartition("_")
    if word.startswith("cast_") and dtype in DTYPES and word[5:] in DTYPES:
        return Called(INTRINSICS["cast"], word[5:], dtype)
    if word == "cast" or word not in INTRINSICS or dtype not in DTYPES:
        return None
    return Called(INTRINSICS[word], dtype, dtype)


def spellings(symbol: str) -> list[str]:
    """Every name there is under the prefix and the dtype of one that is none: what it may have meant."""
    prefix = next((p for p in PREFIXES if symbol.startswith(p)), PREFIXES[0])
    dtype = next((d for d in DTYPES if symbol.endswith(f"_{d}")), DTYPES[0])
    casts = [f"{prefix}cast_{a}_{b}" for a in DTYPES for b in DTYPES if a != b]
    return [*(f"{prefix}{name}_{dtype}" for name in INTRINSICS if name != "cast"), *casts]
