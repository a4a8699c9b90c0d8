"""One nest as CUDA C++: every thread goes through batches of vectors, and in each through its rows.

A batch's loads are all asked for before the first is used. Lanes that are not valid are loaded as zeros, take part in
elementwise work only, and are not stored.
"""

from __future__ import annotations

from tilebuild.plan.expr import ONE, parse
from tilebuild.plan.model import Access, Buffer, Distributed, Fused, Global, Instr, Plan
from tilebuild.plan.tree import Node
from tilebuild.targets.gpu.ctext import REDUCTIONS, TYPES, elementwise, expression, identity, literal
from tilebuild.targets.gpu.lines import Lines
from tilebuild.targets.simt.mapping import mapping_of
from tilebuild.targets.simt.mapping import parse as parse_map

_BATCH = 4  # vectors of an array that are in flight at a time
_KEPT_BATCH = 8  # the same where the tile stays in registers anyway


def extents(buffer: Buffer) -> tuple[int, int]:
    """A tile's rows and columns, which are constants."""
    return buffer.rows.value, buffer.cols.value


def registers(buffer: Buffer) -> tuple[int, int, int]:
    """The dimensions of a register tile in one thread: rows, vectors of a row, lanes of a vector."""
    assert isinstance(buffer.storage, Distributed)
    mapping = parse_map(buffer.storage.map)
    rows, cols = extents(buffer)
    return mapping.rows(rows), mapping.chunks(cols), mapping.lanes(cols)


def base(plan: Plan, access: Access) -> str:
    """The address of an access's first element in an array."""
    storage = next(b.storage for b in plan.buffers if b.id == access.buffer)
    assert isinstance(storage, Global)
    offset = storage.offset + access.rows.start * storage.strides[0] + access.cols.start * storage.strides[1]
    return f"p_{storage.parameter} + {expression(offset)}"


