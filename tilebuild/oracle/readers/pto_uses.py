"""Instructions of a PTO function before it is known which of its tiles are columns, and the plan that they make."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Union

from tilebuild.diagnostics import Span
from tilebuild.oracle.readers.pto_tiles import Tiles, tile_bytes
from tilebuild.oracle.readers.pto_values import Handle, Part, View
from tilebuild.plan.expr import ONE, ZERO, Expr, const, sym
from tilebuild.plan.model import Access, AttrValue, Buffer, Distributed, Global, Instr, Placed, Slice

Extents = tuple[int, int]


@dataclass(frozen=True, eq=False)
class TileUse:
    """A box at a tile's corner, as the handle sees it."""

    handle: Handle
    box: Extents


@dataclass(frozen=True, eq=False)
class ArrayUse:
    """A part of an array, of the box of the tile that it is moved from or to."""

    part: Part
    box: Extents
    tile: Handle


@dataclass(frozen=True)
class ScalarUse:
    """A scalar register."""

    name: str


Use = Union[TileUse, ArrayUse, ScalarUse]


@dataclass(eq=False)
class RawInstr:
    """`straight` says that the operation cannot see a column as a row: where one of its tiles is, nothing is known."""

    op: str
    reads: list[Use]
    writes: list[Use]
    region: int
    line: int
    engine: str = ""
    attrs: dict[str, AttrValue] = field(default_factory=dict)
    elementwise: bool = False
    straight: bool = False


class Names:
    """Gives names, each once."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def __call__(self, wanted: str) -> str:
        """The name itself, or with a number where it is taken."""
        name, n = wanted, 1
        while name in self._used:
            n += 1
            name = f"{wanted}_{n}"
        self._used.add(name)
        return name


class Assembler:
    """Turns raw instructions into a plan's buffers and instructions."""

    def __init__(self, tiles: Tiles, file: str) -> None:
        self.tiles, self.file = tiles, file
        self.unique = Names()
        self.buffers: dict[str, Buffer] = {}
        self.names: dict[int, str] = {}
        self.views: dict[tuple[str, bool], str] = {}

    def scalar(self, dtype: str) -> str:
        """A register."""
        name = self.unique("scalar")
        self.buffers[name] = Buffer(name, Distributed("scalar"), dtype, ONE, ONE)
        return name

    def instr(self, number: int, raw: RawInstr) -> Instr:
        handles = [u.handle for u in (*raw.reads, *raw.writes) if isinstance(u, TileUse)]
        turned = [self.tiles.is_turned(h) for h in handles]
        op, attrs = raw.op, dict(raw.attrs)
        mixed = (
            raw.elementwise
            and any(self.tiles.is_column(h) for h in handles)
            and not all(self.tiles.is_column(h) for h in handles)
        )
        if mixed or (raw.straight and any(turned)):
            op = f"pto.{op} of a column seen as a row"
        if "axis" in attrs and turned and turned[0]:
            attrs["axis"] = 1 - int(attrs["axis"])
        reads, writes = (tuple(self.access(u) for u in side) for side in (raw.reads, raw.writes))
        span = Span(self.file, raw.line)
        return Instr(number, op, reads, writes, raw.region, raw.engine, tuple(sorted(attrs.items())), span)

    def access(self, use: Use) -> Access:
        if isinstance(use, ScalarUse):
            return Access(use.name, Slice(ZERO, ONE), Slice(ZERO, ONE), (ONE, ONE))
        rows, cols = (const(n) for n in use.box)
        if isinstance(use, TileUse):
            valid, turned = use.handle.valid, self.tiles.is_turned(use.handle)
            name = self.tile(use.handle)
            start: tuple[Expr, Expr] = (ZERO, ZERO)
        else:
            valid, turned = _two(use.part.sizes), self.tiles.is_turned(use.tile)
            name = self.view(use.part.view, turned)
            start = _two(use.part.offsets, ZERO)
        if turned:
            rows, cols, valid, start = cols, rows, (valid[1], valid[0]), (start[1], start[0])
        return Access(name, Slice(start[0], rows), Slice(start[1], cols), valid)

    def tile(self, handle: Handle) -> str:
        root = handle.root or handle
        if id(root) not in self.names:
            name = self.unique(root.name.lstrip("%"))
            self.names[id(root)] = name
            t = root.type
            rows, cols = (t.cols, t.rows) if self.tiles.is_turned(root) else (t.rows, t.cols)
            storage = (
                Distributed("unresolved") if root.address is None else Placed(t.space, root.address, tile_bytes(t))
            )
            span = Span(self.file, root.line)
            self.buffers[name] = Buffer(name, storage, t.dtype, const(rows), const(cols), t.layout, span=span)
        return self.names[id(root)]

    def view(self, view: View, turned: bool) -> str:
        key = (view.parameter, turned)
        if key not in self.views:
            name = self.unique(view.parameter + ("_turned" if turned else ""))
            self.views[key] = name
            rows, cols = _two(view.extents)
            strides = (sym(f"{view.parameter}__s0") if len(view.extents) > 1 else ZERO, ONE)
            if turned:
                rows, cols, strides = cols, rows, (strides[1], strides[0])
            self.buffers[name] = Buffer(name, Global(view.parameter, ZERO, strides), view.dtype, rows, cols)
        return self.views[key]


def _two(values: tuple[Expr, ...], first: Expr = ONE) -> tuple[Expr, Expr]:
    """One or two directions as two: a vector is one row."""
    return (first, values[0]) if len(values) == 1 else (values[0], values[1])
