"""The memory planner: gives every `Unplaced` buffer an offset in its space.

It knows no target: capacities and alignments come from the plan's table of spaces. Buffers whose lives do not meet
may share bytes. Greedy by size, lowest offset that fits, ties by name: deterministic, and for the few dozen tiles of
a kernel as good as what the offline memory allocation literature calls greedy-by-size (Pisarchyk and Lee, 2020).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tilebuild.diagnostics import Diagnostic, TilebuildError
from tilebuild.plan.model import Access, Buffer, Placed, Plan, Space, Unplaced


@dataclass(frozen=True)
class Life:
    """Instruction positions, both inclusive, between which a buffer's bytes are spoken for."""

    first: int
    last: int

    def meets(self, other: Life) -> bool:
        return self.first <= other.last and other.first <= self.last


def lives(plan: Plan) -> dict[str, Life]:
    """The life of every buffer that is accessed, over the region tree."""
    extent = _region_extents(plan)
    parents = {r.id: r.parent for r in plan.regions}
    kinds = {r.id: r.kind for r in plan.regions}
    touched: dict[str, list[tuple[int, int, bool]]] = {}  # buffer -> (position, region, is a write)
    for position, instr in enumerate(plan.instructions):
        for access, write in _accesses(instr.reads, instr.writes):
            touched.setdefault(access.buffer, []).append((position, instr.region, write))
    found: dict[str, Life] = {}
    for buffer, uses in touched.items():
        first, last = min(p for p, _, _ in uses), max(p for p, _, _ in uses)
        for _, region, _ in uses:
            at = region
            while at != parents[at] or kinds[at] != "program":
                start, end = extent[at]
                inside = all(start <= p <= end for p, _, _ in uses)
                # a nest is one step in time; a loop keeps what comes from outside it or from its last step
                if kinds[at] == "nest" or (kinds[at] == "loop" and not (inside and _starts_with_write(uses))):
                    first, last = min(first, start), max(last, end)
                at = parents[at]
                if kinds[at] == "program":
                    break
        found[buffer] = Life(first, last)
    return found


def _accesses(reads: tuple[Access, ...], writes: tuple[Access, ...]) -> list[tuple[Access, bool]]:
    return [(a, False) for a in reads] + [(a, True) for a in writes]


def _starts_with_write(uses: list[tuple[int, int, bool]]) -> bool:
    start = min(p for p, _, _ in uses)
    return all(write for p, _, write in uses if p == start)


def _region_extents(plan: Plan) -> dict[int, tuple[int, int]]:
    parents = {r.id: r.parent for r in plan.regions}
    kinds = {r.id: r.kind for r in plan.regions}
    extent: dict[int, tuple[int, int]] = {}
    for position, instr in enumerate(plan.instructions):
        at = instr.region
        while True:
            start, end = extent.get(at, (position, position))
            extent[at] = (min(start, position), max(end, position))
            if kinds[at] == "program":
                break
            at = parents[at]
    return extent


def place(plan: Plan) -> Plan:
    """The plan with every buffer placed; raises `TilebuildError` E401 where a space is too small."""
    spaces = {s.name: s for s in plan.spaces}
    life = lives(plan)
    wanted = [b for b in plan.buffers if isinstance(b.storage, Unplaced)]
    placed: dict[str, Placed] = {}
    for name in sorted({b.storage.space for b in wanted if isinstance(b.storage, Unplaced)}):
        members = [b for b in wanted if isinstance(b.storage, Unplaced) and b.storage.space == name]
        _place_space(plan, spaces[name], members, life, placed)
    return replace(plan, buffers=tuple(replace(b, storage=placed.get(b.id, b.storage)) for b in plan.buffers))


def _place_space(plan: Plan, space: Space, members: list[Buffer], life: dict[str, Life], placed: dict[str, Placed]) -> None:
    def size(b: Buffer) -> int:
        assert isinstance(b.storage, Unplaced)
        return b.storage.bytes

    here: list[tuple[Life, Placed]] = []
    for buffer in sorted(members, key=lambda b: (-size(b), b.id)):
        offset = 0
        mine = life.get(buffer.id, Life(0, len(plan.instructions)))
        for _, other in sorted(((l, p) for l, p in here if l.meets(mine)), key=lambda lp: lp[1].offset):
            if offset + size(buffer) <= other.offset:
                break
            offset = max(offset, _align(other.offset + other.bytes, space.alignment))
        placed[buffer.id] = Placed(space.name, offset, size(buffer))
        here.append((mine, placed[buffer.id]))
    used = max((p.offset + p.bytes for _, p in here), default=0)
    if used > space.capacity:
        raise _overflow(plan, space, members, used, {b.id: size(b) for b in members})


def _overflow(plan: Plan, space: Space, members: list[Buffer], used: int, sizes: dict[str, int]) -> TilebuildError:
    largest = sorted(members, key=lambda b: -sizes[b.id])[:4]
    return TilebuildError(
        Diagnostic(
            "E401",
            f"{plan.kernel} needs {used} bytes of {space.name} for {plan.target}:{plan.arch}, which has {space.capacity}",
            largest[0].span,
            notes=tuple(
                (b.span, f"[{b.rows}, {b.cols}] of {b.dtype} takes {sizes[b.id]} bytes") for b in largest
            ),
            fix="give the variant smaller tile constants",
        )
    )


def _align(value: int, alignment: int) -> int:
    return -(-value // alignment) * alignment
