"""Two live buffers in the same bytes."""

from __future__ import annotations

from dataclasses import replace

import plans
import pytest

from tilebuild.oracle import Finding, judge
from tilebuild.plan.model import Plan


def findings(plan: Plan) -> list[Finding]:
    return [f for f in judge(plan).findings if f.check == "aliasing"]


def moved(plan: Plan, name: str, offset: int) -> Plan:
    buffers = tuple(replace(b, storage=replace(b.storage, offset=offset)) if b.id == name else b for b in plan.buffers)
    return replace(plan, buffers=buffers)


@pytest.mark.parametrize("make", [plans.chain, plans.reuse, plans.ragged, plans.carried, plans.product])
def test_valid_plans_are_proved(make) -> None:  # type: ignore[no-untyped-def]
    report = judge(make())
    assert report.outcome == "proved", report.findings
    assert report.findings == ()


def test_partly_overlapping_tiles_that_live_together() -> None:
    (found,) = findings(moved(plans.chain(), "b", 128))
    assert found.code == "O-ALIAS-01"
    assert found.outcome == "violated"
    assert found.message == (
        "tile a [arena, 0..256) is live from instruction 0 (load, line 10) to instruction 2 (add, line 12), "
        "while tile b [arena, 128..384) is written by instruction 1 (exp, line 11)"
    )
    assert found.instructions == (0, 2, 1)
    assert found.span is not None
    assert found.span.line == 11
    assert "128..256" in found.fix


def test_every_clash_is_found() -> None:
    plan = moved(moved(plans.chain(), "b", 64), "c", 128)
    pairs = {(f.message.split()[1], f.message.split("while tile ")[1].split()[0]) for f in findings(plan)}
    assert pairs == {("a", "b"), ("a", "c"), ("b", "c")}


def test_an_instruction_reads_and_writes_at_one_time() -> None:
    """The result may not take the bytes of an operand that ends with the same instruction."""
    (found,) = findings(moved(plans.reuse(), "b", 0))[:1]
    assert "tile b [arena, 0..256) is written by instruction 1" in found.message


def test_a_carried_value_lives_through_the_whole_loop() -> None:
    """`acc` is not touched between the load and the end of the iteration, and yet needed."""
    b = plans.Build()
    b.tile("acc", offset=0), b.tile("t", offset=256), b.tile("u", offset=0)
    b.op("full", "", "acc", value="0")
    with b.loop("j", 4):
        b.load("t")
        b.op("add", "acc t", "acc")
        b.op("exp", "t", "u")
        b.store("u", "z")
    assert findings(b.plan())[0].message == (
        "tile acc [arena, 0..256) is live from instruction 0 (full, line 10) through the loop over j, which reads it "
        "again in instruction 2 (add, line 12), while tile u [arena, 0..256) is written by instruction 3 (exp, line 13)"
    )


def test_a_value_of_one_iteration_does_not_live_through_the_loop() -> None:
    b = plans.Build()
    b.tile("t", offset=0), b.tile("u", offset=256), b.tile("w", offset=0)
    with b.loop("j", 4):
        b.load("t")
        b.op("exp", "t", "u")
        b.op("exp", "u", "w")
        b.store("w")
    assert judge(b.plan()).outcome == "proved"


def test_a_nest_is_one_step() -> None:
    """Lane by lane, a result would overwrite what a later lane still reads."""
    b = plans.Build()
    b.tile("a", offset=0), b.tile("c", offset=0), b.fused("d")
    b.load("a")
    with b.nest():
        b.op("exp", "a", "d")
        b.op("neg", "d", "c")
    b.store("c")
    (found,) = findings(b.plan())
    assert "tile c [arena, 0..256) is written by instruction 2" in found.message


def test_a_value_written_in_one_of_two_branches_keeps_the_older_one_alive() -> None:
    b = plans.Build()
    b.tile("a", offset=0), b.tile("c", offset=0)
    b.load("a")
    with b.branch("M > 100"):
        b.load("a")
        b.load("c")
        b.store("c", "z")
    b.store("a")
    (found,) = findings(b.plan())
    assert "tile c [arena, 0..256) is written by instruction 2" in found.message


def test_views_belong_to_their_root() -> None:
    b = plans.Build()
    b.tile("a", 8, 16, 0), b.tile("low", 4, 16, 0, root="a"), b.tile("high", 4, 16, 256, root="a")
    b.tile("c", offset=256)
    b.load("low")
    b.load("high")
    b.op("exp", "low", "c")
    b.op("add", "c high", "c")
    b.store("c")
    (found,) = findings(b.plan())
    assert "tile a [arena, 0..512)" in found.message
    assert "tile c [arena, 256..512)" in found.message


def test_copies_of_a_multi_buffered_tile_live_together() -> None:
    b = plans.Build()
    b.tile("t0", offset=0, slot=0, slots=2), b.tile("t1", offset=128, slot=1, slots=2)
    with b.loop("j", 2):
        b.load("t0")
        b.store("t0")
        b.load("t1")
        b.store("t1", "z")
    assert [f.code for f in findings(b.plan())] == ["O-ALIAS-01"]
    assert findings(moved(b.plan(), "t1", 256)) == []


def test_equal_bytes_of_two_spaces_do_not_clash() -> None:
    b = plans.Build(spaces=(plans.ARENA, plans.Space("other", 4096, 64)))
    b.tile("a", offset=0), b.tile("c", offset=0, space="other")
    b.load("a")
    b.op("exp", "a", "c")
    b.store("c")
    assert judge(b.plan()).outcome == "proved"
