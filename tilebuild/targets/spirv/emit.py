"""The plan of a block of threads to a module: one entry point, one workgroup a program."""

from __future__ import annotations

from collections.abc import Sequence

from tilebuild.diagnostics import Span
from tilebuild.optable import COMBINE
from tilebuild.plan.expr import Expr, const
from tilebuild.plan.model import Access, Global, Instr, Placed, Plan
from tilebuild.plan.tree import Item, Node, tree
from tilebuild.targets.simt.mapping import Mapping
from tilebuild.targets.spirv import interface
from tilebuild.targets.spirv.builder import Builder
from tilebuild.targets.spirv.indices import Indices
from tilebuild.targets.spirv.module import Module
from tilebuild.targets.spirv.nest import Nest
from tilebuild.targets.spirv.scalars import Scalars
from tilebuild.targets.spirv.threads import Key, Threads, extents

_WORKGROUP, _ACQUIRE_RELEASE_WORKGROUP = 2, 0x108  # a scope, and AcquireRelease | WorkgroupMemory


def emit(plan: Plan, *, keep_nan: bool) -> tuple[Module, list[Span | None]]:
    """The module of a variant, its entry point named as the variant, and the Python line of each instruction.

    Raises `TilebuildError`: E411 too many push constants, E412 an index that may not fit into 32 bits.
    """
    return _Kernel(plan).run(keep_nan)


