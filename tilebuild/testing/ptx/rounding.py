"""Rounding as IEEE 754 has it, for formats and directions that NumPy does not offer.

Two steps are never both rounded to nearest: an intermediate result is rounded to odd (Boldo and Melquiond, "Emulation
of FMA and correctly rounded sums", IEEE Trans. Computers 57(4), 2008), after which one rounding to a format with at
least two bits less is as good as one rounding of the exact value.
"""

from __future__ import annotations

from fractions import Fraction
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
_LEAST = np.float32(2.0**-126)
MODES = ("rn", "rz", "rm", "rp", "rna")


def from_bfloat16(bits: Array) -> Array:
    """Numbers (float64) of bfloat16 bits (uint16)."""
    return np.asarray((bits.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64))


def to_odd(values: Array) -> Array:
    """float64 -> float32, rounded to odd."""
    values = np.asarray(values, np.float64)
    near = values.astype(np.float32)
    bits = near.view(np.uint32)
    back = near.astype(np.float64)
    wrong = (back != values) & np.isfinite(values) & ((bits & np.uint32(1)) == 0)
    if not wrong.any():
        return near
    larger = np.abs(back) > np.abs(values)  # also where it overflowed to infinity
    moved = np.where(larger, bits - np.uint32(1), bits + np.uint32(1))
    return np.where(wrong, moved, bits).view(np.float32)


def bfloat16_bits(values: Array, mode: str = "rn") -> Array:
    """The bits (uint16) of numbers rounded to bfloat16; NaN becomes 0x7fff."""
    odd = to_odd(values)
    bits = odd.view(np.uint32)
    half = np.uint32(16)
    if mode == "rn":
        rounded = (bits + np.uint32(0x7FFF) + ((bits >> half) & np.uint32(1))) >> half
    elif mode == "rna":
        rounded = (bits + np.uint32(0x8000)) >> half
    else:
        up = {"rz": np.False_, "rm": odd < 0, "rp": odd > 0}[mode]
        rounded = (bits >> half) + (np.asarray(up) & ((bits & np.uint32(0xFFFF)) != 0))
    return np.asarray(np.where(np.isnan(odd), np.uint16(0x7FFF), rounded.astype(np.uint16)))


def directed(values: Array, near: Array, mode: str) -> Array:
    """`near`, the numbers nearest to `values` in a smaller format, moved to where `mode` rounds."""
    if mode == "rn":
        return near
    back = near.astype(values.dtype)
    if mode == "rz":
        move, towards = np.abs(back) > np.abs(values), near.dtype.type(0)
    elif mode == "rm":
        move, towards = back > values, near.dtype.type(-np.inf)
    else:
        move, towards = back < values, near.dtype.type(np.inf)
    return np.where(move, np.nextafter(near, towards), near)


def narrowed(values: Array, dtype: Any, mode: str) -> Array:
    """float64 numbers in a smaller IEEE format of NumPy (float32, float16)."""
    return directed(values, values.astype(dtype), mode)


def sum_to_odd(a: Array, b: Array) -> Array:
    """a + b in float64, rounded to odd."""
    total = np.asarray(a + b)
    part = total - a
    error = (a - (total - part)) + (b - part)
    bits = total.view(np.int64)
    wrong = (error != 0) & np.isfinite(total) & np.isfinite(error) & ((bits & 1) == 0)
    if not wrong.any():
        return total
    step = np.where((error > 0) == (total > 0), 1, -1)
    return np.where(wrong, bits + step, bits).view(np.float64)


def fma32(a: Array, b: Array, c: Array, mode: str = "rn") -> Array:
    """a * b + c for float32, rounded once."""
    product = np.multiply(a, b, dtype=np.float64)  # exact: 48 bits
    if mode == "rn":
        total = np.asarray(product + c)
        near = total.astype(np.float32)
        # only a total halfway between two float32, or between two subnormal ones, can have been rounded to there
        halfway = (total.view(np.uint64) & np.uint64(0x1FFFFFFF)) == np.uint64(0x10000000)
        if not halfway.any():
            small = np.abs(near) < _LEAST
            if not small.any() or not (small & (total != 0)).any():
                return near
    return narrowed(sum_to_odd(product, np.asarray(c, np.float64)), np.float32, mode)


def fma64(a: Array, b: Array, c: Array) -> Array:
    """a * b + c for float64, rounded to nearest once: exact rational numbers, one element at a time."""
    a, b, c = (np.atleast_1d(x) for x in np.broadcast_arrays(a, b, c))
    result = a * b + c
    for n, (x, y, z) in enumerate(zip(a.tolist(), b.tolist(), c.tolist())):
        if isfinite(x) and isfinite(y) and isfinite(z):
            exact = Fraction(x) * Fraction(y) + Fraction(z)
            if exact:
                try:
                    result[n] = float(exact)
                except OverflowError:
                    result[n] = np.inf if exact > 0 else -np.inf
    return result


def to_tf32(values: Array, mode: str = "rna") -> Array:
    """The bits (uint32) of float32 numbers rounded to tf32: a mantissa of 10 bits; NaN becomes 0x7fffffff."""
    bits = np.asarray(values, np.float32).view(np.uint32)
    add = np.uint32(0x1000) if mode == "rna" else np.uint32(0xFFF) + ((bits >> np.uint32(13)) & np.uint32(1))
    if mode == "rz":
        add = np.uint32(0)
    rounded = (bits + add) & np.uint32(0xFFFFE000)
    return np.asarray(np.where(np.isnan(values), np.uint32(0x7FFFFFFF), rounded))
