"""Bounds of expressions: what is provable about an `Expr` from the ranges of its symbols.

`nonnegative(e, ranges)` eliminates one atom at a time, replacing it by the end of its range that makes `e`
smallest, until a constant is left. A division becomes what it is equivalent to (n // d <= k exactly when
n <= k*d + d - 1), which decides mixed radices (0 <= n < A*B gives n // B < A); d times an exact one becomes its
dividend. It is sound (True is a proof, of values for which `e` is defined) and incomplete (False proves nothing); it
gives up after a fixed amount of work.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from tilebuild.plan.expr import Atom, Call, Expr, ExprLike, Sym, const


@dataclass(frozen=True)
class Range:
    """Inclusive ends; None where there is none. An end may name symbols declared outside this one. Every value is a
    multiple of `multiple` where that is given."""

    lo: Expr | None = None
    hi: Expr | None = None
    multiple: Expr | None = None


Ranges = Mapping[str, Range]
_DEPTH = 24  # eliminations in one proof; every real index needs fewer than ten
_STEPS = 1000  # summands looked at in one proof; real indices need fewer than fifty


def nonnegative(e: ExprLike, ranges: Ranges) -> bool:
    """True if `e >= 0` for every value its symbols may take."""
    e = Expr.of(e)
    return e.value >= 0 if e.is_const else _proved(e, _reachable(e, ranges))


@functools.lru_cache(maxsize=8192)  # a kernel's rules ask the same again and again
def _proved(e: Expr, known: tuple[tuple[str, Range], ...]) -> bool:
    return _Proof(dict(known)).holds(e, _DEPTH)


def _reachable(e: Expr, ranges: Ranges) -> tuple[tuple[str, Range], ...]:
    """The ranges of the expression's symbols and of those that they name, in order of declaration."""
    found: set[str] = set()
    pending = list(e.symbols)
    while pending:
        name = pending.pop()
        if name not in found and name in ranges:
            found.add(name)
            r = ranges[name]
            pending += [s for end in (r.lo, r.hi, r.multiple) if end is not None for s in end.symbols]
    return tuple((name, r) for name, r in ranges.items() if name in found)


def at_most(a: ExprLike, b: ExprLike, ranges: Ranges) -> bool:
    """True if `a <= b` is proved."""
    return nonnegative(Expr.of(b) - Expr.of(a), ranges)


def largest(e: Expr, kept: Collection[str], ranges: Ranges) -> Expr | None:
    """An expression of the symbols `kept` that `e` never exceeds, or None where none is found."""
    proof = _Proof(ranges)
    found = -e
    for name in reversed(list(ranges)):  # an end may name symbols declared before
        if name in found.symbols and name not in kept:
            found = next(proof.without_symbol(found, Sym(name), _DEPTH), found)
    found = _at_most(-found, frozenset(kept), 1)
    return found if found.symbols <= set(kept) else None


def _at_most(e: Expr, kept: frozenset[str], sign: int) -> Expr:
    """An expression that `e` never exceeds (with sign 1; -1: that it is never below), with a `min` that has other
    symbols than `kept` replaced by one of its operands that has none, also inside of quotients by constants."""
    total = const(0)
    for monomial, c in e.terms:
        atom, up = monomial[0] if monomial else None, sign if c > 0 else -sign
        found = Expr(((monomial, 1),))
        if len(monomial) == 1 and isinstance(atom, Call) and not found.symbols <= kept:
            if atom.op == "//" and atom.args[1].is_const and atom.args[1].value > 0:
                found = _at_most(atom.args[0], kept, up) // atom.args[1]
            elif atom.op == ("min" if up > 0 else "max"):
                found = next((a for a in atom.args if a.symbols <= kept), found)
        total = total + c * found
    return total


