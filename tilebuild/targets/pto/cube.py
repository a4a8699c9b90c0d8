"""L1 to a plan for the matrix cores: loads into L1, copies into L0A and L0B, products into L0C, stores from there.

On these parts matrix and vector work run on different cores that meet in global memory only, so a cube kernel holds
loads, products and stores and nothing else.
"""

from __future__ import annotations

from xdsl.ir import Block, BlockArgument, Operation, SSAValue

from tilebuild.diagnostics import Span
from tilebuild.ir import infer
from tilebuild.ir.dialect import (
    ConstantOp,
    DotOp,
    ForOp,
    FullOp,
    LoadOp,
    NarrowOp,
    ProgramOp,
    StoreOp,
    YieldOp,
    _ViewOp,
)
from tilebuild.ir.spans import span_of
from tilebuild.plan.bounds import nonnegative
from tilebuild.plan.expr import Expr, emin
from tilebuild.plan.model import DTYPE_BYTES, Layout, Unplaced
from tilebuild.targets.fusion import strip
from tilebuild.targets.pto.builder import Builder, Shape, Valid, lanes
from tilebuild.targets.pto.capabilities import ACC, BLOCK, BOX_ROWS, DOTS, MAT, MOST_DOT, RIGHT

_SILENT = (ProgramOp, _ViewOp, NarrowOp, ConstantOp, FullOp, YieldOp)