class _Kernel:
    def __init__(self, plan: Plan) -> None:
        self.plan, self.b = plan, Builder()
        self.buffers = {b.id: b for b in plan.buffers}
        self.indices = Indices(self.b, plan)
        self.interface = interface.declare(self.b, Scalars(self.b), plan)
        threads, groups = plan.launch.block
        self.t = Threads(self.b, self.interface, self.indices, Mapping(groups, threads, 1))

    def run(self, keep_nan: bool) -> tuple[Module, list[Span | None]]:
        b, mapping = self.b, self.t.mapping
        b.add("Capability", "Shader")
        b.add("MemoryModel", "Logical", "GLSL450")
        self.declare_shared()
        inputs = {n: self.builtin(n) for n in ("WorkgroupId", "NumWorkgroups", "LocalInvocationId")}
        with b.function() as function:
            self.arguments()
            self.positions(inputs["LocalInvocationId"])
            self.programs(inputs["WorkgroupId"], inputs["NumWorkgroups"])
        variables = [*inputs.values(), *self.interface.variables(), *([self.t.shared] if self.t.shared else [])]
        b.add("EntryPoint", "GLCompute", function, self.plan.variant, *variables)
        b.add("ExecutionMode", function, "LocalSize", mapping.threads, mapping.groups, 1)
        if keep_nan:
            b.add("Capability", "SignedZeroInfNanPreserve")
            b.add("ExecutionMode", function, "SignedZeroInfNanPreserve", 32)
        return b.finish()

    # -- the start -----------------------------------------------------------------------------------

    def builtin(self, name: str) -> int:
        variable = self.b.variable("Input", self.b.once("TypeVector", self.b.uint_t(), 3), name)
        self.b.add("Decorate", variable, "BuiltIn", name)
        return variable

    def declare_shared(self) -> None:
        tiles = [b for b in self.plan.buffers if isinstance(b.storage, Placed)]
        if not tiles:
            return
        dtypes = {b.dtype for b in tiles}
        if len(dtypes) == 1:
            (self.t.shared_dtype,) = dtypes
        words = -(-sum(self.plan.scratch().values()) // 4)
        array = self.b.once(
            "TypeArray", self.t.scalars.type(self.t.shared_dtype), self.b.constant(self.b.uint_t(), words)
        )
        self.t.shared = self.b.variable("Workgroup", array, "shared")

    def arguments(self) -> None:
        for slot, member in self.interface.members.items():
            kind, name, *axis = slot.split(":")
            type_ = self.t.scalars.type(self.interface.dtypes[name] if kind == "scalar" else "i32")
            pointer = self.b.op(
                "AccessChain", self.b.pointer("PushConstant", type_), self.interface.push, self.b.i(member)
            )
            symbol = {"dim": name, "stride": f"{name}__s{axis[0] if axis else ''}"}.get(kind, slot)
            self.indices.symbols[symbol] = self.b.load(type_, pointer)

    def component(self, vector: int, axis: int) -> int:
        element = self.b.op("CompositeExtract", self.b.uint_t(), vector, axis)
        return self.b.op("Bitcast", self.b.int_t(), element)

    def positions(self, variable: int) -> None:
        local = self.b.load(self.b.once("TypeVector", self.b.uint_t(), 3), variable)
        # an axis with one position is left out of all arithmetic
        self.t.thread = self.component(local, 0) if self.t.mapping.threads > 1 else 0
        self.t.group = self.component(local, 1) if self.t.mapping.groups > 1 else 0

    def programs(self, ids: int, counts: int) -> None:
        """The workgroups stand in rows as long as the device allows; those past the grid's end do nothing."""
        b, vector = self.b, self.b.once("TypeVector", self.b.uint_t(), 3)
        group, count = b.load(vector, ids), b.load(vector, counts)
        row = b.op("IMul", b.int_t(), self.component(group, 1), self.component(count, 0))
        at = b.op("IAdd", b.int_t(), row, self.component(group, 0))
        extents = [self.indices.value(e) for e in self.plan.launch.grid]
        total = extents[0]
        for e in extents[1:]:
            total = b.op("IMul", b.int_t(), total, e)
        with b.when(b.op("SLessThan", b.bool_t(), at, total)), self.indices.scope():
            names = [s.name for s in self.plan.symbols if s.kind == "program"]
            for name, extent in reversed([*zip(names, extents)][1:]):
                rest = b.op("SDiv", b.int_t(), at, extent)
                self.indices.symbols[name] = b.op("ISub", b.int_t(), at, b.op("IMul", b.int_t(), rest, extent))
                at = rest
            self.indices.symbols[names[0]] = at
            self.items(tree(self.plan).items)

    # -- the body ------------------------------------------------------------------------------------

    def items(self, items: Sequence[Item]) -> None:
        for item in items:
            if isinstance(item, Instr):
                self.b.place(item.span)
                getattr(self, f"do_{item.op}")(item)
            elif item.region.kind == "nest":
                with self.indices.scope():
                    Nest(self.plan, item, self.t).run()
            else:
                self.loop(item)

    def loop(self, node: Node) -> None:
        r = node.region
        assert r.lower is not None, f"no SPIR-V for a region of kind {r.kind}"
        assert r.upper is not None
        self.b.place(r.span)
        first, end = self.indices.exact(r.lower), self.indices.exact(r.upper)
        with self.b.loop(r.var, first, lambda: end, r.step) as counter, self.indices.scope():
            self.indices.symbols[r.var] = counter
            self.items(node.items)
            self.b.place(r.span)

    def do_barrier(self, instr: Instr) -> None:
        scope, semantics = (self.b.constant(self.b.uint_t(), n) for n in (_WORKGROUP, _ACQUIRE_RELEASE_WORKGROUP))
        self.b.effect("ControlBarrier", scope, scope, semantics)

    def do_put(self, instr: Instr) -> None:
        """The first thread of each part of a row group writes the part's column of the scratch tile."""
        t, b = self.t, self.b
        source, out = (self.buffers[a.buffer] for a in (instr.reads[0], instr.writes[0]))
        parts = int(instr.attr("parts"))
        width = t.mapping.threads // parts
        column, first = t.thread or b.i(0), 0
        if width > 1:
            column = b.op("SDiv", b.int_t(), t.thread, b.i(width))
            begin = b.op("IMul", b.int_t(), column, b.i(width))
            first = b.op("IEqual", b.bool_t(), begin, t.thread)
        for i, _ in t.keys(source):
            value = t.read(source, (i, 0))
            index = t.plus(t.times(t.row(i), const(parts)), column)
            guard = t.both(t.row_below(i, instr.writes[0].valid[0]), first)
            t.guarded(guard, lambda index=index, value=value: t.shared_write(out, index, value))  # type: ignore[misc]

    def do_get(self, instr: Instr) -> None:
        """Every thread reduces its rows of the scratch tile itself."""
        t = self.t
        scratch, out = (self.buffers[a.buffer] for a in (instr.reads[0], instr.writes[0]))
        parts, combine = scratch.cols.value, COMBINE[str(instr.attr("reduce"))]
        rows = {i: t.times(self.safe_row(scratch.rows.value, i), const(parts)) for i, _ in t.keys(out)}
        for i, start in rows.items():
            t.write(out, (i, 0), t.shared_read(scratch, start))

        with self.b.loop("part", self.b.i(1), lambda: self.b.i(parts), 1) as n, self.indices.scope():
            for i, start in rows.items():
                part = t.shared_read(scratch, t.plus(start, n))
                t.write(out, (i, 0), t.scalars.apply(combine, out.dtype, [t.read(out, (i, 0)), part]))

    def safe_row(self, rows: int, i: int) -> int:
        groups = self.t.mapping.groups
        return self.t.inside(self.t.row(i), i * groups, groups, rows)

    def safe_col(self, cols: int, q: int) -> int:
        threads = self.t.mapping.threads
        return self.t.inside(self.t.col(q), q * threads, threads, cols)

    def do_dot(self, instr: Instr) -> None:
        """acc += a @ b over the valid k, an element's products in order."""
        t, b = self.t, self.b
        left, right, acc = (self.buffers[a.buffer] for a in instr.reads)
        keys = t.keys(acc)
        rows, cols = extents([instr.reads[0]])[0], extents([instr.reads[1]])[1]
        starts = {i: t.times(self.safe_row(rows, i), left.cols) for i in dict.fromkeys(k[0] for k in keys)}
        columns = {q: self.safe_col(cols, q) for q in dict.fromkeys(k[1] for k in keys)}
        end = self.indices.exact(instr.reads[0].valid[1])
        with b.loop("k", b.i(0), lambda: end, 1) as k, self.indices.scope():
            line = t.times(k, right.cols)
            lefts = {i: t.shared_read(left, t.plus(start, k)) for i, start in starts.items()}
            rights = {q: t.shared_read(right, t.plus(line, column)) for q, column in columns.items()}
            for i, q in keys:
                t.write(acc, (i, q), t.scalars.fma(lefts[i], rights[q], t.read(acc, (i, q))))

    # -- tiles into shared memory ----------------------------------------------------------------------

    def do_stage(self, instr: Instr) -> None:
        source, target = instr.reads[0], instr.writes[0]
        storage = self.buffers[source.buffer].storage
        if isinstance(storage, Global):
            self.stage_array(storage, source, target)
        else:
            self.stage_registers(source, target)

    def stage_array(self, storage: Global, source: Access, target: Access) -> None:
        """All threads of the workgroup together, element after element; zeros where the source is not valid."""
        t, b, out = self.t, self.b, self.buffers[target.buffer]
        (rows, cols), block = extents([target]), t.mapping.block
        linear = t.plus(t.times(t.group, const(t.mapping.threads)), t.thread) or b.i(0)
        start = t.start(source, storage)
        steps = [stride * s.step for stride, s in zip(storage.strides, (source.rows, source.cols))]
        rounds = -(-rows * cols // block)

        def copy(n: int, number: int) -> None:
            at = t.plus(linear, t.offset(const(number * block)) if number >= 0 else t.times(n, const(block)))
            r = b.op("SDiv", b.int_t(), at, b.i(cols))
            c = b.op("ISub", b.int_t(), at, b.op("IMul", b.int_t(), r, b.i(cols)))
            last = t.below(r, 0, -(-rounds * block // cols), const(rows))
            guard = t.both(*(t.below(p, 0, e, v) for p, e, v in zip((r, c), (rows, cols), source.valid)), last)
            index = t.plus(start, t.times(r, steps[0]), t.times(c, steps[1])) or b.i(0)
            pointer = t.element(storage, t.scalars.select("i32", guard, index, b.i(0)) if guard else index)
            value = b.load(t.scalars.type(out.dtype), pointer)
            if guard:
                value = t.scalars.select(out.dtype, guard, value, t.scalars.literal("0", out.dtype))
            where = t.plus(t.times(r, out.cols), c)
            t.guarded(last, lambda: t.shared_write(out, where, value))

        t.repeat(rounds, copy)

    def stage_registers(self, source: Access, target: Access) -> None:
        t, out, held = self.t, self.buffers[target.buffer], self.buffers[source.buffer]
        rows, cols = extents([target])
        only = t.only_first(rows, cols)
        zero = t.scalars.literal("0", out.dtype)
        for i, q in t.keys(held):
            inside = t.both(*self.valid_at((i, q), (rows, cols), (const(rows), const(cols))), only)
            guard = t.both(*self.valid_at((i, q), (rows, cols), source.valid))
            index = t.plus(t.times(t.row(i), out.cols) if rows > 1 else 0, t.col(q) if cols > 1 else 0)
            value = t.read(held, (i, q))
            value = t.scalars.select(out.dtype, guard, value, zero) if guard else value
            t.guarded(inside, lambda index=index, value=value: t.shared_write(out, index, value))  # type: ignore[misc]

    def valid_at(self, at: Key, extents: tuple[int, int], valid: tuple[Expr, Expr]) -> list[int]:
        return [
            below(n, limit)
            for n, extent, limit, below in zip(at, extents, valid, (self.t.row_below, self.t.col_below))
            if extent > 1
        ]
