"""One nest: the thread's elements of it one after another, each through all of the nest's instructions."""

from __future__ import annotations

from tilebuild.optable import COMBINE
from tilebuild.plan.expr import Expr, const, parse
from tilebuild.plan.model import Access, Buffer, Distributed, Global, Instr, Plan
from tilebuild.plan.tree import Node
from tilebuild.targets.spirv.threads import Key, Threads, extents


class Nest:
    """Values are named by (buffer, key); an extent of 1 has the key 0 on its axis, so that it is made once."""

    def __init__(self, plan: Plan, node: Node, threads: Threads) -> None:
        assert node.region.lanes is not None
        self.t, self.b, self.scalars = threads, threads.b, threads.scalars
        self.valid = node.region.lanes
        self.instructions = [i for i in node.items if isinstance(i, Instr)]
        self.buffers = {b.id: b for b in plan.buffers}
        self.extents = extents([a for i in self.instructions for a in (*i.reads, *i.writes)])
        self.values: dict[tuple[str, Key], int] = {}
        self.made: set[tuple[int, Key]] = set()
        self.guards: dict[tuple[int, int, Expr], int] = {}
        self.bases: dict[tuple[int, bool], int] = {}
        self.totals: dict[tuple[int, Key], int] = {}

    def run(self) -> None:
        rows, cols = self.extents
        for i in range(self.t.mapping.rows(rows)):
            for q in range(self.t.mapping.chunks(cols)):
                for instr in self.instructions:
                    self.b.place(instr.span)
                    self.lane(instr, (i, q))
        for instr in self.instructions:
            if instr.op in COMBINE:
                self.b.place(instr.span)
                self.finish(instr)

    def lane(self, instr: Instr, at: Key) -> None:
        if instr.op in COMBINE:
            self.accumulate(instr, at)
            return
        key = self.key(instr.writes[0], at)
        if (instr.id, key) in self.made:
            return
        self.made.add((instr.id, key))
        if instr.op == "store":
            self.store(instr, key)
            return
        out = self.buffers[instr.writes[0].buffer]
        value = self.value(instr, key, out)
        self.values[out.id, key] = value
        if isinstance(out.storage, Distributed):
            self.t.write(out, key, value)

    def key(self, access: Access, at: Key) -> Key:
        one = access.rows.size == const(1), access.cols.size == const(1)
        return (0 if one[0] else at[0], 0 if one[1] else at[1])

    def guard(self, access: Access, at: Key, limits: tuple[Expr, Expr]) -> int:
        """Whether the element is within the limits on the axes that the access has; 0: always."""
        wide = [axis for axis, s in enumerate((access.rows, access.cols)) if s.size != const(1)]
        return self.t.both(*(self.below(axis, at[axis], limits[axis]) for axis in wide))

    def below(self, axis: int, n: int, limit: Expr) -> int:
        """Whether the thread's n-th row or column is below the limit; 0: always. Asked once."""
        if (axis, n, limit) not in self.guards:
            below = self.t.row_below if axis == 0 else self.t.col_below
            self.guards[axis, n, limit] = below(n, limit)
        return self.guards[axis, n, limit]

    # -- values ------------------------------------------------------------------------------------

    def read(self, access: Access, at: Key) -> int:
        key = self.key(access, at)
        if (access.buffer, key) not in self.values:
            self.values[access.buffer, key] = self.t.read(self.buffers[access.buffer], key)
        return self.values[access.buffer, key]

    def value(self, instr: Instr, at: Key, out: Buffer) -> int:
        if instr.op == "load":
            return self.load(instr, at)
        if instr.op == "full":
            return self.scalars.literal(str(instr.attr("value")), out.dtype)
        if instr.op == "param":
            return self.t.indices.symbols[f"scalar:{instr.attr('name')}"]
        if instr.op == "index":
            return self.scalars.cast("i32", out.dtype, self.t.indices.exact(parse(str(instr.attr("expr")))))
        if instr.op == "iota":
            position = self.t.row(at[0]) if instr.attr("axis") == 0 else self.t.col(at[1])
            return self.scalars.cast("i32", out.dtype, position)
        reads = [self.read(a, at) for a in instr.reads]
        if instr.op == "copy":
            return reads[0]
        if instr.op == "select":
            return self.scalars.select(out.dtype, reads[0], reads[1], reads[2])
        source = self.buffers[instr.reads[0].buffer].dtype
        if instr.op == "cast":
            return self.scalars.cast(source, out.dtype, reads[0])
        if instr.op == "fill":
            return self.chosen(instr.reads[0], at, reads[0], self.scalars.literal(str(instr.attr("value")), out.dtype))
        return self.scalars.apply(instr.op, source, reads)

    def chosen(self, access: Access, at: Key, value: int, otherwise: int) -> int:
        """The value where the access is valid."""
        guard = self.guard(access, at, access.valid)
        dtype = self.buffers[access.buffer].dtype
        return self.scalars.select(dtype, guard, value, otherwise) if guard else value

    # -- arrays ------------------------------------------------------------------------------------

    def pointer(self, instr: Instr, write: bool, at: Key, guard: int) -> int:
        """The element of an array at a lane; the array's first one where the guard fails."""
        access = (instr.writes if write else instr.reads)[0]
        storage = self.buffers[access.buffer].storage
        assert isinstance(storage, Global)
        mapping, parts = self.t.mapping, []
        steps = [stride * s.step for stride, s in zip(storage.strides, (access.rows, access.cols))]
        wide = [s.size != const(1) for s in (access.rows, access.cols)]
        if (instr.id, write) not in self.bases:
            own = [self.t.times(p, step) for p, step, w in zip((self.t.group, self.t.thread), steps, wide) if w]
            self.bases[instr.id, write] = self.t.plus(self.t.start(access, storage), *own)
        for n, apart, step, w in zip(at, (mapping.groups, mapping.threads), steps, wide):
            parts.append(self.t.offset(step * (n * apart)) if w else 0)
        index = self.t.plus(self.bases[instr.id, write], *parts) or self.b.i(0)
        return self.t.element(storage, self.scalars.select("i32", guard, index, self.b.i(0)) if guard else index)

    def load(self, instr: Instr, at: Key) -> int:
        """Without a branch: a lane that is not valid reads the array's first element."""
        access = instr.reads[0]
        pointer = self.pointer(instr, False, at, self.guard(access, at, self.valid))
        return self.b.load(self.scalars.type(self.buffers[access.buffer].dtype), pointer)

    def store(self, instr: Instr, at: Key) -> None:
        access = instr.writes[0]
        value = self.read(instr.reads[0], at)
        guard = self.t.both(
            self.guard(access, at, self.valid), self.t.only_first(access.rows.size.value, access.cols.size.value)
        )
        pointer = self.pointer(instr, True, at, 0)
        self.t.guarded(guard, lambda: self.b.store(pointer, value))

    # -- reductions --------------------------------------------------------------------------------

    def accumulate(self, instr: Instr, at: Key) -> None:
        """Only the axis that is reduced is guarded: what other invalid lanes give is nobody's."""
        access, axis = instr.reads[0], int(instr.attr("axis"))
        dtype = self.buffers[access.buffer].dtype
        key = (at[0], 0) if axis == 1 else (0, at[1])
        value = self.read(access, at)
        if (access.rows, access.cols)[axis].size != const(1):
            guard = self.below(axis, at[axis], self.valid[axis])
            if guard:
                value = self.scalars.select(dtype, guard, value, self.scalars.identity(instr.op, dtype))
        total = self.totals.get((instr.id, key))
        if total is not None:
            value = self.scalars.apply(COMBINE[instr.op], dtype, [total, value])
        self.totals[instr.id, key] = value

    def finish(self, instr: Instr) -> None:
        out = self.buffers[instr.writes[0].buffer]
        for (number, key), total in self.totals.items():
            if number == instr.id:
                self.t.write(out, key, total)