class CubeLowering(Builder):
    """See the module."""

    def run(self) -> None:
        self.tiles: dict[SSAValue, str] = {}
        self.fresh: set[str] = set()  # accumulators that are zero and of which no product has been made yet
        self.block(self.func.body.block)

    def block(self, block: Block) -> None:
        for op in block.ops:
            if op not in self.live or isinstance(op, _SILENT):
                continue
            span = span_of(op, self.file)
            if isinstance(op, ForOp):
                self.loop(op, span)
            elif isinstance(op, LoadOp):
                self.load(op, span)
            elif isinstance(op, DotOp):
                self.dot(op, span)
            elif isinstance(op, StoreOp):
                self.store(op, span)
            else:
                raise self.mixed(op, span)

    def mixed(self, op: Operation, span: Span | None) -> Exception:
        dot = next(o for o in self.func.walk() if isinstance(o, DotOp))
        notes = ((span_of(dot, self.file), "the product is made by the matrix cores"),)
        what = f"core for a product and {op.name} in one kernel: vector work runs on other cores"
        return self.unsupported(what, span, "store the product, and do the rest in a second kernel", notes)

    def boxed(self, space: str, dtype: str, shape: Shape, layout: Layout, span: Span | None) -> str:
        unit = max(BOX_ROWS, BLOCK // DTYPE_BYTES[dtype])
        rows, cols = (-(-n // unit) * unit for n in shape)
        if max(rows, cols) > MOST_DOT:
            raise self.unsupported(
                f"matrix instruction with an extent above {MOST_DOT}", span, "give the variant smaller tile constants"
            )
        return self.buffer(Unplaced(space, rows * cols * DTYPE_BYTES[dtype]), dtype, (rows, cols), layout, span)

    def load(self, op: LoadOp, span: Span | None) -> None:
        shape, valid = lanes(op.result)
        self.require_rows_in_order(op, 1)
        name = self.boxed("mat", infer.dtype_of(op.result.type), shape, MAT, span)
        self.tiles[op.result] = name
        self.emit("load", [self.global_access(op, shape, valid)], self.access(name, shape, valid), "MTE2", span)

    def dot(self, op: DotOp, span: Span | None) -> None:
        types = tuple(infer.dtype_of(v.type) for v in (op.acc, op.a, op.b))
        if types not in DOTS:
            known = "; ".join(", ".join(t) for t in sorted(DOTS))
            raise self.unsupported(
                f"product of {types[1]} and {types[2]} into {types[0]}", span, f"(acc, a, b) may be {known}"
            )
        (m, k), (_, n) = lanes(op.a)[0], lanes(op.b)[0]
        rows, cols = lanes(op.result)[1]
        inner = emin(lanes(op.a)[1][1], lanes(op.b)[1][0])
        a = self.operand(op.a, "left", (m, k), (rows, inner), span)
        b = self.operand(op.b, "right", (k, n), (inner, cols), span)
        acc = self.accumulator(op.acc, (m, n), (rows, cols), span)
        out = self.access(acc, (m, n), (rows, cols))
        reads = [self.access(a, (m, k), (rows, inner)), self.access(b, (k, n), (inner, cols)), out]
        self.emit("dot", reads, out, "M", span)
        self.tiles[op.result] = acc

    def operand(self, value: SSAValue, space: str, shape: Shape, valid: Valid, span: Span | None) -> str:
        value = strip(value)
        if value not in self.tiles or not isinstance(value.owner, LoadOp):
            raise self.mixed(value.owner if isinstance(value.owner, Operation) else self.func, span)
        layout = self.arch.left if space == "left" else RIGHT
        name = self.boxed(space, infer.dtype_of(value.type), shape, layout, span)
        source = self.access(self.tiles[value], shape, valid)
        self.emit("copy", [source], self.access(name, shape, valid), "MTE1", span)
        return name

    def accumulator(self, value: SSAValue, shape: Shape, valid: Valid, span: Span | None) -> str:
        """The tile of an accumulator, zero where nothing has been added to it."""
        value = strip(value)
        if value in self.tiles:
            return self.tiles[value]
        if not _is_zero(value):
            what = "product that is added to anything but zeros or a product"
            raise self.unsupported(what, span, "start from tb.zeros, and add the rest in a second kernel")
        name = self.boxed("acc", infer.dtype_of(value.type), shape, ACC, span)
        self.emit("full", [], self.access(name, shape, valid), "M", span, value="0")
        return name

    def loop(self, op: ForOp, span: Span | None) -> None:
        lower, upper = op.bounds
        args = op.body.block.args
        if args and not nonnegative(upper - lower - 1, self.ranges):
            what = f"product over a loop from {lower} to {upper}, which may not run at all"
            raise self.unsupported(what, span, "let the loop run over tb.cdiv of a dimension")
        for init, arg in zip(op.inits, args):
            dot = _product_of(op, arg)
            if dot is None or not _is_zero(strip(init)):
                what = "loop that carries anything but one product, started from zeros"
                raise self.unsupported(what, span, "carry the accumulator of one tb.dot, from tb.zeros")
            shape, valid = lanes(arg)
            self.tiles[arg] = self.accumulator(init, shape, valid, self.span(init))
        outside = self.open_loop(op)
        self.block(op.body.block)
        self.here = outside
        for out, arg in zip(op.outs, args):
            self.tiles[out] = self.tiles[arg]

    def store(self, op: StoreOp, span: Span | None) -> None:
        value = strip(op.tile)
        if value not in self.tiles or self.buffers[self.tiles[value]].layout != ACC:
            raise self.mixed(value.owner if isinstance(value.owner, Operation) else op, span)
        shape, _ = lanes(op.tile)
        valid: tuple[Expr, Expr] = self.clipped(op)
        self.require_rows_in_order(op, 1)
        source = self.access(self.tiles[value], shape, valid)
        self.emit("store", [source], self.global_access(op, shape, valid), "FIX", span)


def _is_zero(value: SSAValue) -> bool:
    source = value.owner.value.owner if isinstance(value.owner, FullOp) else None
    return isinstance(source, ConstantOp) and float(source.value.data) == 0.0


def _product_of(op: ForOp, arg: BlockArgument) -> DotOp | None:
    """The one product of a loop's body that adds to a carried value, which only it reads, and which is carried on."""
    uses = [use.operation for use in arg.uses]
    if len(uses) != 1 or not isinstance(uses[0], DotOp) or uses[0].acc is not arg:
        return None
    return uses[0] if uses[0].parent_op() is op and op.yielded.values[arg.index] is uses[0].result else None
