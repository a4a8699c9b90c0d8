"""The oracle is tested by breaking things: one planted fault of each class, in every place of every valid plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import plans
import pytest

from tilebuild.oracle import judge
from tilebuild.plan.expr import Expr
from tilebuild.plan.model import Access, Buffer, Global, Instr, Placed, Plan, Slice

VALID = {f.__name__: f() for f in (plans.chain, plans.reuse, plans.ragged, plans.carried, plans.product)}
Mutants = Iterator[tuple[str, Plan]]


def local(plan: Plan) -> list[Buffer]:
    return [b for b in plan.buffers if not isinstance(b.storage, Global)]


def placed(plan: Plan) -> list[tuple[Buffer, Placed]]:
    return [(b, b.storage) for b in plan.buffers if isinstance(b.storage, Placed)]


def with_buffer(plan: Plan, changed: Buffer) -> Plan:
    return replace(plan, buffers=tuple(changed if b.id == changed.id else b for b in plan.buffers))


def without(plan: Plan, instr: Instr) -> Plan:
    return replace(plan, instructions=tuple(i for i in plan.instructions if i is not instr))


def touching(plan: Plan, name: str, *, write: bool) -> list[Instr]:
    return [i for i in plan.instructions if any(a.buffer == name for a in (i.writes if write else i.reads))]


def shift_an_offset(plan: Plan) -> Mutants:
    """Onto a tile that the same instruction touches."""
    for a, here in placed(plan):
        for b, there in placed(plan):
            together = set(map(id, touching(plan, a.id, write=False) + touching(plan, a.id, write=True)))
            others = touching(plan, b.id, write=False) + touching(plan, b.id, write=True)
            if a is not b and any(id(i) in together for i in others):
                offset = there.offset + (64 if there.bytes > 64 else 0)
                yield f"{a.id} onto {b.id}", with_buffer(plan, replace(a, storage=replace(here, offset=offset)))


def shrink_a_space(plan: Plan) -> Mutants:
    for space in plan.spaces:
        smaller = replace(space, capacity=plan.scratch()[space.name] - 1)
        yield space.name, replace(plan, spaces=tuple(smaller if s is space else s for s in plan.spaces))


def shrink_a_buffer(plan: Plan) -> Mutants:
    for b, storage in placed(plan):
        yield b.id, with_buffer(plan, replace(b, storage=replace(storage, bytes=storage.bytes - 1)))


def shrink_the_rows_of_a_buffer(plan: Plan) -> Mutants:
    for b in local(plan):
        yield b.id, with_buffer(plan, replace(b, rows=b.rows - 1))


def delete_the_first_write(plan: Plan) -> Mutants:
    """In a loop's case this drops its initial value."""
    for b in local(plan):
        yield b.id, without(plan, touching(plan, b.id, write=True)[0])


def delete_the_last_read(plan: Plan) -> Mutants:
    for b in local(plan):
        yield b.id, without(plan, touching(plan, b.id, write=False)[-1])


def change_accesses(plan: Plan, change: Callable[[Access], Access]) -> Mutants:
    for k, instr in enumerate(plan.instructions):
        for side in ("reads", "writes"):
            accesses = getattr(instr, side)
            for n, access in enumerate(accesses):
                changed = replace(instr, **{side: (*accesses[:n], change(access), *accesses[n + 1 :])})
                instructions = (*plan.instructions[:k], changed, *plan.instructions[k + 1 :])
                yield f"{instr.id} {side} {n}", replace(plan, instructions=instructions)


def widen_a_box(plan: Plan) -> Mutants:
    def wider(s: Slice) -> Slice:
        return replace(s, size=s.size + 1)

    yield from change_accesses(plan, lambda a: replace(a, rows=wider(a.rows)))
    yield from change_accesses(plan, lambda a: replace(a, cols=wider(a.cols)))


