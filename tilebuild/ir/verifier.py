"""Rules on a whole kernel that need proofs: indices inside their arrays (R09), one writer an element (R10), outputs
covered (R11), no load after an overlapping store (R12), and that every symbol is declared.

Types and the valid-region algebra are the operations' own (`infer`). Every message carries the operation's span.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
from typing import cast

from xdsl.ir import Block, BlockArgument, SSAValue

from tilebuild.diagnostics import Diagnostic
from tilebuild.ir import infer
from tilebuild.ir.dialect import ForOp, FuncOp, LoadOp, ProgramOp, StoreOp, ViewIndexOp, _ViewOp
from tilebuild.ir.spans import span_of
from tilebuild.ir.types import TileType, ViewType
from tilebuild.plan.bounds import Range, Ranges, at_most, nonnegative
from tilebuild.plan.expr import Expr, Sym, const, emin, parse_predicates, sym


def facts_to_ranges(facts: Sequence[str], ranges: MutableMapping[str, Range]) -> None:
    """Narrow the ranges by facts of the form `symbol <= constant` (also `<`, `>=`, `>`, `==`)."""
    for fact in facts:
        for p in parse_predicates(fact):
            difference = p.left - p.right  # symbol + c, against zero
            symbols = [(m, c) for m, c in difference.terms if m]
            if len(symbols) != 1 or len(symbols[0][0]) != 1 or symbols[0][1] != 1:
                continue
            atom = symbols[0][0][0]
            if not isinstance(atom, Sym) or atom.name not in ranges:
                continue
            limit = const(0) - (difference - Expr((symbols[0],)))
            lo, hi = ranges[atom.name].lo, ranges[atom.name].hi
            if p.op in ("<=", "<", "=="):
                end = limit - 1 if p.op == "<" else limit
                hi = end if hi is None else emin(hi, end)
            if p.op in (">=", ">", "=="):
                end = limit + 1 if p.op == ">" else limit
                lo = end if lo is None or at_most(lo, end, {}) else lo
            ranges[atom.name] = Range(lo, hi)


def simplify(e: Expr, ranges: Ranges) -> Expr:
    """A `min` of two whose order is proved becomes the smaller one."""
    if len(e.terms) != 1 or len(e.terms[0][0]) != 1 or e.terms[0][1] != 1:
        return e
    atom = e.terms[0][0][0]
    if isinstance(atom, Sym) or atom.op != "min":
        return e
    kept = list(atom.args)
    for a in atom.args:
        if len(kept) > 1 and any(b is not a and at_most(b, a, ranges) for b in kept):
            kept.remove(a)
    return emin(*kept)


def simplify_valid(t: TileType, ranges: Ranges) -> TileType:
    """The type with its valid region's extents simplified under what is known."""
    return TileType.of(t.shape, t.dtype, (simplify(t.valid[0], ranges), simplify(t.valid[1], ranges)))


def verify(func: FuncOp) -> list[Diagnostic]:
    """All findings, errors and warnings, in program order."""
    return _Verifier(func).run()


