"""What a module tells its driver: entry point, capabilities, limits, and the layout of buffers and push constants."""

from __future__ import annotations

from collections.abc import Iterator

from tilebuild.targets.spirv.check.facts import Facts, Finding, Limits
from tilebuild.targets.spirv.grammar import NEEDED_FOR_MODE
from tilebuild.targets.spirv.module import Instruction


def check(facts: Facts, limits: Limits) -> Iterator[Finding]:
    yield from _capabilities(facts)
    yield from _entry(facts, limits)
    yield from _buffers(facts)
    yield from _push_constants(facts, limits)
    yield from _workgroup(facts, limits)
    yield from _inputs(facts)


def _capabilities(facts: Facts) -> Iterator[Finding]:
    declared = {str(i.operands[0]): n for n, i in facts.each("Capability")}
    needed = {"Shader"} | {
        NEEDED_FOR_MODE[str(i.operands[1])]
        for _, i in facts.each("ExecutionMode")
        if str(i.operands[1]) in NEEDED_FOR_MODE
    }
    for name in sorted(needed - set(declared)):
        yield Finding(0, f"the capability {name} is used and not declared")
    for name in sorted(set(declared) - needed):
        yield Finding(declared[name], f"the capability {name} is declared and not used")
    models = list(facts.each("MemoryModel"))
    if len(models) != 1:
        yield Finding(0, f"{len(models)} memory models, and a module has one")


def _entry(facts: Facts, limits: Limits) -> Iterator[Finding]:
    entries = list(facts.each("EntryPoint"))
    if len(entries) != 1:
        yield Finding(0, f"{len(entries)} entry points, and a kernel's module has one")
        return
    n, entry = entries[0]
    listed = [o for o in entry.operands[3:] if isinstance(o, int)]
    names = {v.result for _, v in facts.globals()}
    for missing in sorted(names - set(listed)):
        yield Finding(n, f"%{missing} is a variable that the entry point does not list")
    for wrong in sorted(set(listed) - names):
        yield Finding(n, f"%{wrong} is listed by the entry point, and is no variable outside functions")
    if len(set(listed)) != len(listed):
        yield Finding(n, "the entry point lists a variable twice")
    yield from _local_size(facts, entry, n, limits)


def _local_size(facts: Facts, entry: Instruction, n: int, limits: Limits) -> Iterator[Finding]:
    modes = [(at, i) for at, i in facts.each("ExecutionMode") if i.operands[0] == entry.operands[1]]
    sizes = [(at, i) for at, i in modes if i.operands[1] == "LocalSize"]
    for at, i in modes:
        if i.operands[1] == "SignedZeroInfNanPreserve" and i.operands[2:] != (32,):
            yield Finding(at, f"SignedZeroInfNanPreserve takes the width 32, not {i.operands[2:]}")
    if len(sizes) != 1:
        yield Finding(n, f"the entry point has {len(sizes)} LocalSize modes, and needs one")
        return
    at, mode = sizes[0]
    extents = [o for o in mode.operands[2:] if isinstance(o, int)]
    if len(extents) != 3 or 0 in extents:
        yield Finding(at, f"LocalSize is {extents}, not three positive numbers")
        return
    total = extents[0] * extents[1] * extents[2]
    if total > limits.invocations:
        yield Finding(at, f"a workgroup has {total} invocations, and {limits.invocations} are allowed")


def _buffers(facts: Facts) -> Iterator[Finding]:
    places: dict[tuple[int | str, int | str], int] = {}
    for n, i in facts.globals("StorageBuffer"):
        sets, bindings = facts.decoration(i.result, "DescriptorSet"), facts.decoration(i.result, "Binding")
        if len(sets) != 1 or len(bindings) != 1:
            yield Finding(n, f"the buffer %{i.result} needs one DescriptorSet and one Binding")
        elif (sets[0], bindings[0]) in places:
            yield Finding(n, f"%{i.result} and %{places[sets[0], bindings[0]]} have the same set and binding")
        else:
            places[sets[0], bindings[0]] = i.result
        yield from _block(facts, n, i)
    for n, array in facts.each("TypeRuntimeArray"):
        element = array.operands[0]
        assert isinstance(element, int)
        strides = facts.decoration(array.result, "ArrayStride")
        size = facts.size(facts.made[element])
        if strides != [size]:
            yield Finding(n, f"the array %{array.result} of {size}-byte elements has the ArrayStride {strides}")


def _block(facts: Facts, n: int, variable: Instruction) -> Iterator[Finding]:
    """A struct with the decorations Block and, without gaps or overlap, Offset."""
    block = facts.pointee(variable.result)
    if block.op != "TypeStruct":
        yield Finding(n, f"%{variable.result} is {block.op}, not a struct")
        return
    if len(facts.decoration(block.result, "Block")) != 1:
        yield Finding(n, f"the struct of %{variable.result} needs the decoration Block")
    end = 0
    for m, member in enumerate(block.operands):
        decoration = facts.member_decorations.get((block.result, m, "Offset"))
        assert isinstance(member, int)
        if decoration is None:
            yield Finding(n, f"member {m} of %{block.result} has no Offset")
        elif decoration.operands[3] != end:
            yield Finding(n, f"member {m} of %{block.result} has the Offset {decoration.operands[3]}, not {end}")
        if facts.made[member].op == "TypeBool":
            yield Finding(n, f"member {m} of %{block.result} is a bool, which has no size in memory")
        end += facts.size(facts.made[member])


def _push_constants(facts: Facts, limits: Limits) -> Iterator[Finding]:
    found = list(facts.globals("PushConstant"))
    for n, i in found:
        yield from _block(facts, n, i)
        size = facts.size(facts.pointee(i.result))
        if size > limits.push_constant_bytes:
            yield Finding(n, f"{size} bytes of push constants, and {limits.push_constant_bytes} are allowed")
    if len(found) > 1:
        yield Finding(found[1][0], "a second block of push constants")


def _workgroup(facts: Facts, limits: Limits) -> Iterator[Finding]:
    total = 0
    for n, i in facts.globals("Workgroup"):
        total += facts.size(facts.pointee(i.result))
        if total > limits.shared_bytes:
            yield Finding(n, f"{total} bytes of workgroup memory, and {limits.shared_bytes} are allowed")


def _inputs(facts: Facts) -> Iterator[Finding]:
    for n, i in facts.globals("Input"):
        if len(facts.decoration(i.result, "BuiltIn")) != 1:
            yield Finding(n, f"the input %{i.result} needs the decoration BuiltIn")
        vector = facts.pointee(i.result)
        element = vector.operands[0] if vector.op == "TypeVector" else vector.result
        assert isinstance(element, int)
        if vector.op != "TypeVector" or facts.kind(facts.made[element]) != "u32" or vector.operands[1] != 3:
            yield Finding(n, f"the input %{i.result} is no vector of three u32")
