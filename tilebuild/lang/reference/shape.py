"""Operations that move lanes on the reference path, with the compiler's rules (see `tilebuild.ir.shape`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilebuild.lang.reference.errors import fail
from tilebuild.lang.reference.tile import Tile, around, describe
from tilebuild.lang.reference.view import tile_shape

_AXES = ("rows", "columns")


def _tiles(what: str, *values: Any) -> None:
    for value in values:
        if not isinstance(value, Tile):
            fail("E205", f"{what} needs a tile, found {describe(value)}")


def _full(what: str, t: Tile, axis: int) -> None:
    if t.valid[axis] != t.shape[axis]:
        message = f"{what} moves {_AXES[axis]} of {describe(t)}, of which {t.valid[axis]} are valid"
        fail("E208", message, "make it fully valid first: .fill(0.0)")


def slice(x: Any, start: Any, shape: Any) -> Tile:
    """The box of extents `shape` that starts at `start`, (row, column)."""
    _tiles("a slice", x)
    extents = tile_shape(shape)
    valid = list(x.valid)
    for axis in (0, 1):
        if start[axis] < 0 or start[axis] + extents[axis] > x.shape[axis]:
            end = start[axis] + extents[axis]
            fail("E203", f"a slice of {_AXES[axis]} {start[axis]} to {end} of {describe(x)}")
        if extents[axis] != x.shape[axis]:
            _full("a slice", x, axis)
            valid[axis] = extents[axis]
    rows, cols = (np.s_[s : s + n] for s, n in zip(start, extents))
    return Tile(x.data[rows, cols], (valid[0], valid[1]), x.dtype)


def concat(*tiles: Any, axis: int = 1) -> Tile:
    """Tiles side by side along an axis."""
    _tiles("concat", *tiles)
    if not tiles or axis not in (0, 1):
        fail("E206", f"concat of {len(tiles)} tiles along axis {axis}", "at least one tile, axis 0 or 1")
    first, other = tiles[0], 1 - axis
    for t in tiles:
        if t.shape[other] != first.shape[other] or t.dtype != first.dtype:
            fail("E201", f"concat of {describe(first)} and {describe(t)}", f"one dtype and as many {_AXES[other]}")
        _full("concat", t, axis)
    data = np.concatenate([t.data for t in tiles], axis)
    shared = min(t.valid[other] for t in tiles)
    return Tile(data, (data.shape[0], shared) if axis == 0 else (shared, data.shape[1]), first.dtype)


def interleave(a: Any, b: Any) -> Tile:
    """The columns of two tiles by turns, a's first."""
    _tiles("interleave", a, b)
    if a.shape != b.shape or a.dtype != b.dtype:
        fail("E201", f"interleave of {describe(a)} and {describe(b)}", "give both the same extents and dtype")
    for t in (a, b):
        _full("interleave", t, 1)
    shape = (a.shape[0], 2 * a.shape[1])
    return Tile(np.stack([a.data, b.data], 2).reshape(shape), (min(a.valid[0], b.valid[0]), shape[1]), a.dtype)


def reshape(x: Any, shape: Any) -> Tile:
    """The same lanes, row after row, in rows of another length."""
    _tiles("reshape", x)
    rows, cols = tile_shape(shape)
    if rows * cols != x.data.size:
        fail("E203", f"{describe(x)} reshaped to [{rows}, {cols}]", "give as many lanes as before")
    if (rows, cols) == x.shape:
        return Tile(around(x.live, x.shape), x.valid, x.dtype)
    for axis in (0, 1):
        _full("reshape", x, axis)
    return Tile(x.data.reshape(rows, cols), (rows, cols), x.dtype)
