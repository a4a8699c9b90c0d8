"""Register tiles of a block of threads, their partial results, and the limits of a launch."""

from __future__ import annotations

from dataclasses import replace

import pytest
from block_plans import MAP, SHARED, Block, product, reduction

from tilebuild.oracle import judge
from tilebuild.plan.expr import Expr
from tilebuild.plan.model import Buffer, Distributed, Launch, Plan


def found(plan: Plan, check: str = "operands") -> set[tuple[str, str]]:
    return {(f.code, f.outcome) for f in judge(plan).findings if f.check == check}


def attrs(plan: Plan, op: str, **changed: int | str) -> Plan:
    def change(values: tuple[tuple[str, int | str], ...]) -> tuple[tuple[str, int | str], ...]:
        return tuple(sorted({**dict(values), **changed}.items()))

    instructions = tuple(replace(i, attrs=change(i.attrs)) if i.op == op else i for i in plan.instructions)
    return replace(plan, instructions=instructions)


def with_map(plan: Plan, name: str, text: str) -> Plan:
    def change(b: Buffer) -> Buffer:
        return replace(b, storage=Distributed(text)) if b.id == name else b

    return replace(plan, buffers=tuple(map(change, plan.buffers)))


def shuffled() -> Plan:
    """y = the sum of each row of x, through shuffles."""
    b = Block()
    b.registers("t", 1, 16), b.registers("p", 1, 1, True), b.registers("m", 1, 1)
    with b.nest(1, 16):
        b.load("t")
        b.op("sum", "t", "p", axis=1)
    b.op("combine", "p", "m", reduce="sum", width=8)
    with b.nest(1, 1):
        b.store("m")
    plan = b.plan()
    text = plan
    for name in "tpm":
        text = with_map(text, name, "4x8x1" + (" partial" if name == "p" else ""))
    return replace(text, launch=Launch((), block=(8, 4)))


def test_combined_parts_are_a_value() -> None:
    report = judge(shuffled())
    assert (report.outcome, report.findings) == ("proved", ())


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"width": 4}, "O-OPER-16"),  # complete over half of the threads only
        ({"width": 3}, "O-OPER-18"),
        ({"width": 16}, "O-OPER-18"),
        ({"width": 1}, "O-OPER-18"),
        ({"width": "8"}, "O-OPER-18"),
        ({"reduce": "max"}, "O-OPER-18"),
    ],
)
def test_wrong_combinations(changed: dict[str, int | str], code: str) -> None:
    assert found(attrs(shuffled(), "combine", **changed)) == {(code, "violated")}


def test_shuffles_need_whole_warps() -> None:
    plan = replace(shuffled(), launch=Launch((), block=(8, 2)))
    smaller = plan
    for name in "tpm":
        smaller = with_map(smaller, name, "2x8x1" + (" partial" if name == "p" else ""))
    assert found(smaller) == {("O-OPER-18", "violated")}
    assert found(replace(shuffled(), target="spirv", arch="vulkan1.2")) == {("O-OPER-18", "unknown")}


@pytest.mark.parametrize(
    ("op", "changed", "codes"),
    [
        ("put", {"parts": 4}, {"O-OPER-07", "O-OPER-18"}),
        ("get", {"reduce": "sum"}, {"O-OPER-18"}),
        ("get", {"axis": 0}, {"O-OPER-07", "O-OPER-18"}),
    ],
)
def test_wrong_ways_through_shared_memory(op: str, changed: dict[str, int | str], codes: set[str]) -> None:
    assert {c for c, _ in found(attrs(reduction(), op, **changed))} >= codes


def test_a_partial_tile_is_no_value() -> None:
    b = Block()
    b.registers("t"), b.registers("p", 4, 1, True), b.registers("m", 4, 1)
    with b.nest():
        b.load("t")
        b.op("max", "t", "p", axis=1)
    with b.nest(4, 1):
        b.op("neg", "p", "m")
        b.store("m")
    assert found(b.plan()) == {("O-OPER-16", "violated")}


def test_a_reduction_over_threads_is_no_value() -> None:
    for tile, axis, rows, cols in (("row", 1, 4, 1), ("column", 0, 1, 16)):
        b = Block()
        b.registers("t"), b.registers(tile, rows, cols)
        with b.nest():
            b.load("t")
            b.op("max", "t", tile, axis=axis)
        with b.nest(rows, cols):
            b.store(tile)
        assert found(b.plan()) == {("O-OPER-16", "violated")}
        one = "1x8x1" if axis == 0 else "2x1x1"  # all of it in one thread
        plan = with_map(with_map(b.plan(), "t", one), tile, one)
        shape = (8, 1) if axis == 0 else (1, 2)
        assert found(replace(plan, launch=Launch((), block=shape))) == set()


