"""Types of PTX as NumPy sees them: how a register's bits become numbers and numbers become bits.

Integers keep their width. f32 and f64 are NumPy's own. f16 and bf16 become float64, in which every sum of products that
PTX has for them can be kept exactly enough to be rounded once (see rounding.py). Packed types have a last axis of two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilebuild.testing.ptx.rounding import bfloat16_bits, from_bfloat16

Array = NDArray[Any]


@dataclass(frozen=True)
class Kind:
    """A fundamental type. `family`: u, s, b (bits), f, bf, pred; `bits` of the whole; `lanes`: numbers packed in it."""

    name: str
    family: str
    bits: int
    lanes: int = 1

    @property
    def unsigned(self) -> np.dtype[Any]:
        """How a register of these bits is stored."""
        return np.dtype(bool) if self.family == "pred" else np.dtype(f"u{self.bits // 8}")

    @property
    def number(self) -> np.dtype[Any]:
        """How one of its numbers lies in memory; bf16 as its bits."""
        if self.family == "pred":
            return np.dtype(bool)
        size = self.bits // 8 // self.lanes
        return np.dtype(f"{ {'s': 'i', 'f': 'f'}.get(self.family, 'u') }{size}")

    @property
    def is_float(self) -> bool:
        return self.family in ("f", "bf")

    @property
    def is_half(self) -> bool:
        """f16 and bf16, packed or not."""
        return self.is_float and self.bits // self.lanes == 16

    @property
    def plain(self) -> bool:
        """Whether its numbers are its memory, seen with NumPy's type."""
        return self.lanes == 1 and not self.is_half


KINDS: Mapping[str, Kind] = {
    **{f"{f}{n}": Kind(f"{f}{n}", f, n) for f in "bus" for n in (8, 16, 32, 64)},
    "f16": Kind("f16", "f", 16), "f32": Kind("f32", "f", 32), "f64": Kind("f64", "f", 64),
    "bf16": Kind("bf16", "bf", 16), "f16x2": Kind("f16x2", "f", 32, 2), "bf16x2": Kind("bf16x2", "bf", 32, 2),
    "u16x2": Kind("u16x2", "u", 32, 2), "s16x2": Kind("s16x2", "s", 32, 2),
    "pred": Kind("pred", "pred", 8), "tf32": Kind("tf32", "b", 32),
}  # fmt: skip


def decode(bits: Array, kind: Kind) -> Array:
    """Numbers from the bits of a register or memory, an array [n] of `kind.unsigned` -> [n], or [n, lanes]."""
    if kind.plain:
        return bits.view(kind.number)
    each = np.ascontiguousarray(bits).view(kind.number)
    if kind.family == "bf":
        each = from_bfloat16(each)
    elif kind.is_half:
        each = each.astype(np.float64)
    return each.reshape(*bits.shape, kind.lanes) if kind.lanes > 1 else each


def encode(values: Array, kind: Kind) -> Array:
    """Bits from numbers, rounded to nearest even where they do not fit: the inverse of `decode`."""
    if kind.family == "bf":
        each = bfloat16_bits(values)
    else:
        each = np.asarray(values).astype(kind.number)
    if kind.lanes > 1:
        return np.ascontiguousarray(each).view(kind.unsigned)[..., 0]
    return each.view(kind.unsigned)


def extended(bits: Array, kind: Kind, width: int) -> Array:
    """Bits of `kind` in a register of `width` bits: signed integers keep their sign, others get zeros."""
    if kind.family == "s":
        return bits.view(kind.number).astype(f"i{width // 8}").view(f"u{width // 8}")
    return bits.astype(f"u{width // 8}")
