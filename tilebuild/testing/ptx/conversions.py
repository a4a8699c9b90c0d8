"""cvt: between integers and floating-point formats, with every rounding and saturation that sm_80 has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilebuild.testing.ptx.binder import Binder, Op, Words
from tilebuild.testing.ptx.floats import flushed, unit
from tilebuild.testing.ptx.integers import limits
from tilebuild.testing.ptx.kinds import KINDS, Kind
from tilebuild.testing.ptx.rounding import MODES, bfloat16_bits, directed, narrowed, sum_to_odd, to_tf32
from tilebuild.testing.ptx.threads import Chosen

Array = NDArray[Any]
Function = Callable[[Array], Array]
_TO_WHOLE: dict[str, Function] = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}


def whole(values: Array, target: Kind) -> Array:
    """Floating-point numbers, already without fractions, as integers: clamped; NaN to 0, or, where 64 bits are
    involved, to the number with the highest bit alone."""
    low, high = limits(target)
    wide = values.dtype == np.float64 or target.bits == 64
    # the largest integer may have no exact float: what reaches the power of two above it is clamped
    over, under = values >= float(high) + (0 if target.bits == 64 else 1), values < float(low)
    missing = np.isnan(values)
    inside = np.where(over | under | missing, 0, values)
    result = inside.astype(target.number)
    result = np.where(over, target.number.type(high), np.where(under, target.number.type(low), result))
    nothing = (low if target.family == "s" else 1 << target.bits - 1) if wide else 0
    return np.where(missing, target.number.type(nothing), result)


def _from_integer(source: Kind, target: Kind, mode: str) -> Function:
    def convert(values: Array) -> Array:
        if target.is_half or mode not in ("rn", ""):
            shift = values.dtype.type(32 if source.bits == 64 else 0)
            upper = (values >> shift).astype(np.float64) * float(1 << int(shift))
            lower = (values - (values >> shift << shift)).astype(np.float64)
            exact = sum_to_odd(upper, lower)
            return exact if target.is_half else directed(exact, exact.astype(target.number), mode or "rn")
        return values.astype(target.number)

    return convert


def _integer_to_integer(target: Kind, saturate: bool) -> Function:
    low, high = limits(target)

    def clamp(values: Array) -> Array:
        info = np.iinfo(values.dtype)
        return np.clip(values, max(low, int(info.min)), min(high, int(info.max))).astype(target.number)

    return clamp if saturate else lambda values: values.astype(target.number)


def _between_floats(source: Kind, target: Kind, mode: str) -> Function:
    if mode in _TO_WHOLE:
        rounded = _TO_WHOLE[mode]
        return lambda values: rounded(values).astype(np.float64 if target.is_half else target.number)
    if target.is_half or target.bits >= source.bits:
        return lambda values: values if target.is_half else values.astype(target.number)
    return lambda values: narrowed(values, np.float32, mode or "rn")


def _half_bits(target: Kind, mode: str, relu: bool, clamp: bool, ftz: bool) -> Function:
    """Numbers to the bits of f16 or bf16."""

    def convert(values: Array) -> Array:
        if ftz and values.dtype == np.float32:
            values = flushed(values)
        values = np.asarray(values, np.float64)
        if relu:
            values = np.where(np.isnan(values), values, np.maximum(values, 0))
        if target.family == "bf":
            bits = bfloat16_bits(values, mode or "rn")
            largest = np.uint16(0x7F7F)
        else:
            bits = narrowed(values, np.float16, mode or "rn").view(np.uint16)
            bits = np.where(np.isnan(values), np.uint16(0x7FFF), bits)
            largest = np.uint16(0x7BFF)
        if clamp:
            over = (bits & np.uint16(0x7FFF)) > largest
            bits = np.where(over & ~np.isnan(values), bits & np.uint16(0x8000) | largest, bits)
        return bits

    return convert


def _pair(b: Binder, w: Words, target: Kind, source: Kind, convert: Function) -> Op:
    """cvt.f16x2.f32 d, a, b: a becomes the upper half."""
    if source.name != "f32":
        w.refuse()
    destination, upper, lower = w.instruction.operands
    first, second, write = b.read(upper, source), b.read(lower, source), b.write(destination, KINDS["u32"])

    def run(chosen: Chosen) -> None:
        high, low = (convert(np.asarray(r(chosen))).astype(np.uint32) for r in (first, second))
        write(chosen, high << np.uint32(16) | low)

    return run


def _cvt(b: Binder, w: Words) -> Op:
    source, target = w.kind(), w.kind()
    mode = w.take(*MODES, *_TO_WHOLE)
    ftz, saturate, relu, clamp = w.flag("ftz"), w.flag("sat"), w.flag("relu"), w.flag("satfinite")
    w.done()
    half = _half_bits(target, mode, relu, clamp, ftz)
    if target.lanes == 2 and target.is_half:
        return _pair(b, w, target, source, half)
    destination, origin = w.instruction.operands
    read = b.read(origin, source)
    if target.name == "tf32":
        to_bits = b.write(destination, KINDS["u32"])
        if mode not in ("rna", "rn", "rz") or relu:
            w.refuse()
        return lambda chosen: to_bits(chosen, to_tf32(read(chosen), mode))
    if target.is_half and source.is_float and mode not in _TO_WHOLE and not saturate:
        half_bits = b.write(destination, KINDS["u16"])
        return lambda chosen: half_bits(chosen, half(np.asarray(read(chosen))))
    if relu or clamp:
        w.refuse()
    convert = _plain(source, target, mode, saturate)
    write = b.write(destination, target)

    def run(chosen: Chosen) -> None:
        values = np.asarray(read(chosen))
        if ftz and source.name == "f32":
            values = flushed(values)
        result = convert(values)
        if saturate and target.is_float:
            result = unit(result)
        if ftz and target.name == "f32":
            result = flushed(result)
        write(chosen, result)

    return run


def _plain(source: Kind, target: Kind, mode: str, saturate: bool) -> Function:
    if source.is_float and target.is_float:
        return _between_floats(source, target, mode)
    if source.is_float:
        rounded = _TO_WHOLE[mode or "rzi"]
        return lambda values: whole(rounded(values), target)
    if target.is_float:
        return _from_integer(source, target, mode)
    return _integer_to_integer(target, saturate)


def _cvt_pack(b: Binder, w: Words) -> Op:
    """cvt.pack.sat.d.a{.c}: two integers clamped and packed, above a third operand's lower bits where there is one."""
    w.flag("pack")
    kinds = [w.kind()]
    while w.has_kind():
        kinds.append(w.kind())
    third = kinds[0] if len(kinds) == 3 else None
    target, source = kinds[-1], kinds[-2]
    if not w.flag("sat"):
        w.refuse()
    w.done()
    destination, *operands = w.instruction.operands
    readers = [b.read(o, source) for o in operands[:2]]
    rest = b.read(operands[2], KINDS["u32"]) if third is not None else None
    write = b.write(destination, KINDS["u32"])
    low, high = limits(target)
    mask, width = np.uint32((1 << target.bits) - 1), np.uint32(target.bits)

    def run(chosen: Chosen) -> None:
        upper, lower = (
            np.clip(np.asarray(r(chosen)).astype(np.int64), low, high).astype(np.uint32) & mask for r in readers
        )
        result = upper << width | lower
        if rest is not None:
            result = rest(chosen) << np.uint32(2 * target.bits) | result
        write(chosen, result)

    return run


def _bind(b: Binder, w: Words) -> Op:
    return (_cvt_pack if "pack" in w.instruction.modifiers else _cvt)(b, w)


TABLE: dict[str, Callable[[Binder, Words], Op]] = {"cvt": _bind}
