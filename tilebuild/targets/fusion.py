"""L1 to a schedule of nests: which elementwise work runs in one pass over a tile, and what must be in memory.

Every operation becomes a `Step`. Steps over the same lanes are fused into one `Nest` wherever each lane needs only
its own lane of what the nest computes; reductions, matrix products, fills and transposes end a nest. Loads of `In`
arrays, constants and other cheap values are not scheduled: each nest that needs them makes them again.
Targets turn a schedule into their plan.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Union, cast

from xdsl.ir import Block, BlockArgument, Operation, OpResult, SSAValue

from tilebuild.ir import infer
from tilebuild.ir.dialect import (
    AssumeOp,
    AtomicAddOp,
    BinaryOp,
    CastOp,
    ConstantOp,
    DotOp,
    FillOp,
    ForOp,
    FullOp,
    FuncOp,
    GatherOp,
    IndexOp,
    IotaOp,
    LoadOp,
    NarrowOp,
    ProgramOp,
    ReduceOp,
    ScatterOp,
    SelectOp,
    ShapeOp,
    StoreOp,
    TransposeOp,
    UnaryOp,
    WindowOp,
    YieldOp,
    _ViewOp,
)
from tilebuild.ir.facts import facts_to_ranges, simplify
from tilebuild.ir.types import TileType, ViewType
from tilebuild.plan.bounds import Range, nonnegative
from tilebuild.plan.expr import Expr, const, emin

_NOT_SCHEDULED = (
    ProgramOp, AssumeOp, _ViewOp, NarrowOp, ConstantOp, IndexOp, FullOp, IotaOp, WindowOp, YieldOp,
)  # fmt: skip
Lanes = tuple[tuple[int, int], tuple[Expr, Expr]]  # extents and valid region


@dataclass(eq=False)
class Step:
    """One operation: `op` in the plan's vocabulary. `result` is the L1 value it makes, or, for a loop-carried
    value's start and update, `carried` names the loop's block argument it writes."""

    op: str
    source: Operation
    operands: tuple[SSAValue, ...]
    lanes: Lanes
    result: SSAValue | None = None
    carried: BlockArgument | None = None


@dataclass(eq=False)
class Nest:
    """Steps that run lane by lane in one pass over `lanes`."""

    lanes: Lanes
    steps: list[Step] = field(default_factory=list)


@dataclass(eq=False)
class Single:
    """A step on whole tiles."""

    step: Step


@dataclass(eq=False)
class Loop:
    op: ForOp
    items: list[Item]


Item = Union[Nest, Single, Loop]


def tile_lanes(value: SSAValue) -> Lanes:
    """Extents and valid region of a tile; a scalar is one lane."""
    t = value.type
    return (t.shape, t.valid) if isinstance(t, TileType) else ((1, 1), (const(1), const(1)))


def strip(value: SSAValue) -> SSAValue:
    """The value without the `narrow`s around it: they change what is valid, not what is stored."""
    while isinstance(value.owner, NarrowOp):
        value = value.owner.value
    return value


def is_cheap(value: SSAValue) -> bool:
    """Made again in each nest that uses it, instead of kept."""
    owner = strip(value).owner
    if isinstance(owner, LoadOp):
        return cast(ViewType, owner.view.type).mode == "in"
    if isinstance(owner, (ConstantOp, IndexOp, FullOp, IotaOp, WindowOp)):
        return True
    # a scalar parameter; a block argument of a loop is a carried value
    return isinstance(owner, Block) and isinstance(owner.parent_op(), FuncOp)


def schedule(func: FuncOp, keep: Collection[SSAValue] = ()) -> list[Item]:
    """The kernel's body as nests, whole-tile steps and loops, in order. Loads of `In` arrays named in `keep` are made
    once, where they stand, instead of again in each nest that needs them."""
    return _Scheduler(_ranges(func), _live(func), keep).block(func.body.block)


def _live(func: FuncOp) -> set[SSAValue]:
    """The values that something stored depends on; what else a kernel computes is left out."""
    live: set[SSAValue] = set()
    todo = [op.tile for op in func.walk() if isinstance(op, (StoreOp, ScatterOp, AtomicAddOp))]
    todo += [op.idx for op in func.walk() if isinstance(op, ScatterOp)]
    while todo:
        value = todo.pop()
        if value in live:
            continue
        live.add(value)
        owner = value.owner
        loop = owner.parent_op() if isinstance(owner, Block) else owner
        if isinstance(loop, ForOp):
            at = cast("BlockArgument | OpResult", value).index
            todo += [loop.body.block.args[at], loop.inits[at], loop.yielded.values[at]]
        elif isinstance(owner, Operation):
            todo += owner.operands
    return live


def shared_loads(items: Sequence[Item]) -> set[SSAValue]:
    """The loads of `In` arrays that more than one item of a schedule needs: what a target with room for them keeps."""
    users: dict[SSAValue, set[Nest | Step]] = {}
    for step, nest in walk(items):
        for operand in step.operands:
            value = strip(operand)
            if isinstance(value.owner, LoadOp) and is_cheap(value):
                users.setdefault(value, set()).add(nest or step)
    return {value for value, found in users.items() if len(found) > 1}


def walk(items: Sequence[Item]) -> Iterator[tuple[Step, Nest | None]]:
    """All steps of a schedule in order, each with the nest that it is in."""
    for item in items:
        if isinstance(item, Nest):
            yield from ((step, item) for step in item.steps)
        elif isinstance(item, Single):
            yield item.step, None
        else:
            yield from walk(item.items)


def _ranges(func: FuncOp) -> dict[str, Range]:
    """What is known of the symbols that a kernel's accesses use, outside of loops."""
    found = {d.data: Range(const(1)) for d in func.dims}
    facts_to_ranges([r.data for r in func.requires], found)
    found |= {name: Range(const(0), extent - 1) for name, extent in func.program.grid}
    facts_to_ranges([f.data for op in func.body.walk() if isinstance(op, AssumeOp) for f in op.facts], found)
    return found


