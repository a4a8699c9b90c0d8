"""Buffers that live at one time never share a byte, judged by running plans; and bytes are shared where they can be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random

import pytest
from hypothesis import HealthCheck, event, given, settings
from random_plans import access, program, programs

from tilebuild.diagnostics import Span, TilebuildError
from tilebuild.plan.model import Instr, Placed, Plan, Region, Space, Unplaced
from tilebuild.plan.planner import lives, place
from tilebuild.plan.tree import Node, tree

ROOT = Region(0, 0, "program")
LOOP = Region(1, 0, "loop")


def trace(node: Node, chance: Random) -> Iterator[list[Instr]]:
    """The steps of one run: a loop runs up to three times, a branch is taken or not; a nest is one step."""
    for item in node.items:
        if isinstance(item, Instr):
            yield [item]
        elif item.region.kind == "nest":
            yield [i for step in trace(item, chance) for i in step]
        else:
            for _ in range(chance.randint(0, 3) if item.region.kind == "loop" else chance.randint(0, 1)):
                yield from trace(item, chance)


def busy_steps(steps: list[list[Instr]]) -> dict[str, set[int]]:
    """The steps at which each buffer's bytes matter: from each value's write to its last read (a value that is never
    read is there in its own step). What a step reads after writing it, lane by lane, is its own."""
    busy: dict[str, set[int]] = {}
    written: dict[str, int] = {}
    for now, step in enumerate(steps):
        own: set[str] = set()
        for i in step:
            for name in {a.buffer for a in i.reads} - own:
                # what nothing wrote has no value to keep
                busy.setdefault(name, set()).update(range(written.get(name, now), now + 1))
            own |= {a.buffer for a in i.writes}
        for name in own:
            written[name] = now
            busy.setdefault(name, set()).add(now)
    return busy


def placed(plan: Plan) -> dict[str, Placed]:
    return {b.id: b.storage for b in place(plan).buffers if isinstance(b.storage, Placed)}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs())
def test_no_two_buffers_meet(plan: Plan) -> None:
    where = placed(plan)
    sizes = {b.id: b.storage.bytes for b in plan.buffers if isinstance(b.storage, Unplaced)}
    assert {n: p.bytes for n, p in where.items()} == sizes
    assert all(p.offset % 16 == 0 and p.offset >= 0 for p in where.values())
    assert placed(plan) == where
    shared = [
        (a, b)
        for a, p in where.items()
        for b, q in where.items()
        if a < b and p.offset < q.offset + q.bytes and q.offset < p.offset + p.bytes
    ]
    event("bytes are shared" if shared else "nothing is shared")
    for seed in range(12):
        busy = busy_steps(list(trace(tree(plan), Random(seed))))
        for a, b in shared:
            both = busy.get(a, set()) & busy.get(b, set())
            assert not both, f"{a} and {b} share bytes and both are needed in steps {sorted(both)}"


def op(position: int, writes: str, reads: str = "", region: int = 0) -> Instr:
    return Instr(position, "op", tuple(map(access, reads)), tuple(map(access, writes)), region)


def test_bytes_are_shared() -> None:
    """a -> b -> c -> d: two buffers are alive at a time."""
    plan = program([ROOT], [op(0, "a"), op(1, "b", "a"), op(2, "c", "b"), op(3, "d", "c")], dict.fromkeys("abcd", 64))
    assert place(plan).scratch() == {"arena": 128}


def test_a_value_of_one_step_is_free_in_the_next() -> None:
    body = [op(0, "a", region=1), op(1, "b", "a", region=1), op(2, "c", region=1), op(3, "d", "c", region=1)]
    assert place(program([ROOT, LOOP], body, dict.fromkeys("abcd", 64))).scratch() == {"arena": 128}


@pytest.mark.parametrize(
    ("regions", "instructions", "expected"),
    [
        pytest.param(
            [ROOT, LOOP], [op(0, "a"), op(1, "b", region=1), op(2, "c", "a", region=1)], {"a": (0, 2)}, id="into a loop"
        ),
        pytest.param(
            [ROOT, LOOP], [op(0, "a", region=1), op(1, "b", region=1), op(2, "c", "a")], {"a": (0, 2)}, id="out of it"
        ),
        pytest.param(
            [ROOT, LOOP], [op(0, "b", "a", region=1), op(1, "a", region=1)], {"a": (0, 1), "b": (0, 0)}, id="carried"
        ),
        pytest.param(
            [ROOT, LOOP], [op(0, "b", region=1), op(1, "a", "a", region=1)], {"a": (0, 1)}, id="read and written"
        ),
        pytest.param(
            [ROOT, LOOP], [op(0, "a", region=1), op(1, "b", "a", region=1)], {"a": (0, 1), "b": (1, 1)}, id="inside"
        ),
        pytest.param(
            [ROOT, Region(1, 0, "nest")],
            [op(0, "a", region=1), op(1, "b", "a", region=1), op(2, "c", region=1)],
            {"a": (0, 2), "b": (0, 2), "c": (0, 2)},
            id="a nest is one step",
        ),
        pytest.param(
            [ROOT, LOOP, Region(2, 1, "branch")],
            [op(0, "c", region=1), op(1, "a", region=2), op(2, "b", "a", region=1)],
            {"a": (0, 2), "c": (0, 0)},
            id="perhaps from the step before",
        ),
        pytest.param(
            [ROOT, LOOP, Region(2, 1, "loop")],
            [op(0, "c", region=1), op(1, "a", region=2), op(2, "b", "a", region=2)],
            {"a": (1, 2), "c": (0, 0)},
            id="inside of an inner loop",
        ),
        pytest.param(
            [ROOT, LOOP, Region(2, 1, "loop")],
            [op(0, "a", region=1), op(1, "b", region=2), op(2, "c", "a", region=2), op(3, "d", region=1)],
            {"a": (0, 2), "d": (3, 3)},
            id="into an inner loop",
        ),
    ],
)
def test_lives(regions: list[Region], instructions: list[Instr], expected: dict[str, tuple[int, int]]) -> None:
    found = lives(program(regions, instructions, {}))
    assert {n: (found[n].first, found[n].last) for n in expected} == expected


def test_what_is_placed_already_stays_free_of_others() -> None:
    plan = program([ROOT], [op(0, "a"), op(1, "b"), op(2, "c", "ab")], dict.fromkeys("abc", 32))
    fixed = replace(plan.buffers[0], storage=Placed("arena", 16, 32))
    where = placed(replace(plan, buffers=(fixed, *plan.buffers[1:])))
    assert where["a"] == Placed("arena", 16, 32)
    assert where["b"].offset >= 48


def test_two_spaces_are_apart() -> None:
    plan = program([ROOT], [op(0, "a"), op(1, "b", "a")], {"a": 8, "b": 8})
    other = replace(plan.buffers[1], storage=Unplaced("shared", 8))
    plan = replace(plan, spaces=(*plan.spaces, Space("shared", 8, 4)), buffers=(plan.buffers[0], other))
    assert place(plan).scratch() == {"arena": 8, "shared": 8}


def test_a_space_that_is_too_small() -> None:
    plan = program([ROOT], [op(0, "a"), op(1, "b", "a"), op(2, "c", "b")], {"a": 100, "b": 40, "c": 8}, capacity=128)
    plan = replace(plan, buffers=tuple(replace(b, span=Span("k.py", i + 1)) for i, b in enumerate(plan.buffers)))
    with pytest.raises(TilebuildError) as caught:
        place(plan)
    (found,) = caught.value.diagnostics
    assert (found.code, found.message) == ("E401", "k needs 152 bytes of arena for cpu:test, which has 128")
    assert found.span == Span("k.py", 1)
    assert [n[1] for n in found.notes] == [f"[1, 1] of f32 takes {n} bytes" for n in (100, 40, 8)]
    assert found.fix == "give the variant smaller tile constants"
