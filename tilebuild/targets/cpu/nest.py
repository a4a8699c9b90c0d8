"""One nest as C: an outer loop over one axis, an inner one over vectors of the other, the ragged rest by lanes.

The inner axis is the columns, or the rows of a one-column tile (which lie side by side in the arena). What does not
vary along an axis is read before its loop. A reduction along the inner axis keeps four accumulators, which hides the
latency of the addition; one along the outer axis accumulates in memory.
"""

from __future__ import annotations

from dataclasses import dataclass

from tilebuild.diagnostics import Span
from tilebuild.optable import COMBINE, IDENTITY
from tilebuild.plan.expr import Expr, const, parse
from tilebuild.plan.model import Access, Buffer, Global, Instr, Placed, Plan
from tilebuild.plan.tree import Node
from tilebuild.targets.cpu import indirect
from tilebuild.targets.cpu.ctext import C_TYPES, MEMORY, NARROW, STORED, SUFFIXES, VECTORS, expression, literal
from tilebuild.targets.cpu.lines import Lines

_UNROLL = 4
# u32 differs from i32
_UNSIGNED = ("maximum", "minimum", "lt", "le", "gt", "ge", "abs", "floordiv", "mod", "shr")


def global_strides(plan: Plan, buffer: str) -> tuple[str, str]:
    """C expressions of an array's row and column stride, in elements."""
    storage = next(b.storage for b in plan.buffers if b.id == buffer)
    assert isinstance(storage, Global)
    return expression(storage.strides[0]), expression(storage.strides[1])


def global_address(plan: Plan, access: Access) -> str:
    """The address of an access's first element in an array."""
    storage = next(b.storage for b in plan.buffers if b.id == access.buffer)
    assert isinstance(storage, Global)
    offset = storage.offset + access.rows.start * storage.strides[0] + access.cols.start * storage.strides[1]
    return f"p_{storage.parameter} + {expression(offset)}"


@dataclass(frozen=True)
class Lane:
    """Where the code being emitted stands: which copy of an unrolled body, and how many lanes are left."""

    copy: int
    offset: str  # position along the inner axis
    left: str | None  # None: a full vector

    def name(self, buffer: str) -> str:
        return f"v_{buffer}_{self.copy}"


