"""Barriers of a block and warp-wide meetings: who waits for whom, and what it means when they do not come."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilebuild.testing.ptx.binder import Binder, Words
from tilebuild.testing.ptx.faults import Fault
from tilebuild.testing.ptx.kinds import KINDS
from tilebuild.testing.ptx.pieces import End
from tilebuild.testing.ptx.syntax import Instruction
from tilebuild.testing.ptx.threads import EXITED, WAITS_AT_BARRIER, WAITS_FOR_WARP, WARP, Chosen, Threads

Array = NDArray[Any]
BARRIERS = 16


@dataclass(frozen=True)
class Place:
    """An instruction at which threads wait. `following` is the piece after it; `finish` takes the threads of a block
    that waited at it, and the predicates of all that took part."""

    line: int
    text: str
    aligned: bool
    following: int
    finish: Callable[[Array, Array], None] | None = None


class Barriers:
    """The 16 barriers of each block. Threads that wait keep the number of their piece, with a flag."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._arrived = np.zeros((threads.blocks, BARRIERS), np.int64)
        self._expected = np.zeros((threads.blocks, BARRIERS), np.int64)
        self._which = np.full(threads.count, -1, np.int64)
        self._values = np.zeros(threads.count, bool)
        self.places: dict[int, Place] = {}
        """The pieces that end with a barrier."""

    def bind(self, b: Binder, i: Instruction, piece: int, following: int) -> End:
        """bar.sync, bar.arrive, bar.red and barrier, with or without .aligned."""
        w = Words(i)
        w.flag("cta")
        mode = w.take("sync", "arrive", "red")
        aligned = w.flag("aligned") or i.opcode == "bar"
        operands = list(i.operands)
        holds = None
        if mode == "red":
            kind = w.kind()
            reduction = w.take("popc", "and", "or")
            write = b.write(operands.pop(0), kind)
            holds = b.read(operands.pop(), KINDS["pred"])
            reductions: dict[str, Callable[[Array], Any]] = {"popc": np.sum, "and": np.all, "or": np.any}
            if reduction not in reductions:
                w.refuse()

            def finish(who: Array, values: Array) -> None:
                write(who, np.asarray(reductions[reduction](values)))

        w.done()
        if not mode:
            w.refuse()
        self.places[piece] = Place(i.line, i.text, aligned, following, finish if mode == "red" else None)
        number = b.read(operands[0], KINDS["u32"])
        count = b.read(operands[1], KINDS["u32"]) if len(operands) > 1 else None

        def run(chosen: Chosen) -> None:
            who = b.threads.indices(chosen)
            numbers = np.broadcast_to(number(chosen), who.shape).astype(np.int64)
            counts = np.broadcast_to(0 if count is None else count(chosen), who.shape).astype(np.int64)
            self._values[who] = True if holds is None else holds(chosen)
            self._arrive(piece, who, numbers, counts, mode != "arrive")

        return run

    def forget(self) -> None:
        """Begin anew."""
        self._arrived[:] = 0
        self._expected[:] = 0
        self._which[:] = -1

    def _arrive(self, piece: int, who: Array, number: Array, count: Array, waits: bool) -> None:
        """Threads come to barrier `number` for `count` threads (0: all of the block)."""
        threads = self._threads
        line, text = self.places[piece].line, self.places[piece].text
        block = threads.block_of[who]
        wanted = np.where(count == 0, threads.size, count)
        bad = (number < 0) | (number >= BARRIERS) | (wanted % WARP != 0) & (wanted != threads.size)
        if bad.any():
            n = int(np.flatnonzero(bad)[0])
            message = f"{text} names barrier {number[n]} for {wanted[n]} threads, in {threads.name(int(who[n]))}"
            raise Fault("EMU-08", message, line, "barriers are 0 to 15, counts are multiples of 32")
        before = self._expected[block, number]
        differs = (before != 0) & (before != wanted)
        if differs.any():
            n = int(np.flatnonzero(differs)[0])
            other = threads.name(int(who[n]))
            message = f"{text}: barrier {number[n]} waits for {before[n]} threads, and {other} says {wanted[n]}"
            raise Fault("EMU-08", message, line, "name one count at all uses of a barrier")
        self._expected[block, number] = wanted
        np.add.at(self._arrived, (block, number), 1)
        if waits:
            threads.pc[who] = piece | WAITS_AT_BARRIER
            self._which[who] = number
        else:
            threads.pc[who] = self.places[piece].following
        full = self._arrived[block, number] >= wanted
        if full.any():
            for b, k in {(int(x), int(y)) for x, y in zip(block[full], number[full])}:
                self._complete(b, k)

    def _complete(self, block: int, number: int) -> None:
        threads = self._threads
        waiting = np.flatnonzero(
            (threads.block_of == block) & (self._which == number) & (threads.pc & WAITS_AT_BARRIER != 0)
        )
        pieces = threads.pc[waiting] & ~WAITS_AT_BARRIER
        for piece in np.unique(pieces):
            if self.places[int(piece)].aligned:
                self._check_whole(int(piece), waiting[pieces == piece])
        self._arrived[block, number] = self._expected[block, number] = 0
        self._which[waiting] = -1
        for piece in np.unique(pieces):
            own = waiting[pieces == piece]
            place = self.places[int(piece)]
            if place.finish is not None:
                place.finish(own, self._values[waiting])
            threads.pc[own] = place.following

    def _check_whole(self, piece: int, who: Array) -> None:
        """All threads of a warp that is at this barrier must be."""
        threads = self._threads
        warps = np.unique(who // WARP)
        members = (warps[:, None] * WARP + np.arange(WARP)).reshape(-1)
        members = members[threads.exists[members]]
        missing = np.setdiff1d(members, who)
        if missing.size:
            line, text = self.places[piece].line, self.places[piece].text
            message = (
                f"{text}: {threads.name(int(who[0]))} waits here, {threads.name(int(missing[0]))} of its warp does not"
            )
            raise Fault("EMU-08", message, line, "let all threads of a warp come to a barrier, or none")


def blocked(threads: Threads, places: Mapping[int, Place]) -> Fault:
    """What to say when no thread can go on and some have not exited; `places` are barriers and meetings of a warp."""

    def place(thread: int) -> Place:
        return places[int(threads.pc[thread]) & ~(WAITS_AT_BARRIER | WAITS_FOR_WARP)]

    waiting = np.flatnonzero(threads.pc < EXITED)
    at_barrier = waiting[(threads.pc[waiting] & WAITS_AT_BARRIER) != 0]
    thread = int((at_barrier if at_barrier.size else waiting)[0])
    here = place(thread)
    same = threads.block_of == threads.block_of[thread]
    if not at_barrier.size:
        same &= threads.index // WARP == thread // WARP
    others = np.flatnonzero(same & threads.exists & (threads.pc != threads.pc[thread]))
    rest = "which do not come"
    if others.size:
        beside = others[others // WARP == thread // WARP]
        other = int((beside if beside.size else others)[0])
        where = "has exited" if threads.pc[other] & EXITED else f"waits at line {place(other).line}"
        rest = f"and {threads.name(other)} {where}"
    scope = "block" if at_barrier.size else "warp"
    message = f"{here.text}: {threads.name(thread)} waits for other threads of its {scope}, {rest}"
    return Fault("EMU-08" if at_barrier.size else "EMU-09", message, here.line, "let all of them come here")
