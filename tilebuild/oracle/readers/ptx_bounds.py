"""Whether the accesses of a PTX function to shared memory stay inside their arrays, and are aligned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from tilebuild.diagnostics import Span
from tilebuild.oracle.findings import UNKNOWN, VIOLATED, Findings
from tilebuild.oracle.readers import ptx_accesses
from tilebuild.oracle.readers.ptx_accesses import Touch
from tilebuild.oracle.readers.ptx_cases import Cases
from tilebuild.oracle.readers.ptx_conditions import Predicate
from tilebuild.oracle.readers.ptx_flow import Flow, FlowProblem
from tilebuild.oracle.readers.ptx_run import Run
from tilebuild.oracle.readers.ptx_state import State
from tilebuild.oracle.readers.ptx_steps import Steps
from tilebuild.oracle.readers.ptx_text import Function, Instruction, Register, Variable
from tilebuild.oracle.readers.ptx_unknowns import Env
from tilebuild.oracle.readers.ptx_values import HIGHEST, LOWEST, Range, Value

_CASES = 4096  # threads and iterations that are looked at one by one
_INSIDE = "keep the index inside the array, or make the array larger"
_LAUNCH = "judge it with its launch"


class Kernel(Protocol):
    """What is known of the kernel that a function belongs to: its shared arrays by name, whether its block is known,
    the ranges of special registers, and the thread's computing time at which to give up."""

    @property
    def arrays(self) -> Mapping[str, Variable]: ...

    @property
    def block(self) -> tuple[int, ...] | None: ...

    @property
    def deadline(self) -> float: ...

    def size(self, array: Variable) -> int | None:
        """The bytes of an array, None where they are not known."""

    def special(self) -> dict[str, Range]:
        """The ranges of the special registers."""

    def span(self, i: Instruction) -> Span | None:
        """The source line of an instruction."""


@dataclass(frozen=True)
class Access:
    """One touch of one array by instruction `number`, at an offset of which `env` knows the range."""

    number: int
    i: Instruction
    touch: Touch
    array: Variable
    offset: Value
    env: Env

    @property
    def verb(self) -> str:
        return "writes" if self.touch.write else "reads"

    def at(self, first: int, size: int) -> str:
        """Bytes of the array as messages show them."""
        place = f"bytes {first}..{first + self.touch.bytes} of the shared array {self.array.name}"
        return f"{self.verb} {place}, which has {size} bytes"


