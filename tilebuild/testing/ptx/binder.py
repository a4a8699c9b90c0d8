"""Operands of instructions as functions of the threads that execute: readers give arrays, writers take them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from tilebuild.testing.ptx.faults import Fault, unsupported
from tilebuild.testing.ptx.kinds import KINDS, Kind, decode, encode, extended
from tilebuild.testing.ptx.layout import Layout
from tilebuild.testing.ptx.memory import Memory
from tilebuild.testing.ptx.syntax import (
    Address,
    Function,
    Guard,
    Instruction,
    Literal,
    Negated,
    Operand,
    Register,
    Sink,
    Symbol,
)
from tilebuild.testing.ptx.threads import Chosen, Threads

Array = NDArray[Any]
Reader = Callable[[Chosen], Array]
Writer = Callable[[Chosen, Array], None]
Op = Callable[[Chosen], None]


class Words:
    """The modifiers of an instruction, which must all be used: one that nobody takes is an error, never ignored."""

    def __init__(self, instruction: Instruction) -> None:
        self.instruction = instruction
        self._left = list(instruction.modifiers)

    def take(self, *options: str) -> str:
        """The first modifier that is one of these, or an empty string."""
        for n, word in enumerate(self._left):
            if word in options:
                return self._left.pop(n)
        return ""

    def flag(self, word: str) -> bool:
        """Whether the modifier is there."""
        return bool(self.take(word))

    def kind(self) -> Kind:
        """The last modifier, which is a type."""
        if not self._left or self._left[-1] not in KINDS:
            self.refuse()
        return KINDS[self._left.pop()]

    def last(self) -> str:
        """The last modifier, whatever it is."""
        if not self._left:
            self.refuse()
        return self._left.pop()

    def has_kind(self) -> bool:
        return bool(self._left) and self._left[-1] in KINDS

    def done(self) -> None:
        """Refuse the instruction if a modifier is left."""
        if self._left:
            self.refuse()

    def refuse(self) -> NoReturn:
        """Raises Fault EMU-02."""
        unsupported(f'the instruction "{self.instruction.text}"', self.instruction.line)


class Binder:
    """Binds the instructions of one function at a time to the registers and the memory of a batch of threads."""

    def __init__(self, threads: Threads, memory: Memory, layout: Layout) -> None:
        self.threads, self.memory, self.layout = threads, memory, layout
        self.function: Function | None = None
        self.line = 0
        self._clock = np.zeros(threads.count, np.uint64)
        self._timed = False
        self._registers: dict[tuple[str, str], Array] = {}
        self.carry = np.zeros(threads.count, bool)
        """The condition code of add.cc and its like."""

    def poison(self) -> None:
        """Give every register the value of no number."""
        for array in self._registers.values():
            array.view(np.uint8)[:] = 0 if array.dtype == bool else 0xFF

    def tick(self, count: int) -> None:
        """Let instructions' time pass on the clocks, if the program reads one."""
        if self._timed:
            self._clock += np.uint64(count)

    @property
    def current(self) -> Function:
        assert self.function is not None
        return self.function

    def register(self, name: str) -> Array:
        """All threads' bits of a register."""
        special = self.threads.special.get(name)
        if special is not None:
            return special
        if name in ("%clock64", "%globaltimer", "%clock", "%globaltimer_lo"):
            self._timed = True
            return self._clock if name in ("%clock64", "%globaltimer") else self._clock.view(np.uint32)[::2]
        key = (self.current.name, name)
        if key not in self._registers:
            kind = self.current.registers.get(name)
            if kind is None or kind == "b128":
                unsupported(f'the register "{name}"' if kind is None else "a register of 128 bits", self.line)
            made = np.zeros(self.threads.count, KINDS[kind].unsigned)
            made.view(np.uint8)[:] = 0 if kind == "pred" else 0xFF
            self._registers[key] = made
        return self._registers[key]

    def read(self, operand: Operand, kind: Kind) -> Reader:
        """Numbers of `kind`, an array a call; a single number for a constant."""
        if kind.family == "pred":
            return self._predicate(operand)
        bits = self.bits(operand, kind)
        if isinstance(bits, np.ndarray):
            number = decode(bits.reshape(1), kind)[0]
            return lambda chosen: number
        if kind.plain:
            return bits
        source = bits
        return lambda chosen: decode(source(chosen), kind)

    def bits(self, operand: Operand, kind: Kind) -> Reader | Array:
        """For a register, a reader (of numbers already where the kind is plain); for a constant, its bits."""
        if isinstance(operand, Register):
            stored = self.register(operand.name)
            if stored.dtype == bool or stored.dtype.itemsize * 8 < kind.bits:
                raise Fault("EMU-01", f"{operand.name} has no {kind.bits} bits for .{kind.name}", self.line)
            dtype = kind.number if kind.plain else kind.unsigned
            if stored.dtype.itemsize * 8 == kind.bits:
                whole = stored.view(dtype)
                return lambda chosen: whole[chosen]
            unsigned = kind.unsigned
            return lambda chosen: stored[chosen].astype(unsigned).view(dtype)
        return np.array(self._constant(operand, kind), kind.unsigned)

    def _constant(self, operand: Operand, kind: Kind) -> int:
        mask = (1 << kind.bits) - 1
        if isinstance(operand, Symbol):
            return self.layout.address(self.current.name, operand, self.line) + operand.offset & mask
        if not isinstance(operand, Literal):
            unsupported("an operand that is neither a register nor a constant", self.line)
        if kind.is_float and not kind.is_half and kind.lanes == 1 and operand.width != kind.bits:
            if not operand.width:
                # an integer constant is converted only where its value is 0 in every format
                if operand.value == 0:
                    return 0
                unsupported(f"an integer constant as .{kind.name}", self.line)
            raw = operand.value.to_bytes(operand.width // 8, "little")
            value = struct.unpack("<f" if operand.width == 32 else "<d", raw)[0]
            return int.from_bytes(struct.pack("<f" if kind.bits == 32 else "<d", value), "little")
        if operand.width > kind.bits:
            raise Fault("EMU-01", f"a floating-point constant of 64 bits as .{kind.name}", self.line)
        return operand.value & mask

    def _predicate(self, operand: Operand) -> Reader:
        if isinstance(operand, Negated):
            inner = self._predicate(operand.operand)
            return lambda chosen: ~inner(chosen)
        if isinstance(operand, Literal):
            value = np.array(bool(operand.value))
            return lambda chosen: value
        if isinstance(operand, Register):
            stored = self.register(operand.name)
            if stored.dtype == bool:
                return lambda chosen: stored[chosen]
        raise Fault("EMU-01", "a predicate is wanted here", self.line)

    def holds(self, guard: Guard) -> Reader:
        """Whether each thread executes an instruction with this guard."""
        read = self._predicate(Register(guard.register))
        return (lambda chosen: ~read(chosen)) if guard.negated else read

    def write(self, operand: Operand, kind: Kind) -> Writer:
        """Takes numbers of `kind`; a wider register gets them extended."""
        if isinstance(operand, Sink):
            return lambda chosen, values: None
        if not isinstance(operand, Register):
            unsupported("a destination that is no register", self.line)
        stored = self.register(operand.name)
        if (stored.dtype == bool) != (kind.family == "pred") or stored.dtype.itemsize * 8 < kind.bits:
            raise Fault("EMU-01", f"{operand.name} does not take .{kind.name}", self.line)
        if kind.family == "pred":

            def predicate(chosen: Chosen, values: Array) -> None:
                stored[chosen] = values

            return predicate
        width = stored.dtype.itemsize * 8
        if width == kind.bits:
            view = stored.view(kind.number) if kind.plain else stored

            def plain(chosen: Chosen, values: Array) -> None:
                view[chosen] = values

            def coded(chosen: Chosen, values: Array) -> None:
                stored[chosen] = encode(values, kind)

            return plain if kind.plain else coded

        def wider(chosen: Chosen, values: Array) -> None:
            stored[chosen] = extended(encode(values, kind), kind, width)

        return wider

    def address(self, operand: Operand, space: str) -> tuple[str, Reader]:
        """The space of an address (global, shared, local or generic) and a reader of addresses in it."""
        if not isinstance(operand, Address):
            raise Fault("EMU-01", "an address in brackets is wanted here", self.line)
        offset = operand.offset
        base = operand.base
        if isinstance(base, Symbol):
            place = self.layout.place(self.current.name, base.name, self.line)
            if space in ("shared", "local") and place.space != space:
                raise Fault("EMU-01", f'"{base.name}" is not in {space} memory', self.line)
            return place.space, self.constant(place.address + offset)
        space = {"const": "global", "param": "generic"}.get(space, space)
        if base is None:
            return space, self.constant(offset)
        stored = self.register(base.name)
        if stored.dtype.itemsize == 8:
            wide = stored.view(np.int64)
            return space, (lambda chosen: wide[chosen] + offset) if offset else (lambda chosen: wide[chosen])
        return space, lambda chosen: stored[chosen].astype(np.int64) + offset

    def constant(self, value: int) -> Reader:
        """A reader that gives every thread the same address."""
        whole = np.broadcast_to(np.array(value, np.int64), (self.threads.count,))
        return lambda chosen: whole[chosen]
