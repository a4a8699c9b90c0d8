"""The last step to a finished plan: offsets of the shared tiles, the launch's sizes, and what each barrier orders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from tilebuild.plan import planner
from tilebuild.plan.model import Edge, Instr, Placed, Plan

STATIC_SHARED = 48 * 1024  # more than that is asked for at the launch


def place(plan: Plan) -> Plan:
    """The plan with its shared tiles placed, its launch sized and its edges; raises `TilebuildError` E401."""
    placed = planner.place(plan)
    size = sum(placed.scratch().values())
    static, dynamic = (size, 0) if size <= STATIC_SHARED else (0, size)
    launch = replace(placed.launch, shared_static=static, shared_dynamic=dynamic)
    return replace(placed, launch=launch, edges=tuple(edges(placed)))


def edges(plan: Plan) -> Iterator[Edge]:
    """The dependencies between threads: instructions that touch the same bytes of shared memory, one of them writing,
    each with the barrier between the two. Nothing but barriers orders threads; one that is missing is a bug."""
    parents = {r.id: r.parent for r in plan.regions}
    touching = [t for i in plan.instructions for t in _touches(plan, i)]
    for n, (before, write, first) in enumerate(touching):
        for after, writes, second in touching[n + 1 :]:
            if not (write or writes) or not _overlap(first, second):
                continue
            kind = ("waw" if writes else "raw") if write else "war"
            between = plan.instructions[before.id + 1 : after.id]
            yield Edge(before.id, after.id, kind, _carrier(between, (before, after), parents))
            if writes and _inside(first, second):
                break  # what touches these bytes later is ordered through this write
    for loop in (r for r in plan.regions if r.kind == "loop"):
        inside = [i for i in plan.instructions if loop.id in _path(i.region, parents)]
        for after, before in _around(plan, inside):
            # `before` runs in one iteration, `after`, which stands above it, in the next
            rest = [i for i in inside if i.id > before.id] + [i for i in inside if i.id < after.id]
            kind = "waw" if before.op in ("stage", "put") else "war"
            yield Edge(before.id, after.id, kind, _carrier(rest, (before, after), parents, loop.id), 1)


def _around(plan: Plan, inside: Sequence[Instr]) -> Iterator[tuple[Instr, Instr]]:
    """The first write of each shared byte range in a loop with the last touch of it."""
    touching = [t for i in inside for t in _touches(plan, i)]
    seen: list[Placed] = []
    for after, writes, first in touching:
        if not writes or any(_overlap(first, s) for s in seen):
            continue
        seen.append(first)
        last = next((before for before, _, other in reversed(touching) if _overlap(first, other)), None)
        if last is not None and last.id > after.id:
            yield after, last


def _touches(plan: Plan, instr: Instr) -> Iterator[tuple[Instr, bool, Placed]]:
    storage = {b.id: b.storage for b in plan.buffers}
    for accesses, write in ((instr.reads, False), (instr.writes, True)):
        for access in accesses:
            where = storage[access.buffer]
            if isinstance(where, Placed):
                yield instr, write, where


def _overlap(a: Placed, b: Placed) -> bool:
    return a.space == b.space and a.offset < b.offset + b.bytes and b.offset < a.offset + a.bytes


def _inside(inner: Placed, outer: Placed) -> bool:
    return outer.offset <= inner.offset and inner.offset + inner.bytes <= outer.offset + outer.bytes


def _path(region: int, parents: dict[int, int]) -> list[int]:
    found = [region]
    while parents[found[-1]] != found[-1]:
        found.append(parents[found[-1]])
    return found


def _carrier(
    between: Sequence[Instr], ends: tuple[Instr, Instr], parents: dict[int, int], inside: int | None = None
) -> str:
    """The barrier that runs whenever both ends do: it stands in a region around one of them."""
    around = {r for end in ends for r in _path(end.region, parents)}
    for instr in between:
        runs = instr.op == "barrier" and instr.region in around
        if runs and (inside is None or inside in _path(instr.region, parents)):
            return f"barrier {instr.id}"
    raise AssertionError(f"no barrier between instructions {ends[0].id} and {ends[1].id}")
