"""What a kernel of tile intrinsics computes: a graph of whole tiles with static extents, and where they are stored.

Nothing is in memory here, and nothing moves: a transpose, a slice and a concatenation say where elements come from.
`intrinsics_lower` asks the graph for the boxes that a program stores.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from tilebuild.diagnostics import Span

Shape = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Node:
    """A tile. `op`: "load" or "param" of argument `index`, "constant" of `value`, an elementwise operation of the
    table, "cast" (to `dtype`), "reduce" by `word` over the columns, "transpose", "slice" from `first`, "concat" along
    the columns, or "matmul" of two operands."""

    op: str
    operands: tuple[Node, ...]
    shape: Shape
    dtype: str
    span: Span
    index: int = 0
    value: int | float = 0
    word: str = ""
    first: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Store:
    """The tile that one call writes into an array argument."""

    index: int
    tile: Node
    span: Span


@dataclass
class Array:
    """What the calls say of an array argument: the extents and the dtype that all of them agree on."""

    shape: Shape
    dtype: str
    span: Span  # the first call that says so
    loaded: Span | None = None
    stored: Span | None = None


@dataclass(frozen=True)
class Graph:
    """A kernel: `arrays` by argument, `scalars` the dtypes of the other arguments, `stores` in program order."""

    arrays: dict[int, Array]
    scalars: dict[int, str]
    stores: tuple[Store, ...]

    def nodes(self) -> list[Node]:
        """Every tile that something stored depends on, once each."""
        seen: dict[int, Node] = {}
        todo = [s.tile for s in self.stores]
        while todo:
            node = todo.pop()
            if id(node) not in seen:
                seen[id(node)] = node
                todo += node.operands
        return list(seen.values())


def elementwise(op: str, operands: tuple[Node, ...], span: Span) -> Node:
    """An operation of the table on tiles of one shape, or with extents of 1 that repeat."""
    rows, cols = (max(o.shape[axis] for o in operands) for axis in (0, 1))
    return Node(op, operands, (rows, cols), operands[0].dtype, span)


def cast(node: Node, dtype: str, span: Span) -> Node:
    return node if node.dtype == dtype else Node("cast", (node,), node.shape, dtype, span)


def number(value: int | float, dtype: str, span: Span) -> Node:
    return Node("constant", (), (1, 1), dtype, span, value=value)


def reduce(word: str, node: Node, span: Span) -> Node:
    """Over the columns, which stay with extent 1."""
    return Node("reduce", (node,), (node.shape[0], 1), node.dtype, span, word=word)


def sigmoid(x: Node, span: Span) -> Node:
    """1 / (1 + exp(-x)), as the library's; 0 where exp(-x) overflows."""
    return elementwise("div", (number(1.0, x.dtype, span), _one_plus_exp(x, span)), span)


def silu(x: Node, span: Span) -> Node:
    """x * sigmoid(x) as x / (1 + exp(-x)), as the library's."""
    return elementwise("div", (x, _one_plus_exp(x, span)), span)


def _one_plus_exp(x: Node, span: Span) -> Node:
    exponential = elementwise("exp", (elementwise("neg", (x,), span),), span)
    return elementwise("add", (exponential, number(1.0, x.dtype, span)), span)


def softmax(x: Node, span: Span) -> Node:
    """exp(x - the row's maximum) over its sum."""
    e = elementwise("exp", (elementwise("sub", (x, reduce("max", x, span)), span),), span)
    return elementwise("div", (e, reduce("sum", e, span)), span)


def rms_norm(x: Node, eps: Node, span: Span) -> Node:
    """x * rsqrt(mean of x squared over the row + eps)."""
    total = reduce("sum", elementwise("mul", (x, x), span), span)
    mean = elementwise("div", (total, number(float(x.shape[1]), x.dtype, span)), span)
    return elementwise("mul", (x, elementwise("rsqrt", (elementwise("add", (mean, eps), span),), span)), span)


def clamp(x: Node, low: Node, high: Node, span: Span) -> Node:
    """min(max(x, low), high)."""
    return elementwise("minimum", (elementwise("maximum", (x, low), span), high), span)


def matmul(a: Node, b: Node, span: Span) -> Node:
    """a @ b."""
    return Node("matmul", (a, b), (a.shape[0], b.shape[1]), a.dtype, span)


def seams(node: Node, known: dict[int, tuple[frozenset[int], frozenset[int]]]) -> tuple[frozenset[int], frozenset[int]]:
    """Rows and columns of a tile at which a piece of a concatenation starts: no box that is computed in one go may
    have one inside. `known` keeps answers."""
    if id(node) in known:
        return known[id(node)]
    inside = [seams(o, known) for o in node.operands]
    rows: frozenset[int] = frozenset()
    cols: frozenset[int] = frozenset()
    if node.op == "transpose":
        cols, rows = inside[0]
    elif node.op == "slice":
        rows, cols = (
            frozenset(s - at for s in group if at < s < at + size)
            for group, at, size in zip(inside[0], node.first, node.shape)
        )
    elif node.op == "concat":
        left = node.operands[0].shape[1]
        rows = inside[0][0] | inside[1][0]
        cols = inside[0][1] | {left} | {left + s for s in inside[1][1]}
    elif node.op == "reduce":
        rows = inside[0][0]
    elif node.op == "matmul":
        rows, cols = inside[0][0], inside[1][1]
    else:
        rows = rows.union(*(r for (r, _), o in zip(inside, node.operands) if o.shape[0] > 1))
        cols = cols.union(*(c for (_, c), o in zip(inside, node.operands) if o.shape[1] > 1))
    known[id(node)] = rows, cols
    return known[id(node)]


def pieces(extent: int, at: frozenset[int]) -> Iterator[tuple[int, int]]:
    """The parts, as (start, size), that the seams cut an extent into."""
    ends = [0, *sorted(at), extent]
    yield from ((a, b - a) for a, b in pairwise(ends))
