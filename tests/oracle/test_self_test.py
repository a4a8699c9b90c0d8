"""The oracle judged by its own self test: what each class of faults must come to, and how it is printed."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import pytest
from fastnorm_plans import fastnorm

from tilebuild.cli import check
from tilebuild.oracle import CHECKS, judge
from tilebuild.oracle.mutate import self_test as module
from tilebuild.oracle.mutate.faults import FAULTS
from tilebuild.oracle.mutate.self_test import CAUGHT, NOT_RUN, OTHER, SAME, WRONG, self_test, table
from tilebuild.plan.serialize import dumps
from tilebuild.testing.plan_calls import compare

PLANS = fastnorm()
# between them, every class of faults has a place
FEW = ("softmax_online 0 cpu", "softmax 1 gpu", "matmul 0 gpu", "matmul 0 pto")


def test_there_are_enough_classes_for_every_check() -> None:
    assert len(FAULTS) >= 12
    assert {fault.check for fault in FAULTS} == set(CHECKS)
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


@pytest.fixture(scope="module")
def rows() -> list[module.Row]:
    found, unfit = self_test([PLANS[name] for name in FEW], compare)
    assert unfit == []
    return found


def test_every_class_has_mutants_and_none_is_missed(rows: list[module.Row]) -> None:
    assert [row.fault.name for row in rows if not row.total] == []
    assert [line for row in rows for line in row.notable if line.endswith(WRONG)] == []
    assert sum(row.fates[NOT_RUN] for row in rows) == 0


def test_what_is_proved_is_rare_and_listed(rows: list[module.Row]) -> None:
    total = sum(row.total for row in rows)
    proved = sum(row.fates[SAME] + row.fates[OTHER] for row in rows)
    assert total > 800
    assert proved < 0.02 * total
    assert sum(len(row.notable) for row in rows) == proved


@pytest.mark.parametrize(
    "name",
    ["overlap-tiles", "shrink-a-space", "shrink-a-tile", "misalign-a-tile", "leave-the-space", "shrink-the-launch",
     "enlarge-the-block", "drop-the-first-write", "run-before-the-producer", "write-twice", "swap-a-dtype",
     "drop-a-barrier", "delay-a-barrier", "make-a-barrier-conditional", "another-engine"],
)  # fmt: skip
def test_classes_that_the_named_check_catches_without_exception(rows: list[module.Row], name: str) -> None:
    (row,) = [row for row in rows if row.fault.name == name]
    assert row.fates == {CAUGHT: row.total}


@pytest.mark.slow
def test_no_mutant_of_any_plan_is_missed() -> None:
    found, unfit = self_test(PLANS.values(), compare)
    assert unfit == []
    assert [line for row in found for line in row.notable if line.endswith(WRONG)] == []


def test_a_mutant_that_is_proved_and_wrong_is_called_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an oracle that finds nothing, running the mutants says that it is wrong."""
    plan = PLANS["matmul 0 gpu"]
    proved = judge(plan)
    monkeypatch.setattr(module, "judge", lambda _: proved)
    faults = [fault for fault in FAULTS if fault.name in ("overlap-tiles", "drop-a-barrier")]
    found, _ = self_test([plan], compare, faults)
    assert all(row.fates[WRONG] > 0.5 * row.total > 0 for row in found)


def test_a_plan_that_is_not_proved_is_not_broken() -> None:
    plan = replace(PLANS[FEW[0]], spaces=(), target="npu")
    found, unfit = self_test([plan])
    assert unfit == ["softmax_online [softmax_online_0] on npu:x86-64"]
    assert sum(row.total for row in found) == 0


def test_the_table_has_shares() -> None:
    found, _ = self_test([PLANS["add 0 cpu"]])
    lines = list(table(found))
    assert lines[0].startswith("| fault | check | mutants | caught |")
    assert len(lines) == len(FAULTS) + 3
    assert lines[-1].startswith("| all | | ")
    assert "%)" in lines[-1]


def test_the_command_prints_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: str) -> int:
        parser = argparse.ArgumentParser()
        check.add_parser(parser.add_subparsers())
        return check.run(parser.parse_args(["check", "--self-test", *arguments]))

    file = tmp_path / "k.json"
    file.write_text(dumps(PLANS["softmax 0 spirv"]))
    assert run(str(file)) == 0
    assert "| drop-a-barrier: a barrier is dropped | `sync` | 3 | 3 |" in capsys.readouterr().out
    file.write_text(dumps(replace(PLANS["softmax 0 spirv"], launch=replace(PLANS["add 0 cpu"].launch))))
    assert run(str(file)) == 1
    assert "not proved as it is, and so not broken" in capsys.readouterr().out
    assert run(str(tmp_path / "none.json")) == 2
