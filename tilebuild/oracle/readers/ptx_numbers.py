"""PTX's integer instructions on numbers. What is not known is None; an address is an array's name and an offset."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Union

from tilebuild.oracle.readers import ptx_text as ptx
from tilebuild.oracle.readers.ptx_flow import results
from tilebuild.oracle.readers.ptx_state import kind_of
from tilebuild.oracle.readers.ptx_values import Range

_NOT_INTEGERS = frozenset(("f16", "f32", "f64", "bf16", "f16x2", "bf16x2", "tf32", "u16x2", "s16x2", "f32x2", "sat"))


@dataclass(frozen=True)
class Address:
    """A place in a shared array; in its own window and as a generic address alike."""

    array: str
    offset: int


Word = Union[int, Address, None]
State = dict[str, Word]

_COMPARE: Mapping[str, Callable[[int, int], bool]] = {
    "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge, "eq": operator.eq, "ne": operator.ne,
    "lo": operator.lt, "ls": operator.le, "hi": operator.gt, "hs": operator.ge,
}  # fmt: skip


def _truncated(a: int, b: int) -> int:
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


_BINARY: Mapping[str, Callable[[int, int, int], int | None]] = {
    "add": lambda a, b, _: a + b,
    "sub": lambda a, b, _: a - b,
    "and": lambda a, b, _: a & b,
    "or": lambda a, b, _: a | b,
    "xor": lambda a, b, _: a ^ b,
    "min": lambda a, b, _: min(a, b),
    "max": lambda a, b, _: max(a, b),
    "shl": lambda a, b, bits: a << b if 0 <= b < bits else 0,
    "shr": lambda a, b, bits: a >> (b if 0 <= b < bits else bits),
    "div": lambda a, b, _: _truncated(a, b) if b else None,
    "rem": lambda a, b, _: a - _truncated(a, b) * b if b else None,
}


class Numbers:
    """`arrays` are the names of shared arrays, `values` what parameters are, `special` the ranges of special
    registers."""

    def __init__(
        self,
        function: ptx.Function,
        arrays: Mapping[str, object],
        values: Mapping[str, int],
        special: Mapping[str, Range],
    ) -> None:
        self.function, self.arrays, self.values = function, arrays, values
        self.special = {name: r.lo for name, r in special.items() if r.lo is not None and r.lo == r.hi}

    def word(self, operand: ptx.Operand, state: State) -> Word:
        """What an operand is."""
        if isinstance(operand, ptx.Number):
            return operand.value
        if isinstance(operand, ptx.Register):
            found = state.get(operand.name)
            return self.special.get(operand.name) if found is None else found
        if isinstance(operand, ptx.Name) and operand.name in self.arrays:
            return Address(operand.name, operand.offset)
        return None

    def address(self, operand: ptx.Address, state: State) -> Word:
        """Where an address operand points to."""
        if operand.base is None:
            return None
        base = self.word(operand.base, state)
        if not isinstance(base, Address):
            return None
        offset = (base.offset + operand.offset) % (1 << 32)
        return Address(base.array, offset - (1 << 32) if offset >> 31 else offset)

    def stored(self, i: ptx.Instruction, state: State) -> Word:
        """What a store writes, where it is one integer."""
        found = self.word(i.operands[1], state) if len(i.operands) > 1 else None
        return found % (1 << kind_of(i.parts)[0]) if isinstance(found, int) else None

    def step(self, i: ptx.Instruction, state: State, maybe: bool) -> None:
        """Change the state by one instruction; `maybe` if it is not known whether it runs."""
        names = results(i)
        if not names:
            return
        made: Word = None
        second: Word = None
        if not maybe and not (_NOT_INTEGERS & set(i.parts)):
            try:
                made, second = self._made(i, state)
            except (IndexError, ValueError, OverflowError):
                made = second = None
        state[names[0]] = made if len(names) == 1 or i.op == "setp" else None
        for name in names[1:]:
            state[name] = second

    def _made(self, i: ptx.Instruction, state: State) -> tuple[Word, Word]:
        if i.op == "setp":
            return self._setp(i, state)
        return self._value(i, state), None

    def _integers(self, i: ptx.Instruction, state: State, count: int, signed: bool, bits: int) -> list[int] | None:
        words = [self.word(o, state) for o in i.operands[1 : 1 + count]]
        if len(words) < count:
            return None
        found = []
        for word in words:
            if not isinstance(word, int):
                return None
            low = word % (1 << bits)
            found.append(low - (1 << bits) if signed and low >> (bits - 1) else low)
        return found

    def _setp(self, i: ptx.Instruction, state: State) -> tuple[Word, Word]:
        bits, signed = kind_of(i.parts)
        pair = self._integers(i, state, 2, signed and i.parts[1] not in ("lo", "ls", "hi", "hs"), bits)
        if pair is None or i.parts[1] not in _COMPARE:
            return None, None
        truth = _COMPARE[i.parts[1]](*pair)
        if len(i.operands) < 4:
            return int(truth), int(not truth)
        other = self._truth(i.operands[3], state)
        apply = {"and": operator.and_, "or": operator.or_, "xor": operator.xor}.get(i.parts[2])
        if other is None or apply is None:
            return None, None
        return int(apply(truth, bool(other))), int(apply(not truth, bool(other)))

    def _truth(self, operand: ptx.Operand, state: State) -> int | None:
        if isinstance(operand, ptx.Register):
            found = state.get(operand.name)
            return found if isinstance(found, int) else None
        return None

    def _value(self, i: ptx.Instruction, state: State) -> Word:
        bits, signed = kind_of(i.parts)
        op = i.op
        if i.parts[-1] == "pred":
            bits, signed = 1, False
        mask = (1 << bits) - 1
        if op in ("mov", "cvta"):
            found = self.word(i.operands[1], state)
            return found & mask if isinstance(found, int) and op == "mov" else found
        if op in ("add", "sub"):
            return self._sum(i, state, mask)
        if op == "ld" and "param" in i.parts and isinstance(i.operands[1], ptx.Address):
            base = i.operands[1].base
            given = isinstance(base, ptx.Name) and i.operands[1].offset == 0
            return self.values.get(base.name) if given and isinstance(base, ptx.Name) else None
        if op in ("mul", "mad"):
            return self._product(i, state, bits, signed)
        if op == "selp":
            truth = self._truth(i.operands[3], state)
            return None if truth is None else self.word(i.operands[1 if truth else 2], state)
        if op == "cvt":
            return self._converted(i, state)
        if op in ("not", "neg", "abs"):
            one = self._integers(i, state, 1, op == "abs", bits)
            return None if one is None else ({"not": ~one[0], "neg": -one[0], "abs": abs(one[0])}[op]) & mask
        if op == "bfe" and not signed:
            three = self._integers(i, state, 3, False, bits)
            return None if three is None else (three[0] >> (three[1] & 255)) & ((1 << min(three[2] & 255, 64)) - 1)
        if op in _BINARY and len(i.operands) == 3:
            two = self._integers(i, state, 2, signed, bits)
            if two is not None and op in ("shl", "shr"):
                two[1] = self._integers(i, state, 2, False, 32)[1]  # type: ignore[index]
            made = None if two is None else _BINARY[op](two[0], two[1], bits)
            return None if made is None else made & mask
        return None

    def _sum(self, i: ptx.Instruction, state: State, mask: int) -> Word:
        a, b = self.word(i.operands[1], state), self.word(i.operands[2], state)
        if i.op == "sub":
            if isinstance(a, Address) and isinstance(b, Address):
                return (a.offset - b.offset) & mask if a.array == b.array else None
            b = -b if isinstance(b, int) else None
        if isinstance(b, Address):
            a, b = b, a
        if a is None or not isinstance(b, int):
            return None
        return Address(a.array, a.offset + b) if isinstance(a, Address) else (a + b) & mask

    def _product(self, i: ptx.Instruction, state: State, bits: int, signed: bool) -> Word:
        two = self._integers(i, state, 2, signed, bits)
        if two is None:
            return None
        product = two[0] * two[1]
        wide = 2 * bits if "wide" in i.parts else bits
        if "hi" in i.parts:
            product >>= bits
        if i.op == "mul":
            return product & ((1 << wide) - 1)
        added = self.word(i.operands[3], state)
        if isinstance(added, Address):
            product &= (1 << wide) - 1
            return Address(added.array, added.offset + (product - (1 << wide) if product >> (wide - 1) else product))
        return None if added is None else (product + added) & ((1 << wide) - 1)

    def _converted(self, i: ptx.Instruction, state: State) -> Word:
        types = [p for p in i.parts if p in ptx.TYPE_BYTES]
        found = self.word(i.operands[1], state)
        if len(types) != 2 or found is None:
            return None
        if isinstance(found, Address):
            return found
        to, source = (ptx.TYPE_BYTES[t] * 8 for t in types)
        found %= 1 << source
        if types[1][0] == "s" and found >> (source - 1):
            found -= 1 << source
        narrowed = found % (1 << min(to, 64))
        widest = max((self.function.width(name) for name in results(i)), default=64)
        if types[0][0] == "s" and widest > to and narrowed >> (to - 1):
            narrowed -= 1 << to
        return narrowed % (1 << max(widest, to))
