"""When a buffer's bytes must not be touched by anything else: its lives, in time steps."""

from __future__ import annotations

from dataclasses import dataclass

from tilebuild.oracle.flow import Flow, Reach, outermost_loop
from tilebuild.oracle.program import Touch
from tilebuild.oracle.regions import Node
from tilebuild.plan.model import Buffer, Layout, Placed


@dataclass(frozen=True, slots=True, eq=False)
class Life:
    """Steps `[first, last]`, both inclusive, from the touch that begins it to the one that needs it last; `loop` is
    the loop whose every iteration the value outlives, where there is one."""

    root: Buffer
    first: int
    last: int
    begin: Touch
    end: Touch
    loop: Node | None


def lives(flow: Flow) -> list[Life]:
    """The lives of all placed buffers, those of one buffer never at the same time."""
    found: list[Life] = []
    families: dict[tuple[object, ...], list[list[Touch]]] = {}
    for root, touches in flow.program.local.items():
        buffer = flow.program.buffers[root]
        if not isinstance(buffer.storage, Placed):
            continue
        if buffer.slots > 1:
            families.setdefault(family(buffer), []).append(touches)
        else:
            found += _merge([_written(t) for t in touches if t.write] + [_read(r) for r in flow.reaches[root]])
    for copies in families.values():
        found += _rotating(copies)
    return found


def family(buffer: Buffer) -> tuple[str, int, int, str, object, object, Layout]:
    """What the copies of one multi-buffered tile have in common."""
    storage = buffer.storage
    space, size = (storage.space, storage.bytes) if isinstance(storage, Placed) else ("", 0)
    return space, size, buffer.slots, buffer.dtype, buffer.rows, buffer.cols, buffer.layout


def _written(write: Touch) -> Life:
    return Life(write.root, write.step, write.step, write, write, None)


def _read(reach: Reach) -> Life:
    read = reach.read
    origins: tuple[Touch | None, ...] = reach.sources or (reach.oldest,)
    begin, first = read, read.step
    for origin in origins:
        if origin is None:
            continue
        start = origin.step
        left = None if reach.sources else outermost_loop(origin, read)
        if left is not None:  # lanes of several iterations may be seen after the loop
            start = left.first
        if start < first or begin is read:
            begin, first = origin, start
    loops = [loop for o in origins if (loop := outermost_loop(read, o)) is not None]
    if reach.sources:
        loop = min(loops, key=lambda n: n.depth, default=None)
    else:  # some lanes may come from the iteration before, of any loop around the read
        loop = outermost_loop(read, None)
    if loop is None:
        return Life(read.root, first, read.step, begin, read, None)
    return Life(read.root, min(first, loop.first), loop.last, begin, read, loop)


def _merge(parts: list[Life]) -> list[Life]:
    merged: list[Life] = []
    for life in sorted(parts, key=lambda x: (x.first, -x.last)):
        if merged and life.first <= merged[-1].last:
            last = merged[-1]
            if life.last > last.last:
                merged[-1] = Life(last.root, last.first, life.last, last.begin, life.end, life.loop)
        else:
            merged.append(life)
    return merged


def _rotating(copies: list[list[Touch]]) -> list[Life]:
    """Which copy an iteration uses is not in the plan: all live from the first touch of any to the last of any."""
    touches = [t for copy in copies for t in copy]
    begin, end = min(touches, key=lambda t: t.index), max(touches, key=lambda t: t.index)
    around = [loop for t in (begin, end) if (loop := outermost_loop(t, None)) is not None]
    first = min([begin.step, *(loop.first for loop in around)])
    last = max([end.step, *(loop.last for loop in around)])
    return [Life(copy[0].root, first, last, begin, end, around[-1] if around else None) for copy in copies]
