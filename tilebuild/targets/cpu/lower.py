"""L1 to the cpu's plan: one region a nest, tiles that outlive their nest in the per-thread arena, the rest fused.

Matrix products read `a` as a contiguous row-major copy and `b` packed in panels of 32 columns.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import cast

from xdsl.ir import BlockArgument, Operation, SSAValue

from tilebuild.diagnostics import Diagnostic, Span, TilebuildError
from tilebuild.ir import infer
from tilebuild.ir.dialect import (
    AssumeOp,
    AtomicAddOp,
    ConcatOp,
    ConstantOp,
    DotOp,
    ForOp,
    FullOp,
    FuncOp,
    GatherOp,
    IndexOp,
    InterleaveOp,
    IotaOp,
    LoadOp,
    ReduceOp,
    ScatterOp,
    ShapeOp,
    SliceOp,
    StoreOp,
    WindowOp,
)
from tilebuild.ir.spans import span_of
from tilebuild.ir.types import TileType, ViewType, parse_expr
from tilebuild.optable import WIDE
from tilebuild.plan.bounds import Range
from tilebuild.plan.expr import Expr, const, emin
from tilebuild.plan.model import (
    Access,
    AttrValue,
    Buffer,
    Fused,
    Instr,
    Launch,
    Layout,
    Plan,
    Region,
    Slice,
    Space,
    Storage,
    Symbol,
    Unplaced,
)
from tilebuild.targets import signature
from tilebuild.targets.clip import Window, clipped
from tilebuild.targets.fusion import (
    Item,
    Loop,
    Nest,
    Single,
    Step,
    accumulator,
    is_cheap,
    schedule,
    strip,
    tile_lanes,
)

ARENA = Space("arena", 1 << 20, 64)
PANEL = 32
_ROW_MAJOR = Layout()
_ARRAYS = (*signature.SCALARS, "f16", "bf16", "i8", "u8", "bool")  # lanes of all take four bytes in the arena
_CASTS = {(a, b) for a, b in itertools.permutations(("f32", "i32", "u32", "bool"), 2)} | {
    (a, b) for a, wide in WIDE.items() for a, b in ((a, wide), (wide, a))
}


def lower(func: FuncOp, arch: str) -> Plan:
    """The plan of one variant, its buffers not yet placed; raises `TilebuildError` E402 for what the target lacks."""
    return _Lowering(func, arch).run()


class _Lowering:
    def __init__(self, func: FuncOp, arch: str) -> None:
        self.func, self.arch, self.file = func, arch, func.file.data
        self.buffers: dict[str, Buffer] = {}
        self.regions: list[Region] = [Region(0, 0, "program")]
        self.instructions: list[Instr] = []
        self.symbols: list[Symbol] = signature.symbols(func)
        self.kept: dict[SSAValue, str] = {}  # values and carried arguments in the arena
        self.views = signature.Views(func)
        self.temporaries = 0

    def run(self) -> Plan:
        func = self.func
        contract = signature.contract(func, "cpu", _ARRAYS)
        items = schedule(func)
        self.find_kept(items)
        assumed = [p for op in func.body.walk() if isinstance(op, AssumeOp) for p in op.predicates]
        # the contract implies them; where they stand in the plan, whoever judges it may use them too
        self.items(items, self.region("branch", 0, when=tuple(assumed)) if assumed else 0)
        grid = func.program.grid
        return Plan(
            target="cpu",
            arch=self.arch,
            kernel=func.variant.data,
            variant=func.sym_name.data,
            source=self.file,
            contract=contract,
            symbols=tuple(self.symbols),
            spaces=(ARENA,),
            buffers=(*self.views.buffers.values(), *self.buffers.values()),
            regions=tuple(self.regions),
            instructions=tuple(self.instructions),
            launch=Launch(tuple(e for _, e in grid), func.program.order.data),
        )

    # -- what must be kept in the arena ---------------------------------------------------------

    def find_kept(self, items: Sequence[Item]) -> None:
        """A value is kept when anything outside its nest reads it, or when it is not made lane by lane."""
        made: dict[SSAValue, Nest] = {}
        self.collect(items, made)
        for step, nest in self.walk(items):
            for operand in step.operands:
                value = strip(operand)
                if value in made and made[value] is not nest:
                    self.keep(value)
            if step.carried is not None:
                self.keep(step.carried)
            if step.result is not None and (nest is None or isinstance(step.source, (ReduceOp, DotOp))):
                arg = accumulator(step.source) if isinstance(step.source, DotOp) else None
                if arg is None:
                    self.keep(step.result)
                else:
                    self.keep(arg)
                    self.kept[step.result] = self.kept[arg]
        for loop in self.loops(items):
            for out, arg in zip(loop.op.outs, loop.op.body.block.args):
                if arg in self.kept:
                    self.kept[out] = self.kept[arg]

    def collect(self, items: Sequence[Item], made: dict[SSAValue, Nest]) -> None:
        for step, nest in self.walk(items):
            if nest is not None and step.result is not None:
                made[step.result] = nest

    def walk(self, items: Sequence[Item]) -> list[tuple[Step, Nest | None]]:
        found: list[tuple[Step, Nest | None]] = []
        for item in items:
            if isinstance(item, Nest):
                found += [(s, item) for s in item.steps]
            elif isinstance(item, Single):
                found.append((item.step, None))
            else:
                found += self.walk(item.items)
        return found

    def loops(self, items: Sequence[Item]) -> list[Loop]:
        # inner loops first: an outer one may yield what an inner one gives
        return [loop for item in items if isinstance(item, Loop) for loop in [*self.loops(item.items), item]]

    def keep(self, value: SSAValue) -> None:
        if value not in self.kept:
            self.kept[value] = self.tile(value.type, "t", self.span(value))

    # -- buffers --------------------------------------------------------------------------------

    def span(self, value: SSAValue) -> Span | None:
        owner = value.owner
        op = owner if isinstance(owner, Operation) else owner.parent_op()
        return span_of(op, self.file) if op is not None else None

    def buffer(
        self,
        prefix: str,
        storage: Storage,
        dtype: str,
        shape: tuple[Expr, Expr],
        *,
        layout: Layout = _ROW_MAJOR,
        span: Span | None = None,
    ) -> str:
        self.temporaries += 1
        name = f"{prefix}{self.temporaries}"
        self.buffers[name] = Buffer(name, storage, dtype, shape[0], shape[1], layout, span=span)
        return name

    def tile(self, t: object, prefix: str, span: Span | None, panels: bool = False) -> str:
        """A tile in the arena; a mask's lanes take four bytes there."""
        shape = t.shape if isinstance(t, TileType) else (1, 1)
        dtype = infer.dtype_of(t)  # type: ignore[arg-type]
        cols = -(-shape[1] // PANEL) * PANEL if panels else shape[1]
        layout = Layout("panels32") if panels else Layout()
        return self.buffer(
            prefix,
            Unplaced("arena", shape[0] * cols * 4),
            dtype,
            (const(shape[0]), const(shape[1])),
            layout=layout,
            span=span,
        )

    # -- instructions ---------------------------------------------------------------------------

    def emit(
        self,
        op: str,
        reads: Sequence[Access],
        writes: Sequence[Access],
        region: int,
        span: Span | None,
        **attrs: AttrValue,
    ) -> None:
        self.instructions.append(
            Instr(
                len(self.instructions), op, tuple(reads), tuple(writes), region, "", tuple(sorted(attrs.items())), span
            )
        )

    def region(self, kind: str, parent: int, **fields: object) -> int:
        self.regions.append(Region(len(self.regions), parent, kind, **fields))  # type: ignore[arg-type]
        return len(self.regions) - 1

    def access(self, buffer: str, valid: tuple[Expr, Expr]) -> Access:
        b = self.buffers[buffer]
        return Access(buffer, Slice(const(0), b.rows), Slice(const(0), b.cols), valid)

    def named(self, op: GatherOp | ScatterOp, cols: int) -> Access:
        """All that the data may name: a vector, or a tile's columns of all rows."""
        view = cast(ViewType, op.view.type)
        rows, extent = infer.extents_2d(view)
        if len(view.dims) == 1:
            one = Slice(const(0), const(1))
            return Access(self.views.id(op.view), one, Slice(const(0), extent), (const(1), extent))
        valid = (rows, emin(cols, extent - op.start))
        return Access(self.views.id(op.view), Slice(const(0), rows), Slice(op.start, const(cols)), valid)

    def global_access(
        self, op: LoadOp | StoreOp | AtomicAddOp, shape: tuple[int, int], valid: tuple[Expr, Expr]
    ) -> Access:
        row, col = op.start
        return Access(self.views.id(op.view), Slice(row, const(shape[0])), Slice(col, const(shape[1])), valid)

    def window(self, op: WindowOp) -> tuple[Access, dict[str, str]]:
        """The part of a window that the array has, and the lane (row, col) where it begins."""
        ranges = {s.name: Range(s.lo, s.hi) for s in self.symbols}
        axes = [
            clipped(Window(start, size, step), extent, ranges)
            for start, size, step, extent in zip(
                op.start, op.result.type.shape, op.steps, infer.extents_2d(cast(ViewType, op.view.type))
            )
        ]
        boxes = [Slice(a.start, const(n), s) for a, n, s in zip(axes, op.result.type.shape, op.steps)]
        access = Access(self.views.id(op.view), boxes[0], boxes[1], (axes[0].length, axes[1].length))
        return access, {"row": str(axes[0].first), "col": str(axes[1].first)}

    def items(self, items: Sequence[Item], region: int) -> None:
        for item in items:
            if isinstance(item, Nest):
                # a fill reads lanes that no nest computes: its operand must be in memory before
                sources = {s: self.stored(s.operands[0], region) for s in item.steps if s.op == "fill"}
                _NestLowering(self, item, self.region("nest", region, lanes=item.lanes[1])).run(sources)
            elif isinstance(item, Single):
                self.single(item.step, region)
            else:
                self.loop(item.op, item.items, region)

    def loop(self, op: ForOp, items: Sequence[Item], region: int) -> None:
        lower, upper = op.bounds
        name = op.id.data
        self.symbols.append(Symbol(name, "loop", lower, upper - 1))
        span = span_of(op, self.file)
        self.items(items, self.region("loop", region, var=name, lower=lower, upper=upper, span=span))

    def single(self, step: Step, region: int) -> None:
        span = span_of(step.source, self.file)
        assert step.result is not None
        out = self.access(self.kept[step.result], step.lanes[1])
        if isinstance(step.source, ShapeOp):
            self.moves(step.source, step, region, span)
            return
        if step.op == "transpose":
            value = step.operands[0]
            self.emit("transpose", [self.access(self.stored(value, region), tile_lanes(value)[1])], [out], region, span)
            return
        a, b, _ = step.operands
        inner = emin(tile_lanes(a)[1][1], tile_lanes(b)[1][0])
        a_access = self.access(self.stored(a, region), (step.lanes[1][0], inner))
        b_access = self.access(self.packed(b, region, span), (inner, step.lanes[1][1]))
        self.emit("dot", [a_access, b_access, out], [out], region, span)

    def moves(self, op: ShapeOp, step: Step, region: int, span: Span | None) -> None:
        """Box by box; along an axis on which nothing moves, no more than the result has valid."""
        assert step.result is not None
        out, valid = self.kept[step.result], step.lanes[1]
        if not isinstance(op, (SliceOp, ConcatOp)):
            lanes = [(valid[0], tile_lanes(v)[1][1]) if isinstance(op, InterleaveOp) else tile_lanes(v)[1]
                     for v in step.operands]  # fmt: skip
            reads = [self.access(self.stored(v, region), lane) for v, lane in zip(step.operands, lanes)]
            self.emit(op.name.removeprefix("tile."), reads, [self.access(out, valid)], region, span)
            return
        for move in op.moves():
            still = [t == (0, n) for t, n in zip(move.target, step.lanes[0])]
            both = [emin(t.size, v) if s else const(t.size) for t, v, s in zip(move.target, valid, still)]
            source = self.stored(step.operands[move.operand], region)
            read, write = (
                Access(name, Slice(const(rows.start), const(rows.size)), Slice(const(cols.start), const(cols.size)),
                       (both[0], both[1]))
                for name, (rows, cols) in ((source, move.source), (out, move.target))
            )  # fmt: skip
            self.emit("box", [read], [write], region, span)

    def stored(self, operand: SSAValue, region: int) -> str:
        """A buffer of the arena that holds the value: its own, or a copy made here of a cheap one."""
        value = strip(operand)
        if value in self.kept:
            return self.kept[value]
        name = self.tile(value.type, "c", self.span(value))
        nest = Nest(tile_lanes(value))
        _NestLowering(self, nest, self.region("nest", region, lanes=nest.lanes[1])).make(value, name)
        return name

    def packed(self, operand: SSAValue, region: int, span: Span | None) -> str:
        value = strip(operand)
        name = self.tile(value.type, "b", self.span(value), panels=True)
        lanes = tile_lanes(value)
        if isinstance(value.owner, LoadOp) and is_cheap(value):
            source = self.global_access(value.owner, lanes[0], lanes[1])
        else:
            source = self.access(self.stored(value, region), lanes[1])
        self.emit("pack", [source], [self.access(name, lanes[1])], region, self.span(value) or span)
        return name


class _NestLowering:
    """The instructions of one nest; cheap values are made once in it."""

    def __init__(self, lowering: _Lowering, nest: Nest, region: int) -> None:
        self.l, self.nest, self.region = lowering, nest, region
        self.local: dict[SSAValue, str] = {}

    def run(self, sources: Mapping[Step, str]) -> None:
        """`sources` names the buffer that each fill reads."""
        for step in self.nest.steps:
            if step.op == "fill":
                self.fill(step, sources[step])
            else:
                self.step(step)

    def fill(self, step: Step, source: str) -> None:
        span = span_of(step.source, self.l.file)
        value = step.operands[1].owner
        if not isinstance(value, ConstantOp):
            raise TilebuildError(
                Diagnostic(
                    "E402", "the cpu target fills with literals only", span, fix="fill with a number, such as 0.0"
                )
            )
        read = self.l.access(source, tile_lanes(step.operands[0])[1])
        self.l.emit("fill", [read], [self.output(step)], self.region, span, value=value.value.data)

    def step(self, step: Step) -> None:
        span = span_of(step.source, self.l.file)
        valid = self.nest.lanes[1]
        if step.op == "load":
            self.l.emit(
                "load",
                [self.l.global_access(cast(LoadOp, step.source), step.lanes[0], valid)],
                [self.output(step)],
                self.region,
                span,
            )
            return
        reads = [self.read(v) for v in step.operands if not isinstance(v.type, ViewType)]
        if isinstance(step.source, GatherOp):
            reads.append(self.l.named(step.source, step.lanes[0][1]))
            by = "row" if len(cast(ViewType, step.source.view.type).dims) == 2 else "element"
            oob = step.source.oob.data
            self.l.emit("gather", reads, [self.output(step)], self.region, span, oob=oob, by=by)
            return
        if isinstance(step.source, ScatterOp):
            by = "row" if len(cast(ViewType, step.source.view.type).dims) == 2 else "element"
            target = self.l.named(step.source, step.lanes[0][1])
            self.l.emit("scatter", reads, [target], self.region, span, mode=step.source.mode.data, by=by)
            return
        if step.op in ("store", "atomic_add"):
            self.l.emit(
                step.op,
                reads,
                [self.l.global_access(cast(StoreOp, step.source), step.lanes[0], valid)],
                self.region,
                span,
            )
            return
        attrs: dict[str, AttrValue] = {}
        if isinstance(step.source, ReduceOp):
            attrs["axis"] = step.source.axis.value.data
        if step.op == "cast":
            self.check_cast(step, span)
        self.l.emit(step.op, reads, [self.output(step)], self.region, span, **attrs)

    def check_cast(self, step: Step, span: Span | None) -> None:
        assert step.result is not None
        pair = infer.dtype_of(step.operands[0].type), infer.dtype_of(step.result.type)
        if pair not in _CASTS and pair[0] != pair[1]:
            raise TilebuildError(
                Diagnostic(
                    "E402",
                    f"the cpu target has no conversion from {pair[0]} to {pair[1]}",
                    span,
                    fix="go through f32 or i32",
                )
            )

    def output(self, step: Step) -> Access:
        target = step.carried if step.carried is not None else step.result
        assert target is not None
        name = self.l.kept.get(target)
        if name is None:
            name = self.l.buffer("v", Fused(), infer.dtype_of(target.type), _shape(target), span=self.l.span(target))
            self.local[target] = name
        return self.l.access(name, self.valid(target))

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
            name = self.l.buffer("v", Fused(), infer.dtype_of(value.type), _shape(value), span=self.l.span(value))
            self.make(value, name)
            self.local[value] = name
        return self.l.access(self.local[value], self.valid(value))

    def make(self, value: SSAValue, name: str) -> None:
        """A cheap value, computed in this nest into `name`."""
        owner = value.owner
        out = self.l.access(name, self.valid(value))
        span = self.l.span(value)
        if isinstance(owner, LoadOp):
            self.l.emit(
                "load", [self.l.global_access(owner, tile_lanes(value)[0], self.valid(value))], [out], self.region, span
            )
        elif isinstance(owner, WindowOp):
            read, place = self.l.window(owner)
            self.l.emit("window", [read], [out], self.region, span, value=owner.fill.data, **place)
        elif isinstance(owner, ConstantOp):
            self.l.emit("full", [], [out], self.region, span, value=owner.value.data)
        elif isinstance(owner, IndexOp):
            self.l.emit("index", [], [out], self.region, span, expr=str(parse_expr(owner.expr.data)))
        elif isinstance(owner, IotaOp):
            self.l.emit("iota", [], [out], self.region, span, axis=owner.axis.value.data)
        elif isinstance(owner, FullOp) and isinstance(owner.value.owner, ConstantOp):
            self.l.emit("full", [], [out], self.region, span, value=owner.value.owner.value.data)
        elif isinstance(owner, FullOp):
            self.l.emit("copy", [self.read(owner.value)], [out], self.region, span)
        else:
            assert isinstance(value, BlockArgument)
            self.l.emit("param", [], [out], self.region, span, name=signature.names(self.l.func)[value.index])


def _shape(value: SSAValue) -> tuple[Expr, Expr]:
    rows, cols = tile_lanes(value)[0]
    return const(rows), const(cols)
