"""What the threads of a block may do between two barriers: the accesses that are reached from each point where all
threads meet, with the iterations of loops that lie in between.

All threads leave a barrier together, in the same iteration of every loop around it (that they reach it together is
`ptx_uniform`'s to say). From there each goes its way up to its next barrier; the
accesses on these ways are in no order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Union

from tilebuild.oracle.readers.ptx_flow import Flow
from tilebuild.oracle.readers.ptx_text import Function, Instruction, Number

_MOST = 40_000  # places that are looked at from one barrier
_GROUPS = 16  # of asynchronous copies that are counted

# What a loop's number of completed iterations is at a place: ("rel", d): d more than at the barrier, ("abs", d): d, for
# a loop that was entered since; ("any", 0): each thread may have its own
Turn = tuple[str, int]
Turns = tuple[tuple[int, Turn], ...]
Place = tuple[int, Turns]  # an instruction and the turns of loops
ANY: Turn = ("any", 0)


class TooManyError(Exception):
    """There are more ways than are looked at."""


@dataclass(frozen=True)
class Barrier:
    """A point where threads meet. `whole`: all of the block, else those of each warp."""

    number: int
    whole: bool


def barrier(number: int, i: Instruction, threads: int | None) -> Barrier | None:
    """The meeting point that an instruction is, None where it is none or only for some of the threads."""
    if i.op not in ("bar", "barrier") or "cluster" in i.parts:
        return None
    if "warp" in i.parts:
        mask = i.operands[0] if i.operands else None
        full = isinstance(mask, Number) and mask.value % (1 << 32) == (1 << 32) - 1
        return Barrier(number, False) if full and i.guard is None else None
    if "sync" in i.parts:
        count = i.operands[1:]
    elif "red" in i.parts:
        count = i.operands[2:-1]
    else:
        return None
    if not i.operands or not isinstance(i.operands["red" in i.parts], Number):
        return None
    given = count[0] if count else None
    if given is None or (isinstance(given, Number) and given.value == threads):
        return Barrier(number, True)
    return None


Copies = Union[str, int, None]


def copies(i: Instruction) -> Copies:
    """What an instruction does to asynchronous copies: "copy", "commit", or the number of groups that a wait leaves
    pending; None where it is none of these."""
    if i.op != "cp" or "async" not in i.parts or "bulk" in i.parts or "mbarrier" in i.parts:
        return None
    if "commit_group" in i.parts:
        return "commit"
    if "wait_all" in i.parts:
        return 0
    if "wait_group" in i.parts:
        count = i.operands[0] if i.operands else None
        return count.value if isinstance(count, Number) else None
    return "copy"


class Intervals:
    """The ways through a function. `touching` are its accesses, by instruction; `barriers` its meeting points."""

    def __init__(
        self, function: Function, flow: Flow, touching: Sequence[int], barriers: Mapping[int, Barrier]
    ) -> None:
        self.function, self.flow, self.barriers = function, flow, barriers
        self.block_of: dict[int, int] = {}
        self._events: list[list[int]] = []
        interesting = {*touching, *barriers, *(k for k, i in enumerate(function.body) if copies(i) is not None)}
        for number, block in enumerate(flow.blocks):
            self._events.append([k for k in range(block.first, block.last) if k in interesting])
            self.block_of.update(dict.fromkeys(range(block.first, block.last), number))
        self._touching = set(touching)
        self.around: list[tuple[int, ...]] = [() for _ in flow.blocks]
        for header in sorted(flow.loops):
            for number in flow.loops[header].blocks:
                self.around[number] = (*self.around[number], header)

    def starts(self, whole: bool) -> Iterator[int | None]:
        """The points from which threads go on together: the start (None), and the barriers."""
        yield None
        yield from (k for k, b in self.barriers.items() if k in self.block_of and (b.whole or not whole))

    def reached(self, start: int | None, whole: bool) -> list[Place]:
        """The accesses between a meeting point and the next ones; raises `TooManyError`."""
        if start is None:
            return self._walk(0, 0, (), whole)
        number = self.block_of[start]
        turns = tuple((header, ("rel", 0)) for header in self.around[number])
        return self._walk(number, start + 1, turns, whole)

    def _walk(self, number: int, after: int, turns: Turns, whole: bool) -> list[Place]:
        found: dict[Place, None] = {}
        pending, seen = [(number, after, turns)], set()
        while pending:
            at, first, now = pending.pop()
            for k in self._events[at]:
                if k < first:
                    continue
                if k in self._touching:
                    found[k, now] = None
                here = self.barriers.get(k)
                if here is not None and (here.whole or not whole):
                    break
            else:
                for target, _ in self.flow.blocks[at].jumps:
                    place = (target, 0, self._moved(at, target, now))
                    if place not in seen:
                        seen.add(place)
                        pending.append(place)
            if len(seen) > _MOST:
                raise TooManyError
        return list(found)

    def while_pending(self, copy: int) -> tuple[list[Place], list[Place]]:
        """What may happen while an asynchronous copy is under way: the accesses before the wait for it, in its own
        thread too, and those of other threads after that wait, up to a barrier."""
        number = self.block_of[copy]
        turns: Turns = tuple((header, ("rel", 0)) for header in self.around[number])
        before: dict[Place, None] = {}
        others: dict[Place, None] = {}
        pending: list[tuple[int, int, Turns, int]] = [(number, copy + 1, turns, 0)]
        seen = set()
        while pending:
            at, first, now, groups = pending.pop()  # groups: committed since, -1 where the copy is waited for
            for k in self._events[at]:
                if k < first:
                    continue
                if k in self._touching:
                    (before if groups >= 0 else others)[k, now] = None
                what, here = copies(self.function.body[k]), self.barriers.get(k)
                guarded = self.function.body[k].guard is not None
                if groups < 0 and here is not None and here.whole:
                    break
                if groups >= 0 and not guarded:
                    if what == "commit":
                        groups = min(groups + 1, _GROUPS)
                    elif isinstance(what, int) and (groups > what or "wait_all" in self.function.body[k].parts):
                        groups = -1
            else:
                for target, _ in self.flow.blocks[at].jumps:
                    place = (target, 0, self._moved(at, target, now), groups)
                    if place not in seen:
                        seen.add(place)
                        pending.append(place)
            if len(seen) > _MOST:
                raise TooManyError
        return list(before), list(others)

    def _moved(self, at: int, target: int, turns: Turns) -> Turns:
        loop = self.flow.loops.get(target)
        if loop is None:
            return turns
        new = dict(turns)
        if at in loop.blocks:
            kind, count = new.get(target, ANY)
            new[target] = (kind, 1) if kind != "any" and count == 0 else ANY
        else:
            new[target] = ("abs", 0)
        for header in list(new):
            if header != target and header in loop.blocks:
                del new[header]
        return tuple(sorted(new.items()))
