"""Runs a PTX function on what is known of its values, until that holds for every iteration of every loop.

Abstract interpretation (Cousot and Cousot, 1977) over affine values. A first pass, with nothing known of what a loop
changes, finds the registers that each iteration changes by the same amount: these are then functions of the number of
completed iterations. Further passes guess what the other registers and those numbers may be, from below with ever
larger steps, until a pass confirms its own guesses; two more make them tighter, and the last one looks at the accesses.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce

from tilebuild.oracle.readers.ptx_conditions import Anything
from tilebuild.oracle.readers.ptx_flow import Flow, results
from tilebuild.oracle.readers.ptx_state import Known, State
from tilebuild.oracle.readers.ptx_steps import Steps
from tilebuild.oracle.readers.ptx_text import Function, Instruction
from tilebuild.oracle.readers.ptx_unknowns import Env
from tilebuild.oracle.readers.ptx_values import HIGHEST, LOWEST, Range, Value, single, typed

_LOOK_UP = 32  # blocks between two looks at the clock
_PASSES, _TIGHTER = 24, 2
_TURNS = (64, 1024, 1 << 16, 1 << 24)
_ENDS = (0, 1 << 8, 1 << 16, (1 << 31) - 1, 1 << 32, (1 << 63) - 1)


class TooSlowError(Exception):
    """The time that a function may take is over."""


@dataclass
class _Header:
    """What is assumed of a loop. `steps` are the changes of registers by each iteration; `turns` the completed
    iterations; `other` what else the loop changes; `seen` what the current pass found; `first` the
    first unknown that was met inside; `facts` hold at the start of every iteration."""

    steps: dict[str, int] = field(default_factory=dict)
    turns: Range = field(default_factory=lambda: single(0))
    other: dict[str, Range] = field(default_factory=dict)
    arrays: dict[str, frozenset[str]] = field(default_factory=dict)
    seen_turns: Range | None = None
    seen: dict[str, Range] = field(default_factory=dict)
    changed: int = 0
    first: int = 0
    facts: frozenset[tuple[Value, int]] | None = None
    seen_facts: frozenset[tuple[Value, int]] | None = None


Look = Callable[[int, Instruction, State], None]


class Run:
    """One function's analysis. `uses` are the registers, by instruction, whose values are asked for."""

    def __init__(
        self,
        function: Function,
        steps: Steps,
        uses: Mapping[int, Iterable[str]],
        deadline: float,
    ) -> None:
        self.function, self.steps, self.deadline = function, steps, deadline
        self.flow = Flow(function)
        asked = {number: list(names) for number, names in uses.items()}
        self.wanted = self.flow.needed(name for names in asked.values() for name in names)
        self.live = self.flow.live(self.wanted, asked)
        self.headers = {number: _Header() for number in self.flow.loops}
        self.made = [
            [k for k in range(b.first, b.last) if self.wanted.intersection(results(function.body[k]))]
            for b in self.flow.blocks
        ]
        self.looked = [
            sorted({*made, *(k for k in asked if b.first <= k < b.last)})
            for made, b in zip(self.made, self.flow.blocks)
        ]
        self.changed = {number: self._changed(loop.blocks) for number, loop in self.flow.loops.items()}
        self.finding = False  # the first pass

    def _changed(self, blocks: set[int]) -> set[str]:
        body = self.function.body
        spans = (range(b.first, b.last) for b in (self.flow.blocks[n] for n in blocks))
        return {name for span in spans for k in span for name in results(body[k]) if name in self.wanted}

    def run(self, look: Look) -> None:
        """Call `look` with every instruction that can be reached and what is known before it."""
        if self.headers:
            self.finding = True
            self._sweep(None)
            self.finding = False
            for attempt in range(_PASSES):
                self._sweep(None)
                if not self._grow(attempt):
                    break
            else:
                for header in self.headers.values():
                    header.facts = frozenset()
                    header.turns = Range(0, None, taken=LOWEST)
                    header.other = dict.fromkeys(header.other, typed(64))
            for _ in range(_TIGHTER):
                self._sweep(None)
                if not self._shrink():
                    break
        self._sweep(look)

    # -- one pass ---------------------------------------------------------------------------------

    def _sweep(self, look: Look | None) -> None:
        arriving: dict[int, list[State]] = {0: [State()]}
        outs: dict[int, Env] = {}
        branching = set(self.flow.joins.values())
        for header in self.headers.values():
            header.seen, header.seen_turns, header.seen_facts = {}, None, None
        for number, block in enumerate(self.flow.blocks):
            states = arriving.pop(number, [])
            if not states:
                continue
            if number % _LOOK_UP == 0 and time.thread_time() > self.deadline:
                raise TooSlowError
            state = self._merged(number, states)
            if number in self.flow.joins:
                self._restore(state.env, outs[self.flow.joins[number]])
            if number in self.headers:
                self._enter(number, state)
            for k in self.made[number] if look is None else self.looked[number]:
                i = self.function.body[k]
                if look is not None:
                    look(k, i, state)
                self.steps.step(k, i, state, self.wanted)
            if number in branching:
                outs[number] = state.env
            for target, condition in block.jumps:
                env: Env | None = state.env
                if condition is not None:
                    env = self.steps.assume(state, *condition)
                if env is None:
                    continue
                if target <= number:
                    after = State(state.registers, env.copy())
                    if self._counted(target, condition, after):
                        self._back(target, after)
                else:
                    arriving.setdefault(target, []).append(State(state.registers, env))

    def _merged(self, number: int, states: list[State]) -> State:
        if len(states) == 1:
            return State(dict(states[0].registers), states[0].env.copy())
        env = Env()
        env.facts = states[0].env.facts.intersection(*(s.env.facts for s in states[1:]))
        for unknown, known in states[0].env.items():
            others = [s.env.get(unknown) for s in states[1:]]
            if all(o is not None for o in others):
                env[unknown] = reduce(_both, (o for o in others if o is not None), known)
        registers: dict[str, Known] = {}
        for name in self.live[number]:
            found = [s.registers.get(name) for s in states]
            first = found[0]
            if first is not None and all(f == first for f in found):
                registers[name] = first
            elif any(isinstance(f, Value) for f in found):
                parts = [self._range(value, s) for value, s in zip(found, states)]
                whole = parts[0]
                for part in parts[1:]:
                    whole = whole.hull(part)
                arrays = frozenset().union(*(self.steps.unknowns.arrays(v) for v in found if isinstance(v, Value)))
                registers[name] = self.steps.unknowns.any(("join", number, name), whole, arrays, env)
            else:
                registers[name] = Anything()
        return State(registers, env)

    def _restore(self, env: Env, before: Env) -> None:
        """Where all ways from a branch meet, no thread is missing any more."""
        for unknown, known in env.items():
            old = before.get(unknown, self.steps.unknowns.all[unknown].range)
            if old.taken != known.taken and (old.lo, old.hi) == (known.lo, known.hi):
                env[unknown] = replace(known, taken=old.taken)

    def _range(self, value: Known | None, state: State) -> Range:
        return self.steps.unknowns.range_of(value, state.env) if isinstance(value, Value) else typed(64)

    # -- loops ------------------------------------------------------------------------------------

    def _turn(self, number: int) -> Value:
        return self.steps.unknowns.base("turn", str(number), Range(0, None, taken=LOWEST))

    def _enter(self, number: int, state: State) -> None:
        """What is known at the start of any iteration, from what is known before the first."""
        header, unknowns = self.headers[number], self.steps.unknowns
        if self.finding:
            header.first = len(unknowns.all)
        turn = self._turn(number)
        for fact, most in header.facts or ():
            # what the test at the end says of the next iteration must hold for the first one too
            first = Value(tuple(t for t in fact.terms if t[0] != turn.terms[0][0]))
            end = unknowns.bounded(first, state.env).hi
            if end is not None and end <= most:
                state.env.facts |= {(fact, most)}
        state.env[turn.terms[0][0]] = header.turns
        for name in self.live[number] & self.changed[number]:
            initial = state.registers.get(name)
            if initial is not None and not isinstance(initial, Value):
                state.registers[name] = Anything()
                continue
            if not self.finding and initial is not None and name in header.steps:
                state.registers[name] = initial.plus(turn, header.steps[name])
                continue
            arrays = header.arrays.get(name, frozenset())
            known = typed(64)
            if initial is not None:
                arrays |= unknowns.arrays(initial)
                if not self.finding:
                    known = unknowns.range_of(initial, state.env)
                    known = known.hull(header.other[name]) if name in header.other else known
            # a number of its own, also for one value: the next iteration has another one
            unknown = unknowns.loop((number, name), known, arrays, state.env)
            state.registers[name] = unknown

    def _counted(self, number: int, condition: tuple[str, bool] | None, state: State) -> bool:
        """Bound the iterations by the test at their end; False where there is no next one."""
        if condition is None or len(self.flow.loops[number].back) > 1:
            return True
        turn, predicate = self._turn(number).terms[0][0], state.registers.get(condition[0])
        if predicate is None or isinstance(predicate, Value):
            return True
        first = self.headers[number].first
        return self.steps.narrowing.last_turn(state.env, predicate, condition[1], turn, first)

    def _back(self, number: int, state: State) -> None:
        """Gather what an iteration leaves to the next one."""
        header, unknowns = self.headers[number], self.steps.unknowns
        turn = unknowns.range_of(self._turn(number), state.env)
        counter = self._turn(number).terms[0][0]
        facts = frozenset(
            (fact, most + dict(fact.terms)[counter])  # of the iteration after
            for fact, most in state.env.facts
            if counter in dict(fact.terms) and all(u < header.first or u == counter for u, _ in fact.terms)
        )
        header.seen_facts = facts if header.seen_facts is None else header.seen_facts & facts
        header.seen_turns = turn if header.seen_turns is None else header.seen_turns.hull(turn)
        for name in self.live[number] & self.changed[number]:
            value = state.registers.get(name)
            if not isinstance(value, Value):
                header.seen[name] = typed(64)
                continue
            header.arrays[name] = header.arrays.get(name, frozenset()) | unknowns.arrays(value)
            if self.finding:
                before = unknowns.loop_number((number, name))
                step = value.plus(Value(((before, 1),)), -1) if before is not None else value
                known = header.steps.get(name)
                same = step.is_constant and before is not None and (known is None or known == step.const)
                if same and name not in header.seen:
                    header.steps[name] = step.const
                else:
                    header.steps.pop(name, None)
                    header.seen[name] = typed(64)
            elif name not in header.steps:
                found = unknowns.range_of(value, state.env)
                header.seen[name] = header.seen[name].hull(found) if name in header.seen else found

    def _grow(self, attempt: int) -> bool:
        """Take over what the pass found; True where that is more than was assumed."""
        again = False
        for number, header in self.headers.items():
            if header.seen_turns is None:
                continue
            before = (header.turns, dict(header.other))
            last = header.seen_turns.hi
            if last is None or (header.turns.hi is not None and last + 1 > header.turns.hi):
                ends = sorted({*_TURNS, *self.steps.narrowing.turns.get(self._turn(number).terms[0][0], ())})
                fitting = [t for t in ends if last is not None and t >= last + 1]
                hi = None if not fitting else last + 1 if header.changed == 0 and last is not None else fitting[0]
                header.turns = Range(0, hi, taken=LOWEST)
            for name, found in header.seen.items():
                known = header.other.get(name)
                new = found if known is None else known.hull(found)
                if known is not None and header.changed > 1 and new != known:
                    new = _widened(known, new)
                header.other[name] = new
            facts = header.seen_facts or frozenset()
            grown = (header.turns, header.other) != before
            kept = facts if header.facts is None or grown else header.facts & facts
            again = again or grown or kept != header.facts
            header.facts, header.changed = kept, header.changed + grown
        return again

    def _shrink(self) -> bool:
        """What a pass found from assumptions that hold, holds too; True where it says more."""
        again = False
        for number, header in self.headers.items():
            loop, before = self.flow.loops[number], (header.turns, dict(header.other))
            if header.seen_turns is None:
                header.turns = single(0)
            elif header.seen_turns.hi is not None:
                counted = header.seen_turns.taken & HIGHEST and len(loop.back) == 1 and loop.exits == 1
                last = header.seen_turns.hi + 1
                if header.turns.hi is None or last <= header.turns.hi:
                    header.turns = Range(0, last, taken=LOWEST | (HIGHEST if counted else 0))
            for name in header.other.keys() & header.seen.keys():
                header.other[name] = header.seen[name]
            again = again or (header.turns, header.other) != before
        return again


def _both(a: Range, b: Range) -> Range:
    return a if a == b else a.hull(b)


def _widened(old: Range, new: Range) -> Range:
    """The ends that moved, moved on to the next one of a few."""
    lo, hi = new.lo, new.hi
    if lo is not None and old.lo is not None and lo < old.lo:
        lo = next((-e for e in _ENDS if -e <= lo), None)
    if hi is not None and old.hi is not None and hi > old.hi:
        hi = next((e for e in _ENDS if e >= hi), None)
    return Range(lo, hi, new.step, new.rest)
