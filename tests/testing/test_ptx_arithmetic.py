"""Arithmetic instructions of the PTX emulator, one by one, against NumPy and exact rational numbers."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from ptx_snippets import elementwise

COUNT = 200


def integers(dtype: Any, seed: int = 0) -> Any:
    """Numbers of all sizes, and the edges."""
    rng = np.random.default_rng(seed)
    info = np.iinfo(dtype)
    edges = np.array([0, 1, 2, 3, info.max, info.max - 1, info.min, info.min + 1], dtype)
    raw = rng.integers(info.min, info.max, COUNT - 8, dtype, endpoint=True) >> rng.integers(
        0, info.bits - 1, COUNT - 8
    ).astype(dtype)
    return rng.permutation(np.concatenate([edges, raw.astype(dtype)]))


def floats(dtype: Any, seed: int = 0) -> Any:
    """Numbers of all magnitudes, zeros, infinities, NaN and subnormal ones."""
    rng = np.random.default_rng(seed)
    info = np.finfo(dtype)
    edges = np.array([0, -0.0, np.inf, -np.inf, np.nan, info.tiny, -info.smallest_subnormal, info.max, 1, -1], dtype)
    wide = rng.standard_normal(COUNT - 10) * 2.0 ** rng.integers(-20, 20, COUNT - 10)
    with np.errstate(over="ignore"):
        return rng.permutation(np.concatenate([edges, wide.astype(dtype)]))


def same(got: Any, want: Any) -> None:
    """Equal bits, where they are numbers."""
    want = np.asarray(want, got.dtype)
    if got.dtype.kind == "f":
        np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
        number = ~np.isnan(got)
        got, want = got[number], want[number]
        np.testing.assert_array_equal(np.signbit(got), np.signbit(want))
    np.testing.assert_array_equal(got, want)


def by_python(function: Callable[..., int], dtype: Any) -> Callable[..., Any]:
    """A function of Python's integers, wrapped to a type."""
    bits = np.iinfo(dtype).bits

    def compute(*arrays: Any) -> Any:
        values = [function(*(int(v) for v in row)) & (1 << bits) - 1 for row in zip(*arrays)]
        return np.array(values, f"u{bits // 8}").view(dtype)

    return compute


def div(a: int, b: int) -> int:
    return -1 if b == 0 else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def clamp(value: int, bits: int) -> int:
    return max(-(1 << bits - 1), min(value, (1 << bits - 1) - 1))


