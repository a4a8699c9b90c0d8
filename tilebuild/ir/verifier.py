"""Rules on a whole kernel that need proofs: indices inside their arrays (R09), one writer an element (R10), outputs
covered (R11), no load after an overlapping store (R12), and that every symbol is declared.

Types and the valid-region algebra are the operations' own (`infer`). Every message carries the operation's span.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from xdsl.ir import Block, BlockArgument, Operation, SSAValue

from tilebuild.diagnostics import Diagnostic
from tilebuild.ir import infer
from tilebuild.ir.dialect import (
    AssumeOp,
    AtomicAddOp,
    ForOp,
    FuncOp,
    GatherOp,
    IndexOp,
    LoadOp,
    NarrowOp,
    ProgramOp,
    ScatterOp,
    StoreOp,
    ViewIndexOp,
    ViewTransposeOp,
    WindowOp,
    _ViewOp,
)
from tilebuild.ir.facts import facts_to_ranges, guards
from tilebuild.ir.injective import Coordinate, covered, determined
from tilebuild.ir.spans import span_of
from tilebuild.ir.types import TileType, ViewType, parse_expr
from tilebuild.plan.bounds import Range, Ranges, at_most, nonnegative
from tilebuild.plan.expr import Expr, cdiv, const, emin, parse_predicates, sym


def verify(func: FuncOp) -> list[Diagnostic]:
    """All findings, errors and warnings, in program order."""
    return _Verifier(func).run()


class _Access:
    """One load or store with the loops around it and the array it touches."""

    def __init__(
        self,
        op: LoadOp | StoreOp | WindowOp | AtomicAddOp,
        loops: tuple[ForOp, ...],
        ranges: dict[str, Range],
        position: int,
    ) -> None:
        self.op, self.loops, self.ranges, self.position = op, loops, ranges, position
        self.view = cast(ViewType, op.view.type)
        self.tile = cast(TileType, op.tile.type if isinstance(op, (StoreOp, AtomicAddOp)) else op.result.type)
        self.root, self.indices, axes = _resolve(op.view)
        # by axis of the whole array, whatever transposes and indices lie between
        self.coordinates = {axis: Coordinate(index, 1) for axis, index in self.indices}
        for axis, start, size in zip(axes[-2:], op.start[-len(axes) :], self.tile.shape[-len(axes) :]):
            if axis is not None:
                self.coordinates[axis] = Coordinate(start, size)

    @property
    def ids(self) -> list[str]:
        return [loop.id.data for loop in self.loops]

    @property
    def axes(self) -> list[Coordinate]:
        return [self.coordinates[axis] for axis in sorted(self.coordinates)]


def _resolve(view: SSAValue) -> tuple[BlockArgument, list[tuple[int, Expr]], list[int | None]]:
    """The array that a view is a part of, the index of each axis that the view fixes, and the axis that each of its
    dimensions is (None for the one that `.col` adds)."""
    chain: list[_ViewOp] = []
    while isinstance(owner := view.owner, _ViewOp):
        chain.append(owner)
        view = owner.source
    root = cast(BlockArgument, view)
    fixed: list[tuple[int, Expr]] = []
    axes: list[int | None] = list(range(len(cast(ViewType, root.type).dims)))
    for op in reversed(chain):
        if isinstance(op, ViewIndexOp):
            n = len(op.indices)
            fixed += [(axis, e) for axis, e in zip(axes[:n], op.exprs) if axis is not None]
            axes = axes[n:]
        elif isinstance(op, ViewTransposeOp):
            axes[-2:] = axes[:-3:-1]
        else:
            axes.append(None)
    return root, fixed, axes


class _Verifier:
    def __init__(self, func: FuncOp) -> None:
        self.func, self.file = func, func.file.data
        self.names = [p.data for p in func.params]
        self.found: list[Diagnostic] = []
        self.accesses: list[_Access] = []
        self.ids: list[tuple[str, Expr]] = []
        self.ranges: dict[str, Range] = {}  # outside of all loops

    def run(self) -> list[Diagnostic]:
        ranges = self.ranges
        ranges |= {d.data: Range(const(1)) for d in self.func.dims}
        for name, arg in zip(self.names, self.func.body.block.args):
            if isinstance(arg.type, ViewType):
                ranges |= {f"{name}__s{a}": Range(const(0)) for a in range(len(arg.type.dims) - 1)}
        facts_to_ranges([r.data for r in self.func.requires], ranges)
        self.declared(self.func, ranges)
        self.block(self.func.body.block, ranges, ())
        if not self.found:
            for access in self.accesses:
                self.in_bounds(access)
        if not self.found:
            self.updates()
            self.single_writer()
            self.load_after_store()
        if not self.found:
            self.coverage()
        return self.found

    def report(self, code: str, message: str, op: Operation, fix: str = "", *, other: Operation | None = None) -> None:
        severity = "warning" if code.startswith("W") else "error"
        notes = () if other is None else ((span_of(other, self.file), "the store"),)
        self.found.append(Diagnostic(code, message, span_of(op, self.file), notes, fix, severity))

    def name(self, access: _Access) -> str:
        return self.names[access.root.index]

    def block(self, block: Block, ranges: dict[str, Range], loops: tuple[ForOp, ...]) -> None:
        for op in block.ops:
            self.declared(op, ranges)
            if isinstance(op, ProgramOp):
                self.ids = op.grid
                ranges |= {name: Range(const(0), extent - 1) for name, extent in op.grid}
            elif isinstance(op, AssumeOp):
                self.assumption(op, ranges)
            elif isinstance(op, ForOp):
                lower, upper = op.bounds
                self.block(op.body.block, {**ranges, op.id.data: Range(lower, upper - 1)}, (*loops, op))
            elif isinstance(op, (LoadOp, StoreOp, WindowOp, AtomicAddOp)):
                self.accesses.append(_Access(op, loops, ranges, len(self.accesses)))
            elif isinstance(op, (GatherOp, ScatterOp)):
                self.columns(op, ranges)
            elif isinstance(op, NarrowOp):
                before, after = (cast(TileType, v.type).valid for v in (op.value, op.result))
                if not all(at_most(b, a, ranges) for a, b in zip(before, after)):
                    message = (
                        f"the valid region [{after[0]}, {after[1]}] is not proved inside [{before[0]}, {before[1]}]"
                    )
                    self.report("E208", message, op)

    def declared(self, op: Operation, ranges: Ranges) -> None:
        used = frozenset[str]().union(*(e.symbols for e in _expressions(op)))
        unknown = sorted(used - set(ranges))
        if unknown:
            self.report("E310", f"{op.name} uses {', '.join(unknown)}, which is not declared there", op)

    def in_bounds(self, access: _Access) -> None:
        """R09, and the part of R13 that needs a proof: a load's valid region is the clip."""
        op, ranges, name = access.op, access.ranges, self.name(access)
        extents = infer.extents_2d(access.view)
        clipped = isinstance(op, WindowOp)  # what lies outside is not read
        for word, start, extent, size in zip(("row", "column"), op.start, extents, access.tile.shape):
            if clipped or (nonnegative(start, ranges) and at_most(start, extent - 1, ranges)):
                continue
            count = cdiv(extent, size)
            self.report(
                "E301",
                f"the {word} index {start // size} of {name} is not proved inside 0 .. {count - 1}: "
                f"{name} has {extent} {word}s in tiles of {size}",
                op,
                f"index with a program id or loop variable that runs over {_text_of_count(extent, size)}",
            )
            return
        dims = cast(ViewType, access.root.type).dims
        for axis, index in access.indices:
            if not (nonnegative(index, ranges) and at_most(index, dims[axis] - 1, ranges)):
                message = f"the index {index} of {name} (axis {axis}) is not proved inside 0 .. {dims[axis] - 1}"
                self.report("E301", message, op, f"index with an id that runs over {dims[axis]}")
                return
        if isinstance(op, LoadOp):
            for valid, start, extent, size in zip(access.tile.valid, op.start, extents, access.tile.shape):
                clip = emin(size, extent - start)
                if not (at_most(valid, clip, ranges) and at_most(clip, valid, ranges)):
                    self.report("E208", f"the load of {name} claims {valid} valid lanes where the array has {clip}", op)

    def assumption(self, op: AssumeOp, ranges: dict[str, Range]) -> None:
        """The launch contract implies what is assumed (R09), for every program."""
        required = {r.data for r in self.func.requires}
        for p in op.predicates:
            needed = guards(p, [d.data for d in self.func.dims], ranges)
            if needed is None or not {str(g) for g in needed} <= required:
                self.report("E312", f"the assumption {p} is not implied by what a launch checks", op, "tb.require(...)")
        facts_to_ranges([f.data for f in op.facts], ranges)

    def columns(self, op: GatherOp | ScatterOp, ranges: Ranges) -> None:
        """R09 of rows that the data names: their columns, and the leading indices of the array."""
        view = cast(ViewType, op.view.type)
        root, indices, _ = _resolve(op.view)
        name, dims = self.names[root.index], cast(ViewType, root.type).dims
        tile = cast(TileType, op.result.type if isinstance(op, GatherOp) else op.tile.type)
        places = [(index, dims[axis], f"axis {axis}") for axis, index in indices]
        if len(view.dims) == 2:
            places.append((op.start, view.dims[1], f"columns in tiles of {tile.shape[1]}"))
        for index, extent, what in places:
            if not (nonnegative(index, ranges) and at_most(index, extent - 1, ranges)):
                message = f"the index {index} of {name} ({what}) is not proved inside 0 .. {extent - 1}"
                self.report("E301", message, op, "index with an id that runs over the extent")

    def updates(self) -> None:
        """R12 and R21 for what the data names, or what programs change together: nothing else touches that array."""
        ops = [op for op in self.func.body.walk() if isinstance(op, (ScatterOp, AtomicAddOp))]
        for op in ops:
            root, _, _ = _resolve(op.view)
            how = op.mode.data if isinstance(op, ScatterOp) else "add"
            others = [a.op for a in self.accesses if a.root is root and not isinstance(a.op, AtomicAddOp)]
            modes = {o.mode.data if isinstance(o, ScatterOp) else "add" for o in ops if _resolve(o.view)[0] is root}
            clash = next(iter(others), op if modes != {how} else None)
            if clash is not None:
                message = f"{self.names[root.index]} is changed by {how} here, and touched in another way"
                fix = "let a kernel touch such an array in this one way only"
                self.report("E306", message, op, fix, other=clash)
                return

    def by_array(self) -> Iterator[tuple[list[_Access], list[_Access]]]:
        """Loads and stores of every array that is stored to."""
        for arg in self.func.body.block.args:
            stores = [a for a in self.accesses if a.root is arg and isinstance(a.op, StoreOp)]
            if stores:
                yield [a for a in self.accesses if a.root is arg and isinstance(a.op, LoadOp)], stores

    def single_writer(self) -> None:
        """R10: where stores of two programs to an array meet, all program ids are equal."""
        ids = [name for name, extent in self.ids if not at_most(extent, 1, self.ranges)]
        for _, stores in self.by_array():
            name, known = self.name(stores[0]), self.determined(stores)
            for id in [i for i in ids if i not in known]:
                places = dict.fromkeys(f"[{', '.join(str(c.start) for c in a.axes)}]" for a in stores)
                self.report(
                    "E302",
                    f"programs that differ in {id} are not proved to write different elements of {name}: the stores "
                    f"begin at {' and '.join(places)}, which does not tell {id}",
                    stores[-1].op,
                    f"index every store to {name} with {id}, or with {id} // n and {id} % n, in tiles that do not "
                    "overlap",
                )

    def determined(self, accesses: Sequence[_Access]) -> frozenset[str]:
        """The program and loop ids that are equal where two of the accesses meet, whichever programs they are in."""
        ids = {name for name, _ in self.ids}.union(*(a.ids for a in accesses))
        ranges = {n: r for a in accesses for n, r in a.ranges.items()}
        return determined([a.axes for a in accesses], ids, ranges)

    def load_after_store(self) -> None:
        """R12 and R21: an `InOut` is loaded and stored tile by tile, each tile loaded before it is stored."""
        for loads, stores in self.by_array():
            for load in loads:
                clash = next((s for s in stores if not self.before(load, s)), None)
                if clash is not None:
                    self.report(
                        "E306",
                        f"this load of {self.name(load)} may read what a store of the kernel wrote",
                        load.op,
                        "load the tile once, before it is stored, with the same indices",
                        other=clash.op,
                    )
                    return

    def before(self, load: _Access, store: _Access) -> bool:
        """The store writes what this load, and no other step's, has read."""
        if load.position > store.position or load.loops != store.loops or load.coordinates != store.coordinates:
            return False
        return set(load.ids) <= self.determined([store])

    def coverage(self) -> None:
        """R11: a warning where the stores are not seen to cover an output."""
        scattered = {_resolve(op.view)[0] for op in self.func.body.walk() if isinstance(op, ScatterOp)}
        for arg in self.func.body.block.args:
            if not isinstance(arg.type, ViewType) or arg.type.mode != "out" or arg in scattered:
                continue
            stores = [a for a in self.accesses if a.root is arg and isinstance(a.op, StoreOp)]
            if not any(self.covers(a) for a in stores) and not self.pieces_cover(stores):
                self.report(
                    "W311",
                    f"the stores are not seen to cover {self.names[arg.index]}: elements may stay unwritten",
                    stores[-1].op if stores else self.func.program,
                    f"store with ids that run over all tiles of {self.names[arg.index]}",
                )

    def pieces_cover(self, stores: Sequence[_Access]) -> bool:
        """The stores lie side by side: they differ along one axis only, whose extent they cut into known pieces."""
        along = {axis for a in stores for axis, c in stores[0].coordinates.items() if a.coordinates.get(axis) != c}
        if len(along) != 1:
            return False
        (axis,) = along
        extent, end = cast(ViewType, stores[0].root.type).dims[axis], const(0)
        parts = [a.coordinates[axis] for a in stores]
        if not all(start.is_const for start, _ in parts):
            return False
        for start, size in sorted(parts, key=lambda p: p[0].value):
            if start.value > end.value:
                return False
            end = const(max(end.value, start.value + size))
        return at_most(extent, end, self.ranges) and all(self.covers(a, axis) for a in stores)

    def covers(self, access: _Access, besides: int = -1) -> bool:
        """Each axis (`besides` one) is run over by an id of its own, every loop around runs, and the tile is valid to
        the clip."""
        ranges = access.ranges
        counts: dict[Expr, Expr] = {}
        for axis, extent in enumerate(cast(ViewType, access.root.type).dims):
            start, size = access.coordinates[axis]
            count = cdiv(extent, size)
            if axis == besides:
                continue
            if start == const(0) and at_most(count, 1, ranges):
                continue
            scale = start // size
            if scale * size != start or scale in counts:
                return False
            counts[scale] = count
        runs = {**ranges, **{name: Range(const(0), extent - 1) for name, extent in self.ids}}
        free = {sym(name) for name in ({name for name, _ in self.ids} | set(access.ids))}
        for id, count in covered(counts).items():
            if id not in free or runs[str(id)] != Range(const(0), count - 1):
                return False
        for loop in access.loops:
            lower, upper = loop.bounds
            if not at_most(lower + 1, upper, ranges):
                return False
        extents = infer.extents_2d(access.view)
        clips = [emin(size, e - start) for size, e, start in zip(access.tile.shape, extents, access.op.start)]
        return all(at_most(clip, valid, ranges) for clip, valid in zip(clips, access.tile.valid))


