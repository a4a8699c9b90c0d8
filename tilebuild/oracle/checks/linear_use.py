"""`linear-use`: what is read was written before, on every path, in every lane; parameters are used by their modes."""

from __future__ import annotations

from tilebuild.oracle.boxes import common_scope
from tilebuild.oracle.context import Context, box, instruction_name, span_of, storage_name
from tilebuild.oracle.findings import UNKNOWN, VIOLATED
from tilebuild.oracle.flow import Obstacle, Reach, outermost_loop
from tilebuild.oracle.program import Touch
from tilebuild.plan.expr import ONE
from tilebuild.plan.model import Global

NAME = "linear-use"


def run(context: Context) -> None:
    """Judge every read that is not proved to see written lanes only, and every access to a parameter."""
    for root, reaches in context.analysis.flow.reaches.items():
        for reach in reaches:
            if reach.sources:
                continue
            if reach.oldest is None or reach.partial is None:
                _report_unwritten(context, reach.read, context.program.local[root])
            elif reach.partial[1]:
                _report_path(context, reach.read, reach.partial[0], reach.partial[1])
            else:
                _report_lanes(context, reach, reach.partial[0])
    modes = {p.name: p.mode for p in context.plan.contract.parameters}
    for touch in context.program.touches:
        if isinstance(touch.buffer.storage, Global):
            _check_mode(context, touch, modes[touch.buffer.storage.parameter])


def _report_unwritten(context: Context, read: Touch, touches: list[Touch]) -> None:
    later = next((t for t in touches if t.write and t.index >= read.index), None)
    message = f"{instruction_name(read.instr)} reads {storage_name(read.buffer)}, which nothing has written"
    instructions: tuple[int, ...] = (read.instr.id,)
    if later is not None:
        loop = read.node.enclosing_loop
        first = f" on the first iteration of the loop over {loop.region.var}" if loop else ""
        message += f"{first}: its first write is {instruction_name(later.instr)}"
        instructions = (read.instr.id, later.instr.id)
    fix = "write the buffer before it is read: a loop-carried one needs its first value before the loop"
    context.findings.add("O-USE-01", VIOLATED, message, span=span_of(read), instructions=instructions, fix=fix)


def _report_path(context: Context, read: Touch, write: Touch, obstacles: tuple[Obstacle, ...]) -> None:
    where = []
    outcome = UNKNOWN
    for obstacle in obstacles:
        region = obstacle.node.region
        if region.kind == "branch":
            outcome = VIOLATED
            where.append(f"in a branch that runs only if {obstacle.condition}")
        else:
            where.append(f"in the loop over {region.var}, which runs zero times unless {obstacle.condition}")
    message = (
        f"{instruction_name(read.instr)} reads {storage_name(read.buffer)}, which is written by "
        f"{instruction_name(write.instr)} {' and '.join(where)}: not on every path"
    )
    fix = "write the buffer before the region too, or state what makes it run as a fact of the contract"
    ids = (read.instr.id, write.instr.id)
    context.findings.add("O-USE-02", outcome, message, span=span_of(read), instructions=ids, fix=fix)


def _report_lanes(context: Context, reach: Reach, write: Touch) -> None:
    read = reach.read
    outcome = UNKNOWN
    scope = common_scope(write, read)
    if scope is not None and write is reach.oldest and write.buffer is read.buffer:
        pairs = tuple(zip(read.lanes.axes, write.lanes.axes))
        some = all(scope.at_most(ONE, axis.valid) for axis in read.lanes.axes)
        if some and any(scope.below(w.end, r.end) or scope.below(r.start, w.start) for r, w in pairs):
            outcome = VIOLATED
    verb = "reads" if outcome == VIOLATED else "is not proved to read written lanes only: it reads"
    message = (
        f"{instruction_name(read.instr)} {verb} {box(read)} of {storage_name(read.buffer)}, "
        f"of which {instruction_name(write.instr)} wrote {box(write)}"
    )
    loop = outermost_loop(write, read)
    if loop is not None and loop.region.var in write.lanes.symbols:
        message += f" in an iteration of the loop over {loop.region.var}"
    fix = "read only lanes that are valid, or fill the others first"
    ids = (read.instr.id, write.instr.id)
    context.findings.add("O-USE-03", outcome, message, span=span_of(read), instructions=ids, fix=fix)


def _check_mode(context: Context, touch: Touch, mode: str) -> None:
    if (mode, touch.write) not in (("in", True), ("out", False)):
        return
    code, verb = ("O-USE-04", "writes") if touch.write else ("O-USE-05", "reads")
    message = f"{instruction_name(touch.instr)} {verb} {storage_name(touch.buffer)}, a parameter of mode {mode}"
    fix = "make the parameter InOut, or use another one"
    context.findings.add(code, VIOLATED, message, span=span_of(touch), instructions=(touch.instr.id,), fix=fix)