I16, U16, I32, U32, I64, U64 = np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64
INTEGER: list[tuple[str, list[Any], Any, Callable[..., int]]] = [
    ("add.s32 %y, %x0, %x1;", [I32, I32], I32, lambda a, b: a + b),
    ("add.sat.s32 %y, %x0, %x1;", [I32, I32], I32, lambda a, b: clamp(a + b, 32)),
    ("sub.u16 %y, %x0, %x1;", [U16, U16], U16, lambda a, b: a - b),
    ("sub.s64 %y, %x0, %x1;", [I64, I64], I64, lambda a, b: a - b),
    ("mul.lo.s32 %y, %x0, %x1;", [I32, I32], I32, lambda a, b: a * b),
    ("mul.hi.s32 %y, %x0, %x1;", [I32, I32], I32, lambda a, b: a * b >> 32),
    ("mul.hi.u64 %y, %x0, %x1;", [U64, U64], U64, lambda a, b: a * b >> 64),
    ("mul.hi.s64 %y, %x0, %x1;", [I64, I64], I64, lambda a, b: a * b >> 64),
    ("mul.wide.s16 %y, %x0, %x1;", [I16, I16], I32, lambda a, b: a * b),
    ("mul.wide.u32 %y, %x0, %x1;", [U32, U32], U64, lambda a, b: a * b),
    ("mad.wide.s32 %y, %x0, %x1, %x2;", [I32, I32, I64], I64, lambda a, b, c: a * b + c),
    ("mad.hi.u32 %y, %x0, %x1, %x2;", [U32, U32, U32], U32, lambda a, b, c: (a * b >> 32) + c),
    ("mad.lo.s32 %y, %x0, %x1, -3;", [I32, I32], I32, lambda a, b: a * b - 3),
    ("mul24.lo.u32 %y, %x0, %x1;", [U32, U32], U32, lambda a, b: (a & 0xFFFFFF) * (b & 0xFFFFFF)),
    ("div.s32 %y, %x0, %x1;", [I32, I32], I32, div),
    ("div.u64 %y, %x0, %x1;", [U64, U64], U64, div),
    ("rem.s32 %y, %x0, %x1;", [I32, I32], I32, lambda a, b: a - div(a, b) * b),
    ("rem.u16 %y, %x0, %x1;", [U16, U16], U16, lambda a, b: a - div(a, b) * b),
    ("sad.s32 %y, %x0, %x1, %x2;", [I32, I32, I32], I32, lambda a, b, c: abs(a - b) + c),
    ("abs.s32 %y, %x0;", [I32], I32, abs),
    ("neg.s64 %y, %x0;", [I64], I64, lambda a: -a),
    ("min.s16 %y, %x0, %x1;", [I16, I16], I16, min),
    ("max.u32 %y, %x0, %x1;", [U32, U32], U32, max),
    ("popc.b64 %y, %x0;", [U64], U32, lambda a: a.bit_count()),
    ("clz.b32 %y, %x0;", [U32], U32, lambda a: 32 - a.bit_length()),
    ("bfind.u32 %y, %x0;", [U32], U32, lambda a: a.bit_length() - 1),
    ("bfind.s64 %y, %x0;", [I64], U32, lambda a: (a if a >= 0 else ~a).bit_length() - 1),
    ("brev.b32 %y, %x0;", [U32], U32, lambda a: int(f"{a:032b}"[::-1], 2)),
    ("and.b32 %y, %x0, %x1;", [U32, U32], U32, lambda a, b: a & b),
    ("not.b64 %y, %x0;", [U64], U64, lambda a: ~a),
    ("cnot.b32 %y, %x0;", [U32], U32, lambda a: int(a == 0)),
    ("shl.b32 %y, %x0, %x1;", [U32, U32], U32, lambda a, n: a << n if n < 32 else 0),
    ("shr.s32 %y, %x0, %x1;", [I32, U32], I32, lambda a, n: a >> min(n, 31)),
    ("shr.u64 %y, %x0, %x1;", [U64, U32], U64, lambda a, n: a >> n if n < 64 else 0),
    ("shf.l.wrap.b32 %y, %x0, %x1, %x2;", [U32] * 3, U32, lambda a, b, n: (b << 32 | a) << (n & 31) >> 32),
    ("shf.r.clamp.b32 %y, %x0, %x1, %x2;", [U32] * 3, U32, lambda a, b, n: (b << 32 | a) >> min(n, 32)),
    ("lop3.b32 %y, %x0, %x1, %x2, 0xE2;", [U32] * 3, U32, lambda a, b, c: a & b | ~b & c),
    ("bfe.u32 %y, %x0, 5, 9;", [U32], U32, lambda a: a >> 5 & 0x1FF),
    ("bfe.s32 %y, %x0, 5, 9;", [I32], I32, lambda a: ((a >> 5 & 0x1FF) ^ 0x100) - 0x100),
    ("bfe.s32 %y, %x0, 28, 9;", [I32], I32, lambda a: a >> 28),
    ("bfi.b32 %y, %x0, %x1, 4, 8;", [U32, U32], U32, lambda a, b: b & ~0xFF0 | (a & 0xFF) << 4),
    ("bfi.b64 %y, %x0, %x1, 40, 64;", [U64, U64], U64, lambda a, b: b & (1 << 40) - 1 | a << 40),
    ("bmsk.clamp.b32 %y, %x0, %x1;", [U32, U32], U32, lambda a, b: ((1 << min(b, 32)) - 1) << a if a < 32 else 0),
    ("szext.wrap.s32 %y, %x0, 5;", [I32], I32, lambda a: ((a & 31) ^ 16) - 16),
    ("selp.b32 %y, %x0, %x1, 1;", [U32, U32], U32, lambda a, b: a),
    ("slct.u32.s32 %y, %x0, %x1, %x2;", [U32, U32, I32], U32, lambda a, b, c: a if c >= 0 else b),
    ("set.lt.u32.s32 %y, %x0, %x1;", [I32, I32], U32, lambda a, b: -(a < b)),
    ("setp.hi.u32 %q1, %x0, %x1; selp.s32 %y, 7, -7, %q1;", [U32, U32], I32, lambda a, b: 7 if a > b else -7),
    ("setp.lt.s64 %q1|%q2, %x0, %x1; selp.s32 %y, 7, -7, %q2;", [I64, I64], I32, lambda a, b: -7 if a < b else 7),
    (
        "setp.eq.u32 %q1, %t, 3; setp.ge.and.s32 %q2, %x0, %x1, !%q1; selp.s32 %y, 1, 0, %q2;",
        [I32, I32], I32, lambda a, b: int(a >= b),
    ),
    ("mov.b32 {%h0, %h1}, %x0; mov.b32 %y, {%h1, %h0};", [U32], U32, lambda a: a >> 16 | a << 16),
    (
        "mov.b64 {%r0, %r1}, %x0; mov.b64 {%r2, %r3}, %x1; add.cc.u32 %r4, %r0, %r2; addc.u32 %r5, %r1, %r3;"
        "mov.b64 %y, {%r4, %r5};",
        [U64, U64], U64, lambda a, b: a + b,
    ),
    (
        "mov.b64 {%r0, %r1}, %x0; mov.b64 {%r2, %r3}, %x1; sub.cc.u32 %r4, %r0, %r2; subc.u32 %r5, %r1, %r3;"
        "mov.b64 %y, {%r4, %r5};",
        [U64, U64], U64, lambda a, b: a - b,
    ),
    (
        "mad.lo.cc.u32 %r0, %x0, %x1, %x2; madc.hi.u32 %r1, %x0, %x1, 0; mov.b64 %y, {%r0, %r1};",
        [U32] * 3, U64, lambda a, b, c: a * b + c,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "kinds", "result", "function"), INTEGER, ids=[t[0] for t in INTEGER])
