"""Tiles that lie in the registers of a block of threads: who holds which lane, and how threads combine their results.

A register tile's map `GxLxV` spreads it over G row groups of L threads, V neighbouring columns a thread: lane (r, c)
lies in group r % G, thread c // V % L. An extent of 1 is repeated on all. Where the map ends in " partial" each thread
holds a result of its own lanes, which is nobody's value until the threads of a row group have combined theirs: with
`combine` (among neighbours, in registers), or with `put` and `get` (through shared memory).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tilebuild.oracle.context import storage_name
from tilebuild.oracle.findings import UNKNOWN, VIOLATED
from tilebuild.oracle.limits import WARP, threads
from tilebuild.oracle.ops import REDUCTIONS
from tilebuild.oracle.program import Program, Touch
from tilebuild.oracle.scopes import constant
from tilebuild.oracle.shapes import Problem, reduced_axis
from tilebuild.plan.model import Buffer, Distributed, Fused, Global, Instr

_MAP = re.compile(r"([1-9]\d{0,8})x([1-9]\d{0,8})x([1-9]\d{0,8})( partial)?")
_Found = Iterator[tuple[Instr, Problem]]


@dataclass(frozen=True)
class Spread:
    """How lanes lie over threads: `groups` row groups of `threads` threads, `vector` neighbouring columns a thread."""

    groups: int
    threads: int
    vector: int


@dataclass(frozen=True)
class Part:
    """What a partial tile, or a scratch tile of such parts, holds: the reduction, and over how many threads its
    values are complete."""

    reduce: str
    width: int


def parse(text: str) -> tuple[Spread, bool] | None:
    """A register tile's map and whether it is a partial one; None where it is no such map."""
    match = _MAP.fullmatch(text)
    if match is None:
        return None
    groups, count, vector = (int(match[k]) for k in (1, 2, 3))
    return Spread(groups, count, vector), match[4] is not None


def spread_problems(program: Program) -> _Found:
    """What is wrong with the register tiles of a plan for a block of threads; nothing for a single thread's."""
    if threads(program.plan) == 1:
        return
    checker = _Checker(program)
    yield from checker.maps()
    if checker.spread is None and program.operations:
        what = "is run by a block of threads, and no tile says how lanes are spread over them"
        yield program.operations[0][0], Problem("O-OPER-17", UNKNOWN, what, "give loads and stores the attribute map")
    if checker.spread is not None:
        yield from checker.instructions(checker.spread)


