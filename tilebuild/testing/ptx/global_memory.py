"""The emulated global memory: one row of bytes, of which only what was allocated may be touched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
READ, WRITE = 1, 2
BASE = 1 << 33
"""The address of the first byte; no address of another space is as large as that, generic ones apart."""


@dataclass(frozen=True)
class _Piece:
    name: str
    address: int
    size: int


SLACK = 2048
"""How many bytes more than its content an allocation may take."""


class GlobalMemory:
    """`data` and `flags` (READ, WRITE of each byte) hold `capacity` bytes, SLACK for each allocation included."""

    def __init__(self, capacity: int, random: np.random.Generator) -> None:
        self._random = random
        self._pieces: list[_Piece] = []
        self._end = SLACK
        self.data = np.zeros(-(-capacity // 16) * 16 + 2 * SLACK, np.uint8)
        self.flags = np.zeros(self.data.size, np.uint8)

    def allocate(self, name: str, content: Array, flags: int, align: int, offset: int = 0) -> int:
        """The address of new bytes, `offset` past a multiple of `align`, some way behind those before them."""
        start = -(-self._end // align) * align + align * int(self._random.integers(1, 4)) + offset
        self._end = start + content.size
        self._pieces.append(_Piece(name, BASE + start, content.size))
        self.data[start : self._end] = content
        self.flags[start : self._end] = flags
        return BASE + start

    def elements(self, address: int, like: Array) -> Array:
        """Memory from an address on as elements that lie as those of `like` do."""
        return np.asarray(np.ndarray(like.shape, like.dtype, self.data.data, address - BASE, like.strides))

    def permit(self, address: int, like: Array, flags: int) -> None:
        """Add flags to the bytes of such elements."""
        shape, strides = (*like.shape, like.itemsize), (*like.strides, 1)
        view: Array = np.ndarray(shape, np.uint8, self.flags.data, address - BASE, strides)
        view |= np.uint8(flags)

    def describe(self, address: int) -> str:
        """Where an address lies, in words."""
        if not self._pieces:
            return "nothing is allocated"
        nearest = min(self._pieces, key=lambda p: max(p.address - address, address - (p.address + p.size), 0))
        if address < nearest.address:
            return f"{nearest.address - address} bytes before {nearest.name}"
        past = address - nearest.address - nearest.size
        if past >= 0:
            return f"{past} bytes past the end of {nearest.name} ({nearest.size} bytes)"
        inside = f"byte {address - nearest.address} of {nearest.name}"
        return inside if self.flags[address - BASE] else f"{inside}, where no element lies"
