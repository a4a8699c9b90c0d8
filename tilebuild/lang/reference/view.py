"""Arrays as a kernel sees them: views without pointers, tile spaces, and who wrote and read each element."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tilebuild.lang.reference.dtypes import NUMPY, Values, load, scalar, store
from tilebuild.lang.reference.errors import fail
from tilebuild.lang.reference.tile import Pair, Tile, around, describe

if TYPE_CHECKING:
    from tilebuild.lang.reference.launch import Launch

NOBODY, SEVERAL = -1, -2  # in `writer` and `reader`; other values are program numbers


@dataclass(frozen=True, eq=False)
class View:
    """A parameter's array, or a part of it. `writer` and `reader` have the array's shape and hold, for each element,
    the program that wrote or read it."""

    launch: Launch
    name: str
    mode: str
    dtype: str
    data: Values
    writer: Values
    reader: Values

    def _part(self, index: Any) -> View:
        return replace(self, data=self.data[index], writer=self.writer[index], reader=self.reader[index])

    @property
    def T(self) -> View:  # noqa: N802
        """The last two dimensions swapped."""
        if self.data.ndim < 2:
            fail("E207", f".T needs two dimensions, {self.name} has {self.data.ndim}", ".col sees a vector as [n, 1]")
        data, writer, reader = (a.swapaxes(-1, -2) for a in (self.data, self.writer, self.reader))
        return replace(self, data=data, writer=writer, reader=reader)

    @property
    def col(self) -> View:
        """A vector as a column, [n, 1]."""
        if self.data.ndim != 1:
            fail(
                "E207", f".col needs a vector, {self.name} has {self.data.ndim} dimensions", "index it first: x[i].col"
            )
        return self._part(np.s_[:, None])

    def __getitem__(self, index: Any) -> View:
        """Leading dimensions dropped by integer indices."""
        indices = _integers(index, self.name)
        if len(indices) >= self.data.ndim:
            fail(
                "E207",
                f"{len(indices)} indices leave nothing of {self.name}, of rank {self.data.ndim}",
                "x.tiles(BN)[j]",
            )
        for axis, (i, extent) in enumerate(zip(indices, self.data.shape)):
            if not 0 <= i < extent:
                fail("E301", f"index {i} is outside axis {axis} of {self.name}, which has {extent} elements")
        return self._part(indices)

    def tiles(self, *extents: int) -> TileSpace:
        """The array as a grid of tiles; a vector takes one extent and gives [1, n] tiles."""
        if self.data.ndim > 2:
            fail(
                "E207",
                f"{self.name} has {self.data.ndim} dimensions, a tile space two",
                "index the leading ones: x[b, h]",
            )
        if len(extents) != self.data.ndim:
            fail(
                "E203", f"tiles{extents} of {self.name}, which has {self.data.ndim} dimension(s)", "one extent for each"
            )
        rows, cols = tile_shape(extents if len(extents) == 2 else (1, *extents))
        return TileSpace(self if self.data.ndim == 2 else self._part(None), (rows, cols), self.data.ndim)

    def window(self, start: Any, shape: Any, stride: Any = 1, *, fill: Any) -> Tile:
        """A tile of elements `stride` apart from `start`, which may be outside; `fill` where the array has none."""
        rank = self.data.ndim
        if rank > 2:
            fail("E207", f"{self.name} has {rank} dimensions, a window two", "index the leading ones: x[b, h]")
        if self.mode != "in":
            fail("E303", f"a window of {self.name}, which is {self.mode}", "declare it tb.In")
        stride = (stride,) * rank if type(stride) is int else stride
        starts, extents, steps = (_integers(v, self.name) for v in (start, shape, stride))
        if {len(starts), len(extents), len(steps)} != {rank}:
            fail("E211", f"a window of {self.name} takes {rank} integer(s) as start, shape and stride")
        if min(extents) < 1 or min(steps) < 1:
            fail("E203", f"a window of shape {extents}, stride {steps}", "integers of at least 1")
        places = [s + k * np.arange(n) for s, n, k in zip(starts, extents, steps)]
        inside = [(p >= 0) & (p < n) for p, n in zip(places, self.data.shape)]
        found = np.full(extents, scalar(fill, self.dtype), NUMPY[self.dtype])
        part = self.data[np.ix_(*(p[here] for p, here in zip(places, inside)))]
        found[np.ix_(*inside)] = load(part, self.dtype)
        data = found if rank == 2 else found[None]
        return Tile(data, (data.shape[0], data.shape[1]), self.dtype)


def tile_shape(extents: Any) -> Pair:
    """Two extents of at least 1 (E203)."""
    good = isinstance(extents, tuple) and len(extents) == 2
    if not good or not all(type(n) is int and n >= 1 for n in extents):
        fail("E203", f"{extents!r} is not a tile shape", "two integers of at least 1: (BM, BN)")
    return extents[0], extents[1]


def _integers(index: Any, name: str) -> tuple[int, ...]:
    indices = index if isinstance(index, tuple) else (index,)
    for i in indices:
        if type(i) is not int:
            fail("E211", f"{name} is indexed with {describe(i)}", "use integers: program ids, loop indices, dimensions")
    return indices


@dataclass(frozen=True)
class TileSpace:
    """A two-dimensional view cut into tiles: `space[i, j]` loads, `space[i, j] = t` stores."""

    view: View
    shape: Pair
    rank: int  # of the array that was cut: indices are as many

    def _clip(self, index: Any) -> tuple[slice, slice]:
        """Where tile `index` lies, clipped to the array."""
        indices = _integers(index, self.view.name)
        if len(indices) != self.rank:
            fail("E211", f"{len(indices)} indices into a tile space of {self.rank} dimensions of {self.view.name}")
        extents = self.view.data.shape
        grid = tuple(-(-n // b) for n, b in zip(extents, self.shape))
        if not all(0 <= i < n for i, n in zip(indices, grid[-self.rank :])):
            tiles, ends, step = (list(a[-self.rank :]) for a in (grid, extents, self.shape))
            fail(
                "E301",
                f"tile {list(indices)} is outside the tile space of {self.view.name}, which has {tiles} tiles (extents "
                f"{ends} in tiles of {step})",
                "let every index run to tb.cdiv(extent, tile extent)",
            )
        starts = (0, *indices)[-2:]
        rows, cols = (slice(i * b, min((i + 1) * b, n)) for i, b, n in zip(starts, self.shape, extents))
        return rows, cols

    def __getitem__(self, index: Any) -> Tile:
        view, box = self.view, self._clip(index)
        if view.mode == "out":
            fail("E303", f"the Out array {view.name} is read", "declare it tb.InOut")
        if view.mode == "inout":
            me, writers, readers = view.launch.number, view.writer[box], view.reader[box]
            if (writers == me).any():
                fail("E306", f"{view.name} is read where this program has written it", "keep the value in a variable")
            _check_shared(view, [me], writers)
            readers[...] = np.where((readers == NOBODY) | (readers == me), me, SEVERAL)
        part = load(view.data[box], view.dtype)
        return Tile(around(part, self.shape), (part.shape[0], part.shape[1]), view.dtype)

    def __setitem__(self, index: Any, tile: Any) -> None:
        view, box = self.view, self._clip(index)
        if view.mode == "in":
            fail("E303", f"the In array {view.name} is written", "declare it tb.Out or tb.InOut")
        if not isinstance(tile, Tile):
            fail("E205", f"a store needs a tile, found {describe(tile)}", "tb.full((BM, BN), value)")
        if tile.shape != self.shape:
            fail("E201", f"{describe(tile)} is stored into a tile space of {list(self.shape)} of {view.name}")
        if tile.dtype != view.dtype:
            fail("E202", f"{describe(tile)} is stored into {view.dtype} array {view.name}", f".to(tb.{view.dtype})")
        corner = np.s_[: tile.valid[0], : tile.valid[1]]
        me, writers, readers = view.launch.number, view.writer[box][corner], view.reader[box][corner]
        others = writers[(writers != NOBODY) & (writers != me)]
        if others.size:
            fail(
                "E302",
                f"{view.launch.describe(int(others[0]))} and {view.launch.describe(me)} write the same element of "
                f"{view.name}",
                "let the program ids choose the tile: store at [i, j]",
            )
        _check_shared(view, readers[readers != me], [me])
        writers[...] = me
        view.data[box][corner] = store(tile.data, view.dtype)[: writers.shape[0], : writers.shape[1]]


def _check_shared(view: View, readers: Any, writers: Any) -> None:
    """No program reads what another one writes: programs run in no order (E306)."""
    found = [[int(n) for n in np.unique(group) if n != NOBODY] for group in (readers, writers)]
    if all(found):
        reading, writing = (view.launch.describe(n) if n != SEVERAL else "several programs" for n, *_ in found)
        fail(
            "E306",
            f"an element of the InOut array {view.name} is read in {reading} and written in {writing}",
            "programs run in no order: read an In array, write an Out array",
        )
