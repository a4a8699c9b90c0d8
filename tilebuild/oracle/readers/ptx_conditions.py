"""What a predicate register says of values, and what follows from it where it holds or does not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Union

from tilebuild.oracle.readers.ptx_unknowns import Env, Unknowns
from tilebuild.oracle.readers.ptx_values import HIGHEST, LOWEST, Range, Value

_NEGATED = {"lt": "ge", "ge": "lt", "le": "gt", "gt": "le", "eq": "ne", "ne": "eq"}
_UNSIGNED = {"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}
_DEPTH = 4
_FACTS, _FACT_TERMS = 16, 4  # that are kept, and the terms of one


@dataclass(frozen=True)
class Test:
    """A comparison of two integers of some width."""

    op: str
    a: Value
    b: Value
    bits: int
    signed: bool


@dataclass(frozen=True)
class Inverse:
    """The opposite of a predicate."""

    of: Predicate


@dataclass(frozen=True)
class Joined:
    """Two predicates joined by "and" or "or"."""

    op: str
    a: Predicate
    b: Predicate


@dataclass(frozen=True)
class Anything:
    """A predicate of which nothing is known."""


Predicate = Union[Test, Inverse, Joined, Anything]


def comparison(op: str, a: Value, b: Value, bits: int, signed: bool) -> Predicate:
    """The predicate that a comparison by its PTX name gives."""
    if op in _UNSIGNED:
        op, signed = _UNSIGNED[op], False
    return Test(op, a, b, bits, signed) if op in _NEGATED else Anything()


class Narrowing:
    """`turns` collects, for each loop's number of iterations, the values at which a test for inequality ends it."""

    def __init__(self, unknowns: Unknowns) -> None:
        self.unknowns = unknowns
        self.turns: dict[int, set[int]] = {}

    def assume(self, env: Env, predicate: Predicate, truth: bool) -> Env | None:
        """What is known where the predicate is true (or false), or None where that never happens."""
        if isinstance(predicate, Inverse):
            return self.assume(env, predicate.of, not truth)
        if isinstance(predicate, Joined):
            if (predicate.op == "and") != truth:
                return self.assume(env, Anything(), truth)
            half = self.assume(env, predicate.a, truth)
            return None if half is None else self.assume(half, predicate.b, truth)
        new = env.copy()
        if isinstance(predicate, Anything):
            self._forget_threads(new)
            return new
        return new if self._compare(new, predicate, predicate.op if truth else _NEGATED[predicate.op]) else None

    def last_turn(self, env: Env, predicate: Predicate, truth: bool, turn: int, first: int) -> bool:
        """What follows for the number of completed iterations from the test for inequality at the end of each: it
        counts up from 0, and so it does not pass the number at which the two are equal, if there is one. `first` is
        the first unknown that the loop itself makes. False where the test never holds."""
        while isinstance(predicate, Inverse):
            predicate, truth = predicate.of, not truth
        if not isinstance(predicate, Test) or (predicate.op == "ne") != truth or predicate.op not in ("eq", "ne"):
            return True
        a, b = (self.unknowns.exact(v, predicate.bits, predicate.signed, env) for v in (predicate.a, predicate.b))
        # equality is the same thing for the bits themselves, whether or not they have been counted past their width
        for difference in (predicate.a.plus(predicate.b, -1), a.plus(b, -1)):
            c = dict(difference.terms).get(turn, 0)
            rest = difference.plus(Value(((turn, c),)), -1)
            if c == 0 or any(u >= first for u, _ in rest.terms):
                continue
            limit = self.unknowns.range_of(rest.scaled(-1 if c > 0 else 1), env)  # |c| * turn where they are equal
            if limit.lo is not None and limit.lo >= 0 and limit.hi is not None and limit.multiple_of(abs(c)):
                return self._put(env, turn, Range(None, limit.hi // abs(c) - 1))
        return True

    def _compare(self, env: Env, test: Test, op: str) -> bool:
        exact = [self.unknowns.exact(v, test.bits, test.signed, env) for v in (test.a, test.b)]
        a, b = exact
        if op == "ne":
            return self._differ(env, a.plus(b, -1))
        if op in ("gt", "ge"):
            a, b, op = b, a, {"gt": "lt", "ge": "le"}[op]
        if op == "eq":
            difference = a.plus(b, -1)
            return self._at_most(env, difference, 0) and self._at_most(env, difference.scaled(-1), 0)
        bound = -1 if op == "lt" else 0
        if not self._at_most(env, a.plus(b, -1), bound):
            return False
        if not test.signed and op in ("lt", "le"):
            raw = test.a if exact[0] is a else test.b
            return self._below_unsigned(env, raw, b, bound, test.bits)
        return True

    def _below_unsigned(self, env: Env, raw: Value, limit: Value, bound: int, bits: int) -> bool:
        """A signed number that is below a small limit as an unsigned one is not negative."""
        half = 1 << bits - 1
        known, most = self.unknowns.range_of(raw, env), self.unknowns.range_of(limit, env).hi
        if known.inside(-half, half - 1) and most is not None and most <= half:
            return self._at_most(env, raw.scaled(-1), 0) and self._at_most(env, raw.plus(limit, -1), bound)
        return True

    def _differ(self, env: Env, difference: Value) -> bool:
        if difference.is_constant:
            return difference.const != 0
        if not self._alone(difference):
            self._forget(env, difference)
        if len(difference.terms) != 1:
            return True
        ((number, c),) = difference.terms
        if difference.const % c:
            return True
        value = -difference.const // c
        if self.unknowns.all[number].kind == "turn" and value >= 0:
            self.turns.setdefault(number, set()).add(value)
        known = self.unknowns.range_of_one(number, env)
        dense = self._dense(number, known)
        if known.lo == value:
            return self._put(env, number, Range(value + (known.step or 1), None, taken=LOWEST if dense else 0))
        if known.hi == value:
            return self._put(env, number, Range(None, value - (known.step or 1), taken=HIGHEST if dense else 0))
        if known.taken and self.unknowns.all[number].kind != "turn":  # there is a hole in it now
            env[number] = replace(known, taken=0)
        return True

    def _alone(self, value: Value) -> bool:
        """True if a value is one unknown that is no function of others: a bound of it cuts off nothing else."""
        if len(value.terms) != 1:
            return False
        unknown = self.unknowns.all[value.terms[0][0]]
        return unknown.of is None and unknown.pair is None

    def _forget_threads(self, env: Env) -> None:
        """A condition that is not known may keep any thread away."""
        for number, unknown in enumerate(self.unknowns.all):
            if unknown.kind in ("thread", "turn"):
                known = self.unknowns.range_of_one(number, env)
                if known.taken:
                    env[number] = replace(known, taken=0)

    def _forget(self, env: Env, value: Value) -> None:
        """A condition that ties unknowns together may keep each of them from its ends."""
        for root in self.unknowns.roots(value):
            known = self.unknowns.range_of_one(root, env)
            if known.taken:
                env[root] = replace(known, taken=0)

    def _dense(self, number: int, known: Range) -> bool:
        """True if all values of the range are taken, so that an end that is cut off leaves another one."""
        counts = self.unknowns.all[number].kind == "turn" and known.taken & LOWEST
        return known.step == 1 and (bool(counts) or known.taken == LOWEST | HIGHEST)

    def _at_most(self, env: Env, value: Value, bound: int, depth: int = _DEPTH) -> bool:
        """Take `value <= bound` as given; False where that cannot be."""
        ranges = [self.unknowns.range_of_one(number, env) for number, _ in value.terms]
        lows, unbounded = value.const, 0
        highs: int | None = value.const
        for known, (_, c) in zip(ranges, value.terms):
            low, high = (known.lo, known.hi) if c > 0 else (known.hi, known.lo)
            if low is None:
                unbounded += 1
            else:
                lows += c * low
            if high is None or highs is None:
                highs = None
            else:
                highs += c * high
        if unbounded == 0 and lows > bound:
            return False
        if 1 < len(value.terms) <= _FACT_TERMS and len(env.facts) < _FACTS:
            env.facts |= {(Value(value.terms), bound - value.const)}
        if highs is not None and highs <= bound:  # nothing follows
            return True
        if unbounded > 1:
            self._forget(env, value)
            return True
        if not self._alone(value):
            self._forget(env, value)
        for known, (number, c) in zip(ranges, value.terms):
            low = known.lo if c > 0 else known.hi
            if unbounded and low is not None:
                continue
            most = bound - lows + (c * low if low is not None else 0)  # of c times this unknown
            alone = self._alone(value) and self._dense(number, known)
            if c > 0 and (known.hi is None or most // c < known.hi):
                end = Range(None, most // c, taken=HIGHEST if alone else 0)
            elif c < 0 and (known.lo is None or -(most // -c) > known.lo):
                end = Range(-(most // -c), None, taken=LOWEST if alone else 0)
            else:
                continue
            if not (self._put(env, number, end) and self._dividend(env, number, end, depth)):
                return False
        return True

    def _dividend(self, env: Env, number: int, end: Range, depth: int) -> bool:
        """What an end of a quotient says of what was divided."""
        unknown = self.unknowns.all[number]
        if unknown.kind != "div" or unknown.of is None or not depth:
            return True
        if end.hi is not None:
            return self._at_most(env, unknown.of, end.hi * unknown.by + unknown.by - 1, depth - 1)
        return end.lo is None or self._at_most(env, unknown.of.scaled(-1), -end.lo * unknown.by, depth - 1)

    def _put(self, env: Env, number: int, end: Range) -> bool:
        known = self.unknowns.range_of_one(number, env)
        new = known.meet(end)
        if (new.step, new.rest) != (known.step, known.rest):
            new = replace(new, step=known.step, rest=known.rest)
        if new.lo is not None and known.step > 1:
            new = replace(new, lo=new.lo + (known.rest - new.lo) % known.step)
        if new.hi is not None and known.step > 1:
            new = replace(new, hi=new.hi - (new.hi - known.rest) % known.step)
        if new.empty:
            return False
        if new != known:
            env[number] = new
        return True
