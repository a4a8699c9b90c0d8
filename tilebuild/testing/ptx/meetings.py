"""Instructions that the threads of a warp execute together: a thread waits until all that its mask names are there."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilebuild.testing.ptx.barriers import Place
from tilebuild.testing.ptx.binder import Binder, Op
from tilebuild.testing.ptx.faults import Fault
from tilebuild.testing.ptx.kinds import KINDS
from tilebuild.testing.ptx.pieces import End
from tilebuild.testing.ptx.syntax import Instruction, Literal, Operand
from tilebuild.testing.ptx.threads import EXITED, WAITS_FOR_WARP, WARP, Chosen

Array = NDArray[Any]
ALL = 0xFFFFFFFF


class Meetings:
    """Binds such instructions; `places` says where threads may be waiting."""

    def __init__(self, b: Binder) -> None:
        self._b = b
        self.places: dict[int, Place] = {}

    def bind(self, i: Instruction, mask: Operand | None, op: Op, piece: int, following: int) -> End:
        """The end of a piece that has this instruction alone. Without a mask all of a warp must come, and threads that
        have exited cannot; with one, those that have exited are not waited for."""
        threads, pc = self._b.threads, self._b.threads.pc
        self.places[piece] = Place(i.line, i.text, mask is None, following)
        everybody = mask is None or (isinstance(mask, Literal) and mask.value & ALL == ALL)
        named = None if mask is None else self._b.read(mask, KINDS["u32"])
        holds = None if i.guard is None else self._b.holds(i.guard)

        def run(chosen: Chosen) -> None:
            if holds is not None:
                keep = holds(chosen)
                if not keep.all():
                    pc[chosen] = following
                    chosen = threads.narrow(chosen, keep)
                    pc[chosen] = piece
                    if not keep.any():
                        return
            if everybody and threads.whole_warps(chosen):
                op(chosen)
                pc[chosen] = following
                return
            pc[chosen] = piece | WAITS_FOR_WARP
            warps = np.unique(threads.index[chosen] // WARP)
            members = (warps[:, None] * WARP + np.arange(WARP)).reshape(-1)
            here = members[pc[members] == piece | WAITS_FOR_WARP]
            masks = (
                np.full(here.size, ALL) if named is None else np.broadcast_to(named(here), here.shape).astype(np.int64)
            )
            lane = threads.lane[here]
            if (masks >> lane & 1 == 0).any():
                thread = threads.name(int(here[np.flatnonzero(masks >> lane & 1 == 0)[0]]))
                raise Fault(
                    "EMU-09", f"{i.text}: the mask does not name {thread} itself", i.line, "name it in the mask"
                )
            alive = np.zeros(threads.count // WARP, np.int64)
            present = alive.copy()
            living = members[pc[members] < EXITED] if named is not None else members
            np.bitwise_or.at(alive, living // WARP, np.int64(1) << threads.lane[living])
            for mask_value in np.unique(masks):
                same = here[masks == mask_value]
                present[:] = 0
                np.bitwise_or.at(present, same // WARP, np.int64(1) << threads.lane[same])
                ready = same[(mask_value & alive & ~present)[same // WARP] == 0]
                if ready.size:
                    op(ready)
                    pc[ready] = following

        return run
