"""What a kernel's contract says about its symbols, in the form that proofs use: ranges and divisors."""

from __future__ import annotations

from collections.abc import Collection, MutableMapping, Sequence
from dataclasses import replace

from tilebuild.ir.types import TileType
from tilebuild.plan.bounds import Range, Ranges, at_most, largest
from tilebuild.plan.expr import Call, Expr, ExprLike, Predicate, Sym, const, emin, parse_predicates


def facts_to_ranges(facts: Sequence[str], ranges: MutableMapping[str, Range]) -> None:
    """Narrow the ranges by the facts.

    `H % G == 0` makes H a multiple of G, and at least G. A comparison bounds the last declared of its symbols that
    stands in it once, with the factor 1 or -1, by the others: `T >= S` gives T the lower end S. Other facts are left
    unused.
    """
    for fact in facts:
        for p in parse_predicates(fact):
            if p.op == "==" and p.right == const(0) and (found := _divisibility(p.left)) is not None:
                _divide(*found, ranges)
            else:
                _bound(p, ranges)


def _divisibility(e: Expr) -> tuple[str, Expr] | None:
    """The symbol and the divisor of `symbol % divisor`."""
    atom = e.terms[0][0][0] if len(e.terms) == 1 and len(e.terms[0][0]) == 1 else None
    if not isinstance(atom, Call) or atom.op != "%" or e.terms[0][1] != 1:
        return None
    n = atom.args[0].terms
    name = n[0][0][0] if len(n) == 1 and len(n[0][0]) == 1 and n[0][1] == 1 else None
    return (name.name, atom.args[1]) if isinstance(name, Sym) else None


def _divide(name: str, by: Expr, ranges: MutableMapping[str, Range]) -> None:
    known = ranges.get(name)
    if known is None or not by.symbols <= set(ranges) or name in by.symbols:
        return
    positive = known.lo is not None and at_most(1, known.lo, ranges) and at_most(1, by, ranges)
    lo = by if positive and known.lo is not None and at_most(known.lo, by, ranges) else known.lo
    ranges[name] = replace(known, lo=lo, multiple=known.multiple if known.multiple is not None else by)


def _bound(p: Predicate, ranges: MutableMapping[str, Range]) -> None:
    difference = p.left - p.right  # against zero
    if not difference.symbols <= set(ranges):
        return
    for name in reversed(list(ranges)):
        scale = dict(difference.terms).get((Sym(name),), 0)
        rest = difference - scale * Expr((((Sym(name),), 1),))
        if abs(scale) == 1 and name not in rest.symbols:
            op = p.op if scale > 0 else _MIRRORED[p.op]
            _narrow(name, op, -rest if scale > 0 else rest, ranges)
            return


def _narrow(name: str, op: str, limit: Expr, ranges: MutableMapping[str, Range]) -> None:
    lo, hi = ranges[name].lo, ranges[name].hi
    if op in ("<=", "<", "=="):
        end = limit - 1 if op == "<" else limit
        hi = end if hi is None else emin(hi, end)
    if op in (">=", ">", "=="):
        end = limit + 1 if op == ">" else limit
        lo = end if lo is None or at_most(lo, end, ranges) else lo
    ranges[name] = replace(ranges[name], lo=lo, hi=hi)


_MIRRORED = {"<=": ">=", "<": ">", ">=": "<=", ">": "<", "==": "==", "!=": "!="}


def guards(p: Predicate, dims: Collection[str], ranges: Ranges) -> list[Predicate] | None:
    """Conditions on dimensions alone under which the predicate holds for all ids; None where none is found."""
    forms = {"<=": (1, 0), "<": (1, 1), ">=": (-1, 0), ">": (-1, 1), "==": (0, 0)}
    if p.op not in forms:
        return None
    sign, more = forms[p.op]
    difference = p.left - p.right
    found = []
    for e in [sign * difference + more] if sign else [difference, -difference]:  # e <= 0
        if at_most(e, 0, ranges):
            continue
        most = largest(e, dims, ranges)
        if most is None:
            return None
        found.append(Predicate("<=", most, const(0)))
    return found


def fixed(ranges: Ranges) -> dict[str, ExprLike]:
    """The symbols of which the contract leaves one value, with it."""
    return {n: r.lo for n, r in ranges.items() if r.lo is not None and r.lo == r.hi and r.lo.is_const}


def simplify(e: Expr, ranges: Ranges) -> Expr:
    """A `min` of two whose order is proved becomes the smaller one."""
    if len(e.terms) != 1 or len(e.terms[0][0]) != 1 or e.terms[0][1] != 1:
        return e
    atom = e.terms[0][0][0]
    if isinstance(atom, Sym) or atom.op != "min":
        return e
    kept = list(atom.args)
    for a in atom.args:
        if len(kept) > 1 and any(b is not a and at_most(b, a, ranges) for b in kept):
            kept.remove(a)
    return emin(*kept)


def simplify_valid(t: TileType, ranges: Ranges) -> TileType:
    """The type with its valid region's extents simplified under what is known."""
    return TileType.of(t.shape, t.dtype, (simplify(t.valid[0], ranges), simplify(t.valid[1], ranges)))
