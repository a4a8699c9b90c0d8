"""What people, programs and the manifest are told."""

from __future__ import annotations

import ast
import json
from dataclasses import replace
from pathlib import Path

import plans
import pytest

import tilebuild.oracle
from tilebuild.build.config import OracleConfig
from tilebuild.diagnostics import Span
from tilebuild.oracle import (
    CHECKS,
    VERSION,
    Judged,
    Policy,
    diagnostics,
    json_text,
    judge,
    judged,
    text,
    verdict_entry,
)
from tilebuild.plan.model import Plan


def clashing() -> Plan:
    plan = plans.chain()
    buffers = tuple(replace(b, storage=replace(b.storage, offset=128)) if b.id == "b" else b for b in plan.buffers)
    return replace(plan, buffers=buffers)


def weighed(plan: Plan, file: str = "k.json", policy: Policy = Policy()) -> Judged:  # noqa: B008
    return judged(file, judge(plan), policy, plan)


def test_text_has_the_line_the_numbers_and_the_fix(tmp_path: Path) -> None:
    (tmp_path / "k.py").write_text("\n" * 10 + "    t = exp(x)\n")
    shown = text(weighed(clashing()), tmp_path).splitlines()
    assert shown[0].startswith(
        "k.py:11:5: error[O-ALIAS-01]: kernel k: tile a [arena, 0..256) is live from instruction 0"
    )
    assert shown[1:3] == ["  11 |     t = exp(x)", "     |     ^^^^^"]
    assert shown[3].startswith("  fix: place one of the two outside of the bytes 128..256")
    assert shown[-1] == (
        "k [v] on cpu:x86_64: violated (aliasing violated, capacity proved, linear-use proved, dead-writes proved, "
        "operands proved, sync proved)"
    )
    assert text(weighed(clashing()), tmp_path, quiet=True) == text(weighed(clashing()), tmp_path)


def test_a_proved_plan_is_one_line_or_none() -> None:
    assert text(weighed(plans.chain())).startswith("k [v] on cpu:x86_64: proved (aliasing proved")
    assert text(weighed(plans.chain()), quiet=True) == ""


@pytest.mark.parametrize("file", ["/etc/hostname", "../secret.py", "link.py"])
def test_a_plan_does_not_choose_which_files_are_shown(tmp_path: Path, file: str) -> None:
    (tmp_path / "secret.py").write_text("secret\n" * 20)
    root = tmp_path / "project"
    root.mkdir()
    (root / "link.py").symlink_to(tmp_path / "secret.py")
    plan = clashing()
    instructions = tuple(replace(i, span=Span(file, 1)) for i in plan.instructions)
    shown = text(weighed(replace(plan, instructions=instructions)), root)
    assert shown.startswith(f"{file}:1:1: error[O-ALIAS-01]")
    assert "1 | " not in shown


def test_names_in_a_plan_do_not_reach_the_terminal_raw() -> None:
    shown = text(weighed(replace(clashing(), kernel="k\x1b[2J")))
    assert "\x1b" not in shown
    assert "k\\x1b[2J" in shown


def test_unknown_findings_say_so() -> None:
    plan = replace(plans.chain(), target="npu", spaces=())
    assert [(d.code, d.severity) for d in diagnostics(judge(plan))] == [("O-CAP-06", "unknown")]


def test_findings_that_are_left_out_are_counted() -> None:
    b = plans.Build()
    b.tile("a")
    for _ in range(103):
        b.store("a")
    assert "3 more findings of linear-use are not shown" in text(weighed(b.plan()))


def test_json() -> None:
    document = json.loads(json_text([weighed(clashing(), "a.json"), weighed(plans.chain(), "b.json")], {"c": "why"}))
    assert (document["schema"], document["oracle"]) == (1, VERSION)
    assert document["unreadable"] == [{"file": "c", "reason": "why"}]
    bad, good = document["plans"]
    assert (good["file"], good["outcome"], good["findings"]) == ("b.json", "proved", [])
    assert bad["checks"] == {**dict.fromkeys(CHECKS, "proved"), "aliasing": "violated"}
    (finding,) = bad["findings"]
    assert finding["code"] == "O-ALIAS-01"
    assert finding["place"] == {"file": "k.py", "line": 11, "column": 5}
    assert finding["instructions"] == [0, 2, 1]


def test_the_manifest_keeps_the_verdict() -> None:
    entry = verdict_entry(judge(clashing()))
    assert (entry["outcome"], entry["scope"], entry["oracle"]) == ("violated", "plan", VERSION)
    assert entry["checks"]["aliasing"] == "violated"
    assert entry["findings"][0].startswith("O-ALIAS-01: tile a [arena, 0..256)")


def test_the_oracle_is_independent_of_what_it_judges() -> None:
    allowed = {"tilebuild.diagnostics", "tilebuild.manifest"}
    allowed |= {f"tilebuild.plan.{name}" for name in ("bounds", "expr", "model", "serialize")} | {"tilebuild.plan"}
    root = Path(tilebuild.oracle.__file__).parent
    for file in root.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [a.name for a in node.names] if isinstance(node, ast.Import) else []
            ours = {n for n in names if n.startswith("tilebuild") and not n.startswith("tilebuild.oracle")}
            assert ours <= allowed, file


def test_every_code_is_documented() -> None:
    root = Path(tilebuild.oracle.__file__).parent
    page = (Path(__file__).parents[2] / "docs" / "errors" / "oracle.md").read_text(encoding="utf-8")
    codes = set()
    for file in root.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("O-"):
                codes.add(node.value)
    headings = [line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")]
    assert len(codes) > 30
    assert sorted(headings) == sorted(codes)


def test_every_check_can_be_configured() -> None:
    assert set(OracleConfig.checks()) - {"default"} == set(CHECKS)
    assert {OracleConfig().severity(check) for check in CHECKS} == {"error"}
