"""What two threads of a block may do at the same time: the accesses of one function, put in the order of barriers."""

from __future__ import annotations

from functools import cached_property

from tilebuild.oracle.readers.ptx_bounds import Access, SharedAccesses
from tilebuild.oracle.readers.ptx_conditions import Inverse, Joined, Predicate, Test
from tilebuild.oracle.readers.ptx_flow import Flow
from tilebuild.oracle.readers.ptx_intervals import Barrier, Intervals, Place, Turn, barrier
from tilebuild.oracle.readers.ptx_lanes import WARP, Frame, Lanes, Touching
from tilebuild.oracle.readers.ptx_text import Instruction
from tilebuild.oracle.readers.ptx_uniform import Uniformity
from tilebuild.oracle.readers.ptx_unknowns import Env

_LANES_OF_MATRICES = {"x1": 8, "x2": 16, "x4": 32}
_SAME_KINDS = ("param", "special", "symbol", "array", "generic")
_NOT_THE_SAME = ("%laneid", "%warpid", "%clock", "%globaltimer", "%lanemask", "%pm")
_COMPARE = {
    "lt": int.__lt__, "le": int.__le__, "gt": int.__gt__, "ge": int.__ge__, "eq": int.__eq__, "ne": int.__ne__,
}  # fmt: skip


