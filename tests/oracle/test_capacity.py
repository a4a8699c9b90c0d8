"""Places, sizes and spaces."""

from __future__ import annotations

from dataclasses import replace

import plans
import pytest

from tilebuild.oracle import Finding, judge
from tilebuild.plan.expr import sym
from tilebuild.plan.model import Plan, Space


def findings(plan: Plan) -> list[Finding]:
    return [f for f in judge(plan).findings if f.check == "capacity"]


def one_tile(**fields: object) -> plans.Build:
    b = plans.Build()
    b.tile("a", **fields)  # type: ignore[arg-type]
    b.load("a")
    b.store("a")
    return b


def test_a_space_that_is_too_small() -> None:
    plan = replace(plans.chain(), spaces=(Space("arena", 700, 64),))
    (found,) = findings(plan)
    assert (found.code, found.outcome) == ("O-CAP-01", "violated")
    assert found.message == "space arena is filled up to byte 768 by tile c, and holds 700"
    assert "68 bytes are too many" in found.fix


@pytest.mark.parametrize(
    ("fields", "code", "text"),
    [
        ({"offset": -64}, "O-CAP-02", "tile a [arena, -64..192) begins before its space"),
        ({"offset": 32}, "O-CAP-03", "tile a [arena, 32..288) is not aligned to 64 bytes"),
        ({"size": 252}, "O-CAP-04", "tile a [arena, 0..252) has 252 bytes; its 4 x 16 elements of f32 need 256"),
        (
            {"cols": 33, "size": 4 * 33 * 4, "layout": "panels32"},
            "O-CAP-04",
            "4 x 33 elements of f32 in panels of 32 columns need 1024",
        ),
        ({"slot": 0, "slots": 3}, "O-CAP-07", "tile a is slot 0 of 3, but 2 of these copies have no place"),
    ],
)
def test_a_tile_in_a_wrong_place(fields: dict[str, object], code: str, text: str) -> None:
    (found,) = findings(one_tile(**fields).plan())
    assert (found.code, found.outcome) == (code, "violated")
    assert text in found.message


@pytest.mark.parametrize(
    ("size", "fact", "expected"),
    [
        (1024, "M >= 1", [("O-CAP-04", "unknown", "are not proved to fit: they need 16*N")]),
        (1024, "N <= 64", []),
        (512, "N <= 64", [("O-CAP-04", "violated", "elements of f32 need 16*N")]),  # N is at least 64
    ],
)
def test_a_size_that_depends_on_a_dimension(size: int, fact: str, expected: list[tuple[str, str, str]]) -> None:
    b = one_tile(size=size)
    b.facts.append(fact)
    buffers = tuple(replace(t, cols=sym("N")) if t.id == "a" else t for t in b.plan().buffers)
    found = findings(replace(b.plan(), buffers=buffers, instructions=()))
    assert [(f.code, f.outcome) for f in found] == [(code, outcome) for code, outcome, _ in expected]
    assert all(text in f.message for f, (_, _, text) in zip(found, expected))


def test_a_plan_may_not_declare_more_than_the_device_has() -> None:
    plan = replace(plans.chain(), target="pto", arch="a2a3", spaces=(Space("bias", 65536, 32), *plans.chain().spaces))
    (found,) = findings(plan)
    assert found.code == "O-CAP-05"
    assert found.message == "space bias is declared with 65536 bytes; pto a2a3 has 1024"


def test_the_device_counts_where_the_plan_declares_more() -> None:
    b = plans.Build(target="gpu", arch="sm_86", spaces=(Space("shared", 227 * 1024, 16),))
    b.tile("a", 256, 100, 0, space="shared"), b.tile("c", 4, 16, 102400, space="shared")
    b.load("a"), b.store("a"), b.load("c"), b.store("c", "z")
    # the launch names neither a block nor the memory that the tiles take
    assert {f.code for f in findings(b.plan())} == {"O-CAP-01", "O-CAP-05", "O-CAP-08", "O-CAP-09"}
    messages = [f.message for f in findings(b.plan()) if f.code == "O-CAP-01"]
    assert ["filled up to byte 102656 by tile c, and holds 101376" in m for m in messages] == [True]


def test_an_undeclared_space() -> None:
    b = plans.Build(target="npu", arch="", spaces=())
    b.tile("a", space="sram")
    b.load("a"), b.store("a")
    (found,) = findings(b.plan())
    assert (found.code, found.outcome) == ("O-CAP-06", "unknown")
    assert "nothing is known for target npu, architecture unnamed" in found.message
    declared = replace(b.plan(), spaces=(Space("sram", 256, 32),))
    assert findings(declared) == []
    known = replace(b.plan(), target="pto", arch="a5", buffers=plans.chain().buffers, instructions=())
    assert [f.code for f in findings(known)] == ["O-CAP-06"]
