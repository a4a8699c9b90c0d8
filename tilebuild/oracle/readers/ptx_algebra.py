"""Quotients and remainders of values, as compilers compute them: by shifts, masks and multiplications."""

from __future__ import annotations

import math

from tilebuild.oracle.readers.ptx_unknowns import Env, Unknown, Unknowns
from tilebuild.oracle.readers.ptx_values import Range, Value

_MOST_TERMS = 12


class Algebra(Unknowns):
    """The unknowns of one function, with division."""

    def quotient(self, value: Value, by: int, env: Env) -> Value:
        """`value // by`, rounded down, for an exact value and a positive divisor."""
        if by == 1:
            return value
        whole = Value(tuple((u, c // by) for u, c in value.terms if c % by == 0), value.const // by)
        rest = Value(tuple((u, c) for u, c in value.terms if c % by), value.const % by)
        if rest.terms:
            known = self.range_of(rest, env)
            if known.lo is not None and known.hi is not None and known.lo // by == known.hi // by:
                return whole.shifted(known.lo // by)
            return whole.plus(self._division(rest, by, env))
        return whole

    def _division(self, value: Value, by: int, env: Env) -> Value:
        if len(value.terms) == 1 and value.terms[0][1] == 1:
            inner = self.all[value.terms[0][0]]
            if inner.kind == "div" and inner.of is not None and value.const == 0:
                return self.quotient(inner.of, inner.by * by, env)
        common = math.gcd(value.const, *(c for _, c in value.terms))
        if common > 1 and by % common:
            found = self._by_multiplication(value, common, by, env)
            if found is not None:
                return found
        shared = math.gcd(common, by)
        if shared > 1:
            value = Value(tuple((u, c // shared) for u, c in value.terms), value.const // shared)
            by //= shared
        return Value(((self._half("div", value, by), 1),))

    def _by_multiplication(self, value: Value, factor: int, by: int, env: Env) -> Value | None:
        """`n * factor // by` is `n // d` where `factor` is `by / d` rounded up and n is small enough
        (Granlund and Montgomery, 1994: how compilers divide by a constant)."""
        dividend = Value(tuple((u, c // factor) for u, c in value.terms), value.const // factor)
        d = -(-by // factor)
        known = self.range_of(dividend, env)
        if d > 1 and known.lo is not None and known.lo >= 0 and known.hi is not None:
            excess = factor * d - by
            if excess >= 0 and excess * known.hi < by:
                return self.quotient(dividend, d, env)
        return None

    def remainder(self, value: Value, by: int, env: Env) -> Value:
        """`value % by`, not negative, for a positive divisor; of a value that is only congruent too, where `by`
        divides the modulus."""
        rest = Value(tuple((u, c % by) for u, c in value.terms if c % by), value.const % by)
        if not rest.terms:
            return rest
        known = self.range_of(value, env)
        if known.lo is not None and known.hi is not None and known.lo // by == known.hi // by:
            return value.shifted(-(known.lo // by) * by)
        known = self.range_of(rest, env)
        if known.inside(0, by - 1):
            return rest
        return Value(((self._half("rem", rest, by), 1),))

    def normal(self, value: Value) -> Value:
        """Sums of a dividend, its quotient and its remainder by the two of them that say the same:
        `d * (a // d) + a % d` is a, `a - d * (a // d)` is a % d, and `a - a % d` is d * (a // d)."""
        coefficients = dict(value.terms)
        for number, c in value.terms:
            unknown = self.all[number]
            if unknown.of is None or unknown.kind not in ("div", "rem"):
                continue
            of, by = unknown.of, unknown.by
            division = Value(((self._half("div", of, by), 1),))
            rem = Value(((self._half("rem", of, by), 1),))
            without = value.plus(Value(((number, c),)), -1)
            if unknown.kind == "rem":
                if all(coefficients.get(u) == -c * k for u, k in of.terms):  # c * (a % d - a)
                    return self.normal(without.plus(of, c).plus(division, -c * by))
                continue
            times = c // by
            if c % by == 0 and coefficients.get(rem.terms[0][0]) == times:
                return self.normal(without.plus(rem, -times).plus(of, times))
            if c % by == 0 and all(coefficients.get(u) == -times * k for u, k in of.terms):
                return self.normal(without.plus(of, times).plus(rem, -times))
        return value

    def _half(self, kind: str, of: Value, by: int) -> int:
        known = Range(0, by - 1) if kind == "rem" else Range()
        return self.number((kind, of, by), Unknown(kind, "", known, of, by, self.arrays(of)))

    def too_long(self, value: Value) -> bool:
        """True for sums that no address has."""
        return len(value.terms) > _MOST_TERMS or abs(value.const) >> 80 != 0
