"""Calls and returns: a thread has one activation of a function at a time, so that recursion is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilebuild.testing.ptx.binder import Binder
from tilebuild.testing.ptx.declarations import SIZES
from tilebuild.testing.ptx.faults import Fault, unsupported
from tilebuild.testing.ptx.kinds import KINDS
from tilebuild.testing.ptx.layout import names
from tilebuild.testing.ptx.pieces import End
from tilebuild.testing.ptx.syntax import Function, Group, Instruction, Operand, Register, Symbol, Variable
from tilebuild.testing.ptx.threads import EXITED, WAITS_FOR_WARP, WARP, Chosen

Array = NDArray[Any]


def recursion(functions: list[Function]) -> Instruction | None:
    """A call by which a function can come to itself; an indirect call can come to every function that is mentioned
    otherwise than by a call."""
    known = {f.name for f in functions}
    taken: set[str] = set()
    direct: dict[str, set[str]] = {}
    places: dict[tuple[str, str], Instruction] = {}
    indirect: dict[str, Instruction] = {}
    for f in functions:
        direct[f.name] = set()
        for i in f.instructions:
            mentioned = set(names(i.operands)) & known
            if i.opcode != "call":
                taken |= mentioned
            elif mentioned:
                direct[f.name] |= mentioned
                places |= {(f.name, m): i for m in mentioned}
            else:
                indirect[f.name] = i
    for name, i in indirect.items():
        direct[name] |= taken
        places |= {(name, t): i for t in taken}
    reach = {n: set(d) for n, d in direct.items()}
    for _ in functions:
        for found in reach.values():
            found |= {x for other in list(found) for x in reach[other]}
    return next((i for (caller, callee), i in places.items() if caller == callee or caller in reach[callee]), None)


@dataclass(frozen=True)
class _Site:
    """Where a return leads: `collect` brings the results there."""

    following: int
    collect: End


class Calls:
    """Arguments and results lie in local memory, as variables of state space .param, or in registers."""

    def __init__(self, b: Binder, functions: list[Function], first: Mapping[tuple[str, int], int]) -> None:
        again = recursion(functions)
        if again is not None:
            unsupported(f'a recursive "{again.text}"', again.line)
        self._b, self._first = b, first
        self._functions = {f.name: f for f in functions}
        self._sites: list[_Site] = []
        self._stack = np.zeros((b.threads.count, len(functions) + 1), np.int32)
        self._depth = np.zeros(b.threads.count, np.int64)

    def forget(self) -> None:
        """Begin anew."""
        self._depth[:] = 0

    def exit(self, chosen: Chosen) -> None:
        """Threads end. Those of their warps that wait look again whom they wait for."""
        threads = self._b.threads
        pc = threads.pc
        pc[chosen] = EXITED
        warps = np.unique(threads.index[chosen] // WARP)
        members = (warps[:, None] * WARP + np.arange(WARP)).reshape(-1)
        waiting = members[(pc[members] & WAITS_FOR_WARP) != 0]
        pc[waiting] &= ~WAITS_FOR_WARP

    def leave(self, f: Function) -> End:
        """A return: from the entry, the end."""
        if f.entry:
            return self.exit

        def run(chosen: Chosen) -> None:
            threads = self._b.threads
            who = threads.indices(chosen)
            self._depth[who] -= 1
            sites = self._stack[who, self._depth[who]]
            for number in np.unique(sites):
                back = who[sites == number]
                site = self._sites[int(number)]
                site.collect(back)
                threads.pc[back] = site.following

        return run

    def call(self, i: Instruction, following: int) -> End:
        """call (results), function, (arguments), with `function` a name or a register."""
        for word in i.modifiers:
            if word != "uni":
                unsupported(f'the instruction "{i.text}"', i.line)
        rest = list(i.operands)
        results = _items(rest.pop(0)) if isinstance(rest[0], Group) else ()
        callee = rest.pop(0)
        arguments = _items(rest.pop(0)) if rest and isinstance(rest[0], Group) else ()
        if isinstance(callee, Symbol):
            function = self._functions.get(callee.name)
            if function is None:
                return self._missing(callee.name, i)
            return self._enter(function, arguments, results, i, following)
        read, threads = self._b.read(callee, KINDS["u64"]), self._b.threads
        taken = {
            self._b.layout.functions[f.name]: self._enter(f, arguments, results, i, following)
            for f in self._functions.values()
            if not f.entry and len(f.parameters) == len(arguments) and len(f.results) == len(results)
        }

        def indirect(chosen: Chosen) -> None:
            who = threads.indices(chosen)
            wanted = np.broadcast_to(read(chosen), who.shape)
            for number in np.unique(wanted):
                if int(number) not in taken:
                    raise Fault("EMU-11", f"{i.text} of {int(number):#x}, which is no function of this form", i.line)
                taken[int(number)](who[wanted == number])

        return indirect

    def _missing(self, name: str, i: Instruction) -> End:
        """A function without a body: an assertion that failed, or what only a device has."""
        what = "an assertion of the kernel failed" if name == "__assertfail" else f"{name} has no body in this text"

        def run(chosen: Chosen) -> None:
            thread = self._b.threads.name(int(self._b.threads.indices(chosen)[0]))
            raise Fault("EMU-11", f"{what}: it is called by {thread}", i.line, "the emulator runs PTX alone")

        return run

    def _enter(
        self,
        function: Function,
        arguments: tuple[Operand, ...],
        results: tuple[Operand, ...],
        i: Instruction,
        following: int,
    ) -> End:
        if len(arguments) != len(function.parameters) or len(results) != len(function.results):
            raise Fault("EMU-01", f"{function.name} is called with another number of arguments than it has", i.line)
        caller = self._b.current
        given = [self._move(function, Symbol(p.name), caller, a, p) for p, a in zip(function.parameters, arguments)]
        taken = [self._move(caller, r, function, Symbol(v.name), v) for v, r in zip(function.results, results)]
        number = len(self._sites)
        self._sites.append(_Site(following, lambda who: _each(taken, who)))
        start = self._first[function.name, 0]
        threads = self._b.threads

        def run(chosen: Chosen) -> None:
            _each(given, chosen)
            who = threads.indices(chosen)
            self._stack[who, self._depth[who]] = number
            self._depth[who] += 1
            threads.pc[who] = start

        return run

    def _move(self, to: Function, target: Operand, of: Function, source: Operand, v: Variable) -> End:
        """Bring a value as large as the parameter `v` from one function to the other."""
        write = self._bytes(to, target, v)
        read = self._bytes(of, source, v)

        def run(chosen: Chosen) -> None:
            write[chosen] = read[chosen]

        return run

    def _bytes(self, f: Function, operand: Operand, v: Variable) -> Array:
        """The bytes of a parameter or a register, [threads, size]."""
        size = SIZES[v.type] * v.count
        name = operand.name if isinstance(operand, (Symbol, Register)) else ""
        if name in f.registers:
            before, self._b.function = self._b.function, f
            register = self._b.register(name)
            self._b.function = before
            return register.view(np.uint8).reshape(register.size, -1)[:, :size]
        if isinstance(operand, Symbol):
            start = self._b.layout.place(f.name, name, v.line).address
            return self._b.memory.local_rows()[:, start : start + size]
        kind = KINDS[f"u{8 * size}"]
        constant = np.broadcast_to(np.asarray(self._b.read(operand, kind)(slice(0, 1))), (self._b.threads.count,))
        return np.ascontiguousarray(constant).view(np.uint8).reshape(-1, size)


def _items(operand: Operand) -> tuple[Operand, ...]:
    return operand.items if isinstance(operand, Group) else ()


def _each(ops: list[End], chosen: Chosen) -> None:
    for op in ops:
        op(chosen)
