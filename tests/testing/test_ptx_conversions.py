"""cvt on the PTX emulator: every rounding and saturation against exact arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ptx_snippets import elementwise

RNG = np.random.default_rng(0)
EDGES = [
    0.0,
    -0.0,
    0.5,
    -0.5,
    1.5,
    2.5,
    -2.5,
    3e9,
    -3e9,
    1e20,
    -1e20,
    np.inf,
    -np.inf,
    2147483648.0,
    4294967296.0,
    127.5,
]
FLOATS = np.concatenate([EDGES, RNG.standard_normal(80) * 300]).astype(np.float32)
TO_WHOLE = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}


@pytest.mark.parametrize("mode", TO_WHOLE)
@pytest.mark.parametrize("kind", ["s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64"])
def test_floats_to_integers(kind: str, mode: str) -> None:
    size = int(kind[1:]) // 8
    dtype = np.dtype(f"{'i' if kind[0] == 's' else 'u'}{size}")
    # a register is wider than 8 bits; it is stored by its lower ones
    result = np.dtype(f"u{max(size, 2)}")
    got = elementwise(f"cvt.{mode}.{kind}.f32 %y, %x0;", [FLOATS], result).astype(f"u{size}").view(dtype)
    info = np.iinfo(dtype)
    want = [max(info.min, min(info.max, int(v) if np.isfinite(v) else (info.max if v > 0 else info.min)))
            for v in TO_WHOLE[mode](FLOATS.astype(np.float64)).tolist()]  # fmt: skip
    np.testing.assert_array_equal(got, np.array(want, dtype))


def test_nan_to_integers() -> None:
    nan = np.full(3, np.nan, np.float32)
    assert (elementwise("cvt.rzi.s32.f32 %y, %x0;", [nan], np.int32) == 0).all()
    assert (elementwise("cvt.rzi.s64.f32 %y, %x0;", [nan], np.int64) == np.iinfo(np.int64).min).all()


@pytest.mark.parametrize("mode", ["rn", "rz", "rm", "rp"])
@pytest.mark.parametrize("kind", ["s32", "u32", "s64", "u64"])
def test_integers_to_floats(kind: str, mode: str) -> None:
    dtype = np.dtype(f"{'i' if kind[0] == 's' else 'u'}{int(kind[1:]) // 8}")
    info = np.iinfo(dtype)
    x = RNG.integers(info.min, info.max, 100, dtype, endpoint=True)
    got = elementwise(f"cvt.{mode}.f32.{kind} %y, %x0;", [x], np.float32)
    for value, result in zip(x.tolist(), got):
        below, above = (int(np.nextafter(result, np.float32(d))) for d in (-np.inf, np.inf))
        error = int(result) - value
        if mode == "rn":
            assert abs(error) <= min(abs(below - value), abs(above - value))
        elif mode == "rm" or (mode == "rz" and value > 0):
            assert error <= 0 < above - value
        else:
            assert error >= 0 > below - value


def test_between_integers() -> None:
    x = RNG.integers(-(2**31), 2**31, 100).astype(np.int32)
    np.testing.assert_array_equal(elementwise("cvt.s64.s32 %y, %x0;", [x], np.int64), x)
    np.testing.assert_array_equal(
        elementwise("cvt.u64.u32 %y, %x0;", [x.view(np.uint32)], np.uint64), x.view(np.uint32)
    )
    np.testing.assert_array_equal(elementwise("cvt.s16.s32 %y, %x0;", [x], np.int16), x.astype(np.int16))
    np.testing.assert_array_equal(elementwise("cvt.s32.s8 %y, %x0;", [x], np.int32), x.astype(np.int8))
    np.testing.assert_array_equal(elementwise("cvt.sat.s16.s32 %y, %x0;", [x], np.int16), x.clip(-32768, 32767))
    np.testing.assert_array_equal(elementwise("cvt.sat.u32.s32 %y, %x0;", [x], np.uint32), x.clip(0))
    pair = elementwise("cvt.pack.sat.s16.s32 %y, %x0, 5;", [x], np.uint32)
    np.testing.assert_array_equal(
        pair.view(np.int16).reshape(-1, 2), np.stack([np.full(100, 5), x.clip(-32768, 32767)], 1)
    )


def test_between_floats() -> None:
    x = RNG.standard_normal(100)
    near = x.astype(np.float32)
    np.testing.assert_array_equal(elementwise("cvt.rn.f32.f64 %y, %x0;", [x], np.float32), near)
    below = np.where(near.astype(np.float64) > x, np.nextafter(near, np.float32(-np.inf)), near)
    np.testing.assert_array_equal(elementwise("cvt.rm.f32.f64 %y, %x0;", [x], np.float32), below)
    np.testing.assert_array_equal(elementwise("cvt.f64.f32 %y, %x0;", [near], np.float64), near)
    np.testing.assert_array_equal(elementwise("cvt.rmi.f32.f32 %y, %x0;", [FLOATS], np.float32), np.floor(FLOATS))
    np.testing.assert_array_equal(elementwise("cvt.sat.f32.f32 %y, %x0;", [near], np.float32), near.clip(0, 1))


def bfloat(values: Any) -> Any:
    bits = np.asarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def test_halves() -> None:
    x = np.concatenate(
        [RNG.standard_normal(90) * 2.0 ** RNG.integers(-24, 16, 90), [0, -0.0, 1e6, -1e6, np.inf, 65519]]
    )
    x = x.astype(np.float32)
    with np.errstate(over="ignore"):
        half = x.astype(np.float16)
    np.testing.assert_array_equal(elementwise("cvt.rn.f16.f32 %y, %x0;", [x], np.float16), half)
    np.testing.assert_array_equal(elementwise("cvt.f32.f16 %y, %x0;", [half], np.float32), half.astype(np.float32))
    cut = elementwise("cvt.rz.f16.f32 %y, %x0;", [x], np.float16).astype(np.float64)
    assert (np.abs(cut[np.isfinite(x)]) <= np.abs(x[np.isfinite(x)])).all()
    np.testing.assert_array_equal(elementwise("cvt.rn.bf16.f32 %y, %x0;", [x], np.uint16), bfloat(x))
    whole = elementwise("cvt.rni.s32.f16 %y, %x0;", [half[:80]], np.int32)
    np.testing.assert_array_equal(whole, np.rint(half[:80].astype(np.float64)))


def test_pairs() -> None:
    x, y = (RNG.standard_normal(64).astype(np.float32) for _ in range(2))
    got = elementwise("cvt.rn.f16x2.f32 %y, %x0, %x1;", [x, y], np.uint32).view(np.float16).reshape(-1, 2)
    np.testing.assert_array_equal(got, np.stack([y, x], 1).astype(np.float16))
    relu = elementwise("cvt.rn.relu.bf16x2.f32 %y, %x0, %x1;", [x, y], np.uint32).view(np.uint16).reshape(-1, 2)
    np.testing.assert_array_equal(relu, bfloat(np.stack([y, x], 1).clip(0)))


def test_tf32() -> None:
    x = RNG.standard_normal(64).astype(np.float32)
    got = elementwise("cvt.rna.tf32.f32 %y, %x0;", [x], np.float32)
    assert (got.view(np.uint32) & 0x1FFF == 0).all()
    np.testing.assert_allclose(got, x, rtol=2**-11)
