"""What both kinds of kernel, vector and cube, start from: signature, views, buffers, instructions, regions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from xdsl.ir import Block, BlockArgument, Operation, SSAValue

from tilebuild.diagnostics import Diagnostic, Span, TilebuildError
from tilebuild.ir import infer
from tilebuild.ir.dialect import ForOp, FuncOp, LoadOp, StoreOp, YieldOp, _ViewOp
from tilebuild.ir.facts import facts_to_ranges, simplify
from tilebuild.ir.spans import parameter_span, span_of
from tilebuild.ir.types import TileType, ViewType
from tilebuild.plan.bounds import Range
from tilebuild.plan.expr import ONE, ZERO, Expr, const, emin, parse_predicates
from tilebuild.plan.model import (
    Access,
    AttrValue,
    Buffer,
    Contract,
    Distributed,
    Global,
    Instr,
    Launch,
    Layout,
    Parameter,
    Plan,
    Region,
    Slice,
    Storage,
    Symbol,
)
from tilebuild.targets.pto.capabilities import ALTERNATIVES, ARCHITECTURES, DTYPES

Shape = tuple[int, int]
Valid = tuple[Expr, Expr]


def lanes(value: SSAValue) -> tuple[Shape, Valid]:
    """Extents and valid region of a tile; a scalar is one lane."""
    t = value.type
    return (t.shape, t.valid) if isinstance(t, TileType) else ((1, 1), (ONE, ONE))


class Builder:
    """A plan under construction from one kernel variant."""

    def __init__(self, func: FuncOp, arch: str) -> None:
        self.func, self.arch, self.file = func, ARCHITECTURES[arch], func.file.data
        self.names = [p.data for p in func.params]
        self.buffers: dict[str, Buffer] = {}
        self.regions: list[Region] = [Region(0, 0, "program")]
        self.instructions: list[Instr] = []
        self.symbols: list[Symbol] = []
        self.ranges: dict[str, Range] = {}
        self.views: dict[SSAValue, str] = {}
        self.here = 0  # the region that instructions go to
        self.live = _live(func.body.block)
        self.signature()

    # -- the signature --------------------------------------------------------------------------

    def signature(self) -> None:
        self.ranges = {d.data: Range(ONE) for d in self.func.dims}
        facts_to_ranges([r.data for r in self.func.requires], self.ranges)
        self.symbols += [Symbol(n, "dim", r.lo, r.hi) for n, r in self.ranges.items()]
        for name, arg in zip(self.names, self.func.body.block.args):
            self.require_dtype(infer.dtype_of(arg.type), name)
            if isinstance(arg.type, ViewType):
                for axis in range(len(arg.type.dims) - 1):
                    self.symbols.append(Symbol(f"{name}__s{axis}", "stride", ZERO))
                    self.ranges[f"{name}__s{axis}"] = Range(ZERO)
        for name, extent in self.func.program.grid:
            self.symbols.append(Symbol(name, "program", ZERO, extent - 1))
            self.ranges[name] = Range(ZERO, extent - 1)

    def require_dtype(self, dtype: str, name: str) -> None:
        if dtype not in DTYPES:
            message = f"{name} is {dtype}: the pto target has {', '.join(DTYPES)}"
            raise TilebuildError(
                Diagnostic("E402", message, parameter_span(self.func, name), fix="use tb.f32 or tb.i32")
            )

    def plan(self) -> Plan:
        parameters = []
        for name, arg in zip(self.names, self.func.body.block.args):
            t = arg.type
            array = isinstance(t, ViewType)
            mode, dims = (t.mode, t.dims) if isinstance(t, ViewType) else ("scalar", ())
            parameters.append(Parameter(name, mode, infer.dtype_of(t), dims if array else ()))
        facts = tuple(p for r in self.func.requires for p in parse_predicates(r.data))
        used = {a.buffer for i in self.instructions for a in (*i.reads, *i.writes)}
        program = self.func.program
        return Plan(
            target="pto",
            arch=self.arch.name,
            kernel=self.func.variant.data,
            variant=self.func.sym_name.data,
            source=self.file,
            contract=Contract(tuple(parameters), facts),
            symbols=tuple(self.symbols),
            spaces=self.arch.spaces,
            buffers=tuple(b for b in self.buffers.values() if b.id in used),
            regions=tuple(self.regions),
            instructions=tuple(self.instructions),
            launch=Launch(tuple(e for _, e in program.grid), program.order.data),
        )

    # -- buffers and views ----------------------------------------------------------------------

    def span(self, value: SSAValue) -> Span | None:
        owner = value.owner
        op = owner if isinstance(owner, Operation) else owner.parent_op()
        return span_of(op, self.file) if op is not None else None

    def buffer(self, storage: Storage, dtype: str, shape: Shape, layout: Layout, span: Span | None) -> str:
        name = f"{'s' if isinstance(storage, Distributed) else 't'}{len(self.buffers)}"
        self.buffers[name] = Buffer(name, storage, dtype, const(shape[0]), const(shape[1]), layout, span=span)
        return name

    def view(self, value: SSAValue) -> str:
        """The two-dimensional view of an array as a buffer."""
        if value not in self.views:
            root = value
            while isinstance(root.owner, _ViewOp):
                root = root.owner.source
            parameter = self.names[cast(BlockArgument, root).index]
            t = cast(ViewType, value.type)
            name = parameter if value is root else f"{parameter}_{len(self.views)}"
            storage = Global(parameter, t.offset, infer.strides_2d(t))
            self.buffers[name] = Buffer(name, storage, t.dtype, *infer.extents_2d(t))
            self.views[value] = name
        return self.views[value]

    # -- instructions ---------------------------------------------------------------------------

    def emit(
        self, op: str, reads: Sequence[Access], write: Access, engine: str, span: Span | None, **attrs: AttrValue
    ) -> None:
        self.instructions.append(
            Instr(
                len(self.instructions),
                op,
                tuple(reads),
                (write,),
                self.here,
                engine,
                tuple(sorted(attrs.items())),
                span,
            )
        )

    def access(self, buffer: str, shape: Shape, valid: Valid) -> Access:
        """The box of a tile's own extents at its corner; what rounding up added is never touched."""
        clamped = (emin(shape[0], valid[0]), emin(shape[1], valid[1]))
        return Access(buffer, Slice(ZERO, const(shape[0])), Slice(ZERO, const(shape[1])), clamped)

    def global_access(self, op: LoadOp | StoreOp, shape: Shape, valid: Valid) -> Access:
        row, col = op.start
        clamped = (emin(shape[0], valid[0]), emin(shape[1], valid[1]))
        return Access(self.view(op.view), Slice(row, const(shape[0])), Slice(col, const(shape[1])), clamped)

    def clipped(self, op: StoreOp) -> Valid:
        """The lanes that a store writes: those valid in the tile and inside the array."""
        _, valid = lanes(op.tile)
        rows, cols = infer.extents_2d(cast(ViewType, op.view.type))
        return (
            simplify(emin(valid[0], rows - op.start[0]), self.ranges),
            simplify(emin(valid[1], cols - op.start[1]), self.ranges),
        )

    def open_loop(self, op: ForOp) -> int:
        """Go into a loop; gives the region that it stands in."""
        lower, upper = op.bounds
        name = op.id.data
        self.symbols.append(Symbol(name, "loop", lower, upper - 1))
        self.ranges[name] = Range(lower, upper - 1)
        outside = self.here
        span = span_of(op, self.file)
        self.regions.append(Region(len(self.regions), outside, "loop", name, lower, upper, span=span))
        self.here = len(self.regions) - 1
        return outside

    def unsupported(
        self, what: str, span: Span | None, fix: str = "", notes: tuple[tuple[Span | None, str], ...] = ()
    ) -> TilebuildError:
        return TilebuildError(Diagnostic("E402", f"pto:{self.arch.name} has no {what}", span, notes, fix))

    def lacks(self, op: str, span: Span | None) -> TilebuildError:
        alternative = ALTERNATIVES.get(op, "")
        return self.unsupported(f"operation for {op}", span, f"write {alternative}" if alternative else "")

    def require_rows_in_order(self, op: LoadOp | StoreOp, axis: int) -> None:
        """Tiles move along the array's innermost direction; axis says which one of the view that must be."""
        strides = infer.strides_2d(cast(ViewType, op.view.type))
        extents = infer.extents_2d(cast(ViewType, op.view.type))
        if strides[axis] != ONE and extents[axis] != ONE:
            what = "load or store of elements that do not lie next to each other"
            raise self.unsupported(
                what,
                span_of(op, self.file),
                "keep the array in the order in which it is read: no .T, no single columns",
            )


def _live(block: Block) -> set[Operation]:
    """The operations that a store or a loop needs."""
    found: set[Operation] = set()
    needed: set[SSAValue] = set()

    def visit(b: Block) -> None:
        for op in reversed(list(b.ops)):
            if isinstance(op, ForOp):
                needed.update((*op.inits, *op.yielded.values))
                visit(op.body.block)
                found.add(op)
            elif isinstance(op, (StoreOp, YieldOp)) or any(r in needed for r in op.results):
                needed.update(op.operands)
                found.add(op)

    visit(block)
    return found
