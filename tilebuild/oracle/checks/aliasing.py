"""`aliasing`: no two buffers hold live values in the same bytes at the same time."""

from __future__ import annotations

import bisect
import heapq

from tilebuild.oracle.context import Context, instruction_name, span_of, storage_name
from tilebuild.oracle.findings import VIOLATED
from tilebuild.oracle.lives import Life, lives
from tilebuild.plan.model import Placed

NAME = "aliasing"
_PAIRS = 64  # clashing lives that are kept to be compared with later ones, once the plan is known to be wrong


def run(context: Context) -> None:
    """Sweep each space through time, with the live byte ranges in a sorted list: neighbours are all that can clash."""
    by_space: dict[str, list[Life]] = {}
    for life in lives(context.analysis.flow):
        storage = life.root.storage
        if isinstance(storage, Placed) and storage.bytes > 0:
            by_space.setdefault(storage.space, []).append(life)
    for found in by_space.values():
        _sweep(context, sorted(found, key=lambda x: (x.first, x.begin.index)))


def _sweep(context: Context, ordered: list[Life]) -> None:
    live: list[tuple[int, int, int]] = []  # (offset, end, index into `ordered`), disjoint, by offset
    ends: list[tuple[int, int]] = []  # (last step, index), a heap
    aside: list[int] = []  # lives that clash with one in `live`, and so cannot join it
    for index, life in enumerate(ordered):
        while ends and ends[0][0] < life.first:
            _, gone = heapq.heappop(ends)
            del live[bisect.bisect_left(live, (*_bytes(ordered[gone]), gone))]
        start, end = _bytes(life)
        at = bisect.bisect_left(live, (start, end, index))
        low = at
        while low > 0 and live[low - 1][1] > start:
            low -= 1
        high = at
        while high < len(live) and live[high][0] < end:
            high += 1
        clashes = [other for _, _, other in live[low:high]]
        clashes += [other for other in aside if ordered[other].last >= life.first and _overlap(ordered[other], life)]
        for other in sorted(clashes):
            _report(context, ordered[other], life)
        if low < high:
            aside = [*aside[-_PAIRS:], index]
        else:
            live.insert(at, (start, end, index))
            heapq.heappush(ends, (life.last, index))


def _bytes(life: Life) -> tuple[int, int]:
    storage = life.root.storage
    return (storage.offset, storage.offset + storage.bytes) if isinstance(storage, Placed) else (0, 0)


def _overlap(a: Life, b: Life) -> bool:
    (start, end), (other_start, other_end) = _bytes(a), _bytes(b)
    return start < other_end and other_start < end


def _report(context: Context, earlier: Life, later: Life) -> None:
    begin, end = earlier.begin.instr, earlier.end.instr
    until = f"to {instruction_name(end)}"
    if earlier.loop is not None:
        until = f"through the loop over {earlier.loop.region.var}, which reads it again in {instruction_name(end)}"
    does = "written" if later.begin.write else "read"
    at = instruction_name(later.begin.instr)
    message = (
        f"{storage_name(earlier.root)} is live from {instruction_name(begin)} {until}, "
        f"while {storage_name(later.root)} is {does} by {at}"
    )
    (start, stop), (other_start, other_stop) = _bytes(earlier), _bytes(later)
    shared = f"{max(start, other_start)}..{min(stop, other_stop)}"
    ids = (begin.id, end.id, later.begin.instr.id)
    fix = f"place one of the two outside of the bytes {shared} that they share, or end the first one's life earlier"
    context.findings.add("O-ALIAS-01", VIOLATED, message, span=span_of(later.begin), instructions=ids, fix=fix)
