"""What Ascend parts have, as data: architectures, spaces, layouts, operations with their dtypes, in-place rules.

Sources: ptoas 0.27 (what it accepts and what its synchronisation sees) and the pto-isa headers; of two values the
smaller one. docs/pto.md says which of it was run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tilebuild.optable import OPS
from tilebuild.plan.model import Layout, Space

KIB = 1024
BLOCK = 32  # bytes that a row of an unboxed tile, and an inner row of a boxed one, is a multiple of
BOX_ROWS = 16
MOST_DOT = 4095  # m, n and k of one matrix instruction


@dataclass(frozen=True)
class Architecture:
    """`ptoas` is what the assembler calls it. The layout of left operands differs between the generations."""

    name: str
    ptoas: str
    spaces: tuple[Space, ...]
    left: Layout

    def space(self, name: str) -> Space:
        """The space of that name; raises KeyError."""
        return {s.name: s for s in self.spaces}[name]


def _spaces(vec: int, acc: int, bias: int, scaling: int) -> tuple[Space, ...]:
    return (
        Space("vec", vec, 32),
        Space("mat", 512 * KIB, 32),
        Space("left", 64 * KIB, 512),
        Space("right", 64 * KIB, 512),
        Space("acc", acc, 512),
        Space("bias", bias, 32),
        Space("scaling", scaling, 32),
    )


ARCHITECTURES: Mapping[str, Architecture] = {
    # Ascend 910B and 910C: of 192 KiB of vector memory the library's row broadcasts use the last 8 as their scratch
    "a2a3": Architecture(
        "a2a3", "a3", _spaces(184 * KIB, 128 * KIB, 1 * KIB, 2 * KIB),
        Layout("row_major", "row_major", 512),
    ),
    # Ascend 950
    "a5": Architecture(
        "a5", "a5", _spaces(248 * KIB, 256 * KIB, 4 * KIB, 4 * KIB),
        Layout("col_major", "row_major", 512),
    ),
}  # fmt: skip

TILE = Layout("row_major", "none_box", 512)
COLUMN = Layout("col_major", "none_box", 512)
MAT = Layout("col_major", "row_major", 512)
RIGHT = Layout("row_major", "col_major", 512)
ACC = Layout("col_major", "row_major", 1024)

# what may lie in a space, beside the architecture's own layout of left operands
LAYOUTS: Mapping[str, tuple[Layout, ...]] = {
    "vec": (TILE, COLUMN), "mat": (MAT,), "left": (), "right": (RIGHT,), "acc": (ACC,), "bias": (TILE,),
    "scaling": (TILE,),
}  # fmt: skip

# the plan's dtypes as the dialect writes them; what is missing has no name there
DTYPES: Mapping[str, str] = {"f32": "f32", "f16": "f16", "bf16": "bf16", "i32": "i32", "i8": "i8"}
BYTES: Mapping[str, int] = {
    "f32": 4, "f16": 2, "bf16": 2, "i32": 4, "i16": 2, "i8": 1, "i64": 8, "ui8": 1, "ui16": 2, "ui32": 4,
}  # fmt: skip


@dataclass(frozen=True)
class Forms:
    """One elementwise operation of the plan: on tiles of one shape, with a scalar, with one value a row, with one
    value a column."""

    tile: str
    scalar: str = ""
    row: str = ""
    column: str = ""
    commutes: bool = False


ELEMENTWISE: Mapping[str, Forms] = {
    "add": Forms("tadd", "tadds", "trowexpandadd", "tcolexpandadd", True),
    "sub": Forms("tsub", "tsubs", "trowexpandsub", "tcolexpandsub"),
    "mul": Forms("tmul", "tmuls", "trowexpandmul", "tcolexpandmul", True),
    "div": Forms("tdiv", "tdivs", "trowexpanddiv", "tcolexpanddiv"),
    "maximum": Forms("tmax", "tmaxs", "trowexpandmax", "tcolexpandmax", True),
    "minimum": Forms("tmin", "tmins", "trowexpandmin", "tcolexpandmin", True),
    "and": Forms("tand", commutes=True),
    "or": Forms("tor", commutes=True),
    "neg": Forms("tneg"),
    "abs": Forms("tabs"),
    "exp": Forms("texp"),
    "log": Forms("tlog"),
    "sqrt": Forms("tsqrt"),
    "rsqrt": Forms("trsqrt"),
    "recip": Forms("trecip"),
    "copy": Forms("tmov", "texpands", "trowexpand", "tcolexpand"),
}
# (operation, axis) -> mnemonic; over rows' lanes it takes a temporary of the operand's shape
REDUCE: Mapping[tuple[str, int], str] = {
    ("max", 1): "trowmax", ("min", 1): "trowmin", ("sum", 1): "trowsum",
    ("max", 0): "tcolmax", ("min", 0): "tcolmin", ("sum", 0): "tcolsum",
}  # fmt: skip

_A3 = ("f32", "f16", "i32", "i16")
_FLOAT = ("f32", "f16")
_DATA = ("i8", "i16", "i32", "i64", "f16", "bf16", "f32")
_ANY = (*_A3, "bf16", "i8")
_ARITHMETIC = tuple(
    f"{prefix}{name}" for name in ("add", "sub", "mul", "max", "min") for prefix in ("t", "trowexpand", "tcolexpand")
) + ("tadds", "tsubs", "tmuls", "tdivs", "tmaxs", "tmins", "tneg")

_A3_DTYPES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(_ARITHMETIC, _A3),
    **dict.fromkeys(REDUCE.values(), _A3),
    **dict.fromkeys(
        ("tdiv", "texp", "tlog", "tsqrt", "trsqrt", "trecip", "tabs", "trowexpanddiv", "tcolexpanddiv"), _FLOAT
    ),
    "tand": ("i16", "i8"), "tor": ("i16", "i8"), "tnot": ("i16",), "trelu": ("f32", "f16", "i32"),
    "texpands": _A3, "trowexpand": _ANY, "tcolexpand": _ANY, "tmov": _ANY, "tload": _DATA, "tstore": _DATA,
}  # fmt: skip
_A5_DTYPES: Mapping[str, tuple[str, ...]] = {
    **_A3_DTYPES,
    **dict.fromkeys((*_ARITHMETIC, "texpands"), (*_A3, "i8")),
    **dict.fromkeys(("tadd", "tadds", "tneg", "tcolsum", "tcolmax", "tcolmin"), _ANY),
    "tand": ("i32", "i16", "i8"), "tor": ("i32", "i16", "i8"), "tnot": ("i32", "i16", "i8"), "tdiv": _A3,
}  # fmt: skip
DTYPES_OF: Mapping[str, Mapping[str, tuple[str, ...]]] = {"a2a3": _A3_DTYPES, "a5": _A5_DTYPES}

# (accumulator, left, right)
DOTS = frozenset({("f32", "f16", "f16"), ("f32", "bf16", "bf16"), ("f32", "f32", "f32"), ("i32", "i8", "i8")})
CASTS: Mapping[str, tuple[str, ...]] = {
    "f32": ("f16", "bf16", "i32"), "f16": ("f32", "i32", "i8"), "bf16": ("f32", "i32"), "i32": ("f32",), "i8": ("f16",),
}  # fmt: skip
_ROUND_TO_NEAREST, _TRUNCATE = "CAST_RINT", "TRUNC"


def rounding(source: str, result: str) -> str:
    """The rounding mode of a conversion: to integers it truncates, as the language says."""
    to_integer = result.startswith("i") and not source.startswith("i")
    return _TRUNCATE if to_integer else _ROUND_TO_NEAREST


_ALL = None  # every operand
# Operands (by position) that the result may not overlay: `None` stands for all of them. What is not named may be
# updated in place.
NOT_IN_PLACE: Mapping[str, tuple[int, ...] | None] = {
    **dict.fromkeys(("trecip", "trsqrt", "tcvt", "ttrans", *REDUCE.values()), _ALL),
    **dict.fromkeys(("trowexpand", "tcolexpand"), (0,)),
    **{
        f"t{side}expand{name}": (1,)
        for side in ("row", "col")
        for name in ("add", "sub", "mul", "div", "max", "min", "expdif")
    },
}

# What the language has and this target lacks: what to write instead.
ALTERNATIVES: Mapping[str, str] = {
    **{name: op.instead for name, op in OPS.items() if op.instead},
    "select": "tb.maximum and tb.minimum, where they say the same",
    "iota": "an array with the numbers, loaded like any other",
    **dict.fromkeys(("slice", "concat", "interleave", "reshape"), "an array that is cut into other tiles"),
    "transpose": "an array that is stored the other way round",
}
