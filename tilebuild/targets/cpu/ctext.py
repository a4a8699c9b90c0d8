"""C text of a plan's expressions, literals and arguments."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

from tilebuild.plan.expr import Call, Expr, Sym
from tilebuild.plan.model import Parameter, Plan
from tilebuild.plan.slots import slots

# Lanes of every dtype take four bytes in vectors and in the arena: narrow ones hold the same values in a wide type.
SUFFIXES = {
    "f32": "f32", "f16": "f32", "bf16": "f32", "i32": "i32", "u32": "i32", "i8": "i32", "u8": "i32", "bool": "i32",
}  # fmt: skip
C_TYPES = {dtype: "float" if s == "f32" else "int32_t" for dtype, s in SUFFIXES.items()}
VECTORS = {dtype: f"tb_{s}v" for dtype, s in SUFFIXES.items()}
# In arrays they take their own: the type there, and the suffix of the prelude's functions that widen and narrow.
NARROW = {"f16": "uint16_t", "bf16": "uint16_t", "i8": "int8_t", "u8": "uint8_t", "bool": "uint8_t"}
STORED = {**C_TYPES, **NARROW}
MEMORY = {**SUFFIXES, **{dtype: dtype for dtype in NARROW}}


def expression(e: Expr) -> str:
    """An `Expr` as an int64_t expression; symbols are the variables `s_<name>`."""
    if not e.terms:
        return "0"
    parts = []
    for monomial, coefficient in e.terms:
        factors = [_atom(a) for a in monomial]
        if coefficient != 1 or not factors:
            factors.insert(0, f"INT64_C({coefficient})" if abs(coefficient) > 1 << 31 else str(coefficient))
        parts.append("*".join(factors))
    return f"({' + '.join(parts)})"


def _atom(atom: Sym | Call) -> str:
    if isinstance(atom, Sym):
        return f"s_{atom.name}"
    args = [expression(a) for a in atom.args]
    if atom.op in ("min", "max"):
        text = args[0]
        for a in args[1:]:
            text = f"tb_{atom.op}_i64({text}, {a})"
        return text
    return f"tb_{'floordiv' if atom.op == '//' else 'mod'}_i64({args[0]}, {args[1]})"


def literal(text: str, dtype: str) -> str:
    """A number's text as a C literal of the dtype, rounded to it."""
    if SUFFIXES[dtype] != "f32":
        if dtype == "bool":
            return "-1" if text in ("True", "1") else "0"
        return f"(int32_t){int(text) & 0xFFFFFFFF:#x}u"
    value = _rounded(float(text), dtype)
    if math.isnan(value):
        return '__builtin_nanf("")'
    if value in (float("inf"), float("-inf")):
        return f"{'-' if value < 0 else ''}__builtin_inff()"
    return f"{value.hex()}f"


def _rounded(value: float, dtype: str) -> float:
    """The nearest number of a floating-point dtype, ties to even."""
    form = "<e" if dtype == "f16" else "<f"
    try:
        (found,) = struct.unpack(form, struct.pack(form, value))
    except OverflowError:
        return math.copysign(math.inf, value)
    if dtype == "bf16" and math.isfinite(found):
        (bits,) = struct.unpack("<I", struct.pack("<f", found))
        (found,) = struct.unpack("<f", struct.pack("<I", (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000))
    return float(found)


def arguments(plan: Plan) -> list[str]:
    """Declarations that unpack the slots."""
    parameters = {p.name: p for p in plan.contract.parameters}
    return [_argument(i, slot, parameters) for i, slot in enumerate(slots(plan))]


def _argument(i: int, slot: str, parameters: dict[str, Parameter]) -> str:
    kind, name, *axis = slot.split(":")
    if kind == "ptr":
        p = parameters[name]
        constant = "const " if p.mode == "in" else ""
        c = f"{constant}{STORED[p.dtype]}"
        return f"{c} *restrict const p_{name} = ({c} *)(intptr_t)slots[{i}];"
    if kind == "stride":
        return f"const int64_t s_{name}__s{axis[0]} = slots[{i}];"
    if kind == "dim":
        return f"const int64_t s_{name} = slots[{i}];"
    return f"const {C_TYPES[parameters[name].dtype]} p_{name} = tb_slot_{SUFFIXES[parameters[name].dtype]}(slots[{i}]);"


def indent(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" for line in lines]
