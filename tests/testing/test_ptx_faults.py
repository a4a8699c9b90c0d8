"""What the PTX emulator refuses, and how it says so: the code, the PTX line, the thread and the address."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ptx_snippets import HEAD, entry

from tilebuild.diagnostics import Diagnostic, TilebuildError
from tilebuild.testing.ptx import Placed, Structure, emulate

TILE = ".shared .align 16 .b8 tile[256];"


def fault(text: str, *arguments: Any, block: int = 64, grid: int = 1, **options: Any) -> Diagnostic:
    with pytest.raises(TilebuildError) as caught:
        emulate(text, options.pop("entry", "k"), grid, block, list(arguments), **options)
    (diagnostic,) = caught.value.diagnostics
    return diagnostic


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


def check(found: Diagnostic, code: str, text: str, part: str, *words: str) -> None:
    assert found.code == code, found
    assert found.span is not None
    assert found.span.line == line_of(text, part)
    for word in words:
        assert word in found.message
    assert found.fix


X = np.zeros(64, np.float32)


def test_an_access_past_an_array() -> None:
    text = entry("mad.wide.u32 %at0, %t, 8, %p0;\nld.global.f32 %f0, [%at0+4];", 1)
    found = fault(text, X)
    check(found, "EMU-04", text, "ld.global", "ld.global.f32 reads 4 bytes", "thread (32,0,0) of block (0,0,0)")
    assert "4 bytes past the end of argument 0 (p0) (256 bytes)" in found.message


def test_an_access_between_the_rows_of_an_array() -> None:
    text = entry("mad.wide.u32 %at0, %t, 4, %p0;\nst.global.u32 [%at0], %t;", 1)
    base = np.zeros((4, 24), np.float32)
    found = fault(text, base[:, :16], block=32)
    check(found, "EMU-04", text, "st.global", "writes 4 bytes", "thread (16,0,0)", "no element")
    assert (base == 0).all()  # what went wrong leaves arrays as they were


@pytest.mark.parametrize("space", ["shared", "local", "generic"])
def test_an_access_past_the_other_memories(space: str) -> None:
    declare = ".local .align 16 .b8 mine[256]; mov.u64 %d0, mine;" if space == "local" else "mov.u64 %d0, tile;"
    if space == "generic":
        declare += "cvta.shared.u64 %d0, %d0;"
    suffix = "" if space == "generic" else f".{space}"
    text = entry(f"{declare} mad.wide.u32 %d0, %t, 8, %d0;\nst{suffix}.u32 [%d0], %t;", 1, TILE)
    check(fault(text, X), "EMU-04", text, "st.", "st", "has 256 bytes", "thread (32,0,0)")


def test_an_address_of_no_array() -> None:
    text = entry("mov.u64 %d0, 16;\nld.global.u32 %r0, [%d0];", 1)
    check(fault(text, X), "EMU-04", text, "ld.global", "0x10")


def test_a_misaligned_access() -> None:
    text = entry("ld.global.v2.f32 {%f0, %f1}, [%p0+4];", 1)
    check(fault(text, X), "EMU-05", text, "ld.global", "not aligned to 8 bytes")
    text = entry("ld.global.v4.f32 {%f0, %f1, %f2, %f3}, [%p0];", 1)
    check(fault(text, Placed(X, 8)), "EMU-05", text, "ld.global", "not aligned to 16 bytes")
    emulate(text, "k", 1, 64, [Placed(X, 16)])


def test_a_write_to_what_is_read_only() -> None:
    fixed = X.copy()
    fixed.setflags(write=False)
    text = entry("st.global.u32 [%p0+8], %t;", 1)
    check(fault(text, fixed), "EMU-06", text, "st.global", "byte 8 of argument 0 (p0)", "read-only")
    table = entry("mov.u64 %d0, table;\nst.global.u32 [%d0], %t;", 1, ".const .u32 table[2] = {1, 2};")
    check(fault(table, X), "EMU-06", table, "st.global", "table")


def test_shared_memory_that_nothing_wrote() -> None:
    text = entry("ld.shared.u32 %r0, [tile+12]; mad.wide.u32 %at0, %t, 4, %p0; st.global.u32 [%at0], %r0;", 1, TILE)
    found = fault(text, X, strict=True)
    check(found, "EMU-07", text, "ld.shared", "4 bytes at shared address 0xc that nothing wrote")
    out = np.zeros(64, np.float32)
    emulate(text, "k", 1, 64, [out])
    assert np.isnan(out).all()
    copying = entry(
        "st.shared.v4.u32 [tile], {%t, %t, %t, %t};\ncp.async.ca.shared.global [tile], [%p0], 16;\n"
        "ld.shared.u32 %r0, [tile];",
        1, TILE,
    )  # fmt: skip
    check(fault(copying, X, strict=True, block=1), "EMU-07", copying, "ld.shared.u32")


@pytest.mark.parametrize(
    ("guard", "words"),
    [
        ("setp.lt.u32 %q0, %t, 7;", ("thread (7,0,0)", "has exited")),
        ("setp.lt.u32 %q0, %t, 32;", ("thread (32,0,0)", "has exited")),
    ],
)
def test_a_barrier_that_some_threads_skip(guard: str, words: tuple[str, ...]) -> None:
    text = entry(f"{guard}\n@%q0 bar.sync 0;", 1)
    check(fault(text, X), "EMU-08", text, "@%q0 bar", "bar.sync", *words)


def test_a_barrier_that_a_warp_reaches_in_two_places() -> None:
    text = entry("setp.lt.u32 %q0, %t, 7; @%q0 bra OTHER;\nbar.sync 0; bra DONE;\nOTHER: bar.sync 0;\nDONE:", 1)
    found = fault(text, X)
    assert found.code == "EMU-08"
    assert "of its warp does not" in found.message
    # without .aligned that is right
    emulate(text.replace("bar.sync", "barrier.sync"), "k", 1, 64, [X])
    # and so are two places for two warps
    emulate(text.replace("%t, 7", "%t, 32"), "k", 1, 64, [X])


def test_threads_that_wait_for_each_other() -> None:
    text = entry("setp.lt.u32 %q0, %t, 7;\n@%q0 shfl.sync.bfly.b32 %r0, %t, 1, 31, -1;", 1)
    # the others have exited: they are not waited for
    emulate(text, "k", 1, 64, [X])
    waiting = entry(
        "setp.lt.u32 %q0, %t, 7; @%q0 bra FIRST;\nvote.sync.all.pred %q1, %q0, -1;\nbra DONE;\n"
        "FIRST: shfl.sync.bfly.b32 %r0, %t, 1, 31, -1;\nDONE: ret;",
        1,
    )
    found = fault(waiting, X)
    assert found.code == "EMU-09"
    assert re.search(
        r"thread \(\d+,0,0\) .* waits for other threads of its warp, and thread .* waits at line", found.message
    )


def test_a_mask_without_the_thread_itself() -> None:
    text = entry("vote.sync.all.pred %q1, 1, 0xfffe;", 1)
    check(fault(text, X, block=32), "EMU-09", text, "vote", "does not name thread (0,0,0)")


def test_a_kernel_that_does_not_end() -> None:
    text = entry("AGAIN:\nadd.u32 %r0, %r0, 1; bra AGAIN;", 1)
    check(fault(text, X, limit=1000), "EMU-10", text, "add.u32", "1000 instructions")


def test_a_trap_and_an_assertion() -> None:
    text = entry("setp.eq.u32 %q0, %t, 33;\n@%q0 trap;", 1)
    check(fault(text, X), "EMU-11", text, "@%q0 trap", "thread (33,0,0)")
    declared = ".extern .func __assertfail ();\n"
    text = entry("setp.eq.u32 %q0, %t, 33;\n@%q0 call __assertfail;", 1, declared)
    check(fault(text, X), "EMU-11", text, "@%q0 call", "assertion", "thread (33,0,0)")


@pytest.mark.parametrize(
    "instruction",
    ["frobnicate.b32 %r0, %r1", "add.wobbly.s32 %r0, %r0, %r1", "tex.1d.v4.f32.f32 {%f0, %f1, %f2, %f3}, %d0",
     "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 %f0, %r0, %r1, %f1", "ld.global.weird.f32 %f0, [%p0]",
     "add.s32 %r0, %r1", "wgmma.fence.sync.aligned", "cp.async.bulk.commit_group", "mbarrier.init.shared.b64 [%r0], 1",
     "shfl.bfly.b32 %r0, %r1, 1, 31",
     "add.b32 %r0, %r1, %r1", "add.rn.f32x2 %d0, %d1, %d1", "ld.global.b128 %d0, [%p0]"],
)  # fmt: skip
def test_what_is_not_known(instruction: str) -> None:
    """Even where no thread comes to it."""
    text = entry(f"ret;\n{instruction};", 1)
    check(fault(text, X), "EMU-02", text, instruction, instruction.split(maxsplit=1)[0], "not known")


def test_recursion() -> None:
    text = f"{HEAD}.func f () {{\ncall f;\nret; }}\n.visible .entry k() {{ call f; ret; }}"
    found = fault(text, entry="k")
    assert found.code == "EMU-02"
    assert "recursive" in found.message


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\n.visible .entry k( {", 2),
        (HEAD + ".entry k() { add.s32 %r0, ", 4),
        ("\n\n`", 3),
        (HEAD + ".reg .b32 %r;", 4),
    ],
)
def test_what_is_no_ptx(text: str, line: int) -> None:
    found = fault(text)
    assert found.code in ("EMU-01", "EMU-02")
    assert found.span is not None
    assert found.span.line == line


def test_undeclared_names() -> None:
    for body in ("bra NOWHERE;", "mov.u64 %d0, nothing;", "add.s32 %nope, %r0, %r1;"):
        assert fault(entry(body, 1), X).code in ("EMU-01", "EMU-02")


def test_arguments() -> None:
    text = entry("", 2)
    assert "2 parameters (p0, p1); 1 arguments" in fault(text, X).message
    assert fault(text, X, X, entry="j").message.startswith('the text has no entry "j"')
    assert fault(text, X, X, block=2048).code == "EMU-03"
    small = HEAD + ".visible .entry k(.param .u8 a, .param .align 8 .b8 s[16]) .maxntid 32 { ret; }"
    assert "does not fit a" in fault(small, 300, bytes(16), block=32).message
    assert "has 16 bytes; 12 were given" in fault(small, 3, bytes(12), block=32).message
    assert "is no pointer" in fault(small, X, bytes(16), block=32).message
    assert ".maxntid" in fault(small, 3, bytes(16)).message
    emulate(small, "k", 1, 32, [3, Structure([X, 1.5], "Pd")])


def test_arrays_that_share_memory_do_so() -> None:
    x = np.arange(64, dtype=np.float32)
    body = "mad.wide.u32 %at0, %t, 4, %p0; ld.global.f32 %f0, [%at0];"
    body += "mad.wide.u32 %at1, %t, 4, %p1; st.global.f32 [%at1], %f0;"
    emulate(entry(body, 2), "k", 1, 32, [x[:32], x[16:48]])
    np.testing.assert_array_equal(x[16:48], np.arange(32))


def test_the_same_seed_gives_the_same_run() -> None:
    body = "atom.global.exch.b32 %r0, [%p0], %t; mad.wide.u32 %at0, %t, 4, %p1; st.global.u32 [%at0], %r0;"
    results = []
    for seed in (0, 0, 1, 2, 3):
        cell, seen = np.zeros(1, np.uint32), np.zeros(256, np.uint32)
        emulate(entry(body, 2), "k", 1, 256, [cell, seen], seed=seed)
        results.append(seen.tobytes())
    assert results[0] == results[1]
    assert len(set(results)) == 4


def test_every_code_is_documented() -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs/errors/emulator.md").read_text(encoding="utf-8")
    source = "".join(p.read_text(encoding="utf-8") for p in (root / "tilebuild/testing/ptx").glob("*.py"))
    documented = set(re.findall(r"^## (EMU-\d+)$", page, re.MULTILINE))
    assert set(re.findall(r'"(EMU-\d+)"', source)) == documented
