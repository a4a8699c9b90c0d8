"""Plans survive JSON, and whatever is no plan is refused with the place, and with nothing but `PlanReadError`."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_plans import PLANS, access, program

from tilebuild.plan.model import SCHEMA, Instr, Plan, Region
from tilebuild.plan.planner import place
from tilebuild.plan.serialize import PlanReadError, dumps, loads

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
SMALL = place(program([Region(0, 0, "program")], [Instr(0, "full", (), (access("t"),))], {"t": 4}))


@settings(max_examples=60, deadline=None, suppress_health_check=SLOW)
@given(PLANS)
def test_round_trip(plan: Plan) -> None:
    text = dumps(plan)
    assert loads(text) == plan
    assert dumps(loads(text)) == text
    assert json.loads(text)["schema"] == SCHEMA


def test_the_text_is_canonical() -> None:
    text = dumps(SMALL)
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
    assert "null" not in text
    assert '"edges"' not in text


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.just("M // 0"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(p for key, value in inner for p in places(value, (*path, key)))]


@settings(max_examples=400, deadline=None)
@given(JUNK, st.data())
def test_damaged_plans_are_refused(junk: Any, data: st.DataObject) -> None:
    """Any entry replaced by anything: what is still read must be a plan of that very text."""
    tree = json.loads(dumps(SMALL))
    path = data.draw(st.sampled_from(places(tree)))
    if path:
        at = tree
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = junk
    else:
        tree = junk
    with suppress(PlanReadError):
        read = loads(json.dumps(tree))
        assert loads(dumps(read)) == read


@given(st.text(max_size=40))
def test_any_text_is_refused(text: str) -> None:
    with pytest.raises(PlanReadError):
        loads(text)


def edited(**entries: Any) -> str:
    return json.dumps({**json.loads(dumps(SMALL)), **entries})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON: "),
        ("[" * 100_000, "not JSON: "),
        ("9" * 5000, "not JSON: "),
        ("[1]", 'not a plan: no "schema" entry'),
        ("{}", 'not a plan: no "schema" entry'),
        (edited(schema=2), "schema: 2 is not 1, the one this version reads"),
        (edited(schema=[]), "schema: [] is not 1"),
        (edited(kernel=3), "plan.kernel: expected str, found 3"),
        (edited(more=3), "plan: unknown entry 'more'"),
        (json.dumps({"schema": 1}), "plan: missing entry 'arch', missing entry 'buffers'"),
        (edited(launch={"grid": ["M +"]}), "plan.launch.grid[0]: 'M +' is not an expression"),
        (edited(launch={"grid": [3]}), "plan.launch.grid[0]: expected an expression as text, found 3"),
        (edited(launch={"grid": "M"}), "plan.launch.grid: expected a list, found 'M'"),
        (edited(launch={"grid": [], "registers": True}), "plan.launch.registers: expected int, found True"),
        (edited(contract={"parameters": [], "facts": ["M"]}), "plan.contract.facts[0]: 'M' is not a condition"),
        (edited(contract={"parameters": [], "facts": ["M < N < K"]}), "plan.contract.facts[0]: "),
        (edited(buffers=[{"id": "t", "storage": 3, "dtype": "f32", "rows": "1", "cols": "1"}]),
         "plan.buffers[0].storage: expected a storage (distributed, fused, global, placed), found 3"),
        (edited(buffers=[{"id": "t", "storage": {"kind": "unplaced", "space": "a"}}]), "plan.buffers[0]: missing"),
        (edited(instructions=[{"id": 0, "op": "x", "attrs": {"a": 1.5}}]), "plan.instructions[0].attrs: expected an o"),
        (edited(regions=[{"id": 0, "parent": 0, "kind": "nest", "lanes": ["1"]}]), "plan.regions[0].lanes: expected 2"),
    ],
)  # fmt: skip
def test_where_it_is_wrong(text: str, message: str) -> None:
    with pytest.raises(PlanReadError) as caught:
        loads(text)
    assert str(caught.value).startswith(message)
    assert len(str(caught.value)) < 500


def test_deep_nesting_is_refused() -> None:
    """At every depth: past what JSON's reader takes, and just before, where showing what was found goes deeper."""
    for depth in [*range(100, 1100), 3000]:
        with pytest.raises(PlanReadError):
            loads(edited(kernel=0).replace('"kernel": 0', f'"kernel": {"[" * depth}{"]" * depth}'))


def test_a_plan_that_is_not_placed_cannot_be_read_back() -> None:
    plan = program([Region(0, 0, "program")], [Instr(0, "full", (), (access("t"),))], {"t": 4})
    with pytest.raises(PlanReadError, match="storage"):
        loads(dumps(plan))
