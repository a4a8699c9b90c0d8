"""Rules on types of tiles and on the tiles of one vector instruction, for the verifier."""

from __future__ import annotations

from collections.abc import Iterator

from tilebuild.oracle.readers.pto_types import TileType
from tilebuild.targets.pto.capabilities import (
    BLOCK,
    BOX_ROWS,
    BYTES,
    COLUMN,
    DTYPES,
    ELEMENTWISE,
    LAYOUTS,
    REDUCE,
    TILE,
    Architecture,
)

SCALAR_FORMS = {f.scalar for f in ELEMENTWISE.values() if f.scalar}
_ROW_FORMS = {f.row for f in ELEMENTWISE.values() if f.row}
_COLUMN_FORMS = {f.column for f in ELEMENTWISE.values() if f.column}
_ROW_REDUCTIONS = {name for (_, axis), name in REDUCE.items() if axis == 1}
_TILE_FORMS = {f.tile for f in ELEMENTWISE.values()} | {"tcvt"}


def tile_problems(machine: Architecture, t: TileType, given: tuple[bool, bool]) -> Iterator[str]:
    """What is wrong with a tile's type; `given` says for which directions the allocation states what is valid."""
    known = {s.name for s in machine.spaces}
    if t.space not in known:
        yield f"is in the space {t.space}, not one of {', '.join(sorted(known))}"
        return
    layouts = (machine.left,) if t.space == "left" else LAYOUTS[t.space]
    if t.layout not in layouts:
        shown = ", ".join(f"{x.blayout}/{x.slayout} {x.fractal}" for x in layouts)
        yield f"has the layout {t.layout.blayout}/{t.layout.slayout} {t.layout.fractal} in {t.space}, not {shown}"
    size = BYTES[DTYPES.get(t.dtype, "i64")]
    if t.layout.slayout == "none_box":
        inner = t.cols if t.layout.blayout == "row_major" else t.rows
        if inner * size % BLOCK:
            yield f"has {inner} elements of {size} bytes next to each other, which is no multiple of {BLOCK} bytes"
    else:
        units = (BOX_ROWS, BLOCK // size)
        rows, cols = units if t.layout.slayout == "row_major" else units[::-1]
        if t.layout.fractal == 1024:
            rows = cols = BOX_ROWS
        if t.rows % rows or t.cols % cols:
            yield f"has the extents {t.rows} x {t.cols}, no multiples of its boxes of {rows} x {cols}"
    for valid, extent, stated, word in zip(t.valid, (t.rows, t.cols), given, ("valid_row", "valid_col")):
        if valid is not None and not 1 <= valid <= extent:
            yield f"states {valid} valid of {extent}"
        if valid is None and not stated:
            yield f"lacks {word}, and its type leaves it open"
        if valid is not None and stated:
            yield f"has {word}, and its type states it"


def shape_problems(name: str, sources: list[TileType], target: TileType) -> Iterator[str]:
    """What is wrong with the extents and layouts of a vector instruction's tiles."""
    extents = (target.rows, target.cols)
    if not sources and name not in SCALAR_FORMS:
        yield "has no tile among its operands"
    elif name in _TILE_FORMS | SCALAR_FORMS:
        if any((s.rows, s.cols, s.layout) != (*extents, target.layout) for s in sources) or target.layout != TILE:
            yield "takes row_major tiles of one shape"
    elif name in _ROW_FORMS:
        if target.layout != TILE or sources[-1].layout != COLUMN or sources[-1].rows < target.rows:
            yield "takes one value a row, col_major, for a row_major tile"
        if len(sources) == 2 and (sources[0].rows, sources[0].cols) != extents:
            yield "has a first operand of another shape than its result"
    elif name in _COLUMN_FORMS:
        if any(t.layout != TILE for t in (*sources, target)) or (sources[-1].rows, sources[-1].cols) != (
            1,
            target.cols,
        ):
            yield "takes one value a column, in one row, for a row_major tile"
        if len(sources) == 2 and (sources[0].rows, sources[0].cols) != extents:
            yield "has a first operand of another shape than its result"
    elif name in _ROW_REDUCTIONS:
        if len(sources) != 2 or sources[0].layout != TILE or sources[1] != sources[0]:
            yield "takes a row_major tile and a temporary of the same type"
        if target.layout != COLUMN or target.rows < sources[0].rows:
            yield "gives one value a row, col_major"
    elif name in REDUCE.values():
        if len(sources) != 1 or sources[0].layout != TILE or target.layout != TILE or extents != (1, sources[0].cols):
            yield "takes a row_major tile and gives one row"
    else:
        yield "is an operation that this verifier does not know"
