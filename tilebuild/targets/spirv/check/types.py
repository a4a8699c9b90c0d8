"""Operands: the type that each instruction takes and gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from tilebuild.targets.spirv.check.facts import Facts, Finding
from tilebuild.targets.spirv.grammar import SET
from tilebuild.targets.spirv.module import Instruction

_INTS = ("i32", "u32")
_SCALARS = ("f32", "bool", *_INTS)
_ANY_INT = "IAdd ISub IMul SDiv ShiftRightLogical ShiftRightArithmetic ShiftLeftLogical BitwiseOr BitwiseXor BitwiseAnd"
_COMPARE_INT = (
    "IEqual INotEqual UGreaterThan SGreaterThan UGreaterThanEqual SGreaterThanEqual ULessThan SLessThan ULessThanEqual "
    "SLessThanEqual"
)
_COMPARE_FLOAT = "FOrdEqual FUnordNotEqual FOrdLessThan FOrdGreaterThan FOrdLessThanEqual FOrdGreaterThanEqual"
# result and operands of the instructions whose types are fixed; "int" is either signedness
_FIXED: Mapping[str, tuple[str, tuple[str, ...]]] = {
    **dict.fromkeys(["FAdd", "FSub", "FMul", "FDiv"], ("f32", ("f32", "f32"))),
    **dict.fromkeys(_ANY_INT.split(), ("int", ("int", "int"))),
    **dict.fromkeys(["UDiv", "UMod"], ("u32", ("u32", "u32"))),
    **dict.fromkeys(["SNegate", "Not"], ("int", ("int",))),
    **dict.fromkeys(["LogicalEqual", "LogicalNotEqual", "LogicalOr", "LogicalAnd"], ("bool", ("bool", "bool"))),
    **dict.fromkeys(_COMPARE_INT.split(), ("bool", ("int", "int"))),
    **dict.fromkeys(_COMPARE_FLOAT.split(), ("bool", ("f32", "f32"))),
    **dict.fromkeys(["ConvertSToF", "ConvertUToF"], ("f32", ("int",))),
    "FNegate": ("f32", ("f32",)),
    "LogicalNot": ("bool", ("bool",)),
    "ConvertFToU": ("u32", ("f32",)),
    "ConvertFToS": ("int", ("f32",)),
}
_EXTENDED: Mapping[str, tuple[str, int]] = {
    **dict.fromkeys(("FAbs", "RoundEven", "Trunc", "Floor", "Ceil", "Sqrt", "InverseSqrt"), ("f32", 1)),
    "Fma": ("f32", 3), "SAbs": ("int", 1),
    **dict.fromkeys(("UMin", "SMin", "UMax", "SMax"), ("int", 2)),
}  # fmt: skip
_SCOPE, _SEMANTICS = 2, 0x108  # Workgroup; AcquireRelease | WorkgroupMemory


def check(facts: Facts) -> Iterator[Finding]:
    """Types first: what is said of values relies on them."""
    for rule in (_type_operands, _wrong):
        found = [Finding(n, f"Op{i.op}: {m}") for n, i in enumerate(facts.instructions) if (m := rule(facts, i))]
        if found:
            yield from found
            return


def _type_operands(facts: Facts, i: Instruction) -> str:
    """Types are made of types, and values have one."""
    wanted = [i.type] if i.type else []
    if i.op in ("TypeVector", "TypeArray", "TypeRuntimeArray"):
        wanted = _ints(i)[:1]
    elif i.op in ("TypeStruct", "TypePointer", "TypeFunction"):
        wanted = _ints(i)
    for id_ in wanted:
        if not facts.made[id_].op.startswith("Type"):
            return f"%{id_} is an Op{facts.made[id_].op}, not a type"
    if i.op == "TypeArray" and not facts.constant(_ints(i)[1]):
        return f"the length %{_ints(i)[1]} is no positive constant"
    if i.op == "TypeVector" and (facts.kind(facts.made[wanted[0]]) not in _SCALARS or _ints(i)[1] not in (2, 3, 4)):
        return "not 2 to 4 scalars"
    return ""


def _wrong(facts: Facts, i: Instruction) -> str:
    """What is wrong with an instruction's types, or nothing."""
    if i.op in _FIXED:
        result, operands = _FIXED[i.op]
        return _operands(facts, i, (result, *operands), [i.type, *_ints(i)])
    rule = _RULES.get(i.op)
    return rule(facts, i) if rule else ""


def _ints(i: Instruction) -> list[int]:
    return [o for o in i.operands if isinstance(o, int)]


def _fits(wanted: str, found: str) -> bool:
    return found == wanted or (wanted == "int" and found in _INTS)


