"""L1 to a plan for the vector cores: every operation on whole tiles in vector memory, nothing fused.

A [R, 1] value is a column: col_major, its rows rounded up to whole blocks. Literals, scalar parameters and index
expressions stay scalars where an operation takes one, and become tiles where none does.
"""

from __future__ import annotations

from typing import cast

from xdsl.ir import Block, BlockArgument, Operation, SSAValue

from tilebuild.diagnostics import Span
from tilebuild.ir import infer
from tilebuild.ir.dialect import (
    BinaryOp,
    CastOp,
    ConstantOp,
    FillOp,
    ForOp,
    FullOp,
    IndexOp,
    IotaOp,
    LoadOp,
    NarrowOp,
    ProgramOp,
    ReduceOp,
    SelectOp,
    StoreOp,
    UnaryOp,
    YieldOp,
    _ViewOp,
)
from tilebuild.ir.spans import span_of
from tilebuild.ir.types import TileType, parse_expr
from tilebuild.plan.expr import ONE, const
from tilebuild.plan.model import DTYPE_BYTES, Access, Distributed, Unplaced
from tilebuild.targets.fusion import strip as _strip
from tilebuild.targets.pto import forms
from tilebuild.targets.pto.builder import Builder, Shape, Valid, lanes
from tilebuild.targets.pto.capabilities import BLOCK, CASTS, COLUMN, DTYPES_OF, ELEMENTWISE, TILE, rounding

SCRATCH = "scratch"  # the attribute of the copy that stands for what a row reduction does to its temporary
_SILENT = (ProgramOp, _ViewOp, NarrowOp, ConstantOp, IndexOp, FullOp, YieldOp)


def strip(value: SSAValue) -> SSAValue:
    """The value without what changes nothing that is stored: narrowings, and conversions to its own dtype."""
    value = _strip(value)
    while isinstance(value.owner, CastOp) and value.owner.value.type == value.type:
        value = _strip(value.owner.value)
    return value