def test_integers(text: str, kinds: list[Any], result: Any, function: Callable[..., int]) -> None:
    inputs = [integers(kind, n) for n, kind in enumerate(kinds)]
    if "%t, 3" in text:
        inputs[0][3], inputs[1][3] = 0, 1  # so that the excluded thread gives 0 either way
    same(elementwise(text, inputs, result), by_python(function, result)(*inputs))


def bytes_of(value: int) -> list[int]:
    return list(value.to_bytes(4, "little"))


def permuted(a: int, b: int, c: int) -> int:
    source, result = bytes_of(a) + bytes_of(b), 0
    for n in range(4):
        nibble = c >> 4 * n & 15
        byte = source[nibble & 7]
        result |= (0xFF * (byte >> 7) if nibble & 8 else byte) << 8 * n
    return result


def dot(a: int, b: int, c: int) -> int:
    left = [v - 256 if v > 127 else v for v in bytes_of(a & 0xFFFFFFFF)]
    return sum(x * y for x, y in zip(left, bytes_of(b))) + c


def test_bytes() -> None:
    a, b, c = (integers(U32, n) for n in range(3))
    same(elementwise("prmt.b32 %y, %x0, %x1, %x2;", [a, b, c], U32), by_python(permuted, U32)(a, b, c))
    same(
        elementwise("prmt.b32.f4e %y, %x0, %x1, %x2;", [a, b, c], U32),
        by_python(lambda x, y, z: (y << 32 | x) >> 8 * (z & 3), U32)(a, b, c),
    )
    signed = integers(I32, 3)
    same(
        elementwise("dp4a.s32.u32 %y, %x0, %x1, %x2;", [signed, b, signed], I32), by_python(dot, I32)(signed, b, signed)
    )


def rational(function: Callable[..., Fraction], mode: str = "rn") -> Callable[..., Any]:
    """Exact results rounded to float32 once."""

    def nearest(exact: Fraction) -> Any:
        guess = np.float32(float(exact))
        options = [np.nextafter(guess, np.float32(-np.inf)), guess, np.nextafter(guess, np.float32(np.inf))]
        if mode == "rn":
            return min(options, key=lambda v: (abs(Fraction(float(v)) - exact), int(v.view(np.uint32)) & 1))
        if mode == "rz":
            mode_here = "rm" if exact >= 0 else "rp"
        else:
            mode_here = mode
        inside = [
            v for v in options if (Fraction(float(v)) <= exact if mode_here == "rm" else Fraction(float(v)) >= exact)
        ]
        return max(inside) if mode_here == "rm" else min(inside)

    return lambda *arrays: np.array(
        [nearest(function(*map(Fraction, map(float, row)))) for row in zip(*arrays)], np.float32
    )


def moderate(seed: int) -> Any:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(COUNT) * 2.0 ** rng.integers(-12, 12, COUNT)).astype(np.float32)


