"""One thread's part of tiles: where its elements are, and in which variables of the function it keeps them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tilebuild.plan.expr import Expr, const
from tilebuild.plan.model import Access, Buffer, Distributed, Global, Placed
from tilebuild.targets.simt.mapping import Mapping, parse
from tilebuild.targets.spirv.builder import Builder
from tilebuild.targets.spirv.indices import Indices
from tilebuild.targets.spirv.interface import Interface
from tilebuild.targets.spirv.scalars import Scalars

UNROLL = 16  # rounds of a loop over constants that are written out
Key = tuple[int, int]  # which of a thread's rows, and which of its columns in that row


class Threads:
    """The state of one kernel's emission: ids that all of its regions share.

    Element (r, c) of a tile is at r = i * groups + group and c = q * threads + thread. Shared memory is one array, of
    the dtype of all shared tiles, or of u32 where they differ.
    """

    def __init__(self, b: Builder, interface: Interface, indices: Indices, mapping: Mapping) -> None:
        self.b, self.interface, self.indices, self.mapping = b, interface, indices, mapping
        self.scalars = Scalars(b)
        self.thread = self.group = 0
        self.shared, self.shared_dtype = 0, "u32"
        self._tiles: dict[tuple[str, Key], int] = {}

    # -- positions ---------------------------------------------------------------------------------

    def plus(self, *values: int) -> int:
        """The sum of some ids; 0 stands for nothing, and is the result where all are."""
        total = 0
        for value in values:
            total = self.b.op("IAdd", self.b.int_t(), total, value) if total and value else total or value
        return total

    def times(self, value: int, factor: Expr) -> int:
        if factor == const(1) or not value:
            return value
        return 0 if factor == const(0) else self.b.op("IMul", self.b.int_t(), value, self.indices.value(factor))

    def offset(self, e: Expr) -> int:
        return 0 if e == const(0) else self.indices.value(e)

    def row(self, i: int) -> int:
        """The row of the thread's i-th row."""
        return self.plus(self.group, self.offset(const(i * self.mapping.groups))) or self.b.i(0)

    def col(self, q: int) -> int:
        return self.plus(self.thread, self.offset(const(q * self.mapping.threads))) or self.b.i(0)

    def below(self, position: int, first: int, size: int, limit: Expr) -> int:
        """The condition position < limit, 0 where it always holds; the position is in [first, first + size)."""
        if limit.is_const and first + size <= limit.value:
            return 0
        return self.b.op("SLessThan", self.b.bool_t(), position, self.indices.exact(limit))

    def row_below(self, i: int, limit: Expr) -> int:
        return self.below(self.row(i), i * self.mapping.groups, self.mapping.groups, limit)

    def col_below(self, q: int, limit: Expr) -> int:
        return self.below(self.col(q), q * self.mapping.threads, self.mapping.threads, limit)

    def inside(self, position: int, first: int, size: int, extent: int) -> int:
        """The position where it is below the extent, else 0: for what may be read but is not used."""
        within = self.below(position, first, size, const(extent))
        return self.scalars.select("i32", within, position, self.b.i(0)) if within else position

    def both(self, *conditions: int) -> int:
        """Whether all hold; 0 stands for one that always does."""
        found = [c for c in conditions if c]
        result = found[0] if found else 0
        for c in found[1:]:
            result = self.b.op("LogicalAnd", self.b.bool_t(), result, c)
        return result

    def only_first(self, rows: int, cols: int) -> int:
        """Whether this thread is the one that stores a tile with an extent of 1, which others hold too."""
        conditions = []
        if cols == 1 and self.mapping.threads > 1:
            conditions.append(self.b.op("IEqual", self.b.bool_t(), self.thread, self.b.i(0)))
        if rows == 1 and self.mapping.groups > 1:
            conditions.append(self.b.op("IEqual", self.b.bool_t(), self.group, self.b.i(0)))
        return self.both(*conditions)

    def guarded(self, condition: int, body: Callable[[], None]) -> None:
        """The body where the condition holds; 0: always."""
        if condition:
            with self.b.when(condition):
                body()
        else:
            body()

    def repeat(self, count: int, body: Callable[[int, int], None]) -> None:
        """The body for 0, 1, ... count - 1: with an id of the number, and the number or -1 in a loop."""
        if count <= UNROLL:
            for n in range(count):
                body(self.b.i(n), n)
            return
        with self.b.loop("n", self.b.i(0), lambda: self.b.i(count), 1) as n, self.indices.scope():
            body(n, -1)

    # -- tiles in registers ------------------------------------------------------------------------

    def tile(self, buffer: Buffer, key: Key) -> int:
        """The variable of an element that this thread holds of a register tile."""
        if (buffer.id, key) not in self._tiles:
            name = f"{buffer.id}_{key[0]}_{key[1]}"
            self._tiles[buffer.id, key] = self.b.local(self.scalars.type(buffer.dtype), name)
        return self._tiles[buffer.id, key]

    def keys(self, buffer: Buffer) -> list[Key]:
        """The elements that a thread holds of a register tile."""
        assert isinstance(buffer.storage, Distributed)
        mapping = parse(buffer.storage.map)
        rows, chunks = mapping.rows(buffer.rows.value), mapping.chunks(buffer.cols.value)
        return [(i, q) for i in range(rows) for q in range(chunks)]

    def read(self, buffer: Buffer, key: Key) -> int:
        return self.b.load(self.scalars.type(buffer.dtype), self.tile(buffer, key))

    def write(self, buffer: Buffer, key: Key, value: int) -> None:
        self.b.store(self.tile(buffer, key), value)

    # -- arrays and shared memory ------------------------------------------------------------------

    def element(self, storage: Global, index: int) -> int:
        """The pointer to an element of an array."""
        kind = self.scalars.type(self.interface.dtypes[storage.parameter])
        pointer = self.b.pointer("StorageBuffer", kind)
        variable = self.interface.arrays[storage.parameter]
        return self.b.op("AccessChain", pointer, variable, self.b.i(0), index or self.b.i(0))

    def start(self, access: Access, storage: Global) -> int:
        """The index of an access's first element."""
        row, col = storage.strides
        return self.offset(storage.offset + access.rows.start * row + access.cols.start * col)

    def shared_element(self, storage: Placed, index: int) -> int:
        kind = self.scalars.type(self.shared_dtype)
        at = self.plus(index, self.offset(const(storage.offset // 4))) or self.b.i(0)
        return self.b.op("AccessChain", self.b.pointer("Workgroup", kind), self.shared, at)

    def shared_read(self, buffer: Buffer, index: int) -> int:
        assert isinstance(buffer.storage, Placed)
        value = self.b.load(self.scalars.type(self.shared_dtype), self.shared_element(buffer.storage, index))
        return value if buffer.dtype == self.shared_dtype else self.scalars.bits(buffer.dtype, value)

    def shared_write(self, buffer: Buffer, index: int, value: int) -> None:
        assert isinstance(buffer.storage, Placed)
        bits = value if buffer.dtype == self.shared_dtype else self.scalars.bits(self.shared_dtype, value)
        self.b.store(self.shared_element(buffer.storage, index), bits)


def extents(accesses: Sequence[Access]) -> tuple[int, int]:
    """The rows and columns of the largest box."""
    return max(a.rows.size.value for a in accesses), max(a.cols.size.value for a in accesses)
