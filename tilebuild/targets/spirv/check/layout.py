"""Order and ids: sections in their order, every id defined once, below the bound, and before it is used."""

from __future__ import annotations

from collections.abc import Iterator

from tilebuild.targets.spirv.check.facts import Finding
from tilebuild.targets.spirv.grammar import SECTIONS, VERSION
from tilebuild.targets.spirv.module import Instruction, Module, ModuleError

_TYPES, _FUNCTIONS = SECTIONS.index("types"), SECTIONS.index("functions")
# they name what comes later: entry points, decorations, branches. Uses in functions are ordered by `flow`.
_FORWARD = ("EntryPoint", "ExecutionMode", "Name", "MemberName", "Decorate", "MemberDecorate")


def check(module: Module) -> Iterator[Finding]:
    if not (1, 0) <= module.version <= VERSION:
        yield Finding(0, f"version {module.version[0]}.{module.version[1]} is not 1.0 to {VERSION[0]}.{VERSION[1]}")
    wrong = list(_operands(module))
    yield from wrong
    if not wrong:
        yield from _sections(module)
        yield from _ids(module)
        yield from _single(module)


def _operands(module: Module) -> Iterator[Finding]:
    for n, i in enumerate(module.instructions):
        try:
            i.kinds()
        except ModuleError as e:
            yield Finding(n, str(e))


def _section(i: Instruction) -> int:
    outside = i.op == "Variable" and i.operands[0] != "Function"
    return _TYPES if outside else i.opcode.section


def _sections(module: Module) -> Iterator[Finding]:
    at, in_function, functions = 0, False, 0
    for n, i in enumerate(module.instructions):
        section = _section(i)
        if section < at:
            yield Finding(n, f"Op{i.op} belongs to the {SECTIONS[section]}, and stands after the {SECTIONS[at]}")
        at = max(at, section)
        if i.op == "Function":
            functions += 1
            if in_function:
                yield Finding(n, "OpFunction inside a function")
            in_function = True
        elif section == _FUNCTIONS and not in_function:
            yield Finding(n, f"Op{i.op} outside a function")
        elif i.op == "FunctionEnd":
            in_function = False
    last = max(len(module.instructions) - 1, 0)
    if in_function:
        yield Finding(last, "the last function has no OpFunctionEnd")
    if functions != 1:
        yield Finding(last, f"{functions} functions, and a kernel has one")


def _ids(module: Module) -> Iterator[Finding]:
    defined: dict[int, int] = {}
    for n, i in enumerate(module.instructions):
        if i.opcode.result:
            if not 0 < i.result < module.bound:
                yield Finding(n, f"%{i.result} is not below the bound {module.bound}")
            if i.result in defined:
                yield Finding(n, f"%{i.result} is defined a second time")
            defined[i.result] = n
    for n, i in enumerate(module.instructions):
        for used in i.ids():
            if used not in defined:
                yield Finding(n, f"%{used} is used and never defined")
            elif _section(i) < _FUNCTIONS and i.op not in _FORWARD and defined[used] >= n:
                yield Finding(n, f"%{used} is used before it is defined")


def _single(module: Module) -> Iterator[Finding]:
    """Types and constants that are the same have one id: types are compared by it."""
    seen: set[Instruction] = set()
    for n, i in enumerate(module.instructions):
        if _section(i) == _TYPES and i.op not in ("TypeStruct", "Variable"):
            key = Instruction(i.op, i.operands, i.type)
            if key in seen:
                yield Finding(n, f"%{i.result} is the same Op{i.op} as one before it")
            seen.add(key)
