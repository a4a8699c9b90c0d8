"""Writes that nothing reads."""

from __future__ import annotations

import plans

from tilebuild.oracle import Finding, judge


def findings(build: plans.Build) -> list[Finding]:
    return [f for f in judge(build.plan()).findings if f.check == "dead-writes"]


def tiles(*names: str) -> plans.Build:
    b = plans.Build()
    for k, name in enumerate(names):
        b.tile(name, offset=256 * k)
    return b


def test_a_write_that_nothing_reads() -> None:
    b = tiles("a", "c")
    b.load("a")
    b.op("exp", "a", "c")
    b.store("a")
    (found,) = findings(b)
    assert (found.code, found.outcome, found.instructions) == ("O-DEAD-01", "violated", (1,))
    assert found.message == "instruction 1 (exp, line 11) writes tile c [arena, 256..512), and nothing reads it"


def test_a_write_that_is_overwritten_first() -> None:
    b = tiles("a")
    b.load("a")
    b.op("full", "", "a", value="0")
    b.store("a")
    (found,) = findings(b)
    assert (found.code, found.instructions) == ("O-DEAD-02", (0, 1))
    assert "instruction 1 (full, line 11) overwrites all of it before anything reads it" in found.message


def test_a_partial_or_conditional_overwrite_leaves_something_to_read() -> None:
    b = tiles("a")
    b.load("a")
    b.op("full", "", b.box("a", (0, 2)), value="0")
    with b.branch("M > 100"):
        b.op("full", "", "a", value="0")
    with b.loop("j", "N // 65"):  # may run zero times
        b.op("full", "", "a", value="0")
    b.store("a")
    assert findings(b) == []


def test_a_loop_that_surely_runs_overwrites() -> None:
    b = tiles("a")
    b.load("a")
    with b.loop("j", 4):
        b.op("full", "", "a", value="0")
        b.store("a")
    assert [f.code for f in findings(b)] == ["O-DEAD-02"]


def test_a_read_by_the_next_iteration_counts() -> None:
    b = tiles("a", "t")
    b.op("full", "", "a", value="0")
    with b.loop("j", 4):
        b.op("neg", "a", "t")
        b.store("t")
        b.op("copy", "t", "a")
    assert findings(b) == []


def test_a_write_at_the_end_of_an_iteration_that_the_next_one_overwrites() -> None:
    b = tiles("a")
    with b.loop("j", 4):
        b.load("a")
        b.store("a")
        b.op("full", "", "a", value="0")
    (found,) = findings(b)
    assert (found.code, found.instructions) == ("O-DEAD-01", (2,))


def test_a_read_elsewhere_in_the_tile_is_none() -> None:
    b = tiles("a")
    b.op("full", "", b.box("a", (0, 2)), value="0")
    b.op("full", "", b.box("a", (2, 2)), value="0")
    b.op("store", [b.box("a", (2, 2))], b.box("y", (0, 2), (0, 16)))
    assert [f.instructions for f in findings(b)] == [(0,)]


def test_more_unread_writes_than_are_followed_are_unknown() -> None:
    b = plans.Build()
    b.tile("a", 300, 1)
    for row in range(300):
        b.op("full", "", b.box("a", (row, 1)), value="0")
    found = findings(b)
    assert {f.code for f in found} == {"O-DEAD-01", "O-DEAD-03"}
    assert {f.outcome for f in found if f.code == "O-DEAD-03"} == {"unknown"}


def test_an_accumulator_that_only_feeds_itself() -> None:
    b = tiles("acc", "t")
    b.op("full", "", "acc", value="0")
    with b.loop("j", 4):
        b.load("t")
        b.op("add", "acc t", "acc")
    assert [(f.code, f.instructions) for f in findings(b)] == [("O-DEAD-04", (0,)), ("O-DEAD-04", (1,))]
    assert findings(b)[0].message.endswith("only feeds itself: nothing of it reaches an array")
