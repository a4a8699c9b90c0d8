"""Severities by check and kernel, and waivers: what fails, what is only said, and what is said of waivers."""

from __future__ import annotations

import datetime
from dataclasses import replace

import plans
import pytest

from tilebuild.oracle import Judged, Policy, Waiver, judge, judged, stale, text
from tilebuild.plan.model import Plan

TODAY = datetime.date(2026, 5, 1)
WAIVER = Waiver("O-ALIAS-01", "the planner is being mended", TODAY)


def clashing() -> Plan:
    plan = plans.chain()
    buffers = tuple(replace(b, storage=replace(b.storage, offset=128)) if b.id == "b" else b for b in plan.buffers)
    return replace(plan, buffers=buffers)


def weighed(policy: Policy, plan: Plan | None = None, **given: bool) -> Judged:
    return judged("k.json", judge(plan or clashing()), policy, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("severities", "kernels", "expected"),
    [
        ({}, {}, "error"),
        ({"default": "warn"}, {}, "warn"),
        ({"default": "off", "aliasing": "warn"}, {}, "warn"),
        ({"aliasing": "warn"}, {"k": {"aliasing": "error"}}, "error"),
        ({"aliasing": "warn"}, {"k*": {"default": "off"}}, "off"),
        ({"aliasing": "warn"}, {"other": {"aliasing": "off"}}, "warn"),
        ({}, {"k": {"sync": "off"}}, "error"),
    ],
)
def test_the_most_specific_severity_counts(
    severities: dict[str, str], kernels: dict[str, dict[str, str]], expected: str
) -> None:
    policy = Policy(severities, kernels)
    assert policy.severity("aliasing", "k") == expected
    assert policy.of(["aliasing"], "k") == {"aliasing": expected}
    assert weighed(policy).fails == (expected == "error")


@pytest.mark.parametrize(
    ("waiver", "severity"),
    [
        (WAIVER, "waived"),
        (replace(WAIVER, kernel="k?"), "error"),
        (replace(WAIVER, kernel="[jk]"), "waived"),
        (replace(WAIVER, finding="O-ALIAS-02"), "error"),
        (replace(WAIVER, expires=TODAY - datetime.timedelta(1)), "error"),
    ],
)
def test_a_waiver_covers_its_finding_until_it_ends(waiver: Waiver, severity: str) -> None:
    one = weighed(Policy(waivers=(waiver,), today=TODAY))
    assert [w.severity for w in one.findings] == [severity]
    assert one.fails == (severity == "error")
    assert one.report.outcome == "violated"  # a waiver changes no verdict


def test_a_waiver_in_force_goes_before_one_that_has_ended() -> None:
    old = replace(WAIVER, expires=datetime.date(2020, 1, 1))
    assert not weighed(Policy(waivers=(old, WAIVER), today=TODAY)).fails


def test_waivers_are_printed() -> None:
    shown = text(weighed(Policy(waivers=(WAIVER,), today=TODAY)))
    assert "waived[O-ALIAS-01]: kernel k: tile a" in shown
    assert "note: waived until 2026-05-01: the planner is being mended" in shown
    shown = text(weighed(Policy(waivers=(WAIVER,), today=TODAY + datetime.timedelta(1))))
    assert "error[O-ALIAS-01]" in shown
    assert '("the planner is being mended", until 2026-05-01) has expired' in shown


def test_stale_waivers_are_said() -> None:
    unused, ended = replace(WAIVER, finding="O-CAP-01"), replace(WAIVER, expires=datetime.date(2026, 4, 30))
    policy = Policy(waivers=(WAIVER, unused, ended), today=TODAY)
    used = {w.waiver for w in weighed(policy).findings if w.waiver is not None}
    assert used == {WAIVER}
    assert list(stale(policy, used)) == [
        (unused, "is not used: nothing was found that it speaks of"),
        (ended, "expired on 2026-04-30"),
    ]


def test_what_is_not_listed_cannot_be_waived() -> None:
    b = plans.Build()
    b.tile("a")
    for _ in range(103):
        b.store("a")
    one = weighed(Policy(waivers=(replace(WAIVER, finding="O-USE-01"),), today=TODAY), b.plan())
    assert {w.severity for w in one.findings} == {"waived"}
    assert one.fails
    assert not weighed(Policy({"default": "warn"}), b.plan()).fails


def test_lenient_takes_an_unknown_as_a_warning_and_a_violation_as_it_is() -> None:
    unknown = replace(plans.chain(), target="npu", spaces=())
    assert [w.severity for w in weighed(Policy(), unknown).findings] == ["error"]
    assert [w.severity for w in weighed(Policy(), unknown, lenient=True).findings] == ["warning"]
    assert weighed(Policy(), lenient=True).fails


def test_nothing_judged_is_a_failure() -> None:
    report = judge(plans.chain(), dict.fromkeys(judge(plans.chain()).verdicts, "off"))
    assert judged("k", report, Policy()).fails
