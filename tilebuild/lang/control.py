"""Integers and loops: plain Python when executed; the compiler gives them their further meaning."""

from __future__ import annotations

import builtins


def cdiv(a: int, b: int) -> int:
    """`a / b` rounded up, for b >= 1."""
    return -(-a // b)


def range(*bounds: int) -> builtins.range:
    """`for k in tb.range(n)`: a loop from 0, or from the first of two bounds, up to and without the last."""
    if not 1 <= len(bounds) <= 2:
        raise TypeError(f"a loop takes an end, or a start and an end: {len(bounds)} bounds were given")
    return builtins.range(*bounds)


def pipeline(*bounds: int, stages: int = 2) -> builtins.range:
    """`tb.range` with the hint to keep `stages` buffers of what the body loads; the result is the same."""
    return range(*bounds)


def unroll(n: int) -> builtins.range:
    """`tb.range(n)` for a constant n: the body is repeated instead of looped."""
    return builtins.range(n)
