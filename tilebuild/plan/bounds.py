"""Bounds of expressions: what is provable about an `Expr` from the ranges of its symbols.

`nonnegative(e, ranges)` eliminates one atom at a time, replacing it by the end of its range that makes `e`
smallest, until a constant is left. It is sound (True is a proof) and incomplete (False proves nothing).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tilebuild.plan.expr import Atom, Call, Expr, ExprLike, Sym, const


@dataclass(frozen=True)
class Range:
    """Inclusive ends; None where there is none. An end may name symbols declared outside this one."""

    lo: Expr | None = None
    hi: Expr | None = None


Ranges = Mapping[str, Range]
_DEPTH = 24  # eliminations in one proof; every real index needs fewer than ten


def nonnegative(e: ExprLike, ranges: Ranges) -> bool:
    """True if `e >= 0` for every value its symbols may take."""
    return _nonnegative(Expr.of(e), ranges, _DEPTH)


def at_most(a: ExprLike, b: ExprLike, ranges: Ranges) -> bool:
    """True if `a <= b` is proved."""
    return nonnegative(Expr.of(b) - Expr.of(a), ranges)


def _order(ranges: Ranges) -> dict[str, int]:
    # inner symbols (whose ends name outer ones) are eliminated first: declaration order, reversed
    return {name: i for i, name in enumerate(ranges)}


def _nonnegative(e: Expr, ranges: Ranges, depth: int) -> bool:
    if e.is_const:
        return e.value >= 0
    if depth == 0:
        return False
    e = _tighten(e)
    order = _order(ranges)
    atoms = {a for monomial, _ in e.terms for a in monomial}
    calls = sorted((a for a in atoms if isinstance(a, Call) and a.op in ("min", "max")), key=str)
    for call in calls:
        if _extreme_case(e, call, ranges, depth):
            return True
    if all(c >= 0 and all(_atom_nonnegative(a, ranges, depth) for a in m) for m, c in e.terms):
        return True
    symbols = sorted((a for a in atoms if isinstance(a, Sym)), key=lambda s: -order.get(s.name, -1))
    for s in symbols:
        replaced = _replace_symbol(e, s, ranges, depth)
        if replaced is not None and _nonnegative(replaced, ranges, depth - 1):
            return True
    for call in sorted((a for a in atoms if isinstance(a, Call) and a.op in ("//", "%")), key=str):
        replaced = _relax_division(e, call)
        if replaced is not None and _nonnegative(replaced, ranges, depth - 1):
            return True
    return False


def _atom_nonnegative(atom: Atom, ranges: Ranges, depth: int) -> bool:
    if isinstance(atom, Sym):
        lo = ranges[atom.name].lo if atom.name in ranges else None
        return lo is not None and _nonnegative(lo, ranges, depth - 1)
    if atom.op == "%":
        return _nonnegative(atom.args[1], ranges, depth - 1)
    if atom.op == "//":
        return all(_nonnegative(a, ranges, depth - 1) for a in atom.args)
    decide = all if atom.op == "min" else any
    return decide(_nonnegative(a, ranges, depth - 1) for a in atom.args)


def _split(e: Expr, atom: Atom) -> tuple[Expr, Expr] | None:
    """`e = factor * atom + rest`, or None where the atom is not linear."""
    factor, rest = const(0), const(0)
    for monomial, c in e.terms:
        n = monomial.count(atom)
        if n == 0:
            rest = rest + Expr(((monomial, c),))
        elif n == 1:
            others = list(monomial)
            others.remove(atom)
            factor = factor + Expr(((tuple(others), c),))
        else:
            return None
    return factor, rest


def _replace_symbol(e: Expr, s: Sym, ranges: Ranges, depth: int) -> Expr | None:
    r = ranges.get(s.name)
    parts = _split(e, s)
    if r is None or parts is None or s.name in parts[0].symbols or _inside_call(e, s.name):
        return None
    factor, rest = parts
    if r.lo is not None and _nonnegative(factor, ranges, depth - 1):
        return factor * r.lo + rest
    if r.hi is not None and _nonnegative(-factor, ranges, depth - 1):
        return factor * r.hi + rest
    return None


def _inside_call(e: Expr, name: str) -> bool:
    return any(isinstance(a, Call) and any(name in arg.symbols for arg in a.args) for m, _ in e.terms for a in m)


def _extreme_case(e: Expr, call: Call, ranges: Ranges, depth: int) -> bool:
    parts = _split(e, call)
    if parts is None or not parts[0].is_const:
        return False
    factor, rest = parts
    # c * min(a, b) >= 0 part: min is one of them, so all must do; -c * min(a, b): any one is a bound
    all_needed = (call.op == "min") == (factor.value > 0)
    decide = all if all_needed else any
    return decide(_nonnegative(factor * a + rest, ranges, depth - 1) for a in call.args)


def _relax_division(e: Expr, call: Call) -> Expr | None:
    parts = _split(e, call)
    n, d = call.args
    if parts is None or not parts[0].is_const or not d.is_const or d.value <= 0:
        return None
    c, rest = parts[0].value, parts[1]
    if call.op == "%":  # 0 <= n % d <= d - 1
        return rest if c > 0 else rest + c * (d.value - 1)
    if c == 1:  # n // d >= k exactly when n >= k*d
        return n + rest * d.value
    if c == -1:  # n // d <= k exactly when n <= k*d + d - 1
        return rest * d.value + (d.value - 1) - n
    # n - (d - 1) <= d * (n // d) <= n
    bound = n - (d.value - 1) if c > 0 else n
    return rest * d.value + bound * c


def _tighten(e: Expr) -> Expr:
    """Divide by the common divisor of the coefficients; the constant is floored, which integers allow."""
    common = math.gcd(*(c for m, c in e.terms if m))
    if common <= 1:
        return e
    return Expr(tuple((m, c // common) for m, c in e.terms if c // common))
