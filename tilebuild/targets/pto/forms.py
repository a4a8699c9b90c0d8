"""Which PTO operation an instruction of the plan is, and how each operand is seen by it.

A column of one value a row, [R, 1], lies col_major. Elementwise operations take row_major tiles only: they see the same
bytes as the row [1, R]. `turned` says so for one operand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tilebuild.plan.model import Access, Buffer, Distributed, Global, Instr
from tilebuild.targets.pto.capabilities import COLUMN, ELEMENTWISE, REDUCE


@dataclass(frozen=True)
class Operand:
    """A tile, column or scalar as an operation takes it: its kind, and the extents that the operation works on."""

    kind: str  # "tile" | "column" | "scalar"
    rows: int
    cols: int


@dataclass(frozen=True)
class Chosen:
    """`turned` has one entry an operand, the result last."""

    mnemonic: str
    turned: tuple[bool, ...]


def operand(buffers: Mapping[str, Buffer], access: Access) -> Operand:
    """How an access to anything but an array is taken."""
    buffer = buffers[access.buffer]
    assert not isinstance(buffer.storage, Global)
    if isinstance(buffer.storage, Distributed):
        return Operand("scalar", 1, 1)
    kind = "column" if buffer.layout == COLUMN else "tile"
    return Operand(kind, access.rows.size.value, access.cols.size.value)


def choose(instr: Instr, buffers: Mapping[str, Buffer]) -> Chosen | None:
    """The form of a vector instruction, or None where there is none."""
    reads, result = [operand(buffers, a) for a in instr.reads], operand(buffers, instr.writes[0])
    return chosen(instr.op, reads, result, dict(instr.attrs).get("axis"))


def chosen(op: str, reads: list[Operand], result: Operand, axis: object = None) -> Chosen | None:
    """The form of an operation on these operands, or None where there is none."""
    if op in ("max", "min", "sum"):
        return _reduction(op, reads[0], result, axis)
    if op == "cast":
        return Chosen("tcvt", (result.kind == "column",) * 2)
    forms = ELEMENTWISE.get(op)
    if forms is None:
        return None
    flat = result.kind == "column"  # everything is seen as a row
    if op == "copy" and flat and reads[0].kind == "column" and reads[0].rows == 1 < result.rows:
        return Chosen(forms.row, (False, True))  # one value to all rows of a column
    if all(_alike(r, result) for r in reads):
        return Chosen(forms.tile, (flat,) * (len(reads) + 1)) if forms.tile else None
    if any(r.kind == "scalar" for r in reads):
        others = [r for r in reads if r.kind != "scalar"]
        swaps = op == "div" or forms.commutes or reads[-1].kind == "scalar"
        fits = forms.scalar and swaps and len(reads) - len(others) == 1 and all(_alike(r, result) for r in others)
        return Chosen(forms.scalar, tuple(flat and r.kind != "scalar" for r in (*reads, result))) if fits else None
    if flat or (len(reads) == 2 and not _alike(reads[0], result)):
        return None
    last = reads[-1]
    if last.kind == "column" and last.rows == result.rows and forms.row:
        return Chosen(forms.row, (False,) * (len(reads) + 1))
    if last.kind == "tile" and (last.rows, last.cols) == (1, result.cols) and forms.column:
        return Chosen(forms.column, (False,) * (len(reads) + 1))
    return None


def _alike(a: Operand, b: Operand) -> bool:
    return (a.kind, a.rows, a.cols) == (b.kind, b.rows, b.cols)


def _reduction(op: str, source: Operand, result: Operand, axis: object) -> Chosen | None:
    if source.kind == "column" and axis == 0 and result.kind == "column":
        return Chosen(REDUCE[op, 1], (True, False))  # along the row that the column is
    if source.kind == "tile" and axis == 1 and result.kind == "column":
        return Chosen(REDUCE[op, 1], (False, False))
    if source.kind == "tile" and axis == 0 and result.kind == "tile":
        return Chosen(REDUCE[op, 0], (False, False))
    return None