class NestEmitter:
    """Emits one nest of a plan; `node` must be its region."""

    def __init__(self, plan: Plan, node: Node, lines: Lines) -> None:
        self.plan, self.lines = plan, lines
        self.buffers = {b.id: b for b in plan.buffers}
        self.instructions = [i for i in node.items if isinstance(i, Instr)]
        assert node.region.lanes is not None
        self.lanes = node.region.lanes
        self.shape = self.extents()
        self.inner = 0 if self.shape[1] == 1 and self.shape[0] > 1 else 1
        self.pointers: dict[tuple[int, int], str] = {}
        self.hoisted: set[str] = set()
        self.ready: dict[str, str] = {}  # buffer -> the variable that holds its lanes here

    def extents(self) -> tuple[int, int]:
        boxes = [a for i in self.instructions for a in indirect.lanes(i)]
        return (max(_size(a.rows.size) for a in boxes), max(_size(a.cols.size) for a in boxes))

    # -- shape ----------------------------------------------------------------------------------

    def size(self, access: Access, axis: int) -> int:
        return _size((access.rows, access.cols)[axis].size)

    def repeated(self, access: Access, axis: int) -> bool:
        """The access has one position along an axis where the nest has more."""
        return self.size(access, axis) == 1 and self.shape[axis] > 1

    @property
    def outer(self) -> int:
        return 1 - self.inner

    # -- the nest -------------------------------------------------------------------------------

    def run(self) -> None:
        lines = self.lines
        lines.open("{")
        self.bases()
        for i in self.instructions:
            if i.op in ("full", "param", "index") and self.is_scalar(i.writes[0]):
                self.constant(i)
        for i in self.instructions:
            for a in indirect.tiles(i):
                if (self.repeated(a, self.inner) and self.repeated(a, self.outer)) or self.shape == (1, 1):
                    self.hoist(a, i.span)
        lines.add(f"const int64_t width = {expression(self.lanes[self.inner])};")
        if self.shape[self.outer] > 1:
            lines.open(f"for (int64_t o = 0; o < {expression(self.lanes[self.outer])}; o++) {{")
        else:
            lines.open("{ const int64_t o = 0; (void)o;")
        for i in self.instructions:
            for a in indirect.tiles(i):
                if self.repeated(a, self.inner):
                    self.hoist(a, i.span)
        self.sweep()
        lines.close()
        lines.close()

    def is_scalar(self, access: Access) -> bool:
        return self.size(access, 0) == 1 and self.size(access, 1) == 1

    def bases(self) -> None:
        """A pointer to the first element of every array box."""
        for n, i in enumerate(self.instructions):
            for k, a in enumerate((*i.reads, *i.writes)):
                storage = self.buffers[a.buffer].storage
                if isinstance(storage, Global):
                    name = f"g{n}_{k}"
                    self.pointers[i.id, k] = name
                    writes = k >= len(i.reads)
                    c = STORED[self.buffers[a.buffer].dtype]
                    self.lines.add(
                        f"{'' if writes else 'const '}{c} *const {name} = {global_address(self.plan, a)};", i.span
                    )

    def constant(self, i: Instr) -> None:
        buffer = self.buffers[i.writes[0].buffer]
        if i.op == "full":
            value = literal(str(i.attr("value")), buffer.dtype)
        elif i.op == "param":
            value = f"p_{i.attr('name')}"
        else:
            value = f"({C_TYPES[buffer.dtype]}){expression(parse(str(i.attr('expr'))))}"
        self.declare(f"h_{buffer.id}", buffer, f"tb_splat_{SUFFIXES[buffer.dtype]}({value})", i.span)
        self.ready[buffer.id] = f"h_{buffer.id}"
        self.hoisted.add(buffer.id)
        self.keep(i, f"({value})")

    def keep(self, i: Instr, value: str) -> None:
        """A scalar that outlives the nest goes to its place."""
        buffer = self.buffers[i.writes[0].buffer]
        if isinstance(buffer.storage, Placed):
            self.lines.add(f"b_{buffer.id}[0] = {value};", i.span)

    def hoist(self, a: Access, span: Span | None) -> None:
        """Read a value that does not vary along the inner axis before the inner loop."""
        buffer = self.buffers[a.buffer]
        if a.buffer in self.hoisted or not isinstance(buffer.storage, Placed) or self.written_here(a.buffer):
            return
        index = "o" if not self.repeated(a, self.outer) and self.shape[self.outer] > 1 else "0"
        self.declare(f"h_{a.buffer}", buffer, f"tb_splat_{SUFFIXES[buffer.dtype]}(b_{a.buffer}[{index}])", span)
        self.hoisted.add(a.buffer)
        self.ready[a.buffer] = f"h_{a.buffer}"

    def written_here(self, buffer: str) -> bool:
        return any(a.buffer == buffer for i in self.instructions for a in i.writes)

    def declare(self, name: str, buffer: Buffer, value: str, span: Span | None) -> None:
        self.lines.add(f"const {VECTORS[buffer.dtype]} {name} = {value};", span)

    # -- the inner loop -------------------------------------------------------------------------

    def sweep(self) -> None:
        lines = self.lines
        reductions = [i for i in self.instructions if i.op in COMBINE and self.along_inner(i)]
        copies = _UNROLL if reductions and self.shape[self.inner] >= 16 * _UNROLL else 1
        for i in reductions:
            dtype = self.buffers[i.writes[0].buffer].dtype
            identity = f"tb_splat_{SUFFIXES[dtype]}({literal(IDENTITY[i.op, dtype], dtype)})"
            for u in range(copies):
                lines.add(f"{VECTORS[dtype]} a{i.id}_{u} = {identity};", i.span)
        lines.add("int64_t c = 0;")
        if copies > 1:
            lines.open(f"for (; c + {copies} * VL <= width; c += {copies} * VL) {{")
            for u in range(copies):
                self.body(Lane(u, f"(c + {u} * VL)" if u else "c", None))
            lines.close()
        if self.shape[self.inner] >= 4:  # the narrowest vector
            lines.open("for (; c + VL <= width; c += VL) {")
            self.body(Lane(0, "c", None))
            lines.close()
        lines.open("if (c < width) {")
        lines.add("const int64_t left = width - c;")
        self.body(Lane(0, "c", "left"))
        lines.close()
        for i in reductions:
            self.finish(i, copies)

    def along_inner(self, i: Instr) -> bool:
        return i.attr("axis") == self.inner and self.shape[self.inner] > 1

    def finish(self, i: Instr, copies: int) -> None:
        buffer = self.buffers[i.writes[0].buffer]
        combine = self.function(COMBINE[i.op], buffer.dtype)
        total = f"a{i.id}_0"
        for u in range(1, copies):
            total = f"{combine}({total}, a{i.id}_{u})"
        index = "o" if self.size(i.writes[0], self.outer) > 1 else "0"
        self.lines.add(f"b_{buffer.id}[{index}] = tb_{i.op}_{buffer.dtype}({total});", i.span)

    def body(self, lane: Lane) -> None:
        outer_ready = dict(self.ready)
        for i in self.instructions:
            if i.op == "store":
                self.store(i, lane)
            elif i.op in ("scatter", "atomic_add"):
                self.lines.add(indirect.update(self, i, lane), i.span)
            elif i.op in COMBINE:
                self.reduce(i, lane)
            elif not (i.op in ("full", "param", "index") and self.is_scalar(i.writes[0])):
                self.compute(i, lane)
        self.ready = outer_ready

    def compute(self, i: Instr, lane: Lane) -> None:
        out = i.writes[0]
        buffer = self.buffers[out.buffer]
        value = self.value(i, lane)
        name = f"v{i.id}_{lane.copy}"
        self.declare(name, buffer, value, i.span)
        self.ready[out.buffer] = name
        if isinstance(buffer.storage, Placed):
            self.write(
                f"b_{out.buffer} + {self.index(out, lane)}", "1", SUFFIXES[buffer.dtype], name, lane, span=i.span
            )

    def value(self, i: Instr, lane: Lane) -> str:
        dtype = self.buffers[i.writes[0].buffer].dtype
        suffix = SUFFIXES[dtype]
        if i.op == "load":
            return self.load(i, lane)
        if i.op == "window":
            return self.window(i, lane)
        if i.op == "gather":
            return indirect.gather(self, i, lane)
        if i.op == "full":
            return f"tb_splat_{suffix}({literal(str(i.attr('value')), dtype)})"
        if i.op == "iota":
            return (
                f"tb_iota_i32() + (int32_t){lane.offset}"
                if i.attr("axis") == self.inner
                else "tb_splat_i32((int32_t)o)"
            )
        reads = [self.read(a, lane, i.span) for a in i.reads]
        if i.op == "copy":
            return reads[0]
        if i.op == "fill":
            rows, cols = i.reads[0].valid
            valid = (rows, cols)[self.inner], (rows, cols)[self.outer]
            here = f"tb_mask_n(o < {expression(valid[1])} ? {expression(valid[0])} - {lane.offset} : 0)"
            return f"tb_select_{suffix}({here}, {reads[0]}, tb_splat_{suffix}({literal(str(i.attr('value')), dtype)}))"
        if i.op == "select":
            return f"tb_select_{suffix}({', '.join(reads)})"
        source = self.buffers[i.reads[0].buffer].dtype
        if i.op == "cast":
            return reads[0] if source == dtype else f"tb_{dtype}_from_{source}({reads[0]})"
        return f"{self.function(i.op, source)}({', '.join(reads)})"

    def function(self, op: str, dtype: str) -> str:
        if dtype == "u32" and op in _UNSIGNED:
            return f"tb_{op}_u32"
        return f"tb_{op}_{SUFFIXES[dtype]}"

    def reduce(self, i: Instr, lane: Lane) -> None:
        out = i.writes[0]
        buffer = self.buffers[out.buffer]
        value = self.read(i.reads[0], lane, i.span)
        combine = self.function(COMBINE[i.op], buffer.dtype)
        suffix = SUFFIXES[buffer.dtype]
        if self.along_inner(i):
            if lane.left is not None:
                identity = literal(IDENTITY[i.op, buffer.dtype], buffer.dtype)
                value = f"tb_select_{suffix}(tb_mask_n(left), {value}, tb_splat_{suffix}({identity}))"
            self.lines.add(f"a{i.id}_{lane.copy} = {combine}(a{i.id}_{lane.copy}, {value});", i.span)
            return
        pointer = f"b_{out.buffer} + {self.index(out, lane)}"
        if i.attr("axis") == self.outer and self.shape[self.outer] > 1:
            before = self.vector(pointer, "1", suffix, lane)
            value = f"o == 0 ? {value} : {combine}({before}, {value})"
        name = f"v{i.id}_{lane.copy}"
        self.declare(name, buffer, value, i.span)
        self.write(pointer, "1", suffix, name, lane, span=i.span)

    # -- memory ---------------------------------------------------------------------------------

    def index(self, a: Access, lane: Lane) -> str:
        """The element of an arena tile at this lane."""
        buffer = self.buffers[a.buffer]
        inner = "0" if self.repeated(a, self.inner) else lane.offset
        if self.repeated(a, self.outer) or self.shape[self.outer] == 1:
            return inner
        return f"o * {expression(buffer.cols if self.inner == 1 else const(1))} + {inner}"

    def read(self, a: Access, lane: Lane, span: Span | None) -> str:
        if a.buffer in self.ready:
            return self.ready[a.buffer]
        buffer = self.buffers[a.buffer]
        assert isinstance(buffer.storage, Placed), f"{a.buffer} is read before it is made"
        name = f"r_{a.buffer}_{lane.copy}"
        self.declare(
            name, buffer, self.vector(f"b_{a.buffer} + {self.index(a, lane)}", "1", SUFFIXES[buffer.dtype], lane), span
        )
        self.ready[a.buffer] = name
        return name

    def load(self, i: Instr, lane: Lane) -> str:
        a = i.reads[0]
        dtype = self.buffers[a.buffer].dtype
        pointer, stride = self.global_pointer(i, 0, a, lane)
        if self.repeated(a, self.inner) or self.shape[self.inner] == 1:
            element = f"tb_element_{dtype}({pointer})" if dtype in NARROW else f"*({pointer})"
            return f"tb_splat_{SUFFIXES[dtype]}({element})"
        return self.vector(pointer, stride, MEMORY[dtype], lane)

    def window(self, i: Instr, lane: Lane) -> str:
        """Lanes inside of the array are read, the others are the fill value."""
        a = i.reads[0]
        buffer = self.buffers[a.buffer]
        assert isinstance(buffer.storage, Global)
        steps = (a.rows.step, a.cols.step)
        first = [expression(parse(str(i.attr(name)))) for name in ("row", "col")]
        count = [expression(v) for v in a.valid]
        along = "0" if self.repeated(a, self.outer) or self.shape[self.outer] == 1 else "o"
        single = self.repeated(a, self.inner) or self.shape[self.inner] == 1
        down, across = (expression(buffer.storage.strides[axis] * steps[axis]) for axis in (self.outer, self.inner))
        here = f"{along} - {first[self.outer]}"
        row = f"tb_inside_i64({here}, {count[self.outer]})"
        place = f"{self.pointers[i.id, 0]} + ({row} ? ({here}) * {down} : 0)"
        at, lanes = ("0", "1") if single else (lane.offset, lane.left or "VL")
        read = (
            f"tb_window_{MEMORY[buffer.dtype]}({place}, {across}, {first[self.inner]}, "
            f"{row} ? {count[self.inner]} : 0, {at}, {lanes}, {literal(str(i.attr('value')), buffer.dtype)})"
        )
        return f"tb_splat_{SUFFIXES[buffer.dtype]}({read}[0])" if single else read

    def store(self, i: Instr, lane: Lane) -> None:
        a = i.writes[0]
        value = self.read(i.reads[0], lane, i.span)
        pointer, stride = self.global_pointer(i, len(i.reads), a, lane)
        self.write(pointer, stride, MEMORY[self.buffers[a.buffer].dtype], value, lane, span=i.span)

    def global_pointer(self, i: Instr, k: int, a: Access, lane: Lane) -> tuple[str, str]:
        storage = self.buffers[a.buffer].storage
        assert isinstance(storage, Global)
        inner, outer = storage.strides[self.inner], storage.strides[self.outer]
        text = self.pointers[i.id, k]
        if not self.repeated(a, self.outer) and self.shape[self.outer] > 1:
            text += f" + o * {expression(outer)}"
        if not self.repeated(a, self.inner):
            text += f" + {lane.offset}" + ("" if inner == const(1) else f" * {expression(inner)}")
        return text, expression(inner) if inner != const(1) else "1"

    def vector(self, pointer: str, stride: str, suffix: str, lane: Lane) -> str:
        if stride != "1":
            return f"tb_load_strided_{suffix}({pointer}, {stride}, {lane.left or 'VL'})"
        if lane.left is not None:
            return f"tb_load_n_{suffix}({pointer}, {lane.left})"
        return f"tb_load_{suffix}({pointer})"

    def write(self, pointer: str, stride: str, suffix: str, value: str, lane: Lane, *, span: Span | None) -> None:
        if stride != "1":
            call = f"tb_store_strided_{suffix}({pointer}, {stride}, {lane.left or 'VL'}, {value})"
        elif lane.left is not None:
            call = f"tb_store_n_{suffix}({pointer}, {lane.left}, {value})"
        else:
            call = f"tb_store_{suffix}({pointer}, {value})"
        self.lines.add(f"{call};", span)


def _size(e: Expr) -> int:
    return e.value
