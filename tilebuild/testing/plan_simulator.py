"""Runs a plan on bytes: an opinion on plans that owes nothing to planners, emitters or the oracle.

The program runs once for every point of the grid, in a random order. Memory holds random bytes at the start of each;
a lane outside of its access's valid region reads as random. A nest runs in random pieces of its lanes, all of its
instructions for one piece before the next, and its reductions are complete at its end. In a block of threads (and
between engines), bytes that are touched with nothing in between that orders the touches are random. So a plan is wrong
where two runs with different seeds, or this plan and one that is known to be right, leave different results.

Register tiles are spread as their maps say (`GxLxV`: column c lies with thread c // V % L of its row group); of a
partial tile every thread has a value of its own.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilebuild.plan.expr import parse
from tilebuild.plan.model import Access, Buffer, Distributed, Fused, Global, Instr, Placed, Plan, Slice
from tilebuild.plan.tree import Node, tree
from tilebuild.testing.plan_memory import (
    DTYPES,
    GUARD,
    Array,
    Barriers,
    Engines,
    Memory,
    Order,
    SimulatedFault,
    offsets,
)
from tilebuild.testing.plan_values import ELEMENTWISE, MOVES, REDUCTIONS, identity, literal, number, working

_MAP = re.compile(r"(\d+)x(\d+)x(\d+)( partial)?")
Env = dict[str, int]
Lanes = tuple[Array, Array]  # the rows and columns of a box that are looked at


@dataclass
class Arguments:
    """What a plan is called with. An array is flat memory, its first element at index 0, with `strides` in elements
    for every axis but the last, whose stride is 1; outputs are changed in place."""

    dims: Mapping[str, int]
    arrays: Mapping[str, Array]
    strides: Mapping[str, tuple[int, ...]]
    scalars: Mapping[str, float]


def simulate(plan: Plan, arguments: Arguments, seed: int, *, ideal: bool = False) -> None:
    """Runs a plan whose instructions are well formed; `ideal`: as if every tile had memory of its own and everything
    ran in program order, which is what a plan means. Raises `SimulatedFault` where it touches what is nowhere near
    its memory, and KeyError for an operation that is not known."""
    rng = np.random.default_rng(seed)
    memories = {name: _wrapped(array, rng) for name, array in arguments.arrays.items()}
    env: Env = dict(arguments.dims)
    for name, strides in arguments.strides.items():
        env |= {f"{name}__s{axis}": stride for axis, stride in enumerate(strides)}
    ids = [s.name for s in plan.symbols if s.kind == "program"]
    points = list(itertools.product(*(range(number(extent, env)) for extent in plan.launch.grid)))
    for chosen in rng.permutation(len(points)):
        point = {**env, **dict(zip(ids, points[chosen]))}
        with np.errstate(all="ignore"):
            _Program(plan, memories, arguments.scalars, rng, ideal).run(point)
    for name, array in arguments.arrays.items():
        array[:] = memories[name].bytes[_INSIDE].view(array.dtype)


_INSIDE = slice(GUARD, -GUARD)


def _wrapped(array: Array, rng: np.random.Generator) -> Memory:
    memory = Memory(array.nbytes, rng)
    memory.bytes[_INSIDE] = array.view(np.uint8)
    return memory


class _Program:
    """One run of the program: memories of its own, but for the arrays."""

    def __init__(
        self,
        plan: Plan,
        arrays: Mapping[str, Memory],
        scalars: Mapping[str, float],
        rng: np.random.Generator,
        ideal: bool,
    ) -> None:
        self.ideal = ideal
        self.plan, self.arrays, self.scalars, self.rng = plan, arrays, scalars, rng
        self.buffers = {b.id: b for b in plan.buffers}
        self.order: Order | None = None
        threads = int(np.prod(plan.launch.block)) if plan.launch.block else 1
        if threads > 1 and not ideal:
            self.order = Barriers()
        elif not ideal and any(i.engine for i in plan.instructions):
            self.order = Engines()
        self.spaces = {name: Memory(max(0, high), rng, self.order) for name, high in plan.scratch().items()}
        self.tiles: dict[str, Memory] = {}
        self.parts: dict[str, Array] = {}
        self.ticks = 0

    def run(self, env: Env) -> None:
        self._node(tree(self.plan), env)

    def _node(self, node: Node, env: Env) -> None:
        region = node.region
        if region.kind == "branch" and not all(p.holds(env) for p in region.when):
            return
        if region.kind == "nest":
            self._nest([i for i in node.items if isinstance(i, Instr)], node, env)
            return
        values: Iterator[Env] = iter([env])
        if region.kind == "loop" and region.lower is not None and region.upper is not None:
            span = range(number(region.lower, env), number(region.upper, env), region.step)
            values = ({**env, region.var: value} for value in span)
        for inner in values:
            for item in node.items:
                if isinstance(item, Node):
                    self._node(item, inner)
                else:
                    self._alone(item, inner)

    # -- instructions -----------------------------------------------------------------------------

    def _alone(self, instr: Instr, env: Env) -> None:
        self._tick()
        if instr.op == "barrier":
            if isinstance(self.order, Barriers):
                self.order.last_barrier = self.ticks
            return
        result = instr.writes[0]
        box = (number(result.rows.size, env), number(result.cols.size, env))
        extents = tuple(min(number(v, env), b) for v, b in zip(result.valid, box))
        if instr.op in REDUCTIONS:
            source = instr.reads[0]
            extents = (number(source.valid[0], env), number(source.valid[1], env))
            found = self._reduced(instr, env, [(np.arange(max(0, extents[0])), np.arange(max(0, extents[1])))])
            self._finish(instr, found, env)
            return
        lanes = np.arange(max(0, extents[0])), np.arange(max(0, extents[1]))
        special = {"dot": self._dot, "combine": self._combine, "put": self._put, "get": self._get}
        if instr.op in special:
            special[instr.op](instr, env)
        elif instr.op == "fill":
            self._fill(instr, env, box)
        elif instr.op == "transpose":
            self._write(instr, result, self._read(instr, instr.reads[0], lanes[::-1], env).T, lanes, env)
        else:
            self._write(instr, result, self._value(instr, lanes, env), lanes, env)

    def _nest(self, instrs: list[Instr], node: Node, env: Env) -> None:
        self._tick()
        extents = [max(0, number(e, env)) for e in node.region.lanes or ()]
        sums: dict[int, Array] = {}
        pieces = [(rows, cols) for rows in self._split(extents[0]) for cols in self._split(extents[1])]
        for lanes in pieces or [(np.arange(0), np.arange(0))]:
            for instr in instrs:
                if instr.op in REDUCTIONS:
                    piece = self._reduced(instr, env, [lanes])
                    known = sums.get(instr.id)
                    sums[instr.id] = piece if known is None else REDUCTIONS[instr.op](known, piece)
                else:
                    result = instr.writes[0]
                    inside = self._inside(result, lanes, env)
                    self._write(instr, result, self._value(instr, inside, env), inside, env)
        for instr in instrs:
            if instr.id in sums:
                self._finish(instr, sums[instr.id], env)

    def _inside(self, result: Access, lanes: Lanes, env: Env) -> Lanes:
        """The lanes of a piece that are valid in a result; all of an extent of 1, which every lane gives again."""
        found = []
        for slice_, valid, axis in zip((result.rows, result.cols), result.valid, lanes):
            count = number(valid, env)
            whole = slice_.size.is_const and slice_.size.value == 1
            found.append(np.arange(min(1, count)) if whole and len(axis) else axis[axis < count])
        return found[0], found[1]

    def _split(self, extent: int) -> list[Array]:
        """Random pieces of 0 .. extent, at most four."""
        cuts = sorted({0, extent, *self.rng.integers(0, extent + 1, self.rng.integers(0, 4)).tolist()})
        return [np.arange(a, b) for a, b in itertools.pairwise(cuts)]

    def _value(self, instr: Instr, lanes: Lanes, env: Env) -> Array:
        """What the lanes of a result become."""
        attrs: dict[str, Any] = dict(instr.attrs)
        dtype = self.buffers[instr.writes[0].buffer].dtype
        shape = len(lanes[0]), len(lanes[1])
        if instr.op == "full":
            return np.full(shape, literal(attrs["value"], dtype))
        if instr.op == "param":
            return np.full(shape, self.scalars[str(attrs["name"])])
        if instr.op == "index":
            return np.full(shape, number(parse(str(attrs["expr"])), env))
        if instr.op == "iota":
            axis = lanes[0][:, None] if int(attrs["axis"]) == 0 else lanes[1][None, :]
            return np.broadcast_to(axis, shape)
        found: Array = ELEMENTWISE[instr.op](*(self._read(instr, a, lanes, env) for a in instr.reads))
        return np.broadcast_to(found, shape)

    # -- what spans lanes -------------------------------------------------------------------------

    def _reduced(self, instr: Instr, env: Env, pieces: list[Lanes]) -> Array:
        """The reduction of some lanes: [rows, 1] or [1, columns] of the whole box, [rows, threads] for a partial tile,
        with the identity where there are no lanes."""
        source, result = instr.reads[0], instr.writes[0]
        axis = int(dict(instr.attrs)["axis"])
        box = number(source.rows.size, env), number(source.cols.size, env)
        valid = number(source.valid[0], env), number(source.valid[1], env)
        threads, vector = self._spread(result)
        dtype = self.buffers[result.buffer].dtype
        total = np.full((box[0], threads) if axis == 1 else (1, box[1]), identity(instr.op, dtype))
        total = working(total, dtype)
        for piece in pieces:
            rows, cols = (lanes[lanes < count] for lanes, count in zip(piece, valid))
            values = working(self._read(instr, source, (rows, cols), env), dtype)
            if axis == 1:
                owner = cols // vector % threads
                REDUCTIONS[instr.op].at(total, (rows[:, None], owner[None, :]), values)
            elif values.size:
                total[0, cols] = REDUCTIONS[instr.op](total[0, cols], REDUCTIONS[instr.op].reduce(values, axis=0))
        return total

    def _finish(self, instr: Instr, total: Array, env: Env) -> None:
        """Write a reduction where it is valid."""
        result = instr.writes[0]
        rows, cols = (np.arange(max(0, number(v, env))) for v in result.valid)
        if self._is_partial(result):
            self.parts[result.buffer] = total
        else:
            self._write(instr, result, total[np.ix_(rows, cols)], (rows, cols), env)

    def _spread(self, result: Access) -> tuple[int, int]:
        """The threads of a row group and the columns that one has side by side, for a partial tile; else one."""
        storage = self.buffers[result.buffer].storage
        match = _MAP.fullmatch(storage.map) if isinstance(storage, Distributed) else None
        return (int(match[2]), int(match[3])) if match and match[4] else (1, 1)

    def _is_partial(self, access: Access) -> bool:
        storage = self.buffers[access.buffer].storage
        return isinstance(storage, Distributed) and storage.map.endswith(" partial")

    def _part(self, access: Access, env: Env) -> Array:
        """The threads' values of a partial tile, [rows, threads]; random where nothing gave them."""
        found = self.parts.get(access.buffer)
        threads, _ = self._spread(access)
        height = number(self.buffers[access.buffer].rows, env)
        return self.rng.standard_normal((height, threads)) if found is None else found

    def _combine(self, instr: Instr, env: Env) -> None:
        attrs = dict(instr.attrs)
        width, source = int(attrs["width"]), self._part(instr.reads[0], env)
        groups = source.reshape(len(source), -1, width)
        merged = REDUCTIONS[str(attrs["reduce"])].reduce(groups, axis=2).repeat(width, axis=1)
        result = instr.writes[0]
        if self._is_partial(result):
            self.parts[result.buffer] = merged
            return
        one = merged[:, self.rng.integers(merged.shape[1])][:, None]  # whichever thread is asked
        self._finish(instr, one, env)

    def _put(self, instr: Instr, env: Env) -> None:
        parts, source = int(dict(instr.attrs)["parts"]), self._part(instr.reads[0], env)
        result = instr.writes[0]
        step = max(1, source.shape[1] // parts)
        values = source[:, ::step][:, :parts]
        rows = np.arange(min(number(result.valid[0], env), len(values)))
        self._write(instr, result, values[rows], (rows, np.arange(values.shape[1])), env)

    def _get(self, instr: Instr, env: Env) -> None:
        attrs, source, result = dict(instr.attrs), instr.reads[0], instr.writes[0]
        lanes = np.arange(number(source.valid[0], env)), np.arange(number(source.valid[1], env))
        values = working(self._read(instr, source, lanes, env), self.buffers[result.buffer].dtype)
        self._finish(instr, REDUCTIONS[str(attrs["reduce"])].reduce(values, axis=1, keepdims=True), env)

    def _dot(self, instr: Instr, env: Env) -> None:
        a, b, acc = instr.reads
        m, n = (np.arange(max(0, number(v, env))) for v in instr.writes[0].valid)
        k = np.arange(max(0, number(a.valid[1], env)))
        dtype = self.buffers[instr.writes[0].buffer].dtype
        left, right = self._read(instr, a, (m, k), env), self._read(instr, b, (k, n), env)
        product = working(left, dtype) @ working(right, dtype)
        self._write(instr, instr.writes[0], product + self._read(instr, acc, (m, n), env), (m, n), env)

    def _fill(self, instr: Instr, env: Env, box: tuple[int, int]) -> None:
        source, result = instr.reads[0], instr.writes[0]
        dtype = self.buffers[result.buffer].dtype
        lanes = np.arange(box[0]), np.arange(box[1])
        kept = [lane < number(valid, env) for lane, valid in zip(lanes, source.valid)]
        mask = kept[0][:, None] & kept[1][None, :]
        values = np.where(mask, self._read(instr, source, lanes, env), literal(dict(instr.attrs)["value"], dtype))
        self._write(instr, result, values, lanes, env)

    # -- memory -----------------------------------------------------------------------------------

    def _tick(self) -> None:
        self.ticks += 1
        if isinstance(self.order, Barriers):
            self.order.now = self.ticks

    def _read(self, instr: Instr, access: Access, lanes: Lanes, env: Env) -> Array:
        """The values of some lanes of a box; one lane stands for all where the box has an extent of 1. A lane that is
        not valid is random."""
        wanted = []
        for slice_, axis in zip((access.rows, access.cols), lanes):
            single = number(slice_.size, env) == 1
            wanted.append(np.zeros(min(1, len(axis)), dtype=np.int64) if single else axis)
        buffer = self.buffers[access.buffer]
        memory, places = self._places(instr, access, (wanted[0], wanted[1]), env)
        found = memory.read(places, buffer.dtype)
        good = [axis < number(valid, env) for axis, valid in zip(wanted, access.valid)]
        mask = good[0][:, None] & good[1][None, :]
        if not mask.all():
            found = np.where(mask, found, self.rng.standard_normal(found.shape) * 100)
        return found

    def _write(self, instr: Instr, access: Access, values: Array, lanes: Lanes, env: Env) -> None:
        memory, places = self._places(instr, access, lanes, env)
        if instr.op in MOVES and instr.reads and self.buffers[instr.reads[0].buffer].dtype != self._dtype(access):
            raise SimulatedFault("a move changes the dtype")
        memory.write(places, values, self._dtype(access))

    def _dtype(self, access: Access) -> str:
        return self.buffers[access.buffer].dtype

    def _places(self, instr: Instr, access: Access, lanes: Lanes, env: Env) -> tuple[Memory, Array]:
        """The memory of a box and the byte offsets of its lanes there."""
        buffer = self.buffers[access.buffer]
        rows, cols = _positions(access.rows, lanes[0], env), _positions(access.cols, lanes[1], env)
        size = np.dtype(DTYPES[buffer.dtype]).itemsize
        storage = buffer.storage
        if isinstance(storage, Global):
            down, across = (number(s, env) for s in storage.strides)
            return self.arrays[storage.parameter], (
                number(storage.offset, env) + rows[:, None] * down + cols[None, :] * across
            ) * size
        extents = number(buffer.rows, env), number(buffer.cols, env)
        places = offsets(buffer, rows, cols, extents, size)
        if isinstance(storage, Placed) and self.ideal:
            root = self._root(buffer).storage
            base = root.offset if isinstance(root, Placed) else 0
            return self._tile(buffer, storage.bytes), places - base
        if isinstance(storage, Placed):
            if isinstance(self.order, Engines):
                self.order.enter(instr.engine, storage.offset)
            return self.spaces[storage.space], places
        if not isinstance(storage, (Distributed, Fused)):
            raise SimulatedFault(f"{buffer.id} has no place")
        return self._tile(buffer, extents[0] * extents[1] * size), places

    def _root(self, buffer: Buffer) -> Buffer:
        while buffer.root:
            buffer = self.buffers[buffer.root]
        return buffer

    def _tile(self, buffer: Buffer, size: int) -> Memory:
        """The memory of a tile that shares none."""
        root = self._root(buffer).id
        if root not in self.tiles:
            self.tiles[root] = Memory(max(0, size), self.rng)
        return self.tiles[root]


def _positions(slice_: Slice, lanes: Array, env: Env) -> Array:
    return number(slice_.start, env) + lanes * slice_.step
