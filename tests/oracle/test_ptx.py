"""PTX: the reader, and what the oracle says of kernels that compilers made (see ptx/shared.cu)."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilebuild.diagnostics import Span
from tilebuild.oracle import Policy, diagnostics, json_text, judge_ptx, text, verdict_entry
from tilebuild.oracle import judged as weigh
from tilebuild.oracle.findings import Report
from tilebuild.oracle.readers.ptx import read
from tilebuild.oracle.readers.ptx_text import Address, Group, Name, Number, Other, Register, SyntaxProblem
from tilebuild.plan.expr import Expr
from tilebuild.plan.model import Launch

HERE = Path(__file__).parent / "ptx"
SOURCE = (HERE / "shared.cu").read_text().split("\n")
SHARED, DEBUG = ((HERE / name).read_text() for name in ("shared.ptx", "debug.ptx"))
BOUNDS = {"sync": "off", "linear-use": "off"}  # races have tests of their own
LAUNCH = Launch((Expr.of(1),), shared_dynamic=256)


def expected() -> dict[str, set[tuple[str, int]]]:
    """By kernel the codes and lines that the comments of the source name; of an inlined function, its own line."""
    found: dict[str, set[tuple[str, int]]] = {}
    kernel = ""
    for number, line in enumerate(SOURCE, 1):
        name = re.search(r"KERNEL\((\w+),", line)
        kernel = name[1] if name else kernel
        if kernel and name and kernel != "name":
            found[kernel] = set()
        if kernel in found:
            found[kernel] |= {(code, number) for code in re.findall(r"O-PTX-\d+", line.partition("//")[2])}
    return found


EXPECTED = expected()
OPTIMISED = {r.kernel: r for r in judge_ptx(SHARED, "shared.ptx", launch=LAUNCH, severities=BOUNDS)}
UNOPTIMISED = {r.kernel: r for r in judge_ptx(DEBUG, "debug.ptx", launch=LAUNCH, severities=BOUNDS)}


def kernel(body: str, *, directives: str = ".reqntid 32, 1, 1", shared: str = ".shared .align 16 .b8 s[128];") -> str:
    head = ".version 8.0\n.target sm_80\n.address_size 64\n"
    registers = ".reg .pred %p<9>;\n.reg .b32 %r<9>;\n.reg .b64 %rd<9>;\n.reg .f32 %f<9>;"
    return f"{head}.visible .entry k(.param .u32 n)\n{directives}\n{{\n{registers}\n{shared}\n{body}\nret;\n}}\n"


def judged(body: str, launch: Launch | None = None, **parts: str) -> Report:
    (report,) = judge_ptx(kernel(body, **parts), "k.ptx", launch=launch, severities=BOUNDS)
    return report


def codes(report: Report) -> list[tuple[str, str]]:
    return [(f.code, f.outcome) for f in report.findings]


# -- what compilers made ----------------------------------------------------------------------------


def test_all_kernels_are_there() -> None:
    assert set(EXPECTED) == set(OPTIMISED) == set(UNOPTIMISED)
    assert len(EXPECTED) > 35


@pytest.mark.parametrize("name", EXPECTED)
def test_the_finding_is_on_its_line(name: str) -> None:
    report = OPTIMISED[name]
    outcome = {"ok": "proved", "bad": "violated", "open": "unknown", "hard": "unknown"}[name.split("_", maxsplit=1)[0]]
    assert report.outcome == outcome, [f.message for f in report.findings]
    assert (report.scope, report.artifact) == ("artifact", "shared.ptx")
    places = {(f.code, f.span.line) for f in report.findings if f.span is not None}
    assert all(f.span is None or f.span.file.endswith("shared.cu") for f in report.findings)
    assert places == EXPECTED[name]


@pytest.mark.parametrize("name", EXPECTED)
def test_code_that_is_not_optimised_gives_no_false_verdict(name: str) -> None:
    outcome = UNOPTIMISED[name].outcome
    assert outcome != "violated" if not name.startswith("bad") else outcome != "proved"


def test_most_of_it_is_decided_all_the_same() -> None:
    decided = [
        n for n, r in UNOPTIMISED.items() if r.outcome == {"ok": "proved", "bad": "violated"}.get(n.split("_")[0])
    ]
    assert len(decided) > 20


@pytest.mark.parametrize("name", [n for n in EXPECTED if n.startswith("ok_") and n not in ("ok_dynamic", "ok_call")])
def test_arrays_that_are_too_small(name: str) -> None:
    """Take the last element of each array away."""
    entry = re.compile(rf"(\.entry {name}\b.*?\.shared .align \d+ \.b8 \w+\[)(\d+)(\])", re.DOTALL)
    smaller, count = entry.subn(lambda m: f"{m[1]}{int(m[2]) - 4}{m[3]}", SHARED, count=1)
    assert count == 1
    report = next(r for r in judge_ptx(smaller, "x", launch=LAUNCH, severities=BOUNDS) if r.kernel == name)
    assert report.verdicts["operands"] != "proved"
    assert "O-PTX-01" in {f.code for f in report.findings}


def test_a_message_has_the_numbers_the_thread_and_both_lines() -> None:
    report = OPTIMISED["bad_guard"]
    (finding,) = report.findings
    assert re.fullmatch(
        r"st\.volatile\.shared\.f32 \(line \d+\) writes bytes 400\.\.404 of the shared array _ZZ9bad_guardE1s, "
        r"which has 400 bytes, where %tid\.x = 100",
        finding.message,
    )
    assert SHARED.split("\n")[(finding.artifact_line or 0) - 1].strip().startswith("st.volatile.shared.f32")
    shown = text(report)
    assert f"in shared.ptx:{finding.artifact_line}" in shown
    assert shown.endswith("bad_guard on gpu:sm_90: violated (operands violated, capacity proved)")
    assert verdict_entry(report)["scope"] == "artifact"
    assert '"artifact_line": ' in json_text([weigh("f", report, Policy())], {})
    assert [d.severity for d in diagnostics(report)] == ["error"]


def test_spans_of_the_source_that_was_compiled() -> None:
    spans = [Span("kernels.py", 1000 + n) for n in range(len(SOURCE))]
    report = next(
        r for r in judge_ptx(SHARED, "shared.ptx", spans=spans, severities=BOUNDS) if r.kernel == "bad_constant"
    )
    (line,) = (line for _, line in EXPECTED["bad_constant"])
    assert [f.span for f in report.findings] == [Span("kernels.py", 1000 + line - 1)]


# -- launches ---------------------------------------------------------------------------------------


def test_dynamic_shared_memory_needs_its_launch() -> None:
    without = next(r for r in judge_ptx(SHARED, "x", severities=BOUNDS) if r.kernel == "ok_dynamic")
    assert {f.code for f in without.findings} == {"O-PTX-07"}
    assert without.verdicts == {"operands": "unknown", "capacity": "unknown"}
    small = replace(LAUNCH, shared_dynamic=252)
    with_less = next(r for r in judge_ptx(SHARED, "x", launch={"ok_dynamic": small}) if r.kernel == "ok_dynamic")
    assert with_less.verdicts["operands"] == "violated"
    huge = replace(LAUNCH, shared_dynamic=228 * 1024)
    assert (
        next(r for r in judge_ptx(SHARED, "x", launch=huge) if r.kernel == "ok_dynamic").verdicts["capacity"]
        == "violated"
    )


STORE = "mov.u32 %r1, %tid.x;\nshl.b32 %r2, %r1, 2;\nmov.u32 %r3, s;\nadd.s32 %r4, %r3, %r2;\nst.shared.u32 [%r4], %r1;"


def test_the_block_bounds_the_threads() -> None:
    assert judged(STORE).outcome == "proved"
    assert codes(judged(STORE, directives=".reqntid 33, 1, 1")) == [("O-PTX-01", "violated")]
    assert codes(judged(STORE, directives=".maxntid 64, 1, 1")) == [("O-PTX-01", "unknown")]
    assert judged(STORE, directives=".maxntid 32, 1, 1").outcome == "proved"
    assert "with no .reqntid to bound it" in judged(STORE, directives="").findings[0].message
    assert judged(STORE, Launch((), block=(32, 2)), directives="").outcome == "proved"
    assert codes(judged(STORE, Launch((), block=(40,)), directives="")) == [("O-PTX-01", "violated")]


def test_limits_of_the_device() -> None:
    big = ".shared .align 16 .b8 s[49156];"
    assert codes(judged(STORE, shared=big)) == [("O-CAP-09", "violated")]
    assert codes(judged(STORE, shared=".shared .align 16 .b8 s[49152];")) == []
    assert [c for c, _ in codes(judged("ret;", directives=".reqntid 1025, 1, 1"))] == ["O-CAP-08"]
    assert [c for c, _ in codes(judged("ret;", directives=".reqntid 2, 2, 65"))] == ["O-CAP-08"]
    assert [c for c, _ in codes(judged("ret;", Launch((), block=(64,))))] == ["O-CAP-08"]  # against .reqntid 32
    assert [c for c, _ in codes(judged("ret;", Launch((), block=(64,)), directives=".maxntid 32"))] == ["O-CAP-08"]
    extern = kernel(STORE, shared="").replace(".visible", ".extern .shared .align 16 .b8 s[];\n.visible")
    (report,) = judge_ptx(extern, "x", arch="sm_999", launch=Launch((), shared_dynamic=1024))
    assert codes(report) == [("O-CAP-09", "unknown")]
    (report,) = judge_ptx(extern, "x", arch="sm_86", launch=Launch((), shared_dynamic=100 * 1024))
    assert codes(report) == [("O-CAP-09", "violated")]


def test_severities_and_time() -> None:
    (report,) = judge_ptx(kernel(STORE, directives=".reqntid 64"), "x", severities={**BOUNDS, "operands": "off"})
    assert report.verdicts == {"capacity": "proved"}
    (report,) = judge_ptx(kernel(STORE), "x", seconds=-1, severities=BOUNDS)
    assert codes(report) == [("O-PTX-06", "unknown")]


# -- what is not followed ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("ld.shared.u32 %r1, [%r2];", "O-PTX-03"),
        ("ld.shared.u32 %r1, [16];", "O-PTX-03"),
        ("mov.u32 %r1, s;\nadd.s32 %r2, %r1, %r1;\nld.shared.u32 %r3, [%r2];", "O-PTX-03"),
        ("cvta.shared.u64 %rd1, s;\nst.local.u64 [%rd2], %rd1;", "O-PTX-04"),
        ("mov.u32 %r1, s;\nst.global.u32 [%rd1], %r1;", "O-PTX-04"),
        ("tensormap.frobnicate.shared::cta [%rd1];", "O-PTX-05"),
        ("wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%f1, %f2, %f3, %f4}, %rd1, %rd2, 1, 1, 1;", "O-PTX-05"),
        ("bra $L2;\n$L1: add.s32 %r1, %r1, 1;\n$L2: ld.shared.u32 %r2, [s];\n@%p1 bra $L1;", ""),
        ("@%p1 bra $B;\n$A: add.s32 %r1, %r1, 1;\n$B: ld.shared.u32 %r2, [s];\n@%p2 bra $A;", "O-PTX-03"),
        ("bra $nowhere;\nld.shared.u32 %r2, [s];", "O-PTX-03"),
    ],
)  # fmt: skip
def test_what_is_not_known_is_said(body: str, code: str) -> None:
    report = judged(body)
    assert codes(report)[:1] == ([(code, "unknown")] if code else [])


def test_one_of_two_arrays() -> None:
    arrays = ".shared .align 16 .b8 s[128];\n.shared .align 16 .b8 t[64];"
    body = "mov.u32 %r1, s;\nmov.u32 %r2, t;\nselp.b32 %r3, %r1, %r2, %p1;\nld.shared.u32 %r4, [%r3];"
    report = judged(body, shared=arrays)
    assert codes(report) == [("O-PTX-03", "unknown")]
    assert "comes from s, t" in report.findings[0].message


@pytest.mark.parametrize(
    ("access", "outcome"),
    [
        ("ld.shared.v4.u32 {%r1, %r2, %r3, %r4}, [s+112];", "proved"),
        ("ld.shared.v4.u32 {%r1, %r2, %r3, %r4}, [s+116];", "violated"),
        ("ld.shared.u8 %r1, [s+127];", "proved"),
        ("ld.shared.u16 %r1, [s+127];", "violated"),
        ("st.shared.b64 [s+120], %rd1;", "proved"),
        ("st.shared.b64 [s+124], %rd1;", "violated"),
        ("red.shared.add.u32 [s+128], %r1;", "violated"),
        ("atom.shared.add.u32 %r1, [s+124], 1;", "proved"),
        ("mbarrier.init.shared.b64 [s+120], 32;", "proved"),
        ("mbarrier.init.shared.b64 [s+128], 32;", "violated"),
        ("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r1, %r2, %r3, %r4}, [s+112];", "proved"),
        ("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r1, %r2, %r3, %r4}, [s+128];", "violated"),
        ("cp.async.ca.shared.global [s+124], [%rd1], 4;", "proved"),
        ("cp.async.ca.shared.global [s+120], [%rd1], 16;", "violated"),
        ("ld.global.u32 %r1, [%rd1+1000];", "proved"),
        ("@%p1 ld.shared.u32 %r1, [s+128];", "violated"),
    ],
)
def test_every_kind_of_access(access: str, outcome: str) -> None:
    assert judged(access).outcome == outcome


# -- the reader -------------------------------------------------------------------------------------


def test_operands_and_directives() -> None:
    body = """
    .loc 2 17 5, function_name $L__info, inlined_at 1 30 9
    mov.u32 %r1, s+-4;
    .pragma "nounroll";
    ld.shared.v2.u32 {%r1, %r2}, [%r3+-8];
    setp.lt.and.s32 %p1|%p2, %r1, -5, !%p3;
    @!%p1 bra $L;
    mov.f32 %f1, 0f3F800000;
    { .reg .b32 t; .reg .pred %p1; mov.b32 t, 1; @%p1 bra $L; $L: mov.b32 %r1, t; }
    $T: .branchtargets $L, $M;
    brx.idx %r1, $T;
    $L: $M:
    call.uni (%r1), f, (%r2, 7);
    """
    text_ = (
        kernel(body, directives=".maxntid 32, 4, 1\n.minnctapersm 2\n.noreturn")
        + '.section .debug { .b8 1 }\n.frob "x" 1;'
    )
    module = read(text_.replace(".visible", '.file 1 "a.cu", 17, 18\n.file 2 "b.cu"\n.visible'), "k.ptx")
    (entry,) = module.entries
    assert (module.version, module.target, module.address_size) == ("8.0", "sm_80", 64)
    assert (module.files, module.unknown[0][0]) == ({1: "a.cu", 2: "b.cu"}, ".frob")
    assert entry.directives == {"maxntid": (32, 4, 1), "minnctapersm": (2,), "noreturn": ()}
    assert [(v.name, v.space, v.align, v.bytes) for v in entry.variables] == [("s", "shared", 16, 128)]
    assert entry.width("%r3") == 32
    assert entry.width("%rd3") == 64
    first, load, test, jump, number, *inner, switch, call, _ = entry.body
    assert (first.operands, first.loc) == ((Register("%r1"), Name("s", -4)), (2, 17))
    assert load.operands == (Group((Register("%r1"), Register("%r2"))), Address(Register("%r3"), -8))
    assert test.operands[0] == Group((Register("%p1"), Register("%p2")))
    assert test.operands[2:] == (Number(-5), Other("!%p3"))
    assert jump.guard == ("%p1", True)
    assert number.operands[1] == Other("0f3F800000")
    # an inner block's names are its own
    assert inner[0].operands[0] == inner[2].operands[1] != Register("t")
    assert inner[1].guard is not None
    assert inner[1].guard[0] not in ("%p1", "")
    assert inner[1].operands != jump.operands
    assert entry.tables == {"$T": ("$L", "$M")}
    assert switch.op == "brx"
    assert call.operands[1] == Name("f")


@pytest.mark.parametrize(
    "data",
    ["", "hello", ".version 8.0\n.target sm_80\n.visible .entry k(", "\x00", ".version 8.0", "{" * 5000, "a:" * 10,
     kernel("{" * 100), kernel("[" * 3000), kernel("mov.u32 %r1, " + "-" * 3000 + "1;"), kernel("ld.shared.u32 ["),
     "/*"],
)  # fmt: skip
def test_what_is_no_ptx(data: str) -> None:
    with pytest.raises(SyntaxProblem):
        judge_ptx(data, "x")


CUT = SHARED.split("\n")[:330]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_text_gets_a_verdict_or_a_reason(data: st.DataObject) -> None:
    lines = list(CUT)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(min(8, len(lines) - 1), len(lines) - 1))
        action = data.draw(st.sampled_from(("drop", "double", "cut", "swap", "word", "end")))
        if action == "drop" and len(lines) > 1:
            del lines[at]
        elif action == "double":
            lines.insert(at, lines[data.draw(st.integers(0, len(lines) - 1))])
        elif action == "cut":
            lines[at] = lines[at][: data.draw(st.integers(0, len(lines[at])))]
        elif action == "swap":
            other = data.draw(st.integers(0, len(lines) - 1))
            lines[at], lines[other] = lines[other], lines[at]
        elif action == "word":
            words = data.draw(
                st.sampled_from(("%r1", "%tid.x", "0xFFFFFFFFFFFFFFFF", "-1", "s", "u64", "{", "]", "v4", ""))
            )
            lines[at] = re.sub(r"%?\w+(?=[,;\]])", lambda _, words=words: words, lines[at], count=1)
        else:
            lines = lines[: max(at, 8) + 1]
    try:
        reports = judge_ptx("\n".join(lines), "x", seconds=5)
    except SyntaxProblem:
        return
    for report in reports:
        assert set(report.verdicts) == {"operands", "capacity", "sync", "linear-use"}
        assert "O-INTERNAL" not in {f.code for f in report.findings}, report.findings


@settings(max_examples=60, deadline=None)
@given(st.text())
def test_random_text_is_no_ptx(data: str) -> None:
    with pytest.raises(SyntaxProblem):
        judge_ptx(data, "x")
