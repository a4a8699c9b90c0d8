"""What the rules ask of a module that has a sound layout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tilebuild.targets.spirv.module import Instruction, Module


@dataclass(frozen=True, order=True)
class Finding:
    """`index`: of the instruction that is wrong."""

    index: int
    message: str


@dataclass(frozen=True)
class Limits:
    """Of a workgroup: invocations, and bytes of its memory; and bytes of push constants."""

    invocations: int
    shared_bytes: int
    push_constant_bytes: int = 128


class Facts:
    """Definitions and decorations by id. Types are compared by id: the layout rules see to one id a type."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.instructions = module.instructions
        self.made: dict[int, Instruction] = {i.result: i for i in module.instructions if i.result}
        self.decorations: dict[tuple[int, str], list[Instruction]] = {}
        self.member_decorations: dict[tuple[int, int, str], Instruction] = {}
        for i in module.instructions:
            if i.op == "Decorate":
                self.decorations.setdefault((_int(i, 0), str(i.operands[1])), []).append(i)
            elif i.op == "MemberDecorate":
                self.member_decorations[_int(i, 0), _int(i, 1), str(i.operands[2])] = i

    def each(self, *ops: str) -> Iterator[tuple[int, Instruction]]:
        """The instructions with these opcodes, with their index."""
        return ((n, i) for n, i in enumerate(self.instructions) if i.op in ops)

    def type_of(self, value: int) -> Instruction:
        """The type instruction of a value; the value itself where it has none (a label, a type)."""
        made = self.made[value]
        return self.made[made.type] if made.type else made

    def kind(self, type_: Instruction) -> str:
        """f32, i32, u32, bool, or the opcode of any other type."""
        if type_.op == "TypeInt":
            return "i32" if type_.operands[1] else "u32"
        return {"TypeFloat": "f32", "TypeBool": "bool"}.get(type_.op, type_.op)

    def kind_of(self, value: int) -> str:
        """The kind of a value's type; what has no type is no value, and gives its opcode."""
        made = self.made[value]
        return self.kind(self.made[made.type]) if made.type else f"an Op{made.op}"

    def constant(self, value: int) -> int | None:
        """The bits of a constant; None for any other value."""
        made = self.made[value]
        return _int(made, 0) if made.op == "Constant" else None

    def globals(self, storage: str = "") -> Iterator[tuple[int, Instruction]]:
        """The variables outside functions, of one storage class or of all."""
        for n, i in self.each("Variable"):
            if i.operands[0] != "Function" and storage in ("", i.operands[0]):
                yield n, i

    def pointee(self, pointer: int) -> Instruction:
        """The type that a pointer's type points to."""
        return self.made[_int(self.type_of(pointer), 1)]

    def decoration(self, target: int, name: str) -> list[int | str]:
        """What follows a decoration, for each time that it is there."""
        return [*(i.operands[2] if len(i.operands) > 2 else 1 for i in self.decorations.get((target, name), ()))]

    def size(self, type_: Instruction) -> int:
        """Bytes of a type in workgroup memory or a buffer; a runtime array counts as 0."""
        if type_.op in ("TypeInt", "TypeFloat"):
            return _int(type_, 0) // 8
        if type_.op in ("TypeVector", "TypeArray"):
            count = _int(type_, 1) if type_.op == "TypeVector" else self.constant(_int(type_, 1)) or 0
            return count * self.size(self.made[_int(type_, 0)])
        if type_.op == "TypeStruct":
            return sum(self.size(self.made[m]) for m in type_.operands if isinstance(m, int))
        return 0


def _int(i: Instruction, n: int) -> int:
    operand = i.operands[n]
    assert isinstance(operand, int)
    return operand
