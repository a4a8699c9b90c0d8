"""Bits: logic, shifts, fields and permutations (PTX ISA, "Logic and Shift Instructions", and the bit-field ones among
the integer instructions)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilebuild.testing.ptx.binder import Binder, Op, Words
from tilebuild.testing.ptx.integers import elementwise
from tilebuild.testing.ptx.kinds import KINDS, Kind
from tilebuild.testing.ptx.syntax import Literal, Pair
from tilebuild.testing.ptx.threads import Chosen

Array = NDArray[Any]
U32 = KINDS["u32"]


def _logic(function: Callable[..., Array], count: int) -> Callable[[Binder, Words], Op]:
    def handler(b: Binder, w: Words) -> Op:
        kind = w.kind()
        return elementwise(b, w, function, [kind] * count, kind)

    return handler


def _cnot(b: Binder, w: Words) -> Op:
    kind = w.kind()
    return elementwise(b, w, lambda a: (np.asarray(a) == 0).astype(kind.number), [kind], kind)


def shift_left(a: Array, n: Array, kind: Kind) -> Array:
    """Bits beyond the width are lost, all of them where n is the width or more."""
    least = np.minimum(n, kind.bits - 1).astype(kind.number)
    return np.asarray(np.where(n >= kind.bits, kind.number.type(0), a << least))


def shift_right(a: Array, n: Array, kind: Kind) -> Array:
    """Filled with zeros, or with the sign of a signed number."""
    least = np.minimum(n, kind.bits - 1).astype(kind.number)
    if kind.family == "s":
        return np.asarray(a >> least)
    return np.asarray(np.where(n >= kind.bits, kind.number.type(0), a >> least))


def _shl(b: Binder, w: Words) -> Op:
    kind = w.kind()
    return elementwise(b, w, lambda a, n: shift_left(a, n, kind), [kind, U32], kind)


def _shr(b: Binder, w: Words) -> Op:
    kind = w.kind()
    return elementwise(b, w, lambda a, n: shift_right(a, n, kind), [kind, U32], kind)


def _shf(b: Binder, w: Words) -> Op:
    kind, left, wrap = w.kind(), w.take("l", "r") == "l", w.take("wrap", "clamp") == "wrap"

    def compute(a: Array, c: Array, n: Array) -> Array:
        both = np.asarray(c).astype(np.uint64) << np.uint64(32) | np.asarray(a).astype(np.uint64)
        by = (n & np.uint32(31) if wrap else np.minimum(n, np.uint32(32))).astype(np.uint64)
        return np.asarray((both << by >> np.uint64(32) if left else both >> by).astype(np.uint32))

    return elementwise(b, w, compute, [U32] * 3, U32 if kind.bits == 32 else kind)


def lookup(operands: list[Array], table: int) -> Array:
    """Any function of three bits, given by its truth table."""
    a, c, d = operands
    result = np.zeros(np.broadcast_shapes(np.shape(a), np.shape(c), np.shape(d)), np.uint32)
    for n in range(8):
        if table >> n & 1:
            result = result | (a if n & 4 else ~a) & (c if n & 2 else ~c) & (d if n & 1 else ~d)
    return result


def _lop3(b: Binder, w: Words) -> Op:
    w.kind()
    combine = w.take("or", "and")
    w.done()
    target, *sources = w.instruction.operands
    readers = [b.read(o, U32) for o in sources[:3]]
    table = sources[3]
    if not isinstance(table, Literal):
        w.refuse()
    value = table.value
    if combine:
        if not isinstance(target, Pair):
            w.refuse()
        write, other = b.write(target.first, U32), b.write(target.second, KINDS["pred"])
        also = b.read(sources[4], KINDS["pred"])

        def with_predicate(chosen: Chosen) -> None:
            result = lookup([r(chosen) for r in readers], value)
            extra = also(chosen)
            other(chosen, (result != 0) | extra if combine == "or" else (result != 0) & extra)
            write(chosen, result)

        return with_predicate
    write = b.write(target, U32)
    return lambda chosen: write(chosen, lookup([r(chosen) for r in readers], value))


def _reverse(a: Array, kind: Kind) -> Array:
    each = np.ascontiguousarray(np.atleast_1d(a)).view(np.uint8).reshape(-1, kind.bits // 8)
    flipped = np.packbits(np.unpackbits(each, axis=1, bitorder="little"), axis=1, bitorder="big")[:, ::-1]
    return np.ascontiguousarray(flipped).view(kind.unsigned)[:, 0]


def _brev(b: Binder, w: Words) -> Op:
    kind = w.kind()
    return elementwise(b, w, lambda a: _reverse(a, kind), [kind], kind)


def _ones(a: Array, kind: Kind) -> Array:
    each = np.ascontiguousarray(np.atleast_1d(a)).view(np.uint8).reshape(-1, kind.bits // 8)
    return np.asarray(np.unpackbits(each, axis=1).sum(1, dtype=np.uint32))


def highest(a: Array) -> Array:
    """The place of the highest bit of unsigned numbers; -1 without one."""
    a = np.atleast_1d(a).astype(np.uint64)
    result = np.full(a.shape, -1, np.int64)
    for step in (32, 16, 8, 4, 2, 1):
        upper = a >> np.uint64(step)
        result = np.where(upper != 0, result + step, result)
        a = np.where(upper != 0, upper, a)
    return np.where(a != 0, result + 1, -1)


def _popc(b: Binder, w: Words) -> Op:
    kind = w.kind()
    return elementwise(b, w, lambda a: _ones(a, kind), [kind], U32)


def _clz(b: Binder, w: Words) -> Op:
    kind = w.kind()
    return elementwise(b, w, lambda a: (kind.bits - 1 - highest(a)).astype(np.uint32), [kind], U32)


def _bfind(b: Binder, w: Words) -> Op:
    kind, amount = w.kind(), w.flag("shiftamt")

    def compute(a: Array) -> Array:
        found = highest((np.where(a < 0, ~a, a) if kind.family == "s" else np.asarray(a)).view(kind.unsigned))
        if amount:
            found = np.where(found < 0, found, kind.bits - 1 - found)
        return found.astype(np.uint32)

    return elementwise(b, w, compute, [kind], U32)


def _fns(b: Binder, w: Words) -> Op:
    w.kind()

    def one(mask: int, base: int, offset: int) -> int:
        places = [n for n in range(32) if mask >> n & 1]
        if offset == 0:
            return base if base in places else 0xFFFFFFFF
        after = [n for n in places if n >= base] if offset > 0 else [n for n in reversed(places) if n <= base]
        return after[abs(offset) - 1] if len(after) >= abs(offset) else 0xFFFFFFFF

    def compute(mask: Array, base: Array, offset: Array) -> Array:
        values = [np.atleast_1d(v).tolist() for v in np.broadcast_arrays(mask, base, offset)]
        return np.array([one(*v) for v in zip(*values)], np.uint32)

    return elementwise(b, w, compute, [U32, U32, KINDS["s32"]], U32)


def _field_mask(width: Array, kind: Kind) -> Array:
    one = kind.unsigned.type(1)
    return np.asarray(shift_left(one, width, KINDS[f"u{kind.bits}"]) - one)


def _bfe(b: Binder, w: Words) -> Op:
    kind = w.kind()
    plain = KINDS[f"u{kind.bits}"]

    def compute(a: Array, start: Array, width: Array) -> Array:
        start, width = start & np.uint32(0xFF), width & np.uint32(0xFF)
        # bits past the number's end are those of its sign, like those past the field's
        mask = _field_mask(np.minimum(width, np.uint32(kind.bits) - np.minimum(start, np.uint32(kind.bits))), kind)
        result = shift_right(a.view(plain.number), start, plain) & mask
        if kind.family == "s":
            last = np.minimum(start + width - np.uint32(1), np.uint32(kind.bits - 1))
            sign = shift_right(a.view(plain.number), last, plain) & plain.number.type(1)
            result = np.where((sign != 0) & (width != 0), result | ~mask, result)
        return result.view(kind.number)

    return elementwise(b, w, compute, [kind, U32, U32], kind)


def _bfi(b: Binder, w: Words) -> Op:
    kind = w.kind()
    plain = KINDS[f"u{kind.bits}"]

    def compute(a: Array, into: Array, start: Array, width: Array) -> Array:
        start, width = start & np.uint32(0xFF), width & np.uint32(0xFF)
        mask = shift_left(_field_mask(width, kind), start, plain)
        return into & ~mask | shift_left(a, start, plain) & mask

    return elementwise(b, w, compute, [plain, plain, U32, U32], plain)


def _bmsk(b: Binder, w: Words) -> Op:
    w.kind()
    wrap = w.take("wrap", "clamp") == "wrap"

    def compute(start: Array, width: Array) -> Array:
        if wrap:
            start, width = start & np.uint32(31), width & np.uint32(31)
        return shift_left(_field_mask(np.asarray(width), U32), np.asarray(start), U32)

    return elementwise(b, w, compute, [U32, U32], U32)


def _szext(b: Binder, w: Words) -> Op:
    kind = w.kind()
    wrap = w.take("wrap", "clamp") == "wrap"

    def compute(a: Array, n: Array) -> Array:
        n = n & np.uint32(31) if wrap else np.minimum(n, np.uint32(32))
        mask = _field_mask(n, U32)
        low = a.view(np.uint32) & mask
        if kind.family == "s":
            sign = shift_right(low, np.maximum(n, np.uint32(1)) - np.uint32(1), U32) & np.uint32(1)
            low = np.where((sign != 0) & (n != 0), low | ~mask, low)
        return low.view(kind.number)

    return elementwise(b, w, compute, [kind, U32], kind)


_PERMUTATIONS = {
    "f4e": ((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (3, 4, 5, 6)),
    "b4e": ((0, 7, 6, 5), (1, 0, 7, 6), (2, 1, 0, 7), (3, 2, 1, 0)),
    "rc8": ((0,) * 4, (1,) * 4, (2,) * 4, (3,) * 4),
    "ecl": ((0, 1, 2, 3), (1, 1, 2, 3), (2, 2, 2, 3), (3, 3, 3, 3)),
    "ecr": ((0, 0, 0, 0), (0, 1, 1, 1), (0, 1, 2, 2), (0, 1, 2, 3)),
    "rc16": ((0, 1, 0, 1), (2, 3, 2, 3), (0, 1, 0, 1), (2, 3, 2, 3)),
}  # bytes from the least on


def _prmt(b: Binder, w: Words) -> Op:
    mode = w.take(*_PERMUTATIONS)
    w.kind()

    def compute(a: Array, c: Array, selector: Array) -> Array:
        both = np.asarray(c).astype(np.uint64) << np.uint64(32) | np.asarray(a).astype(np.uint64)
        result: Array = np.zeros((), np.uint32)
        for n in range(4):
            if mode:
                table = np.array([row[n] for row in _PERMUTATIONS[mode]], np.uint64)
                which = table[np.asarray(selector) & np.uint32(3)]
                sign = np.False_
            else:
                nibble = np.asarray(selector) >> np.uint32(4 * n) & np.uint32(15)
                which, sign = (nibble & np.uint32(7)).astype(np.uint64), (nibble & np.uint32(8)) != 0
            byte = (both >> (which * np.uint64(8))).astype(np.uint32) & np.uint32(0xFF)
            filled = np.where(byte & np.uint32(0x80), np.uint32(0xFF), np.uint32(0))
            result = result | np.where(sign, filled, byte) << np.uint32(8 * n)
        return result

    return elementwise(b, w, compute, [U32] * 3, U32)


TABLE: dict[str, Callable[[Binder, Words], Op]] = {
    "and": _logic(lambda a, c: a & c, 2), "or": _logic(lambda a, c: a | c, 2), "xor": _logic(lambda a, c: a ^ c, 2),
    "not": _logic(lambda a: ~a, 1), "cnot": _cnot, "shl": _shl, "shr": _shr, "shf": _shf, "lop3": _lop3,
    "brev": _brev, "popc": _popc, "clz": _clz, "bfind": _bfind, "fns": _fns, "bfe": _bfe, "bfi": _bfi,
    "bmsk": _bmsk, "szext": _szext, "prmt": _prmt,
}  # fmt: skip