class VectorLowering(Builder):
    """See the module."""

    def run(self) -> None:
        self.tiles: dict[SSAValue, str] = {}
        # rows are whole blocks for every dtype of the kernel: a conversion takes tiles of one shape
        results = [r.type for op in self.func.walk() for r in op.results]
        sizes = [DTYPE_BYTES[t.dtype] for t in results if isinstance(t, TileType)]
        self.unit = BLOCK // min(sizes, default=BLOCK)
        self.block(self.func.body.block)

    def block(self, block: Block) -> None:
        for op in block.ops:
            if op in self.live and not isinstance(op, _SILENT):
                self.operation(op)

    def operation(self, op: Operation) -> None:
        span = span_of(op, self.file)
        if isinstance(op, ForOp):
            self.loop(op)
        elif isinstance(op, LoadOp):
            self.load(op, span)
        elif isinstance(op, StoreOp):
            shape, _ = lanes(op.tile)
            valid = self.clipped(op)
            self.require_rows_in_order(op, 0 if shape[1] == 1 else 1)
            source = self.access(self.tile(op.tile, span), shape, valid)
            self.emit("store", [source], self.global_access(op, shape, valid), "MTE3", span)
        elif isinstance(op, UnaryOp):
            self.elementwise(op.op.data, [op.value], op.result, span)
        elif isinstance(op, BinaryOp):
            self.binary(op.op.data, op.lhs, op.rhs, op.result, span)
        elif isinstance(op, ReduceOp):
            self.reduce(op, span)
        elif isinstance(op, CastOp):
            self.cast(op, span)
        elif isinstance(op, FillOp):
            self.fill(op, span)
        else:
            name = {SelectOp: "select", IotaOp: "iota"}.get(type(op), op.name.removeprefix("tile."))
            raise self.lacks(name, span)

    # -- tiles ----------------------------------------------------------------------------------

    def new(self, dtype: str, shape: Shape, span: Span | None) -> str:
        size = DTYPE_BYTES[dtype]
        rows, cols = shape
        layout = COLUMN if cols == 1 else TILE
        if cols == 1:
            rows = _up(rows, self.unit)
        else:
            cols = _up(cols, self.unit)
        return self.buffer(Unplaced("vec", rows * cols * size), dtype, (rows, cols), layout, span)

    def made(self, value: SSAValue, span: Span | None) -> str:
        """A new tile for a value."""
        self.tiles[value] = self.new(infer.dtype_of(value.type), lanes(value)[0], span)
        return self.tiles[value]

    def is_scalar(self, value: SSAValue) -> bool:
        owner = value.owner
        if isinstance(owner, (ConstantOp, IndexOp)):
            return True
        return isinstance(owner, Block) and owner is self.func.body.block

    def uniform(self, value: SSAValue) -> SSAValue | None:
        """The scalar that is in every lane of a value, where there is one."""
        value = strip(value)
        if isinstance(value.owner, FullOp):
            value = strip(value.owner.value)
        return value if self.is_scalar(value) else None

    def scalar(self, value: SSAValue, span: Span | None) -> Access:
        """A scalar register with the value."""
        owner, dtype = value.owner, infer.dtype_of(value.type)
        out = self.access(self.buffer(Distributed("scalar"), dtype, (1, 1), TILE, span), (1, 1), (ONE, ONE))
        if isinstance(owner, ConstantOp):
            self.emit("full", [], out, "S", span, value=owner.value.data)
        elif isinstance(owner, IndexOp):
            self.emit("index", [], out, "S", span, expr=str(parse_expr(owner.expr.data)))
        else:
            self.emit("param", [], out, "S", span, name=self.names[cast(BlockArgument, value).index])
        return out

    def tile(self, value: SSAValue, span: Span | None) -> str:
        """The tile that holds a value; a scalar's is made here."""
        value = strip(value)
        if value in self.tiles:
            return self.tiles[value]
        scalar = self.uniform(value)
        assert scalar is not None, f"no tile for {value}"
        shape, valid = lanes(value)
        name = self.new(infer.dtype_of(value.type), shape, span)
        self.compute("copy", [self.scalar(scalar, span)], self.access(name, shape, valid), span)
        return name

    # -- operations -----------------------------------------------------------------------------

    def load(self, op: LoadOp, span: Span | None) -> None:
        shape, valid = lanes(op.result)
        self.require_rows_in_order(op, 0 if shape[1] == 1 else 1)
        source = self.global_access(op, shape, valid)
        self.emit("load", [source], self.access(self.made(op.result, span), shape, valid), "MTE2", span)

    def compute(self, op: str, reads: list[Access], write: Access, span: Span | None, **attrs: int | str) -> None:
        """An instruction of the vector pipe, where the target has it for the dtype."""
        taken = [forms.operand(self.buffers, a) for a in reads]
        form = forms.chosen(op, taken, forms.operand(self.buffers, write), attrs.get("axis"))
        if form is None:
            raise self.lacks(op, span)
        dtype = self.buffers[write.buffer].dtype
        allowed = DTYPES_OF[self.arch.name].get(form.mnemonic, ())
        if form.mnemonic != "tcvt" and dtype not in allowed:
            names = ", ".join(d for d in allowed if d in DTYPE_BYTES)
            raise self.unsupported(
                f"{op} for {dtype} ({form.mnemonic}: {names or 'none'})", span, "convert to tb.f32 first"
            )
        self.emit(op, reads, write, "V", span, **attrs)

    def elementwise(self, op: str, operands: list[SSAValue], result: SSAValue, span: Span | None) -> None:
        shape, valid = lanes(result)
        reads = [self.access(self.tile(v, span), shape, valid) for v in operands]
        self.compute(op, reads, self.access(self.made(result, span), shape, valid), span)

    def binary(self, op: str, a: SSAValue, b: SSAValue, result: SSAValue, span: Span | None) -> None:
        if op not in ELEMENTWISE:
            raise self.lacks(op, span)
        shape, valid = lanes(result)
        commutes = ELEMENTWISE[op].commutes
        left, right = self.uniform(a), self.uniform(b)
        if left is not None and right is None and commutes:
            a, b, left, right = b, a, right, left
        if left is not None and right is None and op == "sub":  # s - x = -1*x + s, exactly
            minus = self.literal("-1.0" if infer.dtype_of(b.type) == "f32" else "-1", infer.dtype_of(b.type), span)
            negated = self.access(self.new(infer.dtype_of(b.type), shape, span), shape, valid)
            self.compute("mul", [self.full(b, shape, valid, span), minus], negated, span)
            self.compute(
                "add", [negated, self.scalar(left, span)], self.access(self.made(result, span), shape, valid), span
            )
            return
        if right is not None and ELEMENTWISE[op].scalar:
            reads = [self.full(a, shape, valid, span), self.scalar(right, span)]
        elif left is not None and op == "div":
            reads = [self.scalar(left, span), self.full(b, shape, valid, span)]
        else:
            if commutes and lanes(a)[0] != shape:
                a, b = b, a
            reads = [self.full(a, shape, valid, span), self.beside(b, op, shape, valid, span)]
        self.compute(op, reads, self.access(self.made(result, span), shape, valid), span)

    def literal(self, text: str, dtype: str, span: Span | None) -> Access:
        out = self.access(self.buffer(Distributed("scalar"), dtype, (1, 1), TILE, span), (1, 1), (ONE, ONE))
        self.emit("full", [], out, "S", span, value=text)
        return out

    def beside(self, value: SSAValue, op: str, shape: Shape, valid: Valid, span: Span | None) -> Access:
        """The second operand: as it is, where the operation repeats it along rows or columns itself."""
        own, (rows, cols) = lanes(value)[0], shape
        repeats = cols > 1 and bool(ELEMENTWISE[op].row)
        if repeats and own == (1, 1):
            value_rows = self.expand(self.narrow(value, (1, 1), valid, span), (rows, 1), valid, span)
            return value_rows
        if repeats and own in ((rows, 1), (1, cols)):
            return self.narrow(value, own, valid, span)
        return self.full(value, shape, valid, span)

    def narrow(self, value: SSAValue, own: Shape, valid: Valid, span: Span | None) -> Access:
        """A tile of its own extents, as valid as the result that it takes part in."""
        lanes_of = (ONE if own[0] == 1 else valid[0], ONE if own[1] == 1 else valid[1])
        return self.access(self.tile(value, span), own, lanes_of)

    def full(self, value: SSAValue, shape: Shape, valid: Valid, span: Span | None) -> Access:
        """The value repeated to a shape."""
        own = lanes(value)[0]
        if own == shape:
            return self.access(self.tile(value, span), shape, valid)
        scalar = self.uniform(value)
        if scalar is not None:
            out = self.access(self.new(infer.dtype_of(value.type), shape, span), shape, valid)
            self.compute("copy", [self.scalar(scalar, span)], out, span)
            return out
        return self.expand(self.narrow(value, own, valid, span), shape, valid, span)

    def expand(self, source: Access, shape: Shape, valid: Valid, span: Span | None) -> Access:
        """A [R, 1], [1, C] or [1, 1] tile repeated to a shape."""
        own = (source.rows.size.value, source.cols.size.value)
        if own == shape:
            return source
        if own == (1, 1) and shape[0] > 1 and shape[1] > 1:
            source = self.expand(source, (shape[0], 1), valid, span)
        lanes_of = (valid[0], ONE if shape[1] == 1 else valid[1])
        out = self.access(self.new(self.buffers[source.buffer].dtype, shape, span), shape, lanes_of)
        self.compute("copy", [source], out, span)
        return out

    def reduce(self, op: ReduceOp, span: Span | None) -> None:
        shape, valid = lanes(op.value)
        axis, name = op.axis.value.data, op.op.data
        source = self.access(self.tile(op.value, span), shape, valid)
        out = self.access(self.made(op.result, span), *lanes(op.result))
        if shape[axis] == 1:
            self.compute("copy", [source], out, span)
            return
        if self.buffers[source.buffer].layout == COLUMN or axis == 1:
            scratch = self.access(self.new(infer.dtype_of(op.value.type), shape, span), shape, valid)
            self.compute("copy", [source], scratch, span, role=SCRATCH)
            source = scratch
        self.compute(name, [source], out, span, axis=axis)

    def cast(self, op: CastOp, span: Span | None) -> None:
        source, result = infer.dtype_of(op.value.type), infer.dtype_of(op.result.type)
        if strip(op.result) is not op.result:
            return
        if result not in CASTS.get(source, ()):
            known = ", ".join(CASTS.get(source, ())) or "nothing"
            raise self.unsupported(
                f"conversion from {source} to {result}", span, f"from {source} there is one to {known}"
            )
        shape, valid = lanes(op.result)
        read = self.access(self.tile(op.value, span), shape, valid)
        write = self.access(self.made(op.result, span), shape, valid)
        self.compute("cast", [read], write, span, rounding=rounding(source, result))

    def fill(self, op: FillOp, span: Span | None) -> None:
        value = self.uniform(op.fill)
        if value is None or not isinstance(value.owner, ConstantOp):
            raise self.unsupported("fill with anything but a literal", span, "fill with a number, such as 0.0")
        shape, valid = lanes(op.value)
        source = self.access(self.tile(op.value, span), shape, valid)
        out = self.access(self.made(op.result, span), shape, (const(shape[0]), const(shape[1])))
        self.emit("fill", [source], out, "V", span, value=value.owner.value.data)

    # -- loops ----------------------------------------------------------------------------------

    def loop(self, op: ForOp) -> None:
        span = span_of(op, self.file)
        args = op.body.block.args
        for init, arg in zip(op.inits, args):
            self.carry(init, self.made(arg, self.span(init)), arg, self.span(init))
        outside = self.open_loop(op)
        self.block(op.body.block)
        held = {self.tiles[arg] for arg in args}
        sources = []
        for value, arg in zip(op.yielded.values, args):
            name = self.tiles.get(strip(value))
            if name in held and name != self.tiles[arg]:  # it is overwritten by the updates
                kept = self.new(infer.dtype_of(arg.type), lanes(arg)[0], span)
                shape, valid = lanes(arg)
                self.compute("copy", [self.access(name, shape, valid)], self.access(kept, shape, valid), span)
                name = kept
            sources.append(name)
        for value, arg, source in zip(op.yielded.values, args, sources):
            if source == self.tiles[arg]:
                continue
            if source is None:
                self.carry(value, self.tiles[arg], arg, self.span(value))
            else:
                shape, valid = lanes(arg)
                read, write = self.access(source, shape, valid), self.access(self.tiles[arg], shape, valid)
                self.compute("copy", [read], write, self.span(value))
        self.here = outside
        for out, arg in zip(op.outs, args):
            self.tiles[out] = self.tiles[arg]

    def carry(self, value: SSAValue, name: str, arg: SSAValue, span: Span | None) -> None:
        """Write a value into the tile that a loop carries."""
        shape, valid = lanes(arg)
        scalar = self.uniform(value)
        if scalar is None:
            read = self.access(self.tile(value, span), shape, valid)
        else:
            read = self.scalar(scalar, span)
        self.compute("copy", [read], self.access(name, shape, valid), span)


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
