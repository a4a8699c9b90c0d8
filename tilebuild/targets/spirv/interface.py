"""What a module shares with its caller: one storage buffer an array, everything else in push constants.

Arrays are bound in the order of the `ptr:` slots, set 0; the other slots are 32-bit push constants in their order.
The device makes arrays dense before a launch, and gives their strides accordingly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tilebuild.diagnostics import Diagnostic, Span, TilebuildError
from tilebuild.plan.model import Parameter, Plan
from tilebuild.plan.slots import slots
from tilebuild.targets.spirv.builder import Builder
from tilebuild.targets.spirv.scalars import Scalars

PUSH_CONSTANT_BYTES = 128  # what every Vulkan device has


def push_constants(plan: Plan) -> list[str]:
    """The slots that are push constants; raises `TilebuildError` E411 where they are more than every device takes."""
    found = [s for s in slots(plan) if not s.startswith("ptr:")]
    if 4 * len(found) > PUSH_CONSTANT_BYTES:
        count = {kind: sum(s.startswith(kind) for s in found) for kind in ("dim", "stride", "scalar")}
        message = (
            f"{plan.kernel} needs {4 * len(found)} bytes of push constants ({count['dim']} dimensions, "
            f"{count['stride']} strides and {count['scalar']} scalars of 4 bytes) on {plan.target}:{plan.arch}, which "
            f"has {PUSH_CONSTANT_BYTES}"
        )
        fix = "put scalars into an array, or split the kernel: an array of rank r takes r - 1 strides"
        raise TilebuildError(Diagnostic("E411", message, Span(plan.source, 1) if plan.source else None, fix=fix))
    return found


@dataclass(frozen=True)
class Interface:
    """Ids: the variable of each array by parameter, and of the push constants with each member by slot."""

    arrays: Mapping[str, int]
    push: int
    members: Mapping[str, int]
    dtypes: Mapping[str, str]

    def variables(self) -> list[int]:
        return [*self.arrays.values(), *([self.push] if self.push else [])]


def declare(b: Builder, scalars: Scalars, plan: Plan) -> Interface:
    """The module's buffers and push constants."""
    parameters = plan.contract.parameters
    arrays = [p for p in parameters if p.mode != "scalar"]
    names = push_constants(plan)
    variables = {p.name: _buffer(b, scalars, p, binding) for binding, p in enumerate(arrays)}
    dtypes = {p.name: p.dtype for p in parameters}
    push = _push_block(b, [scalars.type(_slot_dtype(s, dtypes)) for s in names], names) if names else 0
    return Interface(variables, push, {s: n for n, s in enumerate(names)}, dtypes)


def _slot_dtype(slot: str, dtypes: Mapping[str, str]) -> str:
    kind, name, *_ = slot.split(":")
    return dtypes[name] if kind == "scalar" else "i32"


def _buffer(b: Builder, scalars: Scalars, p: Parameter, binding: int) -> int:
    elements = b.once("TypeRuntimeArray", scalars.type(p.dtype))
    b.add("Decorate", elements, "ArrayStride", 4)
    block = b.struct(elements)
    b.add("Decorate", block, "Block")
    b.add("MemberDecorate", block, 0, "Offset", 0)
    if p.mode == "in":
        b.add("MemberDecorate", block, 0, "NonWritable")
    variable = b.variable("StorageBuffer", block, p.name)
    b.add("Decorate", variable, "DescriptorSet", 0)
    b.add("Decorate", variable, "Binding", binding)
    return variable


def _push_block(b: Builder, types: Sequence[int], names: Sequence[str]) -> int:
    block = b.struct(*types)
    b.add("Decorate", block, "Block")
    for n, name in enumerate(names):
        b.add("MemberDecorate", block, n, "Offset", 4 * n)
        b.add("MemberName", block, n, name.partition(":")[2].replace(":", "__s"))
    return b.variable("PushConstant", block, "arguments")
