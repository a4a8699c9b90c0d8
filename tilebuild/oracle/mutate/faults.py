"""The classes of faults for plans: each gives, for a plan, a mutant for every place where the fault can be planted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from tilebuild.plan.expr import ONE, Predicate, sym
from tilebuild.plan.model import Access, Buffer, Global, Instr, Placed, Plan, Region, Slice

Mutants = Iterator[tuple[str, Plan]]


@dataclass(frozen=True)
class Fault:
    """A class of faults: what it does, the check that must catch its mutants, and the mutants of a plan, each with
    the place of the fault."""

    name: str
    check: str
    summary: str
    plant: Callable[[Plan], Mutants]


# -- where faults go --------------------------------------------------------------------------------------------------


def _placed(plan: Plan) -> list[tuple[Buffer, Placed]]:
    return [(b, b.storage) for b in plan.buffers if isinstance(b.storage, Placed)]


def _local(plan: Plan) -> list[Buffer]:
    return [b for b in plan.buffers if not isinstance(b.storage, Global)]


def _touching(plan: Plan, name: str) -> list[int]:
    """Positions of the instructions that touch a buffer."""
    found = enumerate(plan.instructions)
    return [k for k, i in found if any(a.buffer == name for a in (*i.reads, *i.writes))]


def _writing(plan: Plan, name: str) -> list[int]:
    return [k for k, i in enumerate(plan.instructions) if any(a.buffer == name for a in i.writes)]


def _reading(plan: Plan, name: str) -> list[int]:
    return [k for k, i in enumerate(plan.instructions) if any(a.buffer == name for a in i.reads)]


def _with_buffer(plan: Plan, changed: Buffer) -> Plan:
    return replace(plan, buffers=tuple(changed if b.id == changed.id else b for b in plan.buffers))


def _with_storage(plan: Plan, buffer: Buffer, storage: Placed) -> Plan:
    return _with_buffer(plan, replace(buffer, storage=storage))


def _with_instructions(plan: Plan, changed: list[Instr]) -> Plan:
    """Instructions get new ids in order; edges, which name old ones, are dropped."""
    return replace(plan, instructions=tuple(replace(i, id=n) for n, i in enumerate(changed)), edges=())


def _changed_accesses(plan: Plan, change: Callable[[Access], Access | None], *, reads: bool = True) -> Mutants:
    for k, instr in enumerate(plan.instructions):
        for side in ("reads", "writes") if reads else ("writes",):
            accesses: tuple[Access, ...] = getattr(instr, side)
            for n, access in enumerate(accesses):
                changed = change(access)
                if changed is None or changed == access:
                    continue
                whole = (*accesses[:n], changed, *accesses[n + 1 :])
                other = replace(instr, reads=whole) if side == "reads" else replace(instr, writes=whole)
                instructions = (*plan.instructions[:k], other, *plan.instructions[k + 1 :])
                yield f"%{instr.id} {side} {access.buffer}", replace(plan, instructions=instructions)


# -- places in memory -------------------------------------------------------------------------------------------------


def overlap_tiles(plan: Plan) -> Mutants:
    """Onto a tile that the same instruction touches, wholly and by half."""
    for a, here in _placed(plan):
        for b, there in _placed(plan):
            apart = here.offset >= there.offset + there.bytes or there.offset >= here.offset + here.bytes
            together = set(_touching(plan, a.id)) & set(_touching(plan, b.id))
            if a.id == b.id or here.space != there.space or not apart or not together:
                continue
            for offset in dict.fromkeys((there.offset, there.offset + there.bytes // 2)):
                yield f"{a.id} at {offset}, onto {b.id}", _with_storage(plan, a, replace(here, offset=offset))


def lengthen_a_life(plan: Plan) -> Mutants:
    """A tile is read once more at the end of the program, when its bytes belong to another tile."""
    target = next((b for b in plan.buffers if isinstance(b.storage, Global)), None)
    if target is None:
        return
    for a, here in _placed(plan):
        later = [
            b.id
            for b, there in _placed(plan)
            if b.id != a.id
            and here.space == there.space
            and here.offset < there.offset + there.bytes
            and there.offset < here.offset + here.bytes
            and max(_writing(plan, b.id), default=-1) > max(_reading(plan, a.id), default=-1)
        ]
        written = _writing(plan, a.id)
        if later and written:
            first = plan.instructions[written[0]].writes[0]
            last = plan.instructions[-1]
            into = replace(first, buffer=target.id)
            read = replace(last, op="store", region=0, reads=(first,), writes=(into,), attrs=())
            yield f"{a.id}, whose bytes {later[0]} has", _with_instructions(plan, [*plan.instructions, read])


def shrink_a_space(plan: Plan) -> Mutants:
    for space in plan.spaces:
        used = plan.scratch().get(space.name, 0)
        if used:
            smaller = replace(space, capacity=used - 1)
            yield space.name, replace(plan, spaces=tuple(smaller if s is space else s for s in plan.spaces))


def shrink_a_tile(plan: Plan) -> Mutants:
    for b, storage in _placed(plan):
        yield b.id, _with_storage(plan, b, replace(storage, bytes=storage.bytes - 1))


def misalign_a_tile(plan: Plan) -> Mutants:
    alignments = {s.name: s.alignment for s in plan.spaces}
    for b, storage in _placed(plan):
        if alignments.get(storage.space, 1) > 1 and not b.root:
            yield b.id, _with_storage(plan, b, replace(storage, offset=storage.offset + 1))


def leave_the_space(plan: Plan) -> Mutants:
    """A tile begins before its space, or ends behind it."""
    capacities = {s.name: (s.capacity, s.alignment) for s in plan.spaces}
    for b, storage in _placed(plan):
        if storage.space in capacities and not b.root:
            capacity, alignment = capacities[storage.space]
            for offset in (-alignment, capacity - storage.bytes + alignment):
                yield f"{b.id} at {offset}", _with_storage(plan, b, replace(storage, offset=offset))


def shrink_the_launch(plan: Plan) -> Mutants:
    """The launch has less shared memory than is used."""
    launch = plan.launch
    if launch.block and launch.shared_static:
        yield "static", replace(plan, launch=replace(launch, shared_static=launch.shared_static - 1))
    if launch.block and launch.shared_dynamic:
        yield "dynamic", replace(plan, launch=replace(launch, shared_dynamic=launch.shared_dynamic - 1))


def enlarge_the_block(plan: Plan) -> Mutants:
    """More threads than a device has."""
    if plan.launch.block:
        yield "first axis", replace(plan, launch=replace(plan.launch, block=(4096, *plan.launch.block[1:])))


# -- order ------------------------------------------------------------------------------------------------------------


def drop_the_first_write(plan: Plan) -> Mutants:
    """What a tile begins with; of a value that a loop carries, its initial one."""
    for b in _local(plan):
        written = _writing(plan, b.id)
        if written and _reading(plan, b.id):
            kept = [i for k, i in enumerate(plan.instructions) if k != written[0]]
            yield f"%{plan.instructions[written[0]].id} of {b.id}", _with_instructions(plan, kept)


def run_before_the_producer(plan: Plan) -> Mutants:
    for k in range(len(plan.instructions) - 1):
        first, second = plan.instructions[k : k + 2]
        made = {a.buffer for a in first.writes}
        if first.region == second.region and any(a.buffer in made for a in second.reads):
            swapped = [*plan.instructions[:k], second, first, *plan.instructions[k + 2 :]]
            yield f"%{second.id} before %{first.id}", _with_instructions(plan, swapped)


def drop_the_last_read(plan: Plan) -> Mutants:
    for b in _local(plan):
        read = _reading(plan, b.id)
        if read:
            kept = [i for k, i in enumerate(plan.instructions) if k != read[-1]]
            yield f"%{plan.instructions[read[-1]].id} of {b.id}", _with_instructions(plan, kept)


def write_twice(plan: Plan) -> Mutants:
    """An instruction runs twice in a row: what it wrote first is never read."""
    local = {b.id for b in _local(plan)}
    for k, i in enumerate(plan.instructions):
        written = {a.buffer for a in i.writes}
        if written and written <= local and not written & {a.buffer for a in i.reads}:
            yield f"%{i.id}", _with_instructions(plan, [*plan.instructions[: k + 1], i, *plan.instructions[k + 1 :]])


def skip_a_loop(plan: Plan) -> Mutants:
    """A loop that may run no time at all, and whose tiles have no value before it."""
    dims = [s.name for s in plan.symbols if s.kind == "dim"]
    for region in plan.regions:
        inside = [k for k, i in enumerate(plan.instructions) if _within(plan, i.region, region.id)]
        if region.kind != "loop" or not inside or not dims:
            continue
        made = {a.buffer for k in inside for a in plan.instructions[k].writes}
        used = {a.buffer for i in plan.instructions[inside[-1] + 1 :] for a in i.reads} & made
        first = [k for b in used if (w := _writing(plan, b)) and (k := w[0]) < inside[0]]
        if not used:
            continue
        kept = [i for k, i in enumerate(plan.instructions) if k not in first]
        empty = replace(region, upper=region.lower)
        regions = tuple(empty if r is region else r for r in plan.regions)
        yield region.var, _with_instructions(replace(plan, regions=regions), kept)


def _within(plan: Plan, inner: int, outer: int) -> bool:
    parents = {r.id: r.parent for r in plan.regions}
    while inner not in (0, outer):
        inner = parents[inner]
    return inner == outer


# -- boxes ------------------------------------------------------------------------------------------------------------


def shrink_the_rows(plan: Plan) -> Mutants:
    for b in _local(plan):
        yield b.id, _with_buffer(plan, replace(b, rows=b.rows - 1))


def shrink_the_columns(plan: Plan) -> Mutants:
    for b in _local(plan):
        yield b.id, _with_buffer(plan, replace(b, cols=b.cols - 1))


def widen_a_box(plan: Plan) -> Mutants:
    def wider(s: Slice) -> Slice:
        return replace(s, size=s.size + 1)

    yield from _changed_accesses(plan, lambda a: replace(a, rows=wider(a.rows)))
    yield from _changed_accesses(plan, lambda a: replace(a, cols=wider(a.cols)))


def widen_the_valid_region(plan: Plan) -> Mutants:
    yield from _changed_accesses(plan, lambda a: replace(a, valid=(a.valid[0] + 1, a.valid[1])))
    yield from _changed_accesses(plan, lambda a: replace(a, valid=(a.valid[0], a.valid[1] + 1)))


def forget_the_ragged_edge(plan: Plan) -> Mutants:
    """All lanes of a box count as valid, of an array that may end inside it."""
    views = {b.id for b in plan.buffers if isinstance(b.storage, Global)}

    def whole(a: Access) -> Access | None:
        return replace(a, valid=(a.rows.size, a.cols.size)) if a.buffer in views else None

    yield from _changed_accesses(plan, whole)


def shift_a_box(plan: Plan) -> Mutants:
    yield from _changed_accesses(plan, lambda a: replace(a, rows=replace(a.rows, start=a.rows.start - 1)))
    yield from _changed_accesses(plan, lambda a: replace(a, cols=replace(a.cols, start=a.cols.start - 1)))


def swap_a_dtype(plan: Plan) -> Mutants:
    for b in _local(plan):
        yield b.id, _with_buffer(plan, replace(b, dtype="i32" if b.dtype != "i32" else "f32"))


def unknown_operation(plan: Plan) -> Mutants:
    """An operation that became another one that nobody knows."""
    for k, i in enumerate(plan.instructions):
        other = replace(i, op=f"{i.op}x")
        yield f"%{i.id}", replace(plan, instructions=(*plan.instructions[:k], other, *plan.instructions[k + 1 :]))


# -- threads ----------------------------------------------------------------------------------------------------------


def drop_a_barrier(plan: Plan) -> Mutants:
    for k, i in enumerate(plan.instructions):
        if i.op == "barrier":
            yield f"%{i.id}", _with_instructions(plan, [*plan.instructions[:k], *plan.instructions[k + 1 :]])


def delay_a_barrier(plan: Plan) -> Mutants:
    """A barrier stands behind the instruction that it should stand before."""
    for k in range(len(plan.instructions) - 1):
        i, after = plan.instructions[k : k + 2]
        if i.op == "barrier" and after.op != "barrier" and i.region == after.region:
            swapped = [*plan.instructions[:k], after, i, *plan.instructions[k + 2 :]]
            yield f"%{i.id} behind %{after.id}", _with_instructions(plan, swapped)


def make_a_barrier_conditional(plan: Plan) -> Mutants:
    dims = [s.name for s in plan.symbols if s.kind == "dim"]
    number = max(r.id for r in plan.regions) + 1
    for k, i in enumerate(plan.instructions):
        if i.op == "barrier" and dims:
            branch = Region(number, i.region, "branch", when=(Predicate(">=", sym(dims[0]), ONE + ONE),))
            inside = replace(i, region=number)
            changed = [*plan.instructions[:k], inside, *plan.instructions[k + 1 :]]
            yield f"%{i.id}", _with_instructions(replace(plan, regions=(*plan.regions, branch)), changed)


def another_engine(plan: Plan) -> Mutants:
    """Two tiles that several engines touch overlap without beginning at one address."""
    engines = {b.id: {plan.instructions[k].engine for k in _touching(plan, b.id)} for b, _ in _placed(plan)}
    spaces = {s.name: s for s in plan.spaces}
    for a, here in _placed(plan):
        for b, there in _placed(plan):
            step = spaces[there.space].alignment if there.space in spaces else 1
            several = len(engines[a.id] | engines[b.id]) > 1 and "" not in engines[a.id] | engines[b.id]
            if a.id < b.id and here.space == there.space and several and there.bytes > step:
                moved = replace(here, offset=there.offset + step)
                yield f"{a.id} into {b.id}", _with_storage(plan, a, moved)


FAULTS: tuple[Fault, ...] = (
    Fault("overlap-tiles", "aliasing", "a tile is moved onto another live one", overlap_tiles),
    Fault("lengthen-a-life", "aliasing", "a tile is read after its bytes went to another", lengthen_a_life),
    Fault("shrink-a-space", "capacity", "a memory space has one byte less than is used", shrink_a_space),
    Fault("shrink-a-tile", "capacity", "a tile has one byte less than its elements need", shrink_a_tile),
    Fault("misalign-a-tile", "capacity", "a tile begins one byte later", misalign_a_tile),
    Fault("leave-the-space", "capacity", "a tile begins before its space or ends behind it", leave_the_space),
    Fault("shrink-the-launch", "capacity", "the launch has less shared memory than is used", shrink_the_launch),
    Fault("enlarge-the-block", "capacity", "the launch has more threads than a device", enlarge_the_block),
    Fault("drop-the-first-write", "linear-use", "the first write of a tile is dropped", drop_the_first_write),
    Fault("run-before-the-producer", "linear-use", "two instructions change places", run_before_the_producer),
    Fault("skip-a-loop", "linear-use", "a loop that gives a value does not run", skip_a_loop),
    Fault("drop-the-last-read", "dead-writes", "the last read of a tile is dropped", drop_the_last_read),
    Fault("write-twice", "dead-writes", "an instruction runs twice in a row", write_twice),
    Fault("shrink-the-rows", "operands", "a tile has one row less than is touched", shrink_the_rows),
    Fault("shrink-the-columns", "operands", "a tile has one column less than is touched", shrink_the_columns),
    Fault("widen-a-box", "operands", "an access has a row or a column more", widen_a_box),
    Fault("widen-the-valid-region", "operands", "a row or a column more counts as valid", widen_the_valid_region),
    Fault("forget-the-ragged-edge", "operands", "every lane of an array's box is valid", forget_the_ragged_edge),
    Fault("shift-a-box", "operands", "an access begins one row or column earlier", shift_a_box),
    Fault("swap-a-dtype", "operands", "a tile has another dtype", swap_a_dtype),
    Fault("unknown-operation", "operands", "an instruction has an operation that nobody knows", unknown_operation),
    Fault("drop-a-barrier", "sync", "a barrier is dropped", drop_a_barrier),
    Fault("delay-a-barrier", "sync", "a barrier stands behind what it should order", delay_a_barrier),
    Fault("make-a-barrier-conditional", "sync", "a barrier stands in a branch", make_a_barrier_conditional),
    Fault("another-engine", "sync", "tiles of several engines overlap at different addresses", another_engine),
)