def _operands(facts: Facts, i: Instruction, wanted: tuple[str, ...], given: list[int]) -> str:
    """The first is a type, the others are values."""
    if len(wanted) != len(given):
        return f"{len(given) - 1} operands, and it takes {len(wanted) - 1}"
    for n, (kind, id_) in enumerate(zip(wanted, given)):
        found = facts.kind(facts.made[id_]) if n == 0 else facts.kind_of(id_)
        if not _fits(kind, found):
            return f"%{id_} is {found}, not {kind}" if n else f"the result is {found}, not {kind}"
    return ""


def _select(facts: Facts, i: Instruction) -> str:
    condition, a, b = _ints(i)
    if facts.kind_of(condition) != "bool":
        return f"%{condition} is {facts.kind_of(condition)}, not bool"
    if not facts.made[a].type == facts.made[b].type == i.type:
        return f"the result, %{a} and %{b} are not of one type"
    return ""


def _bitcast(facts: Facts, i: Instruction) -> str:
    kinds = facts.kind(facts.made[i.type]), facts.kind_of(_ints(i)[0])
    return "" if all(k in ("f32", *_INTS) for k in kinds) else f"{kinds[1]} to {kinds[0]}: not two 32-bit numbers"


def _extended(facts: Facts, i: Instruction) -> str:
    imported, name, *args = i.operands
    assert isinstance(imported, int)
    if facts.made[imported].op != "ExtInstImport" or facts.made[imported].operands != (SET,):
        return f"%{imported} is not {SET}"
    kind, count = _EXTENDED[str(name)]
    return _operands(facts, i, (kind,) * (count + 1), [i.type, *(a for a in args if isinstance(a, int))])


def _load(facts: Facts, i: Instruction) -> str:
    (pointer,) = _ints(i)
    return _pointer(facts, pointer) or _same(
        facts.pointee(pointer).result, i.type, "the pointer's and the result's type"
    )


def _store(facts: Facts, i: Instruction) -> str:
    pointer, value = _ints(i)
    wrong = _pointer(facts, pointer)
    if wrong:
        return wrong
    storage = facts.type_of(pointer).operands[0]
    if storage in ("Input", "PushConstant"):
        return f"%{pointer} is in {storage}, which is not written"
    block = _block(facts, pointer)
    if block is not None and (block, 0, "NonWritable") in facts.member_decorations:
        return f"%{pointer} is in a block that is NonWritable"
    return _same(facts.pointee(pointer).result, facts.made[value].type, "the pointer's and the value's type")


def _block(facts: Facts, pointer: int) -> int | None:
    """The struct that an access chain starts in."""
    made = facts.made[pointer]
    while made.op == "AccessChain":
        made = facts.made[_ints(made)[0]]
    pointee = facts.pointee(made.result) if made.op == "Variable" else made
    return pointee.result if pointee.op == "TypeStruct" else None


def _pointer(facts: Facts, value: int) -> str:
    found = facts.type_of(value).op
    return "" if found == "TypePointer" and facts.made[value].type else f"%{value} is {found}, not a pointer"


def _same(a: int, b: int, what: str) -> str:
    return "" if a == b else f"{what} differ: %{a} and %{b}"


def _access_chain(facts: Facts, i: Instruction) -> str:
    base, *indices = _ints(i)
    wrong = _pointer(facts, base)
    if wrong:
        return wrong
    at = facts.pointee(base)
    for index in indices:
        if facts.kind_of(index) not in _INTS:
            return f"%{index} is {facts.kind_of(index)}, not an integer"
        number = facts.constant(index)
        members = _ints(at)
        if at.op == "TypeStruct":
            if number is None or number >= len(members):
                return f"%{index} selects no member of a struct of {len(members)}"
            at = facts.made[members[number]]
        elif at.op in ("TypeArray", "TypeRuntimeArray", "TypeVector"):
            length = facts.constant(members[1]) if at.op == "TypeArray" else None
            if number is not None and length is not None and number >= length:
                return f"element {number} of an array of {length}"
            at = facts.made[members[0]]
        else:
            return f"%{index} selects from {at.op}"
    result = facts.made[i.type]
    if result.op != "TypePointer" or result.operands[0] != facts.type_of(base).operands[0]:
        return f"the result is no pointer into {facts.type_of(base).operands[0]}"
    return _same(_ints(result)[0], at.result, "the result's and the element's type")


