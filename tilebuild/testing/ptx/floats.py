"""Floating-point arithmetic (PTX ISA, "Floating Point Instructions" and "Half Precision Floating Point Instructions").

Instructions named .approx and .full give the number nearest to the exact result here: a device's differs by the few
units in the last place that the PTX ISA allows it.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilebuild.testing.ptx.binder import Binder, Op, Words
from tilebuild.testing.ptx.kinds import Kind
from tilebuild.testing.ptx.rounding import MODES, fma32, fma64, narrowed, sum_to_odd
from tilebuild.testing.ptx.threads import Chosen

Array = NDArray[Any]
Values = Callable[..., Array]
_LEAST = np.float32(2.0**-126)


def flushed(values: Array) -> Array:
    """Subnormal float32 numbers as zeros of their sign."""
    return np.where(np.abs(values) < _LEAST, np.copysign(np.float32(0), values), values)


def unit(values: Array) -> Array:
    """Clamped to [0, 1], NaN to 0."""
    return np.where(np.isnan(values), 0, np.clip(values, 0, 1)).astype(values.dtype)


def bind(b: Binder, w: Words, kind: Kind, make: Callable[[Kind, str], Values], count: int) -> Op:
    """d = f(a, ...), where `make` gives f for a type and a rounding mode. Modifiers: the mode, .ftz, .sat, .relu."""
    mode = w.take(*MODES) or "rn"
    ftz, sat, relu = w.flag("ftz"), w.flag("sat"), w.flag("relu")
    w.done()
    target, *operands = w.instruction.operands
    if len(operands) != count:
        w.refuse()
    function = make(kind, mode)
    readers = [b.read(o, kind) for o in operands]
    write = b.write(target, kind)
    small = ftz and kind.bits == 32 and kind.lanes == 1

    def run(chosen: Chosen) -> None:
        values = [r(chosen) for r in readers]
        result = function(*(flushed(v) for v in values)) if small else function(*values)
        if small:
            result = flushed(result)
        if sat:
            result = unit(np.asarray(result))
        if relu:
            result = np.where(np.isnan(result), result, np.maximum(result, 0))
        write(chosen, result)

    if not (small or sat or relu) and count == 2:
        first, second = readers
        return lambda chosen: write(chosen, function(first(chosen), second(chosen)))
    return run


def _exact(function: Callable[..., Fraction], kind: Kind, mode: str, rough: Values) -> Values:
    """One element at a time over rational numbers, for modes that NumPy lacks; `rough` for what is no number."""

    def compute(*given: Array) -> Array:
        values = [np.atleast_1d(v) for v in np.broadcast_arrays(*given)]
        result = np.array(rough(*values))
        for n, numbers in enumerate(zip(*(v.tolist() for v in values))):
            if not np.isfinite(numbers).all() or not np.isfinite(result[n]):
                continue
            exact = function(*map(Fraction, numbers))
            apart = Fraction(float(result[n])) - exact
            if mode == "rz":
                wrong, towards = abs(exact) < abs(exact + apart), 0.0
            else:
                wrong, towards = (apart > 0, -np.inf) if mode == "rm" else (apart < 0, np.inf)
            if wrong and apart:
                result[n] = np.nextafter(result[n], result.dtype.type(towards))
        return result

    return compute if mode != "rn" else rough


def _adder(sign: int) -> Callable[[Kind, str], Values]:
    native = np.add if sign > 0 else np.subtract

    def make(kind: Kind, mode: str) -> Values:
        if kind.is_half:
            return lambda a, c: sum_to_odd(a, sign * c)
        if mode == "rn":
            return native
        if kind.bits == 64:
            return _exact(lambda a, c: a + sign * c, kind, mode, native)
        return lambda a, c: narrowed(sum_to_odd(np.float64(a), sign * np.float64(c)), np.float32, mode)

    return make


def _multiplier(kind: Kind, mode: str) -> Values:
    if mode == "rn" or kind.is_half:
        return np.multiply
    if kind.bits == 64:
        return _exact(lambda a, c: a * c, kind, mode, np.multiply)
    return lambda a, c: narrowed(np.multiply(a, c, dtype=np.float64), np.float32, mode)


def _fused(kind: Kind, mode: str) -> Values:
    if kind.is_half:
        return lambda a, c, d: sum_to_odd(np.asarray(a * c), d)
    if kind.bits == 32:
        return lambda a, c, d: fma32(a, c, d, mode)
    return _exact(lambda a, c, d: a * c + d, kind, mode, fma64)


def add(b: Binder, w: Words, kind: Kind) -> Op:
    return bind(b, w, kind, _adder(1), 2)


def subtract(b: Binder, w: Words, kind: Kind) -> Op:
    return bind(b, w, kind, _adder(-1), 2)


def multiply(b: Binder, w: Words, kind: Kind) -> Op:
    return bind(b, w, kind, _multiplier, 2)


def multiply_add(b: Binder, w: Words, kind: Kind) -> Op:
    return bind(b, w, kind, _fused, 3)


def divide(b: Binder, w: Words, kind: Kind) -> Op:
    approx = w.take("approx", "full") == "approx"

    def make(kind: Kind, mode: str) -> Values:
        if approx:  # documented: a divisor that is too large for its reciprocal gives 0
            return lambda a, c: np.where((np.abs(c) > 2.0**126) & np.isfinite(c), a * np.float32(0), a / c)
        return _exact(lambda a, c: a / c if c else a, kind, mode, np.divide)

    return bind(b, w, kind, make, 2)


def smaller(a: Array, c: Array) -> Array:
    """The number that is smaller; NaN only where both are; -0 below 0."""
    return np.where((a == c) & np.signbit(a), a, np.fmin(a, c))


def larger(a: Array, c: Array) -> Array:
    """The number that is larger; NaN only where both are; 0 above -0."""
    return np.where((a == c) & ~np.signbit(a), a, np.fmax(a, c))


def _extreme(choose: Values) -> Callable[[Binder, Words, Kind], Op]:
    def handler(b: Binder, w: Words, kind: Kind) -> Op:
        keep_nan, sign = w.flag("NaN"), w.flag("xorsign")
        if sign and not w.flag("abs"):
            w.refuse()

        def make(kind: Kind, mode: str) -> Values:
            def compute(*values: Array) -> Array:
                result = reduce(choose, [np.abs(v) for v in values] if sign else values)
                if sign:
                    negative = reduce(np.logical_xor, [np.signbit(v) for v in values])
                    result = np.where(negative, -result, result)
                if keep_nan:
                    result = np.where(reduce(np.logical_or, [np.isnan(v) for v in values]), np.nan, result)
                return result.astype(np.asarray(values[0]).dtype)

            return compute

        return bind(b, w, kind, make, len(w.instruction.operands) - 1)

    return handler


minimum = _extreme(smaller)
maximum = _extreme(larger)


def absolute(b: Binder, w: Words, kind: Kind) -> Op:
    return bind(b, w, kind, lambda kind, mode: np.abs, 1)


def negate(b: Binder, w: Words, kind: Kind) -> Op:
    return bind(b, w, kind, lambda kind, mode: np.negative, 1)


def _fma(b: Binder, w: Words) -> Op:
    return multiply_add(b, w, w.kind())


def _root(kind: Kind, mode: str) -> Values:
    if mode == "rn":
        return np.sqrt

    def compute(a: Array) -> Array:
        near = np.sqrt(a)
        square = near.astype(np.float64) ** 2  # exact for float32
        if mode == "rp":
            return np.where(square < a, np.nextafter(near, np.float32(np.inf)), near)
        return np.where(square > a, np.nextafter(near, np.float32(0)), near)

    return compute


def _unary(function: Callable[[Array], Array]) -> Callable[[Binder, Words], Op]:
    """Computed in float64 and rounded once."""

    def handler(b: Binder, w: Words) -> Op:
        w.take("approx")
        kind = w.kind()

        def make(kind: Kind, mode: str) -> Values:
            return lambda a: function(np.asarray(a, np.float64)).astype(np.asarray(a).dtype)

        return bind(b, w, kind, make, 1)

    return handler


def _sqrt(b: Binder, w: Words) -> Op:
    w.take("approx")
    kind = w.kind()
    if kind.bits == 64 and w.instruction.modifiers[0] in ("rz", "rm", "rp"):
        w.refuse()
    return bind(b, w, kind, _root, 1)


def _reciprocal(b: Binder, w: Words) -> Op:
    approx = w.flag("approx")
    kind = w.kind()

    def make(kind: Kind, mode: str) -> Values:
        if kind.bits == 64 and approx:  # only the upper half is computed
            high = np.uint64(0xFFFFFFFF00000000)
            return lambda a: (np.asarray(1 / a).view(np.uint64) & high).view(np.float64)
        return _exact(lambda a: 1 / a if a else a, kind, mode, lambda a: np.asarray(a).dtype.type(1) / a)

    return bind(b, w, kind, make, 1)


def _copysign(b: Binder, w: Words) -> Op:
    return bind(b, w, w.kind(), lambda kind, mode: lambda a, c: np.copysign(c, a), 2)


TABLE: dict[str, Callable[[Binder, Words], Op]] = {
    "fma": _fma, "sqrt": _sqrt, "rcp": _reciprocal, "copysign": _copysign,
    "rsqrt": _unary(lambda a: 1 / np.sqrt(a)), "ex2": _unary(np.exp2), "lg2": _unary(np.log2), "sin": _unary(np.sin),
    "cos": _unary(np.cos), "tanh": _unary(np.tanh),
}  # fmt: skip
