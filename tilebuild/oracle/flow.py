"""Where values come from: for every read of a buffer, the writes that it may see.

One pass over the touches of each buffer, in program order, with the region tree in hand; a value that a later
iteration of a loop reads is one that no write of the same iteration provides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tilebuild.oracle.boxes import covers, union_covers
from tilebuild.oracle.program import Program, Touch
from tilebuild.oracle.regions import Node
from tilebuild.oracle.scopes import negated
from tilebuild.plan.expr import Predicate

WINDOW = 64  # writes of one buffer that are followed at a time; older ones are taken to provide nothing


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A reason why a write may not have happened: the region that holds it, and what must be true for it to run."""

    node: Node
    condition: Predicate


@dataclass(frozen=True, slots=True, eq=False)
class Reach:
    """What a read sees. `sources` together provide every lane, whatever path was taken, in the same iteration of
    every loop that they share with the read; there are none where that is not proved, and then `partial` has the
    write that comes closest, with what stands in its way. `oldest` is the first write of the buffer before the read."""

    read: Touch
    sources: tuple[Touch, ...]
    partial: tuple[Touch, tuple[Obstacle, ...]] | None
    oldest: Touch | None


class Flow:
    """The reaches of all local (non-global) buffers, by the id of their root."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.reaches: Mapping[str, list[Reach]] = {root: _follow(t) for root, t in program.local.items()}


def _follow(touches: list[Touch]) -> list[Reach]:
    reaches = []
    writes: list[Touch] = []
    oldest = None
    for touch in touches:
        if touch.write:
            oldest = oldest or touch
            # a write that this one repeats, wherever that one is seen, is not needed any more
            while writes and touch.node.contains(writes[-1].node) and covers(touch, writes[-1]):
                writes.pop()
            writes.append(touch)
            del writes[:-WINDOW]
        else:
            reaches.append(_reach(writes, touch, oldest))
    return reaches


def _reach(writes: list[Touch], read: Touch, oldest: Touch | None) -> Reach:
    certain: list[Touch] = []
    halves: list[tuple[Obstacle, Touch]] = []
    conditional: list[tuple[Touch, tuple[Obstacle, ...]]] = []
    for write in reversed(writes):
        inside = obstacles(write, read)
        provides = covers(write, read)
        if not inside and provides:
            return Reach(read, (write,), None, oldest)
        if not inside:
            certain.append(write)
        elif provides:
            conditional.append((write, inside))
        if len(inside) == 1 and provides:
            for other, arm in halves:
                if _complementary(inside[0], other):
                    return Reach(read, (write, arm), None, oldest)
            halves.append((inside[0], write))
    together = union_covers(certain, read)
    if together or not writes:
        return Reach(read, together, None, oldest)
    closest = [*conditional, *((w, ()) for w in certain), (writes[-1], obstacles(writes[-1], read))]
    return Reach(read, (), closest[0], oldest)


def obstacles(write: Touch, read: Touch) -> tuple[Obstacle, ...]:
    """What must hold, and is not proved to hold at `read`, for the earlier `write` to have happened."""
    found: list[Obstacle] = []
    node = write.node
    while not node.contains(read.node) and node.parent is not None:
        region = node.region
        conditions: tuple[Predicate, ...] = region.when if region.kind == "branch" else ()
        if region.kind == "loop" and not node.runs and region.lower is not None and region.upper is not None:
            conditions = (Predicate("<", region.lower, region.upper),)
        for condition in conditions:
            if not (_means_the_same(condition, node, read.node) and read.node.scope.holds(condition)):
                found.append(Obstacle(node, condition))
        node = node.parent
    return tuple(found)


def _means_the_same(condition: Predicate, here: Node, there: Node) -> bool:
    names = condition.left.symbols | condition.right.symbols
    return all(here.bindings.get(v) == there.bindings.get(v) for v in names)


def _complementary(a: Obstacle, b: Obstacle) -> bool:
    return a.condition == negated(b.condition) and _means_the_same(a.condition, a.node, b.node)


def outermost_loop(inside: Touch, outside: Touch | None) -> Node | None:
    """The outermost loop that holds `inside` and not `outside` (that holds `inside`, where there is no `outside`)."""
    found = None
    node = inside.node.enclosing_loop
    while node is not None and (outside is None or not node.contains(outside.node)):
        found = node
        node = node.parent.enclosing_loop if node.parent is not None else None
    return found
