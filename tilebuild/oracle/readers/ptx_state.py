"""What is known at a place of a PTX function, and the values of operands there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Union

from tilebuild.oracle.readers.ptx_algebra import Algebra
from tilebuild.oracle.readers.ptx_conditions import Anything, Narrowing, Predicate
from tilebuild.oracle.readers.ptx_text import (
    TYPE_BYTES,
    Address,
    Function,
    Instruction,
    Name,
    Number,
    Operand,
    Register,
)
from tilebuild.oracle.readers.ptx_unknowns import Env
from tilebuild.oracle.readers.ptx_values import Range, Value, typed

Known = Union[Value, Predicate]
SHARED_WINDOW, GENERIC_WINDOW = 1 << 18, 1 << 49  # addresses lie below


@dataclass
class State:
    """What is known at a place: of registers, and of unknowns."""

    registers: dict[str, Known] = field(default_factory=dict)
    env: Env = field(default_factory=Env)


def kind_of(parts: tuple[str, ...]) -> tuple[int, bool]:
    """Width in bits and signedness of an instruction's last type."""
    for part in reversed(parts):
        if part in TYPE_BYTES:
            return TYPE_BYTES[part] * 8, part[0] == "s"
    return 64, False


class Operands:
    """The values of operands. `arrays` are the alignments of the shared arrays; `special` gives the ranges of special
    registers."""

    def __init__(self, function: Function, arrays: Mapping[str, int], special: Mapping[str, Range]) -> None:
        self.function = function
        self.unknowns = Algebra()
        self.narrowing = Narrowing(self.unknowns)
        self.arrays, self.special = arrays, special

    def value(self, operand: Operand, state: State) -> Value:
        """The value of an integer operand."""
        if isinstance(operand, Number):
            return Value((), operand.value)
        if isinstance(operand, Register):
            return self.register(operand.name, state)
        if isinstance(operand, Name):
            return self.symbol(operand.name).shifted(operand.offset)
        if isinstance(operand, Address):
            base = Value(()) if operand.base is None else self.value(operand.base, state)
            return base.shifted(operand.offset)
        return self.unknowns.any(("operand", str(operand)), typed(64), frozenset(), state.env)

    def register(self, name: str, state: State) -> Value:
        found = state.registers.get(name)
        if isinstance(found, Value):
            return found
        if name in self.special:
            known = self.special[name]
            if known.lo is not None and known.lo == known.hi:
                return Value((), known.lo)
            return self.unknowns.base("thread" if name.startswith("%tid") else "special", name, known)
        return self.unknowns.any(("register", name), typed(64), frozenset(), state.env)

    def symbol(self, name: str) -> Value:
        if name in self.arrays:
            known = Range(0, SHARED_WINDOW, self.arrays[name])
            return self.unknowns.base("array", name, known, frozenset({name}))
        return self.unknowns.base("symbol", name, Range(0, 1 << 49))

    def predicate(self, operand: Operand, state: State) -> Predicate:
        if isinstance(operand, Register):
            found = state.registers.get(operand.name)
            return found if found is not None and not isinstance(found, Value) else Anything()
        return Anything()

    def guarded(self, i: Instruction, state: State) -> Env | None:
        """What is known where the instruction's guard holds; None where it never does."""
        if i.guard is None:
            return state.env
        return self.assume(state, i.guard[0], not i.guard[1])

    def assume(self, state: State, name: str, truth: bool) -> Env | None:
        """What is known where a predicate register has a value."""
        return self.narrowing.assume(state.env, self.predicate(Register(name), state), truth)
