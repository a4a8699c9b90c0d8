"""Builds small plans for the oracle's tests: what a planner would give, by hand.

`Build` appends instructions in program order; `with build.loop(...)`, `build.branch(...)` and `build.nest(...)` open
regions. Boxes are whole buffers unless said otherwise. Every instruction stands on a line of its own of `k.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tilebuild.diagnostics import Span
from tilebuild.plan.expr import Expr, ExprLike, parse, parse_predicates
from tilebuild.plan.model import (
    DTYPE_BYTES,
    Access,
    Buffer,
    Contract,
    Fused,
    Global,
    Instr,
    Launch,
    Layout,
    Parameter,
    Placed,
    Plan,
    Region,
    Slice,
    Space,
    Storage,
    Symbol,
)

ARENA = Space("arena", 4096, 64)


def expr(value: ExprLike | str) -> Expr:
    return parse(value) if isinstance(value, str) else Expr.of(value)


class Build:
    """Parameters `x` (in), `y` (out) and `z` (inout), all [M, N] of f32, and a scalar `s`; views `x`, `y`, `z`."""

    def __init__(self, target: str = "cpu", arch: str = "x86_64", spaces: tuple[Space, ...] = (ARENA,)) -> None:
        self.target, self.arch, self.spaces = target, arch, spaces
        self.parameters = [
            *(Parameter(n, m, "f32", (expr("M"), expr("N"))) for n, m in (("x", "in"), ("y", "out"), ("z", "inout"))),
            Parameter("s", "scalar", "f32"),
        ]
        self.symbols = [Symbol(n, "dim", Expr.of(1)) for n in ("M", "N")]
        self.symbols += [Symbol(f"{n}__s0", "stride", Expr.of(0)) for n in ("x", "y", "z")]
        self.facts: list[str] = []
        self.grid: tuple[Expr, ...] = ()
        self.buffers: list[Buffer] = []
        self.regions = [Region(0, 0, "program")]
        self.instructions: list[Instr] = []
        self.open = [0]
        for name in ("x", "y", "z"):
            self.view(name, name, "M", "N", (f"{name}__s0", 1))

    # -- declarations -----------------------------------------------------------------------------

    def program(self, name: str, extent: str) -> None:
        self.symbols.append(Symbol(name, "program"))
        self.grid = (*self.grid, expr(extent))

    def view(
        self, name: str, parameter: str, rows: ExprLike | str, cols: ExprLike | str,
        strides: tuple[ExprLike | str, ExprLike | str], *, offset: ExprLike | str = 0,
    ) -> str:  # fmt: skip
        storage = Global(parameter, expr(offset), (expr(strides[0]), expr(strides[1])))
        self.buffers.append(Buffer(name, storage, "f32", expr(rows), expr(cols)))
        return name

    def tile(
        self, name: str, rows: int = 4, cols: int = 16, offset: int = 0, *, dtype: str = "f32", size: int = -1,
        space: str = "arena", storage: Storage | None = None, layout: str = "row_major", slot: int = 0, slots: int = 1,
        root: str = "",
    ) -> str:  # fmt: skip
        size = rows * cols * DTYPE_BYTES[dtype] if size < 0 else size
        placed = Placed(space, offset, size) if storage is None else storage
        buffer = Buffer(name, placed, dtype, Expr.of(rows), Expr.of(cols), Layout(layout), slot, slots, root)
        self.buffers.append(buffer)
        return name

    def fused(self, name: str, rows: int = 4, cols: int = 16, dtype: str = "f32") -> str:
        return self.tile(name, rows, cols, dtype=dtype, storage=Fused())

    # -- regions ----------------------------------------------------------------------------------

    @contextmanager
    def region(self, kind: str, **fields: object) -> Iterator[int]:
        self.regions.append(Region(len(self.regions), self.open[-1], kind, **fields))  # type: ignore[arg-type]
        self.open.append(len(self.regions) - 1)
        yield self.open[-1]
        self.open.pop()

    def loop(self, var: str, upper: ExprLike | str, lower: ExprLike | str = 0):  # type: ignore[no-untyped-def]
        if all(s.name != var for s in self.symbols):
            self.symbols.append(Symbol(var, "loop"))
        return self.region("loop", var=var, lower=expr(lower), upper=expr(upper))

    def branch(self, when: str):  # type: ignore[no-untyped-def]
        return self.region("branch", when=parse_predicates(when))

    def nest(self, rows: ExprLike | str = 4, cols: ExprLike | str = 16):  # type: ignore[no-untyped-def]
        return self.region("nest", lanes=(expr(rows), expr(cols)))

    # -- instructions -----------------------------------------------------------------------------

    def box(
        self, name: str, rows: tuple[ExprLike | str, ...] = (), cols: tuple[ExprLike | str, ...] = (),
        valid: tuple[ExprLike | str, ExprLike | str] | None = None,
    ) -> Access:  # fmt: skip
        """`rows` and `cols` are (start, size[, step]); `valid` is the whole box unless given."""
        buffer = next(b for b in self.buffers if b.id == name)
        slices = []
        for part, extent in ((rows, buffer.rows), (cols, buffer.cols)):
            start, size, step = (*part, 1)[:3] if part else (0, extent, 1)
            slices.append(Slice(expr(start), expr(size), int(step)))  # type: ignore[arg-type]
        lanes = (slices[0].size, slices[1].size) if valid is None else (expr(valid[0]), expr(valid[1]))
        return Access(name, slices[0], slices[1], lanes)

    def op(self, op: str, reads: str | list[str | Access], write: str | Access, **attrs: int | str) -> int:
        names: list[str | Access] = list(reads.split()) if isinstance(reads, str) else reads
        accesses = tuple(self.box(r) if isinstance(r, str) else r for r in names)
        result = self.box(write) if isinstance(write, str) else write
        number = len(self.instructions)
        span = Span("k.py", 10 + number, 4, 10 + number, 9)
        values = tuple(sorted(attrs.items()))
        self.instructions.append(Instr(number, op, accesses, (result,), self.open[-1], "", values, span))
        return number

    def load(self, tile: str) -> int:
        """Read the top left corner of x into a whole tile."""
        b = next(b for b in self.buffers if b.id == tile)
        return self.op("load", [self.box("x", (0, b.rows), (0, b.cols))], tile)

    def store(self, tile: str, view: str = "y") -> int:
        b = next(b for b in self.buffers if b.id == tile)
        return self.op("store", tile, self.box(view, (0, b.rows), (0, b.cols)))

    def plan(self) -> Plan:
        facts = tuple(p for text in ("M >= 64 and N >= 64", *self.facts) for p in parse_predicates(text))
        return Plan(
            self.target, self.arch, "k", "v", "k.py", Contract(tuple(self.parameters), facts), tuple(self.symbols),
            self.spaces, tuple(self.buffers), tuple(self.regions), tuple(self.instructions), Launch(self.grid),
        )  # fmt: skip


# -- valid plans, as a compiler makes them ----------------------------------------------------------


def chain() -> Plan:
    """y = exp(x) + x, tile by tile; the third tile reuses no bytes."""
    b = Build()
    for k, name in enumerate("abc"):
        b.tile(name, offset=256 * k)
    b.load("a")
    b.op("exp", "a", "b")
    b.op("add", "a b", "c")
    b.store("c")
    return b.plan()


def reuse() -> Plan:
    """Three tiles of which the last one takes the bytes of the first, which is dead by then."""
    b = Build()
    b.tile("a"), b.tile("b", offset=256), b.tile("c", offset=0)
    b.load("a")
    b.op("exp", "a", "b")
    b.op("neg", "b", "c")
    b.store("c")
    return b.plan()


def ragged() -> Plan:
    """A grid of tiles with ragged edges: softmax's shape, with a nest and a reduction."""
    b = Build()
    b.program("i", "cdiv(M, 4)")
    b.facts.append("N <= 128")
    rows, valid = "min(4, M - 4*i)", ("min(4, M - 4*i)", "min(128, N)")
    b.tile("t", 4, 128, 0), b.tile("m", 4, 1, 2048), b.fused("d", 4, 128)
    x, t = b.box("x", ("4*i", 4), (0, 128), valid), b.box("t", valid=valid)
    m, d = b.box("m", valid=(rows, 1)), b.box("d", valid=valid)
    b.op("load", [x], t)
    b.op("max", [t], m, axis=1)
    with b.nest(*valid):
        b.op("sub", [t, m], d)
        b.op("exp", [d], t)
    b.op("store", [t], b.box("y", ("4*i", 4), (0, 128), valid))
    return b.plan()


def carried() -> Plan:
    """acc = sum of the tiles of a row, over a loop; the accumulator lives through the loop."""
    b = Build()
    b.tile("acc", 4, 16, 0), b.tile("t", 4, 16, 256)
    b.op("full", "", "acc", value="0.0")
    with b.loop("j", "N // 16"):
        b.op("load", [b.box("x", (0, 4), ("16*j", 16))], "t")
        b.op("add", "acc t", "acc")
    b.store("acc")
    return b.plan()


def product() -> Plan:
    """A tiled matrix product with a packed operand."""
    b = Build()
    b.tile("acc", 4, 32, 0), b.tile("a", 4, 16, 512), b.tile("w", 16, 32, 1024, layout="panels32")
    b.op("full", "", "acc", value="0")
    with b.loop("k", 4):
        b.op("load", [b.box("x", (0, 4), ("16*k", 16))], "a")
        b.op("pack", [b.box("x", ("16*k", 16), (0, 32))], "w")
        b.op("dot", "a w acc", "acc")
    b.store("acc")
    return b.plan()