class _Checker:
    def __init__(self, program: Program) -> None:
        self.program, self.plan = program, program.plan
        self.spread: Spread | None = None
        self.partial: set[str] = set()
        self.parts: dict[str, Part] = {}  # of partial tiles and of the scratch that they were put into

    def maps(self) -> _Found:
        """One map for all tiles, loads and stores, that of the launch's block."""
        buffers = {b.id: b for b in self.plan.buffers}
        seen: set[str] = set()
        for instr in self.plan.instructions:
            texts = [
                (storage_name(b), b.storage.map)
                for a in (*instr.reads, *instr.writes)
                if (b := buffers[a.buffer]).id not in seen and isinstance(b.storage, Distributed)
            ]
            seen.update(a.buffer for a in (*instr.reads, *instr.writes))
            texts += [("its attribute map", str(value)) for name, value in instr.attrs if name == "map"]
            for what, text in texts:
                yield from self._map(instr, what, text)
        for touches in self.program.local.values():
            buffer = touches[0].root
            if isinstance(buffer.storage, Distributed) and buffer.storage.map.endswith(" partial"):
                self.partial.add(buffer.id)
                if constant(buffer.cols) != 1:
                    what = f"touches {storage_name(buffer)}, a partial tile of {buffer.cols} columns"
                    yield touches[0].instr, Problem("O-OPER-16", VIOLATED, what, "a partial tile has one column")

    def _map(self, instr: Instr, what: str, text: str) -> _Found:
        fix = "spread all tiles of a kernel in one way, over the threads that its launch has"
        found = parse(text)
        if found is None:
            yield (
                instr,
                Problem(
                    "O-OPER-17", UNKNOWN, f"has {what} of the map {text!r:.40}, which the oracle does not know", fix
                ),
            )
            return
        spread = found[0]
        if self.spread is None:
            self.spread = spread
            block = tuple(self.plan.launch.block)
            wanted = (spread.threads, spread.groups)
            if (*block, 1, 1)[:2] != wanted or any(n != 1 for n in block[2:]):
                shape = " x ".join(map(str, block)) or "an unknown number of"
                outcome = VIOLATED if block else UNKNOWN
                yield (
                    instr,
                    Problem("O-OPER-17", outcome, f"has {what} of the map {text}; a block has {shape} threads", fix),
                )
        elif spread != self.spread:
            yield (
                instr,
                Problem("O-OPER-17", VIOLATED, f"has {what} of the map {text}, and another tile has another one", fix),
            )

    def instructions(self, spread: Spread) -> _Found:
        for instr, _, reads, writes in self.program.operations:
            for touch in (*reads, *writes):
                yield from self._own_lanes(instr, touch)
            for touch in reads:
                if touch.root.id in self.partial and instr.op not in ("combine", "put"):
                    what = f"reads {storage_name(touch.buffer)}, in which each thread has its own part, as one value"
                    yield instr, Problem("O-OPER-16", VIOLATED, what, "combine the threads' parts first")
            for touch in writes:
                if touch.root.id in self.partial and instr.op not in ("combine", *REDUCTIONS):
                    what = f"writes {storage_name(touch.buffer)}, and only a reduction gives a thread's part"
                    yield instr, Problem("O-OPER-16", VIOLATED, what, "write it to a tile that is not partial")
                if touch.root.id in self.parts.keys() - self.partial and instr.op != "put":
                    what = f"writes {storage_name(touch.buffer)}, which holds parts of a reduction"
                    yield instr, Problem("O-OPER-18", VIOLATED, what, "give the parts a tile of their own")
            yield from self._operation(instr, reads, writes, spread)

    def _own_lanes(self, instr: Instr, touch: Touch) -> _Found:
        """A thread has its own lanes only: boxes of register tiles begin at the first one, so that lane by lane
        everything lies in one thread."""
        if not isinstance(touch.buffer.storage, (Distributed, Fused)):
            return
        if any(constant(axis.start) != 0 or axis.step != 1 for axis in touch.lanes.axes):
            verb = "writes" if touch.write else "reads"
            what = f"{verb} {storage_name(touch.buffer)} from another lane than its first: another thread may have it"
            yield instr, Problem("O-OPER-19", UNKNOWN, what, "let boxes of register tiles begin at row 0, column 0")

    def _operation(self, instr: Instr, reads: tuple[Touch, ...], writes: tuple[Touch, ...], spread: Spread) -> _Found:
        if not reads or not writes:
            return
        source, result = reads[0], writes[0]
        if instr.op in REDUCTIONS:
            yield from self._reduction(instr, source, result, spread)
        elif instr.op == "combine":
            yield from self._combine(instr, source, result, spread)
        elif instr.op == "put":
            yield from self._put(instr, source, result, spread)
        elif instr.op == "get":
            yield from self._get(instr, source, result)
        elif instr.op in ("dot", "transpose"):
            for touch in reads[:2]:
                if _in_registers(touch.buffer):
                    what = f"reads {storage_name(touch.buffer)}, of which a thread has its own lanes only"
                    yield instr, Problem("O-OPER-19", VIOLATED, what, "stage it in shared memory first")

    def _reduction(self, instr: Instr, source: Touch, result: Touch, spread: Spread) -> _Found:
        axis = reduced_axis(instr)
        if axis is None:
            return
        many = constant(source.lanes.axes[axis].size) != 1 and (spread.groups, spread.threads)[axis] > 1
        if result.root.id in self.partial:
            if axis == 0 or not many:
                what = f"writes {storage_name(result.buffer)}, and every thread has all that it reduces"
                yield instr, Problem("O-OPER-18", VIOLATED, what, "write it to a tile that is not partial")
            else:
                yield from self._becomes(instr, result, Part(instr.op, 1))
        elif many and not isinstance(source.buffer.storage, Global):
            lanes = "rows" if axis == 0 else "columns"
            what = f"writes {storage_name(result.buffer)} as a whole, and a thread reduces its own {lanes} only"
            yield instr, Problem("O-OPER-16", VIOLATED, what, "write a partial tile, and combine the threads' parts")

    def _becomes(self, instr: Instr, result: Touch, part: Part) -> _Found:
        known = self.parts.setdefault(result.root.id, part)
        if known != part:
            what = f"writes {storage_name(result.buffer)} with {_text(part)}, and it held {_text(known)} before"
            yield instr, Problem("O-OPER-18", VIOLATED, what, "give every reduction a tile of its own")

    def _combine(self, instr: Instr, source: Touch, result: Touch, spread: Spread) -> _Found:
        attrs = dict(instr.attrs)
        reduce, width = attrs.get("reduce"), attrs.get("width")
        part = self.parts.get(source.root.id)
        warp = WARP.get(self.plan.target)
        fix = "combine each partial tile once, with its own reduction, over a power of two of a row group's threads"
        if not isinstance(width, int) or width < 2 or width & (width - 1) or spread.threads % width:
            what = f"is over {width!r:.20} threads; a row group has {spread.threads}"
            yield instr, Problem("O-OPER-18", VIOLATED, what, fix)
            return
        if warp is None or width > warp or (spread.groups * spread.threads) % warp:
            size = f"{spread.groups * spread.threads} threads of a block"
            what = f"is over {width} of the {size}; which of them exchange registers is not known"
            if warp is not None:
                what = f"is over {width} of the {size}, and only whole groups of {warp} exchange registers"
            yield instr, Problem("O-OPER-18", UNKNOWN if warp is None else VIOLATED, what, "pass through shared memory")
        for touch in (source, result):
            if not isinstance(touch.buffer.storage, Distributed):
                what = f"touches {storage_name(touch.buffer)}, and exchanges registers only"
                yield instr, Problem("O-OPER-18", VIOLATED, what, "use put and get")
        if part is None or part != Part(str(reduce), 1):
            has = _text(part) if part is not None else "no thread's part of a reduction"
            what = f"takes {storage_name(source.buffer)}, which holds {has}, for {reduce!r:.20} over one thread"
            yield instr, Problem("O-OPER-18", VIOLATED, what, fix)
        if result.root.id in self.partial:
            yield from self._becomes(instr, result, Part(str(reduce), width))
        elif width != spread.threads:
            what = f"gives {storage_name(result.buffer)} as a whole, complete over {width} of {spread.threads} threads"
            yield (
                instr,
                Problem("O-OPER-16", VIOLATED, what, "write a partial tile, and combine the rest with put and get"),
            )

    def _put(self, instr: Instr, source: Touch, result: Touch, spread: Spread) -> _Found:
        parts, part = dict(instr.attrs).get("parts"), self.parts.get(source.root.id)
        fix = "put as many parts as the partial tile has in a row group"
        if part is None:
            what = f"takes {storage_name(source.buffer)}, which holds no thread's part of a reduction"
            yield instr, Problem("O-OPER-18", VIOLATED, what, fix)
            return
        if not isinstance(parts, int) or parts < 1 or parts * part.width != spread.threads:
            what = f"has {parts!r:.20} parts, each complete over {part.width} of a row group's {spread.threads} threads"
            yield instr, Problem("O-OPER-18", VIOLATED, what, fix)
        yield from self._becomes(instr, result, Part(part.reduce, spread.threads))

    def _get(self, instr: Instr, source: Touch, result: Touch) -> _Found:
        reduce, part = dict(instr.attrs).get("reduce"), self.parts.get(source.root.id)
        if reduced_axis(instr) != 1 or part is None or part.reduce != reduce:
            has = f"the parts of a {part.reduce}" if part is not None else "no parts of a reduction"
            what = f"reduces {storage_name(source.buffer)}, which holds {has}, by {reduce!r:.20} over axis 1"
            yield instr, Problem("O-OPER-18", VIOLATED, what, "get what was put, with the same reduction, over axis 1")
        if not isinstance(result.buffer.storage, Distributed):
            what = f"writes {storage_name(result.buffer)}, and gives every thread a value in registers"
            yield instr, Problem("O-OPER-18", VIOLATED, what, "write it to a register tile")


def _in_registers(buffer: Buffer) -> bool:
    return isinstance(buffer.storage, (Distributed, Fused))


def _text(part: Part) -> str:
    return f"a {part.reduce} over {part.width} threads"
