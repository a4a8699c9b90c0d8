"""Which threads go on next: warps in random order and for random times, so that what only a barrier would order shows.

A turn takes some warps of all blocks, or one warp of some blocks, and lets them go on piece by piece until all of them
wait or the turn is over. Of threads that are at different pieces the rearmost go first, so that they meet again; in
some turns the foremost do, so that no thread waits for ever for another one of its warp.
"""

from __future__ import annotations

import numpy as np

from tilebuild.testing.ptx.barriers import blocked
from tilebuild.testing.ptx.faults import Fault
from tilebuild.testing.ptx.program import Program
from tilebuild.testing.ptx.threads import EXITED, WAITS_FOR_WARP, WARP, Chosen, Threads


class Scheduler:
    """`issued` counts instructions, one for all threads that execute it together."""

    def __init__(self, program: Program, threads: Threads, random: np.random.Generator, limit: int) -> None:
        self._program, self._threads, self._random, self._limit = program, threads, random, limit
        self.issued = 0

    def run(self) -> None:
        """Until all threads have exited; raises Fault EMU-08, EMU-09 (waiting for ever) or EMU-10 (the limit)."""
        pc = self._threads.pc
        while True:
            lowest = int(pc.min())
            if lowest >= EXITED:
                return
            if lowest >= WAITS_FOR_WARP:
                places = {**self._program.barriers.places, **self._program.meetings.places}
                raise blocked(self._threads, places)
            self._turn(*self._window())

    def _window(self) -> tuple[int, int]:
        """The threads of a turn, first and one past the last."""
        threads, random = self._threads, self._random
        slot_size = threads.blocks * WARP
        slot = int(random.integers(threads.warps))
        choice = random.random()
        if threads.blocks > 1 and choice < 0.1:
            first, last = sorted(random.integers(threads.blocks, size=2))
            return slot * slot_size + int(first) * WARP, slot * slot_size + (int(last) + 1) * WARP
        count = 1 if choice < 0.5 else int(random.integers(1, threads.warps + 1))
        return slot * slot_size, min(slot + count, threads.warps) * slot_size

    def _turn(self, start: int, stop: int) -> None:
        threads, pieces = self._threads, self._program.pieces
        window = threads.pc[start:stop]
        foremost = self._random.random() < 0.1
        left = int(self._random.geometric(0.02)) if foremost or self._random.random() < 0.5 else 1 << 60
        whole = slice(start, stop)
        while left > 0:
            left -= 1
            at = int(window[window < WAITS_FOR_WARP].max(initial=-1)) if foremost else int(window.min())
            if not 0 <= at < WAITS_FOR_WARP:
                return
            here = window == at
            count = int(np.count_nonzero(here))
            chosen: Chosen
            if count == stop - start:
                chosen = whole
            else:
                indices = np.flatnonzero(here) + start
                first, last = int(indices[0]), int(indices[-1]) + 1
                chosen = slice(first, last) if last - first == count else indices
            piece = pieces[at]
            self.issued += piece.count
            self._program.tick(piece.count)
            if self.issued > self._limit:
                message = (
                    f"{self._limit} instructions were issued, and {threads.name(threads.indices(chosen)[0])} goes on"
                )
                raise Fault("EMU-10", message, piece.line, "if the kernel is right, raise `limit`")
            for op in piece.ops:
                op(chosen)
            assert piece.end is not None
            piece.end(chosen)
