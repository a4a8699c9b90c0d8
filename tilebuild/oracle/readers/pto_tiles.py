"""Which allocations of a PTO function name the same tile, and which tiles are columns.

At level 3 a tile is bytes at an address, and a program may allocate the same bytes again to see them with another
valid region or turned. An allocation that was made before anything touched its bytes is a tile of its own, even where
another tile has the address: two tiles at one address are what the oracle looks for. One that is made after the bytes
were touched is another sight of that tile.

A column [R, 1] and a row [1, R] of the same bytes are one tile. So that both sights name an element by one row and
column, tiles that are columns for one instruction are columns for all.
"""

from __future__ import annotations

from dataclasses import dataclass

from tilebuild.oracle.readers.pto_types import TileType
from tilebuild.oracle.readers.pto_values import Handle
from tilebuild.plan.model import DTYPE_BYTES


def tile_bytes(t: TileType) -> int:
    """The bytes of a tile, valid or not."""
    return t.rows * t.cols * DTYPE_BYTES[t.dtype]


@dataclass
class _Seen:
    root: Handle
    since: int


class Tiles:
    """The tiles of a function, in the order in which they are touched."""

    def __init__(self) -> None:
        self.roots: list[Handle] = []
        self._clock = 0
        self._latest: dict[tuple[str, int], _Seen] = {}

    def tick(self) -> int:
        """A number for an event, larger than those of all events before it."""
        self._clock += 1
        return self._clock

    def touch(self, handle: Handle) -> Handle:
        """The tile that an access through a handle touches."""
        now = self.tick()
        key = (handle.type.space, handle.address) if handle.address is not None else None
        if handle.root is None:
            seen = self._latest.get(key) if key is not None else None
            if seen is not None and seen.since < handle.order and _same_bytes(seen.root.type, handle.type):
                handle.root = seen.root
                if handle.type.is_column:
                    _representative(seen.root).column = True
            else:
                handle.root = handle
                handle.column = handle.type.is_column
                self.roots.append(handle)
        if key is not None and (key not in self._latest or self._latest[key].root is not handle.root):
            self._latest[key] = _Seen(handle.root, now)
        return handle.root

    def link(self, handles: list[Handle]) -> None:
        """These take part in one elementwise operation: where one is a column, all are."""
        lines = [_representative(h.root or h) for h in handles if h.type.is_row or h.type.is_column]
        for line in lines[1:]:
            first, other = _representative(lines[0]), _representative(line)
            if other is not first:
                other.links = first
                first.column = first.column or other.column

    def is_column(self, handle: Handle) -> bool:
        """True where the tile of a handle is a column."""
        return _representative(handle.root or handle).column

    def is_turned(self, handle: Handle) -> bool:
        """True where the handle sees a column as a row."""
        return self.is_column(handle) and handle.type.is_row and not handle.type.is_column


def _representative(root: Handle) -> Handle:
    while root.links is not None:
        root = root.links
    return root


def _same_bytes(a: TileType, b: TileType) -> bool:
    if a.dtype != b.dtype or tile_bytes(a) != tile_bytes(b):
        return False
    same = (a.rows, a.cols, a.layout) == (b.rows, b.cols, b.layout)
    return same or (a.is_column and b.is_row) or (a.is_row and b.is_column)
