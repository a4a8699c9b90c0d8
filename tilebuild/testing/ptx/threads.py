"""The threads of the blocks that run together: their registers, places and program counters.

Threads lie as [slot][block][lane]: a slot holds one warp of every block, so that a run of slots, or a run of blocks in
one slot, is a slice of every array. Which warp of a block has which slot is drawn anew for every batch of blocks.
"""

from __future__ import annotations

from typing import Any, Union

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Chosen = Union[slice, NDArray[np.intp]]
"""Threads that execute an instruction together: a slice, or sorted indices."""

WARP = 32
WAITS_FOR_WARP = 1 << 28
WAITS_AT_BARRIER = 1 << 29
EXITED = 1 << 30
Triple = tuple[int, int, int]


class Threads:
    """`pc` is the index of the next piece of code; a thread that waits or has exited has a flag added to it."""

    def __init__(self, grid: Triple, block: Triple, blocks: int) -> None:
        self.grid, self.block, self.blocks = grid, block, blocks
        self.size = block[0] * block[1] * block[2]
        self.warps = -(-self.size // WARP)
        self.count = self.warps * blocks * WARP
        self.index = np.arange(self.count, dtype=np.intp)
        self.lane = self.index % WARP
        self.block_of = self.index // WARP % blocks
        self.pc = np.zeros(self.count, np.int32)
        self.exists = np.zeros(self.count, bool)
        self.special = self._special()

    def _special(self) -> dict[str, Array]:
        names = [f"{n}.{axis}" for n in ("%tid", "%ctaid") for axis in "xyz"]
        found = {n: np.zeros(self.count, np.uint32) for n in (*names, "%warpid")}
        lane = self.lane.astype(np.uint32)
        one = np.uint32(1)
        full = np.uint64(1) << lane.astype(np.uint64)
        found["%laneid"] = lane
        found["%lanemask_eq"] = one << lane
        found["%lanemask_lt"] = (full - np.uint64(1)).astype(np.uint32)
        found["%lanemask_le"] = (full * np.uint64(2) - np.uint64(1)).astype(np.uint32)
        found["%lanemask_gt"] = ~found["%lanemask_le"]
        found["%lanemask_ge"] = ~found["%lanemask_lt"]
        fixed = {"%nwarpid": self.warps, "%smid": 0, "%nsmid": 1, "%cluster_ctarank": 0, "%cluster_nctarank": 1}
        for n, axis in enumerate("xyz"):
            fixed |= {f"%ntid.{axis}": self.block[n], f"%nctaid.{axis}": self.grid[n]}
            fixed |= {f"%cluster_ctaid.{axis}": 0, f"%cluster_nctaid.{axis}": 1, f"%nclusterid.{axis}": self.grid[n]}
            found[f"%clusterid.{axis}"] = found[f"%ctaid.{axis}"]
        found |= {n: np.full(self.count, v, np.uint32) for n, v in fixed.items()}
        found["%gridid"] = np.zeros(self.count, np.uint64)
        return found

    def place(self, ids: Array, start: int, random: np.random.Generator) -> None:
        """Put blocks (linear numbers, at most `blocks` of them) at the piece of code `start`."""
        order = np.argsort(random.random((self.blocks, self.warps)), axis=1).T  # [slot, block] -> warp
        warp = np.repeat(order.reshape(-1), WARP)
        linear = warp * WARP + self.lane
        given = np.zeros(self.blocks, np.int64)
        given[: len(ids)] = ids
        block = given[self.block_of]
        self.exists[:] = (linear < self.size) & (self.block_of < len(ids))
        self.pc[:] = np.where(self.exists, start, EXITED)
        for name, value, (x, y, _) in (("%tid", linear, self.block), ("%ctaid", block, self.grid)):
            self.special[f"{name}.x"][:] = value % x
            self.special[f"{name}.y"][:] = value // x % y
            self.special[f"{name}.z"][:] = value // (x * y)
        self.special["%warpid"][:] = warp

    def name(self, thread: int) -> str:
        """How a message calls a thread."""
        words = [",".join(str(int(self.special[f"{n}.{a}"][thread])) for a in "xyz") for n in ("%tid", "%ctaid")]
        return f"thread ({words[0]}) of block ({words[1]})"

    def narrow(self, chosen: Chosen, keep: Array) -> Chosen:
        """Those of the chosen threads for which `keep` holds."""
        found: NDArray[np.intp] = self.index[chosen][keep]
        return found

    def indices(self, chosen: Chosen) -> NDArray[np.intp]:
        """The chosen threads' numbers."""
        found: NDArray[np.intp] = self.index[chosen]
        return found

    def whole_warps(self, chosen: Chosen) -> bool:
        """Whether this is a slice of whole warps."""
        return isinstance(chosen, slice) and chosen.start % WARP == 0 and chosen.stop % WARP == 0
