"""How the elements of a tile are spread over the threads of a block.

A block is `groups` row groups of `threads` threads. Element (r, c) belongs to group `r % groups` and, in it, to
thread `c // vector % threads`: neighbouring threads hold neighbouring vectors of a row. An extent of 1 is repeated: a
[R, 1] tile is on every thread of its row group, a [1, C] tile in every group, and one of them stores it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tilebuild.plan.model import Distributed, Plan

ROW_VALUES = 32  # of one row in a thread: enough loads in flight to hide the latency of memory
_PARTIAL = " partial"


@dataclass(frozen=True)
class Limits:
    """What one architecture gives a block of threads. `warp` is the number of threads that exchange registers without
    memory, 0 where none may; `values` what a thread can keep of tiles in registers, in 4-byte words; `registers` what
    all threads of a block share of them; `vector` the elements that one access of an array moves; `dot` the groups
    and threads of a kernel with a matrix product. Sizes in bytes."""

    target: str
    arch: str
    threads: int
    warp: int
    shared_bytes: int
    values: int
    registers: int
    vector: int
    dot: tuple[int, int]
    shared_alignment: int = 16


@dataclass(frozen=True)
class Mapping:
    """The spread of one kernel's tiles; all three are powers of two."""

    groups: int
    threads: int
    vector: int

    def __str__(self) -> str:
        return f"{self.groups}x{self.threads}x{self.vector}"

    @property
    def block(self) -> int:
        """The threads of a block."""
        return self.groups * self.threads

    def rows(self, rows: int) -> int:
        """The rows that a thread holds of a tile with so many."""
        return -(-rows // self.groups)

    def chunks(self, cols: int) -> int:
        """The vectors that a thread holds of each of its rows; a repeated column is one."""
        return 1 if cols == 1 else -(-cols // (self.threads * self.vector))

    def lanes(self, cols: int) -> int:
        """The elements of one of those vectors."""
        return 1 if cols == 1 else self.vector

    def values(self, rows: int, cols: int) -> int:
        """The elements that a thread holds of a tile."""
        return self.rows(rows) * self.chunks(cols) * self.lanes(cols)

    def tile(self) -> Distributed:
        """The storage of a tile."""
        return Distributed(str(self))

    def partial(self) -> Distributed:
        """The storage of a tile's [R, 1] reduction before the threads of a row group have combined theirs: a value of
        its own on every thread."""
        return Distributed(f"{self}{_PARTIAL}")


def parse(text: str) -> Mapping:
    """The mapping that the text of a storage, or of a load's or store's attribute `map`, names; raises ValueError."""
    groups, threads, vector = map(int, text.removesuffix(_PARTIAL).split("x"))
    return Mapping(groups, threads, vector)


def is_partial(storage: Distributed) -> bool:
    """Whether each thread holds a partial result of its own there, see `Mapping.partial`."""
    return storage.map.endswith(_PARTIAL)


def mapping_of(plan: Plan) -> Mapping:
    """A plan's one mapping; raises ValueError where nothing in it names one."""
    for buffer in plan.buffers:
        if isinstance(buffer.storage, Distributed):
            return parse(buffer.storage.map)
    for instr in plan.instructions:
        if instr.op in ("load", "store"):
            return parse(str(instr.attr("map")))
    raise ValueError(f"{plan.variant} touches no array")


def choose(shapes: Iterable[tuple[int, int]], limits: Limits, *, dot: bool, across_rows: bool) -> Mapping:
    """The mapping for a kernel with tiles of these shapes. `dot`: it has a matrix product. `across_rows`: it reduces
    over rows, which then lie all in one thread."""
    found = list(shapes)
    rows = max((r for r, _ in found), default=1)
    cols = max((c for _, c in found), default=1)
    if dot:
        groups, threads = limits.dot
        return Mapping(groups, threads, _vector(found, limits, threads))
    vector = _vector(found, limits, 1)
    vectors = -(-cols // vector)
    threads = min(max(_power(-(-cols // ROW_VALUES)), min(_power(vectors), max(limits.warp, 32))), limits.threads)
    if across_rows:
        return Mapping(1, max(threads, limits.warp), vector)
    groups = 1
    while groups < rows and groups * threads * 2 <= limits.threads:
        groups *= 2
    while groups * threads < limits.warp:  # a shuffle needs a whole warp; the groups past the rows stay idle
        groups *= 2
    return Mapping(groups, threads, vector)


def _vector(shapes: Iterable[tuple[int, int]], limits: Limits, threads: int) -> int:
    """Elements side by side in a thread: as many as an access moves, where every row divides by that."""
    wide = [c for _, c in shapes if c > 1]
    vector = limits.vector
    while vector > 1 and any(c % (vector * threads) for c in wide):
        vector //= 2
    return vector


def _power(n: int) -> int:
    """The least power of two that is at least n."""
    return 1 << max(0, n - 1).bit_length()
