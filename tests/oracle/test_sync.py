"""`sync`: threads between barriers, engines at different addresses."""

from __future__ import annotations

from dataclasses import replace

import plans
import pytest
from block_plans import Block, product, reduction

from tilebuild.oracle import judge
from tilebuild.oracle.findings import Report
from tilebuild.plan.expr import Expr, parse
from tilebuild.plan.model import Access, Edge, Instr, Launch, Plan, Slice, Symbol


def sync(plan: Plan) -> tuple[str, set[str]]:
    report = judge(plan)
    return report.verdicts["sync"], {f.code for f in report.findings if f.check == "sync"}


def without(plan: Plan, number: int) -> Plan:
    return replace(plan, instructions=tuple(i for i in plan.instructions if i.id != number))


def barriers(plan: Plan) -> list[int]:
    return [i.id for i in plan.instructions if i.op == "barrier"]


@pytest.mark.parametrize("plan", [reduction(), product(), product("N // 16"), plans.carried()])
def test_ordered_plans_are_proved(plan: Plan) -> None:
    report = judge(plan)
    assert (report.outcome, report.findings) == ("proved", ())


@pytest.mark.parametrize("plan", [reduction(), product(), product("N // 16")])
def test_every_barrier_is_needed(plan: Plan) -> None:
    assert barriers(plan)
    for number in barriers(plan):
        assert sync(without(plan, number)) == ("violated", {"O-SYNC-01"})


def test_a_message_names_both_instructions_and_the_loop() -> None:
    (finding,) = {
        f.instructions: f
        for f in judge(without(product(), barriers(product())[1])).findings
        if f.instructions == (4, 1)
    }.values()
    assert finding.code == "O-SYNC-01"
    assert finding.message.startswith(
        "instruction 4 (dot, line 14) reads tile a [shared, 0..256), and instruction 1 (stage, line 11) writes "
        "tile a [shared, 0..256) in the next iteration of the loop over k, with no barrier between them"
    )
    assert finding.fix == "put a barrier at the end of the loop over k"


def test_a_loop_that_runs_once_needs_no_barrier_at_its_end() -> None:
    plan = product("1")
    assert sync(without(plan, barriers(plan)[1]))[0] == "proved"


def test_bytes_that_two_tiles_share() -> None:
    """The planner gives a dead tile's bytes to the next one: its last reader must be through."""
    plan = reduction()
    last = next(i for i in plan.instructions if i.op == "get")
    stage = Instr(
        90, "stage", (Access("x", *[Slice(Expr.of(0), Expr.of(4))] * 2, (Expr.of(4),) * 2),),
        (Access("late", *[Slice(Expr.of(0), Expr.of(4))] * 2, (Expr.of(4),) * 2),),
    )  # fmt: skip
    late = replace(next(b for b in plan.buffers if b.id == "s"), id="late", rows=Expr.of(4), cols=Expr.of(4))
    at = plan.instructions.index(last) + 1
    barrier = Instr(91, "barrier")
    for extra, outcome in (((stage,), "violated"), ((barrier, stage), "proved")):
        longer = replace(
            plan,
            buffers=(*plan.buffers, late),
            instructions=(*plan.instructions[:at], *extra, *plan.instructions[at:]),
        )
        assert sync(longer)[0] == outcome


def test_a_barrier_in_a_loop_that_may_not_run() -> None:
    b = Block()
    b.scratch("a"), b.registers("acc"), b.scratch("w", 16, 16, 256)
    b.stage("a")
    with b.loop("k", "M - 64"):
        b.barrier()
    b.stage("a")
    assert sync(b.plan()) == ("unknown", {"O-SYNC-01"})
    with_barrier = replace(
        b.plan(), regions=tuple(replace(r, upper=parse("M")) if r.var else r for r in b.plan().regions)
    )
    assert sync(with_barrier)[0] == "proved"


