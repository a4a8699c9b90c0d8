"""Gather, scatter and atomic addition on the reference path."""

from __future__ import annotations

from typing import Any

import numpy as np

from tilebuild.lang.reference.dtypes import NUMPY, Values, load
from tilebuild.lang.reference.errors import fail
from tilebuild.lang.reference.tile import Tile, around, describe
from tilebuild.lang.reference.view import NOBODY, SEVERAL, TileSpace, View

_UPDATES = {"add": np.add, "max": np.maximum}


def _indices(idx: Any) -> Values:
    if not isinstance(idx, Tile) or idx.dtype != "i32":
        fail("E202", f"indices are an i32 tile, found {describe(idx)}", ".to(tb.i32)")
    live: Values = idx.live.astype(np.int64)
    return live


def _vector(x: Any) -> View:
    if not isinstance(x, View) or x.data.ndim != 1:
        fail("E205", f"a vector is needed, found {describe(x)}", "x[i]")
    return x


def _rows(x: Any, idx: Values, j: Any) -> tuple[View, slice]:
    """The view and the columns of a tile space of rows."""
    if not isinstance(x, TileSpace) or x.rank != 2 or x.shape[0] != 1:
        fail("E205", f"tiles of one row are needed, found {describe(x)}", "x.tiles(1, BN)")
    if idx.shape[1] > 1:
        fail("E201", "rows are named by a tile of one column", "[BM, 1]")
    columns: slice = x._clip((0, j))[1]
    return x.view, columns


def _gathered(data: Values, idx: Values, oob: str, dtype: str) -> Values:
    """`data[idx]` along the first axis."""
    if oob not in ("zero", "clamp"):
        fail("E320", f"a gather says what an index outside of the array gives, found oob={oob!r}", 'oob="zero"')
    found: Values = load(data[np.clip(idx, 0, len(data) - 1)], dtype).astype(NUMPY[dtype])
    if oob == "zero":
        found[(idx < 0) | (idx >= len(data))] = 0
    return found


def _require_in(view: View) -> None:
    if view.mode != "in":
        fail("E303", f"a gather from {view.name}, which is {view.mode}", "declare it tb.In")


def gather(x: Any, idx: Any, oob: str) -> Tile:
    view = _vector(x)
    _require_in(view)
    found = _gathered(view.data, _indices(idx), oob, view.dtype)
    return Tile(around(found, idx.shape), idx.valid, view.dtype)


def gather_rows(x: Any, idx: Any, j: Any, oob: str) -> Tile:
    index = _indices(idx)
    view, columns = _rows(x, index, j)
    _require_in(view)
    found = _gathered(view.data[:, columns], index[:, 0], oob, view.dtype)
    return Tile(around(found, (idx.shape[0], x.shape[1])), (found.shape[0], found.shape[1]), view.dtype)


def _update(view: View, places: tuple[Any, ...], values: Values, mode: str, unique: bool) -> None:
    """Elements at `places`, all of them inside, which may occur more than once where values meet."""
    if mode not in ("set", *_UPDATES):
        fail("E320", f"a scatter says how values meet, found mode={mode!r}", "set, add or max")
    if view.mode == "in" or (mode != "set" and view.mode != "inout"):
        fail("E303", f"{view.name}, declared {view.mode}, takes part in {mode}", "declare it tb.InOut")
    me = view.launch.number
    if mode == "set":
        if not unique:
            fail("E321", "a scatter that sets elements may set one of them twice", 'mode="add", or unique=True')
        count = np.zeros(view.data.shape, np.int64)
        np.add.at(count, places, 1)
        if (count > 1).any() or (view.writer[places] != NOBODY).any():
            fail("E302", f"an element of {view.name} is set twice, and unique=True says that none is")
        view.writer[places] = me
        view.data[places] = values
        return
    writers = view.writer[places]
    if ((writers != NOBODY) & (writers != SEVERAL)).any() or (view.reader[places] != NOBODY).any():
        fail("E306", f"{view.name} is changed by {mode} here, and touched in another way")
    view.writer[places] = SEVERAL
    with np.errstate(all="ignore"):
        _UPDATES[mode].at(view.data, places, values)


def _require_tile(t: Any, view: View, oob: str) -> None:
    if oob != "drop":
        fail("E320", f"a scatter says what becomes of an index outside of the array, found oob={oob!r}", 'oob="drop"')
    if not isinstance(t, Tile):
        fail("E205", f"a scatter needs a tile, found {describe(t)}")
    if t.dtype != view.dtype:
        fail("E202", f"{describe(t)} goes to {view.dtype} array {view.name}", f".to(tb.{view.dtype})")


def scatter(y: Any, idx: Any, t: Any, *, mode: str, oob: str, unique: bool) -> None:
    view, index = _vector(y), _indices(idx)
    _require_tile(t, view, oob)
    if t.shape != idx.shape:
        fail("E201", f"{describe(t)} is scattered by {describe(idx)}", "one index a lane")
    rows, cols = (min(a, b) for a, b in zip(t.valid, idx.valid))
    index, values = index[:rows, :cols], t.live[:rows, :cols]
    inside = (index >= 0) & (index < len(view.data))
    _update(view, (index[inside],), values[inside], mode, unique)


def scatter_rows(y: Any, idx: Any, t: Any, j: Any, *, mode: str, oob: str, unique: bool) -> None:
    index = _indices(idx)
    view, columns = _rows(y, index, j)
    _require_tile(t, view, oob)
    if t.shape != (idx.shape[0], y.shape[1]):
        fail("E201", f"{describe(t)} is scattered by {describe(idx)} into tiles of {y.shape[1]} columns")
    rows = min(t.valid[0], idx.valid[0])
    cols = min(t.valid[1], columns.stop - columns.start)
    index, values = index[:rows, 0], t.live[:rows, :cols]
    inside = (index >= 0) & (index < len(view.data))
    places = np.broadcast_arrays(index[inside][:, None], columns.start + np.arange(cols))
    _update(view, tuple(places), values[inside], mode, unique)


def atomic_add(y: Any, index: Any, t: Any) -> None:
    if not isinstance(y, TileSpace):
        fail("E205", f"tb.atomic_add takes a tile space, found {describe(y)}", "y.tiles(BM, BN)")
    _require_tile(t, y.view, "drop")
    if t.shape != y.shape:
        fail("E201", f"{describe(t)} is added to a tile space of {list(y.shape)} of {y.view.name}")
    rows, cols = y._clip(index)
    height, width = min(t.valid[0], rows.stop - rows.start), min(t.valid[1], cols.stop - cols.start)
    places = np.ix_(rows.start + np.arange(height), cols.start + np.arange(width))
    _update(y.view, tuple(np.broadcast_arrays(*places)), t.live[:height, :width], "add", False)
