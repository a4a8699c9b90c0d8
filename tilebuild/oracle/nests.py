"""What instructions that run fused, lane by lane, may share.

A nest runs all of its instructions for one lane before the next lane. So what one of them writes, another one may
touch in the very same box only, and the result of a reduction, complete after the last lane, not at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tilebuild.oracle.boxes import lanes_disjoint, same_shape
from tilebuild.oracle.context import box, instruction_name
from tilebuild.oracle.findings import UNKNOWN, VIOLATED
from tilebuild.oracle.ops import RULES
from tilebuild.oracle.program import Lanes, Touch
from tilebuild.oracle.regions import Node
from tilebuild.oracle.scopes import constant
from tilebuild.oracle.shapes import Problem
from tilebuild.plan.model import Global

_Found = Iterator[tuple[Touch, Problem]]


def nest_problems(node: Node, touches: Sequence[Touch]) -> _Found:
    """What is wrong among the touches of one nest, each with the touch that shows it."""
    shared: dict[str, list[Touch]] = {}
    for touch in touches:
        storage = touch.buffer.storage
        name = f"parameter {storage.parameter}" if isinstance(storage, Global) else f"tile {touch.root.id}"
        shared.setdefault(name, []).append(touch)
    for name, group in shared.items():
        first = next((t for t in group if t.write), None)
        if first is not None:
            yield from _conflicts(name, first, group, node)
    yield from _coverage(node, touches)


def _conflicts(name: str, write: Touch, group: Sequence[Touch], node: Node) -> _Found:
    reduction = next((t for t in group if t.write and _reduces(t)), None)
    for touch in group:
        if touch.instr is write.instr and touch.write:
            continue
        by = reduction if reduction is not None and touch.instr is not reduction.instr else write
        alike = same_shape(touch.buffer, by.buffer)
        if alike and lanes_disjoint(node.scope, touch.lanes, by.lanes):
            continue
        verb = "writes" if touch.write else "reads"
        if by is reduction:
            what = f"{verb} {name}, which {instruction_name(by.instr)} of the same nest reduces into"
            fix = "end the nest after the reduction; what needs its result belongs to the next one"
            yield touch, Problem("O-OPER-12", VIOLATED, what, fix)
        elif not alike or not _same_box(touch.lanes, by.lanes):
            outcome = VIOLATED if alike and _is_constant(touch.lanes) and _is_constant(by.lanes) else UNKNOWN
            where = f"{verb} {box(touch)} of {name}"
            what = f"{where}, of which {instruction_name(by.instr)} of the same nest writes {box(by)}"
            fix = "a lane of a nest sees its own lane only: use the same box, or another nest"
            yield touch, Problem("O-OPER-11", outcome, what, fix)


def _coverage(node: Node, touches: Sequence[Touch]) -> _Found:
    """The lanes that a nest visits must be all the valid ones, of what it writes and of what it reduces."""
    lanes = node.region.lanes
    if lanes is None:
        return
    for touch in touches:
        if touch.write and touch.instr.op == "scatter":  # of what it may write, it writes what the lanes name
            continue
        if touch.write == _reduces(touch):  # what counts is what a reduction reads, and what others write
            continue
        for axis, visited, name in zip(touch.lanes.axes, lanes, ("rows", "columns")):
            if constant(axis.size) != 1 and not node.scope.at_most(axis.valid, visited):
                outcome = VIOLATED if node.scope.below(visited, axis.valid) else UNKNOWN
                verb = "writes" if touch.write else "reduces"
                what = f"{verb} {axis.valid} {name} in a nest that visits {visited}"
                yield touch, Problem("O-OPER-15", outcome, what, "let the nest visit every valid lane")


def _reduces(touch: Touch) -> bool:
    rule = RULES.get(touch.instr.op)
    return rule is not None and rule.kind == "reduce"


def _same_box(a: Lanes, b: Lanes) -> bool:
    return a is b or all((x.start, x.size, x.step) == (y.start, y.size, y.step) for x, y in zip(a.axes, b.axes))


def _is_constant(lanes: Lanes) -> bool:
    return all(constant(e) is not None for axis in lanes.axes for e in (axis.start, axis.size))
