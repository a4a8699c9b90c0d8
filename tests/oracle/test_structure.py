"""Plans that are broken before any check can run, and what `judge` promises for all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import plans
import pytest

from tilebuild.oracle import CHECKS, judge
from tilebuild.oracle.checks import capacity
from tilebuild.plan.expr import Expr, sym
from tilebuild.plan.model import Global, Instr, Plan, Region, Space, Symbol, Unplaced


def with_buffer(**fields: object) -> Callable[[Plan], Plan]:
    return lambda p: replace(p, buffers=tuple(replace(b, **fields) if b.id == "b" else b for b in p.buffers))


def with_storage(**fields: object) -> Callable[[Plan], Plan]:
    def change(plan: Plan) -> Plan:
        (buffer,) = [b for b in plan.buffers if b.id == "b"]
        return with_buffer(storage=replace(buffer.storage, **fields))(plan)

    return change


def with_instr(index: int, **fields: object) -> Callable[[Plan], Plan]:
    def change(plan: Plan) -> Plan:
        instructions = list(plan.instructions)
        instructions[index] = replace(instructions[index], **fields)
        return replace(plan, instructions=tuple(instructions))

    return change


def with_box(**fields: object) -> Callable[[Plan], Plan]:
    def change(plan: Plan) -> Plan:
        access = plan.instructions[1].reads[0]
        return with_instr(1, reads=(replace(access, **fields),))(plan)

    return change


def with_regions(*regions: Region, inside: int = 0, instructions: tuple[int, ...] = (1,)) -> Callable[[Plan], Plan]:
    def change(plan: Plan) -> Plan:
        moved = [replace(x, region=inside) if x.id in instructions else x for x in plan.instructions]
        loops = (Symbol("j", "loop"), Symbol("k", "loop"))
        symbols = (*plan.symbols, *loops)
        return replace(plan, regions=(*plan.regions, *regions), instructions=tuple(moved), symbols=symbols)

    return change


def loop(number: int, parent: int, **fields: object) -> Region:
    defaults = {"var": "j", "lower": Expr.of(0), "upper": Expr.of(4)}
    return Region(number, parent, "loop", **{**defaults, **fields})  # type: ignore[arg-type]


def deep(plan: Plan) -> Plan:
    chain = [Region(n, n - 1, "branch", when=plan.contract.facts) for n in range(1, 80)]
    return with_regions(*chain, inside=79)(plan)


BROKEN: list[tuple[str, Callable[[Plan], Plan], str]] = [
    ("O-PLAN-01", with_box(buffer="q"), 'instruction 1 (exp) touches buffer "q", which does not exist'),
    ("O-PLAN-01", with_buffer(root="q"), 'buffer "b" is a view of "q", and "q" does not exist'),
    ("O-PLAN-02", with_buffer(id="a"), "two buffers have the name 'a'"),
    ("O-PLAN-02", with_instr(1, id=0), "two instructions have the name 0"),
    ("O-PLAN-02", lambda p: replace(p, regions=p.regions * 2), "two regions have the name 0"),
    ("O-PLAN-02", lambda p: replace(p, symbols=(*p.symbols, p.symbols[0])), "two symbols have the name 'M'"),
    ("O-PLAN-02", lambda p: replace(p, spaces=p.spaces * 2), "two spaces have the name 'arena'"),
    ("O-PLAN-03", lambda p: replace(p, regions=()), 'the plan has no region 0 of kind "program"'),
    ("O-PLAN-03", with_instr(1, region=7), "instruction 1 (exp) is in region 7, which does not exist"),
    ("O-PLAN-03", with_regions(loop(1, 9)), "region 1: its parent, region 9, does not exist"),
    ("O-PLAN-03", with_regions(loop(1, 2), loop(2, 1, var="k")), "region 1: its parent, region 2, lies in a circle"),
    ("O-PLAN-03", deep, "region 65 is nested deeper than 64 levels"),
    ("O-PLAN-04", with_regions(loop(1, 0), inside=1, instructions=(0, 2)), "instruction 2 (add) is in region 1, whose"),
    ("O-PLAN-05", with_buffer(storage=Unplaced("arena", 256)), 'buffer "b" still wants 256 bytes in space "arena"'),
    (
        "O-PLAN-06",
        with_box(valid=(sym("Q"), Expr.of(16))),
        '(exp), which touches buffer "a", uses "Q", which no symbol',
    ),
    ("O-PLAN-06", with_regions(loop(1, 0, upper=sym("Q"))), 'region 1 (loop) uses "Q"'),
    ("O-PLAN-06", with_regions(loop(1, 0, upper=sym("k"))), 'region 1 (loop) uses "k"'),
    ("O-PLAN-06", lambda p: replace(p, launch=replace(p.launch, workspace=sym("Q"))), 'launch: "Q" is not declared'),
    ("O-PLAN-07", with_buffer(rows=Expr.of(-1)), 'buffer "b" has -1 rows'),
    ("O-PLAN-07", with_buffer(rows=Expr.of(10**5000)), 'buffer "b" has about 2**16610 rows'),
    ("O-PLAN-07", with_storage(bytes=-4), 'buffer "b" has -4 bytes at offset 256'),
    ("O-PLAN-07", with_storage(offset=2**64), 'buffer "b" has 256 bytes at offset 18446744073709551616'),
    ("O-PLAN-07", with_buffer(slot=2, slots=2), 'buffer "b" is slot 2 of 2'),
    ("O-PLAN-07", lambda p: replace(p, spaces=(Space("arena", 4096, 0),)), "an alignment of 0 bytes"),
    ("O-PLAN-07", lambda p: replace(p, spaces=(Space("arena", -1, 64),)), "a capacity of -1"),
    (
        "O-PLAN-07",
        with_box(rows=replace(plans.chain().instructions[1].reads[0].rows, step=0)),
        "instruction 1 (exp) has a box of size 4 and step 0",
    ),
    ("O-PLAN-08", with_buffer(root="b"), 'buffer "b" is a view of "b", in a circle'),
    ("O-PLAN-08", with_buffer(root="a"), "[arena, 256..512) is not inside [arena, 0..256)"),
    ("O-PLAN-08", with_buffer(root="x"), "placed is no view of global"),
    (
        "O-PLAN-09",
        with_regions(loop(1, 0, var="i")),
        'has the id "i", which is not declared as a symbol of kind "loop"',
    ),
    ("O-PLAN-09", with_regions(loop(1, 0, upper=None)), "region 1 (loop) needs a lower and an upper bound"),
    ("O-PLAN-09", with_regions(loop(1, 0, step=0)), "a step of at least 1, not 0"),
    ("O-PLAN-09", with_regions(loop(1, 0), loop(2, 1)), 'has the id "j", which the enclosing region 1 has too'),
    ("O-PLAN-09", with_regions(Region(1, 0, "nest")), "region 1 (nest) has no lanes"),
    ("O-PLAN-09", with_regions(Region(1, 0, "branch")), "region 1 (branch) has no condition"),
    ("O-PLAN-09", with_regions(Region(1, 0, "while")), "region 1 (while) is of no kind that a plan knows"),
    (
        "O-PLAN-09",
        with_regions(Region(1, 0, "nest", lanes=(Expr.of(4), Expr.of(16))), loop(2, 1)),
        "region 2 (loop) lies inside nest 1",
    ),
    ("O-PLAN-10", with_buffer(dtype="f64"), 'buffer "b" has the unknown dtype "f64"'),
    (
        "O-PLAN-10",
        with_buffer(storage=Global("s", Expr.of(0), (Expr.of(1), Expr.of(1)))),
        "which is no array parameter",
    ),
    (
        "O-PLAN-11",
        lambda p: replace(p, launch=replace(p.launch, grid=(Expr.of(4),))),
        "0 program ids and a launch grid of 1",
    ),
]


@pytest.mark.parametrize(("code", "breaks", "text"), BROKEN, ids=[f"{c}-{k}" for k, (c, _, _) in enumerate(BROKEN)])
def test_a_broken_plan_is_a_finding_of_operands(code: str, breaks: Callable[[Plan], Plan], text: str) -> None:
    report = judge(breaks(plans.chain()))
    found = [f for f in report.findings if f.check == "operands"]
    assert (found[0].code, found[0].outcome) == (code, "violated")
    assert any(text in f.message for f in found), [f.message for f in found]
    assert found[0].fix
    assert report.outcome == "violated"
    others = {check: verdict for check, verdict in report.verdicts.items() if check != "operands"}
    assert set(others.values()) == {"unknown"}
    assert [f.code for f in report.findings if f.check == "aliasing"] == ["O-NOT-RUN"]


def test_severities_turn_checks_off() -> None:
    report = judge(plans.chain(), {"aliasing": "off", "operands": "warn"})
    assert tuple(report.verdicts) == tuple(c for c in CHECKS if c != "aliasing")
    assert report.outcome == "proved"


def test_what_was_not_looked_at_is_not_proved() -> None:
    report = judge(plans.chain(), dict.fromkeys(CHECKS, "off"))
    assert report.verdicts == {}
    assert report.outcome == "unknown"
    broken = with_buffer(rows=Expr.of(-1))(plans.chain())
    assert judge(broken, {"operands": "off"}).outcome == "unknown"


def test_an_empty_plan_is_proved() -> None:
    assert judge(plans.Build().plan()).outcome == "proved"


def test_many_findings_are_counted() -> None:
    b = plans.Build()
    b.tile("a")
    for _ in range(150):
        b.store("a")
    report = judge(b.plan())
    assert len([f for f in report.findings if f.check == "linear-use"]) == 100
    assert report.omitted == {"linear-use": 50}


def test_a_proof_that_is_too_large_is_not_tried() -> None:
    """Elimination is exponential in the number of symbols: a hostile plan may not keep the oracle busy."""
    b = plans.Build()
    names = [f"d{k}" for k in range(30)]
    b.symbols += [Symbol(n, "dim", Expr.of(1)) for n in names]
    b.tile("a")
    b.op("load", [b.box("x", (" - ".join(names), 4), (0, 16))], "a")
    assert [(f.code, f.outcome) for f in judge(b.plan()).findings if f.check == "operands"] == [
        ("O-OPER-05", "unknown")
    ]


def test_a_fault_of_the_oracle_is_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(capacity, "run", fail)
    report = judge(plans.chain())
    assert report.verdicts["capacity"] == "unknown"
    (found,) = report.findings
    assert (found.code, found.message) == ("O-INTERNAL", "the check capacity gave up: ZeroDivisionError: planted")


def test_instructions_of_no_operand_are_judged_too() -> None:
    plan = replace(plans.chain(), instructions=(*plans.chain().instructions, Instr(9, "full")))
    assert [f.code for f in judge(plan).findings] == ["O-OPER-02"]
