"""A graph of whole tiles to L1: a grid of programs, each of which computes the box of the outputs that it stores.

The graph is asked for a box of a stored tile and asks its operands for the boxes that it needs, down to the loads. So
a transpose, a slice and a concatenation cost nothing: they change which box of which array is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

from xdsl.ir import Block, SSAValue

from tilebuild.diagnostics import Diagnostic, Span, TilebuildError
from tilebuild.frontend.builder import Builder
from tilebuild.frontend.intrinsics_graph import Array, Graph, Node, pieces, seams
from tilebuild.ir import infer
from tilebuild.ir.base import TileOp
from tilebuild.ir.dialect import (
    BinaryOp,
    CastOp,
    ConstantOp,
    DotOp,
    ForOp,
    FullOp,
    FuncOp,
    LoadOp,
    NarrowOp,
    ProgramOp,
    ReduceOp,
    StoreOp,
    UnaryOp,
    ViewTransposeOp,
    YieldOp,
)
from tilebuild.ir.facts import simplify_valid
from tilebuild.ir.infer import RuleError
from tilebuild.ir.spans import set_span
from tilebuild.ir.types import DTYPES, TileType, ViewType
from tilebuild.plan.bounds import Range
from tilebuild.plan.expr import Expr, cdiv, const, sym

# How much one program computes: enough to keep a block of threads busy, little enough for every on-chip memory.
_MOST_ELEMENTS = 4096
_MOST_COLUMNS = 1024
_PRODUCT, _DEPTH = (64, 32), 32  # rows and columns of a matrix product, and what it sums over in a step
_COMBINE = {"sum": "add", "max": "maximum", "min": "minimum"}


@dataclass(frozen=True)
class Box:
    """A part of a tile, in the tile's own coordinates."""

    start: tuple[Expr, Expr]
    size: tuple[int, int]


def lower(graph: Graph, *, name: str, names: Sequence[str], file: str, span: Span) -> FuncOp:
    """L1 of a kernel, whose arguments are called `names`; raises `TilebuildError` where a type rule is broken."""
    types = [
        _view(names[i], graph.arrays[i]) if i in graph.arrays else DTYPES[graph.scalars[i]] for i in range(len(names))
    ]
    block = Block(arg_types=types)
    strides = {f"{names[i]}__s0": Range(const(0)) for i in graph.arrays}
    lowering = _Lowering(graph, Builder(block, file, (), strides, []), span)
    consts = lowering.run()
    func = FuncOp(name, name, block, params=names, dims=(), consts=consts, requires=(), file=file)
    set_span(func, span)
    func.verify()
    return func


def _view(name: str, array: Array) -> ViewType:
    mode = "inout" if array.loaded and array.stored else "out" if array.stored else "in"
    return ViewType.of(array.dtype, mode, array.shape, (sym(f"{name}__s0"), const(1)))


