"""What every check is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from tilebuild.diagnostics import Span
from tilebuild.oracle.findings import Findings
from tilebuild.oracle.flow import Flow
from tilebuild.oracle.program import Program, Touch
from tilebuild.oracle.structure import place
from tilebuild.plan.model import Buffer, Distributed, Fused, Global, Instr, Placed, Plan


class Analysis:
    """The prepared plan and what follows from it, worked out once for all checks."""

    def __init__(self, program: Program) -> None:
        self.program = program

    @cached_property
    def flow(self) -> Flow:
        """Where the value of every local read comes from."""
        return Flow(self.program)


@dataclass(frozen=True)
class Context:
    """One check's view of a plan."""

    plan: Plan
    analysis: Analysis
    findings: Findings

    @property
    def program(self) -> Program:
        return self.analysis.program


Check = Callable[[Context], None]


def storage_name(buffer: Buffer) -> str:
    """A buffer as messages show it: with its byte range, or with the kind of its storage."""
    storage = buffer.storage
    if isinstance(storage, Global):
        return f"view {buffer.id} of {storage.parameter}"
    if isinstance(storage, Distributed):
        return f"tile {buffer.id} [registers]"
    if isinstance(storage, Fused):
        return f"tile {buffer.id} [fused]"
    if isinstance(storage, Placed):
        return f"tile {buffer.id} {place(storage)}"
    return f"tile {buffer.id}"


def instruction_name(instr: Instr) -> str:
    """An instruction as messages show it, with its line where that is known."""
    return f"instruction {instr.id} ({instr.op}{f', line {instr.span.line}' if instr.span else ''})"


def box(touch: Touch) -> str:
    """The lanes of a touch as messages show them."""
    rows, cols = touch.lanes.axes
    return f"rows {_axis(rows.start, rows.end, rows.step)}, columns {_axis(cols.start, cols.end, cols.step)}"


def _axis(start: object, end: object, step: int) -> str:
    return f"{start}..{end}{f' by {step}' if step != 1 else ''}"


def span_of(touch: Touch) -> Span | None:
    """The place in the kernel's source to show for a touch."""
    return touch.instr.span or touch.buffer.span
