"""`linear-use` on PTX: shared memory is written before it is read.

A read is right if the bytes that each thread may read are among those that were certainly written before: by the
writes that some thread runs for certain whenever control has come to the read (`ptx_certain`). That they are also
ordered before it is what the check `sync` says.
"""

from __future__ import annotations

import bisect
import math
import time
from collections.abc import Mapping, Sequence

from tilebuild.oracle.findings import UNKNOWN, VIOLATED, Findings
from tilebuild.oracle.readers.ptx_block import BlockThreads, Kernel
from tilebuild.oracle.readers.ptx_bounds import Access, SharedAccesses
from tilebuild.oracle.readers.ptx_certain import Certain
from tilebuild.oracle.readers.ptx_intervals import Place, Turn
from tilebuild.oracle.readers.ptx_lanes import Addresses, Lanes, Touching
from tilebuild.oracle.readers.ptx_run import TooSlowError
from tilebuild.oracle.readers.ptx_threads import Trace, unwritten
from tilebuild.oracle.readers.ptx_together import Together
from tilebuild.oracle.readers.ptx_values import Value

_KNOWN = "judge it with its launch, and see what the check operands says"
_NEAR = 16  # writes before a read that are looked at first
_FIX = "write it first, in every thread whose part is read, and put a barrier in between"


def run(kernel: Kernel, functions: Sequence[BlockThreads], found: Findings) -> None:
    """Report every read of shared memory that is not proved to come after a write. Raises `TooSlowError`."""
    for function in functions:
        shared = function.shared
        if not any(_reads(a) for a in shared.accesses) and not shared.lost:
            continue
        if shared.lost or function.problem or function.together.lanes is None:
            first = next(iter(shared.lost.values()), None) or next(a.i for a in shared.accesses if _reads(a))
            why = "what is written is not known" if shared.lost else function.problem or "its block is not known"
            message = f"{first.text} (line {first.line}) reads shared memory, or may, and {why}: nothing is proved"
            message += " about what was written before"
            found.add("O-PTX-14", UNKNOWN, message, span=kernel.span(first), artifact_line=first.line, fix=_KNOWN)
            continue
        initial = Initial(kernel, shared, found)
        reads = initial.open(function.together, function.together.lanes)
        if function is not functions[0]:
            message = f"the function {shared.function.name} reads shared memory, and is called where it is not followed"
            line = shared.function.line
            found.add("O-PTX-14", UNKNOWN, message, artifact_line=line, fix="let the compiler inline it")
        elif reads:
            initial.report(reads, function.together.lanes, function.traces)


