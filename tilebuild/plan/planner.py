"""The memory planner: gives every `Unplaced` buffer an offset in its space.

It knows no target: capacities and alignments come from the plan's table of spaces. Buffers whose lives do not meet
may share bytes. Greedy by size, lowest offset that fits, ties by name: deterministic, and for the few dozen tiles of
a kernel as good as what the offline memory allocation literature calls greedy-by-size (Pisarchyk and Lee, 2020).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from tilebuild.diagnostics import Diagnostic, TilebuildError
from tilebuild.plan.model import Buffer, Placed, Plan, Region, Space, Unplaced


@dataclass(frozen=True)
class Life:
    """Instruction positions, both inclusive, between which a buffer's bytes are spoken for."""

    first: int
    last: int

    def meets(self, other: Life) -> bool:
        return self.first <= other.last and other.first <= self.last


def lives(plan: Plan) -> dict[str, Life]:
    """The life of every buffer that is accessed, over the region tree."""
    regions = {r.id: r for r in plan.regions}
    extent = _region_extents(plan, regions)
    touched: dict[str, list[_Use]] = {}
    for position, instr in enumerate(plan.instructions):
        path = _path(instr.region, regions)
        for access in instr.reads:
            touched.setdefault(access.buffer, []).append(_Use(position, path, False))
        for access in instr.writes:
            touched.setdefault(access.buffer, []).append(_Use(position, path, True))
    return {buffer: _life(uses, extent) for buffer, uses in touched.items()}


class _Use(NamedTuple):
    position: int
    path: tuple[Region, ...]  # from the program to the instruction's own region
    write: bool


def _path(region: int, regions: Mapping[int, Region]) -> tuple[Region, ...]:
    path = [regions[region]]
    while path[-1].kind != "program":
        path.append(regions[path[-1].parent])
    return tuple(reversed(path))


def _life(uses: Sequence[_Use], extent: Mapping[int, tuple[int, int]]) -> Life:
    first, last = min(u.position for u in uses), max(u.position for u in uses)
    common = [level[0] for level in zip(*(u.path for u in uses)) if len({r.id for r in level}) == 1]
    # A region that holds all uses and always starts with a write hands no value on to its next run: a loop or branch
    # below it may not run, so that what it would write may be there from the run before.
    begins = [u for u in uses if u.position == first]
    below = begins[0].path[len(common) :]
    self_contained = all(u.write for u in begins) and all(r.kind == "nest" for r in below)
    for use in uses:
        for depth, region in enumerate(use.path):
            # a nest is one step in time; a loop keeps what comes from outside it or from its last step
            kept = region.kind == "loop" and not (depth < len(common) and self_contained)
            if region.kind == "nest" or kept:
                first, last = min(first, extent[region.id][0]), max(last, extent[region.id][1])
    return Life(first, last)


def _region_extents(plan: Plan, regions: Mapping[int, Region]) -> dict[int, tuple[int, int]]:
    """First and last instruction position of every region that runs something."""
    extent: dict[int, tuple[int, int]] = {}
    for position, instr in enumerate(plan.instructions):
        for region in _path(instr.region, regions):
            extent[region.id] = (extent.get(region.id, (position, position))[0], position)
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


def _place_space(
    plan: Plan, space: Space, members: list[Buffer], life: dict[str, Life], placed: dict[str, Placed]
) -> None:
    def size(b: Buffer) -> int:
        assert isinstance(b.storage, Unplaced)
        return b.storage.bytes

    everything = Life(0, len(plan.instructions))
    here = [
        (life.get(b.id, everything), b.storage)
        for b in plan.buffers
        if isinstance(b.storage, Placed) and b.storage.space == space.name
    ]
    for buffer in sorted(members, key=lambda b: (-size(b), b.id)):
        offset = 0
        mine = life.get(buffer.id, everything)
        for other in sorted((p for span, p in here if span.meets(mine)), key=lambda p: p.offset):
            if offset + size(buffer) <= other.offset:
                break
            offset = max(offset, _align(other.offset + other.bytes, space.alignment))
        placed[buffer.id] = Placed(space.name, offset, size(buffer))
        here.append((mine, placed[buffer.id]))
    used = max((p.offset + p.bytes for _, p in here), default=0)
    if used > space.capacity:
        raise _overflow(plan, space, members, used, {b.id: size(b) for b in members})


def _overflow(plan: Plan, space: Space, members: list[Buffer], used: int, sizes: dict[str, int]) -> TilebuildError:
    where = f"{plan.target}:{plan.arch}"
    largest = sorted(members, key=lambda b: -sizes[b.id])[:4]
    return TilebuildError(
        Diagnostic(
            "E401",
            f"{plan.kernel} needs {used} bytes of {space.name} for {where}, which has {space.capacity}",
            largest[0].span,
            notes=tuple((b.span, f"[{b.rows}, {b.cols}] of {b.dtype} takes {sizes[b.id]} bytes") for b in largest),
            fix="give the variant smaller tile constants",
        )
    )


def _align(value: int, alignment: int) -> int:
    return -(-value // alignment) * alignment