@pytest.mark.parametrize("mode", ["rn", "rz", "rm", "rp"])
@pytest.mark.parametrize(
    ("name", "count", "function"),
    [("add", 2, lambda a, b: a + b), ("mul", 2, lambda a, b: a * b), ("fma", 3, lambda a, b, c: a * b + c),
     ("div", 2, lambda a, b: a / b)],
    ids=["add", "mul", "fma", "div"],
)  # fmt: skip
def test_rounding(name: str, count: int, function: Callable[..., Fraction], mode: str) -> None:
    inputs = [moderate(n) for n in range(count)]
    operands = ", ".join(f"%x{n}" for n in range(count))
    got = elementwise(f"{name}.{mode}.f32 %y, {operands};", inputs, np.float32)
    same(got, rational(function, mode)(*inputs))


def test_a_fused_product_is_rounded_once() -> None:
    """Numbers for which rounding to float64 first gives another result."""
    a = np.full(COUNT, np.float32(1 + 2**-23))
    b = np.full(COUNT, np.float32(1 - 2**-24))
    c = np.where(np.arange(COUNT) % 2, 2.0**-60, -(2.0**-60)).astype(np.float32)
    same(
        elementwise("fma.rn.f32 %y, %x0, %x1, %x2;", [a, b, c], np.float32),
        rational(lambda x, y, z: x * y + z)(a, b, c),
    )
    one = np.array([1.0 + 2**-52] * COUNT)
    exact = [float(Fraction(v) * Fraction(v) - 1) for v in one]
    same(elementwise("fma.rn.f64 %y, %x0, %x0, 0dBFF0000000000000;", [one], np.float64), np.array(exact))


FLOAT: list[tuple[str, int, Callable[..., Any]]] = [
    ("add.f32 %y, %x0, %x1;", 2, np.add),
    ("sub.rn.f32 %y, %x0, %x1;", 2, np.subtract),
    ("mul.f32 %y, %x0, 0f40490FDB;", 1, lambda a: a * np.float32(np.pi)),
    ("min.f32 %y, %x0, %x1;", 2, np.fmin),
    ("max.NaN.f32 %y, %x0, %x1;", 2, np.maximum),
    ("abs.f32 %y, %x0;", 1, np.abs),
    ("neg.f32 %y, %x0;", 1, np.negative),
    ("copysign.f32 %y, %x0, %x1;", 2, lambda a, b: np.copysign(b, a)),
    ("sqrt.rn.f32 %y, %x0;", 1, np.sqrt),
    ("rcp.rn.f32 %y, %x0;", 1, lambda a: np.float32(1) / a),
    ("add.sat.f32 %y, %x0, %x1;", 2, lambda a, b: np.where(np.isnan(a + b), 0, np.clip(a + b, 0, 1))),
    ("setp.ltu.f32 %q1, %x0, %x1; selp.f32 %y, 0f3F800000, 0f00000000, %q1;", 2, lambda a, b: ~(a >= b)),
    ("setp.ne.f32 %q1, %x0, %x1; selp.f32 %y, 0f3F800000, 0f00000000, %q1;", 2, lambda a, b: (a < b) | (a > b)),
    ("setp.nan.f32 %q1, %x0, %x1; selp.f32 %y, 1.0, 0.0, %q1;", 2, lambda a, b: np.isnan(a) | np.isnan(b)),
    ("testp.normal.f32 %q1, %x0; selp.f32 %y, 0f3F800000, 0f00000000, %q1;", 1,
     lambda a: np.isfinite(a) & (np.abs(a) >= np.finfo(np.float32).tiny)),
]  # fmt: skip


@pytest.mark.parametrize(("text", "count", "function"), FLOAT, ids=[t[0] for t in FLOAT])
def test_floats(text: str, count: int, function: Callable[..., Any]) -> None:
    inputs = [floats(np.float32, n) for n in range(count)]
    with np.errstate(all="ignore"):
        same(elementwise(text, inputs, np.float32), function(*inputs))


APPROXIMATE: list[tuple[str, Callable[[Any], Any]]] = [
    ("ex2.approx.f32", np.exp2), ("ex2.approx.ftz.f32", np.exp2), ("lg2.approx.f32", lambda a: np.log2(np.abs(a))),
    ("sin.approx.f32", np.sin), ("cos.approx.f32", np.cos), ("tanh.approx.f32", np.tanh),
    ("rsqrt.approx.f32", lambda a: 1 / np.sqrt(np.abs(a))), ("sqrt.approx.f32", lambda a: np.sqrt(np.abs(a))),
    ("rcp.approx.ftz.f32", lambda a: 1 / a),
]  # fmt: skip


