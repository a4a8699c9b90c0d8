"""The addresses that the threads of a block touch, thread by thread.

What an offset is made of is, for two threads at two places that may run at the same time, one of four things: a
function of the thread; a number that is the same for both (a parameter, the iteration of a loop around the last
barrier); a number of each thread's own (the iteration of a loop that it runs by itself); or something that is not
known. Numbers that are the same for both and enter alike cancel out; the others are tried one by one where they are
few, and else only what they are modulo their step is used.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from tilebuild.oracle.readers.ptx_unknowns import Env, Unknown, Unknowns
from tilebuild.oracle.readers.ptx_values import Range, Value

_FUNCTIONS: Mapping[str, Callable[[int, int], int]] = {
    "and": operator.and_, "or": operator.or_, "xor": operator.xor, "mul": operator.mul, "min": min, "max": max,
    "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge, "eq": operator.eq, "ne": operator.ne,
}  # fmt: skip
_TRIED, _OWN = 512, 4096  # values of what is the same for all, and of what each thread has for itself, that are tried
WARP = 32
Key = tuple[object, ...]


class Frame:
    """The values of unknowns for all threads, where some others are given."""

    def __init__(self, lanes: Lanes, given: Mapping[int, int]) -> None:
        self.lanes, self.given = lanes, given
        self._vectors: dict[int, list[int]] = {}

    def vector(self, number: int) -> list[int]:
        """The value of an unknown in each thread."""
        if not self.given or self.lanes.only_threads(number):
            return self.lanes.vector(number)
        found = self._vectors.get(number)
        if found is None:
            if number in self.given:
                found = [self.given[number]] * self.lanes.count
            else:
                found = self.lanes.computed(self.lanes.unknowns.all[number], self.value)
            self._vectors[number] = found
        return found

    def value(self, value: Value) -> list[int]:
        """A value in each thread."""
        total = [value.const] * self.lanes.count
        for number, c in value.terms:
            total = [t + c * v for t, v in zip(total, self.vector(number))]
        return total


class Lanes:
    """The threads of a block of a given shape, in the order of their linear ids."""

    def __init__(self, unknowns: Unknowns, block: tuple[int, ...]) -> None:
        self.unknowns = unknowns
        self.threads = [(x, y, z) for z in range(block[2]) for y in range(block[1]) for x in range(block[0])]
        self.count = len(self.threads)
        self._vectors: dict[int, list[int]] = {}
        self._sums: dict[tuple[tuple[int, int], ...], list[int]] = {}
        self._masks: dict[tuple[int, Range], int] = {}
        self._only: dict[int, bool] = {}
        self.all = (1 << self.count) - 1

    def thread_name(self, at: int) -> str:
        """A thread as messages show it."""
        x, y, z = self.threads[at]
        flat = all(t[1] == t[2] == 0 for t in (self.threads[-1],))
        return str(x) if flat else f"({x}, {y}, {z})"

    def is_thread(self, number: int) -> bool:
        """True for an unknown that is a thread's position."""
        unknown = self.unknowns.all[number]
        return unknown.kind == "thread" or unknown.name == "%laneid"

    def only_threads(self, number: int) -> bool:
        """True for a function of the thread's position alone."""
        found = self._only.get(number)
        if found is None:
            found = self._only[number] = all(map(self.is_thread, self.unknowns.roots(Value(((number, 1),)))))
        return found

    def vector(self, number: int) -> list[int]:
        """A function of the thread's position in each thread."""
        found = self._vectors.get(number)
        if found is None:
            unknown = self.unknowns.all[number]
            if unknown.kind == "thread":
                axis = "xyz".index(unknown.name[-1])
                found = [thread[axis] for thread in self.threads]
            elif unknown.name == "%laneid":
                found = [k % WARP for k in range(self.count)]
            else:
                found = self.computed(unknown, self.sum)
            self._vectors[number] = found
        return found

    def sum(self, value: Value) -> list[int]:
        """A sum of functions of the thread's position in each thread."""
        found = self._sums.get(value.terms)
        if found is None:
            found = [0] * self.count
            for number, c in value.terms:
                found = [t + c * v for t, v in zip(found, self.vector(number))]
            self._sums[value.terms] = found
        return [t + value.const for t in found] if value.const else found

    def computed(self, unknown: Unknown, inner: Callable[[Value], list[int]]) -> list[int]:
        """A derived unknown in each thread, from what it is made of."""
        if unknown.pair is not None:
            apply = _FUNCTIONS[unknown.kind]
            return [apply(a, b) for a, b in zip(inner(unknown.pair[0]), inner(unknown.pair[1]))]
        values, by = inner(unknown.of or Value(())), unknown.by
        if unknown.kind == "div":
            return [v // by for v in values]
        if unknown.kind == "rem":
            return [v % by for v in values]
        lowest, size = unknown.range.lo or 0, 1 << by  # a view
        return [lowest + (v - lowest) % size for v in values]

    def mask(self, number: int, known: Range) -> int:
        """The threads in which a function of the thread's position lies in a range, as bits."""
        key = (number, known)
        found = self._masks.get(key)
        if found is None:
            found = self._masks[key] = self.within(self.vector(number), known)
        return found

    @staticmethod
    def within(values: Iterable[int], known: Range) -> int:
        """The positions of values that lie in a range, as bits."""
        lo = -math.inf if known.lo is None else known.lo
        hi = math.inf if known.hi is None else known.hi
        return sum(1 << k for k, v in enumerate(values) if lo <= v <= hi)


@dataclass(frozen=True)
class Touching:
    """An access at a place: `offset` from its array with what is known there, `bytes` of it; `roles` says of the roots
    of its unknowns (those that are no thread's position) what they are for other threads: ("same", key, shift) or
    ("own",)."""

    key: int
    offset: Value
    bytes: int
    env: Env
    roles: Mapping[int, tuple[object, ...]]
    lanes: int = -1  # bits of the threads that take part


@dataclass
class _Form:
    """The parts of an offset: `plain` is a function of the thread and of what is tried; `same` cancels out or is
    demoted; `own` are tried for each thread; `loose` are only known modulo their step."""

    plain: list[tuple[int, int]]
    same: dict[Key, list[tuple[int, int]]]
    own: list[int]
    loose: list[tuple[int, int]]
    const: int = 0


class Addresses:
    """The addresses of accesses that may run at the same time. `exact` is false where they are only modulo
    `modulus`, or where something that is not known takes part."""

    def __init__(self, lanes: Lanes, accesses: list[Touching]) -> None:
        self.lanes, self.unknowns, self.accesses = lanes, lanes.unknowns, accesses
        self.modulus = 0
        self.exact = True
        self._tried: dict[Key, list[int]] = {}
        self._periodic: set[Key] = set()
        self._forms = [self._form(a) for a in accesses]
        self._settle()

    # -- what the parts are -----------------------------------------------------------------------

    def _roots(self, number: int) -> list[int]:
        return [r for r in self.unknowns.roots(Value(((number, 1),))) if not self.lanes.is_thread(r)]

    def _form(self, a: Touching) -> _Form:
        form = _Form([], {}, [], [])
        pending = list(a.offset.terms)
        while pending:
            number, c = pending.pop()
            roots = self._roots(number)
            unknown = self.unknowns.all[number]
            if not roots or (roots == [number] and a.roles[number][0] == "is"):
                form.plain.append((number, c))
            elif roots == [number]:
                role = a.roles[number]
                if role[0] == "same":
                    form.same.setdefault(self._key(role), []).append((number, c))
                elif self._few(a, number):
                    form.own.append(number)
                    form.plain.append((number, c))
                else:
                    form.loose.append((number, c))
            elif self._enumerable(a, number, roots):
                form.plain.append((number, c))
                form.own += [r for r in roots if a.roles[r][0] == "own" and r not in form.own]
            elif unknown.kind == "view" and unknown.of is not None:  # it is its inner sum, modulo its width
                self.modulus = math.gcd(self.modulus, c << unknown.by)
                form.const += c * unknown.of.const
                pending += [(u, c * k) for u, k in unknown.of.terms]
            else:
                form.loose.append((number, c))
        if math.prod(self._size(a, root) for root in form.own) > _OWN:
            form.loose += [(u, c) for u, c in form.plain if set(self._roots(u)) & set(form.own)]
            form.plain = [t for t in form.plain if t not in form.loose]
            form.own = []
        return form

    def _size(self, a: Touching, root: int) -> int:
        known = self.unknowns.range_of_one(root, a.env)
        return _OWN + 1 if known.lo is None or known.hi is None else known.hi - known.lo + 1

    @staticmethod
    def _key(role: tuple[object, ...]) -> Key:
        key = role[1]
        assert isinstance(key, tuple)
        return key

    def _few(self, a: Touching, number: int) -> bool:
        known = self.unknowns.range_of_one(number, a.env)
        return known.lo is not None and known.hi is not None and known.hi - known.lo < _OWN

    def _enumerable(self, a: Touching, number: int, roots: list[int]) -> bool:
        """Make all that a derived unknown depends on something that is tried, where it has few values."""
        wanted: dict[Key, list[int]] = {}
        periodic: set[Key] = set()
        for root in roots:
            role = a.roles[root]
            if role[0] == "is":
                continue
            if not self._few(a, root):
                period = self._period(number, root) if role[0] == "same" else None
                if period is None or role[2] != 0:
                    return False
                wanted[self._key(role)] = list(range(period))
                periodic.add(self._key(role))
            elif role[0] == "same":
                known = self.unknowns.range_of_one(root, a.env)
                assert known.lo is not None
                assert known.hi is not None
                shift = role[2]
                assert isinstance(shift, int)
                wanted[self._key(role)] = list(range(known.lo - shift, known.hi - shift + 1))
        for key, values in wanted.items():
            old = self._tried.get(key)
            if key in periodic and old is not None and key in self._periodic:
                self._tried[key] = list(range(math.lcm(len(values), len(old))))
            elif old is not None and (key in periodic) != (key in self._periodic):
                return False
            else:
                self._tried[key] = sorted({*values, *(old or ())})
        self._periodic |= periodic
        return math.prod(len(v) for v in self._tried.values()) <= _TRIED

    def _period(self, number: int, root: int) -> int | None:
        """After how many steps of a root a derived unknown is the same again."""
        unknown = self.unknowns.all[number]
        if unknown.of is None:
            periods = [self._period(u, root) for v in unknown.pair or () for u, _ in v.terms if root in self._roots(u)]
            if unknown.pair is None or any(p is None for p in periods):
                return None
            return math.lcm(*(p for p in periods if p is not None))
        if unknown.kind != "rem":
            inner = [self._period(u, root) for u, _ in unknown.of.terms if root in self._roots(u)]
            if any(u == root for u, _ in unknown.of.terms) or any(p is None for p in inner):
                return None
            return math.lcm(*(p for p in inner if p is not None))
        found = 1
        for u, c in unknown.of.terms:
            if u == root:
                found = math.lcm(found, unknown.by // math.gcd(c, unknown.by))
            elif root in self._roots(u):
                deeper = self._period(u, root)
                if deeper is None:
                    return None
                found = math.lcm(found, deeper)
        return found if found <= _TRIED else None

    def _settle(self) -> None:
        """Let what is the same for all cancel out where it enters all offsets alike; else try it, or make it loose."""
        keys = {key for form in self._forms for key in form.same}
        for key in sorted(keys, key=repr):
            sums = {sum(c for _, c in form.same.get(key, ())) for form in self._forms}
            if len(sums) == 1 and (key not in self._tried or key in self._periodic):
                continue
            known = [
                (self.unknowns.range_of_one(u, a.env), a.roles[u][2])
                for a, form in zip(self.accesses, self._forms)
                for u, _ in form.same.get(key, ())
            ]
            values = self._values(known)
            room = math.prod(len(v) for v in self._tried.values())
            if key not in self._periodic and values is not None and room * len(values) <= _TRIED:
                self._tried[key] = sorted({*values, *self._tried.get(key, ())})
                for form in self._forms:
                    form.plain += form.same.pop(key, ())
            else:
                for form in self._forms:
                    form.loose += form.same.pop(key, ())
        for a, form in zip(self.accesses, self._forms):
            for number, c in form.loose:
                known_ = self.unknowns.range_of_one(number, a.env)
                self.modulus = math.gcd(self.modulus, c * known_.step)
                form.const += c * known_.rest
                self.exact = False

    @staticmethod
    def _values(known: list[tuple[Range, object]]) -> list[int] | None:
        values: set[int] = set()
        for r, shift in known:
            assert isinstance(shift, int)
            if r.lo is None or r.hi is None or r.hi - r.lo > _TRIED:
                return None
            values.update(range(r.lo - shift, r.hi - shift + 1))
        return sorted(values)

    # -- the addresses ----------------------------------------------------------------------------

    def frames(self) -> Iterator[Iterator[tuple[Touching, list[tuple[int, int]]]]]:
        """For all that is tried: the accesses with the pairs of thread and address that they may touch."""
        keys = list(self._tried)
        for numbers in product(*self._tried.values()):
            yield self._all(dict(zip(keys, numbers)))

    def _all(self, tried: dict[Key, int]) -> Iterator[tuple[Touching, list[tuple[int, int]]]]:
        for a, form in zip(self.accesses, self._forms):
            given: dict[int, int] = {}
            for root, role in a.roles.items():
                if role[0] == "same" and self._key(role) in tried:
                    shift = role[2]
                    assert isinstance(shift, int)
                    given[root] = tried[self._key(role)] + shift
                elif role[0] == "is":
                    value = role[1]
                    assert isinstance(value, int)
                    given[root] = value
            yield a, self._pairs(a, form, given)

    def _pairs(self, a: Touching, form: _Form, given: dict[int, int]) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        cancelled = sum(
            c * role[2]
            for terms in form.same.values()
            for u, c in terms
            for role in (a.roles[u],)
            if isinstance(role[2], int)
        )
        offset = Value(tuple(form.plain), a.offset.const + form.const + cancelled)
        ranges = [self.unknowns.range_of_one(u, a.env) for u in form.own]
        periodic = {u for u, role in a.roles.items() if role[0] == "same" and self._key(role) in self._periodic}
        for numbers in product(*(range(r.lo or 0, (r.hi or 0) + 1) for r in ranges)):
            frame = Frame(self.lanes, {**given, **dict(zip(form.own, numbers))})
            mask = self._may(a, frame, periodic) & a.lanes & self.lanes.all
            if not mask:
                continue
            values = frame.value(offset)
            if self.modulus:
                values = [v % self.modulus for v in values]
            if mask == self.lanes.all:
                found += enumerate(values)
            else:
                found += [(t, v) for t, v in enumerate(values) if mask >> t & 1]
        return found

    def _may(self, a: Touching, frame: Frame, periodic: set[int]) -> int:
        """The threads that may get there, as bits: those of which nothing that is known says otherwise."""
        mask = self.lanes.all
        given = set(frame.given) - periodic
        for number, known in a.env.items():
            base = self.unknowns.all[number].range
            if (known.lo, known.hi) == (base.lo, base.hi) or (known.lo is None and known.hi is None):
                continue
            if self.lanes.only_threads(number):
                mask &= self.lanes.mask(number, known)
            elif number in given:
                value = frame.given[number]
                if (known.lo is not None and value < known.lo) or (known.hi is not None and value > known.hi):
                    return 0
            elif given and all(r in given for r in self._roots(number)):
                mask &= self.lanes.within(frame.vector(number), known)
            if not mask:
                return 0
        for fact, most in a.env.facts:
            if all(r in given or self.lanes.is_thread(r) for r in self.unknowns.roots(fact)):
                mask &= self.lanes.within(frame.value(fact), Range(None, most))
        return mask