class _Lowering:
    def __init__(self, graph: Graph, builder: Builder, span: Span) -> None:
        self.graph, self.builder, self.span = graph, builder, span
        self.made: list[dict[tuple[int, Box, bool], SSAValue]] = [{}]  # by block, innermost last
        self.known: dict[int, tuple[frozenset[int], frozenset[int]]] = {}

    def run(self) -> dict[str, int]:
        """Emit the grid, the values and the stores; gives the extents of a program's box."""
        shape = self.graph.stores[0].tile.shape
        sizes = tuple(self.program_extent(axis) or shape[axis] for axis in (0, 1))
        counts = [cdiv(const(n), m) for n, m in zip(shape, sizes)]
        self.builder.span = self.span
        ids = [self.builder.fresh_symbol(i, Range(const(0), n - 1)) for i, n in zip("ij", counts)]
        self.builder.add(ProgramOp(ids, counts))
        values: list[tuple[SSAValue, SSAValue, Box, Span]] = []
        for store in self.graph.stores:
            for box in self.boxes(store.tile, ids):
                values.append((self.value(store.tile, box), self.builder.top.args[store.index], box, store.span))
        for value, array, box, place in values:  # after all loads: a store may overwrite what was loaded
            self.builder.span = place
            self.builder.add(StoreOp(value, array, box.start))
        return {"BM": sizes[0], "BN": sizes[1]}

    # -- how the outputs are divided ------------------------------------------------------------

    def program_extent(self, axis: int) -> int:
        """How many rows or columns a program computes; 0 where it computes all of them."""
        tiles = [s.tile for s in self.graph.stores]
        nodes = self.graph.nodes()
        extent = tiles[0].shape[axis]
        shared = any(a.loaded and a.stored for a in self.graph.arrays.values())
        reduced = any(n.op == "reduce" for n in nodes)
        if shared or any(t.shape[axis] != extent or seams(t, self.known)[axis] for t in tiles):
            return 0
        if any(n.op == "matmul" for n in nodes):
            return 0 if axis == 1 and reduced else _part(extent, _PRODUCT[axis])
        if axis == 1:
            return 0 if reduced else _part(extent, _MOST_COLUMNS)
        # a row that another column of programs would reduce again is computed whole
        widest = max(n.shape[1] for n in nodes) if reduced else self.program_extent(1) or tiles[0].shape[1]
        return _part(extent, max(1, _MOST_ELEMENTS // widest))

    def boxes(self, tile: Node, ids: Sequence[str]) -> Iterator[Box]:
        """What a program stores of a tile: its part of an axis that is divided, else each piece between seams."""
        axes: list[list[tuple[Expr, int]]] = []
        for axis in (0, 1):
            size = self.program_extent(axis)
            if size:
                once = size >= tile.shape[axis]
                axes.append([(const(0) if once else size * sym(ids[axis]), size)])
            else:
                cut = pieces(tile.shape[axis], seams(tile, self.known)[axis])
                axes.append([(const(start), n) for start, n in cut])
        for row, rows in axes[0]:
            for col, cols in axes[1]:
                yield Box((row, col), (rows, cols))

    # -- values ---------------------------------------------------------------------------------

    def value(self, node: Node, box: Box, flipped: bool = False) -> SSAValue:
        """A box of a tile, which has no seam of it inside; `flipped` is the box transposed."""
        key = (id(node), box, flipped)
        for scope in reversed(self.made):
            if key in scope:
                return scope[key]
        with self.rules(node):
            found = self.make(node, box, flipped)
        self.made[-1][key] = found
        return found

    def make(self, node: Node, box: Box, flipped: bool) -> SSAValue:
        (row, col), (rows, cols) = box.start, box.size
        if node.op == "load":
            return self.load(node, box, flipped)
        if node.op == "param":
            return self.builder.top.args[node.index]
        if node.op == "constant":
            return self.built(ConstantOp(node.value, node.dtype), node)
        if node.op == "cast":
            return self.built(CastOp(self.value(node.operands[0], box, flipped), node.dtype), node)
        if node.op == "reduce":
            return self.reduction(node, box, flipped)
        if node.op == "matmul":
            return self.product(node, box, flipped)
        if node.op == "transpose":
            return self.value(node.operands[0], Box((col, row), (cols, rows)), not flipped)
        if node.op == "slice":
            start = (row + node.first[0], col + node.first[1])
            return self.value(node.operands[0], Box(start, box.size), flipped)
        if node.op == "concat":
            a, b = node.operands
            left = a.shape[1]
            if col.value < left:
                return self.value(a, box, flipped)
            return self.value(b, Box((row, col - left), box.size), flipped)
        operands = [self.value(o, self.repeated(o, node, box), flipped) for o in node.operands]
        return self.built(
            UnaryOp(node.op, operands[0]) if len(operands) == 1 else BinaryOp(node.op, operands[0], operands[1]), node
        )

    def repeated(self, operand: Node, node: Node, box: Box) -> Box:
        """The operand's part for a box of an elementwise result: all of an axis that it repeats along."""
        once = [operand.shape[axis] == 1 and node.shape[axis] > 1 for axis in (0, 1)]
        start = [const(0) if o else s for o, s in zip(once, box.start)]
        size = [1 if o else n for o, n in zip(once, box.size)]
        return Box((start[0], start[1]), (size[0], size[1]))

    def load(self, node: Node, box: Box, flipped: bool) -> SSAValue:
        view: SSAValue = self.builder.top.args[node.index]
        start, size = box.start, box.size
        if flipped:
            view = self.built(ViewTransposeOp(view), node)
            start, size = (start[1], start[0]), (size[1], size[0])
        clipped = simplify_valid(infer.load(view.type, start, size), self.builder.ranges)
        return self.built(LoadOp(view, start, clipped), node)

    def reduction(self, node: Node, box: Box, flipped: bool) -> SSAValue:
        """Over the columns, piece by piece."""
        (source,) = node.operands
        found: SSAValue | None = None
        for start, size in pieces(source.shape[1], seams(source, self.known)[1]):
            part = self.value(source, Box((box.start[0], const(start)), (box.size[0], size)), flipped)
            value = self.built(ReduceOp(node.word, part, 0 if flipped else 1), node)
            found = value if found is None else self.built(BinaryOp(_COMBINE[node.word], found, value), node)
        return cast(SSAValue, found)

    def product(self, node: Node, box: Box, flipped: bool) -> SSAValue:
        """Over the shared extent: a loop where it is long and its operands are made lane by lane, else at once."""
        a, b = node.operands
        size = (box.size[1], box.size[0]) if flipped else box.size
        zero = self.built(ConstantOp(0.0 if node.dtype == "f32" else 0, node.dtype), node)
        found = self.built(FullOp(zero, size), node)
        depth = a.shape[1]
        cuts = seams(a, self.known)[1] | seams(b, self.known)[0]
        step = _divisor(depth, _DEPTH)
        if depth > _DEPTH and step >= _DEPTH // 4 and not cuts and _local(a) and _local(b):
            return self.loop(node, box, flipped, found, step)
        for start, part in pieces(depth, cuts):
            found = self.dot(node, box, flipped, found, (const(start), part))
        return found

    def dot(self, node: Node, box: Box, flipped: bool, acc: SSAValue, part: tuple[Expr, int]) -> SSAValue:
        (a, b), (start, size) = node.operands, part
        left = self.value(a, Box((box.start[0], start), (box.size[0], size)), flipped)
        right = self.value(b, Box((start, box.start[1]), (size, box.size[1])), flipped)
        # the product transposed is that of the transposed operands, the other way round
        return self.built(DotOp(right, left, acc) if flipped else DotOp(left, right, acc), node)

    def loop(self, node: Node, box: Box, flipped: bool, acc: SSAValue, step: int) -> SSAValue:
        count = const(node.operands[0].shape[1] // step)
        k = self.builder.fresh_symbol("k", Range(const(0), count - 1))
        body, total = self.step(node, box, flipped, acc, (step * sym(k), step))
        if total.type != acc.type:  # a ragged edge: the loop carries what is valid in each of its steps (D7)
            body.erase(safe_erase=False)
            acc = self.built(NarrowOp(acc, cast(TileType, total.type).valid), node)
            body, total = self.step(node, box, flipped, acc, (step * sym(k), step))
        self.builder.end_symbol(k)
        return self.built(ForOp(k, const(0), count, [acc], body, stages=2), node)

    def step(
        self, node: Node, box: Box, flipped: bool, acc: SSAValue, part: tuple[Expr, int]
    ) -> tuple[Block, SSAValue]:
        """The body of a product's loop, and what it yields."""
        body = Block(arg_types=[acc.type])
        self.made.append({})
        with self.builder.inside(body):
            total = self.dot(node, box, flipped, body.args[0], part)
            self.builder.add(YieldOp([total]))
        self.made.pop()
        return body, total

    # -- operations -----------------------------------------------------------------------------

    def built(self, op: TileOp, node: Node) -> SSAValue:
        self.builder.span = node.span
        self.builder.add(op)
        return op.results[0]

    @contextmanager
    def rules(self, node: Node) -> Iterator[None]:
        try:
            yield
        except RuleError as e:
            raise TilebuildError(Diagnostic(e.code, e.message, node.span, fix=e.fix)) from None


def _local(node: Node) -> bool:
    """Whether each element needs one element of each array: nothing would be computed again in every step."""
    return node.op not in ("reduce", "matmul") and all(_local(o) for o in node.operands)


def _divisor(extent: int, most: int) -> int:
    return next(n for n in range(min(extent, most), 0, -1) if extent % n == 0)


def _part(extent: int, most: int) -> int:
    """A part of an extent, at most so large: one that divides it, where one of a good size does."""
    best = _divisor(extent, most)
    return best if 4 * best >= min(extent, most) else min(extent, most)
