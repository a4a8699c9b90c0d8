"""Whatever is in a file, the reader says `PlanReadError` and the oracle gives a verdict."""

from __future__ import annotations

import copy
import json
from typing import Any

import plans
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilebuild.oracle import CHECKS, Policy, diagnostics, json_text, judge, text, verdict_entry
from tilebuild.oracle import judged as weigh
from tilebuild.plan.serialize import PlanReadError, dumps, loads

VALID = [json.loads(dumps(f())) for f in (plans.ragged, plans.carried, plans.product)]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
SCALARS = st.one_of(
    st.sampled_from(
        [
            "", "x", "y", "t", "acc", "M", "N", "i", "j", "k", "0", "-1", "M // 0", "min(M, N) - 4*i", "M*N*M - N*N",
            "f32", "i32", "bool", "loop", "nest", "branch", "program", "placed", "fused", "global", "load", "store",
            "dot", "sum", "pack", "select", "16*j", "4 - M", "x__s0", "x__s0*x__s0", "in", "out", "scalar", "arena",
            "1" * 60,
        ]
    ),
    st.integers(-3, 40),
    st.sampled_from([2**63, -(2**63), 10**40, -1]),
)  # fmt: skip


@given(JSON)
@settings(max_examples=150, deadline=None)
def test_random_json_is_no_plan(data: Any) -> None:
    with pytest.raises(PlanReadError):
        loads(json.dumps(data))


@given(st.text())
@settings(max_examples=100, deadline=None)
def test_random_text_is_no_plan(data: str) -> None:
    with pytest.raises(PlanReadError):
        loads(data)


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys = node.keys() if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    return [path, *(p for key in keys for p in places(node[key], (*path, key)))]


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_a_corrupted_plan_gets_a_verdict(data: st.DataObject) -> None:
    document = copy.deepcopy(data.draw(st.sampled_from(VALID)))
    for _ in range(data.draw(st.integers(1, 4))):
        (*path, key) = data.draw(st.sampled_from([p for p in places(document) if p]))
        parent = document
        for step in path:
            parent = parent[step]
        action = data.draw(st.sampled_from(["set", "set", "copy", "double", "delete"]))
        if action == "set":
            parent[key] = data.draw(SCALARS)
        elif action == "copy":
            parent[key] = copy.deepcopy(
                parent[data.draw(st.sampled_from(sorted(parent) if isinstance(parent, dict) else range(len(parent))))]
            )
        elif action == "double" and isinstance(parent, list):
            parent.insert(key, copy.deepcopy(parent[key]))
        else:
            del parent[key]
    try:
        plan = loads(json.dumps(document))
    except PlanReadError:
        return
    report = judge(plan)
    assert tuple(report.verdicts) == CHECKS
    assert report.outcome in ("proved", "unknown", "violated")
    assert [f for f in report.findings if f.code == "O-INTERNAL"] == []
    assert (report.outcome == "proved") == (not report.findings)
    assert len(diagnostics(report)) == len(report.findings)
    assert report.outcome in text(report)
    assert (
        json.loads(json_text([weigh("f", report, Policy())], {}))["plans"][0]["outcome"]
        == verdict_entry(report)["outcome"]
    )
