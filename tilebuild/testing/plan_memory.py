"""Memory for the plan simulator: bytes that hold random values until they are written, and who touched them last.

Whatever is read and was never written, lies outside of a valid region, or is raced for, is random: two runs with
different seeds then give different results.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tilebuild.plan.model import Buffer, Placed

Array = Any  # numpy.ndarray, whose type parameters say nothing here
GUARD = 1 << 12  # bytes around every memory that may be touched and belong to nobody
_PANEL = 32
DTYPES = {
    "bool": np.uint8, "i8": np.int8, "u8": np.uint8, "i32": np.int32, "u32": np.uint32, "f16": np.float16,
    "bf16": np.uint16, "f32": np.float32,
}  # fmt: skip


class SimulatedFault(Exception):
    """The plan does something that no memory allows, such as an access far outside of everything."""


class Memory:
    """`size` bytes with guards around them. `shared`: several threads or engines touch it, so that what nothing
    orders is random."""

    def __init__(self, size: int, rng: np.random.Generator, order: Order | None = None) -> None:
        self.rng = rng
        self.bytes: Array = rng.integers(0, 256, size + 2 * GUARD, dtype=np.uint8)
        self.order = order
        if order is not None:
            self.written: Array = np.full(len(self.bytes), -1)
            self.was_read: Array = np.full(len(self.bytes), -1)

    def read(self, offsets: Array, dtype: str) -> Array:
        """The values at byte offsets; bf16 as f32, bool as bool."""
        places = self._places(offsets, dtype)
        found = self.bytes[places]
        if self.order is not None:
            raced = self.order.conflict(self.written[places])
            found = np.where(raced, self.noise(found.shape), found)
            self.was_read[places] = self.order.now
        return decoded(found, dtype)

    def write(self, offsets: Array, values: Array, dtype: str) -> None:
        """Puts values at byte offsets; of two that go to one place, either may win."""
        places, data = self._places(offsets, dtype), encoded(values, dtype)
        if self.order is not None:
            raced = self.order.conflict(self.written[places]) | self.order.conflict(self.was_read[places])
            data = np.where(raced, self.noise(data.shape), data)
            self.written[places] = self.order.now
        self.bytes[places] = data

    def noise(self, shape: tuple[int, ...]) -> Array:
        return self.rng.integers(0, 256, shape, dtype=np.uint8)

    def _places(self, offsets: Array, dtype: str) -> Array:
        size = np.dtype(DTYPES[dtype]).itemsize
        places = np.asarray(offsets, dtype=np.int64)[..., None] + np.arange(size) + GUARD
        if places.size and (places.min() < 0 or places.max() >= len(self.bytes)):
            raise SimulatedFault("an access lies far outside of its memory")
        return places


class Order:
    """What puts touches of the same bytes in order. `now` stands for the instruction (or nest) that runs."""

    now = 0

    def conflict(self, touched: Array) -> Array:
        """Which of these earlier touches nothing orders before the instruction that runs."""
        raise NotImplementedError


class Barriers(Order):
    """A block of threads: only a barrier orders what two instructions do."""

    def __init__(self) -> None:
        self.last_barrier = 0

    def conflict(self, touched: Array) -> Array:
        return (touched > self.last_barrier) & (touched != self.now)


class Engines(Order):
    """Several engines, and an assembler that orders what begins at one address: `now` is a number for the pair of
    engine and address."""

    def __init__(self) -> None:
        self.numbers: dict[tuple[str, int], int] = {}
        self.pairs: list[tuple[str, int]] = []

    def enter(self, engine: str, address: int) -> None:
        """An instruction of `engine` touches a tile that begins at `address`."""
        pair = engine, address
        if pair not in self.numbers:
            self.numbers[pair] = len(self.pairs)
            self.pairs.append(pair)
        self.now = self.numbers[pair]

    def conflict(self, touched: Array) -> Array:
        engine, address = self.pairs[self.now]
        apart = np.array([e != engine and a != address for e, a in self.pairs] + [False])
        return apart[touched]  # -1, nothing, is the last entry


def offsets(buffer: Buffer, rows: Array, cols: Array, extents: tuple[int, int], size: int) -> Array:
    """Byte offsets of elements (r, c) of a tile of `extents`, by its layout, from the beginning of its memory. Boxed
    layouts have inner boxes of `fractal` bytes, 32 bytes wide in their own direction, the boxes in the order of the
    block layout."""
    layout, (height, width) = buffer.layout, extents
    start = buffer.storage.offset if isinstance(buffer.storage, Placed) else 0
    r, c = rows[:, None], cols[None, :]
    if layout.blayout == "panels32":
        place = (c // _PANEL * height + r) * _PANEL + c % _PANEL
    elif layout.slayout == "none_box":
        place = c * height + r if layout.blayout == "col_major" else r * width + c
    else:
        box = (16, 32 // size) if layout.slayout == "row_major" else (32 // size, 16)
        inside = r % box[0] * box[1] + c % box[1] if layout.slayout == "row_major" else c % box[1] * box[0] + r % box[0]
        across, down = -(-width // box[1]), -(-height // box[0])
        block = (
            c // box[1] * down + r // box[0] if layout.blayout == "col_major" else r // box[0] * across + c // box[1]
        )
        place = block * box[0] * box[1] + inside
    return start + place * size


def decoded(data: Array, dtype: str) -> Array:
    """Values out of bytes, the last axis those of one value."""
    values = np.ascontiguousarray(data).view(DTYPES[dtype])[..., 0]
    if dtype == "bf16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values != 0 if dtype == "bool" else values


def encoded(values: Array, dtype: str) -> Array:
    """Values as bytes; a new last axis has those of one value. To bf16 by rounding to the nearest even."""
    if dtype == "bf16":
        bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
        data: Array = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    else:
        with np.errstate(all="ignore"):
            data = np.asarray(values).astype(DTYPES[dtype])
    return np.ascontiguousarray(data)[..., None].view(np.uint8)
