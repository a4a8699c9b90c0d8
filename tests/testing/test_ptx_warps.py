"""What threads do together on the PTX emulator: shuffles, votes, matrices, barriers, atomics, asynchronous copies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ptx_snippets import elementwise, entry

from tilebuild.testing.ptx import emulate

RNG = np.random.default_rng(0)
LANES = np.arange(64)


def values(dtype: Any = np.uint32) -> Any:
    return RNG.integers(0, 1 << 31, 64).astype(dtype)


SHUFFLES: list[tuple[str, Callable[[Any], Any]]] = [
    ("bfly.b32 %y, %x0, 5, 31", lambda lane: lane ^ 5),
    ("down.b32 %y, %x0, 3, 31", lambda lane: np.where(lane + 3 < 32, lane + 3, lane)),
    ("up.b32 %y, %x0, 3, 0", lambda lane: np.where(lane >= 3, lane - 3, lane)),
    ("idx.b32 %y, %x0, 7, 31", lambda lane: 7 + 0 * lane),
    # segments of 8 lanes: the mask of the segment's number is 0b11000, in the upper bits of the last operand
    ("down.b32 %y, %x0, 3, 0x181f", lambda lane: np.where(lane % 8 + 3 < 8, lane + 3, lane)),
    ("up.b32 %y, %x0, 3, 0x1800", lambda lane: np.where(lane % 8 >= 3, lane - 3, lane)),
    ("idx.b32 %y, %x0, 5, 0x181f", lambda lane: lane // 8 * 8 + 5),
]


@pytest.mark.parametrize(("text", "source"), SHUFFLES, ids=[t for t, _ in SHUFFLES])
def test_shuffles(text: str, source: Callable[[Any], Any]) -> None:
    x = values()
    want = x[LANES // 32 * 32 + source(LANES % 32)]
    np.testing.assert_array_equal(elementwise(f"shfl.sync.{text}, -1;", [x], np.uint32), want)


def test_a_shuffle_says_whether_its_source_was_there() -> None:
    text = "shfl.sync.down.b32 %r0|%q0, %x0, 4, 31, 0xffffffff; selp.u32 %y, 1, 0, %q0;"
    np.testing.assert_array_equal(elementwise(text, [values()], np.uint32), LANES % 32 + 4 < 32)


def test_votes() -> None:
    x = values()
    odd = (x & 1 != 0).reshape(2, 32)
    ballots = (odd * (1 << np.arange(32, dtype=np.uint64))).sum(1).astype(np.uint32)
    setp = "and.b32 %r0, %x0, 1; setp.ne.u32 %q0, %r0, 0;"
    got = elementwise(f"{setp} vote.sync.ballot.b32 %y, %q0, -1;", [x], np.uint32)
    np.testing.assert_array_equal(got, np.repeat(ballots, 32))
    # half of each warp at a time: the others are not in the mask
    half = f"{setp} mov.u32 %y, 0; and.b32 %r1, %t, 16; setp.ne.u32 %q1, %r1, 0; @%q1 bra UPPER;"
    half += "vote.sync.ballot.b32 %y, %q0, 0xffff; bra DONE; UPPER: vote.sync.ballot.b32 %y, %q0, 0xffff0000; DONE:"
    want = np.where(LANES % 32 < 16, np.repeat(ballots, 32) & 0xFFFF, np.repeat(ballots, 32) & 0xFFFF0000)
    np.testing.assert_array_equal(elementwise(half, [x], np.uint32), want)
    every = elementwise(
        "setp.ge.u32 %q0, %x0, 0; vote.sync.all.pred %q1, %q0, -1; selp.u32 %y, 1, 0, %q1;", [x], np.uint32
    )
    assert every.all()


def test_matches_and_reductions() -> None:
    x = RNG.integers(0, 4, 64).astype(np.uint32)
    rows = x.reshape(2, 32)
    masks = ((rows[:, :, None] == rows[:, None, :]) << np.arange(32, dtype=np.uint64)).sum(2).reshape(-1)
    np.testing.assert_array_equal(elementwise("match.any.sync.b32 %y, %x0, -1;", [x], np.uint32), masks)
    np.testing.assert_array_equal(
        elementwise("redux.sync.add.u32 %y, %x0, -1;", [x], np.uint32), np.repeat(rows.sum(1), 32)
    )
    signed = RNG.integers(-9, 9, 64).astype(np.int32)
    least = np.repeat(signed.reshape(2, 32).min(1), 32)
    np.testing.assert_array_equal(elementwise("redux.sync.min.s32 %y, %x0, -1;", [signed], np.int32), least)


def test_divided_threads_meet_again() -> None:
    """A loop whose count differs from thread to thread, then a shuffle of all."""
    text = """and.b32 %r0, %t, 7; mov.u32 %r1, 0;
    LOOP: setp.ge.u32 %q0, %r1, %r0; @%q0 bra OUT; add.u32 %r1, %r1, 1; bra LOOP;
    OUT: shfl.sync.bfly.b32 %y, %r1, 1, 31, -1;"""
    np.testing.assert_array_equal(elementwise(text, [values()], np.uint32), (LANES ^ 1) % 8)


PRODUCTS = [  # shape, type of a and b, how many registers a, b and c have, numbers in a register
    ("m16n8k16", "f16", 4, 2, 4, 2), ("m16n8k8", "f16", 2, 1, 4, 2), ("m16n8k16", "bf16", 4, 2, 4, 2),
    ("m16n8k8", "tf32", 4, 2, 4, 1), ("m16n8k4", "tf32", 2, 1, 4, 1), ("m16n8k32", "s8", 4, 2, 4, 4),
    ("m16n8k16", "u8", 2, 1, 4, 4), ("m8n8k16", "s8", 1, 1, 2, 4), ("m16n8k64", "s4", 4, 2, 4, 8),
    ("m8n8k4", "f64", 1, 1, 2, 1),
]  # fmt: skip


def packed(matrix: Any, kind: str) -> Any:
    """[lane, register] words of [lane, register, number]."""
    if kind == "f64":
        return matrix.view(np.uint64)[..., 0]
    if kind == "f16":
        return matrix.astype(np.float16).view(np.uint32)[..., 0]
    if kind == "bf16":
        upper = (matrix.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
        return np.ascontiguousarray(upper).view(np.uint32)[..., 0]
    if kind == "tf32":
        return matrix.astype(np.float32).view(np.uint32)[..., 0]
    if kind[1:] == "8":
        return np.ascontiguousarray(matrix.astype(np.int8)).view("u4")[..., 0]
    return ((matrix.astype(np.int64) & 15) << np.arange(0, 32, 4)).sum(-1).astype(np.uint32)


@pytest.mark.parametrize("product", PRODUCTS, ids=[f"{p[0]}.{p[1]}" for p in PRODUCTS])
def test_matrix_products(product: tuple[str, str, int, int, int, int]) -> None:
    """Small integers, exact in every format, laid out as the PTX ISA's formulas for single elements say."""
    shape, kind, a_count, b_count, c_count, each = product
    m, k = int(shape[1 : shape.index("n")]), int(shape[shape.index("k") + 1 :])
    low = 0 if kind[0] == "u" else -4
    a, b, c = RNG.integers(low, 5, (m, k)), RNG.integers(low, 5, (k, 8)), RNG.integers(-9, 9, (m, 8))
    a_part, b_part, c_part = np.zeros((32, a_count, each)), np.zeros((32, b_count, each)), np.zeros((32, c_count))
    for lane in range(32):
        group, place = divmod(lane, 4)
        for r in range(a_count):
            for j in range(each):
                row = group + 8 * (r % 2 if m == 16 else 0)
                column = place * each + j + 4 * each * (r // 2 if m == 16 else r)
                a_part[lane, r, j] = a[row, column]
        for r in range(b_count):
            for j in range(each):
                b_part[lane, r, j] = b[place * each + j + 4 * each * r, group]
        for r in range(c_count):
            c_part[lane, r] = c[group + 8 * (r // 2), 2 * place + r % 2]
    result = "f64" if kind == "f64" else "f32" if "f" in kind else "s32"
    bits, size = ("b64", 8) if kind == "f64" else ("b32", 4)
    accumulator = {"f64": np.float64, "f32": np.float32, "s32": np.int32}[result]
    lines, names = [], {}
    for n, (name, count) in enumerate((("a", a_count), ("b", b_count), ("c", c_count), ("d", c_count))):
        names[name] = "{" + ", ".join(f"%{name}{i}" for i in range(count)) + "}"
        lines.append(f".reg .{bits} %{name}<{count}>;")
        for i in range(count if name != "d" else 0):
            lines.append(
                f"mad.wide.u32 %at0, %t, {size * count}, %p{n}; ld.global.{bits} %{name}{i}, [%at0+{size * i}];"
            )
    operands = ", ".join(names[n] for n in "dabc")
    lines.append(f"mma.sync.aligned.{shape}.row.col.{result}.{kind}.{kind}.{result} {operands};")
    lines.append(f"mad.wide.u32 %at0, %t, {size * c_count}, %p3;")
    lines += [f"st.global.{bits} [%at0+{size * i}], %d{i};" for i in range(c_count)]
    out = np.zeros((32, c_count), accumulator)
    arguments = [packed(a_part, kind), packed(b_part, kind), c_part.astype(accumulator), out]
    emulate(entry("\n".join(lines), 4), "k", 1, 32, arguments)
    want = a @ b + c
    for lane in range(32):
        for r in range(c_count):
            assert out[lane, r] == want[lane // 4 + 8 * (r // 2), 2 * (lane % 4) + r % 2]


@pytest.mark.parametrize("transposed", [False, True])
def test_ldmatrix(transposed: bool) -> None:
    """Four 8 x 8 matrices whose rows lie apart."""
    matrices = RNG.integers(0, 1 << 16, (4, 8, 8)).astype(np.uint16)
    body = f"""mad.wide.u32 %at0, %t, 16, %p0; ld.global.v4.b32 {{%r0, %r1, %r2, %r3}}, [%at0];
    mov.u32 %r4, tile; mad.lo.u32 %r4, %t, 48, %r4; st.shared.v4.b32 [%r4], {{%r0, %r1, %r2, %r3}}; bar.warp.sync -1;
    ldmatrix.sync.aligned.m8n8.x4{".trans" if transposed else ""}.shared.b16 {{%r5, %r6, %r7, %r8}}, [%r4];
    mad.wide.u32 %at1, %t, 16, %p1; st.global.v4.b32 [%at1], {{%r5, %r6, %r7, %r8}};"""
    out = np.zeros((32, 4), np.uint32)
    emulate(entry(body, 2, ".shared .align 16 .b8 tile[1536];"), "k", 1, 32, [matrices, out], strict=True)
    want = matrices.swapaxes(1, 2) if transposed else matrices
    pairs = np.ascontiguousarray(want).view(np.uint32)  # [matrix, row, pair]
    np.testing.assert_array_equal(out, pairs.reshape(4, 32).T)


@pytest.mark.parametrize("space", ["global", "shared"])
def test_atomics(space: str) -> None:
    """All threads of three blocks add; each sees another number before."""
    setup = "mov.u64 %d0, %p0;" if space == "global" else "mov.u64 %d0, counter; st.shared.u32 [%d0], 0; bar.sync 0;"
    body = f"""{setup} atom.{space}.add.u32 %r0, [%d0], 1; mov.u32 %r1, %ctaid.x; mad.lo.u32 %r1, %r1, 64, %t;
    mad.wide.u32 %at0, %r1, 4, %p1; st.global.u32 [%at0], %r0;"""
    total, seen = np.zeros(1, np.uint32), np.zeros((3, 64), np.uint32)
    emulate(entry(body, 2, ".shared .align 4 .b8 counter[4];"), "k", 3, 64, [total, seen])
    if space == "global":
        assert total[0] == 192
        np.testing.assert_array_equal(np.sort(seen, None), np.arange(192))
    else:
        np.testing.assert_array_equal(np.sort(seen, 1), np.tile(np.arange(64), (3, 1)))


ATOMICS = [
    ("red.global.max.s32 [%p0], %r0;", np.int32, lambda x: x.max()),
    ("red.global.xor.b32 [%p0], %r0;", np.int32, np.bitwise_xor.reduce),
    ("red.global.add.f32 [%p0], %r0;", np.float32, lambda x: x.sum()),
    ("atom.inc.u32 %r1, [%p0], 9;", np.uint32, lambda x: 64 % 10),
    ("red.global.add.noftz.f16x2 [%p0], %r0;", np.float16, lambda x: x.reshape(-1, 2).sum(0)),
]  # fmt: skip


@pytest.mark.parametrize(("text", "dtype", "function"), ATOMICS, ids=[t[0] for t in ATOMICS])
def test_atomic_operations(text: str, dtype: Any, function: Callable[[Any], Any]) -> None:
    x = RNG.integers(0, 9, 256 // np.dtype(dtype).itemsize).astype(dtype)
    result = np.zeros(4 // np.dtype(dtype).itemsize, dtype)
    body = f"mad.wide.u32 %at0, %t, 4, %p1; ld.global.b32 %r0, [%at0]; {text}"
    emulate(entry(body, 2), "k", 1, 64, [result, x])
    np.testing.assert_array_equal(result, function(x))


def test_compare_and_swap() -> None:
    body = "add.u32 %r0, %t, 1; atom.global.cas.b32 %r1, [%p0], 0, %r0;"
    body += "mad.wide.u32 %at0, %t, 4, %p1; st.global.u32 [%at0], %r1;"
    cell, before = np.zeros(1, np.uint32), np.zeros(64, np.uint32)
    emulate(entry(body, 2), "k", 1, 64, [cell, before])
    winner = int(cell[0])
    assert 1 <= winner <= 64
    np.testing.assert_array_equal(before, np.where(winner == LANES + 1, 0, winner))


def test_named_barriers_and_reductions() -> None:
    """Two warps produce and go on, two wait; then all count."""
    body = """.reg .u32 %n; mov.u32 %r0, slots; mad.lo.u32 %r1, %t, 4, %r0; setp.lt.u32 %q0, %t, 64; @!%q0 bra CONSUME;
    st.shared.u32 [%r1], %t; bar.arrive 3, 128; bra BOTH;
    CONSUME: bar.sync 3, 128; sub.u32 %r1, %r1, 256; ld.shared.u32 %n, [%r1]; add.u32 %r2, %t, -64;
    setp.ne.u32 %q1, %n, %r2; @%q1 trap;
    BOTH: setp.lt.u32 %q2, %t, 40; barrier.cta.red.popc.aligned.u32 %r3, 0, %q2; mad.wide.u32 %at0, %t, 4, %p0;
    st.global.u32 [%at0], %r3;"""
    for seed in range(4):
        out = np.zeros(128, np.uint32)
        emulate(entry(body, 1, ".shared .align 4 .b8 slots[256];"), "k", 1, 128, [out], strict=True, seed=seed)
        assert (out == 40).all()


COPY = """mov.u32 %r0, tile; mad.lo.u32 %r0, %t, 16, %r0; mad.wide.u32 %at0, %t, 16, %p0;
cp.async.cg.shared.global [%r0], [%at0], 16; cp.async.commit_group; {wait} bar.sync 0;
ld.shared.v4.b32 {{%r1, %r2, %r3, %r4}}, [%r0];
mad.wide.u32 %at1, %t, 16, %p1; st.global.v4.b32 [%at1], {{%r1, %r2, %r3, %r4}};"""


@pytest.mark.parametrize(("wait", "right"), [("cp.async.wait_group 0;", True), ("cp.async.wait_all;", True),
                                             ("cp.async.wait_group 1;", False), ("", False)])  # fmt: skip
def test_asynchronous_copies_are_late(wait: str, right: bool) -> None:
    x, out = RNG.standard_normal((32, 4)).astype(np.float32), np.zeros((32, 4), np.float32)
    emulate(entry(COPY.format(wait=wait), 2, ".shared .align 16 .b8 tile[512];"), "k", 1, 32, [x, out])
    if right:
        np.testing.assert_array_equal(out, x)
    else:
        assert np.isnan(out).all()


def test_blocks_of_three_dimensions_and_several_batches() -> None:
    """More blocks than run at once, each thread writing where it is."""
    names = [f"%{n}.{axis}" for n in ("tid", "ctaid") for axis in "xyz"]
    reads = " ".join(f"mov.u32 %r{n}, {name};" for n, name in enumerate(names))
    body = f"""{reads} mov.u32 %r6, %nctaid.x; mov.u32 %r7, %nctaid.y; mad.lo.u32 %r8, %r5, %r7, %r4;
    mad.lo.u32 %r8, %r8, %r6, %r3; mad.lo.u32 %r9, %r2, 3, %r1; mad.lo.u32 %r9, %r9, 5, %r0;
    mad.lo.u32 %r8, %r8, 30, %r9;
    mad.wide.u32 %at0, %r8, 4, %p0; st.global.u32 [%at0], %r8;"""
    out = np.zeros(300 * 2 * 3 * 30, np.uint32)
    run = emulate(entry(body, 1), "k", (300, 2, 3), (5, 3, 2), [out])
    assert run.threads == out.size
    np.testing.assert_array_equal(out, np.arange(out.size))


def test_special_registers() -> None:
    text = "mov.u32 %r0, %laneid; mov.u32 %r1, %lanemask_lt; popc.b32 %r1, %r1; sub.u32 %r0, %r0, %r1;"
    text += "mov.u32 %r2, WARP_SZ;"
    text += "add.u32 %r0, %r0, %r2; mov.u32 %r3, %cluster_nctarank; add.u32 %y, %r0, %r3;"
    assert (elementwise(text, [values()], np.uint32) == 33).all()


def test_clocks_go_on() -> None:
    text = "mov.u32 %r0, %clock; AGAIN: mov.u32 %r1, %clock; sub.u32 %y, %r1, %r0;"
    text += "setp.lt.u32 %q0, %y, 100; @%q0 bra AGAIN;"
    assert (elementwise(text, [values()], np.uint32) >= 100).all()
