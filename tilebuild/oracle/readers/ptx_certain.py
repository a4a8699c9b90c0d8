"""Which threads run an instruction for certain, whenever an earlier place is reached.

From an instruction's block one climbs the tree of dominators. A step to a block that always leads here costs nothing; a
step through a branch adds its condition, which must be a function of the thread (and of the iterations of loops that
are left on the way); a step out of a loop tries its iterations, as long as the test that ends it is such a function.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tilebuild.oracle.readers.ptx_lanes import Frame, Lanes
from tilebuild.oracle.readers.ptx_together import Together

_TURNS = 1024  # iterations of all loops together that are tried


@dataclass
class Climb:
    """The way from an instruction to a block above it: `conditions` are jumps with the truth that they need to have,
    `left` the headers of the loops that were left, innermost first."""

    anchor: int
    conditions: list[tuple[int, bool]] = field(default_factory=list)
    left: list[int] = field(default_factory=list)


class Certain:
    """The certain executions of one function's instructions."""

    def __init__(self, together: Together, lanes: Lanes) -> None:
        self.together, self.lanes, self.flow = together, lanes, together.flow
        self._turn_numbers = {
            int(u.name): n for n, u in enumerate(together.unknowns.all) if u.kind == "turn"
        }  # by loop header

    def climb(self, number: int, reader: int) -> Climb | None:
        """The way from one instruction up to where another one, `reader`, has been waiting for it; None where the one
        need not run before the other."""
        block_of, around = self.together.intervals.block_of, self.together.intervals.around
        at, target = block_of[number], block_of[reader]
        found = Climb(at)
        if self.together.function.body[number].guard is not None:
            found.conditions.append((number, True))
        while True:
            loops = set(around[at]) <= set(around[target])
            before = at != target or (at == block_of[number] and number < reader)
            if loops and before and self._dominates(at, target):
                found.anchor = at
                return found
            if at == 0:
                return None
            above = self.flow.above[at]
            if at in self.flow.loops and above not in self.flow.loops[at].blocks:
                found.left.append(at)
            if not self._always(above, at):
                jump = self._jump(above, at)
                if jump is None:
                    return None
                found.conditions.append(jump)
            at = above

    def _dominates(self, above: int, below: int) -> bool:
        while below > above:
            below = self.flow.above[below]
        return below == above

    def _always(self, above: int, below: int) -> bool:
        after, steps = self.together.uniform.after, 0
        while above not in (below, self.together.uniform.exit) and steps <= len(after):
            above, steps = after[above], steps + 1
        return above == below

    def _jump(self, above: int, below: int) -> tuple[int, bool] | None:
        """The jump at the end of a block, and whether its predicate register holds where it leads to another one."""
        edges = [condition for target, condition in self.flow.blocks[above].jumps if target == below]
        if len(edges) != 1 or edges[0] is None or self.flow.blocks[below].before != [above]:
            return None
        return self.flow.blocks[above].last - 1, edges[0][1]

    # -- the threads ------------------------------------------------------------------------------

    def executions(self, climb: Climb) -> Iterator[tuple[dict[int, int], int]]:
        """For the iterations of the loops that are left, by the number of their unknown: the threads that certainly
        run the instruction, as bits. Only the first iterations of loops whose tests are not known are given."""
        self._left = _TURNS
        yield from self._nested(list(reversed(climb.left)), climb, {}, self.lanes.all)

    def _nested(
        self, loops: list[int], climb: Climb, given: dict[int, int], mask: int
    ) -> Iterator[tuple[dict[int, int], int]]:
        if not loops:
            for number, truth in climb.conditions:
                holding = self._holds(number, given)
                if holding is None:
                    return
                mask &= holding if self._wanted(number, truth) else ~holding
            if mask:
                yield given, mask
            return
        header, *inner = loops
        unknown, stay = self._turn_numbers.get(header), self._stay(header)
        turn = 0
        while mask and self._left > 0:
            self._left -= 1
            here = {**given, unknown: turn} if unknown is not None else dict(given)
            yield from self._nested(inner, climb, here, mask)
            if stay is None or unknown is None:
                return
            holding = self._holds(stay[0], here)
            if holding is None:
                return
            mask &= holding if stay[1] else ~holding
            turn += 1

    def _wanted(self, number: int, truth: bool) -> bool:
        """For a guarded instruction: that its register holds, or that it does not where the guard is negated."""
        i = self.together.function.body[number]
        if i.op == "bra" or i.guard is None:
            return truth
        return not i.guard[1]

    def _stay(self, header: int) -> tuple[int, bool] | None:
        """The jump that decides whether a loop goes on, and the truth for which it does."""
        loop = self.flow.loops[header]
        if loop.exits != 1 or len(loop.back) != 1:
            return None
        for number in loop.blocks:
            jumps = self.flow.blocks[number].jumps
            inside = [c for target, c in jumps if target in loop.blocks]
            leaves = len(inside) < len(jumps) and number in (header, loop.back[0])
            if leaves and len(inside) == 1 and inside[0] is not None:
                return self.flow.blocks[number].last - 1, inside[0][1]
        return None

    def _holds(self, number: int, given: dict[int, int]) -> int | None:
        known = self.together.shared.tests.get(number)
        if known is None:
            return None
        return self.together.holds(known[0], known[1], Frame(self.lanes, given))
