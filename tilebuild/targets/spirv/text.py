"""Modules as text and back: the assembly language of SPIRV-Tools, so that spirv-as and spirv-dis read it too.

One instruction a line, ids as numbers. Float constants are hexadecimal: nothing is rounded on the way.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence

from tilebuild.targets.spirv.grammar import DECORATION_OPERAND, ENUMS, EXTENDED, OPCODES, VERSION
from tilebuild.targets.spirv.module import Instruction, Module, ModuleError, Operand

_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s"]+')


def listing(module: Module) -> list[str]:
    """The module's lines: three of a header, then one an instruction."""
    types = {i.result: i for i in module.instructions if i.op in ("TypeInt", "TypeFloat")}
    head = ["; SPIR-V", f"; Version: {module.version[0]}.{module.version[1]}", f"; Bound: {module.bound}"]
    return [*head, *(_line(i, types) for i in module.instructions)]


def parse(text: str) -> Module:
    """Read a listing; raises `ModuleError`, with the line."""
    instructions: list[Instruction] = []
    floats: set[int] = set()
    version, bound = VERSION, 0
    for number, line in enumerate(text.splitlines(), 1):
        try:
            if line.startswith(";"):
                key, _, value = line[1:].strip().partition(": ")
                if key == "Version":
                    major, _, minor = value.partition(".")
                    version = int(major), int(minor)
                elif key == "Bound":
                    bound = int(value)
            elif line.strip():
                instructions.append(_parse(line, floats))
                if instructions[-1].op == "TypeFloat":
                    floats.add(instructions[-1].result)
        except (ModuleError, ValueError, IndexError, OverflowError) as e:
            raise ModuleError(f"line {number}: {e}: {line.strip():.80}") from None
    return Module(bound, tuple(instructions), version)


def _line(i: Instruction, types: dict[int, Instruction]) -> str:
    words = [f"Op{i.op}", *([f"%{i.type}"] if i.opcode.typed else [])]
    for kind, operand in zip(i.kinds(), i.operands):
        if kind == "id":
            words.append(f"%{operand}")
        elif kind == "str":
            escaped = str(operand).replace("\\", "\\\\").replace('"', '\\"')
            words.append(f'"{escaped}"')
        elif kind == "number" and i.type in types:
            assert isinstance(operand, int)
            words.append(_number(operand, types[i.type]))
        else:
            words.append(str(operand))
    return (f"%{i.result} = " if i.opcode.result else "") + " ".join(words)


def _number(bits: int, kind: Instruction) -> str:
    if kind.op == "TypeFloat":
        return float_text(bits)
    signed = kind.operands[1] == 1
    return str(bits - (1 << 32) if signed and bits >> 31 else bits)


def float_text(bits: int) -> str:
    """A float32's bits as a hexadecimal number; infinities and NaN have the exponent past the largest."""
    sign, exponent, fraction = "-" if bits >> 31 else "", bits >> 23 & 0xFF, bits & 0x7FFFFF
    if exponent == 0xFF:
        return f"{sign}0x1.{fraction << 1:06x}p+128"
    return float.hex(struct.unpack("<f", struct.pack("<I", bits))[0])


def float_bits(text: str) -> int:
    """The bits of a number that `float_text` wrote; raises ValueError."""
    special = re.fullmatch(r"(-?)0x1\.([0-9a-f]{6})p\+128", text)
    if special:
        return (0xFF800000 if special[1] else 0x7F800000) | int(special[2], 16) >> 1
    return float_word(float.fromhex(text))


def float_word(value: float) -> int:
    """A number as the bits of the nearest float32; what is too large is an infinity."""
    try:
        word: int = struct.unpack("<I", struct.pack("<f", value))[0]
    except OverflowError:
        return 0x7F800000 if value > 0 else 0xFF800000
    return word


def _parse(line: str, floats: set[int]) -> Instruction:
    words = _WORD.findall(line)
    result = 0
    if len(words) > 2 and words[1] == "=":
        result = _id(words[0])
        words = words[2:]
    name = words[0].removeprefix("Op")
    if name not in OPCODES or not words[0].startswith("Op"):
        raise ModuleError(f"{words[0]} is no known instruction")
    opcode = OPCODES[name]
    if opcode.result != bool(result):
        raise ModuleError(f"Op{name} {'needs' if opcode.result else 'has no'} result")
    rest = words[1:]
    result_type = _id(rest.pop(0)) if opcode.typed else 0
    operands: list[Operand] = []
    kinds: list[str] = []
    for kind in opcode.operands:
        kinds += [kind.removesuffix("s")] * (len(rest) - len(kinds)) if kind in ("ids", "ints") else [kind]
    if "Decoration" in kinds and len(rest) > kinds.index("Decoration"):
        extra = DECORATION_OPERAND.get(rest[kinds.index("Decoration")])
        kinds += [extra] if extra else []
    if len(kinds) != len(rest):
        raise ModuleError(f"Op{name} has {len(rest)} operands, and takes {len(kinds)}")
    for kind, word in zip(kinds, rest):
        operands.append(_operand(kind, word, result_type in floats))
    return Instruction(name, tuple(operands), result_type, result)


def _operand(kind: str, word: str, is_float: bool) -> Operand:
    if kind == "id":
        return _id(word)
    if kind == "str":
        return re.sub(r"\\(.)", r"\1", word[1:-1])
    if kind == "ext" or kind in ENUMS:
        names: Iterable[str] = EXTENDED if kind == "ext" else ENUMS[kind]
        if word not in names:
            raise ModuleError(f"{word} is no known {kind}")
        return word
    if kind == "number" and is_float:
        return float_bits(word)
    return int(word) & 0xFFFFFFFF


def _id(word: str) -> int:
    if not re.fullmatch(r"%[1-9][0-9]*", word):
        raise ModuleError(f"{word} is no id")
    return int(word[1:])


def join(lines: Sequence[str]) -> str:
    """Lines as a text that ends with a newline."""
    return "\n".join(lines) + "\n"
