"""Scalar arguments as int64 slots: the value's bit pattern in the parameter's dtype, in the low bits."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

_F32, _U32, _F16, _U16 = (struct.Struct(f) for f in ("<f", "<I", "<e", "<H"))


class ScalarError(ValueError):
    """The value does not fit; the text says why, as the end of a sentence about the parameter."""


def _kind(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def _is_complex(value: object) -> bool:
    # NumPy's __float__ of a complex number drops the imaginary part with a warning only
    return isinstance(value, complex) or "complex" in str(getattr(value, "dtype", ""))


def _to_float(value: Any) -> float:
    if type(value) is float:
        return value
    if not _is_complex(value) and (hasattr(type(value), "__float__") or hasattr(type(value), "__index__")):
        try:
            return float(value)
        except (TypeError, ValueError, OverflowError, RuntimeError) as e:
            raise ScalarError(f"{_kind(value)} does not convert to one number: {e}") from None
    raise ScalarError(f"{_kind(value)} is not a number")


def _to_int(value: Any) -> int:
    if type(value) is int:
        return value
    if isinstance(value, float):
        raise ScalarError(f"the float {value!r} was given for an integer")
    if hasattr(type(value), "__index__"):
        try:
            return int(value.__index__())
        except (TypeError, ValueError, RuntimeError) as e:
            raise ScalarError(f"{_kind(value)} does not convert to one integer: {e}") from None
    raise ScalarError(f"{_kind(value)} is not an integer")


def _packed(value: Any, dtype: str, pack: struct.Struct, read: struct.Struct) -> int:
    number = _to_float(value)
    try:
        bits: int = read.unpack(pack.pack(number))[0]
    except OverflowError:
        raise ScalarError(f'{number!r} is beyond the largest {dtype} (float("inf") is the infinity)') from None
    return bits


def _bf16(value: Any) -> int:
    """Round to nearest, ties to even: bf16 is the upper half of an f32."""
    number = _to_float(value)
    bits = _packed(number, "bf16", _F32, _U32)
    if math.isnan(number):
        return 0x7FC0
    if bits & 0xFFFF == 0x8000:
        # a tie in f32 may be no tie in the double that it was rounded from: step back to the side it came from
        rounded = abs(_F32.unpack(_U32.pack(bits))[0])
        bits += (rounded < abs(number)) - (rounded > abs(number))
    infinite = bits & 0x7FFFFFFF == 0x7F800000
    bits = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    if bits & 0x7FFF == 0x7F80 and not infinite:
        raise ScalarError(f'{number!r} is beyond the largest bf16 (float("inf") is the infinity)')
    return bits


def _integer(value: Any, dtype: str, lo: int, hi: int) -> int:
    number = _to_int(value)
    if not lo <= number <= hi:
        raise ScalarError(f"{number} is not in the range of {dtype}, {lo} to {hi}")
    return number


def _bool(value: Any) -> int:
    if value is True or value is False or "bool" in str(getattr(value, "dtype", "")):
        return int(bool(value))
    raise ScalarError(f"{_kind(value)} is not a bool")


ENCODERS: Mapping[str, Callable[[Any], int]] = {
    "bool": _bool,
    "i8": partial(_integer, dtype="i8", lo=-(1 << 7), hi=(1 << 7) - 1),
    "u8": partial(_integer, dtype="u8", lo=0, hi=(1 << 8) - 1),
    "i32": partial(_integer, dtype="i32", lo=-(1 << 31), hi=(1 << 31) - 1),
    "u32": partial(_integer, dtype="u32", lo=0, hi=(1 << 32) - 1),
    "f16": partial(_packed, dtype="f16", pack=_F16, read=_U16),
    "bf16": _bf16,
    "f32": partial(_packed, dtype="f32", pack=_F32, read=_U32),
}
"""dtype to `value -> slot`; integers keep their sign, so that a slot is also the value. Raises `ScalarError`."""
