"""Where variables lie: offsets in shared and local memory, addresses in global memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from tilebuild.testing.ptx.declarations import SIZES
from tilebuild.testing.ptx.faults import Fault
from tilebuild.testing.ptx.global_memory import BASE, READ, SLACK, WRITE, GlobalMemory
from tilebuild.testing.ptx.memory import WINDOW
from tilebuild.testing.ptx.syntax import Address, Function, Group, Module, Operand, Pair, Symbol, Variable, Vector

HOLE = 32
"""Bytes between two variables of shared memory at least: as many as one access can have."""


@dataclass(frozen=True)
class Place:
    """An address in a space: global, shared or local."""

    space: str
    address: int

    @property
    def generic(self) -> int:
        return self.address + WINDOW.get(self.space, 0)


def names(operands: Iterable[Operand]) -> Iterator[str]:
    """The symbols that operands mention."""
    for operand in operands:
        if isinstance(operand, Symbol):
            yield operand.name
        elif isinstance(operand, Address) and isinstance(operand.base, Symbol):
            yield operand.base.name
        elif isinstance(operand, (Vector, Group)):
            yield from names(operand.items)
        elif isinstance(operand, Pair):
            yield from names((operand.first, operand.second))


def _mentioned(module: Module, functions: Iterable[Function]) -> set[str]:
    """The symbols of functions' instructions and branch lists, and those in initial values of variables among them."""
    found = {n for f in functions for i in f.instructions for n in names(i.operands)}
    found |= {n for f in functions for targets in f.targets.values() for n in targets}
    waiting = list(found)
    while waiting:
        variable = module.variables.get(waiting.pop())
        for symbol in () if variable is None else variable.addresses.values():
            if symbol.name not in found:
                found.add(symbol.name)
                waiting.append(symbol.name)
    return found


def reachable(module: Module, entry: Function) -> list[Function]:
    """The entry and the functions that it can come to, in the order in which they are mentioned."""
    found = [entry]
    for function in found:
        for name in sorted(_mentioned(module, [function])):
            other = module.functions.get(name)
            if other is not None and other.body and other not in found:
                found.append(other)
    return found


class Layout:
    """`shared` and `local` are bytes of a block and of a thread; `holes` are ranges of shared memory in no variable;
    `functions` gives each function a number."""

    def __init__(self, module: Module, functions: list[Function], dynamic: int) -> None:
        self._places: dict[tuple[str, str], Place] = {}
        self.functions = {f.name: n + 1 for n, f in enumerate(functions)}
        self.shared = 0
        self.local = 0
        used = _mentioned(module, functions)
        self._globals = [v for v in module.variables.values() if v.space in ("global", "const") and v.name in used]
        mine = [("", v) for v in module.variables.values() if v.space == "shared" and v.name in used]
        mine += [(f.name, v) for f in functions for v in f.variables if v.space == "shared"]
        sized = [(f, v) for f, v in mine if v.count]
        self.holes: list[tuple[int, int]] = []
        for owner, v in sized:
            if self.shared:
                self._hole(v.align)
            self._places[owner, v.name] = Place("shared", self._next("shared", v))
        if self.shared and any(not v.count for _, v in mine):
            self._hole(16)
        for _, v in mine:
            if not v.count:  # all of the memory that is sized at launch begins at one place
                self.shared = -(-self.shared // v.align) * v.align
        for owner, v in mine:
            if not v.count:
                self._places[owner, v.name] = Place("shared", self.shared)
        self.shared += dynamic
        for f in functions:
            own = [v for v in f.variables if v.space in ("local", "param")]
            if not f.entry:
                own += [v for v in (*f.parameters, *f.results) if v.space == "param"]
            for v in own:
                self._places[f.name, v.name] = Place("local", self._next("local", v))
            self._globals += [v for v in f.variables if v.space in ("global", "const")]

    def _hole(self, align: int) -> None:
        """Leave bytes that nobody may touch between two variables of shared memory."""
        end = -(-(self.shared + HOLE) // align) * align
        self.holes.append((self.shared, end))
        self.shared = end

    def _next(self, space: str, v: Variable) -> int:
        end: int = getattr(self, space)
        start = -(-end // v.align) * v.align
        setattr(self, space, start + SIZES[v.type] * v.count)
        return start

    @property
    def capacity(self) -> int:
        """How much global memory the variables take, at most."""
        return sum(SIZES[v.type] * v.count + v.align + SLACK for v in self._globals)

    def allocate(self, memory: GlobalMemory, entry: Function, parameters: Mapping[str, int]) -> None:
        """Put the global variables and constants there; `parameters` are the addresses of the entry's parameters."""
        self._places |= {(entry.name, n): Place("global", a) for n, a in parameters.items()}
        for v in self._globals:
            size = SIZES[v.type] * v.count
            content = np.frombuffer(v.values.ljust(size, b"\0"), np.uint8)
            flags = READ if v.space == "const" else READ | WRITE
            address = memory.allocate(v.name, content, flags, max(v.align, 256))
            self._places["", v.name] = Place("global", address)
        for v in self._globals:
            start = self._places["", v.name].address - BASE
            for at, symbol in v.addresses.items():
                value = self.address(entry.name, symbol, v.line) + symbol.offset
                size = SIZES[v.type]
                memory.data[start + at : start + at + size] = np.frombuffer(
                    value.to_bytes(8, "little")[:size], np.uint8
                )

    def place(self, function: str, name: str, line: int) -> Place:
        """Where a variable lies; raises Fault EMU-01 for a name that nothing declares."""
        found = self._places.get((function, name)) or self._places.get(("", name))
        if found is None:
            raise Fault("EMU-01", f'nothing declares "{name}"', line)
        return found

    def address(self, function: str, symbol: Symbol, line: int) -> int:
        """The value of a symbol as an operand, without its offset: an address in its space, or a function's number."""
        if symbol.name in self.functions:
            return self.functions[symbol.name]
        found = self.place(function, symbol.name, line)
        return found.generic if symbol.generic else found.address