class NestEmitter:
    """Emits one nest of a plan; `node` must be its region."""

    def __init__(self, plan: Plan, node: Node, lines: Lines) -> None:
        self.plan, self.lines = plan, lines
        self.buffers = {b.id: b for b in plan.buffers}
        self.instructions = [i for i in node.items if isinstance(i, Instr)]
        assert node.region.lanes is not None
        self.lanes = node.region.lanes
        boxes = [a for i in self.instructions for a in (*i.reads, *i.writes)]
        self.shape = max(a.rows.size.value for a in boxes), max(a.cols.size.value for a in boxes)
        self.mapping = mapping_of(plan)
        self.rows, self.chunks = self.mapping.rows(self.shape[0]), self.mapping.chunks(self.shape[1])
        self.vector = self.mapping.lanes(self.shape[1])
        self.step = self.mapping.threads * self.vector  # columns from one vector of a thread to its next
        kept = all(isinstance(self.buffers[i.writes[0].buffer].storage, Distributed) for i in self.of("load"))
        most = _KEPT_BATCH if kept and self.of("load") else _BATCH
        self.m = self.first = self.b = self.v = "0"  # the row, batch, vector and lane that are being emitted
        self.batch = next(b for b in range(min(most, self.chunks), 0, -1) if self.chunks % b == 0)

    @property
    def q(self) -> str:
        """The vector of a row: the batch's first and the one in it."""
        return " + ".join(t for t in (self.first, self.b) if t != "0") or "0"

    def of(self, op: str) -> list[Instr]:
        return [i for i in self.instructions if i.op == op]

    # -- where a value is -----------------------------------------------------------------------

    def repeated(self, buffer: str) -> tuple[bool, bool]:
        """Whether a tile has one row, one column, where the nest has more."""
        rows, cols = extents(self.buffers[buffer])
        return rows == 1 and self.shape[0] > 1, cols == 1 and self.shape[1] > 1

    def across(self, instr: Instr) -> bool:
        """Makes what is the same in all columns, or everywhere: done before the columns are gone through."""
        out = instr.writes[0].buffer
        return isinstance(self.buffers[out].storage, Fused) and self.repeated(out)[1]

    def value(self, buffer: str) -> str:
        """A tile's lane at the place that is being emitted."""
        one_row, one_col = self.repeated(buffer)
        row = "0" if one_row else self.m
        if isinstance(self.buffers[buffer].storage, Distributed):
            return f"{buffer}[{row}]{'[0][0]' if one_col else f'[{self.q}][{self.v}]'}"
        if one_col:
            return f"{buffer}[{row}]"
        return f"{buffer}[{self.b}][{self.v}]" if buffer in self.arrays else buffer

    # -- the nest -------------------------------------------------------------------------------

    def run(self) -> None:
        lines = self.lines
        loaded = {i.writes[0].buffer for i in self.of("load")}
        stored = {i.reads[0].buffer for i in self.of("store")}
        # fused tiles that pass through a load or a store of whole vectors
        self.arrays = {b for b in loaded | stored if isinstance(self.buffers[b].storage, Fused)}
        with lines.block(""):
            lines.add(f"const int rows = (int){expression(self.lanes[0])}, cols = (int){expression(self.lanes[1])};")
            for i in self.instructions:
                if i.op in REDUCTIONS:
                    self.start(i)
            for i in self.instructions:
                if self.across(i):
                    self.column(i)
            with lines.unrolled("first", self.chunks, self.batch) as self.first:
                self.batches()

    def start(self, instr: Instr) -> None:
        buffer = self.buffers[instr.writes[0].buffer]
        rows, chunks, vector = registers(buffer)
        text, lines = identity(instr.op, buffer.dtype), self.lines
        with lines.unrolled("m", rows) as m, lines.unrolled("q", chunks) as q, lines.unrolled("v", vector) as v:
            lines.add(f"{buffer.id}[{m}][{q}][{v}] = {text};", instr.span)

    def row(self) -> None:
        """The row of register `m` of the nest, and whether it is valid."""
        if self.shape[0] == 1:
            self.lines.add("const int r = 0;")
        else:
            self.lines.add(f"const int r = {'' if self.m == '0' else f'{self.m} * {self.mapping.groups} + '}group;")
        self.lines.add("const bool on = r < rows;")

    def column(self, instr: Instr) -> None:
        """A value that all columns share: one a row, or one."""
        out, access = self.buffers[instr.writes[0].buffer], instr.reads[0] if instr.reads else None
        one_row = extents(out)[0] == 1
        count = 1 if one_row else self.rows
        self.lines.add(f"{TYPES[out.dtype]} {out.id}[{count}];", instr.span)
        with self.lines.unrolled("m", count) as self.m, self.lines.block(""):
            if not one_row:
                self.row()
            if instr.op == "load" and access is not None:
                place = f"{out.id}[{self.m}] = "
                first = base(self.plan, access)
                if one_row:
                    self.lines.add(f"{place}*({first});", instr.span)
                else:
                    down, zero = self.strides(access)[0], f"{TYPES[out.dtype]}(0)"
                    self.lines.add(f"{place}on ? ({first})[r * {down}] : {zero};", instr.span)
            else:
                self.lines.add(f"{out.id}[{self.m}] = {self.made(instr)};", instr.span)

    def batches(self) -> None:
        lines = self.lines
        vectors = "thread" if self.first == "0" else f"({self.first} * {self.mapping.threads} + thread)"
        column = "0" if self.shape[1] == 1 else vectors if self.vector == 1 else f"{vectors} * {self.vector}"
        lines.add(f"const int column = {column};")
        shared = [i for i in self.of("load") if self.repeated(i.writes[0].buffer) == (True, False)]
        for i in shared:
            self.load(i)
        with lines.unrolled("m", self.rows) as self.m, lines.block(""):
            self.row()
            for i in self.of("load"):
                if i not in shared and not self.across(i):
                    self.load(i)
            self.compute()
            for i in self.of("store"):
                self.store(i)

    def load(self, instr: Instr) -> None:
        access, out = instr.reads[0], self.buffers[instr.writes[0].buffer]
        if isinstance(out.storage, Fused):
            self.lines.add(f"{TYPES[out.dtype]} {out.id}[{self.batch}][{self.vector}];", instr.span)
            to = out.id
        else:
            to = f"{out.id}[{'0' if self.repeated(out.id)[0] else self.m}]{self.behind}"
        one_row = self.repeated(out.id)[0]
        down, across = self.strides(access)
        place = base(self.plan, access) + ("" if one_row else f" + r * {down}")
        count = "cols" if one_row else "on ? cols : 0"
        sizes = f"{self.batch}, {self.step}, {self.vector}"
        if across == "1":
            self.lines.add(f"tb_load<{sizes}>({to}, {place}, column, {count});", instr.span)
        else:
            self.lines.add(f"tb_load_strided<{sizes}>({to}, {place}, {across}, column, {count});", instr.span)

    @property
    def behind(self) -> str:
        """From a register row's first vector to the batch's."""
        return "" if self.first == "0" else f" + {self.first}"

    def strides(self, access: Access) -> tuple[str, str]:
        storage = self.buffers[access.buffer].storage
        assert isinstance(storage, Global)
        return f"{expression(storage.strides[0])}", "1" if storage.strides[1] == ONE else expression(storage.strides[1])

    def store(self, instr: Instr) -> None:
        source, access = self.buffers[instr.reads[0].buffer], instr.writes[0]
        owner = [t for t, one in (("group == 0", self.shape[0] == 1 and self.mapping.groups > 1),
                                  ("thread == 0", self.shape[1] == 1 and self.mapping.threads > 1)) if one]  # fmt: skip
        mine = " && ".join(["on", *owner])
        down, across = self.strides(access)
        place = f"{base(self.plan, access)} + r * {down}"
        sizes = f"{self.batch}, {self.step}, {self.vector}"
        row = "0" if self.repeated(source.id)[0] else self.m
        origin = f"{source.id}[{row}]{self.behind}" if isinstance(source.storage, Distributed) else source.id
        count = f"{mine} ? cols : 0"
        if across == "1":
            self.lines.add(f"tb_store<{sizes}>({place}, {origin}, column, {count});", instr.span)
        else:
            self.lines.add(f"tb_store_strided<{sizes}>({place}, {across}, {origin}, column, {count});", instr.span)

    # -- lane by lane ---------------------------------------------------------------------------

    def compute(self) -> None:
        steps = [i for i in self.instructions if i.op not in ("load", "store") and not self.across(i)]
        if not steps:
            return
        for i in steps:
            out = self.buffers[i.writes[0].buffer]
            if out.id in self.arrays:
                self.lines.add(f"{TYPES[out.dtype]} {out.id}[{self.batch}][{self.vector}];", i.span)
        with self.lines.unrolled("b", self.batch) as self.b, self.lines.unrolled("v", self.vector) as self.v:
            along = "" if self.b == "0" else f" + {self.b} * {self.step}"
            self.lines.add(f"const int c = column{along}{'' if self.v == '0' else f' + {self.v}'};")
            for i in steps:
                self.step_of(i)

    def step_of(self, instr: Instr) -> None:
        out = self.buffers[instr.writes[0].buffer]
        if instr.op in REDUCTIONS:
            self.reduce(instr)
        elif isinstance(out.storage, Distributed) or out.id in self.arrays:
            self.lines.add(f"{self.value(out.id)} = {self.made(instr)};", instr.span)
        else:
            self.lines.add(f"const {TYPES[out.dtype]} {out.id} = {self.made(instr)};", instr.span)

    def reduce(self, instr: Instr) -> None:
        out, source = self.buffers[instr.writes[0].buffer], instr.reads[0].buffer
        one_row, one_col = (n == 1 for n in extents(out))
        lane = "[0][0]" if one_col else f"[{self.q}][{self.v}]"
        place = f"{out.id}[{'0' if one_row else self.m}]{lane}"
        here = f"on && c < cols ? {self.value(source)} : {identity(instr.op, out.dtype)}"
        self.lines.add(f"{place} = {REDUCTIONS[instr.op]}({place}, {here});", instr.span)

    def made(self, instr: Instr) -> str:
        """The value of a lane that an instruction makes."""
        out = self.buffers[instr.writes[0].buffer]
        if instr.op == "full":
            return literal(str(instr.attr("value")), out.dtype)
        if instr.op == "param":
            return f"p_{instr.attr('name')}"
        if instr.op == "index":
            return f"({TYPES[out.dtype]}){expression(parse(str(instr.attr('expr'))))}"
        if instr.op == "iota":
            return "r" if instr.attr("axis") == 0 else "c"
        reads = [self.value(a.buffer) for a in instr.reads]
        if instr.op == "copy":
            return reads[0]
        if instr.op == "fill":
            rows, cols = (expression(e) for e in instr.reads[0].valid)
            return f"r < {rows} && c < {cols} ? {reads[0]} : {literal(str(instr.attr('value')), out.dtype)}"
        if instr.op == "select":
            return f"{reads[0]} ? {reads[1]} : {reads[2]}"
        source = self.buffers[instr.reads[0].buffer].dtype
        if instr.op == "cast":
            return f"{reads[0]} != 0" if out.dtype == "bool" else f"({TYPES[out.dtype]}){reads[0]}"
        return elementwise(instr.op, source, reads)
