"""L1 to the plan of a block of threads.

Tiles that outlive their nest are register tiles, spread by the kernel's one `Mapping`; loads that several nests need
are made once and kept. Threads meet in shared memory only: the operands of a matrix product are staged there, and
reductions over more threads than a warp has pass through a scratch tile. Every write of shared memory and the reads
of it are separated by a barrier, and so are those reads and the next write of any shared tile: the planner may then
give tiles whose lives do not meet the same bytes.

Operations beyond those of other plans: `stage` (an array or a register tile to a shared tile, by all threads; layout
pad "zero" says that the lanes of its box that are not valid hold zeros), `combine` (the partial results of `width`
neighbouring threads, through shuffles), `put` (each of a row group's `parts` writes its column of a scratch tile),
`get` (all threads reduce a row of it), `barrier`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from xdsl.ir import Operation, SSAValue

from tilebuild.diagnostics import Diagnostic, Span, TilebuildError
from tilebuild.ir import infer
from tilebuild.ir.dialect import DotOp, ForOp, FuncOp, LoadOp, ReduceOp, StoreOp
from tilebuild.ir.spans import span_of
from tilebuild.ir.types import TileType
from tilebuild.plan.expr import Expr, const, emin
from tilebuild.plan.model import (
    DTYPE_BYTES,
    Access,
    AttrValue,
    Buffer,
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
from tilebuild.targets import fusion, optional, signature
from tilebuild.targets.fusion import Item, Loop, Nest, Step, is_cheap, strip, tile_lanes
from tilebuild.targets.simt import registers
from tilebuild.targets.simt.mapping import Limits, Mapping, choose
from tilebuild.targets.simt.nests import NestLowering

SHARED = "shared"
_PLAIN = Layout()
_BANKS_BYTES, _BANK_PAD = 128, 4  # what one access of all banks covers; elements between rows that keep them apart


def lower(func: FuncOp, limits: Limits) -> Plan:
    """The plan of one variant, its shared tiles not yet placed.

    Raises `TilebuildError`: E402 for an operation or dtype that the target lacks, E421 where a thread would have to
    keep more values than it can.
    """
    optional.require(func, limits.target)
    plan = Lowering(func, limits).run()
    registers.check(plan, limits)
    return plan


class Lowering:
    """The plan under construction; `NestLowering` adds the instructions of one nest."""

    def __init__(self, func: FuncOp, limits: Limits) -> None:
        self.func, self.limits, self.file = func, limits, func.file.data
        self.views = signature.Views(func)
        self.tiles: dict[str, Buffer] = {}
        self.regions: list[Region] = [Region(0, 0, "program")]
        self.instructions: list[Instr] = []
        self.symbols: list[Symbol] = signature.symbols(func)
        self.kept: dict[SSAValue, str] = {}  # values and carried arguments in registers
        self.unread = False  # a shared tile was written, or
        self.read = False  # was read, since the last barrier
        self.mapping = Mapping(1, 1, 1)

    def run(self) -> Plan:
        func = self.func
        contract = signature.contract(func, self.limits.target)
        items = fusion.schedule(func, fusion.shared_loads(fusion.schedule(func)))
        self.mapping = self.choose(items)
        self.find_kept(items)
        self.items(items, 0)
        # two blocks side by side: one computes while the other waits for its operands
        dot = any(i.op == "dot" for i in self.instructions)
        launch = Launch(
            tuple(e for _, e in func.program.grid),
            func.program.order.data,
            (self.mapping.threads, self.mapping.groups),
            self.limits.registers // (2 * self.mapping.block) if dot else 0,
        )
        return Plan(
            target=self.limits.target,
            arch=self.limits.arch,
            kernel=func.variant.data,
            variant=func.sym_name.data,
            source=self.file,
            contract=contract,
            symbols=tuple(self.symbols),
            spaces=(Space(SHARED, self.limits.shared_bytes, self.limits.shared_alignment),),
            buffers=(*self.views.buffers.values(), *self.tiles.values()),
            regions=tuple(self.regions),
            instructions=tuple(self.instructions),
            launch=launch,
        )

    def choose(self, items: Sequence[Item]) -> Mapping:
        """The kernel's mapping; raises E402 for what no mapping of this target can do."""
        steps = list(fusion.steps(items))
        dots = [s for s in steps if s.op == "dot"]
        rows = [s for s in steps if isinstance(s.source, ReduceOp) and self.across_rows(s)]
        for s in steps:
            if s.op == "box":
                self.refuse(s.source.name.replace("tile.", "a "), "cut the array instead: x.tiles(BM, BN // 2)", s)
            if s.op == "transpose":
                self.refuse("a transpose of a tile", "transpose the array: x.T.tiles(BN, BM)", s)
        if dots and rows:
            self.refuse("a reduction over rows (axis 0) beside a matrix product", "use two kernels", rows[0])
        # operands of a product lie in shared memory, and do not decide how registers are used
        shapes = [s.lanes[0] for s in steps]
        return choose(shapes, self.limits, dot=bool(dots), across_rows=bool(rows))

    def across_rows(self, step: Step) -> bool:
        return cast(ReduceOp, step.source).axis.value.data == 0 and step.lanes[0][0] > 1

    def refuse(self, what: str, fix: str, step: Step) -> None:
        message = f"the {self.limits.target} target has no way to do {what} yet; the cpu target has"
        raise TilebuildError(Diagnostic("E402", message, span_of(step.source, self.file), fix=fix))

    # -- what is kept in registers --------------------------------------------------------------

    def find_kept(self, items: Sequence[Item]) -> None:
        """A value is kept when anything outside its nest reads it, or when it is not made lane by lane."""
        made = {s.result: n for s, n in fusion.walk(items) if n is not None and s.result is not None}
        for step, nest in fusion.walk(items):
            for operand in step.operands:
                value = strip(operand)
                if value in made and made[value] is not nest:
                    self.keep(value)
            if step.carried is not None:
                self.keep(step.carried)
            if step.result is None or not (nest is None or isinstance(step.source, (ReduceOp, DotOp))):
                continue
            arg = fusion.accumulator(step.source) if isinstance(step.source, DotOp) else None
            self.keep(step.result if arg is None else arg)
            if arg is not None:
                self.kept[step.result] = self.kept[arg]
        for loop in _loops(items):
            for out, arg in zip(loop.op.outs, loop.op.body.block.args):
                self.keep(arg)
                self.kept[out] = self.kept[arg]

    def keep(self, value: SSAValue) -> None:
        if value not in self.kept:
            self.kept[value] = self.register("t", value, self.mapping.tile())

    # -- buffers --------------------------------------------------------------------------------

    def span(self, value: SSAValue) -> Span | None:
        owner = value.owner
        op = owner if isinstance(owner, Operation) else owner.parent_op()
        return span_of(op, self.file) if op is not None else None

    def register(self, prefix: str, value: SSAValue, storage: Storage) -> str:
        """A tile of the value's shape; a scalar is [1, 1]."""
        shape = value.type.shape if isinstance(value.type, TileType) else (1, 1)
        return self.buffer(prefix, storage, infer.dtype_of(value.type), shape, self.span(value))

    def buffer(
        self,
        prefix: str,
        storage: Storage,
        dtype: str,
        shape: tuple[int, int],
        span: Span | None,
        *,
        layout: Layout = _PLAIN,
    ) -> str:
        name = f"{prefix}{len(self.tiles) + 1}"
        self.tiles[name] = Buffer(name, storage, dtype, const(shape[0]), const(shape[1]), layout, span=span)
        return name

    def access(self, buffer: str, valid: tuple[Expr, Expr], shape: tuple[int, int] | None = None) -> Access:
        """The box of a tile from its first element, all of it unless a shape is given."""
        b = self.tiles[buffer]
        rows, cols = (const(shape[0]), const(shape[1])) if shape else (b.rows, b.cols)
        return Access(buffer, Slice(const(0), rows), Slice(const(0), cols), valid)

    def array(self, op: LoadOp | StoreOp, shape: tuple[int, int], valid: tuple[Expr, Expr]) -> Access:
        row, col = op.start
        return Access(self.views.id(op.view), Slice(row, const(shape[0])), Slice(col, const(shape[1])), valid)

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
        number = len(self.instructions)
        ordered = tuple(sorted(attrs.items()))
        self.instructions.append(Instr(number, op, tuple(reads), tuple(writes), region, "", ordered, span))

    def region(self, kind: str, parent: int, **fields: object) -> int:
        self.regions.append(Region(len(self.regions), parent, kind, **fields))  # type: ignore[arg-type]
        return len(self.regions) - 1

    def items(self, items: Sequence[Item], region: int) -> None:
        for item in items:
            if isinstance(item, Nest):
                self.nest(item, region)
            elif isinstance(item, Loop):
                self.loop(item.op, item.items, region)
            else:
                self.dot(item.step, region)

    def nest(self, nest: Nest, region: int) -> None:
        # a fill reads lanes that no nest computes: its operand must be in registers before
        sources = {s: self.stored(s.operands[0], region) for s in nest.steps if s.op == "fill"}
        inside = NestLowering(self, nest, self.region("nest", region, lanes=nest.lanes[1]))
        inside.run(sources)
        self.finish(inside.partials, region)

    def stored(self, operand: SSAValue, region: int) -> str:
        """A register tile that holds the value: its own, or a copy made here of a cheap one."""
        value = strip(operand)
        if value in self.kept:
            return self.kept[value]
        name = self.register("c", value, self.mapping.tile())
        nest = Nest(tile_lanes(value))
        NestLowering(self, nest, self.region("nest", region, lanes=nest.lanes[1])).make(value, name)
        return name

    def loop(self, op: ForOp, items: Sequence[Item], region: int) -> None:
        lower, upper = op.bounds
        name, span = op.id.data, span_of(op, self.file)
        self.symbols.append(Symbol(name, "loop", lower, upper - 1))
        inner = self.region("loop", region, var=name, lower=lower, upper=upper, span=span)
        read, first = self.read, len(self.instructions)
        self.items(items, inner)
        shared = any(i.op in ("stage", "put") for i in self.instructions[first:])
        if shared and self.read:  # the next iteration writes what this one's last barrier does not protect
            self.barrier(inner, span)
        self.read = self.read or read  # the loop may run no iteration at all

    # -- through shared memory ------------------------------------------------------------------

    def shared(
        self, prefix: str, dtype: str, shape: tuple[int, int], span: Span | None, *, layout: Layout = _PLAIN
    ) -> str:
        size = shape[0] * shape[1] * DTYPE_BYTES[dtype]
        return self.buffer(prefix, Unplaced(SHARED, size), dtype, shape, span, layout=layout)

    def barrier(self, region: int, span: Span | None) -> None:
        self.emit("barrier", [], [], region, span)
        self.read = self.unread = False

    def before_write(self, region: int, span: Span | None) -> None:
        """Nobody may still read what the planner may have put into the same bytes."""
        if self.read:
            self.barrier(region, span)
        self.unread = True

    def before_read(self, region: int, span: Span | None) -> None:
        if self.unread:
            self.barrier(region, span)
        self.read = True

    def finish(self, partials: Sequence[tuple[Step, str]], region: int) -> None:
        """The reductions of a nest from each thread's part to the value that all threads of a row group have."""
        warp, threads = self.limits.warp, self.mapping.threads
        width = min(warp, threads) if warp else 1
        waiting: list[tuple[Step, str]] = []
        for step, partial in partials:
            whole = threads == width
            combined = partial
            if width > 1:
                combined = self.kept[cast(SSAValue, step.result)] if whole else self.partial(step)
                reads, writes = self.rows(partial, step), self.rows(combined, step)
                span = span_of(step.source, self.file)
                self.emit("combine", [reads], [writes], region, span, reduce=step.op, width=width)
            if not whole:
                waiting.append((step, combined))
        scratch = [(s, c, self.put(s, c, threads // width, region)) for s, c in waiting]
        for step, _, name in scratch:
            span = span_of(step.source, self.file)
            self.before_read(region, span)
            read = self.access(name, (step.lanes[1][0], self.tiles[name].cols))
            write = self.rows(self.kept[cast(SSAValue, step.result)], step)
            self.emit("get", [read], [write], region, span, axis=1, reduce=step.op)

    def put(self, step: Step, combined: str, parts: int, region: int) -> str:
        span = span_of(step.source, self.file)
        dtype = self.tiles[combined].dtype
        name = self.shared("s", dtype, (step.lanes[0][0], parts), span)
        self.before_write(region, span)
        write = self.access(name, (step.lanes[1][0], const(parts)))
        self.emit("put", [self.rows(combined, step)], [write], region, span, parts=parts)
        return name

    def rows(self, buffer: str, step: Step) -> Access:
        """All rows of a reduction's [R, 1] tile."""
        return self.access(buffer, (step.lanes[1][0], const(1)))

    def partial(self, step: Step) -> str:
        return self.register("p", cast(SSAValue, step.result), self.mapping.partial())

    def dot(self, step: Step, region: int) -> None:
        span = span_of(step.source, self.file)
        a, b, _ = step.operands
        inner = emin(tile_lanes(a)[1][1], tile_lanes(b)[1][0])
        staged = [self.stage(a, region, span, spread=True), self.stage(b, region, span)]
        out = self.access(self.kept[cast(SSAValue, step.result)], step.lanes[1])
        self.before_read(region, span)
        reads = [
            self.access(staged[0], (step.lanes[1][0], inner), tile_lanes(a)[0]),
            self.access(staged[1], (inner, step.lanes[1][1]), tile_lanes(b)[0]),
            out,
        ]
        self.emit("dot", reads, [out], region, span)

    def stage(self, operand: SSAValue, region: int, span: Span | None, *, spread: bool = False) -> str:
        """A copy of the value in shared memory, with zeros in the lanes that are not valid. `spread` lets consecutive
        rows start in different banks: threads read them at the same time."""
        value = strip(operand)
        shape, valid = tile_lanes(value)
        if isinstance(value.owner, LoadOp) and is_cheap(value) and value not in self.kept:
            source = self.array(value.owner, shape, valid)
        else:
            source = self.access(self.stored(value, region), valid)
        pitch = shape[1] + (_BANK_PAD if spread and shape[1] * 4 % _BANKS_BYTES == 0 else 0)
        where = self.span(value) or span
        name = self.shared("s", infer.dtype_of(value.type), (shape[0], pitch), where, layout=Layout(pad="zero"))
        self.before_write(region, span)
        self.emit("stage", [source], [self.access(name, valid, shape)], region, where)
        return name


def _loops(items: Sequence[Item]) -> list[Loop]:
    # inner loops first: an outer one may yield what an inner one gives
    return [found for item in items if isinstance(item, Loop) for found in [*_loops(item.items), item]]
