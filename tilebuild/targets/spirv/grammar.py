"""The part of SPIR-V that is emitted and checked: opcodes with their operands, and the enumerants they take.

Numbers are those of the SPIR-V specification, version 1.5 (unified1), and of GLSL.std.450. Nothing else is known here:
a module with any other instruction is refused, not skipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MAGIC = 0x07230203
VERSION = (1, 5)  # the newest that Vulkan 1.2 takes
SET = "GLSL.std.450"

# Operand kinds: "id", "ids" (all that follow), "int", "ints", "str", "number" (a literal of the result type), "ext" (an
# instruction of GLSL.std.450), or the name of an enumeration.


@dataclass(frozen=True)
class Opcode:
    """`typed`: the first word is the result type; `result`: then comes the result's id. `section` orders modules."""

    name: str
    number: int
    operands: tuple[str, ...]
    section: int
    typed: bool
    result: bool


SECTIONS = ("capabilities", "extensions", "imports", "memory model", "entry points", "execution modes", "strings",
            "names", "decorations", "types", "functions")  # fmt: skip
_FUNCTION = SECTIONS.index("functions")


def _rows(section: str, text: str) -> dict[str, Opcode]:
    """Lines of `Name number shape operands...`; the shape is `-`, `r` (result) or `tr` (type and result)."""
    found = {}
    for line in text.strip().splitlines():
        name, number, shape, *operands = line.split()
        at = SECTIONS.index(section)
        found[name] = Opcode(name, int(number), tuple(operands), at, "t" in shape, "r" in shape)
    return found


_BODY = """
    FunctionEnd 56 -
    Label 248 r
    Variable 59 tr StorageClass
    Load 61 tr id
    Store 62 - id id
    AccessChain 65 tr id ids
    ExtInst 12 tr id ext ids
    CompositeExtract 81 tr id ints
    ControlBarrier 224 - id id id
    LoopMerge 246 - id id LoopControl
    SelectionMerge 247 - id SelectionControl
    Branch 249 - id
    BranchConditional 250 - id id id
    Return 253 -
    Line 8 - id int int
    Select 169 tr id id id
"""
_UNARY = """
    ConvertFToU 109 ConvertFToS 110 ConvertSToF 111 ConvertUToF 112 Bitcast 124 SNegate 126 FNegate 127 LogicalNot 168
    Not 200
"""
_BINARY = """
    IAdd 128 FAdd 129 ISub 130 FSub 131 IMul 132 FMul 133 UDiv 134 SDiv 135 FDiv 136 UMod 137
    LogicalEqual 164 LogicalNotEqual 165 LogicalOr 166 LogicalAnd 167 IEqual 170 INotEqual 171 UGreaterThan 172
    SGreaterThan 173 UGreaterThanEqual 174 SGreaterThanEqual 175 ULessThan 176 SLessThan 177 ULessThanEqual 178
    SLessThanEqual 179 FOrdEqual 180 FUnordNotEqual 183 FOrdLessThan 184 FOrdGreaterThan 186 FOrdLessThanEqual 188
    FOrdGreaterThanEqual 190 ShiftRightLogical 194 ShiftRightArithmetic 195 ShiftLeftLogical 196 BitwiseOr 197
    BitwiseXor 198 BitwiseAnd 199
"""


def _numbered(text: str, operands: str) -> str:
    words = text.split()
    return "\n".join(f"{name} {number} tr {operands}" for name, number in zip(words[::2], words[1::2]))


OPCODES: Mapping[str, Opcode] = {
    **_rows("capabilities", "Capability 17 - Capability"),
    **_rows("imports", "ExtInstImport 11 r str"),
    **_rows("memory model", "MemoryModel 14 - AddressingModel MemoryModel"),
    **_rows("entry points", "EntryPoint 15 - ExecutionModel id str ids"),
    **_rows("execution modes", "ExecutionMode 16 - id ExecutionMode ints"),
    **_rows("strings", "String 7 r str"),
    **_rows("names", "Name 5 - id str\nMemberName 6 - id int str"),
    **_rows("decorations", "Decorate 71 - id Decoration\nMemberDecorate 72 - id int Decoration"),
    **_rows(
        "types",
        """
        TypeVoid 19 r
        TypeBool 20 r
        TypeInt 21 r int int
        TypeFloat 22 r int
        TypeVector 23 r id int
        TypeArray 28 r id id
        TypeRuntimeArray 29 r id
        TypeStruct 30 r ids
        TypePointer 32 r StorageClass id
        TypeFunction 33 r id ids
        ConstantTrue 41 tr
        ConstantFalse 42 tr
        Constant 43 tr number
        """,
    ),
    **_rows("functions", f"Function 54 tr FunctionControl id\n{_BODY.strip()}"),
    **_rows("functions", _numbered(_UNARY, "id")),
    **_rows("functions", _numbered(_BINARY, "id id")),
}
BY_NUMBER: Mapping[int, Opcode] = {o.number: o for o in OPCODES.values()}
TERMINATORS = ("Branch", "BranchConditional", "Return")

ENUMS: Mapping[str, Mapping[str, int]] = {
    "Capability": {"Shader": 1, "SignedZeroInfNanPreserve": 4466},
    "AddressingModel": {"Logical": 0},
    "MemoryModel": {"GLSL450": 1},
    "ExecutionModel": {"GLCompute": 5},
    "ExecutionMode": {"LocalSize": 17, "SignedZeroInfNanPreserve": 4461},
    "StorageClass": {"Input": 1, "Workgroup": 4, "Function": 7, "PushConstant": 9, "StorageBuffer": 12},
    "Decoration": {
        "Block": 2, "ArrayStride": 6, "BuiltIn": 11, "NonWritable": 24, "Binding": 33,
        "DescriptorSet": 34, "Offset": 35, "NoContraction": 42,
    },
    "BuiltIn": {"NumWorkgroups": 24, "WorkgroupId": 26, "LocalInvocationId": 27},
    "FunctionControl": {"None": 0},
    "SelectionControl": {"None": 0},
    "LoopControl": {"None": 0, "Unroll": 1},
}  # fmt: skip
# what follows a decoration
DECORATION_OPERAND: Mapping[str, str] = {
    "ArrayStride": "int", "BuiltIn": "BuiltIn", "Binding": "int", "DescriptorSet": "int", "Offset": "int",
}  # fmt: skip
EXTENDED: Mapping[str, int] = {
    "RoundEven": 2, "Trunc": 3,
    "FAbs": 4, "SAbs": 5, "Floor": 8, "Ceil": 9, "Sqrt": 31, "InverseSqrt": 32, "UMin": 38, "SMin": 39, "UMax": 41,
    "SMax": 42, "Fma": 50,
}  # fmt: skip
# what a capability or its use stands for: the one place that says which capabilities a module needs
NEEDED_FOR_MODE: Mapping[str, str] = {"SignedZeroInfNanPreserve": "SignedZeroInfNanPreserve"}
