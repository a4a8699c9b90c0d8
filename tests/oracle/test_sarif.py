"""SARIF 2.1.0: what the standard requires of each object is there, and the values are the report's.

The sections in the comments are those of the OASIS standard; its JSON schema is not on the package index, so that the
required properties and the closed sets of values are listed here.
"""

from __future__ import annotations

import datetime
import json
import re
from dataclasses import replace
from typing import Any

import plans
import pytest

from tilebuild.oracle import Judged, Policy, Waiver, judge, judge_ptx, judged
from tilebuild.oracle.sarif import sarif_text
from tilebuild.plan.model import Plan

TODAY = datetime.date(2026, 5, 1)
REQUIRED = {
    "log": {"version", "runs"},  # 3.13
    "run": {"tool"},  # 3.14
    "driver": {"name"},  # 3.19
    "rule": {"id"},  # 3.49
    "invocation": {"executionSuccessful"},  # 3.20
    "notification": {"message"},  # 3.58
    "result": {"message"},  # 3.27
    "suppression": {"kind"},  # 3.35
}
KNOWN = {
    "log": {"$schema", "version", "runs"},
    "run": {"tool", "invocations", "columnKind", "results", "properties"},
    "driver": {"name", "semanticVersion", "rules"},
    "rule": {"id", "name", "properties"},
    "invocation": {"executionSuccessful", "toolExecutionNotifications"},
    "notification": {"level", "message"},
    "result": {
        "ruleId", "ruleIndex", "kind", "level", "message", "locations", "relatedLocations", "partialFingerprints",
        "properties", "suppressions",
    },
    "suppression": {"kind", "status", "justification"},
}  # fmt: skip


def sound(kind: str, value: dict[str, Any]) -> None:
    assert REQUIRED[kind] <= set(value) <= KNOWN[kind]
    if "message" in value:
        assert value["message"]["text"]


def log_of(*found: Judged, unreadable: dict[str, str] | None = None, notes: tuple[str, ...] = ()) -> dict[str, Any]:
    """The run, after everything in the log was looked at."""
    log = json.loads(sarif_text(found, unreadable or {}, notes))
    sound("log", log)
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    sound("run", run)
    driver = run["tool"]["driver"]
    sound("driver", driver)
    assert re.fullmatch(r"\d+\.\d+\.\d+", driver["semanticVersion"])
    for rule in driver["rules"]:
        sound("rule", rule)
    for invocation in run["invocations"]:
        sound("invocation", invocation)
        for notification in invocation["toolExecutionNotifications"]:
            sound("notification", notification)
            assert notification["level"] in ("none", "note", "warning", "error")
    for result in run["results"]:
        sound("result", result)
        assert result["ruleId"] == driver["rules"][result["ruleIndex"]]["id"]
        assert result["kind"] in ("fail", "review")
        assert (result["level"] == "none") == (result["kind"] == "review")  # 3.27.10
        for location in (*result["locations"], *result.get("relatedLocations", [])):
            physical = location["physicalLocation"]
            assert re.fullmatch(r"[^\s\\]+", physical["artifactLocation"]["uri"])
            assert physical.get("region", {"startLine": 1})["startLine"] >= 1
        for suppression in result.get("suppressions", []):
            sound("suppression", suppression)
            assert suppression["kind"] in ("inSource", "external")
    return run


def clashing() -> Plan:
    plan = plans.chain()
    buffers = tuple(replace(b, storage=replace(b.storage, offset=128)) if b.id == "b" else b for b in plan.buffers)
    return replace(plan, buffers=buffers)


def test_a_violation_has_its_python_line_first() -> None:
    run = log_of(judged("dir/k.json", judge(clashing()), Policy()))
    (result,) = run["results"]
    assert (result["ruleId"], result["kind"], result["level"]) == ("O-ALIAS-01", "fail", "error")
    assert "tile a [arena, 0..256) is live" in result["message"]["text"]
    (place,) = result["locations"]
    assert place["physicalLocation"]["artifactLocation"]["uri"] == "k.py"
    assert place["physicalLocation"]["region"]["startLine"] == 11
    (other,) = result["relatedLocations"]
    assert other["physicalLocation"]["artifactLocation"]["uri"] == "dir/k.json"
    assert run["properties"]["verdicts"][0]["checks"]["aliasing"] == "violated"


def test_a_waived_finding_is_suppressed() -> None:
    waiver = Waiver("O-ALIAS-01", "known until the planner is mended", datetime.date(2026, 6, 1), "k")
    (result,) = log_of(judged("k.json", judge(clashing()), Policy(waivers=(waiver,), today=TODAY)))["results"]
    (suppression,) = result["suppressions"]
    assert suppression["status"] == "accepted"
    assert "known until the planner is mended (until 2026-06-01)" in suppression["justification"]
    expired = replace(waiver, expires=datetime.date(2026, 4, 30))
    (result,) = log_of(judged("k.json", judge(clashing()), Policy(waivers=(expired,), today=TODAY)))["results"]
    assert "suppressions" not in result
    assert result["level"] == "error"


@pytest.mark.parametrize(("lenient", "kind", "level"), [(True, "review", "none"), (False, "fail", "error")])
def test_what_is_not_proved(lenient: bool, kind: str, level: str) -> None:
    unknown = replace(plans.chain(), target="npu", spaces=())
    (result,) = log_of(judged("k.json", judge(unknown), Policy(), lenient=lenient))["results"]
    assert (result["kind"], result["level"], result["properties"]["outcome"]) == (kind, level, "unknown")


def test_a_line_of_final_code() -> None:
    text = (
        ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k()\n{\n.reg .b32 %r<2>;\n"
        ".shared .align 4 .b8 s[4];\nmov.u32 %r1, s;\nst.shared.u32 [%r1+4], %r1;\nret;\n}\n"
    )
    (report,) = judge_ptx(text, "a b.ptx")
    result = log_of(judged("a b.ptx", report, Policy()))["results"][0]
    (place,) = result["locations"]
    assert place["physicalLocation"] == {"artifactLocation": {"uri": "a%20b.ptx"}, "region": {"startLine": 9}}


def test_files_that_cannot_be_judged_and_notes() -> None:
    run = log_of(unreadable={"k.ptx": "no such file"}, notes=("the waiver of X is not used",))
    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"] is False
    texts = [n["message"]["text"] for n in invocation["toolExecutionNotifications"]]
    assert texts == ["k.ptx: cannot be judged: no such file", "the waiver of X is not used"]
    assert run["results"] == []


def test_a_finding_keeps_its_fingerprint_when_numbers_change() -> None:
    def prints(plan: Plan) -> list[str]:
        return [r["partialFingerprints"]["tilebuild/v1"] for r in log_of(judged("k", judge(plan), Policy()))["results"]]

    moved = replace(clashing(), instructions=tuple(replace(i, id=i.id + 10) for i in clashing().instructions))
    assert prints(clashing()) == prints(moved)
    assert prints(clashing()) != prints(replace(clashing(), kernel="other"))
