"""A SPIR-V module as data, and its binary form."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Union

from tilebuild.targets.spirv.grammar import (
    BY_NUMBER,
    DECORATION_OPERAND,
    ENUMS,
    EXTENDED,
    MAGIC,
    OPCODES,
    VERSION,
    Opcode,
)

Operand = Union[int, str]  # ids, literals and the bits of numbers; enumerants by name, and strings


class ModuleError(ValueError):
    """What was read is no module of this grammar; the text says where and why."""


@dataclass(frozen=True)
class Instruction:
    """`type` and `result` are ids, 0 where the opcode has none."""

    op: str
    operands: tuple[Operand, ...] = ()
    type: int = 0
    result: int = 0

    @property
    def opcode(self) -> Opcode:
        return OPCODES[self.op]

    def kinds(self) -> list[str]:
        """The kind of each operand (see `grammar`), lists spread out; raises `ModuleError` for a wrong number."""
        found: list[str] = []
        for kind in self.opcode.operands:
            rest = len(self.operands) - len(found)
            if kind in ("ids", "ints"):
                found += [kind.removesuffix("s")] * max(rest, 0)
            else:
                found.append(kind)
        if "Decoration" in found and len(found) <= len(self.operands):
            extra = DECORATION_OPERAND.get(str(self.operands[found.index("Decoration")]))
            found += [extra] if extra else []
        if len(found) != len(self.operands):
            raise ModuleError(f"Op{self.op} has {len(self.operands)} operands, and takes {len(found)}")
        return found

    def ids(self) -> Iterator[int]:
        """The ids that it uses, its type first."""
        if self.type:
            yield self.type
        for kind, operand in zip(self.kinds(), self.operands):
            if kind == "id":
                assert isinstance(operand, int)
                yield operand


@dataclass(frozen=True)
class Module:
    """`bound` is larger than every id."""

    bound: int
    instructions: tuple[Instruction, ...]
    version: tuple[int, int] = VERSION


def encode(module: Module) -> bytes:
    """The little-endian binary; the same module gives the same bytes."""
    words = [MAGIC, module.version[0] << 16 | module.version[1] << 8, 0, module.bound, 0]
    for i in module.instructions:
        body = [w for w, has in ((i.type, i.opcode.typed), (i.result, i.opcode.result)) if has]
        for kind, operand in zip(i.kinds(), i.operands):
            body += _words(kind, operand)
        words += [(len(body) + 1) << 16 | i.opcode.number, *body]
    return struct.pack(f"<{len(words)}I", *words)


def decode(data: bytes) -> Module:
    """Read a binary; raises `ModuleError`, with the position in words."""
    if len(data) % 4 or len(data) < 20:
        raise ModuleError(f"{len(data)} bytes are no SPIR-V module: not a header and whole words")
    words = struct.unpack(f"<{len(data) // 4}I", data)
    if words[0] != MAGIC:
        raise ModuleError(f"the first word is {words[0]:#010x}, not SPIR-V's {MAGIC:#010x}")
    if words[4] != 0:
        raise ModuleError(f"the schema in the header is {words[4]}, not 0")
    found = []
    at = 5
    while at < len(words):
        size, number = words[at] >> 16, words[at] & 0xFFFF
        if size == 0 or at + size > len(words):
            raise ModuleError(f"word {at}: an instruction of {size} words in a module of {len(words)}")
        if number not in BY_NUMBER:
            raise ModuleError(f"word {at}: opcode {number} is not one that is known here")
        found.append(_instruction(BY_NUMBER[number], words[at + 1 : at + size], at))
        at += size
    return Module(words[3], tuple(found), (words[1] >> 16 & 0xFF, words[1] >> 8 & 0xFF))


def _words(kind: str, operand: Operand) -> list[int]:
    if kind == "str":
        data = str(operand).encode() + b"\0"
        data += b"\0" * (-len(data) % 4)
        return list(struct.unpack(f"<{len(data) // 4}I", data))
    if kind == "ext":
        return [EXTENDED[str(operand)]]
    if kind in ENUMS:
        return [ENUMS[kind][str(operand)]]
    assert isinstance(operand, int)
    return [operand & 0xFFFFFFFF]


def _instruction(opcode: Opcode, words: Sequence[int], at: int) -> Instruction:
    where = f"word {at}, Op{opcode.name}"
    queue = list(words)

    def take() -> int:
        if not queue:
            raise ModuleError(f"{where}: it is too short")
        return queue.pop(0)

    result_type = take() if opcode.typed else 0
    result = take() if opcode.result else 0
    operands: list[Operand] = []
    kinds = list(opcode.operands)
    while kinds:
        kind = kinds.pop(0)
        if kind in ("ids", "ints"):
            operands += queue
            queue.clear()
        elif kind == "str":
            operands.append(_string(queue, where))
        elif kind == "ext" or kind in ENUMS:
            names = {number: name for name, number in (EXTENDED if kind == "ext" else ENUMS[kind]).items()}
            number = take()
            if number not in names:
                raise ModuleError(f"{where}: {number} is no known {kind}")
            operands.append(names[number])
            if kind == "Decoration" and names[number] in DECORATION_OPERAND:
                kinds.append(DECORATION_OPERAND[names[number]])
        else:
            operands.append(take())
    if queue:
        raise ModuleError(f"{where}: {len(queue)} words too many")
    return Instruction(opcode.name, tuple(operands), result_type, result)


def _string(queue: list[int], where: str) -> str:
    data = struct.pack(f"<{len(queue)}I", *queue)
    end = data.find(b"\0")
    if end < 0:
        raise ModuleError(f"{where}: a string without an end")
    del queue[: end // 4 + 1]
    try:
        return data[:end].decode()
    except UnicodeDecodeError:
        raise ModuleError(f"{where}: a string that is not UTF-8") from None
