"""What a register may hold: ranges of integers, and affine values over unknowns.

A value stands for a register's contents modulo two to its width. What its unknowns are, and what is known of them at a
place, is in `ptx_unknowns`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

LOWEST, HIGHEST = 1, 2  # ends of a range that are known to be taken, see `Range.taken`


@dataclass(frozen=True)
class Range:
    """Inclusive ends, None where there is none; all values are `rest` modulo `step`, or `rest` itself where the step is
    0. The bits of `taken` say which ends are known to be taken by some thread that gets there."""

    lo: int | None = None
    hi: int | None = None
    step: int = 1
    rest: int = 0
    taken: int = 0

    @property
    def empty(self) -> bool:
        return self.lo is not None and self.hi is not None and self.lo > self.hi

    def inside(self, lo: int, hi: int) -> bool:
        """True if every value lies between the two."""
        return self.lo is not None and self.hi is not None and lo <= self.lo and self.hi <= hi

    def multiple_of(self, unit: int) -> bool:
        """True if every value is a multiple of a positive number."""
        return self.step % unit == 0 and self.rest % unit == 0

    def shifted(self, by: int) -> Range:
        return self.plus(single(by))

    def scaled(self, by: int) -> Range:
        if by == 0:
            return single(0)
        lo = None if self.lo is None else self.lo * by
        hi = None if self.hi is None else self.hi * by
        step = self.step * abs(by)
        if by > 0:
            return Range(lo, hi, step, _modulo(self.rest * by, step), self.taken)
        swapped = (self.taken & LOWEST) << 1 | (self.taken & HIGHEST) >> 1
        return Range(hi, lo, step, _modulo(self.rest * by, step), swapped)

    def plus(self, other: Range) -> Range:
        """The sums of values that do not depend on one another."""
        lo = None if self.lo is None or other.lo is None else self.lo + other.lo
        hi = None if self.hi is None or other.hi is None else self.hi + other.hi
        step = math.gcd(self.step, other.step)
        return Range(lo, hi, step, _modulo(self.rest + other.rest, step), self.taken & other.taken)

    def hull(self, other: Range) -> Range:
        """The least range with the values of both."""
        if self.empty or other.empty:
            return other if self.empty else self
        lo = None if self.lo is None or other.lo is None else min(self.lo, other.lo)
        hi = None if self.hi is None or other.hi is None else max(self.hi, other.hi)
        step = math.gcd(self.step, other.step, self.rest - other.rest)
        taken = 0
        for r in (self, other) if self._meets(other) else ():  # with a gap between them, an end may be cut off later
            taken |= (r.taken & LOWEST if r.lo == lo else 0) | (r.taken & HIGHEST if r.hi == hi else 0)
        return Range(lo, hi, step, _modulo(self.rest, step), taken)

    def _meets(self, other: Range) -> bool:
        below, above = (self, other) if (self.lo or 0) <= (other.lo or 0) else (other, self)
        return below.hi is None or above.lo is None or above.lo <= below.hi + 1

    def meet(self, other: Range) -> Range:
        """The values that are in both, as far as a range can say."""
        lo, hi, taken = self.lo, self.hi, self.taken
        if other.lo is not None and (lo is None or other.lo > lo):
            lo, taken = other.lo, taken & ~LOWEST | other.taken & LOWEST
        if other.hi is not None and (hi is None or other.hi < hi):
            hi, taken = other.hi, taken & ~HIGHEST | other.taken & HIGHEST
        finer = other if other.step == 0 or (self.step and other.step > self.step) else self
        return Range(lo, hi, finer.step, finer.rest, taken)


EVERYTHING = Range()


def _modulo(value: int, step: int) -> int:
    return value % step if step else value


def single(value: int) -> Range:
    """One value."""
    return Range(value, value, 0, value, LOWEST | HIGHEST)


def typed(bits: int, signed: bool = True) -> Range:
    """All values of a type."""
    return Range(-(1 << bits - 1), (1 << bits - 1) - 1) if signed else Range(0, (1 << bits) - 1)


@dataclass(frozen=True)
class Value:
    """A sum of coefficients times unknowns, by number, and a constant."""

    terms: tuple[tuple[int, int], ...]
    const: int = 0

    def plus(self, other: Value, factor: int = 1) -> Value:
        terms = dict(self.terms)
        for unknown, c in other.terms:
            terms[unknown] = terms.get(unknown, 0) + factor * c
        kept = tuple(sorted((u, c) for u, c in terms.items() if c))
        return Value(kept, self.const + factor * other.const)

    def shifted(self, by: int) -> Value:
        return Value(self.terms, self.const + by)

    def scaled(self, by: int) -> Value:
        return Value(tuple((u, c * by) for u, c in self.terms), self.const * by) if by else Value(())

    @property
    def is_constant(self) -> bool:
        return not self.terms
