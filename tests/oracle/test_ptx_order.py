"""PTX: the order of threads. What compilers make of right kernels is not called wrong; what is broken is not proved.

order_*.ptx are nvcc's (see ptx/order.cu), triton_*.ptx those of Triton 3.9 for sm_80: vector addition, row softmax,
layer normalisation and a matrix product of f16, with debug lines taken out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilebuild.oracle import judge_ptx
from tilebuild.oracle.facts import Facts
from tilebuild.oracle.findings import Report
from tilebuild.oracle.readers.ptx_text import SyntaxProblem

HERE = Path(__file__).parent / "ptx"
BLOCKS = {"transpose": (32, 8), "tiled": (16, 16)}


def parts(name: str) -> dict[str, str]:
    """The kernels of a file, each with what all of them need."""
    head, *entries = re.split(r"(?m)^(?=\.visible \.entry)", (HERE / name).read_text())
    return {re.findall(r"\.entry (\w+)", e)[0]: head + e for e in entries}


OPTIMISED, PLAIN = parts("order_O3.ptx"), parts("order_O0.ptx")
TRITON = {n: (HERE / f"triton_{n}.ptx").read_text() for n in ("vadd", "softmax", "layernorm", "matmul")}


def judged(text: str, facts: Facts | None = None) -> Report:
    if facts is None:
        name = re.findall(r"\.entry (\w+)", text)[0]
        block = () if ".reqntid" in text else BLOCKS.get(name, (256,))
        facts = Facts(block=block, shared_dynamic=8192 if ".extern .shared" in text else None)
    (report,) = judge_ptx(text, "k.ptx", facts=facts)
    assert "O-INTERNAL" not in {f.code for f in report.findings}, report.findings
    return report


# -- what compilers made ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in OPTIMISED if n != "transpose"])
def test_what_nvcc_makes_of_right_kernels_is_proved(name: str) -> None:
    assert judged(OPTIMISED[name]).outcome == "proved"


@pytest.mark.parametrize("name", ["reduce1", "reduce2", "calls"])
def test_code_with_calls_and_generic_addresses_is_proved(name: str) -> None:
    assert "call" in PLAIN[name] or "cvta" in PLAIN[name]
    assert judged(PLAIN[name]).outcome == "proved"


@pytest.mark.parametrize("name", TRITON)
def test_what_triton_makes_is_proved(name: str) -> None:
    assert judged(TRITON[name]).outcome == "proved"


@pytest.mark.parametrize("text", [OPTIMISED["transpose"], PLAIN["transpose"], PLAIN["scan"]])
def test_what_is_not_proved_is_not_called_wrong(text: str) -> None:
    report = judged(text)
    assert report.verdicts["sync"] == "proved"
    assert report.verdicts["linear-use"] == "unknown"


# -- faults that are planted ------------------------------------------------------------------------

Fault = Callable[[list[str]], Iterator[tuple[int, str]]]


def drop_a_barrier(lines: list[str]) -> Iterator[tuple[int, str]]:
    yield from ((k, "") for k, line in enumerate(lines) if "bar.sync" in line)


def barrier_in_a_branch(lines: list[str]) -> Iterator[tuple[int, str]]:
    branch = "{ .reg .pred q; .reg .b32 r; mov.u32 r, %tid.x; setp.lt.u32 q, r, 7; @!q bra SKIP; bar.sync 0; SKIP: }"
    yield from ((k, branch) for k, line in enumerate(lines) if "bar.sync" in line)


def grow_an_offset(lines: list[str]) -> Iterator[tuple[int, str]]:
    for k, line in enumerate(lines):
        found = re.search(r"(st\.shared\S*\s+\[[^\]+]+)(?:\+(\d+))?\]", line)
        if found:
            yield k, f"{line[: found.end(1)]}+{int(found[2] or 0) + 4}]{line[found.end() :]}"


def widen_a_store(lines: list[str]) -> Iterator[tuple[int, str]]:
    for k, line in enumerate(lines):
        found = re.search(r"st\.shared\.([fub])32(\s+\[[^\]]+\], )(%\w+);", line)
        if found:
            yield k, f"st.shared.v2.{found[1]}32{found[2]}{{{found[3]}, {found[3]}}};"


def drop_a_store(lines: list[str]) -> Iterator[tuple[int, str]]:
    yield from ((k, "") for k, line in enumerate(lines) if re.search(r"\bst\.shared", line))


# by kernel the places that are tried
FAULTS: dict[Fault, dict[str, int]] = {
    drop_a_barrier: {"reduce1": 9, "reduce2": 2, "calls": 4, "softmax": 3},
    barrier_in_a_branch: {"reduce1": 9, "reduce2": 2, "tiled": 2, "softmax": 3},
    grow_an_offset: {"reduce1": 9, "reduce2": 1, "softmax": 1},
    widen_a_store: {"reduce1": 9, "reduce2": 2, "scan": 9, "softmax": 2},
    drop_a_store: {"reduce2": 1, "softmax": 1, "tiled": 2},  # of what is written twice, the second store is not missed
}
SOURCES = {**OPTIMISED, "softmax": TRITON["softmax"]}


@pytest.mark.parametrize(
    ("fault", "name"), [(f, n) for f, names in FAULTS.items() for n in names], ids=lambda v: getattr(v, "__name__", v)
)
def test_a_planted_fault_is_not_proved(fault: Fault, name: str) -> None:
    lines = SOURCES[name].split("\n")
    body = next(k for k, line in enumerate(lines) if f".entry {name}" in line)
    proved = []
    sites = [(k, line) for k, line in fault(lines) if k > body or name == "calls"]
    assert sites
    for k, line in sites[: min(FAULTS[fault][name], 4)]:
        report = judged("\n".join([*lines[:k], line, *lines[k + 1 :]]))
        if report.outcome == "proved":
            proved.append((k + 1, lines[k]))
    assert not proved


def test_the_wrong_thread_writes() -> None:
    lines = OPTIMISED["reduce2"].split("\n")
    body = next(k for k, line in enumerate(lines) if ".entry" in line)
    k = next(k for k, line in enumerate(lines) if k > body and re.search(r"st\.shared", line))
    guard = max(j for j in range(k) if re.search(r"setp\.ne\.s32", lines[j]))
    lines[guard] = lines[guard].replace("setp.ne", "setp.eq")
    assert judged("\n".join(lines)).outcome != "proved"


# -- one thing at a time ----------------------------------------------------------------------------

HEAD = """.version 8.0
.target sm_80
.address_size 64
.visible .entry k(.param .u64 p, .param .u32 n)
.reqntid 64, 1, 1
{
.reg .pred %p<9>;
.reg .b32 %r<9>;
.reg .b64 %rd<9>;
.shared .align 16 .b8 s[1024];
mov.u32 %r0, %tid.x;
mov.u32 %r1, s;
shl.b32 %r2, %r0, 2;
add.s32 %r3, %r1, %r2;
ld.param.u32 %r8, [n];
ld.param.u64 %rd1, [p];
"""
STORE, LOAD = "st.shared.u32 [%r3], %r0;", "ld.shared.u32 %r4, [%r3+4];"
BAR = "bar.sync 0;"
TURN = "add.u32 %r4, %r4, 1;\nsetp.lt.u32 %p1, %r4, %r8;\n@%p1 bra L;"
HALF = "setp.lt.u32 %p1, %r0, 32;"
COPY = "cp.async.ca.shared.global [%r3], [%rd1], 4;"
READ = "ld.shared.u32 %r4, [%r3];"
NEXT = "xor.b32 %r5, %r2, 4;\nadd.s32 %r6, %r1, %r5;\nld.shared.u32 %r7, [%r6];"
EXPECTED = [
    # what one thread writes another one reads
    (f"{STORE}\n{NEXT}", {"O-PTX-11": "violated"}),
    (f"{STORE}\n{BAR}\n{NEXT}", {}),
    (f"{STORE}\nbar.warp.sync -1;\n{NEXT}", {}),
    (f"{STORE}\nbar.warp.sync 1;\n{NEXT}", {"O-PTX-11": "unknown"}),
    (f"{STORE}\nbar.sync 0, 64;\n{NEXT}", {}),
    (f"{STORE}\nbar.sync 0, 32;\n{NEXT}", {"O-PTX-11": "unknown"}),
    (f"{STORE}\nbar.arrive 0, 64;\n{NEXT}", {"O-PTX-11": "unknown"}),
    (f"{STORE}\nmembar.cta;\n{NEXT}", {"O-PTX-11": "violated"}),
    # all write one place: what is not known to differ is unknown
    ("st.shared.u32 [s], %r0;", {"O-PTX-11": "violated"}),
    ("st.shared.u32 [s], %r8;", {}),
    ("ld.global.u32 %r4, [%rd1];\nst.shared.u32 [s], %r4;", {"O-PTX-11": "unknown"}),
    ("red.shared.add.u32 [s], 1;", {}),
    # barriers that some threads do not reach
    (f"{HALF}\n@%p1 bra L;\n{BAR}\nL:", {"O-PTX-10": "violated"}),
    (f"{HALF}\n@%p1 {BAR}", {"O-PTX-10": "violated"}),
    (f"{HALF}\n@%p1 ret;\n{BAR}", {"O-PTX-10": "violated"}),
    (f"setp.lt.u32 %p1, %r8, 32;\n@%p1 bra L;\n{BAR}\nL:", {}),
    (f"{STORE}\nsetp.lt.u32 %p1, %r0, 64;\n@!%p1 bra L;\n{BAR}\nL:", {}),
    (f"ld.global.u32 %r4, [%rd1];\nsetp.eq.u32 %p1, %r4, 0;\n@%p1 bra L;\n{BAR}\nL:", {"O-PTX-10": "unknown"}),
    # around a loop
    (f"mov.u32 %r4, 0;\nL: {STORE}\n{BAR}\n{NEXT}\n{BAR}\n{TURN}", {}),
    (f"mov.u32 %r4, 0;\nL: {STORE}\n{BAR}\n{NEXT}\nadd.u32 %r4, %r4, 1;\nsetp.lt.u32 %p1, %r4, 9;\n@%p1 bra L;",
     {"O-PTX-11": "violated"}),
    (f"mov.u32 %r4, 0;\nL: {STORE}\n{BAR}\n{NEXT}\nadd.u32 %r4, %r4, 1;\nsetp.lt.u32 %p1, %r4, %r8;\n@%p1 bra L;",
     {"O-PTX-11": "unknown"}),
    # asynchronous copies
    (f"{COPY}\ncp.async.wait_all;\n{READ}", {}),
    (f"{COPY}\n{READ}", {"O-PTX-12": "violated"}),
    (f"{COPY}\ncp.async.commit_group;\ncp.async.wait_group 0;\n{BAR}\n{NEXT}", {}),
    (f"{COPY}\ncp.async.commit_group;\n{BAR}\n{NEXT}", {"O-PTX-12": "violated"}),
    (f"{COPY}\ncp.async.commit_group;\ncp.async.wait_group 1;\n{READ}", {"O-PTX-12": "violated"}),
    # nothing has written it
    (READ, {"O-PTX-13": "violated"}),
    (f"{STORE}\n{BAR}\n{LOAD}", {"O-PTX-13": "violated"}),
    (f"{HALF}\n@%p1 {STORE}\n{BAR}\n{READ}", {"O-PTX-13": "violated"}),
    (f"setp.eq.u32 %p1, %r8, 0;\n@%p1 {STORE}\n{BAR}\n{READ}", {"O-PTX-13": "unknown"}),
    (f"{HALF}\n@!%p1 bra L;\nst.shared.v2.u32 [%r3], {{%r0, %r0}};\nL: {BAR}\nld.shared.u32 %r4, [s+64];",
     {"O-PTX-11": "unknown", "O-PTX-02": "violated"}),
]  # fmt: skip


@pytest.mark.parametrize(("body", "expected"), EXPECTED)
def test_one_thing_at_a_time(body: str, expected: dict[str, str]) -> None:
    report = judged(f"{HEAD}{body}\nret;\n}}\n", Facts())
    assert {f.code: f.outcome for f in report.findings} == expected, [f.message for f in report.findings]


def test_a_witness_has_both_threads_both_lines_and_the_byte() -> None:
    report = judged(f"{HEAD}{STORE}\n{NEXT}\nret;\n}}\n", Facts())
    (finding,) = report.findings
    assert finding.message == (
        "thread 1 writes bytes 4..8 with st.shared.u32 (line 17), and thread 0 reads bytes 4..8 with ld.shared.u32 "
        "(line 20), with no barrier between the two: both touch byte 4 of the shared array s"
    )
    assert finding.artifact_line == 20


# -- facts ------------------------------------------------------------------------------------------


def test_a_block_that_is_not_known_proves_nothing() -> None:
    text = f"{HEAD}{STORE}\n{BAR}\n{NEXT}\nret;\n}}\n".replace(".reqntid 64, 1, 1\n", ".maxntid 64, 1, 1\n")
    without = judged(text, Facts())
    assert without.verdicts["sync"] == without.verdicts["linear-use"] == "unknown"
    assert judged(text, Facts(block=(64,))).outcome == "proved"
    assert judged(text, Facts(block=(16, 4))).verdicts["sync"] == "unknown"  # threads of a column write one place


def test_the_value_of_a_parameter_decides() -> None:
    loop = f"mov.u32 %r4, 0;\nL: {STORE}\n{BAR}\n{NEXT}\nadd.u32 %r4, %r4, 1;\nsetp.lt.u32 %p1, %r4, %r8;\n@%p1 bra L;"
    text = f"{HEAD}{loop}\nret;\n}}\n"
    assert judged(text, Facts()).verdicts["sync"] == "unknown"
    for name in ("n", "1"):
        assert judged(text, Facts(values={name: 3})).verdicts["sync"] == "violated"


def test_facts_as_a_command_line_gives_them() -> None:
    facts = Facts.parse("block=32x8,grid=64,shared=4096", ["n=0x10"], ["x=4096"])
    assert facts == Facts((32, 8), (64,), 4096, {"n": 16}, {"x": 4096})
    assert Facts.parse() == Facts()
    assert Facts.parse("shared=0").shared_dynamic == 0
    for wrong in ("block=0", "block=", "size=3", "block=1x2x3x4", "shared=1x2"):
        with pytest.raises(ValueError, match=r"fact of a launch|one to three"):
            Facts.parse(wrong)
    with pytest.raises(ValueError, match="NAME=NUMBER"):
        Facts.parse(values=["n"])


# -- anything at all --------------------------------------------------------------------------------

DAMAGED = "\n".join([HEAD, STORE, BAR, NEXT, HALF, "@%p1 bra L;", COPY, "cp.async.wait_all;", "L:", READ, "ret;", "}"])
WORDS = (
    "%r3",
    "%tid.x",
    "bar.sync",
    "0",
    "-1",
    "s",
    "L",
    "{",
    "}",
    "@%p1",
    "call",
    "bra",
    "v4",
    ",",
    ";",
    "[",
    "]",
    ".b8",
)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_damaged_text_gets_a_verdict_or_a_reason(data: st.DataObject) -> None:
    tokens = re.findall(r"\S+|\n", DAMAGED)
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(tokens) - 1))
        action = data.draw(st.sampled_from(("drop", "word", "swap", "double")))
        if action == "drop" and len(tokens) > 1:
            del tokens[at]
        elif action == "word":
            tokens[at] = data.draw(st.sampled_from(WORDS))
        elif action == "swap":
            other = data.draw(st.integers(0, len(tokens) - 1))
            tokens[at], tokens[other] = tokens[other], tokens[at]
        else:
            tokens.insert(at, tokens[at])
    try:
        reports = judge_ptx(" ".join(tokens), "x", seconds=5)
    except SyntaxProblem:
        return
    for report in reports:
        assert "O-INTERNAL" not in {f.code for f in report.findings}, report.findings


def test_what_takes_too_long_is_unknown() -> None:
    (report,) = judge_ptx(f"{HEAD}{STORE}\n{BAR}\n{NEXT}\nret;\n}}\n", "x", seconds=-1)
    assert {report.verdicts[c] for c in ("operands", "sync", "linear-use")} == {"unknown"}
    assert {f.code for f in report.findings} == {"O-PTX-06"}
