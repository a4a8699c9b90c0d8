"""Races for shared memory in PTX: what one thread writes no other one touches before a barrier.

Two accesses may run at the same time if both are reached from one meeting point of the threads before the next one
(`ptx_intervals`). Their addresses are compared thread by thread (`ptx_lanes`); nothing is assumed of the order in which
warps, or the threads of one, run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

from tilebuild.oracle.readers.ptx_bounds import Access
from tilebuild.oracle.readers.ptx_intervals import ANY, Place, TooManyError, copies
from tilebuild.oracle.readers.ptx_lanes import WARP, Addresses, Touching
from tilebuild.oracle.readers.ptx_symmetry import Symmetry
from tilebuild.oracle.readers.ptx_together import Together

_WRITERS = 4  # of one instruction at one address that are compared
_MOST = 4_000_000  # pairs of thread and address that are looked at in one interval


@dataclass(frozen=True)
class Clash:
    """Two accesses that may touch one byte of an array at the same time. `threads` and `address` are an example, which
    need not be one that really happens."""

    first: Access
    second: Access
    threads: tuple[int, int]
    address: int
    asynchronous: bool = False
    own: bool = False


class UndecidedError(Exception):
    """Why nothing is said."""


class Races:
    """The clashes of one function."""

    def __init__(self, together: Together, tick: Callable[[], None]) -> None:
        self.together, self._tick = together, tick
        assert together.lanes is not None
        self.lanes = together.lanes
        self.found: dict[tuple[int, int], Clash] = {}
        self._judged: set[frozenset[Place]] = set()

    def run(self) -> list[Clash]:
        """All clashes, one a pair of instructions; raises `UndecidedError`."""
        intervals = self.together.intervals
        warps = any(not b.whole for b in self.together.barriers.values())
        try:
            for start in intervals.starts(True):
                places = intervals.reached(start, True)
                self._compare(places, (lambda t: t // WARP) if warps else (lambda t: t))
            for start in intervals.starts(False) if warps else ():
                places = intervals.reached(start, False)
                for warp in range(0, self.lanes.count, WARP):
                    self._compare(places, lambda t: t, range(warp, min(warp + WARP, self.lanes.count)))
            for number, i in enumerate(self.together.function.body):
                if copies(i) == "copy" and number in self.together.by_number:
                    self._copied(number)
        except TooManyError:
            raise UndecidedError("there are more ways between its barriers than are followed") from None
        return list(self.found.values())

    # -- accesses in no order ---------------------------------------------------------------------

    def _accesses(self, places: Iterable[Place]) -> dict[str, list[tuple[Access, Place]]]:
        """By array; arrays whose size the launch gives begin at one address."""
        found: dict[str, list[tuple[Access, Place]]] = {}
        for place in places:
            for access in self.together.by_number.get(place[0], ()):
                name = access.array.name if access.array.bytes is not None else ""
                found.setdefault(name, []).append((access, place))
        return found

    def _compare(self, places: list[Place], who: Callable[[int], int], only: range | None = None) -> None:
        key = frozenset(places)
        if key in self._judged and only is None:
            return
        self._judged.add(key)
        for found in self._accesses(places).values():
            if any(_writes(a) for a, _ in found):
                self._overlaps(found, who, only)

    def _overlaps(self, found: list[tuple[Access, Place]], who: Callable[[int], int], only: range | None) -> None:
        touchings = [self.together.touching(k, access, place) for k, (access, place) in enumerate(found)]
        addresses = Addresses(self.lanes, touchings)
        identity = [who(t) for t in range(self.lanes.count)]
        budget = _MOST
        for frame in addresses.frames():
            self._tick()
            touched = [(t.key, t.bytes, pairs) for t, pairs in frame]
            budget -= sum(len(pairs) for _, _, pairs in touched)
            if budget < 0:
                raise UndecidedError("there are more threads, accesses and iterations in it than are compared")
            unit = _unit(touched, addresses.modulus)
            self._meet(found, touched, (unit, addresses.modulus), identity, only)

    def _meet(
        self,
        found: list[tuple[Access, Place]],
        touched: list[tuple[int, int, list[tuple[int, int]]]],
        units: tuple[int, int],
        identity: list[int],
        only: range | None,
    ) -> None:
        """Report where two threads touch one unit of an array and one of them writes."""
        unit, modulus = units
        kinds: tuple[dict[int, list[tuple[int, int, int]]], ...] = ({}, {}, {})  # of reads, writes, atomics
        for key, size, pairs in touched:
            kind = kinds[_kind(found[key][0])]
            for thread, address in pairs:
                if only is not None and thread not in only:
                    continue
                for at in range(address // unit, (address + size - 1) // unit + 1):
                    here = kind.setdefault(at * unit % modulus // unit if modulus else at, [])
                    mine = [entry for entry in here if entry[2] == key]
                    if any(identity[thread] == who for who, _, _ in mine):
                        continue
                    # of each instruction two threads tell it all, but for those that write the same
                    if len(mine) < 2 or (
                        len(mine) < _WRITERS
                        and kind is kinds[1]
                        and self._same(found[key], found[key], mine[0][1], mine[1][1])
                        and not self._same(found[key], found[key], mine[0][1], thread)
                    ):
                        here.append((identity[thread], thread, key))
        reads, writes, atomics = kinds
        for at, here in writes.items():
            for other in (here, reads.get(at, ()), atomics.get(at, ())):
                self._pairs(found, here, other, at * unit)
        for at, here in atomics.items():
            self._pairs(found, here, reads.get(at, ()), at * unit)

    def _pairs(
        self,
        found: list[tuple[Access, Place]],
        some: Iterable[tuple[int, int, int]],
        others: Iterable[tuple[int, int, int]],
        address: int,
    ) -> None:
        others = list(others)
        for who, thread, key in some:
            for whom, other, key2 in others:
                if who != whom and not self._same(found[key], found[key2], thread, other):
                    self._add(Clash(found[key][0], found[key2][0], (thread, other), address))

    def _same(self, one: tuple[Access, Place], other: tuple[Access, Place], thread: int, another: int) -> bool:
        """True if two threads write the same with one instruction, in one iteration of all that is around it."""
        i = one[0].i
        if one[0] is not other[0] or i.op != "st":
            return False
        intervals, turns, others = self.together.intervals, dict(one[1][1]), dict(other[1][1])
        for header in intervals.around[intervals.block_of[one[0].number]]:
            if turns.get(header, ANY) == ANY or turns[header] != others.get(header):
                return False
        return all(self._symmetry.same(operand, thread, another) for operand in i.operands[1:])

    @cached_property
    def _symmetry(self) -> Symmetry:
        return Symmetry(self.together.uniform)

    def _add(self, clash: Clash) -> None:
        numbers = clash.first.number, clash.second.number
        if numbers not in self.found and numbers[::-1] not in self.found:
            self.found[numbers] = clash

    # -- asynchronous copies ----------------------------------------------------------------------

    def _copied(self, number: int) -> None:
        """A copy writes at some time before the wait for it."""
        self._tick()
        before, others = self.together.intervals.while_pending(number)
        rel = tuple((header, ("rel", 0)) for header in self.together.intervals.around[
            self.together.intervals.block_of[number]
        ])  # fmt: skip
        for copy in self.together.by_number[number]:
            for places, own in ((before, True), (others, False)):
                name = copy.array.name if copy.array.bytes is not None else ""
                for access, place in self._accesses(places).get(name, ()):
                    if own and access.number == number and place[1] == rel:
                        continue
                    self._with_copy(copy, (number, rel), access, place, own)

    def _with_copy(self, copy: Access, start: Place, access: Access, place: Place, own: bool) -> None:
        pair = [(copy, start), (access, place)]
        touchings: list[Touching] = [self.together.touching(k, a, p) for k, (a, p) in enumerate(pair)]
        addresses = Addresses(self.lanes, touchings)
        for frame in addresses.frames():
            (_, first), (_, second) = frame
            written: dict[int, int] = {}
            modulus = addresses.modulus
            for thread, at in first:
                for byte in range(at, at + copy.touch.bytes):
                    written[byte % modulus if modulus else byte] = thread
            for thread, at in second:
                for byte in range(at, at + access.touch.bytes):
                    writer = written.get(byte % modulus if modulus else byte)
                    if writer is None or (writer == thread and not own):
                        continue
                    self._add(Clash(copy, access, (writer, thread), byte, True, writer == thread))
                    return


def _kind(access: Access) -> int:
    if access.i.op in ("atom", "red", "mbarrier"):
        return 2
    return 1 if access.touch.write else 0


def _writes(access: Access) -> bool:
    return access.touch.write


def _unit(touched: list[tuple[int, int, list[tuple[int, int]]]], modulus: int) -> int:
    """The largest unit of which all addresses and sizes are multiples."""
    unit = modulus
    for _, size, pairs in touched:
        unit = math.gcd(unit, size, *{address for _, address in pairs})
        if unit == 1:
            break
    return unit or 1
