"""Runs small PTX kernels on numbers: a second opinion on what the oracle says of them. One thread at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tilebuild.oracle.readers.ptx_text import Address, Function, Instruction, Name, Number, Operand, Register

MASK = 0xFFFFFFFF
STEPS = 20_000


def signed(value: int) -> int:
    return value - (1 << 32) if value & 0x80000000 else value


def _divide(a: int, b: int) -> int:
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


OPERATIONS: Mapping[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "shl": lambda a, b: a << b if b < 32 else 0,
    "shr": lambda a, b: a >> min(b, 31 if a < 0 else 32),
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "min": min,
    "max": max,
    "div": _divide,
    "rem": lambda a, b: a - _divide(a, b) * b,
}
TESTS: Mapping[str, Callable[[int, int], bool]] = {
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
}


class Thread:
    """One thread of a kernel with one array; `touched` are the offsets from it that the thread reads or writes."""

    def __init__(self, function: Function, thread: int, param: int) -> None:
        self.function = function
        self.registers: dict[str, int] = {"%tid.x": thread}
        self.param = param
        self.touched: list[int] = []

    def value(self, operand: Operand, is_signed: bool) -> int:
        if isinstance(operand, Number):
            found = operand.value
        elif isinstance(operand, Name):
            found = operand.offset  # the array lies at 0
        else:
            assert isinstance(operand, Register)
            found = self.registers.get(operand.name, 0)
        return signed(found & MASK) if is_signed else found & MASK

    def run(self) -> list[int]:
        at = 0
        for _ in range(STEPS):
            if at >= len(self.function.body):
                return self.touched
            i = self.function.body[at]
            at += 1
            if i.guard is not None and bool(self.registers.get(i.guard[0], 0)) == i.guard[1]:
                continue
            if i.op == "ret":
                return self.touched
            if i.op == "bra":
                assert isinstance(i.operands[0], Name)
                at = self.function.labels[i.operands[0].name]
            else:
                self.step(i)
        return self.touched

    def step(self, i: Instruction) -> None:
        kind = i.parts[-1]
        sign = kind[0] == "s"
        if i.op in ("st", "ld") and "shared" in i.parts:
            address = next(o for o in i.operands if isinstance(o, Address))
            base = 0 if address.base is None else self.value(address.base, False)
            self.touched.append(signed((base + address.offset) & MASK))
            return
        assert isinstance(i.operands[0], Register)
        to = i.operands[0].name
        if i.op == "ld":
            self.registers[to] = self.param & MASK
        elif i.op == "setp":
            self.registers[to] = TESTS[i.parts[1]](self.value(i.operands[1], sign), self.value(i.operands[2], sign))
        elif i.op == "selp":
            assert isinstance(i.operands[3], Register)
            chosen = i.operands[1 if self.registers.get(i.operands[3].name) else 2]
            self.registers[to] = self.value(chosen, sign)
        elif i.op == "mov":
            self.registers[to] = self.value(i.operands[1], sign)
        elif i.op == "mad":
            a, b, c = (self.value(o, sign) for o in i.operands[1:])
            self.registers[to] = (a * b + c) & MASK
        else:
            a, b = (self.value(o, sign) for o in i.operands[1:])
            self.registers[to] = OPERATIONS[i.op](a, b) & MASK
