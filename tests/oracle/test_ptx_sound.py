"""Random kernels, judged and run: what is proved stays inside, what is violated does not."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from ptx_machine import Thread

from tilebuild.oracle import judge_ptx
from tilebuild.oracle.readers.ptx import read

THREADS = 48
HEAD = """.version 8.0
.target sm_80
.address_size 64
.visible .entry k(.param .u32 n)
.reqntid {threads}, 1, 1
{{
.reg .pred %p<9>;
.reg .b32 %r<40>;
.shared .align 4 .b8 s[{size}];
mov.u32 %r0, %tid.x;
ld.param.u32 %r1, [n];
mov.u32 %r9, s;
"""
REGISTERS = ("%r0", "%r0", "%r2", "%r3", "%r4", "%r5")
SMALL = st.sampled_from((0, 1, 2, 3, 4, 5, 7, 8, 12, 16, 31, 32, 33, 48, 64, 100, -1, -4))
OPERATIONS = (
    "add.s32", "add.s32", "sub.s32", "mul.lo.s32", "and.b32", "or.b32", "xor.b32", "min.s32", "max.s32", "min.u32",
    "max.u32", "add.u32", "mad.lo.s32", "shl.b32", "shr.u32", "shr.s32", "div.u32", "rem.u32", "div.s32", "rem.s32",
)  # fmt: skip
TESTS = [f"setp.{op}.{kind}" for op in ("lt", "le", "gt", "ge", "eq", "ne") for kind in ("s32", "u32")]


@st.composite
def operations(draw: st.DrawFn) -> str:
    op, to = draw(st.sampled_from(OPERATIONS)), draw(st.sampled_from(REGISTERS[2:]))
    a = draw(st.sampled_from((*REGISTERS, "%r1") if draw(st.booleans()) else REGISTERS))
    if op.startswith(("shl", "shr")):
        return f"{op} {to}, {a}, {draw(st.sampled_from((0, 1, 2, 3, 5)))};"
    if op.startswith(("div", "rem")):
        return f"{op} {to}, {a}, {draw(st.sampled_from((1, 2, 3, 4, 5, 7, 8, 16, 31, 36)))};"
    b = draw(SMALL) if draw(st.booleans()) else draw(st.sampled_from(REGISTERS))
    third = f", {draw(st.sampled_from(REGISTERS))}" if op.startswith("mad") else ""
    return f"{op} {to}, {a}, {b}{third};"


@st.composite
def bodies(draw: st.DrawFn, depth: int = 2) -> list[str]:
    lines: list[str] = []
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(("op", "op", "op", "op", "guarded", "if", "loop", "touch", "selp")))
        label, p = f"$L{draw(st.integers(0, 10**9))}", f"%p{draw(st.integers(1, 8))}"
        a, b = draw(st.sampled_from(REGISTERS)), draw(st.one_of(SMALL, st.sampled_from((*REGISTERS, "%r1"))))
        test = f"{draw(st.sampled_from(TESTS))} {p}, {a}, {b};"
        if kind == "op" or (depth == 0 and kind in ("if", "loop")):
            lines.append(draw(operations()))
        elif kind == "selp":
            lines += [test, f"selp.b32 {draw(st.sampled_from(REGISTERS[2:]))}, {a}, {draw(SMALL)}, {p};"]
        elif kind == "guarded":
            lines += [test, f"@{draw(st.sampled_from(('', '!')))}{p} {draw(operations())}"]
        elif kind == "if":
            lines += [test, f"@{p} bra {label};", *draw(bodies(depth - 1)), f"{label}:"]
        elif kind == "loop":
            count = draw(st.integers(1, 9))
            counter, step = f"%r{20 + depth}", draw(st.sampled_from((1, 2, 3)))
            bound = draw(st.sampled_from(("lt.s32", "ne.s32", "lt.u32")))
            until = count * step if bound == "ne.s32" else count
            lines += [f"mov.u32 {counter}, 0;", f"{label}:", *draw(bodies(depth - 1))]
            moved = draw(st.sampled_from(REGISTERS[2:]))
            lines += [f"add.s32 {moved}, {counter}, {draw(SMALL)};"] if draw(st.booleans()) else []
            lines += [f"add.s32 {counter}, {counter}, {step};", f"setp.{bound} {p}, {counter}, {until};"]
            lines += [f"@{p} bra {label};"]
        else:
            lines += draw(touches())
    return lines


@st.composite
def touches(draw: st.DrawFn) -> list[str]:
    index = draw(st.sampled_from(REGISTERS))
    return [
        f"shl.b32 %r8, {index}, 2;",
        "add.s32 %r8, %r9, %r8;",
        f"st.shared.u32 [%r8+{draw(st.sampled_from((0, 4, 16, -4)))}], %r0;",
    ]


@settings(max_examples=80, deadline=None)
@given(lines=bodies(), last=touches(), size=st.sampled_from((64, 128, 192, 256, 400, 1024)))
def test_the_verdict_is_true(lines: list[str], last: list[str], size: int) -> None:
    start = [f"mov.u32 {r}, {k};" for k, r in enumerate(REGISTERS[2:])]
    body = "\n".join([*start, *lines, *last, "ret;", "}"])
    text = HEAD.format(threads=THREADS, size=size) + body
    (report,) = judge_ptx(text, "k.ptx")
    assert "O-INTERNAL" not in {f.code for f in report.findings}
    bounds = [f for f in report.findings if f.code == "O-PTX-01"]
    (kernel,) = read(text, "k.ptx").entries
    runs = [Thread(kernel, t, n).run() for t in range(THREADS) for n in (0, 5, 40, 1000, 2**31, 2**32 - 1)]
    wrong = sorted({at for run in runs for at in run if not 0 <= at <= size - 4})
    if report.verdicts["operands"] == "proved":
        assert not wrong, text
    if any(f.outcome == "violated" for f in bounds):
        assert wrong, (text, [f.message for f in bounds])
