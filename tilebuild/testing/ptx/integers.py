"""Integer arithmetic (PTX ISA, "Integer Arithmetic Instructions"), each operation as a function of arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilebuild.testing.ptx.binder import Binder, Op, Words
from tilebuild.testing.ptx.kinds import KINDS, Kind
from tilebuild.testing.ptx.threads import Chosen

Array = NDArray[Any]
Values = Callable[..., Array]


def elementwise(b: Binder, w: Words, compute: Values, kinds: list[Kind], result: Kind) -> Op:
    """d = compute(a, b, ...), with the kinds of the operands."""
    target, *operands = w.instruction.operands
    w.done()
    if len(operands) != len(kinds):
        w.refuse()
    readers = [b.read(o, k) for o, k in zip(operands, kinds)]
    write = b.write(target, result)
    if len(readers) == 2:  # most instructions
        first, second = readers
        return lambda chosen: write(chosen, compute(first(chosen), second(chosen)))
    return lambda chosen: write(chosen, compute(*(r(chosen) for r in readers)))


def limits(kind: Kind) -> tuple[int, int]:
    """The least and the largest number of an integer type."""
    if kind.family == "s":
        return -(1 << kind.bits - 1), (1 << kind.bits - 1) - 1
    return 0, (1 << kind.bits) - 1


def _saturated(function: Values, kind: Kind) -> Values:
    low, high = limits(kind)
    return lambda *values: np.clip(function(*(np.asarray(v).astype(np.int64) for v in values)), low, high)


def high(a: Array, b: Array, kind: Kind) -> Array:
    """The upper half of a product."""
    if kind.bits < 64:
        wide = np.int64 if kind.family == "s" else np.uint64
        product = np.multiply(a, b, dtype=wide)
        return np.asarray((product >> wide(kind.bits)).astype(kind.number))
    mask, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    x, y = (np.asarray(v).view(np.uint64) for v in (a, b))
    low = (x & mask) * (y & mask)
    cross = (x >> half) * (y & mask) + (low >> half)
    other = (x & mask) * (y >> half) + (cross & mask)
    top = (x >> half) * (y >> half) + (cross >> half) + (other >> half)
    if kind.family == "s":
        top = top - np.where(np.asarray(a) < 0, y, np.uint64(0)) - np.where(np.asarray(b) < 0, x, np.uint64(0))
    return np.asarray(top.view(kind.number))


def magnitude(a: Array, kind: Kind) -> Array:
    """|a| as an unsigned number, also of the least one."""
    a = np.asarray(a)
    return np.where(a < 0, -a, a).view(kind.unsigned) if kind.family == "s" else a


def divide(a: Array, b: Array, kind: Kind) -> Array:
    """a / b rounded towards zero; all bits set where b is 0, as devices do (PTX leaves it open)."""
    quotient = magnitude(a, kind) // magnitude(b, kind)
    if kind.family == "s":
        quotient = quotient.view(kind.number)
        quotient = np.where((np.asarray(a) < 0) != (np.asarray(b) < 0), -quotient, quotient)
    return np.where(np.asarray(b) == 0, kind.number.type(-1 if kind.family == "s" else limits(kind)[1]), quotient)


def add(b: Binder, w: Words, kind: Kind) -> Op:
    carry_out = w.flag("cc")
    if carry_out:
        return _with_carry(b, w, kind, subtract=False, carry_in=False, carry_out=True)
    function = _saturated(np.add, kind) if w.flag("sat") else np.add
    return elementwise(b, w, function, [kind, kind], kind)


def subtract(b: Binder, w: Words, kind: Kind) -> Op:
    if w.flag("cc"):
        return _with_carry(b, w, kind, subtract=True, carry_in=False, carry_out=True)
    function = _saturated(np.subtract, kind) if w.flag("sat") else np.subtract
    return elementwise(b, w, function, [kind, kind], kind)


def _with_carry(b: Binder, w: Words, kind: Kind, *, subtract: bool, carry_in: bool, carry_out: bool) -> Op:
    plain = KINDS[f"u{kind.bits}"]
    carry = b.carry
    target, x, y = w.instruction.operands
    first, second, write = b.read(x, plain), b.read(y, plain), b.write(target, plain)
    w.done()

    def run(chosen: Chosen) -> None:
        p, q = np.asarray(first(chosen)), np.asarray(second(chosen))
        extra = carry[chosen].astype(plain.number) if carry_in else plain.number.type(0)
        if subtract:
            part = p - q
            result = part - extra
            out = (p < q) | (part < extra)
        else:
            part = p + q
            result = part + extra
            out = (part < p) | (result < part)
        if carry_out:
            carry[chosen] = out
        write(chosen, result)

    return run


def _carried(subtract: bool) -> Callable[[Binder, Words], Op]:
    def bind(b: Binder, w: Words) -> Op:
        kind = w.kind()
        return _with_carry(b, w, kind, subtract=subtract, carry_in=True, carry_out=w.flag("cc"))

    return bind


def _product(w: Words, kind: Kind) -> tuple[Values, Kind]:
    part = w.take("lo", "hi", "wide")
    if part == "wide":
        result = KINDS[f"{kind.family}{kind.bits * 2}"]
        return lambda x, y: np.multiply(x, y, dtype=result.number), result
    if part == "hi":
        return lambda x, y: high(x, y, kind), kind
    if part != "lo":
        w.refuse()
    return np.multiply, kind


def multiply(b: Binder, w: Words, kind: Kind) -> Op:
    function, result = _product(w, kind)
    return elementwise(b, w, function, [kind, kind], result)


def multiply_add(b: Binder, w: Words, kind: Kind) -> Op:
    function, result = _product(w, kind)
    if w.flag("cc"):
        return _multiply_add_carry(b, w, kind, function, carry_in=False, carry_out=True)
    if w.flag("sat"):
        add_saturated = _saturated(np.add, kind)
        return elementwise(b, w, lambda x, y, z: add_saturated(function(x, y), z), [kind, kind, result], result)
    return elementwise(b, w, lambda x, y, z: function(x, y) + z, [kind, kind, result], result)


def _multiply_add_carry(b: Binder, w: Words, kind: Kind, function: Values, *, carry_in: bool, carry_out: bool) -> Op:
    carry = b.carry
    target, *operands = w.instruction.operands
    readers = [b.read(o, kind) for o in operands]
    write = b.write(target, KINDS[f"u{kind.bits}"])
    w.done()

    def run(chosen: Chosen) -> None:
        x, y, z = (r(chosen) for r in readers)
        p, q = np.asarray(function(x, y)).view(kind.unsigned), np.asarray(z).view(kind.unsigned)
        extra = carry[chosen].astype(kind.unsigned) if carry_in else kind.unsigned.type(0)
        part = p + q
        result = part + extra
        if carry_out:
            carry[chosen] = (part < p) | (result < part)
        write(chosen, result)

    return run


def _madc(b: Binder, w: Words) -> Op:
    kind = w.kind()
    function, _ = _product(w, kind)
    return _multiply_add_carry(b, w, kind, function, carry_in=True, carry_out=w.flag("cc"))


def _times24(b: Binder, w: Words, kind: Kind) -> tuple[Values, Kind]:
    part = w.take("lo", "hi")
    wide = np.int64 if kind.family == "s" else np.uint64
    shift = wide(16 if part == "hi" else 0)

    def product(x: Array, y: Array) -> Array:
        small = [np.asarray(v).astype(wide) << wide(40) >> wide(40) for v in (x, y)]
        return np.asarray((small[0] * small[1] >> shift).astype(kind.number))

    return product, kind


def _mul24(b: Binder, w: Words) -> Op:
    kind = w.kind()
    return elementwise(b, w, _times24(b, w, kind)[0], [kind, kind], kind)


def _mad24(b: Binder, w: Words) -> Op:
    kind = w.kind()
    product = _times24(b, w, kind)[0]
    return elementwise(b, w, lambda x, y, z: product(x, y) + z, [kind] * 3, kind)


def quotient(b: Binder, w: Words, kind: Kind) -> Op:
    return elementwise(b, w, lambda x, y: divide(x, y, kind), [kind, kind], kind)


def _remainder(b: Binder, w: Words) -> Op:
    kind = w.kind()
    return elementwise(b, w, lambda x, y: x - divide(x, y, kind) * y, [kind, kind], kind)


def _sad(b: Binder, w: Words) -> Op:
    kind = w.kind()
    return elementwise(b, w, lambda x, y, z: np.maximum(x, y) - np.minimum(x, y) + z, [kind] * 3, kind)


def _dot(b: Binder, w: Words) -> Op:
    second, first = w.kind(), w.kind()
    lanes = 4 if w.instruction.opcode == "dp4a" else 2
    half = w.take("lo", "hi") if lanes == 2 else ""
    result = KINDS["s32" if "s" in (first.family, second.family) else "u32"]
    bits = KINDS["u32"]
    types = [np.dtype(f"{'i' if k.family == 's' else 'u'}{n}") for k, n in ((first, 4 // lanes), (second, 1))]

    def compute(x: Array, y: Array, z: Array) -> Array:
        x, y = np.broadcast_arrays(np.atleast_1d(x), np.atleast_1d(y))
        p = np.ascontiguousarray(x).view(types[0]).reshape(-1, lanes).astype(np.int64)
        q = np.ascontiguousarray(y).view(types[1]).reshape(-1, 4).astype(np.int64)
        part = q[:, 2:] if half == "hi" else q[:, :lanes]
        return np.asarray(((p * part).sum(1) + z.astype(np.int64)).astype(result.number))

    return elementwise(b, w, compute, [bits, bits, result], result)


TABLE: dict[str, Callable[[Binder, Words], Op]] = {
    "addc": _carried(False), "subc": _carried(True), "madc": _madc, "mul24": _mul24, "mad24": _mad24,
    "rem": _remainder, "sad": _sad, "dp4a": _dot, "dp2a": _dot,
}  # fmt: skip