def _expressions(op: Operation) -> Iterator[Expr]:
    """Expressions in the operation's attributes and in the types of its results."""
    if isinstance(op, FuncOp):
        views = [t for t in op.body.block.arg_types if isinstance(t, ViewType)]
        yield from (e for t in views for e in (*t.dims, *t.strides, t.offset))
        yield from (e for fact in op.requires for p in parse_predicates(fact.data) for e in (p.left, p.right))
    elif isinstance(op, AssumeOp):
        yield from (e for p in op.predicates for e in (p.left, p.right))
    elif isinstance(op, ProgramOp):
        yield from (extent for _, extent in op.grid)
    elif isinstance(op, ForOp):
        yield from op.bounds
    elif isinstance(op, (LoadOp, StoreOp, WindowOp, AtomicAddOp)):
        yield from op.start
    elif isinstance(op, (GatherOp, ScatterOp)):
        yield op.start
    elif isinstance(op, ViewIndexOp):
        yield from op.exprs
    elif isinstance(op, IndexOp):
        yield parse_expr(op.expr.data)
    for result in op.results:
        if isinstance(result.type, TileType):
            yield from result.type.valid


def _text_of_count(extent: Expr, size: int) -> str:
    return str(extent) if size == 1 else f"tb.cdiv({extent}, {size})"