def _extract(facts: Facts, i: Instruction) -> str:
    value, *path = _ints(i)
    vector = facts.type_of(value)
    if vector.op != "TypeVector" or len(path) != 1 or not facts.made[value].type:
        return f"%{value} is {vector.op}, not a vector"
    element, count = _ints(vector)
    if path[0] >= count:
        return f"component {path[0]} of {count}"
    return _same(element, i.type, "the component's and the result's type")


def _barrier(facts: Facts, i: Instruction) -> str:
    found = [facts.constant(o) for o in _ints(i)]
    wanted = [_SCOPE, _SCOPE, _SEMANTICS]
    return "" if found == wanted else f"scopes and semantics are {found}, not {wanted}: workgroup memory is not ordered"


def _branch_conditional(facts: Facts, i: Instruction) -> str:
    condition, *targets = _ints(i)
    if facts.kind_of(condition) != "bool":
        return f"%{condition} is {facts.kind_of(condition)}, not bool"
    if targets[0] == targets[1]:
        return f"both ways lead to %{targets[0]}"
    return _labels(facts, targets)


def _labels(facts: Facts, targets: list[int]) -> str:
    return next((f"%{t} is no label" for t in targets if facts.made[t].op != "Label"), "")


def _variable(facts: Facts, i: Instruction) -> str:
    made = facts.made[i.type]
    if made.op != "TypePointer" or made.operands[0] != i.operands[0]:
        return f"its type is no pointer into {i.operands[0]}"
    return ""


def _constant(facts: Facts, i: Instruction) -> str:
    kind = facts.kind(facts.made[i.type])
    wanted = ("f32", *_INTS) if i.op == "Constant" else ("bool",)
    return "" if kind in wanted else f"a constant of {kind}"


def _number_type(facts: Facts, i: Instruction) -> str:
    if i.operands[0] != 32:
        return f"{i.operands[0]} bits need a capability that is not known here"
    return "" if i.op == "TypeFloat" or i.operands[1] in (0, 1) else f"signedness {i.operands[1]}"


def _function(facts: Facts, i: Instruction) -> str:
    signature = facts.made[_ints(i)[0]]
    if signature.op != "TypeFunction" or len(signature.operands) != 1 or facts.made[i.type].op != "TypeVoid":
        return "a kernel's function takes nothing and gives nothing"
    return _same(_ints(signature)[0], i.type, "the function type's result and the function's")


def _one(op: str) -> Callable[[Facts, Instruction], str]:
    def rule(facts: Facts, i: Instruction) -> str:
        target = _ints(i)[0]
        return "" if facts.made[target].op == op else f"%{target} is an Op{facts.made[target].op}, not an Op{op}"

    return rule


def _decorate(facts: Facts, i: Instruction) -> str:
    target = facts.made[_ints(i)[0]]
    wanted = _DECORATED[str(i.operands[1])]
    return "" if target.op in wanted else f"{i.operands[1]} of %{target.result}, an Op{target.op}"


def _member(facts: Facts, i: Instruction) -> str:
    struct, member = _ints(i)[:2]
    found = facts.made[struct]
    if found.op != "TypeStruct" or member >= len(found.operands):
        return f"%{struct} has no member {member}"
    wanted = i.op == "MemberName" or i.operands[2] in ("Offset", "NonWritable")
    return "" if wanted else f"{i.operands[2]} of a member"


_DECORATED: Mapping[str, tuple[str, ...]] = {
    "Block": ("TypeStruct",), "ArrayStride": ("TypeRuntimeArray",), "BuiltIn": ("Variable",),
    "Binding": ("Variable",), "DescriptorSet": ("Variable",),
    "NoContraction": ("FAdd", "FSub", "FMul", "FDiv", "FNegate"),
    "Offset": (), "NonWritable": (),
}  # fmt: skip
_RULES: Mapping[str, Callable[[Facts, Instruction], str]] = {
    "Decorate": _decorate, "MemberDecorate": _member, "MemberName": _member,
    "Select": _select, "Bitcast": _bitcast, "ExtInst": _extended, "Load": _load, "Store": _store,
    "AccessChain": _access_chain, "CompositeExtract": _extract, "ControlBarrier": _barrier,
    "BranchConditional": _branch_conditional, "Variable": _variable, "Constant": _constant,
    "ConstantTrue": _constant, "ConstantFalse": _constant, "TypeInt": _number_type, "TypeFloat": _number_type,
    "Function": _function, "EntryPoint": _one("Function"), "ExecutionMode": _one("Function"), "Line": _one("String"),
    "Branch": lambda facts, i: _labels(facts, _ints(i)), "LoopMerge": lambda facts, i: _labels(facts, _ints(i)),
    "SelectionMerge": lambda facts, i: _labels(facts, _ints(i)),
}  # fmt: skip
