"""Every kernel of the example, for every target with blocks of threads: clean as it is, caught when it is broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tilebuild.diagnostics import TilebuildError
from tilebuild.frontend.discover import discover
from tilebuild.frontend.library import library
from tilebuild.frontend.python import lower_kernel
from tilebuild.oracle import judge
from tilebuild.plan.expr import Expr
from tilebuild.plan.model import Access, Buffer, Distributed, Instr, Placed, Plan
from tilebuild.targets.gpu.limits import limits
from tilebuild.targets.simt.lower import lower
from tilebuild.targets.simt.mapping import Limits
from tilebuild.targets.simt.place import place

FASTNORM = Path(__file__).parents[2] / "examples" / "fastnorm"
VULKAN = Limits("spirv", "vulkan1.2", 128, 0, 16384, 128, 0, 1, (8, 16))
MACHINES = {"sm_80": limits("sm_80"), "sm_90": limits("sm_90"), "vulkan1.2": VULKAN}


def lowered() -> dict[str, Plan]:
    found = {}
    for kernel in discover(FASTNORM, ["src/fastnorm/kernels"]):
        for arch, machine in MACHINES.items():
            for n, variant in enumerate(v for v in kernel.variants if v.target in ("", machine.target)):
                try:
                    plan = place(lower(lower_kernel(kernel, variant, f"{kernel.name}_{n}", library()), machine))
                except TilebuildError:  # it does not fit this machine, and the package has another variant for it
                    continue
                found[f"{kernel.name} {n} {arch}"] = plan
    return found


PLANS = lowered()
SHARING = {name: p for name, p in PLANS.items() if any(i.op == "barrier" for i in p.instructions)}
Mutants = Iterator[tuple[str, Plan]]


def instructions(plan: Plan, changed: list[Instr]) -> Plan:
    return replace(plan, instructions=tuple(changed), edges=())


def drop_a_barrier(plan: Plan) -> Mutants:
    for i in plan.instructions:
        if i.op == "barrier":
            yield f"{i.id}", instructions(plan, [o for o in plan.instructions if o is not i])


def drop_a_barrier_only(plan: Plan) -> Mutants:
    """The edges stay."""
    for i in plan.instructions:
        if i.op == "barrier" and any(e.carrier == f"barrier {i.id}" for e in plan.edges):
            yield f"{i.id}", replace(plan, instructions=tuple(o for o in plan.instructions if o is not i))


def read_before_the_barrier(plan: Plan) -> Mutants:
    for k, i in enumerate(plan.instructions):
        before = plan.instructions[k - 1] if k else i
        if i.op in ("get", "dot") and before.op == "barrier":
            order = list(plan.instructions)
            order[k - 1 : k + 1] = [i, before]
            yield f"{i.id}", instructions(plan, order)


def barrier_in_a_branch(plan: Plan) -> Mutants:
    from tilebuild.plan.expr import parse_predicates
    from tilebuild.plan.model import Region

    number = max(r.id for r in plan.regions) + 1
    for k, i in enumerate(plan.instructions):
        if i.op == "barrier":
            when = parse_predicates(f"{plan.contract.parameters[0].dims[0]} > 1")
            order = list(plan.instructions)
            order[k] = replace(i, region=number)
            regions = (*plan.regions, Region(number, i.region, "branch", when=when))
            yield f"{i.id}", replace(instructions(plan, order), regions=regions)


def storage(plan: Plan, changed: Buffer) -> Plan:
    return replace(plan, buffers=tuple(changed if b.id == changed.id else b for b in plan.buffers))


def shrink_scratch(plan: Plan) -> Mutants:
    for b in plan.buffers:
        if isinstance(b.storage, Placed):
            yield b.id, storage(plan, replace(b, storage=replace(b.storage, bytes=b.storage.bytes - 4)))


def shrink_the_launch(plan: Plan) -> Mutants:
    high = plan.scratch().get("shared", 0)
    if high:
        yield "", replace(plan, launch=replace(plan.launch, shared_static=high - 1, shared_dynamic=0))


def overlap(plan: Plan) -> Mutants:
    """Put a shared tile into the bytes of another one that is alive with it."""
    pairs = [
        (writes, reads)
        for i in plan.instructions
        if i.op == "dot"
        for writes, reads in ((i.reads[0].buffer, i.reads[1].buffer), (i.reads[1].buffer, i.reads[0].buffer))
    ]
    buffers = {b.id: b for b in plan.buffers}
    for moved, onto in pairs:
        a, b = buffers[moved].storage, buffers[onto].storage
        assert isinstance(a, Placed)
        assert isinstance(b, Placed)
        offset = max(0, b.offset + b.bytes - a.bytes) // 16 * 16
        yield moved, storage(plan, replace(buffers[moved], storage=replace(a, offset=offset)))


def change_writes(plan: Plan, ops: tuple[str, ...], change: Callable[[Access], Access]) -> Mutants:
    for k, i in enumerate(plan.instructions):
        if i.op in ops:
            order = list(plan.instructions)
            order[k] = replace(i, writes=(change(i.writes[0]),))
            yield f"{i.op} {i.id}", instructions(plan, order)


def widen_a_write(plan: Plan) -> Mutants:
    wide = ("put", "stage", "get", "combine")
    yield from change_writes(plan, wide, lambda a: replace(a, cols=replace(a.cols, size=a.cols.size + 1)))
    yield from change_writes(plan, wide, lambda a: replace(a, rows=replace(a.rows, size=a.rows.size + 1)))
    yield from change_writes(plan, wide, lambda a: replace(a, valid=(a.valid[0] + 1, a.valid[1])))


def forget_the_parts(plan: Plan) -> Mutants:
    """Take the first thread's part for the whole."""
    for b in plan.buffers:
        if isinstance(b.storage, Distributed) and b.storage.map.endswith(" partial"):
            yield b.id, storage(plan, replace(b, storage=Distributed(b.storage.map.removesuffix(" partial"))))


