"""The plan's data: frozen, target neutral in shape, complete enough to emit code from and to judge.

A plan is one kernel variant on one target and architecture. Its instructions stand in program order inside a
tree of regions and say which boxes of which buffers they read and write; nothing in a plan refers to the
kernel's source except spans. All sizes are in elements unless a name says bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Union

from tilebuild.diagnostics import Span
from tilebuild.plan.bounds import Range
from tilebuild.plan.expr import Expr, Predicate

SCHEMA = 1

DTYPE_BYTES: Mapping[str, int] = {
    "bool": 1, "i8": 1, "u8": 1, "i32": 4, "u32": 4, "f16": 2, "bf16": 2, "f32": 4,
}  # fmt: skip

AttrValue = Union[int, str]  # floating-point literals are kept as text: JSON has no infinity


@dataclass(frozen=True)
class Symbol:
    """A named integer with its inclusive range; the ends may name symbols declared before it."""

    name: str
    kind: str  # "dim" | "stride" | "scalar" | "program" | "loop"
    lo: Expr | None = None
    hi: Expr | None = None


@dataclass(frozen=True)
class Parameter:
    """An array (`dims` in elements, outermost first) or, with mode "scalar", a number."""

    name: str
    mode: str  # "in" | "out" | "inout" | "scalar"
    dtype: str
    dims: tuple[Expr, ...] = ()


@dataclass(frozen=True)
class Contract:
    """Every hypothesis the code relies on; the launcher checks each one before a launch.

    Arrays have innermost stride 1 (an extent of 1 has any), other strides are the symbols `<parameter>__s<axis>`
    in elements, and no output overlaps another parameter. `facts` all hold.
    """

    parameters: tuple[Parameter, ...]
    facts: tuple[Predicate, ...] = ()


@dataclass(frozen=True)
class Space:
    """An on-chip memory: capacity and the alignment of every buffer in it, both in bytes."""

    name: str
    capacity: int
    alignment: int


@dataclass(frozen=True)
class Unplaced:
    """Wants `bytes` in `space`; the planner turns it into `Placed`. Never in a finished plan."""

    space: str
    bytes: int


@dataclass(frozen=True)
class Placed:
    """Bytes `[offset, offset + bytes)` of a space, the same for every program that runs there."""

    space: str
    offset: int
    bytes: int


@dataclass(frozen=True)
class Distributed:
    """A register tile, spread over threads by a named map; its bytes are the assembler's to report."""

    map: str


@dataclass(frozen=True)
class Fused:
    """Never in memory: each lane is produced and consumed inside one nest."""


@dataclass(frozen=True)
class Global:
    """A two-dimensional view of a parameter's array: element (r, c) is at offset + r*strides[0] + c*strides[1]."""

    parameter: str
    offset: Expr
    strides: tuple[Expr, Expr]


Storage = Union[Placed, Distributed, Fused, Global, Unplaced]


@dataclass(frozen=True)
class Layout:
    """How a placed tile's elements lie: the block layout, the layout inside a box, the box in bytes."""

    blayout: str = "row_major"
    slayout: str = "none_box"
    fractal: int = 0
    pad: str = "none"


@dataclass(frozen=True)
class Buffer:
    """A tile or a view. `slot` of `slots` numbers the copies of a multi-buffered tile; a view of another
    buffer's bytes names it in `root`."""

    id: str
    storage: Storage
    dtype: str
    rows: Expr
    cols: Expr
    layout: Layout = Layout()
    slot: int = 0
    slots: int = 1
    root: str = ""
    span: Span | None = None


@dataclass(frozen=True)
class Slice:
    """`size` positions from `start`, `step` apart."""

    start: Expr
    size: Expr
    step: int = 1


@dataclass(frozen=True)
class Access:
    """The box of a buffer that an instruction touches; only lanes inside `valid` (a prefix of the box in
    both directions) are really read or written."""

    buffer: str
    rows: Slice
    cols: Slice
    valid: tuple[Expr, Expr]


@dataclass(frozen=True)
class Instr:
    """One operation on whole boxes. Reads and writes are in operand order; `attrs` are sorted by name."""

    id: int
    op: str
    reads: tuple[Access, ...] = ()
    writes: tuple[Access, ...] = ()
    region: int = 0
    engine: str = ""
    attrs: tuple[tuple[str, AttrValue], ...] = ()
    span: Span | None = None

    def attr(self, name: str) -> AttrValue:
        """The attribute; raises KeyError."""
        return dict(self.attrs)[name]


@dataclass(frozen=True)
class Region:
    """A node of the region tree; region 0 is the program itself, run once for every point of the grid.

    kind "loop": `var` runs from `lower` to `upper` (exclusive) by `step`, in order.
    kind "nest": the instructions run fused, lane by lane, over `lanes` (rows, cols): an instruction that reads what
    another one of the nest wrote sees the value of its own lane only.
    kind "branch": the body runs where all of `when` hold.
    """

    id: int
    parent: int
    kind: str  # "program" | "loop" | "nest" | "branch"
    var: str = ""
    lower: Expr | None = None
    upper: Expr | None = None
    step: int = 1
    lanes: tuple[Expr, Expr] | None = None
    when: tuple[Predicate, ...] = ()
    span: Span | None = None


@dataclass(frozen=True)
class Edge:
    """A dependency that something must enforce: `source` before `target`, `distance` loop iterations apart."""

    source: int
    target: int
    kind: str  # "raw" | "war" | "waw"
    carrier: str = "program order"
    distance: int = 0


@dataclass(frozen=True)
class Launch:
    """`grid` is the logical grid: program ids are `program` symbols in the same order. Sizes in bytes."""

    grid: tuple[Expr, ...]
    order: str = "row"
    block: tuple[int, ...] = ()
    registers: int = 0
    shared_static: int = 0
    shared_dynamic: int = 0
    cluster: int = 1
    push_constants: int = 0
    stack: int = 0
    workspace: Expr = field(default_factory=lambda: Expr(()))


@dataclass(frozen=True)
class Plan:
    """All that is physical about one kernel variant on one target and architecture."""

    target: str
    arch: str
    kernel: str
    variant: str
    source: str
    contract: Contract
    symbols: tuple[Symbol, ...]
    spaces: tuple[Space, ...]
    buffers: tuple[Buffer, ...]
    regions: tuple[Region, ...]
    instructions: tuple[Instr, ...]
    launch: Launch
    edges: tuple[Edge, ...] = ()
    schema: int = SCHEMA

    def ranges(self) -> dict[str, Range]:
        """The symbols' ranges, in declaration order, for `tilebuild.plan.bounds`."""
        return {s.name: Range(s.lo, s.hi) for s in self.symbols}

    def scratch(self) -> dict[str, int]:
        """High-water bytes of every space that the plan places something in."""
        high: dict[str, int] = {}
        for b in self.buffers:
            if isinstance(b.storage, Placed):
                high[b.storage.space] = max(high.get(b.storage.space, 0), b.storage.offset + b.storage.bytes)
        return high
