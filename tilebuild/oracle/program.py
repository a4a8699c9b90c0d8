"""A plan made ready to be judged: its instructions as touches of buffers, in time steps, in a checked region tree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tilebuild.oracle.findings import VIOLATED, Findings
from tilebuild.oracle.regions import Node, check_visible, tree
from tilebuild.oracle.scopes import Scope, constant
from tilebuild.oracle.structure import FIXES, LARGEST, base_scope, check_declarations
from tilebuild.plan.expr import Expr
from tilebuild.plan.model import Access, Buffer, Global, Instr, Plan, Slice


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """One direction of a box; the lanes really touched lie in `[start, end)`, `step` apart."""

    start: Expr
    size: Expr
    step: int
    valid: Expr
    end: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Lanes:
    """A box and its valid part; equal ones are one object within a plan."""

    rows: Axis
    cols: Axis
    symbols: frozenset[str]

    @property
    def axes(self) -> tuple[Axis, Axis]:
        return self.rows, self.cols


@dataclass(frozen=True, slots=True, eq=False)
class Touch:
    """A read or a write of one box by one instruction. The instructions of a nest share one `step`; `root` is the
    buffer whose bytes are touched, the buffer itself unless it is a view."""

    instr: Instr
    index: int
    step: int
    write: bool
    buffer: Buffer
    root: Buffer
    lanes: Lanes
    node: Node


@dataclass(frozen=True, eq=False)
class Program:
    """`touches` are in program order, an instruction's reads before its writes; `operations` gives each instruction
    with its reads and writes."""

    plan: Plan
    base: Scope
    nodes: dict[int, Node]
    buffers: dict[str, Buffer]
    roots: dict[str, Buffer]
    operations: tuple[tuple[Instr, Node, tuple[Touch, ...], tuple[Touch, ...]], ...]
    local: dict[str, list[Touch]] = field(default_factory=dict)

    @property
    def touches(self) -> Iterator[Touch]:
        for _, _, reads, writes in self.operations:
            yield from reads
            yield from writes


class _Interner:
    """Makes equal boxes one object, so that later comparisons are made once. Identities are those of expressions that
    the plan holds, and so stay theirs."""

    def __init__(self) -> None:
        self._by_identity: dict[int, Expr] = {}
        self._by_value: dict[Expr, Expr] = {}
        self._lanes: dict[tuple[int, ...], Lanes] = {}
        self._boxes: dict[tuple[int, int, int], Lanes] = {}  # by the identities of what an access is made of
        self._sets: dict[frozenset[str], frozenset[str]] = {}
        self._unions: dict[tuple[int, int], frozenset[str]] = {}

    def names(self, names: frozenset[str]) -> frozenset[str]:
        return self._sets.setdefault(names, names)

    def union(self, a: frozenset[str], b: frozenset[str]) -> frozenset[str]:
        """The names of both, of which each is one that `names` has given."""
        key = id(a), id(b)
        found = self._unions.get(key)
        if found is None:
            found = self._unions[key] = self.names(a | b)
        return found

    def expr(self, e: Expr) -> Expr:
        found = self._by_identity.get(id(e))
        if found is None:
            found = self._by_identity[id(e)] = self._by_value.setdefault(e, e)
        return found

    def lanes(self, access: Access) -> Lanes:
        key = id(access.rows), id(access.cols), id(access.valid)
        found = self._boxes.get(key)
        if found is None:
            found = self._boxes[key] = self._equal_lanes(access)
        return found

    def _equal_lanes(self, access: Access) -> Lanes:
        r, c, expr = access.rows, access.cols, self.expr
        parts = (expr(r.start), expr(r.size), expr(access.valid[0]), expr(c.start), expr(c.size), expr(access.valid[1]))
        key = (*map(id, parts), r.step, c.step)
        found = self._lanes.get(key)
        if found is None:
            named = self.names(frozenset().union(*(e.symbols for e in parts)))
            found = Lanes(self._axis(r, parts[0:3]), self._axis(c, parts[3:6]), named)
            self._lanes[key] = found
        return found

    def _axis(self, s: Slice, parts: tuple[Expr, ...]) -> Axis:
        start, size, valid = parts
        return Axis(start, size, s.step, valid, start + (valid - 1) * s.step + 1)


def prepare(plan: Plan, faults: Findings) -> Program | None:
    """The plan ready for the checks, or None where its structure is broken; `faults` then says how."""
    check_declarations(plan, faults)
    if faults.listed:
        return None
    base = base_scope(plan, faults)
    nodes = tree(plan, base, faults)
    if faults.listed:
        return None
    buffers = {b.id: b for b in plan.buffers}
    program = _read(plan, base, nodes, buffers, faults)
    return None if faults.listed else program


def _read(plan: Plan, base: Scope, nodes: dict[int, Node], buffers: dict[str, Buffer], faults: Findings) -> Program:
    roots = {b.id: _root(b, buffers) if b.root else b for b in plan.buffers}
    interner = _Interner()
    names = {b.id: interner.names(symbols(b)) for b in plan.buffers}
    checked: set[tuple[int, int, int]] = set()
    operations = []
    local: dict[str, list[Touch]] = {}
    step = -1
    order = _Order(nodes)
    previous: Node | None = None
    for index, instr in enumerate(plan.instructions):
        node = nodes.get(instr.region)
        problem = order.enter(node) if node is not None else f"is in region {instr.region}, which does not exist"
        if node is None or problem:
            code = "O-PLAN-03" if node is None else "O-PLAN-04"
            _fault(faults, code, instr, problem)
            continue
        step += not (node is previous and node.region.kind == "nest")
        previous = node
        if node.last < node.first:
            node.first = step
        node.last = step
        sides: list[tuple[Touch, ...]] = []
        for accesses, write in ((instr.reads, False), (instr.writes, True)):
            side = []
            for access in accesses:
                buffer = buffers.get(access.buffer)
                if buffer is None:
                    _fault(faults, "O-PLAN-01", instr, f'touches buffer "{access.buffer}", which does not exist')
                    continue
                lanes = interner.lanes(access)
                used = interner.union(names[buffer.id], lanes.symbols)
                key = (id(lanes), id(used), id(node.scope.simplest(used)))
                if key not in checked:
                    checked.add(key)
                    _check_symbols(instr, buffer, used, node.scope, faults)
                    _check_sizes(instr, lanes, faults)
                touch = Touch(instr, index, step, write, buffer, roots[buffer.id], lanes, node)
                side.append(touch)
                if not isinstance(buffer.storage, Global):
                    local.setdefault(touch.root.id, []).append(touch)
            sides.append(tuple(side))
        operations.append((instr, node, sides[0], sides[1]))
    _spread(nodes)
    return Program(plan, base, nodes, buffers, roots, tuple(operations), local)


class _Order:
    """Follows the instructions through the region tree; a region that was left may not be entered again."""

    def __init__(self, nodes: dict[int, Node]) -> None:
        self._current = nodes[0]
        self._closed: set[int] = set()

    def enter(self, node: Node) -> str:
        """An empty string, or what is wrong."""
        while not self._current.contains(node) and self._current.parent is not None:
            self._closed.add(self._current.region.id)
            self._current = self._current.parent
        entered = node
        while entered is not self._current and entered.parent is not None:
            if entered.region.id in self._closed:
                return f"is in region {entered.region.id}, whose instructions ended before another region's began"
            entered = entered.parent
        self._current = node
        return ""


def _spread(nodes: dict[int, Node]) -> None:
    """Widen every region's steps to those of the regions inside it (children are entered after their parents)."""
    for node in sorted(nodes.values(), key=lambda n: -n.enter):
        parent = node.parent
        if parent is None or node.last < node.first:
            continue
        empty = parent.last < parent.first
        parent.first = node.first if empty else min(parent.first, node.first)
        parent.last = node.last if empty else max(parent.last, node.last)


