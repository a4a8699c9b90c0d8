"""Kernels as text that convert between all dtypes, and what they should give.

NumPy has no bf16: arrays of it are 16-bit words here, the upper halves of f32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = Any
INTEGERS = {"i8": (-128, 127), "u8": (0, 255), "i32": (-(2**31), 2**31 - 1), "u32": (0, 2**32 - 1)}
DTYPES = ("f32", "f16", "i32", "u32", "i8", "u8", "bool")
ROUNDED = {"trunc": np.trunc, "nearest": np.rint, "floor": np.floor, "ceil": np.ceil}
SATURATING = [(d, how) for d in INTEGERS for how in ROUNDED]


def module() -> str:
    parts = ['M, N = tb.dims("M N")\n']
    for source in DTYPES:
        parts.append(_kernel(f"from_{source}", source, [(d, f"tb.{d}", d) for d in DTYPES]))
    saturating = [(d, f'tb.{d}, round="{how}", sat=True', f"{d}_{how}") for d, how in SATURATING]
    parts.append(_kernel("saturating", "f32", [*saturating, ("f16", "tb.f16, sat=True", "f16")]))
    parts.append(_kernel("saturating_i32", "i32", [(d, f"tb.{d}, sat=True", d) for d in INTEGERS]))
    parts.append(_kernel("saturating_u32", "u32", [(d, f"tb.{d}, sat=True", d) for d in INTEGERS]))
    parts.append(_kernel("from_bf16", "bf16", [(d, f"tb.{d}", d) for d in ("f32", "bf16", "i32")]))
    parts.append(_kernel("to_bf16", "f32", [("bf16", "tb.bf16", "a"), ("bf16", "tb.bf16, sat=True", "b")]))
    return "\n\n".join(parts)


def _kernel(name: str, source: str, made: Sequence[tuple[str, str, str]]) -> str:
    outputs = "".join(f"    o_{n}: tb.Out[tb.{dtype}, M, N],\n" for dtype, _, n in made)
    stores = "".join(f"    o_{n}.tiles(BM, BN)[i, j] = a.to({arguments})\n" for _, arguments, n in made)
    return f"""@tb.kernel
def {name}(x: tb.In[tb.{source}, M, N],
{outputs}    *, BM: tb.Const = 3, BN: tb.Const = 37):
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    a = x.tiles(BM, BN)[i, j]
{stores}"""


def in_all_ranges(shape: Sequence[int], source: str, numpy: Any) -> Array:
    """Numbers that every dtype holds, where they are floats, else all that the source has."""
    rng = np.random.default_rng(sum(shape))
    if source == "bool":
        return rng.integers(0, 2, shape).astype(np.bool_)
    if source in INTEGERS:
        return rng.integers(*INTEGERS[source], shape, endpoint=True).astype(numpy)
    return np.where(rng.integers(0, 4, shape) == 0, 0, rng.uniform(0, 127, shape)).astype(numpy)


def of_all_sizes(shape: Sequence[int]) -> Array:
    rng = np.random.default_rng(sum(shape))
    special = [0.5, 1.5, 2.5, -0.5, -2.5, 3e9, 5e9, -3e9, 2147483648.0, 4294967296.0, np.inf, -np.inf, np.nan, 65519.0,
               65520.0, -7e4, 6e-8, 2.98e-8, 3e-8, 1e-5, 3.4e38]  # fmt: skip
    x = (rng.standard_normal(shape) * 10.0 ** rng.integers(-9, 12, shape)).astype(np.float32)
    x.flat[: len(special)] = special[: x.size]
    return x


def converted(x: Array, dtype: str, numpy: Any) -> Array:
    """`.to(dtype)`, for floats that fit."""
    with np.errstate(all="ignore"):
        return (x != 0) if dtype == "bool" else x.astype(numpy)


def saturated(x: Array, dtype: str, numpy: Any, how: str = "trunc") -> Array:
    if dtype == "f16":
        return np.clip(x, -65504, 65504).astype(np.float16)
    low, high = INTEGERS[dtype]
    wide = x.astype(np.float64)
    return np.clip(np.nan_to_num(ROUNDED[how](wide), nan=0, posinf=high, neginf=low), low, high).astype(numpy)


def bf16_of(x: Array) -> Array:
    """The nearest bf16 of f32 numbers, of two the even one, as 16-bit words; a NaN is some NaN."""
    bits = x.view(np.uint32).astype(np.uint64)
    rounded = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(x), (x.view(np.uint32) >> 16).astype(np.uint16), rounded)


def of_bf16(words: Array) -> Array:
    return (words.astype(np.uint32) << 16).view(np.float32)
