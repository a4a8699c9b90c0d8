"""CUDA C++ text of a plan's expressions, literals, operations and parameters."""

from __future__ import annotations

import functools
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tilebuild.optable import IDENTITY
from tilebuild.plan.expr import Call, Expr, Sym
from tilebuild.plan.model import Plan
from tilebuild.plan.slots import slots

TYPES = {"f32": "float", "i32": "int", "u32": "unsigned", "bool": "bool"}
_BINARY = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "and": "&", "or": "|", "xor": "^",
    "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!=",
}  # fmt: skip
_WRAPS = ("add", "sub", "mul")  # C++ leaves a signed overflow undefined
_UNARY = {
    ("neg", "f32"): "-{0}", ("neg", "i32"): "(int)(0u - (unsigned){0})", ("neg", "u32"): "0u - {0}",
    ("abs", "f32"): "fabsf({0})", ("abs", "i32"): "({0} < 0 ? (int)(0u - (unsigned){0}) : {0})", ("abs", "u32"): "{0}",
    ("not", "bool"): "!{0}", ("not", "i32"): "~{0}", ("not", "u32"): "~{0}",
    ("exp", "f32"): "tb_exp({0})", ("exp2", "f32"): "tb_exp2({0})", ("log", "f32"): "tb_log({0})",
    ("log2", "f32"): "tb_log2({0})", ("sqrt", "f32"): "sqrtf({0})", ("rsqrt", "f32"): "1.0f / sqrtf({0})",
    ("recip", "f32"): "1.0f / {0}", ("floor", "f32"): "floorf({0})", ("ceil", "f32"): "ceilf({0})",
    ("round", "f32"): "rintf({0})", ("trunc", "f32"): "truncf({0})",
}  # fmt: skip
REDUCTIONS = {"sum": "tb_sum", "max": "tb_maximum", "min": "tb_minimum", "prod": "tb_prod"}
_CALLED = {  # operations on two operands that are functions of the prelude
    "maximum": "tb_maximum", "minimum": "tb_minimum", "floordiv": "tb_quotient", "mod": "tb_remainder",
}  # fmt: skip


def expression(e: Expr) -> str:
    """An `Expr` as a 64-bit integer expression; symbols are the variables `s_<name>`."""
    if e.is_const:
        return _number(e.value)
    parts = []
    for monomial, coefficient in e.terms:
        factors = [_atom(a) for a in monomial]
        if coefficient != 1 or not factors:
            factors.insert(0, _number(coefficient))
        parts.append(" * ".join(factors))
    return parts[0] if len(parts) == 1 and "*" not in parts[0] else f"({' + '.join(parts)})"


def _number(value: int) -> str:
    return f"{value}ll" if abs(value) >= 1 << 31 else str(value)


def _atom(atom: Sym | Call) -> str:
    if isinstance(atom, Sym):
        return f"s_{atom.name}"
    if atom.op in ("min", "max"):
        text = expression(atom.args[0])
        for a in atom.args[1:]:
            text = f"tb_{atom.op}({text}, {expression(a)})"
        return text
    left, right = atom.args
    if right.is_const and right.value > 0 and right.value & (right.value - 1) == 0:  # floors, as shifts and masks do
        shift = right.value.bit_length() - 1
        return f"({expression(left)} >> {shift})" if atom.op == "//" else f"({expression(left)} & {right.value - 1})"
    return f"tb_{'floordiv' if atom.op == '//' else 'mod'}({expression(left)}, {expression(right)})"


def literal(text: str, dtype: str) -> str:
    """A number's text as a literal of the dtype, rounded to it."""
    if dtype == "bool":
        return "true" if text in ("True", "1") else "false"
    if dtype != "f32":
        value = int(text) & 0xFFFFFFFF
        return f"{value:#x}u" if dtype == "u32" else f"(int){value:#x}u"
    try:
        (bits,) = struct.unpack("<I", struct.pack("<f", float(text)))
    except OverflowError:
        bits = 0xFF800000 if float(text) < 0 else 0x7F800000
    value = struct.unpack("<f", struct.pack("<I", bits))[0]
    if value - value != 0:  # an infinity or a NaN
        return f"tb_bits({bits:#x}u)"
    return (
        f"{value!r}f"
        if abs(value) < 1e16 and float(f"{value:.9g}") == value and "e" not in repr(value)
        else f"{value.hex()}f"
    )


def identity(op: str, dtype: str) -> str:
    """What a reduction starts from."""
    return literal(IDENTITY[op, dtype], dtype)


def elementwise(op: str, dtype: str, operands: Sequence[str]) -> str:
    """An operation of the table on operands of the dtype."""
    if op in _CALLED:
        return f"{_CALLED[op]}({', '.join(operands)})"
    if op == "shl":
        return f"({TYPES[dtype]})((unsigned){operands[0]} << ((unsigned){operands[1]} & 31u))"
    if op == "shr":
        return f"{operands[0]} >> ((unsigned){operands[1]} & 31u)"
    if op in _BINARY:
        left, right = operands
        if op in _WRAPS and dtype == "i32":
            return f"(int)((unsigned){left} {_BINARY[op]} (unsigned){right})"
        return f"{left} {_BINARY[op]} {right}"
    return _UNARY[op, dtype].format(*operands)


def declarations(plan: Plan) -> list[str]:
    """The entry's parameters, one for each slot."""
    parameters = {p.name: p for p in plan.contract.parameters}
    found = []
    for slot in slots(plan):
        kind, name, *axis = slot.split(":")
        if kind == "ptr":
            constant = "const " if parameters[name].mode == "in" else ""
            found.append(f"{constant}{TYPES[parameters[name].dtype]} *__restrict__ p_{name}")
        elif kind == "stride":
            found.append(f"const long long s_{name}__s{axis[0]}")
        elif kind == "dim":
            found.append(f"const long long s_{name}")
        else:
            found.append(f"const {TYPES[parameters[name].dtype]} p_{name}")
    return found


def prelude(text: Iterable[str]) -> list[str]:
    """The lines of the device functions that the text uses, in the prelude's order."""
    known = _functions()
    needed: set[str] = set()
    pending = {name for line in text for name in re.findall(r"\btb_\w+", line)}
    while pending:
        name = pending.pop()
        if name not in needed:
            needed.add(name)
            pending |= set(known[name][0])
    return [line for name, (_, lines) in known.items() if name in needed for line in lines]


@functools.cache
def _functions() -> Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Name -> the names that it calls, and its lines."""
    text = Path(__file__).with_name("prelude.h").read_text(encoding="utf-8")
    found = {}
    for part in text.split("//# ")[1:]:
        head, _, body = part.partition("\n")
        name, _, calls = head.partition(":")
        found[name] = tuple(calls.split()), (*body.strip().splitlines(), "")
    return found
