"""Where a window meets its array, along one axis: lanes `first` to `first + length` have elements of their own.

Lane r of a window stands at element start + r * step. Those inside [0, extent) follow one another: from the first r
with start + r * step >= 0, to the last with start + r * step < extent.
"""

from __future__ import annotations

from typing import NamedTuple

from tilebuild.plan.bounds import Ranges, at_most, nonnegative
from tilebuild.plan.expr import Expr, cdiv, const, emax, emin


class Window(NamedTuple):
    """`size` elements from `start`, `step` apart."""

    start: Expr
    size: int
    step: int


class Clipped(NamedTuple):
    """The elements that there are: `length` of them from element `start`, for the lanes from `first`. Without any,
    `start` is still between 0 and the extent."""

    first: Expr
    start: Expr
    length: Expr


def clipped(w: Window, extent: Expr, ranges: Ranges) -> Clipped:
    """The part of a window inside `[0, extent)`; what is known of its symbols makes it simpler, not different."""
    last = w.start + (w.size - 1) * w.step
    begins, ends = nonnegative(w.start, ranges), at_most(last + 1, extent, ranges)
    first = const(0) if begins else emin(w.size, emax(0, cdiv(-w.start, w.step)))
    end = const(w.size) if ends else emin(w.size, cdiv(extent - w.start, w.step))
    if begins and (ends or at_most(w.start, extent, ranges)):
        return Clipped(first, w.start, end)
    start = w.start + first * w.step
    return Clipped(first, emax(0, emin(start, extent)), emax(0, end - first))
