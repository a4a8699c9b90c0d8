"""Reads of what was written, on every path and in every lane."""

from __future__ import annotations

import plans
import pytest

from tilebuild.oracle import Finding, judge


def findings(build: plans.Build) -> list[Finding]:
    return [f for f in judge(build.plan()).findings if f.check == "linear-use"]


def outcomes(build: plans.Build) -> list[tuple[str, str]]:
    return [(f.code, f.outcome) for f in findings(build)]


def tiles(*names: str) -> plans.Build:
    b = plans.Build()
    for k, name in enumerate(names):
        b.tile(name, offset=256 * k)
    return b


def test_a_read_that_nothing_wrote() -> None:
    b = tiles("a", "c")
    b.op("exp", "a", "c")
    b.store("c")
    (found,) = findings(b)
    assert (found.code, found.outcome) == ("O-USE-01", "violated")
    assert found.message == "instruction 0 (exp, line 10) reads tile a [arena, 0..256), which nothing has written"


def test_the_first_iteration_of_a_loop() -> None:
    b = tiles("acc", "t")
    with b.loop("j", 4):
        b.load("t")
        b.op("add", "acc t", "acc")
    b.store("acc")
    (found,) = findings(b)
    assert found.code == "O-USE-01"
    assert found.message.endswith(
        "which nothing has written on the first iteration of the loop over j: its first write is instruction 1 "
        "(add, line 11)"
    )


def test_a_write_in_a_branch_does_not_count_after_it() -> None:
    b = tiles("a")
    with b.branch("M > 100"):
        b.load("a")
    b.store("a")
    (found,) = findings(b)
    assert (found.code, found.outcome) == ("O-USE-02", "violated")
    assert "instruction 0 (load, line 10) in a branch that runs only if M > 100" in found.message


def test_a_write_in_a_branch_counts_inside_it_and_under_the_same_condition() -> None:
    b = tiles("a")
    with b.branch("M > 100"):
        b.load("a")
        b.store("a")
    with b.branch("M > 100"):
        b.store("a", "z")
    assert outcomes(b) == []


def test_a_branch_that_is_always_taken_is_no_branch() -> None:
    b = tiles("a")
    with b.branch("M > 10"):  # the contract says M >= 64
        b.load("a")
    b.store("a")
    assert outcomes(b) == []


def test_two_branches_that_exclude_each_other_are_every_path() -> None:
    b = tiles("a")
    with b.branch("M > 100"):
        b.load("a")
    with b.branch("M <= 100"):
        b.op("full", "", "a", value="1")
    b.store("a")
    assert outcomes(b) == []


@pytest.mark.parametrize(("upper", "expected"), [("N // 16", []), ("N // 65", [("O-USE-02", "unknown")])])
def test_a_loop_that_may_run_zero_times(upper: str, expected: list[tuple[str, str]]) -> None:
    b = tiles("a")
    with b.loop("j", upper):
        b.load("a")
    b.store("a")
    assert outcomes(b) == expected
    if expected:
        assert "in the loop over j, which runs zero times unless 0 < N // 65" in findings(b)[0].message


def test_the_condition_of_another_iteration_proves_nothing() -> None:
    b = tiles("a")
    with b.loop("j", 4), b.branch("j > 1"):
        b.load("a")
    with b.loop("k", 4), b.branch("k > 1"):
        b.store("a")
    assert outcomes(b) == [("O-USE-02", "violated")]


def test_lanes_outside_what_was_written() -> None:
    b = tiles("a")
    b.op("load", [b.box("x", (0, 4), (0, 16), (4, 12))], b.box("a", valid=(4, 12)))
    b.store("a")
    (found,) = findings(b)
    assert (found.code, found.outcome) == ("O-USE-03", "violated")
    assert "reads rows 0..4, columns 0..16 of tile a [arena, 0..256)" in found.message
    assert "instruction 0 (load, line 10) wrote rows 0..4, columns 0..12" in found.message


def test_lanes_that_are_not_proved_to_be_written() -> None:
    b = tiles("a")
    valid = ("min(4, M - 62)", 16)
    b.op("load", [b.box("x", (62, 4), (0, 16), valid)], b.box("a", valid=valid))
    b.store("a")
    (found,) = findings(b)
    assert (found.code, found.outcome) == ("O-USE-03", "unknown")
    assert "is not proved to read written lanes only" in found.message


def test_several_writes_cover_together() -> None:
    b = tiles("a")
    for start in (8, 0):
        b.op("full", "", b.box("a", (), (start, 8)), value="0")
    b.store("a")
    assert outcomes(b) == []
    b = tiles("a")
    for start in (9, 0):
        b.op("full", "", b.box("a", (), (start, 7)), value="0")
    b.store("a")
    assert outcomes(b) == [("O-USE-03", "unknown")]


def test_rows_of_earlier_iterations_are_not_those_of_this_one() -> None:
    b = tiles("a")
    with b.loop("j", 4):
        b.op("full", "", b.box("a", ("j", 1)), value="0")
        b.op("store", [b.box("a", ("j", 1))], b.box("y", ("j", 1), (0, 16)))
    assert outcomes(b) == []
    with b.loop("k", 4):
        b.op("store", [b.box("a", ("k", 1))], b.box("z", ("k", 1), (0, 16)))
    assert outcomes(b) == [("O-USE-03", "unknown")]


def test_a_view_of_written_bytes_is_written() -> None:
    b = plans.Build()
    b.tile("a", 8, 16, 0), b.tile("low", 4, 16, 0, root="a"), b.tile("high", 4, 16, 256, root="a")
    b.load("a")
    b.store("high")
    b.store("low", "z")
    assert outcomes(b) == []
    b = plans.Build()
    b.tile("a", 8, 16, 0), b.tile("low", 4, 16, 0, root="a"), b.tile("high", 4, 16, 256, root="a")
    b.load("low")
    b.store("high")
    assert [code for code, _ in outcomes(b)] == ["O-USE-03"]


def test_parameters_are_used_by_their_modes() -> None:
    b = tiles("a", "c")
    b.load("a")
    b.store("a", "x")
    b.op("load", [b.box("y", (0, 4), (0, 16))], "c")
    b.store("c", "z")
    assert outcomes(b) == [("O-USE-04", "violated"), ("O-USE-05", "violated")]
    assert "writes view x of x, a parameter of mode in" in findings(b)[0].message
    assert "reads view y of y, a parameter of mode out" in findings(b)[1].message
