"""Element types on NumPy: storage, poison, and what a Python number becomes next to a tile.

bf16 has no NumPy type: its tiles hold float32 values that are bf16 values, its arrays are read as 16-bit words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tilebuild.lang.reference.errors import fail
from tilebuild.lang.types import DType

NUMPY: dict[str, np.dtype[Any]] = {
    "bool": np.dtype(np.bool_), "i8": np.dtype(np.int8), "u8": np.dtype(np.uint8), "i32": np.dtype(np.int32),
    "u32": np.dtype(np.uint32), "f16": np.dtype(np.float16), "bf16": np.dtype(np.float32), "f32": np.dtype(np.float32),
}  # fmt: skip
STORED = {**NUMPY, "bf16": np.dtype(np.uint16)}  # in a caller's memory
FLOATS = ("f32", "f16", "bf16")
Values = np.ndarray[Any, np.dtype[Any]]


def poison(dtype: str) -> float | int:
    """A value that shows where it goes: NaN; for integers an extreme one; True."""
    if dtype in FLOATS:
        return float("nan")
    if dtype == "bool":
        return True
    limits = np.iinfo(NUMPY[dtype])
    return int(limits.min or limits.max)


def load(stored: Values, dtype: str) -> Values:
    """Values of a tile from a caller's memory; a bf16 is the upper half of an f32."""
    return (stored.astype(np.uint32) << np.uint32(16)).view(np.float32) if dtype == "bf16" else stored


def store(values: Values, dtype: str) -> Values:
    """The inverse of `load`."""
    return (values.view(np.uint32) >> np.uint32(16)).astype(np.uint16) if dtype == "bf16" else values


def from_slot(slot: int, dtype: str) -> Any:
    """A scalar argument from the bits that a launch passes, as a NumPy scalar: its type tells it from a literal."""
    if dtype not in FLOATS:
        return NUMPY[dtype].type(slot)
    bits = np.array([slot], np.uint32 if dtype == "f32" else np.uint16)
    return load(bits if dtype == "bf16" else bits.view(NUMPY[dtype]), dtype)[0]


def dtype_name(dtype: object) -> str:
    """The name of a `tb` dtype given as an argument; E205 for anything else."""
    if not isinstance(dtype, DType):
        fail("E205", f"{dtype!r} is not a dtype", "use one of tilebuild's: tb.f32")
    return dtype.name


def round_bf16(values: Values) -> Values:
    """float32 values rounded to the nearest bf16, ties to even; NaN stays NaN."""
    wide = values.astype(np.float32)
    bits = wide.view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(wide), wide, rounded.view(np.float32))


def convert(values: Values, dtype: str) -> Values:
    """Values in another dtype: floating point to integer truncates (E331 where it does not fit), integers wrap."""
    if dtype == "bf16":
        return round_bf16(values)
    target = NUMPY[dtype]
    if values.dtype.kind == "f" and target.kind in "iu":
        limits, whole = np.iinfo(target), np.trunc(values.astype(np.float64))
        wrong = ~((whole >= limits.min) & (whole <= limits.max))
        if wrong.any():
            fail(
                "E331",
                f"{values[wrong][0]} has no value in {dtype}",
                "clamp it first: tb.minimum, tb.maximum",
            )
        return whole.astype(target)
    with np.errstate(all="ignore"):
        return values.astype(target)


def is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.bool_, np.integer, np.floating))


def number_dtype(value: Any) -> str:
    """The dtype of a scalar argument or of what was computed from one; "" for a literal, dimension or index."""
    if not isinstance(value, np.generic) or type(value) is float:
        return ""
    return {"b": "bool", "i": "i32", "u": "u32", "f": "f32"}[value.dtype.kind]


def common_dtype(values: Sequence[Any]) -> str:
    """What scalars alone compute in: the dtype of a typed one, else f32."""
    return next((t for t in map(number_dtype, values) if t), "f32")


def scalar(value: Any, dtype: str) -> Any:
    """A number as a NumPy scalar of a tile's dtype.

    A typed one has that dtype already (E202); literals, dimensions and indices convert where that is exact (E331).
    """
    if not is_number(value):
        fail("E205", f"expected a number, found {type(value).__name__} {value!r}")
    typed = number_dtype(value)
    if typed and typed != dtype:
        fail("E202", f"the {typed} scalar {value} is combined with {dtype}", "convert the tile: .to(...)")
    if isinstance(value, (bool, np.bool_)) != (dtype == "bool"):
        fail("E202", f"{value!r} is combined with {dtype}", "compare, or write tb.where(condition, 1.0, 0.0)")
    if dtype in FLOATS:
        return _floating(value, dtype)
    if isinstance(value, float):
        fail(
            "E202",
            f"the float {value!r} is combined with {dtype}",
            "write an integer, or convert: .to(tb.f32)",
        )
    limits = (0, 1) if dtype == "bool" else (int(np.iinfo(NUMPY[dtype]).min), int(np.iinfo(NUMPY[dtype]).max))
    if not limits[0] <= int(value) <= limits[1]:
        fail("E331", f"{value} is not in the range of {dtype}, {limits[0]} to {limits[1]}")
    return NUMPY[dtype].type(value)


def _floating(value: Any, dtype: str) -> Any:
    wide = float(value)
    with np.errstate(all="ignore"):
        rounded = convert(np.asarray(wide), dtype)[()]
    if np.isfinite(wide) and not np.isfinite(rounded):
        fail("E331", f"{value} is beyond the range of {dtype}")
    if isinstance(value, int) and value != int(rounded):
        fail("E331", f"the integer {value} is not exact in {dtype}", "write it as a float if rounding is meant")
    return rounded
