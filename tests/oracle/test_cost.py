"""The work grows in step with the plan's size."""

from __future__ import annotations

import sys
import time
from dataclasses import replace

import plans
import pytest

from tilebuild.oracle import judge
from tilebuild.plan.model import Access, Buffer, Instr, Plan


def repeated(plan: Plan, times: int) -> Plan:
    """The plan's program, many times over, each time with buffers, regions and loops of its own in the same bytes."""
    buffers = [b for b in plan.buffers if b.id in ("x", "y", "z")]
    regions, instructions = [plan.regions[0]], []
    for n in range(times):

        def own(a: Access, n: int = n) -> Access:
            return a if a.buffer in ("x", "y", "z") else replace(a, buffer=f"{a.buffer}{n}")

        first = len(regions) - 1
        buffers += [replace(b, id=f"{b.id}{n}") for b in plan.buffers if b.id not in ("x", "y", "z")]
        regions += [replace(r, id=r.id + first, parent=r.parent + first if r.parent else 0) for r in plan.regions[1:]]
        for i in plan.instructions:
            accesses = {"reads": tuple(map(own, i.reads)), "writes": tuple(map(own, i.writes))}
            region = i.region + first if i.region else 0
            instructions.append(replace(i, id=len(instructions), region=region, **accesses))
    return replace(plan, buffers=tuple(buffers), regions=tuple(regions), instructions=tuple(instructions))


def straight(instructions: int) -> Plan:
    """One program region, three tiles that are written and read in turn: lives by the thousand in the same bytes."""
    plan = plans.chain()
    body = plan.instructions
    return replace(plan, instructions=tuple(replace(body[k % 4], id=k) for k in range(instructions)))


def side_by_side(tiles: int) -> Plan:
    """Tiles that all live at once."""
    base = plans.reuse()
    make, use = base.instructions[0], base.instructions[3]
    tile = next(b for b in base.buffers if b.id == "a")
    buffers: list[Buffer] = [b for b in base.buffers if b.id in ("x", "y")]
    buffers += [replace(tile, id=f"t{k}", storage=replace(tile.storage, offset=256 * k)) for k in range(tiles)]

    def on(instr: Instr, number: int, k: int) -> Instr:
        reads = tuple(replace(a, buffer=f"t{k}") if a.buffer in "abc" else a for a in instr.reads)
        writes = tuple(replace(a, buffer=f"t{k}") if a.buffer in "abc" else a for a in instr.writes)
        return replace(instr, id=number, reads=reads, writes=writes)

    instructions = [on(make, k, k) for k in range(tiles)] + [on(use, tiles + k, k) for k in range(tiles)]
    return replace(base, buffers=tuple(buffers), instructions=tuple(instructions), spaces=(), target="npu")


def rewritten(rows: int) -> Plan:
    """One tile, written row by row in parts that no single write covers, and read as often."""
    b = plans.Build()
    b.tile("a", 4, 16)
    b.op("full", "", "a", value="0")
    box = b.box("a", (0, 1))
    b.op("full", "", box, value="0")
    b.store("a")
    first, part, use = b.instructions
    ordered = [first, *(part if k % 2 else use for k in range(rows))]
    return replace(b.plan(), instructions=tuple(replace(i, id=k) for k, i in enumerate(ordered)))


def calls(plan: Plan) -> int:
    """How many functions are called to judge the plan."""
    count = 0

    def profile(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(profile)
    try:
        judge(plan)
    finally:
        sys.setprofile(None)
    return count


SHAPES = {
    "ragged": lambda n: repeated(plans.ragged(), n // 5),
    "carried": lambda n: repeated(plans.carried(), n // 4),
    "straight": straight,
    "side_by_side": lambda n: side_by_side(n // 2),
    "rewritten": rewritten,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_four_times_the_plan_is_four_times_the_work(shape: str) -> None:
    small, large = calls(SHAPES[shape](400)), calls(SHAPES[shape](1600))
    assert small > 400
    assert large < 4.4 * small


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_a_hundred_thousand_instructions(shape: str, record_property) -> None:  # type: ignore[no-untyped-def]
    plan = SHAPES[shape](100_000)
    start = time.perf_counter()
    report = judge(plan)
    seconds = time.perf_counter() - start
    print(f"{shape}: {len(plan.instructions)} instructions in {seconds:.2f} s")
    record_property("seconds", round(seconds, 2))
    assert "O-INTERNAL" not in {f.code for f in report.findings}
    assert calls(SHAPES[shape](10_000)) < 2.1 * calls(SHAPES[shape](5_000))


def test_the_shapes_are_what_they_say() -> None:
    assert judge(repeated(plans.ragged(), 3)).outcome == "proved"
    assert judge(repeated(plans.carried(), 3)).outcome == "proved"
    assert {f.code for f in judge(side_by_side(3)).findings} == {"O-CAP-06"}
    assert {f.check for f in judge(rewritten(9)).findings} <= {"dead-writes"}