class SharedAccesses:
    """The accesses of one function to shared memory; raises `TooSlowError`."""

    def __init__(self, kernel: Kernel, function: Function, findings: Findings) -> None:
        self.kernel, self.function, self.found = kernel, function, findings
        self.carrying = ptx_accesses.carriers(function, kernel.arrays)
        self.steps = Steps(function, {a.name: max(1, a.align) for a in kernel.arrays.values()}, kernel.special())
        self.unknowns = self.steps.unknowns
        self.reported: set[tuple[str, int]] = set()
        self.accesses: list[Access] = []
        self.lost: dict[int, Instruction] = {}  # touches of shared memory at places that are not known
        self.tests: dict[int, tuple[Predicate, Env]] = {}  # of conditional jumps, with what is known there
        self.flow: Flow | None = None  # where the function's is plain enough, and has been followed

    def run(self) -> None:
        """Report every access that is not proved to be right."""
        for i in ptx_accesses.escapes(self.function, self.carrying, self.kernel.arrays):
            what = "gives the address of a shared array to memory or to a function, where it is not followed"
            self._add("O-PTX-04", UNKNOWN, i, what, "keep addresses of shared memory in registers")
            self.lost[-1] = i
        uses: dict[int, list[str]] = {}
        for number, i in enumerate(self.function.body):
            found = ptx_accesses.touches(i)
            if found is None:
                what = "touches shared memory in a way that the oracle does not know"
                self._add("O-PTX-05", UNKNOWN, i, what, "nothing is proved about this instruction")
                self.lost[number] = i
            elif any(self._concerns(t) for t in found):
                uses[number] = ptx_accesses.asked(i, self.carrying)
        if uses:
            for number, i in enumerate(self.function.body):
                if i.op == "bra" and i.guard is not None:
                    uses[number] = [i.guard[0]]
            try:
                run = Run(self.function, self.steps, uses, self.kernel.deadline)
                run.run(self._look)
                self.flow = run.flow
            except FlowProblem as problem:
                message = f"nothing is proved about accesses to shared memory: {problem}"
                self.found.add("O-PTX-03", UNKNOWN, message, artifact_line=self.function.line, fix="use plain loops")

    def concerned(self, i: Instruction) -> bool:
        """True for an instruction that touches shared memory, or may."""
        found = ptx_accesses.touches(i)
        return found is None or any(map(self._concerns, found))

    def _concerns(self, touch: Touch) -> bool:
        base = touch.address.base
        if not touch.generic:
            return True
        return base is not None and (base.name in self.carrying or base.name in self.kernel.arrays)

    def _look(self, number: int, i: Instruction, state: State) -> None:
        if i.op == "bra":
            self.tests[number] = (
                self.steps.predicate(Register(i.guard[0] if i.guard else ""), state),
                state.env.copy(),
            )
            return
        if i.guard is not None:
            self.tests[number] = (self.steps.predicate(Register(i.guard[0]), state), state.env.copy())
        for touch in ptx_accesses.touches(i) or ():
            if self._concerns(touch):
                env = self.steps.guarded(i, state)
                if env is not None:
                    self._touch(number, i, touch, State(state.registers, env))

    def _touch(self, number: int, i: Instruction, touch: Touch, state: State) -> None:
        value = self.steps.value(touch.address, state)
        window = "generic" if touch.generic else "array"
        bases = [(u, c) for u, c in value.terms if self.unknowns.all[u].kind == window]
        if len(bases) != 1 or bases[0][1] != 1:
            origin = ", ".join(sorted(self.unknowns.arrays(value))) or "no array that is known"
            verb = "writes" if touch.write else "reads"
            what = f"{verb} {touch.bytes} bytes at an address that comes from {origin}: where it lies is not proved"
            self._add("O-PTX-03", UNKNOWN, i, what, "take the address from one array, with an index that is bounded")
            self.lost[number] = i
            return
        array = self.kernel.arrays[self.unknowns.all[bases[0][0]].name]
        offset = value.plus(Value((bases[0],)), -1)
        offset = self.unknowns.exact(offset, 64 if touch.generic else 32, True, state.env)
        access = Access(number, i, touch, array, offset, state.env.copy())
        self.accesses.append(access)
        self._bounds(access)
        self._alignment(access)

    # -- inside the array -------------------------------------------------------------------------

    def _bounds(self, a: Access) -> None:
        known, size = self.unknowns.bounded(a.offset, a.env), self.kernel.size(a.array)
        if size is None:
            what = (
                f"{a.verb} the shared array {a.array.name}, whose size is given at the launch, which is not known here"
            )
            self._add("O-PTX-07", UNKNOWN, a.i, what, _LAUNCH)
            return
        last = size - a.touch.bytes
        if known.inside(0, last):
            return
        if known.lo is not None and known.lo > last:
            self._add("O-PTX-01", VIOLATED, a.i, a.at(known.lo, size), _INSIDE)
        elif known.hi is not None and known.hi < 0:
            self._add("O-PTX-01", VIOLATED, a.i, a.at(known.hi, size), _INSIDE)
        else:
            cases = Cases(self.unknowns, a.offset, a.env)
            if cases.count is not None and cases.count <= _CASES:
                self._every_case(a, cases, size)
            else:
                self._ends(a, known, size)

    def _every_case(self, a: Access, cases: Cases, size: int) -> None:
        """Judge an offset that only depends on few threads and iterations by all of them."""
        last = size - a.touch.bytes
        outside = next(((at, given) for at, given in cases if not 0 <= at <= last), None)
        if outside is None:
            return
        at, given = outside
        whole = all(self.unknowns.range_of_one(root, a.env).taken == LOWEST | HIGHEST for root in given)
        narrowed = any(u in a.env for u in self.unknowns.derived(a.offset))
        where = [self._named(u, n) for u, n in given.items()]
        text = a.at(at, size) + (f", where {' and '.join(where)}" if where else "")
        if whole and not narrowed and a.touch.all_threads:
            self._add("O-PTX-01", VIOLATED, a.i, text, _INSIDE)
        else:
            what = f"is not proved to stay inside: it may be that it {text}{self._reason(a)}"
            self._add("O-PTX-01", UNKNOWN, a.i, what, _INSIDE)

    def _ends(self, a: Access, known: Range, size: int) -> None:
        last = size - a.touch.bytes
        for end, bit, over in (
            (known.hi, HIGHEST, known.hi is not None and known.hi > last),
            (known.lo, LOWEST, known.lo is not None and known.lo < 0),
        ):
            if over and end is not None and known.taken & bit and a.touch.all_threads:
                text = a.at(end, size) + self._witness(a, bit == HIGHEST)
                self._add("O-PTX-01", VIOLATED, a.i, text, _INSIDE)
                return
        first, final = ("anywhere" if e is None else str(e) for e in (known.lo, known.hi))
        where = f"{a.touch.bytes} bytes at {first}..{final} of the shared array {a.array.name}, which has {size} bytes"
        what = f"is not proved to stay inside: it {a.verb} {where}{self._reason(a)}"
        self._add("O-PTX-01", UNKNOWN, a.i, what, "bound the index by constants")

    def _witness(self, a: Access, high: bool) -> str:
        parts = []
        for number, c in a.offset.terms:
            known = self.unknowns.range_of_one(number, a.env)
            at = known.hi if (c > 0) == high else known.lo
            if self.unknowns.all[number].kind in ("thread", "turn") and at is not None:
                parts.append(self._named(number, at))
        return f", where {' and '.join(parts)}" if parts else ""

    def _named(self, number: int, at: int) -> str:
        unknown = self.unknowns.all[number]
        return f"{unknown.name} = {at}" if unknown.kind == "thread" else f"iteration {at} of its loop"

    def _reason(self, a: Access) -> str:
        """The unknowns without which the offset would be bounded."""
        parts = []
        for number in sorted(self.unknowns.roots(a.offset)):
            unknown, known = self.unknowns.all[number], self.unknowns.range_of_one(number, a.env)
            if unknown.kind == "thread" and self.kernel.block is None:
                parts.append(f"{unknown.name}, with no .reqntid to bound it")
            elif unknown.kind == "param":
                parts.append(f"the parameter {unknown.name.split('+')[0]}")
            elif known.lo is None or known.hi is None or known.hi - known.lo >= 1 << 20:
                loop = unknown.kind == "turn"
                parts.append("a loop whose number of iterations is not bounded" if loop else "a value without bounds")
        return f"; it depends on {', '.join(dict.fromkeys(parts))}" if parts else ""

    # -- aligned ----------------------------------------------------------------------------------

    def _alignment(self, a: Access) -> None:
        unit, known = a.touch.bytes, self.unknowns.range_of(a.offset, a.env)
        if unit & (unit - 1):
            return
        what = f"{a.verb} {unit} bytes at once of the shared array {a.array.name}"
        fix = f"use offsets that are multiples of {unit}"
        if a.array.align % unit:
            what += f", which is aligned to {a.array.align} bytes"
            self._add("O-PTX-02", UNKNOWN, a.i, what, f"align the array to {unit} bytes")
        elif not known.multiple_of(unit) and not self._all_aligned(a, unit):
            # where all are congruent one is as good as another; of two that are taken next to each other one is wrong
            if known.lo is not None and (known.step % unit == 0 or known.taken == LOWEST | HIGHEST):
                what += f", at offsets that are not multiples of {unit}"
                if len(a.offset.terms) < 2:
                    what += f", such as {known.lo if known.lo % unit else known.lo + known.step}"
                self._add("O-PTX-02", VIOLATED, a.i, what, fix)
            else:
                what = f"is not proved to be aligned: it {what}, at offsets not known to be multiples of {unit}"
                self._add("O-PTX-02", UNKNOWN, a.i, what, fix)

    def _all_aligned(self, a: Access, unit: int) -> bool:
        """True if an offset that depends on few threads and iterations is a multiple of a unit for each of them."""
        cases = Cases(self.unknowns, a.offset, a.env)
        return cases.count is not None and cases.count <= _CASES and all(at % unit == 0 for at, _ in cases)

    def _add(self, code: str, outcome: str, i: Instruction, what: str, fix: str) -> None:
        if (code, i.line) in self.reported:
            return
        self.reported.add((code, i.line))
        message = f"{i.text} (line {i.line}) {what}"
        self.found.add(code, outcome, message, span=self.kernel.span(i), artifact_line=i.line, fix=fix)
