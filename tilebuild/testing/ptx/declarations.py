"""Declarations of variables, with initial values."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import replace
from functools import reduce

from tilebuild.testing.ptx.constants import constant, integer
from tilebuild.testing.ptx.faults import Fault, unsupported
from tilebuild.testing.ptx.lexer import Cursor
from tilebuild.testing.ptx.syntax import Symbol, Variable

ALIGNABLE = frozenset(1 << n for n in range(12))
SIZES: Mapping[str, int] = {
    **{f"{kind}{bits}": bits // 8 for kind in "bus" for bits in (8, 16, 32, 64)},
    "b128": 16, "f16": 2, "f16x2": 4, "bf16": 2, "bf16x2": 4, "f32": 4, "f64": 8, "pred": 1,
}  # fmt: skip
"""Bytes of a fundamental type."""


def variable(at: Cursor, space: str, like: Variable | None = None) -> Variable:
    """A variable whose state space has been read; `like` is an earlier one of the same declaration."""
    line = at.now.line
    align, count, type_name = 0, 1, "" if like is None else like.type
    if like is not None:
        align, count = like.align, 1
    while at.now.kind == "dot":
        word = at.take().text[1:]
        if word == "align":
            align = integer(at)
        elif word in ("v2", "v4"):
            count *= int(word[1])
        elif word in SIZES:
            type_name = word
        elif word == "attribute":
            while not at.accept(")"):
                at.take()
        elif word not in ("ptr", "global", "shared", "const", "local", "generic"):  # kinds of a pointer parameter
            unsupported(f'".{word}" in a declaration', line)
    name = at.kind("name").text if at.now.kind == "name" else "_"
    if not type_name:
        raise Fault("EMU-01", f"{name} has no type", line)
    if at.accept("<"):
        raise Fault("EMU-01", "only registers are numbered with < >", line)
    extents: list[int] = []
    while at.accept("["):
        extents.append(0 if at.now.text == "]" else integer(at))
        at.expect("]")
    size = SIZES[type_name]
    natural = size * count
    count *= reduce(lambda a, b: a * b, extents, 1)
    made = Variable(name, space, type_name, count, max(align, 1) if align else natural, line, bool(extents))
    if at.accept("="):
        return _initialised(at, made)
    return made


def _initialised(at: Cursor, made: Variable) -> Variable:
    size = SIZES[made.type]
    values = bytearray()
    addresses: dict[int, Symbol] = {}

    def item() -> None:
        line = at.now.line
        if at.accept("{"):
            while not at.accept("}"):
                item()
                at.accept(",")
            return
        if at.now.kind == "name" and at.now.text != "WARP_SZ":
            addresses[len(values)] = symbol(at)
            values.extend(bytes(size))
            return
        value = constant(at)
        if made.type in ("f32", "f64") or value.width:
            number = value.value
            if made.type == "f32" and value.width == 64:
                number = struct.unpack("<I", struct.pack("<f", struct.unpack("<d", struct.pack("<Q", number))[0]))[0]
            elif made.type == "f64" and value.width == 32:
                number = struct.unpack("<Q", struct.pack("<d", struct.unpack("<f", struct.pack("<I", number))[0]))[0]
            elif not value.width and made.type in ("f32", "f64"):
                unsupported("an integer as the initial value of a floating-point variable", line)
            values.extend(number.to_bytes(8, "little")[:size])
        else:
            values.extend((value.value & (1 << 8 * size) - 1).to_bytes(size, "little"))

    item()
    count = made.count or len(values) // size
    return replace(made, count=count, values=bytes(values), addresses=addresses)


def symbol(at: Cursor) -> Symbol:
    """`name`, `name+4`, `generic(name)+4`."""
    name = at.kind("name").text
    generic = name == "generic" and at.accept("(")
    if generic:
        name = at.kind("name").text
    offset = _offset(at)
    if generic:
        at.expect(")")
        offset += _offset(at)
    return Symbol(name, offset, generic)


def _offset(at: Cursor) -> int:
    if at.now.text in ("+", "-") and at.ahead().kind != "name":
        sign = 1 if at.take().text == "+" else -1
        return sign * integer(at)
    return 0