@pytest.mark.parametrize("kind", ["branch", "nest", "branch in a loop"])
def test_a_barrier_that_not_all_threads_reach(kind: str) -> None:
    b = Block()
    b.registers("t")
    if kind == "branch":
        with b.branch("M > 100"):
            b.barrier()
    elif kind == "nest":
        with b.nest():
            b.barrier()
    else:
        with b.loop("k", 4), b.branch("k > 1"), b.loop("j", 4):
            b.barrier()
    assert sync(b.plan()) == ("violated", {"O-SYNC-02"})


def test_a_barrier_in_a_branch_orders_nothing() -> None:
    b = Block()
    b.scratch("a")
    b.stage("a")
    with b.branch("M > 100"):
        b.barrier()
    b.stage("a")
    assert sync(b.plan()) == ("violated", {"O-SYNC-01", "O-SYNC-02"})


def test_parts_of_one_tile_need_no_order() -> None:
    b = Block()
    b.scratch("a")
    for start in (0, 2):
        b.op("stage", [b.box("x", (0, 2), (0, 16))], b.box("a", (start, 2), (0, 16)))
    assert sync(b.plan())[0] == "proved"
    b.op("stage", [b.box("x", (0, 2), (0, 16))], b.box("a", (1, 2), (0, 16)))
    assert sync(b.plan()) == ("violated", {"O-SYNC-01"})


def test_one_thread_is_always_in_order() -> None:
    plan = without(product(), barriers(product())[0])
    assert sync(replace(plan, launch=Launch((), block=(1, 1), shared_static=2048)))[0] == "proved"
    assert sync(replace(plan, launch=Launch(())))[0] == "violated"  # a block of unknown size
    assert sync(replace(plan, launch=Launch(()), target="cpu"))[0] == "proved"


def test_an_edge_without_its_barrier() -> None:
    plan = reduction()
    (number,) = barriers(plan)
    assert sync(replace(plan, edges=(Edge(2, 4, "raw", f"barrier {number}"),)))[0] == "proved"
    verdict, codes = sync(replace(plan, edges=(Edge(2, 4, "raw", "barrier 2"),)))
    assert (verdict, codes) == ("violated", {"O-SYNC-03"})


def test_too_many_touches_are_unknown() -> None:
    b = Block()
    for k in range(80):
        b.scratch(f"a{k}", 1, 4, 16 * k)
        b.stage(f"a{k}")
    assert sync(b.plan()) == ("unknown", {"O-SYNC-04"})


def engines(second: int, engine: str) -> Report:
    plan = plans.chain()
    moved = {"b": second}
    buffers = tuple(
        replace(b, storage=replace(b.storage, offset=moved.get(b.id, b.storage.offset))) if b.id in "abc" else b  # type: ignore[type-var, union-attr]
        for b in plan.buffers
    )
    names = {"load": "MTE2", "exp": engine, "add": "V", "store": "MTE3"}
    instructions = tuple(replace(i, engine=names[i.op]) for i in plan.instructions)
    return judge(replace(plan, target="pto", arch="", buffers=buffers, instructions=instructions))


def test_engines_meet_at_one_address_only() -> None:
    assert engines(256, "V").verdicts["sync"] == "proved"
    report = engines(384, "V")  # b overlaps c, which the store reads too
    assert report.verdicts["sync"] == "violated"
    assert {f.code for f in report.findings if f.check == "sync"} == {"O-SYNC-05"}
    assert engines(512, "S").verdicts["sync"] == "proved"  # at c's address


def test_symbols_of_loops_do_not_hide_a_race() -> None:
    b = Block()
    b.scratch("a", 64, 16)
    with b.loop("k", 16):
        b.op("stage", [b.box("x", (0, 4), (0, 16))], b.box("a", ("4*k", 4), (0, 16)))
    assert sync(b.plan())[0] == "unknown"  # what one iteration writes is not compared with the next one's


def test_loop_symbols_are_declared() -> None:
    assert Symbol("k", "loop") in product().symbols
