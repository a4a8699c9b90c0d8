"""C of what touches elements that the data names: gathers, scatters and atomic additions, inside of a nest.

Where the index is the same along the inner axis, a row is named: its address is found once a vector, and its elements
lie beside each other. Otherwise each lane has its own index.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tilebuild.plan.model import Access, Global, Instr
from tilebuild.targets.cpu.ctext import MEMORY, SUFFIXES, expression

if TYPE_CHECKING:
    from tilebuild.targets.cpu.nest import Lane, NestEmitter


def tiles(i: Instr) -> tuple[Access, ...]:
    """What an instruction reads lane by lane."""
    return i.reads[:1] if i.op == "gather" else i.reads


def lanes(i: Instr) -> tuple[Access, ...]:
    """The accesses whose boxes are the nest's lanes."""
    return tiles(i) if i.op == "scatter" else (*tiles(i), *i.writes)


def gather(nest: NestEmitter, i: Instr, lane: Lane) -> str:
    """The vector of elements that `i` reads, with zeros or the nearest ones for indices outside."""
    idx, array = i.reads
    buffer = nest.buffers[array.buffer]
    assert isinstance(buffer.storage, Global)
    indices = nest.read(idx, lane, i.span)
    pointer = nest.pointers[i.id, 1]
    clamp = "1" if i.attr("oob") == "clamp" else "0"
    suffix, rows, n = MEMORY[buffer.dtype], expression(array.valid[0]), lane.left or "VL"
    down, across = (expression(s) for s in buffer.storage.strides)
    if i.attr("by") == "row" and nest.repeated(idx, nest.inner):
        column = f"{lane.offset} * {across}"
        return f"tb_gather_row_{suffix}({pointer} + {column}, {down}, {across}, {indices}[0], {rows}, {n}, {clamp})"
    if i.attr("by") == "row":
        return f"tb_gather_{suffix}({pointer}, {down}, {indices}, {rows}, {n}, {clamp})"
    return f"tb_gather_{suffix}({pointer}, {across}, {indices}, {expression(array.valid[1])}, {n}, {clamp})"


def update(nest: NestEmitter, i: Instr, lane: Lane) -> str:
    """The statement that changes elements of an array; `set` writes them, the other modes are atomic."""
    array = i.writes[0]
    buffer = nest.buffers[array.buffer]
    assert isinstance(buffer.storage, Global)
    value = nest.read(i.reads[0], lane, i.span)
    n, places = lane.left or "VL", f"tb_iota_i32() + (int32_t)({lane.offset})"
    down, across = (expression(s) for s in buffer.storage.strides)
    pointer = nest.pointers[i.id, len(i.reads)]
    if i.op == "atomic_add":
        inner, outer = buffer.storage.strides[nest.inner], buffer.storage.strides[nest.outer]
        pointer = f"{pointer} + o * {expression(outer)}" if nest.shape[nest.outer] > 1 else pointer
        step = expression(inner)
        return f"tb_update_add_{SUFFIXES[buffer.dtype]}({pointer}, {step}, {places}, INT32_MAX, {n}, {value});"
    update = f"tb_update_{i.attr('mode')}_{SUFFIXES[buffer.dtype]}"
    idx = i.reads[1]
    indices = nest.read(idx, lane, i.span)
    rows = expression(array.valid[0])
    if i.attr("by") == "element":
        return f"{update}({pointer}, {across}, {indices}, {expression(array.valid[1])}, {n}, {value});"
    if nest.repeated(idx, nest.inner):
        row = f"{pointer} + {indices}[0] * {down}"
        return f"if (tb_inside_i64({indices}[0], {rows})) {update}({row}, {across}, {places}, INT32_MAX, {n}, {value});"
    return f"{update}({pointer}, {down}, {indices}, {rows}, {n}, {value});"