@pytest.mark.parametrize(("name", "function"), APPROXIMATE, ids=[n for n, _ in APPROXIMATE])
def test_approximations(name: str, function: Callable[[Any], Any]) -> None:
    x = np.random.default_rng(0).uniform(-20, 20, COUNT).astype(np.float32)
    argument = "abs.f32 %f0, %x0;" if name[:2] in ("lg", "rs", "sq") else "mov.f32 %f0, %x0;"
    got = elementwise(f"{argument} {name} %y, %f0;", [x], np.float32)
    np.testing.assert_allclose(got, function(x.astype(np.float64)), rtol=1e-7)


@pytest.mark.parametrize("name", ["div.full.f32", "div.approx.f32"])
def test_quick_division(name: str) -> None:
    a, b = moderate(0), moderate(1)
    np.testing.assert_allclose(elementwise(f"{name} %y, %x0, %x1;", [a, b], np.float32), a / b, rtol=3e-7)


def test_flush_to_zero() -> None:
    small = np.full(COUNT, 1e-39, np.float32)
    assert (elementwise("add.ftz.f32 %y, %x0, %x0;", [small], np.float32) == 0).all()
    assert (elementwise("add.f32 %y, %x0, %x0;", [small], np.float32) > 0).all()
    assert (
        elementwise("mul.ftz.f32 %y, %x0, 0f3A000000;", [np.full(COUNT, 1.2e-38, np.float32)], np.float32) == 0
    ).all()


def half_inputs(count: int) -> list[Any]:
    return [floats(np.float16, n) for n in range(count)]


def test_halves() -> None:
    a, b, c = half_inputs(3)
    wide = [v.astype(np.float64) for v in (a, b, c)]
    with np.errstate(all="ignore"):
        same(elementwise("add.f16 %y, %x0, %x1;", [a, b], np.float16), a + b)
        same(elementwise("mul.rn.f16 %y, %x0, %x1;", [a, b], np.float16), a * b)
        same(elementwise("max.f16 %y, %x0, %x1;", [a, b], np.float16), np.fmax(a, b))
        fused = elementwise("fma.rn.f16 %y, %x0, %x1, %x2;", [a, b, c], np.float16)
        same(fused, (wide[0] * wide[1] + wide[2]).astype(np.float16))
        relu = elementwise("fma.rn.relu.f16 %y, %x0, %x1, %x2;", [a, b, c], np.float16)
        want = (wide[0] * wide[1] + wide[2]).astype(np.float16)
        same(relu + np.float16(0), np.where(want < 0, np.float16(0), want) + np.float16(0))


def test_packed_halves() -> None:
    a, b = (np.stack([floats(np.float16, n), floats(np.float16, n + 5)], 1) for n in (0, 1))
    words = [np.ascontiguousarray(v).view(np.uint32)[:, 0] for v in (a, b)]
    with np.errstate(all="ignore"):
        got = elementwise("add.rn.f16x2 %y, %x0, %x1;", words, np.uint32)
        same(got.view(np.float16).reshape(-1, 2), a + b)
    text = "setp.lt.f16x2 %q1|%q2, %x0, %x1; selp.u32 %r0, 1, 0, %q1; selp.u32 %r1, 2, 0, %q2; or.b32 %y, %r0, %r1;"
    same(elementwise(text, words, np.uint32), (a < b) @ np.array([1, 2], np.uint32))


def bfloat(values: Any) -> Any:
    """Rounded to bfloat16, as float32."""
    bits = np.asarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


def test_brain_floats() -> None:
    a, b = bfloat(moderate(0)), bfloat(moderate(1))
    bits = [(v.view(np.uint32) >> 16).astype(np.uint16) for v in (a, b)]
    got = elementwise("fma.rn.bf16 %y, %x0, %x1, %x0;", bits, np.uint16)
    # a product of two and a sum in float64 are exact or nearly so: one rounding to float32 does not hit a tie of bf16
    want = bfloat((a.astype(np.float64) * b + a).astype(np.float32))
    same((got.astype(np.uint32) << 16).view(np.float32), want)
    same(
        (elementwise("min.bf16 %y, %x0, %x1;", bits, np.uint16).astype(np.uint32) << 16).view(np.float32), np.fmin(a, b)
    )