class _Scheduler:
    def __init__(self, ranges: dict[str, Range], live: set[SSAValue], keep: Collection[SSAValue]) -> None:
        self.ranges, self.live, self.keep = ranges, live, keep
        self.home: dict[SSAValue, tuple[list[Item], int]] = {}  # value -> where its step stands
        self.touched: dict[int, tuple[list[Item], int]] = {}  # array argument -> its last load or store

    def block(self, block: Block) -> list[Item]:
        items: list[Item] = []
        for op in block.ops:
            self.operation(op, items)
        return items

    def operation(self, op: Operation, items: list[Item]) -> None:
        if isinstance(
            op, (ProgramOp, AssumeOp, _ViewOp, NarrowOp, ConstantOp, IndexOp, FullOp, IotaOp, WindowOp, YieldOp)
        ):
            return
        if len(op.results) == 1 and op.results[0] not in self.live and not isinstance(op, ForOp):
            return
        if isinstance(op, ForOp):
            self.loop(op, items)
        elif isinstance(op, LoadOp):
            if not is_cheap(op.result) or op.result in self.keep:
                self.fuse(Step("load", op, (op.view,), tile_lanes(op.result), op.result), items)
        elif isinstance(op, StoreOp):
            self.fuse(Step("store", op, (op.tile, op.view), self.clipped(op)), items)
        elif isinstance(op, AtomicAddOp):
            self.fuse(Step("atomic_add", op, (op.tile, op.view), self.clipped(op)), items)
        elif isinstance(op, ScatterOp):
            self.fuse(Step("scatter", op, (op.tile, op.idx, op.view), self.scattered(op)), items)
        elif isinstance(op, GatherOp):
            self.fuse(Step("gather", op, (op.idx, op.view), tile_lanes(op.result), op.result), items)
        elif isinstance(op, (UnaryOp, BinaryOp)):
            self.fuse(Step(op.op.data, op, tuple(op.operands), tile_lanes(op.result), op.result), items)
        elif isinstance(op, SelectOp):
            self.fuse(Step("select", op, tuple(op.operands), tile_lanes(op.result), op.result), items)
        elif isinstance(op, CastOp):
            self.fuse(Step("cast", op, tuple(op.operands), tile_lanes(op.result), op.result), items)
        elif isinstance(op, ReduceOp):
            self.fuse(Step(op.op.data, op, (op.value,), tile_lanes(op.value), op.result), items)
        elif isinstance(op, FillOp):
            self.fuse(Step("fill", op, tuple(op.operands), tile_lanes(op.result), op.result), items)
        elif isinstance(op, ShapeOp):
            items.append(Single(Step("box", op, tuple(op.operands), tile_lanes(op.result), op.result)))
            self.home[op.result] = (items, len(items) - 1)
        elif isinstance(op, (DotOp, TransposeOp)):
            if isinstance(op, DotOp) and accumulator(op) is None:
                self.fuse(Step("copy", op, (op.acc,), tile_lanes(op.result), op.result), items)
            name = "dot" if isinstance(op, DotOp) else "transpose"
            items.append(Single(Step(name, op, tuple(op.operands), tile_lanes(op.result), op.result)))
            self.home[op.result] = (items, len(items) - 1)
        else:
            raise AssertionError(f"no schedule for {op.name}")

    def scattered(self, op: ScatterOp) -> Lanes:
        """The lanes that have an index and, in rows, a column of the array."""
        shape, valid = tile_lanes(op.tile)
        indices = tile_lanes(op.idx)[1]
        view = cast(ViewType, op.view.type)
        cols = view.dims[1] - op.start if len(view.dims) == 2 else indices[1]
        rows, columns = (simplify(emin(a, b), self.ranges) for a, b in zip(valid, (indices[0], cols)))
        return shape, (rows, columns)

    def clipped(self, op: StoreOp | AtomicAddOp) -> Lanes:
        """The lanes that a store writes: those valid in the tile and inside the array."""
        shape, valid = tile_lanes(op.tile)
        extents = infer.extents_2d(cast(ViewType, op.view.type))
        rows, cols = (simplify(emin(v, e - s), self.ranges) for v, e, s in zip(valid, extents, op.start))
        return shape, (rows, cols)

    def loop(self, op: ForOp, items: list[Item]) -> None:
        lower, upper = op.bounds
        self.ranges[op.id.data] = Range(lower, upper - 1)
        carried = [c for c in zip(op.body.block.args, op.inits, op.yielded.values) if c[0] in self.live]
        runs = nonnegative(upper - lower - 1, self.ranges)
        for arg, init, _ in carried:
            if not runs or self.is_read(arg):
                self.fuse(Step("copy", op, (init,), tile_lanes(arg), carried=arg), items)
        body = self.block(op.body.block)
        updates = [(value, arg) for arg, _, value in carried if not self.in_place(value, arg)]
        # all updates run after everything that reads the old values: one last nest for each shape
        first = max(0, len(body) - 1)
        for value, arg in updates:
            self.fuse(Step("copy", op.yielded, (value,), tile_lanes(arg), carried=arg), body, first)
        if not body:
            return
        items.append(Loop(op, body))
        for out in op.outs:
            self.home[out] = (items, len(items) - 1)

    def is_read(self, arg: BlockArgument) -> bool:
        """Whether anything in the loop needs what a carried value was before."""
        users = [use.operation for use in arg.uses]
        return any(not u.results or any(r in self.live for r in u.results) for u in users)

    def in_place(self, value: SSAValue, arg: BlockArgument) -> bool:
        return value is arg or (isinstance(value.owner, DotOp) and accumulator(value.owner) is arg)

    def fuse(self, step: Step, items: list[Item], first: int = 0) -> None:
        """Put a step into the first nest over its lanes that stands after all it needs."""
        for operand in step.operands:
            first = max(first, self.earliest(step, operand, items))
        root = _array(step)
        if root is not None and root in self.touched and self.touched[root][0] is items:
            first = max(first, self.touched[root][1])
        last_loop = max((i + 1 for i, item in enumerate(items) if isinstance(item, Loop)), default=0)
        first = max(first, last_loop)
        at = next((i for i in range(first, len(items)) if self.fits(items[i], step)), None)
        if at is None:
            items.append(Nest(step.lanes))
            at = len(items) - 1
        cast(Nest, items[at]).steps.append(step)
        if step.result is not None:
            self.home[step.result] = (items, at)
        if root is not None:
            self.touched[root] = (items, at)

    def fits(self, item: Item, step: Step) -> bool:
        return isinstance(item, Nest) and item.lanes == step.lanes

    def earliest(self, step: Step, operand: SSAValue, items: list[Item]) -> int:
        value = strip(operand)
        if value not in self.home or self.home[value][0] is not items:
            return 0  # cheap, or made outside this block: ready before it
        at = self.home[value][1]
        item = items[at]
        lane_by_lane = (
            isinstance(item, Nest)
            and item.lanes == step.lanes
            and step.op != "fill"  # reads lanes that the nest does not compute
            and tile_lanes(value)[0] == step.lanes[0]
            and not isinstance(value.owner, ReduceOp)
        )
        return at if lane_by_lane else at + 1


def accumulator(op: DotOp) -> BlockArgument | None:
    """The loop-carried value that a product may update where it lies: only the product reads it, and only the
    loop's next step reads the product. None where the product needs an accumulator of its own."""
    loop, arg = op.parent_op(), op.acc
    if not (isinstance(loop, ForOp) and isinstance(arg, BlockArgument) and arg.owner is loop.body.block):
        return None
    alone = _use_count(arg) == 1 and _use_count(op.result) == 1
    return arg if alone and loop.yielded.values[arg.index] is op.result else None


def _use_count(value: SSAValue) -> int:
    return sum(1 for _ in value.uses)


def _array(step: Step) -> int | None:
    """The array that a load or store of an `inout` or `out` touches."""
    if step.op not in ("load", "store", "scatter", "atomic_add"):
        return None
    view = step.operands[-1]
    while isinstance(view.owner, _ViewOp):
        view = view.owner.source
    return cast(BlockArgument, view).index


def steps(items: Sequence[Item]) -> Iterator[Step]:
    """All steps of a schedule, in order."""
    for item in items:
        if isinstance(item, Nest):
            yield from item.steps
        elif isinstance(item, Single):
            yield item.step
        else:
            yield from steps(item.items)
