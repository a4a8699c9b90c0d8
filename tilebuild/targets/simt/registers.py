"""How many values a thread keeps, and the error for too many."""

from __future__ import annotations

from tilebuild.diagnostics import Diagnostic, TilebuildError
from tilebuild.plan.model import Buffer, Distributed, Plan
from tilebuild.plan.planner import lives
from tilebuild.targets.simt.mapping import Limits, parse

WORKING = 32  # registers of a thread for addresses and what nests compute


def values(buffer: Buffer) -> int:
    """The values of a tile that a thread keeps; none of a tile that is not in registers."""
    if not isinstance(buffer.storage, Distributed):
        return 0
    return parse(buffer.storage.map).values(buffer.rows.value, buffer.cols.value)


def peak(plan: Plan) -> tuple[int, tuple[Buffer, ...]]:
    """The most values that a thread keeps at one time, and the tiles that hold them, largest first."""
    life = lives(plan)
    kept = [b for b in plan.buffers if b.id in life and values(b)]
    most, when = 0, 0
    for b in kept:
        at = life[b.id].first
        total = sum(values(o) for o in kept if life[o.id].first <= at <= life[o.id].last)
        if total > most:
            most, when = total, at
    held = [b for b in kept if life[b.id].first <= when <= life[b.id].last]
    return most, tuple(sorted(held, key=lambda b: (-values(b), b.id)))


def check(plan: Plan, limits: Limits) -> None:
    """Raises `TilebuildError` E421 where a thread would keep more than it can."""
    threads = 1
    for n in plan.launch.block:
        threads *= n
    allowed = limits.values
    registers = plan.launch.registers or limits.registers // threads
    if registers:
        allowed = min(allowed, registers - WORKING)
    most, held = peak(plan)
    if most <= allowed:
        return
    message = (
        f"{plan.kernel} keeps {most} values in each of the {threads} threads of a block on {plan.target}:{plan.arch}, "
        f"and {allowed} fit into a thread's registers"
    )
    notes = tuple((b.span, f"[{b.rows}, {b.cols}] of {b.dtype}: {values(b)} values a thread") for b in held[:4])
    fix = "give the variant smaller tile constants, or load the rows in pieces: for j in tb.pipeline(...)"
    raise TilebuildError(Diagnostic("E421", message, held[0].span, notes, fix))
