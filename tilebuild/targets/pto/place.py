"""Places a plan's tiles so that the assembler's synchronisation sees every hazard.

ptoas orders two instructions where they touch tiles at one address; it does not see that tiles at different addresses
overlap. So tiles share bytes only as a whole slot, all beginning at its address, and never where a transfer engine
touches one of them: values that only the vector pipe touches, of one region and with lives that do not meet.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tilebuild.plan import planner
from tilebuild.plan.model import Buffer, Instr, Placed, Plan, Unplaced
from tilebuild.plan.planner import Life


@dataclass
class _Slot:
    name: str
    space: str
    bytes: int
    region: int
    shared: bool
    lives: list[Life] = field(default_factory=list)
    members: list[Buffer] = field(default_factory=list)


def place(plan: Plan) -> Plan:
    """The plan with every tile placed; raises `TilebuildError` E401 where a space is too small."""
    slots = _slots(plan)
    as_buffers = tuple(
        replace(max(s.members, key=lambda b: b.storage.bytes), id=s.name, storage=Unplaced(s.space, s.bytes))  # type: ignore[union-attr]
        for s in slots
    )
    # nothing accesses the slots themselves, so the planner keeps all of them apart
    placed = {b.id: b.storage for b in planner.place(replace(plan, buffers=as_buffers)).buffers}
    where: dict[str, Placed] = {}
    for slot in slots:
        storage = placed[slot.name]
        assert isinstance(storage, Placed)
        for b in slot.members:
            assert isinstance(b.storage, Unplaced)
            where[b.id] = Placed(slot.space, storage.offset, b.storage.bytes)
    return replace(plan, buffers=tuple(replace(b, storage=where.get(b.id, b.storage)) for b in plan.buffers))


def _slots(plan: Plan) -> list[_Slot]:
    lives = planner.lives(replace(plan, instructions=_with_scratch_held(plan.instructions)))
    engines: dict[str, set[str]] = {}
    regions = owners(plan)
    for instr in plan.instructions:
        for access in (*instr.reads, *instr.writes):
            engines.setdefault(access.buffer, set()).add(instr.engine)
    slots: list[_Slot] = []
    wanted = [b for b in plan.buffers if isinstance(b.storage, Unplaced)]
    for b in sorted(wanted, key=lambda b: (lives[b.id].first, lives[b.id].last, b.id)):
        assert isinstance(b.storage, Unplaced)
        life, space, size = lives[b.id], b.storage.space, b.storage.bytes
        shared = space == "vec" and engines[b.id] == {"V"}
        fitting = [
            s
            for s in slots
            if shared and s.shared and s.region == regions[b.id] and not any(other.meets(life) for other in s.lives)
        ]
        # the one that grows least, and of those the tightest
        slot = min(fitting, key=lambda s: (max(0, size - s.bytes), abs(s.bytes - size)), default=None)
        if slot is None:
            slot = _Slot(f"slot{len(slots)}", space, 0, regions[b.id], shared)
            slots.append(slot)
        slot.bytes = max(slot.bytes, size)
        slot.lives.append(life)
        slot.members.append(b)
    return slots


def _with_scratch_held(instructions: tuple[Instr, ...]) -> tuple[Instr, ...]:
    """A row reduction is one instruction that reads its operand to the end: so does the last of its two here."""
    found: list[Instr] = []
    for instr in instructions:
        previous = found[-1] if found else None
        if previous is not None and ("role", "scratch") in previous.attrs:
            found.append(replace(instr, reads=(*instr.reads, *previous.reads)))
        else:
            found.append(instr)
    return tuple(found)


def owners(plan: Plan) -> dict[str, int]:
    """For every buffer the innermost region that holds all its accesses."""
    parents = {r.id: r.parent for r in plan.regions}
    paths: dict[int, list[int]] = {}
    for region in parents:
        path = [region]
        while path[-1] != 0:
            path.append(parents[path[-1]])
        paths[region] = path[::-1]
    common: dict[str, list[int]] = {}
    for instr in plan.instructions:
        path = paths[instr.region]
        for access in (*instr.reads, *instr.writes):
            known = common.get(access.buffer, path)
            shared = [a for a, b in zip(known, path) if a == b]
            common[access.buffer] = shared
    return {buffer: path[-1] for buffer, path in common.items()}
