"""Runs the threads of one block on numbers, as far as their ways and addresses are certain.

What memory and parameters hold is not known (but for parameters that the launch's facts name), and what follows from it
neither. A branch on something unknown is passed by: the thread goes on where all its ways meet again, and all that they
may have changed is unknown from there; it is followed no further where a barrier lies between. So all that is recorded
really happens, in every launch of that block, and can be shown as a witness.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from tilebuild.oracle.readers import ptx_accesses
from tilebuild.oracle.readers.ptx_bounds import SharedAccesses
from tilebuild.oracle.readers.ptx_flow import LEAVES, registers, results
from tilebuild.oracle.readers.ptx_intervals import barrier, copies
from tilebuild.oracle.readers.ptx_numbers import Address, Numbers, Word
from tilebuild.oracle.readers.ptx_text import Instruction
from tilebuild.oracle.readers.ptx_together import Together

_STEPS = 400_000  # of all threads together
READ, WRITE, ATOMIC = 0, 1, 2
_WARP_WIDE = frozenset(("shfl", "vote", "match", "redux", "mma", "wmma", "ldmatrix", "stmatrix", "elect", "activemask"))


@dataclass(frozen=True)
class Event:
    """One touch of one thread: by instruction `number`, of an array, in its `phase` between barriers of the block and
    its `step` between those of its warp. `value` is what it writes, where that is known; `strong` if it is ordered by
    itself; `late` for a copy that is still under way."""

    thread: int
    number: int
    array: str
    first: int
    bytes: int
    kind: int
    phase: int
    step: int
    value: Word = None
    strong: bool = False
    late: bool = False


@dataclass
class Trace:
    """What is certain of one thread. `barriers` are those that it reached, `cut` if it was not followed to its end;
    `wild` if it may have written in ways that are not known; `early` are reads of what its own copies still write."""

    thread: int
    events: list[Event] = field(default_factory=list)
    barriers: list[int] = field(default_factory=list)
    cut: bool = False
    wild: bool = False
    early: list[tuple[Event, Event]] = field(default_factory=list)


class Threads:
    """Runs the threads of one function."""

    def __init__(
        self, together: Together, shared: SharedAccesses, values: Mapping[str, int], tick: Callable[[], None]
    ) -> None:
        self.together, self.flow, self.tick = together, together.flow, tick
        self.body = together.function.body
        self.arrays = shared.kernel.arrays
        self.numbers = Numbers(together.function, self.arrays, values, shared.kernel.special())
        asked = [name for i in self.body for name in ptx_accesses.asked(i, shared.carrying)]
        asked += [i.guard[0] for i in self.body if i.guard is not None and i.op in ("bar", "barrier", "cp")]
        self.touching = {k for k, i in enumerate(self.body) if shared.concerned(i)}
        stores = [self.body[k] for k in self.touching if self.body[k].op == "st"]
        asked += [name for i in stores for operand in i.operands[1:] for name in registers(operand)]
        wanted = self.flow.needed(asked)
        count = together.lanes.count if together.lanes is not None else None
        self.barriers = {k: barrier(k, i, count) for k, i in enumerate(self.body) if i.op in ("bar", "barrier")}
        self.syncs = {k for k, i in enumerate(self.body) if i.op == "mbarrier" or "cluster" in i.parts}
        self.steps = [
            [k for k in range(b.first, b.last)
             if wanted.intersection(results(self.body[k])) or k in self.touching or k in self.barriers
             or k in self.syncs or copies(self.body[k]) is not None or self.body[k].op in _WARP_WIDE
             or self.body[k].op in ("bra", "brx", "call", *LEAVES)]
            for b in self.flow.blocks
        ]  # fmt: skip
        self.left = _STEPS
        self._regions: dict[int, set[int]] = {}

    def run(self) -> list[Trace]:
        """The traces of all threads; of the first ones only where all of them take too long."""
        lanes = self.together.lanes
        found = []
        for thread, position in enumerate(lanes.threads if lanes is not None else ()):
            self.tick()
            trace = _Thread(self, thread, position).run()
            found.append(trace)
            if self.left < 0:
                trace.cut = True
                break
        return found

    def between(self, number: int) -> set[int]:
        """The blocks that may run after a block before all ways from it meet."""
        found = self._regions.get(number)
        if found is None:
            end, found = self.together.uniform.after[number], set()
            pending = [t for t, _ in self.flow.blocks[number].jumps]
            while pending:
                at = pending.pop()
                if at != end and at not in found:
                    found.add(at)
                    pending += [t for t, _ in self.flow.blocks[at].jumps]
            self._regions[number] = found
        return found


class _Thread:
    def __init__(self, threads: Threads, thread: int, position: tuple[int, int, int]) -> None:
        self.all, self.trace = threads, Trace(thread)
        self.registers: dict[str, Word] = {f"%tid.{axis}": n for axis, n in zip("xyz", position)}
        self.registers["%laneid"] = thread % 32
        self.phase = self.step = 0
        self.copies: list[tuple[Event, int]] = []  # under way, with the group of each, -1 where it is not committed
        self.group = 0

    def run(self) -> Trace:
        at = 0
        while at < self.all.together.uniform.exit:
            following = self._block(at)
            if following is None:
                break
            at = following
        return self.trace

    def _block(self, number: int) -> int | None:
        """Run a block; the next one, or None at the end."""
        block = self.all.flow.blocks[number]
        for k in self.all.steps[number]:
            i = self.all.body[k]
            self.all.left -= 1
            if self.all.left < 0:
                self.trace.cut = True
                return None
            holds: bool | None = True
            if i.guard is not None:
                known = self.registers.get(i.guard[0])
                holds = None if not isinstance(known, int) else bool(known) != i.guard[1]
            if i.op in ("bra", "brx", *LEAVES):
                if holds is None or i.op == "brx":
                    return self._pass_by(number)
                if holds and i.op in LEAVES:
                    return None
                return self._target(number, k, holds)
            if holds is not False and not self._step(k, i, holds is None):
                self.trace.cut = True
                return None
        return block.jumps[0][0] if block.jumps else None

    def _target(self, number: int, k: int, holds: bool) -> int | None:
        i, jumps = self.all.body[k], self.all.flow.blocks[number].jumps
        if i.guard is None:
            return jumps[0][0] if jumps else None
        register = holds != i.guard[1]
        return next((target for target, condition in jumps if condition == (i.guard[0], register)), None)

    def _pass_by(self, number: int) -> int | None:
        """Go on where all ways from a branch meet."""
        after = self.all.together.uniform.after[number]
        if after == self.all.together.uniform.exit:
            self.trace.cut = True
            return None
        for other in self.all.between(number):
            block = self.all.flow.blocks[other]
            for k in range(block.first, block.last):
                i = self.all.body[k]
                if k in self.all.barriers or k in self.all.syncs or i.op == "call" or copies(i) is not None:
                    self.trace.cut = True
                    return None
                if k in self.all.touching:
                    self.trace.wild = True
                self.registers.update(dict.fromkeys(results(i)))
        self.step += 1
        return after

    def _step(self, k: int, i: Instruction, maybe: bool) -> bool:
        """Run one instruction; False where the thread cannot be followed any further."""
        if k in self.all.barriers:
            here = self.all.barriers[k]
            self.step += 1
            if i.op == "bar" and "warp" in i.parts and not maybe:
                return True
            if here is None or maybe:
                return False
            if here.whole:
                self.trace.barriers.append(k)
                self.phase += 1
                for copy, _ in self.copies:
                    self.trace.events.append(replace(copy, phase=self.phase, step=self.step))
            self.registers.update(dict.fromkeys(results(i)))
            return True
        if k in self.all.syncs or i.op == "call":
            return False
        what = copies(i)
        if what is not None and what != "copy":
            return not maybe and self._copies(i, what)
        if k in self.all.touching:
            self._touch(k, i, maybe)
        if i.op in _WARP_WIDE:
            self.step += 1
        self.all.numbers.step(i, self.registers, maybe)
        return True

    def _copies(self, i: Instruction, what: object) -> bool:
        if what == "commit":
            self.copies = [(e, self.group if g < 0 else g) for e, g in self.copies]
            self.group += 1
        elif "wait_all" in i.parts:
            self.copies = []
        elif isinstance(what, int):
            self.copies = [(e, g) for e, g in self.copies if g < 0 or g >= self.group - what]
        return True

    def _touch(self, k: int, i: Instruction, maybe: bool) -> None:
        found = ptx_accesses.touches(i)
        self.trace.wild |= found is None
        for touch in found or ():
            place = self.all.numbers.address(touch.address, self.registers)
            if not isinstance(place, Address) or maybe:
                self.trace.wild |= touch.write
                continue
            if not touch.all_threads and i.op in ("ldmatrix", "stmatrix"):
                lanes = 16 if "x2" in i.parts else 8
                if self.trace.thread % 32 >= lanes:
                    continue
            kind = ATOMIC if i.op in ("atom", "red", "mbarrier") else WRITE if touch.write else READ
            late = copies(i) == "copy"
            value = self.all.numbers.stored(i, self.registers) if kind == WRITE and not late else None
            strong = kind == ATOMIC or bool({"volatile", "relaxed", "acquire", "release", "mmio"} & set(i.parts))
            event = self._event(k, place.array, place.offset, touch.bytes)
            event = replace(event, kind=kind, value=value, strong=strong, late=late)
            self.trace.events.append(event)
            for copy, _ in self.copies:
                if copy.array == event.array and copy.first < event.first + event.bytes and (
                    event.first < copy.first + copy.bytes
                ):  # fmt: skip
                    self.trace.early.append((copy, event))
            if late:
                self.copies.append((event, -1))

    def _event(self, number: int, array: str, first: int, size: int) -> Event:
        """A touch here and now, taken for a read."""
        return Event(self.trace.thread, number, array, first, size, READ, self.phase, self.step)


# -- what is wrong ----------------------------------------------------------------------------------


def parted(traces: Iterable[Trace]) -> tuple[Trace, Trace, int] | None:
    """Two threads that do not meet at their barriers, with the place in order of the first one that differs."""
    whole = [t for t in traces if not t.cut]
    for trace in whole[1:]:
        first = whole[0]
        if trace.barriers != first.barriers:
            pairs = zip(first.barriers, trace.barriers)
            at = next((k for k, (a, b) in enumerate(pairs) if a != b), min(len(first.barriers), len(trace.barriers)))
            return first, trace, at
    return None


def races(traces: list[Trace]) -> dict[tuple[int, int], tuple[Event, Event]]:
    """Two events for each pair of instructions that race for certain: in one phase, of two threads, of which one
    writes (two that write the same or something unknown are left out)."""
    split = parted(traces)
    last = split[2] if split is not None else 1 << 62
    found: dict[tuple[int, int], tuple[Event, Event]] = {}
    writers: dict[tuple[int, str, int], list[Event]] = {}
    for trace in traces:
        for event in trace.events:
            if event.kind != READ and event.phase <= last:
                for byte in range(event.first, event.first + event.bytes):
                    here = writers.setdefault((event.phase, event.array, byte), [])
                    if len(here) < 4 and all(e.number != event.number or e.thread != event.thread for e in here):
                        here.append(event)
    for trace in traces:
        for event in trace.events:
            if event.phase > last:
                continue
            for byte in range(event.first, event.first + event.bytes):
                for other in writers.get((event.phase, event.array, byte), ()):
                    numbers = (min(event.number, other.number), max(event.number, other.number))
                    if numbers not in found and _clash(event, other):
                        found[numbers] = (other, event)
    return found


def _clash(a: Event, b: Event) -> bool:
    if a.thread == b.thread or (a.strong and b.strong):
        return False
    if a.thread // 32 == b.thread // 32 and a.step != b.step:
        return False
    if a.kind == b.kind == WRITE and not (a.late or b.late):
        known = isinstance(a.value, int) and isinstance(b.value, int)
        return known and (a.value != b.value or (a.first, a.bytes) != (b.first, b.bytes))
    return True


def unwritten(traces: list[Trace], count: int) -> dict[int, Event]:
    """By instruction a read of bytes that no thread has written before, or may write meanwhile."""
    if len(traces) < count or any(t.wild for t in traces) or parted(traces) is not None:
        return {}
    last = min((len(t.barriers) for t in traces if t.cut), default=1 << 62)
    written: dict[tuple[str, int], int] = {}
    for trace in traces:
        for event in trace.events:
            if event.kind != READ:
                for byte in range(event.first, event.first + event.bytes):
                    key = (event.array, byte)
                    written[key] = min(event.phase, written.get(key, event.phase))
    found: dict[int, Event] = {}
    for trace in traces:
        for event in trace.events:
            if event.kind == READ and event.phase < last and event.number not in found:
                bytes_ = range(event.first, event.first + event.bytes)
                if any(written.get((event.array, b), 1 << 62) > event.phase for b in bytes_):
                    found[event.number] = event
    return found
