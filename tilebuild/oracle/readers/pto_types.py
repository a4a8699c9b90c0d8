"""The types of PTO text, and what the reader knows of the machines and operations that they are for.

The tables here are the oracle's own, not the compiler's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tilebuild.plan.model import Layout, Space

# element types of the text -> dtypes of plans
DTYPES: Mapping[str, str] = {
    "f32": "f32", "f16": "f16", "bf16": "bf16", "i32": "i32", "si32": "i32", "ui32": "u32", "i8": "i8", "si8": "i8",
    "ui8": "u8", "i1": "bool",
}  # fmt: skip
_FIELD = re.compile(r"(\w+)\s*=\s*([\w?-]+)")
_SHORT = re.compile(r"(\w+)\s*,\s*(\d+)x(\d+)x(\w+)\s*(?:,\s*valid\s*=\s*([\d?]+)x([\d?]+))?\s*(?:,(.*))?$", re.DOTALL)
_VIEW = re.compile(r"(?:tensor_view|partition_tensor_view)<((?:[\d?]+x)+)(\w+)>$")
_POINTER = re.compile(r"!pto\.ptr<(\w+)(?:,.*)?>$")


class TypeProblem(ValueError):
    """A type that cannot be read."""


@dataclass(frozen=True)
class TileType:
    """`valid` has None for what the allocation gives."""

    space: str
    dtype: str
    rows: int
    cols: int
    valid: tuple[int | None, int | None]
    layout: Layout

    @property
    def is_column(self) -> bool:
        """One value a row, one after the other."""
        return self.cols == 1 and self.layout.blayout == "col_major" and self.layout.slayout == "none_box"

    @property
    def is_row(self) -> bool:
        """One row, whose bytes are those of a column of as many values."""
        return self.rows == 1 and self.layout.blayout == "row_major" and self.layout.slayout == "none_box"


def tile_type(text: str) -> TileType:
    """`!pto.tile_buf<loc=vec, dtype=f32, rows=.., ...>` or `!pto.tile_buf<vec, 16x32xf32, valid=?x?>`.

    Raises `TypeProblem`.
    """
    if not text.startswith("!pto.tile_buf<"):
        raise TypeProblem(f"{text[:60]} is no tile")
    inside = text[len("!pto.tile_buf<") : -1]
    short = _SHORT.match(inside)
    fields = dict(_FIELD.findall(short[7] or "" if short else inside))
    if short is not None:
        rows, cols = short[2], short[3]
        fields |= {"loc": short[1], "dtype": short[4], "rows": rows, "cols": cols}
        fields |= {"v_row": short[5] or rows, "v_col": short[6] or cols}
    try:
        rows_, cols_ = int(fields["rows"]), int(fields["cols"])
        valid = tuple(
            _extent(fields.get(name, extent)) for name, extent in (("v_row", str(rows_)), ("v_col", str(cols_)))
        )
        layout = Layout(
            fields.get("blayout", "row_major"), fields.get("slayout", "none_box"), int(fields.get("fractal", 512))
        )
        return TileType(fields["loc"], _dtype(fields["dtype"]), rows_, cols_, (valid[0], valid[1]), layout)
    except (KeyError, ValueError) as error:
        raise TypeProblem(f"{text[:120]}: {error}") from None


def _extent(text: str) -> int | None:
    return None if text == "?" or int(text) < 0 else int(text)


def _dtype(text: str) -> str:
    if text not in DTYPES:
        raise TypeProblem(f"{text} is a dtype that plans do not have ({', '.join(DTYPES)})")
    return DTYPES[text]


def view_dtype(text: str) -> tuple[int, str]:
    """Rank and dtype of a tensor view or a part of one; raises `TypeProblem`."""
    match = _VIEW.search(text)
    if match is None:
        raise TypeProblem(f"{text[:60]} is no view")
    return match[1].count("x"), _dtype(match[2])


def pointer_dtype(text: str) -> str | None:
    """The dtype that a pointer points to, None for another type; raises `TypeProblem` for a dtype that plans lack."""
    match = _POINTER.match(text)
    return _dtype(match[1]) if match else None


@dataclass(frozen=True)
class Meaning:
    """One operation of the text: what it is in a plan, and how it takes its operands.

    `form`: tile (all of one shape), scalar (one of the operands is a scalar), row (the last one has one value a row),
    column (the last one has one value a column), reduce (over `axis`).
    """

    op: str
    form: str
    reads: int = 1
    axis: int = -1


def _meanings() -> dict[str, Meaning]:
    found: dict[str, Meaning] = {}
    for name, op in (
        ("add", "add"),
        ("sub", "sub"),
        ("mul", "mul"),
        ("div", "div"),
        ("max", "maximum"),
        ("min", "minimum"),
    ):
        found[f"pto.t{name}"] = Meaning(op, "tile", 2)
        found[f"pto.t{name}s"] = Meaning(op, "scalar", 2)
        found[f"pto.trowexpand{name}"] = Meaning(op, "row", 2)
        found[f"pto.tcolexpand{name}"] = Meaning(op, "column", 2)
        if name in ("max", "min"):
            found[f"pto.trow{name}"] = Meaning(name, "reduce", 1, 1)
            found[f"pto.tcol{name}"] = Meaning(name, "reduce", 1, 0)
    found["pto.trowsum"] = Meaning("sum", "reduce", 1, 1)
    found["pto.tcolsum"] = Meaning("sum", "reduce", 1, 0)
    for name in ("neg", "abs", "exp", "log", "sqrt", "rsqrt", "recip"):
        found[f"pto.t{name}"] = Meaning(name, "tile")
    found["pto.tand"], found["pto.tor"] = Meaning("and", "tile", 2), Meaning("or", "tile", 2)
    found["pto.tmov"] = Meaning("copy", "tile")
    found["pto.tcvt"] = Meaning("cast", "tile")
    found["pto.texpands"] = Meaning("copy", "scalar")
    found["pto.trowexpand"] = Meaning("copy", "row")
    found["pto.tcolexpand"] = Meaning("copy", "column")
    return found


MEANINGS: Mapping[str, Meaning] = _meanings()
# They order instructions or describe tiles: nothing that these checks look at.
IGNORED = frozenset(
    {
        "pto.barrier", "pto.set_flag", "pto.wait_flag", "pto.record_event", "pto.wait_event", "pto.sync", "return",
        "func.return", "scf.yield", "pto.yield", "pto.barrier_sync",
    }
)  # fmt: skip
SECTIONS = ("pto.section.vector", "pto.section.cube")

_A3 = (
    Space("vec", 196608, 32), Space("mat", 524288, 32), Space("left", 65536, 32), Space("right", 65536, 32),
    Space("acc", 131072, 32), Space("bias", 1024, 32), Space("scaling", 2048, 32),
)  # fmt: skip
_A5 = (
    Space("vec", 253952, 32), Space("mat", 524288, 32), Space("left", 65536, 32), Space("right", 65536, 32),
    Space("acc", 262144, 32), Space("bias", 4096, 32), Space("scaling", 4096, 32),
)  # fmt: skip
# the assembler's architecture -> the plan's, and its spaces
MACHINES: Mapping[str, tuple[str, tuple[Space, ...]]] = {"a3": ("a2a3", _A3), "a5": ("a5", _A5)}