def widen_what_is_valid(plan: Plan) -> Mutants:
    yield from change_accesses(plan, lambda a: replace(a, valid=(a.valid[0] + 1, a.valid[1])))
    yield from change_accesses(plan, lambda a: replace(a, valid=(a.valid[0], a.valid[1] + 1)))


def forget_the_ragged_edge(plan: Plan) -> Mutants:
    """Touch all rows of the box, of an array that may end inside it."""
    for name, mutant in change_accesses(plan, lambda a: replace(a, valid=(a.rows.size, a.valid[1]))):
        if mutant != plan and name.split()[1] == "writes":
            yield name, mutant


def move_a_box(plan: Plan) -> Mutants:
    yield from change_accesses(plan, lambda a: replace(a, rows=replace(a.rows, start=a.rows.start - 1)))


def swap_a_dtype(plan: Plan) -> Mutants:
    for b in local(plan):
        yield b.id, with_buffer(plan, replace(b, dtype="i32"))


def move_before_its_producer(plan: Plan) -> Mutants:
    for k, (first, second) in enumerate(zip(plan.instructions, plan.instructions[1:])):
        made = {a.buffer for a in first.writes}
        if first.region == second.region and any(a.buffer in made for a in second.reads):
            yield (
                f"{second.id}",
                replace(plan, instructions=(*plan.instructions[:k], second, first, *plan.instructions[k + 2 :])),
            )


def take_a_loop_as_certain(plan: Plan) -> Mutants:
    """The initial value is dropped and the loop may run zero times."""
    for region in plan.regions:
        if region.kind == "loop" and region.lower is not None:
            changed = replace(region, upper=plans.expr("N // 1000"))
            shorter = replace(plan, regions=tuple(changed if r is region else r for r in plan.regions))
            yield region.var, without(shorter, plan.instructions[0])


def extend_a_life(plan: Plan) -> Mutants:
    """Read a tile once more at the end; its bytes belong to another one by then."""
    for a, here in placed(plan):
        for b, there in placed(plan):
            shared = here.offset < there.offset + there.bytes and there.offset < here.offset + here.bytes
            first, second = (touching(plan, t.id, write=True)[0].id for t in (a, b))
            if shared and first < second:
                last = plan.instructions[-1]
                box = Slice(Expr.of(0), a.rows), Slice(Expr.of(0), a.cols)
                read = Instr(
                    99, "store", (Access(a.id, *box, (a.rows, a.cols)),), (replace(last.writes[0], buffer="z"),)
                )
                yield a.id, replace(plan, instructions=(*plan.instructions, read))


CLASSES: list[tuple[Callable[[Plan], Mutants], str]] = [
    (shift_an_offset, "aliasing"),
    (extend_a_life, "aliasing"),
    (shrink_a_space, "capacity"),
    (shrink_a_buffer, "capacity"),
    (delete_the_first_write, "linear-use"),
    (move_before_its_producer, "linear-use"),
    (take_a_loop_as_certain, "linear-use"),
    (delete_the_last_read, "dead-writes"),
    (shrink_the_rows_of_a_buffer, "operands"),
    (widen_a_box, "operands"),
    (widen_what_is_valid, "operands"),
    (forget_the_ragged_edge, "operands"),
    (move_a_box, "operands"),
    (swap_a_dtype, "operands"),
]


@pytest.mark.parametrize("name", VALID)
def test_the_originals_are_clean(name: str) -> None:
    report = judge(VALID[name])
    assert (report.outcome, report.findings) == ("proved", ())


@pytest.mark.parametrize(("mutate", "check"), CLASSES, ids=[f.__name__ for f, _ in CLASSES])
def test_every_mutant_is_caught(mutate: Callable[[Plan], Mutants], check: str) -> None:
    mutants = [(f"{plan}: {what}", m) for plan, original in VALID.items() for what, m in mutate(original)]
    assert mutants
    missed = [what for what, mutant in mutants if judge(mutant).verdicts[check] == "proved"]
    assert missed == []
    gave_up = [what for what, m in mutants if any(f.code == "O-INTERNAL" for f in judge(m).findings)]
    assert gave_up == []