def change_a_map(plan: Plan) -> Mutants:
    x, y = plan.launch.block
    for b in plan.buffers:
        if isinstance(b.storage, Distributed):
            changed = b.storage.map.replace(f"{y}x{x}x", f"{y * 2}x{x}x", 1)
            yield b.id, storage(plan, replace(b, storage=Distributed(changed)))


def halve_the_parts(plan: Plan) -> Mutants:
    for k, i in enumerate(plan.instructions):
        for name in ("width", "parts"):
            if name in dict(i.attrs):
                order = list(plan.instructions)
                values = {**dict(i.attrs), name: int(i.attr(name)) // 2}
                order[k] = replace(i, attrs=tuple(sorted(values.items())))
                yield f"{name} {i.id}", instructions(plan, order)


def too_many_threads(plan: Plan) -> Mutants:
    yield "", replace(plan, launch=replace(plan.launch, block=(plan.launch.block[0], 2048)))


CLASSES: list[tuple[Callable[[Plan], Mutants], str]] = [
    (drop_a_barrier, "sync"),
    (drop_a_barrier_only, "sync"),
    (read_before_the_barrier, "sync"),
    (barrier_in_a_branch, "sync"),
    (shrink_scratch, "capacity"),
    (shrink_the_launch, "capacity"),
    (too_many_threads, "capacity"),
    (overlap, "aliasing"),
    (overlap, "sync"),
    (widen_a_write, "operands"),
    (forget_the_parts, "operands"),
    (change_a_map, "operands"),
    (halve_the_parts, "operands"),
]


def test_there_is_something_to_break() -> None:
    assert len(PLANS) > 25
    assert {name.split()[0] for name in SHARING} >= {"matmul", "softmax", "layernorm", "rmsnorm"}


@pytest.mark.parametrize("name", PLANS)
def test_the_originals_are_proved(name: str) -> None:
    report = judge(PLANS[name])
    assert (report.outcome, report.findings) == ("proved", ())


@pytest.mark.parametrize(("mutate", "check"), CLASSES, ids=[f"{f.__name__}-{c}" for f, c in CLASSES])
def test_every_mutant_is_caught(mutate: Callable[[Plan], Mutants], check: str) -> None:
    mutants = [(f"{name}: {what}", m) for name, p in PLANS.items() for what, m in mutate(p)]
    assert mutants
    missed = [what for what, mutant in mutants if judge(mutant).verdicts[check] == "proved"]
    assert missed == []


def test_constant_extents_only() -> None:
    """What the classes above change is constant, so that each mutant is wrong and not only unproved."""
    placed = [b for p in SHARING.values() for b in p.buffers if isinstance(b.storage, Placed)]
    assert all(isinstance(b.rows, Expr) and b.rows.is_const and b.cols.is_const for b in placed)