class Together:
    """The threads of a block of a known shape in one function. Raises nothing by itself."""

    def __init__(self, shared: SharedAccesses, flow: Flow, block: tuple[int, ...] | None) -> None:
        self.shared, self.flow, self.function = shared, flow, shared.function
        self.unknowns = shared.unknowns
        self.lanes = Lanes(shared.unknowns, block) if block is not None else None
        count = self.lanes.count if self.lanes is not None else None
        found = (barrier(k, i, count) for k, i in enumerate(self.function.body))
        self.barriers: dict[int, Barrier] = {b.number: b for b in found if b is not None}
        self.uniform = Uniformity(self.function, flow, lambda k: self.taken_by(k, self.lanes) in (0, -1))
        self._warps_agree: dict[int, bool] = {}
        self.barriers = {k: b for k, b in self.barriers.items() if b.whole or self._warp_goes_together(k)}
        self.by_number: dict[int, list[Access]] = {}
        for access in shared.accesses:
            self.by_number.setdefault(access.number, []).append(access)

    @cached_property
    def intervals(self) -> Intervals:
        """The ways between barriers."""
        return Intervals(self.function, self.flow, list(self.by_number), self.barriers)

    @cached_property
    def _origins(self) -> dict[int, tuple[str, int, str]]:
        return self.unknowns.origins()

    # -- conditions, thread by thread -------------------------------------------------------------

    def taken_by(self, number: int, lanes: Lanes | None) -> int | None:
        """The threads in which a jump's predicate register holds, as bits, -1 for all; None where the predicate is not
        a function of the thread alone."""
        known = self.shared.tests.get(number)
        if known is None or lanes is None:
            return None
        found = self.holds(known[0], known[1], Frame(lanes, {}))
        return -1 if found == lanes.all else found

    def holds(self, predicate: Predicate, env: Env, frame: Frame) -> int | None:
        """The threads in which a predicate holds, as bits; None where it is not a function of the thread and of what a
        frame gives."""
        lanes = frame.lanes
        if isinstance(predicate, Inverse):
            inner = self.holds(predicate.of, env, frame)
            return None if inner is None else lanes.all & ~inner
        if isinstance(predicate, Joined):
            a, b = self.holds(predicate.a, env, frame), self.holds(predicate.b, env, frame)
            if a is None or b is None:
                return None
            return a & b if predicate.op == "and" else a | b
        if not isinstance(predicate, Test):
            return None
        a_, b_ = (self.unknowns.exact(v, predicate.bits, predicate.signed, env) for v in (predicate.a, predicate.b))
        roots = self.unknowns.roots(a_) | self.unknowns.roots(b_)
        if not all(lanes.is_thread(u) or u in frame.given for u in roots):
            return None
        compare = _COMPARE[predicate.op]
        return sum(1 << k for k, (x, y) in enumerate(zip(frame.value(a_), frame.value(b_))) if compare(x, y))

    def _warp_goes_together(self, number: int) -> bool:
        """True if the branches that decide whether a place is reached send each warp one way."""
        pending = [self._block_of(number)]
        seen = set(pending)
        while pending:
            for source in self.uniform.depends[pending.pop()]:
                if source in seen:
                    continue
                seen.add(source)
                pending.append(source)
                if source in self.uniform.divergent_branches and not self._warps_of(source):
                    return False
        return True

    def _warps_of(self, source: int) -> bool:
        found = self._warps_agree.get(source)
        if found is None:
            taken = self.taken_by(self.flow.blocks[source].last - 1, self.lanes)
            found = taken is not None and self.lanes is not None
            if taken is not None and self.lanes is not None:
                whole = (1 << WARP) - 1
                parts = ((taken & self.lanes.all) >> k for k in range(0, self.lanes.count, WARP))
                sizes = (min(WARP, self.lanes.count - k) for k in range(0, self.lanes.count, WARP))
                found = all(p & whole in (0, (1 << n) - 1) for p, n in zip(parts, sizes))
            self._warps_agree[source] = found
        return found

    def _block_of(self, number: int) -> int:
        return next((n for n, b in enumerate(self.flow.blocks) if b.first <= number < b.last), 0)

    # -- what other threads see -------------------------------------------------------------------

    def touching(self, key: int, access: Access, place: Place) -> Touching:
        """An access at a place, for `Addresses`."""
        turns = dict(place[1])
        roots = self.unknowns.roots(access.offset)
        for fact, _ in access.env.facts:
            roots |= self.unknowns.roots(fact)
        own = [u for u in roots if not (self.lanes is not None and self.lanes.is_thread(u))]
        roles = {u: self._role(u, turns) for u in own}
        return Touching(key, access.offset, access.touch.bytes, access.env, roles, self._taking_part(access.i))

    def _role(self, number: int, turns: dict[int, Turn]) -> tuple[object, ...]:
        unknown = self.unknowns.all[number]
        if unknown.kind == "turn":
            header = int(unknown.name)
            kind, count = turns.get(header, ("left", 0))
            if kind == "rel":
                return ("same", ("turn", header), count)
            if kind == "abs":
                return ("is", count)
            if kind == "left" and self._left_together(header):
                return ("same", ("turn", header), 0)
            return ("own",)
        if unknown.kind in _SAME_KINDS:
            return ("own",) if unknown.name.startswith(_NOT_THE_SAME) else ("same", ("base", number), 0)
        register, where, what = self._origins.get(number, ("", -1, ""))
        if not register or self.uniform.differs(register):
            return ("own",)
        block = where if what == "block" else self._block_of(where)
        age = 0
        for header in self.intervals.around[block]:
            kind, count = turns.get(header, ("left", 0))
            if kind == "any" or (kind == "left" and not self._left_together(header)):
                return ("own",)
            age = age * 3 + (count if kind in ("rel", "abs") else 2)
        return ("same", ("register", number, age), 0)

    def _left_together(self, header: int) -> bool:
        """True if all threads run a loop equally often."""
        blocks = self.flow.loops[header].blocks
        leaving = [n for n in blocks if any(t not in blocks for t, _ in self.flow.blocks[n].jumps)]
        return header not in self.uniform.divergent_blocks and not any(
            n in self.uniform.divergent_branches for n in leaving
        )

    def _taking_part(self, i: Instruction) -> int:
        """The threads whose addresses an instruction uses."""
        if i.op not in ("ldmatrix", "stmatrix") or self.lanes is None:
            return -1
        lanes = next((n for name, n in _LANES_OF_MATRICES.items() if name in i.parts), WARP)
        return sum(1 << k for k in range(self.lanes.count) if k % WARP < lanes)