def test_what_is_not_reduced_has_no_parts() -> None:
    b = Block()
    b.registers("t", 4, 1), b.registers("p", 4, 1, True), b.registers("m", 4, 1), b.scratch("s", 4, 8)
    with b.nest(4, 1):
        b.load("t")
        b.op("sum", "t", "p", axis=1)
    b.op("put", "p", "s", parts=8)
    b.barrier()
    b.get("m", "s", "sum")
    with b.nest(4, 1):
        b.store("m")
    assert ("O-OPER-18", "violated") in found(b.plan())


def test_one_map_for_all() -> None:
    assert found(with_map(reduction(), "t", "4x4x1")) >= {("O-OPER-17", "violated")}
    assert found(with_map(reduction(), "t", "banana")) >= {("O-OPER-17", "unknown")}
    assert found(replace(reduction(), launch=Launch((), block=(2, 8), shared_static=128))) == {
        ("O-OPER-17", "violated")
    }
    assert ("O-OPER-17", "unknown") in found(replace(reduction(), launch=Launch(())))
    assert found(attrs(reduction(), "load", map=MAP)) == set()
    assert found(attrs(reduction(), "load", map="2x4x2")) == {("O-OPER-17", "violated")}
    b = Block()
    b.scratch("a")
    with b.nest():
        b.load("a"), b.store("a")
    assert ("O-OPER-17", "unknown") in found(b.plan())


def test_threads_have_their_own_lanes() -> None:
    b = Block()
    b.registers("t"), b.registers("v", 2, 16)
    with b.nest():
        b.load("t")
    with b.nest(2, 16):
        b.op("neg", [b.box("t", (2, 2))], "v")
        b.store("v")
    assert found(b.plan()) == {("O-OPER-19", "unknown")}


def test_operands_of_a_product_lie_in_shared_memory() -> None:
    b = Block()
    b.registers("a", 4, 16), b.scratch("w", 16, 16, 256), b.registers("acc", 4, 16)
    with b.nest():
        b.load("a")
        b.op("full", "", "acc", value="0")
    b.stage("w")
    b.barrier()
    b.op("dot", "a w acc", "acc")
    with b.nest():
        b.store("acc")
    assert found(b.plan()) == {("O-OPER-19", "violated")}


def test_threads_meet_in_placed_tiles() -> None:
    b = Block()
    b.registers("t")
    b.op("stage", [b.box("x", (0, 4), (0, 16))], "t")
    assert ("O-OPER-10", "violated") in found(b.plan())


def launch(**changed: object) -> set[tuple[str, str]]:
    plan = product()
    return found(replace(plan, launch=replace(plan.launch, **changed)), "capacity")  # type: ignore[arg-type]


def test_limits_of_a_launch() -> None:
    assert launch() == set()
    assert launch(block=(1025,)) == {("O-CAP-08", "violated")}
    assert launch(block=(32, 33)) == {("O-CAP-08", "violated")}
    assert launch(block=(2, 2, 65)) == {("O-CAP-08", "violated")}
    assert launch(block=(0, 8)) == {("O-CAP-08", "violated")}
    assert launch(block=()) == {("O-CAP-08", "unknown")}
    assert launch(registers=256) == {("O-CAP-08", "violated")}
    assert launch(block=(32, 16), registers=128) == set()
    assert launch(block=(32, 32), registers=128) == {("O-CAP-08", "violated")}
    assert launch(shared_static=100) == {("O-CAP-09", "violated")}
    assert launch(shared_static=48 * 1024 + 16) == {("O-CAP-09", "violated")}
    assert launch(shared_static=0, shared_dynamic=163 * 1024) == set()
    assert launch(shared_static=0, shared_dynamic=163 * 1024 + 1) == {("O-CAP-09", "violated")}


def test_limits_of_other_devices() -> None:
    plan = replace(product(), target="spirv", arch="vulkan1.2")
    assert judge(plan).outcome == "proved"
    many = replace(plan, launch=replace(plan.launch, block=(16, 9)))
    assert ("O-CAP-08", "violated") in found(many, "capacity")
    large = replace(plan, spaces=(replace(SHARED, capacity=16385),))
    assert found(large, "capacity") == {("O-CAP-05", "violated")}
    foreign = replace(product(), arch="sm_999", launch=replace(product().launch, shared_dynamic=4096))
    assert found(foreign, "capacity") == {("O-CAP-09", "unknown")}
    for arch in ("sm_90", "sm_90a", "sm_100f"):
        assert found(replace(product(), arch=arch), "capacity") == set()


def test_extents_of_parts() -> None:
    plan = reduction()
    wide = tuple(replace(b, cols=Expr.of(2)) if b.id == "p" else b for b in plan.buffers)
    assert ("O-OPER-16", "violated") in found(replace(plan, buffers=wide))
