"""The instructions of one nest; cheap values are made once in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from xdsl.ir import BlockArgument, SSAValue

from tilebuild.diagnostics import Diagnostic, TilebuildError
from tilebuild.ir import infer
from tilebuild.ir.dialect import ConstantOp, FullOp, IndexOp, IotaOp, LoadOp, ReduceOp, StoreOp
from tilebuild.ir.spans import span_of
from tilebuild.ir.types import ViewType, parse_expr
from tilebuild.plan.expr import Expr, const
from tilebuild.plan.model import Access, AttrValue, Fused
from tilebuild.targets.fusion import Nest, Step, strip, tile_lanes

if TYPE_CHECKING:
    from tilebuild.targets.simt.lower import Lowering

_CASTS = {
    ("f32", "i32"), ("i32", "f32"), ("f32", "u32"), ("u32", "f32"), ("i32", "u32"), ("u32", "i32"),
    ("bool", "i32"), ("bool", "u32"), ("bool", "f32"), ("i32", "bool"), ("u32", "bool"), ("f32", "bool"),
}  # fmt: skip


class NestLowering:
    """`partials` collects the reductions that the threads of a row group still have to combine, each with its tile."""

    def __init__(self, lowering: Lowering, nest: Nest, region: int) -> None:
        self.l, self.nest, self.region = lowering, nest, region
        self.local: dict[SSAValue, str] = {}
        self.partials: list[tuple[Step, str]] = []
        self.map = str(lowering.mapping)

    def run(self, sources: Mapping[Step, str]) -> None:
        """`sources` names the tile that each fill reads."""
        for step in self.nest.steps:
            if step.op == "fill":
                self.fill(step, sources[step])
            else:
                self.step(step)

    def fill(self, step: Step, source: str) -> None:
        span = span_of(step.source, self.l.file)
        value = strip(step.operands[1]).owner
        if not isinstance(value, ConstantOp):
            message = f"the {self.l.limits.target} target fills with literals only"
            raise TilebuildError(Diagnostic("E402", message, span, fix="fill with a number, such as 0.0"))
        read = self.l.access(source, tile_lanes(step.operands[0])[1])
        self.l.emit("fill", [read], [self.output(step)], self.region, span, value=value.value.data)

    def step(self, step: Step) -> None:
        span = span_of(step.source, self.l.file)
        valid = self.nest.lanes[1]
        if step.op == "load":
            read = self.l.array(cast(LoadOp, step.source), step.lanes[0], valid)
            self.l.emit("load", [read], [self.output(step)], self.region, span, map=self.map)
            return
        reads = [self.read(v) for v in step.operands if not isinstance(v.type, ViewType)]
        if step.op == "store":
            write = self.l.array(cast(StoreOp, step.source), step.lanes[0], valid)
            self.l.emit("store", reads, [write], self.region, span, map=self.map)
            return
        attrs: dict[str, AttrValue] = {}
        if isinstance(step.source, ReduceOp):
            attrs["axis"] = step.source.axis.value.data
        if step.op == "cast":
            self.check_cast(step)
        self.l.emit(step.op, reads, [self.output(step)], self.region, span, **attrs)

    def check_cast(self, step: Step) -> None:
        pair = infer.dtype_of(step.operands[0].type), infer.dtype_of(cast(SSAValue, step.result).type)
        if pair not in _CASTS and pair[0] != pair[1]:
            message = f"the {self.l.limits.target} target has no conversion from {pair[0]} to {pair[1]}"
            span = span_of(step.source, self.l.file)
            raise TilebuildError(Diagnostic("E402", message, span, fix="go through f32 or i32"))

    def output(self, step: Step) -> Access:
        target = step.carried if step.carried is not None else cast(SSAValue, step.result)
        if self.is_partial(step):
            name = self.l.partial(step)
            self.partials.append((step, name))
        elif target in self.l.kept:
            name = self.l.kept[target]
        else:
            name = self.local[target] = self.l.register("v", target, Fused())
        return self.l.access(name, self.valid(target))

    def is_partial(self, step: Step) -> bool:
        """A reduction whose lanes lie in several threads."""
        along_row = isinstance(step.source, ReduceOp) and step.source.axis.value.data == 1
        return along_row and step.lanes[0][1] > 1 and self.l.mapping.threads > 1

    def valid(self, value: SSAValue) -> tuple[Expr, Expr]:
        """The lanes of a value that this nest touches: its own extent of 1, else the nest's."""
        lanes, own = self.nest.lanes, tile_lanes(value)[0]
        rows, cols = (own[a] if own[a] != lanes[0][a] else None for a in (0, 1))
        return (const(1) if rows == 1 else lanes[1][0], const(1) if cols == 1 else lanes[1][1])

    def read(self, operand: SSAValue) -> Access:
        value = strip(operand)
        if value in self.l.kept:
            return self.l.access(self.l.kept[value], self.valid(value))
        if value not in self.local:
            self.local[value] = self.l.register("v", value, Fused())
            self.make(value, self.local[value])
        return self.l.access(self.local[value], self.valid(value))

    def make(self, value: SSAValue, name: str) -> None:
        """A cheap value, computed in this nest into `name`."""
        owner = value.owner
        out = [self.l.access(name, self.valid(value))]
        span = self.l.span(value)
        if isinstance(owner, LoadOp):
            read = self.l.array(owner, tile_lanes(value)[0], self.valid(value))
            self.l.emit("load", [read], out, self.region, span, map=self.map)
        elif isinstance(owner, ConstantOp):
            self.l.emit("full", [], out, self.region, span, value=owner.value.data)
        elif isinstance(owner, IndexOp):
            self.l.emit("index", [], out, self.region, span, expr=str(parse_expr(owner.expr.data)))
        elif isinstance(owner, IotaOp):
            self.l.emit("iota", [], out, self.region, span, axis=owner.axis.value.data)
        elif isinstance(owner, FullOp) and isinstance(owner.value.owner, ConstantOp):
            self.l.emit("full", [], out, self.region, span, value=owner.value.owner.value.data)
        elif isinstance(owner, FullOp):
            self.l.emit("copy", [self.read(owner.value)], out, self.region, span)
        else:
            assert isinstance(value, BlockArgument)
            self.l.emit("param", [], out, self.region, span, name=self.l.func.params.data[value.index].data)
