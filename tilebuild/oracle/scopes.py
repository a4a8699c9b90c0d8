"""What is known about the symbols at one place of a plan, and proofs from it.

The oracle takes no declared range on trust. A dimension is at least 1, as the launcher enforces; a program id lies in
the launch grid; a loop id between its region's bounds; everything else follows from the contract's facts and from the
branches that enclose the place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import factorial

from tilebuild.plan import bounds
from tilebuild.plan.bounds import Range
from tilebuild.plan.expr import ZERO, Call, Expr, Predicate, Sym, emax, emin, sym

# The prover tries every order of elimination before it gives up, so what it may cost on expressions that no real
# plan has is limited: beyond these, a proof is not tried, and its answer is "not proved".
_MAX_SYMBOLS = 7
_MAX_TERMS = 16
_FAILURE_BUDGET = 400_000  # sum over failed proofs of (symbols! x terms)


def constant(e: Expr) -> int | None:
    """The value of a constant expression, else None."""
    terms = e.terms
    if not terms:
        return 0
    return terms[0][1] if len(terms) == 1 and not terms[0][0] else None


@dataclass(frozen=True)
class Known:
    """A symbol's rank, (depth of its loop or 0, place among the declarations), and its range, whose ends name symbols
    of lower rank only."""

    rank: tuple[int, int]
    range: Range


class Proofs:
    """Proofs already made in one plan, and what failed ones have cost."""

    def __init__(self) -> None:
        self.memo: dict[tuple[Expr, tuple[tuple[str, Range], ...]], bool] = {}
        self.failures = 0


class Scope:
    """What is known at a place. Places that the same is known about share one scope: two loops with the same bounds
    have one, although an id in one is not the id in the other. `conditions` are the predicates of the enclosing
    branches."""

    def __init__(
        self,
        own: Mapping[str, Known],
        parent: Scope | None = None,
        loop_var: str = "",
        conditions: frozenset[Predicate] = frozenset(),
    ) -> None:
        self._own = dict(own)
        self._parent = parent
        self._loop_var = loop_var
        self._depth: int = parent._depth + 1 if parent else 0
        self._proofs: Proofs = parent._proofs if parent else Proofs()
        self._memo: dict[Expr, bool] = {}
        self._inner: dict[object, Scope] = {}
        self.conditions = conditions

    def known(self, name: str) -> Known | None:
        """What is known about a visible symbol, else None."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope._own:
                return scope._own[name]
            scope = scope._parent
        return None

    def loop(self, var: str, lower: Expr, upper: Expr) -> Scope:
        """The scope inside a loop, where `lower <= var < upper`."""
        key = (var, lower, upper)
        if key not in self._inner:
            known = {var: Known((self._depth + 1, 0), Range(lower, upper - 1))}
            self._inner[key] = Scope(known, self, var, self.conditions)
        return self._inner[key]

    def simplest(self, symbols: frozenset[str]) -> Scope:
        """The outermost scope in which the same is known about these symbols: that without the inner loops whose ids
        are not among them."""
        scope = self
        while scope._parent is not None and scope._loop_var and scope._loop_var not in symbols:
            scope = scope._parent
        return scope

    def branch(self, when: tuple[Predicate, ...]) -> Scope:
        """The scope inside a branch, where all of `when` hold."""
        if when not in self._inner:
            inner = self._inner[when] = Scope({}, self, "", self.conditions | frozenset(when))
            for predicate in when:
                inner.assume(predicate)
        return self._inner[when]

    def assume(self, predicate: Predicate) -> None:
        """Narrow the range of the symbol that the predicate bounds, or note what divides it; a predicate that does
        neither is left unused."""
        divided = _divided(predicate)
        if divided is not None:
            self._assume_multiple(*divided)
            return
        for e in _nonnegative_forms(predicate):
            self._assume_nonnegative(e)

    def _assume_multiple(self, name: str, divisor: Expr) -> None:
        """The symbol is a multiple of the divisor; where both are positive, it is no smaller."""
        known = self.known(name)
        if known is None or name in divisor.symbols or any(self.known(s) is None for s in divisor.symbols):
            return
        lo, hi = known.range.lo, known.range.hi
        positive = lo is not None and constant(lo) == 1 and self.nonnegative(divisor - 1)
        self._own[name] = Known(known.rank, Range(divisor if positive else lo, hi, divisor))

    def _assume_nonnegative(self, e: Expr) -> None:
        ranked = [(known.rank, name) for name in e.symbols if (known := self.known(name)) is not None]
        if not ranked or len(ranked) != len(e.symbols):
            return
        rank, name = max(ranked)
        atom = Sym(name)
        factor = next((c for monomial, c in e.terms if monomial == (atom,)), 0)
        rest = Expr(tuple(t for t in e.terms if t[0] != (atom,)))
        if factor == 0 or name in rest.symbols:
            return
        known = self.known(name)
        old = known.range if known else Range()
        if factor > 0:  # factor * s + rest >= 0, so s >= ceil(-rest / factor)
            end = -(rest // factor)
            new = Range(end if old.lo is None else emax(old.lo, end), old.hi, old.multiple)
        else:
            end = rest // -factor
            new = Range(old.lo, end if old.hi is None else emin(old.hi, end), old.multiple)
        self._own[name] = Known(rank, new)

    def nonnegative(self, e: Expr) -> bool:
        """True if `e >= 0` is proved."""
        value = constant(e)
        if value is not None:
            return value >= 0
        proved = self._memo.get(e)
        if proved is None:
            proved = self._memo[e] = self._prove(e)
        return proved

    def at_most(self, a: Expr, b: Expr) -> bool:
        """True if `a <= b` is proved."""
        if a is b:
            return True
        x, y = constant(a), constant(b)
        if x is not None and y is not None:
            return x <= y
        return a == b or self.nonnegative(b - a)

    def below(self, a: Expr, b: Expr) -> bool:
        """True if `a < b` is proved."""
        return self.at_most(a + 1, b)

    def holds(self, predicate: Predicate) -> bool:
        """True if the predicate is proved, or is one of the enclosing branches' own."""
        if predicate in self.conditions:
            return True
        difference = predicate.left - predicate.right
        if predicate.op == "!=":
            return self.nonnegative(difference - 1) or self.nonnegative(-difference - 1)
        return all(self.nonnegative(e) for e in _nonnegative_forms(predicate))

    def _prove(self, e: Expr) -> bool:
        ranges = self._reachable(e)
        if ranges is None or len(e.terms) > _MAX_TERMS or self._proofs.failures > _FAILURE_BUDGET:
            return False
        key = (e, tuple(ranges.items()))
        proved = self._proofs.memo.get(key)
        if proved is None:
            proved = self._proofs.memo[key] = bounds.nonnegative(e, ranges)
            if not proved:
                self._proofs.failures += factorial(len(ranges)) * len(e.terms)
        return proved

    def _reachable(self, e: Expr) -> dict[str, Range] | None:
        """The ranges of the expression's symbols and of those that they name, in order of declaration."""
        found: dict[str, Known] = {}
        pending = list(e.symbols)
        while pending:
            name = pending.pop()
            known = self.known(name)
            if name in found or known is None:
                continue
            found[name] = known
            if len(found) > _MAX_SYMBOLS:
                return None
            for end in (known.range.lo, known.range.hi, known.range.multiple):
                pending += end.symbols if end is not None else ()
        return {name: known.range for name, known in sorted(found.items(), key=lambda item: item[1].rank)}


def _divided(p: Predicate) -> tuple[str, Expr] | None:
    """The symbol and the divisor of `symbol % divisor == 0`."""
    if p.op != "==" or p.right != ZERO or len(p.left.terms) != 1:
        return None
    monomial, factor = p.left.terms[0]
    call = monomial[0] if len(monomial) == 1 and factor == 1 else None
    if not isinstance(call, Call) or call.op != "%":
        return None
    names = [a.name for a in call.args[0].terms[0][0] if isinstance(a, Sym)] if len(call.args[0].terms) == 1 else []
    return (names[0], call.args[1]) if len(names) == 1 and call.args[0] == sym(names[0]) else None


def _nonnegative_forms(p: Predicate) -> tuple[Expr, ...]:
    """Expressions that are all >= 0 exactly where the predicate holds; none for `!=`."""
    difference = p.right - p.left
    forms = {
        "<=": (difference,),
        "<": (difference - 1,),
        ">=": (-difference,),
        ">": (-difference - 1,),
        "==": (difference, -difference),
        "!=": (),
    }
    return forms[p.op]


def negated(p: Predicate) -> Predicate:
    """The predicate that holds exactly where `p` does not."""
    opposite = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", "<=": ">", ">": "<="}
    return Predicate(opposite[p.op], p.left, p.right)