class _Access:
    """One load or store with the loops around it and the array it touches."""

    def __init__(self, op: LoadOp | StoreOp, loops: tuple[ForOp, ...], ranges: dict[str, Range], position: int) -> None:
        self.op, self.loops, self.ranges, self.position = op, loops, ranges, position
        self.view = cast(ViewType, op.view.type)
        self.tile = cast(TileType, op.tile.type if isinstance(op, StoreOp) else op.result.type)
        self.root, self.indices = _root(op.view)

    @property
    def coordinates(self) -> list[Expr]:
        """What selects the tile: indices into leading dimensions, then tile row and column."""
        row, col = self.op.start
        return [*self.indices, row // self.tile.shape[0], col // self.tile.shape[1]]


def _root(view: SSAValue) -> tuple[int, list[Expr]]:
    indices: list[Expr] = []
    while isinstance(owner := view.owner, _ViewOp):
        if isinstance(owner, ViewIndexOp):
            indices = owner.exprs + indices
        view = owner.source
    assert isinstance(view, BlockArgument)
    return view.index, indices


class _Verifier:
    def __init__(self, func: FuncOp) -> None:
        self.func, self.file = func, func.file.data
        self.names = [p.data for p in func.params]
        self.found: list[Diagnostic] = []
        self.accesses: list[_Access] = []
        self.ids: list[tuple[str, Expr]] = []

    def run(self) -> list[Diagnostic]:
        ranges: dict[str, Range] = {d.data: Range(const(1)) for d in self.func.dims}
        for name, arg in zip(self.names, self.func.body.block.args):
            if isinstance(arg.type, ViewType):
                ranges |= {f"{name}__s{a}": Range(const(0)) for a in range(len(arg.type.dims) - 1)}
        facts_to_ranges([r.data for r in self.func.requires], ranges)
        self.block(self.func.body.block, ranges, ())
        for access in self.accesses:
            self.in_bounds(access)
        if not any(d.severity == "error" for d in self.found):
            self.single_writer()
            self.load_after_store()
            self.coverage()
        return self.found

    def report(self, code: str, message: str, op: object, fix: str = "", severity: str = "error") -> None:
        span = span_of(op, self.file)  # type: ignore[arg-type]
        self.found.append(Diagnostic(code, message, span, fix=fix, severity=severity))

    def block(self, block: Block, ranges: dict[str, Range], loops: tuple[ForOp, ...]) -> None:
        for op in block.ops:
            if isinstance(op, ProgramOp):
                self.ids = op.grid
                for name, extent in op.grid:
                    ranges[name] = Range(const(0), extent - 1)
            elif isinstance(op, ForOp):
                lower, upper = op.bounds
                self.block(op.body.block, {**ranges, op.id.data: Range(lower, upper - 1)}, (*loops, op))
            elif isinstance(op, (LoadOp, StoreOp)):
                self.accesses.append(_Access(op, loops, ranges, len(self.accesses)))

    def in_bounds(self, access: _Access) -> None:
        """R09, and the part of R13 that needs a proof: a load's valid region is the clip."""
        op, ranges = access.op, access.ranges
        extents = infer.extents_2d(access.view)
        name = self.names[access.root]
        for axis, (start, extent, size) in enumerate(zip(op.start, extents, access.tile.shape)):
            undeclared = sorted((start.symbols | extent.symbols) - set(ranges))
            if undeclared:
                self.report("E310", f"{', '.join(undeclared)} in an access to {name} is not declared", op)
                return
            if nonnegative(start, ranges) and at_most(start, extent - 1, ranges):
                continue
            index, count = start // size, (extent + (size - 1)) // size
            self.report(
                "E301",
                f"the tile index {index} of {name} is not proved inside 0 .. {count} - 1 ({'rows' if axis == 0 else 'columns'} "
                f"start at {start} of {extent})",
                op,
                f"index with a program id or loop variable that runs over tb.cdiv({extent}, {size})",
            )
            return
        for axis, (index, extent) in enumerate(zip(access.indices, self.leading_extents(access))):
            if not (nonnegative(index, ranges) and at_most(index, extent - 1, ranges)):
                self.report("E301", f"the index {index} of {name} (axis {axis}) is not proved inside 0 .. {extent} - 1", op)
                return
        if isinstance(op, LoadOp):
            for valid, start, extent, size in zip(access.tile.valid, op.start, extents, access.tile.shape):
                clip = emin(size, extent - start)
                if not (at_most(valid, clip, ranges) and at_most(clip, valid, ranges)):
                    self.report("E208", f"the load of {name} claims {valid} valid lanes where the array has {clip}", op)

    def leading_extents(self, access: _Access) -> Iterator[Expr]:
        root = cast(ViewType, self.func.body.block.args[access.root].type)
        return iter(root.dims)

    def stores(self) -> list[_Access]:
        return [a for a in self.accesses if isinstance(a.op, StoreOp)]

    def single_writer(self) -> None:
        """R10: every program id stands alone in one coordinate of each store."""
        axes = {name for name, extent in self.ids if not at_most(extent, 1, {**self.dims_ranges()})}
        for access in self.stores():
            ids = {name for name, _ in self.ids} | {loop.id.data for loop in access.loops}
            for axis in sorted(axes):
                alone = any(
                    axis in e.symbols and not (e.symbols & (ids - {axis})) and (e - sym(axis)).symbols.isdisjoint({axis})
                    for e in access.coordinates
                )
                if not alone:
                    self.report(
                        "E302",
                        f"programs that differ in {axis} are not proved to write different elements of {self.names[access.root]}",
                        access.op,
                        f"index the store with {axis}",
                    )

    def dims_ranges(self) -> Ranges:
        return self.accesses[0].ranges if self.accesses else {}

    def load_after_store(self) -> None:
        """R12 and R21: an `InOut` is loaded and stored tile by tile, each tile loaded before it is stored."""
        for root in sorted({a.root for a in self.stores()}):
            same = [a for a in self.accesses if a.root == root]
            loads = [a for a in same if isinstance(a.op, LoadOp)]
            stores = [a for a in same if isinstance(a.op, StoreOp)]
            for load in loads:
                for store in stores:
                    matched = load.coordinates == store.coordinates and load.tile.shape == store.tile.shape
                    loops_ok = load.loops == store.loops and all(
                        any(loop.id.data in e.symbols for e in store.coordinates) for loop in store.loops
                    )
                    if not (matched and loops_ok and load.position < store.position):
                        self.report(
                            "E306",
                            f"this load of {self.names[root]} may read what a store of the kernel wrote",
                            load.op,
                            "load the tile once, before it is stored, with the same indices",
                        )
                        return

    def coverage(self) -> None:
        """R11: a warning where the stores are not seen to cover an output."""
        for index, arg in enumerate(self.func.body.block.args):
            if not isinstance(arg.type, ViewType) or arg.type.mode != "out":
                continue
            stores = [a for a in self.stores() if a.root == index]
            if not any(self.covers(a) for a in stores):
                self.report(
                    "W311",
                    f"the stores are not seen to cover {self.names[index]}: elements may stay unwritten",
                    stores[-1].op if stores else self.func.program,
                    severity="warning",
                )

    def covers(self, access: _Access) -> bool:
        ranges = access.ranges
        for e, extent, size, valid, start in zip(
            access.coordinates[-2:], infer.extents_2d(access.view), access.tile.shape, access.tile.valid, access.op.start
        ):
            count = (extent + (size - 1)) // size
            spans = e.is_const and e == const(0) and at_most(count, 1, ranges)
            for name, known in ranges.items():
                spans = spans or (e == sym(name) and known.lo == const(0) and known.hi == count - 1)
            if not spans or not at_most(emin(size, extent - start), valid, ranges):
                return False
        return True