def _root(buffer: Buffer, buffers: dict[str, Buffer]) -> Buffer:
    while buffer.root:
        buffer = buffers[buffer.root]
    return buffer


def symbols(buffer: Buffer) -> frozenset[str]:
    """The symbols that a buffer's extents, offset and strides name."""
    storage = buffer.storage
    extents = buffer.rows.symbols | buffer.cols.symbols
    if not isinstance(storage, Global):
        return extents
    return extents.union(*(e.symbols for e in (storage.offset, *storage.strides)))


def _check_symbols(instr: Instr, buffer: Buffer, used: frozenset[str], scope: Scope, faults: Findings) -> None:
    what = f'instruction {instr.id} ({instr.op}), which touches buffer "{buffer.id}",'
    check_visible(used, scope, faults, what, span=instr.span, instructions=(instr.id,))


def _check_sizes(instr: Instr, lanes: Lanes, faults: Findings) -> None:
    for axis in lanes.axes:
        size = constant(axis.size)
        if axis.step < 1 or (size is not None and not 0 <= size <= LARGEST):
            _fault(faults, "O-PLAN-07", instr, f"has a box of size {axis.size} and step {axis.step}")


def _fault(faults: Findings, code: str, instr: Instr, problem: str) -> None:
    message = f"instruction {instr.id} ({instr.op}) {problem}"
    faults.add(code, VIOLATED, message, span=instr.span, instructions=(instr.id,), fix=FIXES[code])
