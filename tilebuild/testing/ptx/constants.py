"""Constants and constant expressions of PTX (PTX ISA, "Constants"): 64-bit integers with C's operators and precedence,
and floating-point numbers as bits."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

from tilebuild.testing.ptx.faults import Fault
from tilebuild.testing.ptx.lexer import Cursor
from tilebuild.testing.ptx.syntax import Literal

_ORDER: tuple[tuple[str, ...], ...] = (
    ("||",), ("&&",), ("|",), ("^",), ("&",), ("==", "!="), ("<", "<=", ">", ">="), ("<<", ">>"), ("+", "-"),
    ("*", "/", "%"),
)  # fmt: skip
_OPERATIONS: Mapping[str, Callable[[int, int], int]] = {
    "||": lambda a, b: int(bool(a) or bool(b)), "&&": lambda a, b: int(bool(a) and bool(b)),
    "|": lambda a, b: a | b, "^": lambda a, b: a ^ b, "&": lambda a, b: a & b,
    "==": lambda a, b: int(a == b), "!=": lambda a, b: int(a != b), "<": lambda a, b: int(a < b),
    "<=": lambda a, b: int(a <= b), ">": lambda a, b: int(a > b), ">=": lambda a, b: int(a >= b),
    "<<": lambda a, b: a << min(b, 64), ">>": lambda a, b: a >> min(b, 64), "+": lambda a, b: a + b,
    "-": lambda a, b: a - b, "*": lambda a, b: a * b,
    "/": lambda a, b: abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1),
    "%": lambda a, b: abs(a) % abs(b) * (1 if a >= 0 else -1),
}  # fmt: skip


def number(text: str) -> Literal:
    """The constant that a number token is."""
    if text[:2] in ("0f", "0F") and len(text) == 10:
        return Literal(int(text[2:], 16), 32)
    if text[:2] in ("0d", "0D"):
        return Literal(int(text[2:], 16), 64)
    if text[:2] not in ("0x", "0X") and ("." in text or "e" in text.lower()):
        return Literal(struct.unpack("<Q", struct.pack("<d", float(text)))[0], 64)
    text = text.rstrip("U")
    if text[:2] in ("0x", "0X", "0b", "0B"):
        return Literal(int(text, 0))
    return Literal(int(text, 8) if text.startswith("0") else int(text))


def constant(at: Cursor) -> Literal:
    """A constant expression from the cursor on."""
    if at.now.kind == "number" and at.ahead().text in (",", ";", "]", "}", ")"):
        return number(at.take().text)
    return _ternary(at)


def integer(at: Cursor) -> int:
    """A constant expression that is an integer; raises Fault EMU-01 for another."""
    line = at.now.line
    value = constant(at)
    if value.width:
        raise Fault("EMU-01", "an integer is wanted here, not a floating-point number", line)
    return value.value


def _ternary(at: Cursor) -> Literal:
    value = _binary(at, 0)
    if not at.accept("?"):
        return value
    first = _ternary(at)
    at.expect(":")
    second = _ternary(at)
    return first if value.value else second


def _binary(at: Cursor, level: int) -> Literal:
    if level == len(_ORDER):
        return _unary(at)
    left = _binary(at, level + 1)
    while at.now.kind == "mark" and at.now.text in _ORDER[level]:
        operator = at.take()
        right = _binary(at, level + 1)
        if left.width or right.width or (operator.text in "/%" and right.value == 0):
            raise Fault("EMU-01", f'"{operator.text}" of these constants means nothing', operator.line)
        left = Literal(_OPERATIONS[operator.text](left.value, right.value))
    return left


def _unary(at: Cursor) -> Literal:
    token = at.now
    if token.text in ("-", "+", "~", "!") and token.kind == "mark":
        at.take()
        value = _unary(at)
        if value.width and token.text == "-":
            return Literal(value.value ^ 1 << (value.width - 1), value.width)
        results = {"-": -value.value, "+": value.value, "~": ~value.value, "!": int(not value.value)}
        return Literal(results[token.text], value.width)
    if at.accept("("):
        if at.now.text in (".s64", ".u64"):  # a cast changes nothing for numbers of this size
            at.take()
            at.expect(")")
            return _unary(at)
        value = _ternary(at)
        at.expect(")")
        return value
    if at.accept("WARP_SZ"):
        return Literal(32)
    return number(at.kind("number").text)
