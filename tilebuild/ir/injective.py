"""Which ids the place of an access tells: where two programs touch one element, these ids are equal in both (R10).

An access stands, on each axis, at `size` elements from `start`. What its place determines is found in three steps:

- `start = k*E + r` with `0 <= r` and `r + size <= k`: boxes that meet have the same E, whatever r is; E and r are the
  digits of a mixed radix, and r is taken apart in the same way;
- n // d and n % d together determine n (and so do (n // d) // e, (n // d) % e and n % d);
- a sum determines its one id that nothing else determines.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from typing import NamedTuple

from tilebuild.plan.bounds import Ranges, at_most, nonnegative
from tilebuild.plan.expr import ONE, ZERO, Atom, Call, Expr, Sym, const

_DIGITS = 8  # twice those of one axis; an index has as many as a view drops dimensions


class Coordinate(NamedTuple):
    """Where an access stands on one axis of the whole array: `size` elements from `start`."""

    start: Expr
    size: int


def determined(accesses: Sequence[Sequence[Coordinate]], ids: Set[str], ranges: Ranges) -> frozenset[str]:
    """The ids that are equal wherever two of the accesses, of programs that may differ in all ids, have an element in
    common. Each access has one coordinate an axis."""
    common: set[Expr] = set()
    for axis in zip(*accesses):
        of_axis = [set(_digits(c.start, c.size, ids, ranges, ())) for c in axis]
        common |= {e for _, e in set.intersection(*of_axis)}
    known: set[str] = set()
    while True:
        found = _joined(common, ranges) | {_rest(e, known, ids) for e in common}
        alone = {e for e in found if e not in common}
        names = {n for n in ids - known if _is_determined(n, common | alone)}
        if not alone and not names:
            return frozenset(known)
        common |= alone
        known |= names


def _is_determined(name: str, exprs: Set[Expr]) -> bool:
    return Expr((((Sym(name),), 1),)) in exprs


_Path = tuple[Expr, ...]


def _digits(start: Expr, size: int, ids: Set[str], ranges: Ranges, path: _Path) -> Iterator[tuple[_Path, Expr]]:
    """What boxes of `size` elements from `start` that meet have in common: digits, each with the radices that lead to
    it, since only digits of the same radices can be compared."""
    if size == 1:
        yield path, start
    if len(path) >= _DIGITS:
        return
    for k in _scales(start, ids):
        digit, rest = _divided(start, k)
        if nonnegative(rest, ranges) and at_most(rest + size, k, ranges):
            yield (*path, k), digit
            yield from _digits(digit, 1, ids, ranges, (*path, k, ZERO))
            yield from _digits(rest, size, ids, ranges, (*path, k))
            return


def _scales(e: Expr, ids: Set[str]) -> list[Expr]:
    """Factors of the summands that have ids, the largest first: a constant, or an id-free atom times it."""
    found: dict[Expr, None] = {}
    for monomial, c in e.terms:
        free = [a for a in monomial if _symbols(a).isdisjoint(ids)]
        if len(free) < len(monomial):
            found[abs(c) * Expr(((tuple(free), 1),))] = None
    return sorted(found, key=lambda k: (-len(k.terms[0][0]), -k.terms[0][1], str(k)))


def _divided(e: Expr, k: Expr) -> tuple[Expr, Expr]:
    """`e = k * digit + rest`, with every summand that has the factor k in the digit."""
    ((factors, scale),) = k.terms
    digit, rest = const(0), const(0)
    for monomial, c in e.terms:
        left = list(monomial)
        whole = c % scale == 0
        for f in factors:
            if f in left:
                left.remove(f)
            else:
                whole = False
        if whole:
            digit = digit + Expr(((tuple(left), c // scale),))
        else:
            rest = rest + Expr(((monomial, c),))
    return digit, rest


def _joined(exprs: Set[Expr], ranges: Ranges) -> set[Expr]:
    """The n of every n // d and n % d that are both there."""
    found: set[Expr] = set()
    modulos = [c for c in map(_call, exprs) if c is not None and c.op == "%"]
    quotients = [c for c in map(_call, exprs) if c is not None and c.op == "//"]
    for low in modulos:
        n, e = low.args
        if n // e in exprs:
            found.add(n)
        inner = _call(n)
        if inner is None or inner.op != "//":
            continue
        for high in quotients:  # p // (d*e) is (p // d) // e, where d and e are positive
            p, d = inner.args
            if high.args == (p, d * e) and nonnegative(d - 1, ranges) and nonnegative(e - 1, ranges):
                found.add(n)
    return found


def _rest(e: Expr, known: Set[str], ids: Set[str]) -> Expr:
    """What is left of a determined expression without the summands that are known: its one atom, where it is one."""
    left = Expr(tuple((m, c) for m, c in e.terms if not _names(m) & ids <= known))
    if len(left.terms) == 1:
        monomial, c = left.terms[0]
        free: list[Atom] = [a for a in monomial if not _symbols(a) & ids]
        others = [a for a in monomial if _symbols(a) & ids]
        if c and not free and len(others) == 1:
            return Expr((((others[0],), 1),))
    return left if left.terms else ONE


def _call(e: Expr) -> Call | None:
    atom = e.terms[0][0][0] if len(e.terms) == 1 and len(e.terms[0][0]) == 1 and e.terms[0][1] == 1 else None
    return atom if isinstance(atom, Call) else None


def _symbols(atom: Atom) -> frozenset[str]:
    return Expr((((atom,), 1),)).symbols


def _names(monomial: tuple[Atom, ...]) -> frozenset[str]:
    return frozenset[str]().union(*map(_symbols, monomial))


def covered(counts: dict[Expr, Expr]) -> dict[Expr, Expr]:
    """Digits that run over counts, joined: n // d over A and n % d over d are n over A*d."""
    joined = dict(counts)
    while True:
        for low, count in joined.items():
            call = _call(low)
            if call is not None and call.op == "%" and call.args[1] == count and call.args[0] // count in joined:
                high = call.args[0] // count
                total = joined.pop(high) * joined.pop(low)
                joined[call.args[0]] = total
                break
        else:
            return joined