class Initial:
    """The reads of one function."""

    def __init__(self, kernel: Kernel, shared: SharedAccesses, found: Findings) -> None:
        self.kernel, self.shared, self.found = kernel, shared, found
        self._known: dict[object, set[int]] = {}

    def open(self, together: Together, lanes: Lanes) -> list[Access]:
        """The reads of what is not proved to be written."""
        certain = Certain(together, lanes)
        reads = [a for a in self.shared.accesses if _reads(a)]
        writes = [a for a in self.shared.accesses if a.touch.write and a.i.op not in ("atom", "red", "mbarrier")]
        writes.sort(key=lambda w: w.number)
        numbers = [w.number for w in writes]
        return [
            read
            for read in reads
            for at in (bisect.bisect(numbers, read.number),)
            if not self._written(read, writes[max(0, at - _NEAR) : at], certain)  # nearly always it is one of these
            and not self._written(read, writes, certain)
        ]

    def report(self, reads: Sequence[Access], lanes: Lanes, traces: list[Trace]) -> None:
        """Say of each read whether it certainly meets what nothing has written."""
        certain = unwritten(traces, lanes.count)
        for read in reads:
            i, event = read.i, certain.get(read.number)
            if event is not None:
                message = (
                    f"thread {lanes.thread_name(event.thread)} reads bytes {event.first}..{event.first + event.bytes} "
                    f"of the shared array {event.array} with {i.text} (line {i.line}), which no thread has written"
                )
                outcome = VIOLATED
            else:
                message = (
                    f"{i.text} (line {i.line}) reads the shared array {read.array.name}, and what it reads is not "
                )
                message += "proved to be written before"
                outcome = UNKNOWN
            self.found.add("O-PTX-13", outcome, message, span=self.kernel.span(i), artifact_line=i.line, fix=_FIX)

    def _written(self, read: Access, writes: Sequence[Access], certain: Certain) -> bool:
        if time.thread_time() > self.kernel.deadline:
            raise TooSlowError
        together, around = certain.together, certain.together.intervals
        here: dict[int, Turn] = dict.fromkeys(around.around[around.block_of[read.number]], ("rel", 0))
        place: Place = (read.number, tuple(here.items()))
        touchings = [together.touching(0, read, place)]
        for write in writes:
            if _name(write) != _name(read):
                continue
            climb = certain.climb(write.number, read.number)
            if climb is None:
                continue
            headers = {together.unknowns.all[u].name: u for u in together.unknowns.roots(write.offset)}
            for given, mask in certain.executions(climb):
                turns = {h: here.get(h, ("rel", 0)) for h in around.around[climb.anchor]}
                turns |= {h: ("abs", given.get(headers.get(str(h), -1), 0)) for h in climb.left}
                made = together.touching(len(touchings), write, (write.number, tuple(turns.items())))
                if any(role[0] == "own" for role in _used(made, certain).values()):
                    break
                taking_part = made.lanes & mask
                touchings.append(Touching(made.key, made.offset, made.bytes, made.env, made.roles, taking_part))
        if len(touchings) == 1:
            return False
        if all(_is_plain(t, certain.lanes) for t in touchings):
            reached = self._addresses(touchings[0], certain.lanes)
            return _covers([(t.bytes, self._addresses(t, certain.lanes)) for t in touchings[1:]], read, reached)
        addresses = Addresses(certain.lanes, touchings)
        if addresses.modulus or not addresses.exact:
            return False
        for frame in addresses.frames():
            (_, wanted), *others = frame
            sets = [(touching.bytes, {at for _, at in pairs}) for touching, pairs in others]
            if not _covers(sets, read, {at for _, at in wanted}):
                return False
        return True

    def _addresses(self, touching: Touching, lanes: Lanes) -> set[int]:
        """All addresses that the threads touch, where they are functions of the thread."""
        given = tuple(sorted((u, str(role[1])) for u, role in touching.roles.items() if role[0] == "is"))
        key = (touching.offset, given, touching.lanes, id(touching.env))
        found = self._known.get(key)
        if found is None:
            (frame,) = Addresses(lanes, [touching]).frames()
            ((_, pairs),) = frame
            found = self._known[key] = {at for _, at in pairs}
        return found


def _is_plain(touching: Touching, lanes: Lanes) -> bool:
    """True for an offset that is a function of the thread."""
    return all(
        touching.roles[root][0] == "is"
        for u, _ in touching.offset.terms
        for root in lanes.unknowns.roots(Value(((u, 1),)))
        if not lanes.is_thread(root)
    )


def _covers(written: list[tuple[int, set[int]]], read: Access, wanted: set[int]) -> bool:
    """True if the bytes that are read are among those that are written."""
    size = read.touch.bytes
    unit = math.gcd(size, *wanted, *(n for n, _ in written), *(at for _, found in written for at in found))
    units: set[int] = set()
    for n, found in written:
        for shift in range(0, n, unit):
            units.update(at + shift for at in found)
    return all(at + shift in units for at in wanted for shift in range(0, size, unit))


def _used(touching: Touching, certain: Certain) -> Mapping[int, tuple[object, ...]]:
    """The roles of what the offset itself depends on."""
    roots = certain.together.unknowns.roots(touching.offset)
    return {root: role for root, role in touching.roles.items() if root in roots}


def _reads(access: Access) -> bool:
    return not access.touch.write or access.i.op == "atom"


def _name(access: Access) -> str:
    return access.array.name if access.array.bytes is not None else ""
