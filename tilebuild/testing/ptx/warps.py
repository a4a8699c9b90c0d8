"""Instructions in which the threads of a warp exchange values: shfl, vote, match, redux, activemask.

The scheduler lets threads reach one of these only together with all others that its mask names (see scheduler.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilebuild.testing.ptx.binder import Binder, Op, Words
from tilebuild.testing.ptx.kinds import KINDS, Kind
from tilebuild.testing.ptx.syntax import Instruction, Operand, Pair, Register, Sink
from tilebuild.testing.ptx.threads import WARP, Chosen

Array = NDArray[Any]
U32, PRED = KINDS["u32"], KINDS["pred"]
MASKED = ("shfl", "vote", "match", "redux", "elect")
"""Instructions with a mask of the threads that execute them together."""


def mask_operand(i: Instruction) -> Operand:
    """The mask of such an instruction: the last operand."""
    return i.operands[-1]


def _together(w: Words) -> None:
    """The forms without .sync, which sm_70 and later do not have, have no mask either."""
    if not w.flag("sync"):
        w.refuse()


def _shfl(b: Binder, w: Words) -> Op:
    kind = w.kind()
    _together(w)
    mode = w.take("up", "down", "bfly", "idx")
    w.done()
    target, source, lane_operand, clamp_operand = w.instruction.operands[:4]
    value_operand, predicate_operand = (target.first, target.second) if isinstance(target, Pair) else (target, Sink())
    write, inside = b.write(value_operand, U32), b.write(predicate_operand, PRED)
    shift, clamp, own = b.read(lane_operand, U32), b.read(clamp_operand, U32), b.read(source, U32)
    mask_reader = b.read(mask_operand(w.instruction), U32)
    threads = b.threads
    whole: Array | None = b.register(source.name).view(np.uint32) if isinstance(source, Register) else None
    if kind.bits != 32:
        w.refuse()

    def run(chosen: Chosen) -> None:
        index, lane = threads.index[chosen], threads.lane[chosen]
        by = np.asarray(shift(chosen)).astype(np.int64) & 31
        limit = np.asarray(clamp(chosen)).astype(np.int64)
        segment, end = limit >> 8 & 31, limit & 31
        most, least = (lane & segment) | (end & ~segment), lane & segment
        if mode == "up":
            wanted = lane - by
            valid = wanted >= most
        elif mode == "down":
            wanted = lane + by
            valid = wanted <= most
        elif mode == "bfly":
            wanted = lane ^ by
            valid = wanted <= most
        else:
            wanted = least | (by & ~segment)
            valid = wanted <= most
        from_lane = np.where(valid, wanted, lane)
        if whole is None:
            values = np.broadcast_to(own(chosen), index.shape)
        else:
            values = whole[index - lane + from_lane]
            # what a thread outside of the mask would give is undefined
            named = np.asarray(mask_reader(chosen)).astype(np.int64) >> from_lane & 1
            values = np.where(named != 0, values, np.uint32(0xFFFFFFFF))
        write(chosen, values)
        inside(chosen, valid)

    return run


def _ballot(b: Binder, values: Array, chosen: Chosen) -> Array:
    """For every chosen thread, the mask of its warp's chosen threads with a true value."""
    warp = b.threads.index[chosen] // WARP
    bits = np.zeros(b.threads.count // WARP, np.uint32)
    np.bitwise_or.at(
        bits, warp, np.where(values, np.uint32(1) << b.threads.lane[chosen].astype(np.uint32), np.uint32(0))
    )
    result: Array = bits[warp]
    return result


def _vote(b: Binder, w: Words) -> Op:
    kind = w.kind()
    _together(w)
    mode = w.take("all", "any", "uni", "ballot")
    w.done()
    target, source = w.instruction.operands[:2]
    read, write = b.read(source, PRED), b.write(target, kind)

    def run(chosen: Chosen) -> None:
        values = np.broadcast_to(read(chosen), b.threads.index[chosen].shape)
        yes = _ballot(b, values, chosen)
        if mode == "ballot":
            write(chosen, yes)
        elif mode == "any":
            write(chosen, yes != 0)
        else:
            no = _ballot(b, ~values, chosen)
            write(chosen, no == 0 if mode == "all" else (no == 0) | (yes == 0))

    return run


def _match(b: Binder, w: Words) -> Op:
    kind = w.kind()
    _together(w)
    mode = w.take("any", "all")
    w.done()
    target, source = w.instruction.operands[:2]
    pair = isinstance(target, Pair)
    write = b.write(target.first if isinstance(target, Pair) else target, U32)
    same = b.write(target.second if isinstance(target, Pair) else Sink(), PRED)
    read = b.read(source, KINDS[f"u{kind.bits}"])
    if pair and mode == "any":
        w.refuse()

    def run(chosen: Chosen) -> None:
        index = b.threads.index[chosen]
        values, warp = np.broadcast_to(read(chosen), index.shape), index // WARP
        equal = (values[:, None] == values[None, :]) & (warp[:, None] == warp[None, :])
        bits = np.uint64(1) << b.threads.lane[chosen].astype(np.uint64)
        masks = (equal * bits[None, :]).sum(1, dtype=np.uint64).astype(np.uint32)
        if mode == "any":
            write(chosen, masks)
            return
        everybody = _ballot(b, np.ones(index.shape, bool), chosen)
        write(chosen, np.where(masks == everybody, everybody, np.uint32(0)))
        same(chosen, masks == everybody)

    return run


_REDUCE: dict[str, Any] = {
    "add": np.add, "min": np.minimum, "max": np.maximum, "and": np.bitwise_and, "or": np.bitwise_or,
    "xor": np.bitwise_xor,
}  # fmt: skip


def reduced(b: Binder, values: Array, chosen: Chosen, name: str, kind: Kind) -> Array:
    """The reduction over each warp's chosen threads, for each of them."""
    warp = b.threads.index[chosen] // WARP
    _, starts, inverse = np.unique(warp, return_index=True, return_inverse=True)
    result: Array = _REDUCE[name].reduceat(values, starts, dtype=kind.number)[inverse]
    return result


def _redux(b: Binder, w: Words) -> Op:
    kind = w.kind()
    _together(w)
    name = w.take(*_REDUCE)
    w.done()
    if not name or kind.is_float:
        w.refuse()
    target, source = w.instruction.operands[:2]
    kind = KINDS["u32"] if kind.family == "b" else kind
    read, write = b.read(source, kind), b.write(target, kind)

    def run(chosen: Chosen) -> None:
        values = np.broadcast_to(read(chosen), b.threads.index[chosen].shape)
        write(chosen, reduced(b, values, chosen, name, kind))

    return run


def _activemask(b: Binder, w: Words) -> Op:
    w.kind()
    write = b.write(w.instruction.operands[0], U32)
    w.done()
    return lambda chosen: write(chosen, _ballot(b, np.ones(b.threads.index[chosen].shape, bool), chosen))


def _elect(b: Binder, w: Words) -> Op:
    _together(w)
    w.done()
    target = w.instruction.operands[0]
    if not isinstance(target, Pair):
        w.refuse()
    write, leads = b.write(target.first, U32), b.write(target.second, PRED)

    def run(chosen: Chosen) -> None:
        lane = b.threads.lane[chosen]
        first = reduced(b, lane.astype(np.uint32), chosen, "min", U32)
        write(chosen, first)
        leads(chosen, lane == first)

    return run


TABLE: dict[str, Callable[[Binder, Words], Op]] = {
    "shfl": _shfl, "vote": _vote, "match": _match, "redux": _redux, "activemask": _activemask, "elect": _elect,
}  # fmt: skip
