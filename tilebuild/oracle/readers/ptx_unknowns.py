"""The unknowns that values are made of: a thread's position, a quotient, a loop's iteration, or anything; and what is
known of them at a place of a program."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from tilebuild.oracle.readers.ptx_values import EVERYTHING, HIGHEST, LOWEST, Range, Value, single


@dataclass(frozen=True)
class Unknown:
    """One unknown. kind "div": `of // by` (floor); "rem": `of % by`; "view": `of` as an integer of `by` bits, signed or
    not; "and", "or", "xor", "mul", "min", "max", and comparisons such as "lt", which are 0 or 1: of the `pair`;
    "array" and "generic": the address of the shared array `name` in its own window and as a generic one; "thread": a
    thread's position; "turn": finished iterations of a loop; "any": anything. `arrays` are those whose address may be
    in it."""

    kind: str
    name: str
    range: Range = EVERYTHING
    of: Value | None = None
    by: int = 1
    arrays: frozenset[str] = frozenset()
    pair: tuple[Value, Value] | None = None


class Env(dict[int, Range]):
    """What is known at a place: ranges of unknowns, and `facts`, sums that do not exceed a number."""

    facts: frozenset[tuple[Value, int]] = frozenset()

    def copy(self) -> Env:
        new = Env(self)
        new.facts = self.facts
        return new


class Unknowns:
    """All unknowns of one function; equal ones have one number."""

    def __init__(self) -> None:
        self._numbers: dict[object, int] = {}
        self.all: list[Unknown] = []

    def number(self, key: object, unknown: Unknown) -> int:
        """The number of the unknown that `key` names, made where it is new."""
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = len(self.all)
            self.all.append(unknown)
        return found

    def any(self, key: object, known: Range, arrays: frozenset[str], env: Env) -> Value:
        """Something defined here of which only the range is known."""
        if known.lo is not None and known.lo == known.hi and not arrays:
            return Value((), known.lo)
        unknown = self.number(("any", key, arrays), Unknown("any", str(key), arrays=arrays))
        env[unknown] = replace(known, taken=0)
        return Value(((unknown, 1),))

    def function(self, op: str, a: Value, b: Value, known: Range, env: Env) -> Value:
        """The result of an operation on two exact values, of which the range is known here."""
        arrays = self.arrays(a) | self.arrays(b)
        unknown = self.number((op, a, b), Unknown(op, "", arrays=arrays, pair=(a, b)))
        env[unknown] = replace(known, taken=0)
        return Value(((unknown, 1),))

    def loop(self, key: tuple[int, str], known: Range, arrays: frozenset[str], env: Env) -> Value:
        """What a loop leaves in a register from one iteration to the next."""
        unknown = self.number(("loop", key), Unknown("any", key[1]))
        self.all[unknown] = replace(self.all[unknown], arrays=arrays)
        env[unknown] = replace(known, taken=0)
        return Value(((unknown, 1),))

    def loop_number(self, key: tuple[int, str]) -> int | None:
        """The number of that unknown, where there is one."""
        return self._numbers.get(("loop", key))

    def origins(self) -> dict[int, tuple[str, int, str]]:
        """Of unknowns that stand for what a register holds: that register, and "block" or "instruction" with the
        number of the one where it got it (-1: nowhere)."""
        found: dict[int, tuple[str, int, str]] = {}
        for key, number in self._numbers.items():
            if not isinstance(key, tuple) or key[0] not in ("any", "loop"):
                continue
            inner = key[1]
            if key[0] == "loop":
                found[number] = (inner[1], inner[0], "block")
            elif isinstance(inner, tuple) and len(inner) > 1 and isinstance(inner[0], int):
                found[number] = (inner[1], inner[0], "instruction")
            elif isinstance(inner, tuple) and inner[0] == "join":
                found[number] = (inner[2], inner[1], "block")
        return found

    def base(self, kind: str, name: str, known: Range, arrays: frozenset[str] = frozenset()) -> Value:
        """Something that is the same all through the function."""
        return Value(((self.number((kind, name), Unknown(kind, name, known, arrays=arrays)), 1),))

    def arrays(self, value: Value) -> frozenset[str]:
        """The shared arrays whose address may be in a value."""
        return frozenset().union(*(self.all[u].arrays for u, _ in value.terms)) if value.terms else frozenset()

    # -- ranges -----------------------------------------------------------------------------------

    def range_of(self, value: Value, env: Env, depth: int = 8) -> Range:
        """All that a value may be."""
        total = single(value.const)
        for unknown, c in value.terms:
            total = total.plus(self.range_of_one(unknown, env, depth).scaled(c))
        if len(value.terms) > 1 and total.taken:
            roots = [root for u, _ in value.terms for root in self._roots(u)]
            if len(set(roots)) < len(roots):  # where the one is highest the other may not be
                total = replace(total, taken=0)
        return total

    def _roots(self, number: int) -> frozenset[int]:
        """The unknowns that are no function of others of which this one is made."""
        unknown = self.all[number]
        parts = unknown.pair or ((unknown.of,) if unknown.of is not None else ())
        if not parts:
            return frozenset({number})
        return frozenset().union(*(self._roots(u) for part in parts for u, _ in part.terms))

    def roots(self, value: Value) -> set[int]:
        """The unknowns of which a value is a function."""
        return {root for u, _ in value.terms for root in self._roots(u)}

    def derived(self, value: Value) -> set[int]:
        """The unknowns in a value that are functions of others."""
        found: set[int] = set()
        pending = [value]
        while pending:
            for number, _ in pending.pop().terms:
                unknown = self.all[number]
                if number not in found and (unknown.of is not None or unknown.pair is not None):
                    found.add(number)
                    pending += [v for v in (*(unknown.pair or ()), unknown.of) if v is not None]
        return found

    def range_of_one(self, number: int, env: Env, depth: int = 8) -> Range:
        """All that an unknown may be."""
        unknown = self.all[number]
        known = env.get(number, unknown.range)
        if unknown.of is None or depth == 0:
            return known
        inner = self.range_of(unknown.of, env, depth - 1)
        if unknown.kind == "div":
            lo = None if inner.lo is None else inner.lo // unknown.by
            hi = None if inner.hi is None else inner.hi // unknown.by
            return known.meet(Range(lo, hi, taken=inner.taken))
        if unknown.kind == "rem":
            if inner.inside(0, unknown.by - 1):
                return known.meet(inner)
            wide = inner.lo is not None and inner.hi is not None and inner.hi - inner.lo >= unknown.by - 1
            every = wide and inner.taken == LOWEST | HIGHEST and inner.step == 1 and len(unknown.of.terms) == 1
            step = math.gcd(inner.step, unknown.by)
            first = inner.rest % step
            taken = LOWEST | HIGHEST if every else 0
            return known.meet(Range(first, unknown.by - step + first, step, first, taken))
        if inner.inside(known.lo or 0, known.hi or 0):
            return known.meet(inner)
        step = math.gcd(inner.step, 1 << unknown.by)  # what wraps keeps its lowest bits
        return replace(known, step=step, rest=inner.rest % step) if step > known.step else known

    def exact(self, value: Value, bits: int, signed: bool, env: Env) -> Value:
        """The integer that a register of so many bits holds, as a value that equals it (and is not only congruent)."""
        lo, hi = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        known = self.range_of(value, env)
        if known.inside(lo, hi):
            return value
        if known.lo is not None and known.hi is not None:
            turns = (known.lo - lo) >> bits
            if turns == (known.hi - lo) >> bits:
                return value.shifted(-(turns << bits))
        arrays = self.arrays(value)
        unknown = Unknown("view", f"{'s' if signed else 'u'}{bits}", Range(lo, hi), value, bits, arrays)
        return Value(((self.number(("view", value, bits, signed), unknown), 1),))

    def bounded(self, value: Value, env: Env) -> Range:
        """`range_of`, made tighter by facts about the same sums."""
        known = self.range_of(value, env)
        for fact, most in env.facts:
            ratio = next((c // k for u, c in value.terms for v, k in fact.terms if u == v and c % k == 0), 0)
            rest = value.plus(fact, -ratio)
            if ratio == 0 or len(rest.terms) >= len(value.terms):
                continue
            other = self.range_of(rest, env)
            sum_ = (Range(None, most * ratio) if ratio > 0 else Range(most * ratio, None)).plus(other)
            known = known.meet(replace(sum_, step=known.step, rest=known.rest, taken=0))
        return known