class _Proof:
    """One question; `steps` counts down, so that no expression takes long."""

    def __init__(self, ranges: Ranges) -> None:
        self.ranges, self.steps = ranges, _STEPS
        # inner symbols (whose ends name outer ones) are eliminated first: declaration order, reversed
        self.order = {name: -i for i, name in enumerate(ranges)}
        self.divisible = {name: r.multiple for name, r in ranges.items() if r.multiple is not None}

    def holds(self, e: Expr, depth: int) -> bool:
        """`e >= 0`, by at most `depth` eliminations."""
        if self.divisible:
            e = self.exact(e)
        if e.is_const:
            return e.value >= 0
        self.steps -= len(e.terms)
        if depth == 0 or self.steps < 0:
            return False
        e = _tighten(e)
        atoms = {a for monomial, _ in e.terms for a in monomial}
        if any(self.extreme_case(*extreme, depth) for extreme in self.extremes(e, atoms)):
            return True
        if all(c >= 0 and all(self.atom(a, depth) for a in m) for m, c in e.terms):
            return True
        return any(self.holds(smaller, depth - 1) for smaller in self.bounds_below(e, atoms, depth))

    def exact(self, e: Expr) -> Expr:
        """`d * (n // d)` is n and `n % d` is 0 where n is a multiple of d."""
        for monomial, c in e.terms:
            for call in monomial:
                if isinstance(call, Call) and call.op in ("//", "%") and self.is_multiple(*call.args):
                    rest = list(monomial)
                    rest.remove(call)
                    other = e - Expr(((monomial, c),))
                    if call.op == "%":
                        return self.exact(other)
                    n, d = call.args
                    if d.is_const and c % d.value == 0:
                        return self.exact(other + n * Expr(((tuple(rest), c // d.value),)))
                    atom = d.terms[0][0] if len(d.terms) == 1 and d.terms[0][1] == 1 else ()
                    if len(atom) == 1 and atom[0] in rest:
                        rest.remove(atom[0])
                        return self.exact(other + n * Expr(((tuple(rest), c),)))
        return e

    def is_multiple(self, n: Expr, d: Expr) -> bool:
        """Every summand of n has the factor d, or a symbol that is known to be a multiple of d."""
        atom = d.terms[0][0] if len(d.terms) == 1 and d.terms[0][1] == 1 else ()
        return all(
            (d.is_const and d.value and c % d.value == 0)
            or (len(atom) == 1 and atom[0] in m)
            or any(isinstance(a, Sym) and self.divides(d, self.divisible.get(a.name)) for a in m)
            for m, c in n.terms
        )

    @staticmethod
    def divides(d: Expr, multiple: Expr | None) -> bool:
        if multiple is None or d == multiple:
            return multiple is not None
        return d.is_const and multiple.is_const and d.value != 0 and multiple.value % d.value == 0

    def bounds_below(self, e: Expr, atoms: set[Atom], depth: int) -> Iterator[Expr]:
        """Expressions with one atom less that are negative wherever `e` is."""
        symbols = (a for a in atoms if isinstance(a, Sym))
        for s in sorted(symbols, key=lambda s: (self.order.get(s.name, 1), s.name)):
            yield from self.without_symbol(e, s, depth)
        for call in sorted((a for a in atoms if isinstance(a, Call) and a.op in ("//", "%")), key=str):
            yield from self.without_division(e, call, depth)

    def atom(self, atom: Atom, depth: int) -> bool:
        if isinstance(atom, Sym):
            known = self.ranges.get(atom.name)
            return known is not None and known.lo is not None and self.holds(known.lo, depth - 1)
        if atom.op == "%":
            return self.holds(atom.args[1], depth - 1)
        decide = any if atom.op == "max" else all
        return decide(self.holds(a, depth - 1) for a in atom.args)

    def extremes(self, e: Expr, atoms: set[Atom]) -> list[tuple[Call, int, Expr]]:
        """The `min`s and `max`s that can be replaced, each with its factor and the rest of `e`: those that have others
        of them inside first, since their operands may cancel these; then those of which all operands must do, since
        what else may do can differ from case to case."""
        found: list[tuple[bool, bool, str, tuple[Call, int, Expr]]] = []
        calls = {a: str(a) for a in atoms if isinstance(a, Call) and a.op in ("min", "max")}
        for call, name in calls.items():
            parts = _split(e, call)
            if parts is not None and parts[0].is_const:
                factor = parts[0].value
                simple = not any(other in name for c, other in calls.items() if c is not call)
                found.append((simple, (call.op == "min") != (factor > 0), name, (call, factor, parts[1])))
        return [f[3] for f in sorted(found, key=lambda f: f[:3])]

    def extreme_case(self, call: Call, factor: int, rest: Expr, depth: int) -> bool:
        # min(a, b) is one of them, and at most any of them: with a factor > 0 both must do in place of it, else one is
        # enough; max is the other way round
        decide = all if (call.op == "min") == (factor > 0) else any
        return decide(self.holds(factor * a + rest, depth - 1) for a in call.args)

    def without_symbol(self, e: Expr, s: Sym, depth: int) -> Iterator[Expr]:
        """The symbol replaced by the end of its range that makes `e` smallest."""
        known, parts = self.ranges.get(s.name), _split(e, s)
        if known is None or parts is None or _inside_call(e, s.name):
            return
        factor, rest = parts
        if known.lo is not None and self.holds(factor, depth - 1):
            yield factor * known.lo + rest
        elif known.hi is not None and self.holds(-factor, depth - 1):
            yield factor * known.hi + rest

    def without_division(self, e: Expr, call: Call, depth: int) -> Iterator[Expr]:
        parts, (n, d) = _split(e, call), call.args
        if parts is None or not parts[0].is_const or not self.holds(d - 1, depth - 1):
            return
        c, rest = parts[0].value, parts[1]
        if call.op == "%":  # 0 <= n % d <= d - 1
            yield rest if c > 0 else rest + c * (d - 1)
        elif c == 1:  # n // d >= k exactly when n >= k*d
            yield n + rest * d
        elif c == -1:  # n // d <= k exactly when n <= k*d + d - 1
            yield rest * d + (d - 1) - n
        else:  # n - (d - 1) <= d * (n // d) <= n
            yield rest * d + (n - (d - 1) if c > 0 else n) * c


def _split(e: Expr, atom: Atom) -> tuple[Expr, Expr] | None:
    """`e = factor * atom + rest`, or None where the atom is not linear."""
    if any(m.count(atom) > 1 for m, _ in e.terms):
        return None
    rest = Expr(tuple((m, c) for m, c in e.terms if atom not in m))
    factor = const(0)
    for monomial, c in e.terms:
        if atom in monomial:
            at = monomial.index(atom)
            factor = factor + Expr((((*monomial[:at], *monomial[at + 1 :]), c),))
    return factor, rest


def _inside_call(e: Expr, name: str) -> bool:
    return any(isinstance(a, Call) and any(name in arg.symbols for arg in a.args) for m, _ in e.terms for a in m)


def _tighten(e: Expr) -> Expr:
    """Divide by the common divisor of the coefficients; the constant is floored, which integers allow."""
    common = math.gcd(*(c for m, c in e.terms if m))
    if common <= 1:
        return e
    return Expr(tuple((m, c // common) for m, c in e.terms if c // common))
