"""Asynchronous copies (cp.async): they are made as late as the program allows, when a thread waits for them.

From the instruction on, the bytes that a copy will write hold poison, and count as unwritten.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilebuild.testing.ptx.binder import Binder, Op, Words
from tilebuild.testing.ptx.kinds import KINDS
from tilebuild.testing.ptx.memory import Access, Memory
from tilebuild.testing.ptx.syntax import Literal, Register
from tilebuild.testing.ptx.threads import Chosen, Threads

Array = NDArray[Any]
_HINTS = ("L2::64B", "L2::128B", "L2::256B")


@dataclass
class _Copy:
    """One instruction's copies; `group` of each thread, and those that are still to be made."""

    read: Access
    write: Access
    who: Array
    source: Array
    target: Array
    size: Array
    group: Array
    pending: Array


class Copies:
    """What was asked for and not yet made; groups are numbered per thread, the open one is the thread's `_group`."""

    def __init__(self, threads: Threads, memory: Memory) -> None:
        self._memory = memory
        self._open = np.zeros(threads.count, np.int64)
        self._copies: list[_Copy] = []
        self.table: dict[str, Callable[[Binder, Words], Op]] = {"cp": self._bind}

    def forget(self) -> None:
        """Begin anew."""
        self._copies.clear()
        self._open[:] = 0

    def _bind(self, b: Binder, w: Words) -> Op:
        if not w.flag("async"):
            w.refuse()
        if w.flag("commit_group"):
            w.done()
            return self._commit
        if w.flag("wait_all"):
            w.done()
            return lambda chosen: self._wait(b.threads.indices(chosen), self._open[chosen])
        if w.flag("wait_group"):
            (count,) = w.instruction.operands
            if not isinstance(count, Literal):
                w.refuse()
            left = count.value
            w.done()
            return lambda chosen: self._wait(b.threads.indices(chosen), self._open[chosen] - 1 - left)
        return self._copy(b, w)

    def _commit(self, chosen: Chosen) -> None:
        self._open[chosen] += 1

    def _copy(self, b: Binder, w: Words) -> Op:
        w.take("ca", "cg")
        w.take("shared", "shared::cta")
        w.take("global")
        w.take(*_HINTS)
        policy = w.flag("L2::cache_hint")
        w.done()
        target, source, size, *rest = w.instruction.operands
        if policy:
            rest = rest[:-1]
        if not isinstance(size, Literal) or size.value not in (4, 8, 16):
            w.refuse()
        _, to = b.address(target, "shared")
        _, where = b.address(source, "global")
        extra = rest[0] if rest else None
        by_predicate = isinstance(extra, Register) and b.register(extra.name).dtype == bool
        ignored = b.read(extra, KINDS["pred"]) if extra is not None and by_predicate else None
        amount = b.read(extra, KINDS["u32"]) if extra is not None and not by_predicate else None
        name, line, count = w.instruction.text, w.instruction.line, size.value // 4
        read, write = Access(line, name, "global", 4, count), Access(line, name, "shared", 4, count, write=True)

        def run(chosen: Chosen) -> None:
            who = b.threads.indices(chosen)
            sizes = np.full(who.size, size.value)
            if amount is not None:
                sizes = np.broadcast_to(amount(chosen), who.shape).astype(np.int64)
            if ignored is not None:
                sizes = np.where(ignored(chosen), 0, sizes)
            places = to(chosen).copy()
            self._memory.forget(write, places, chosen)
            pending = np.ones(who.size, bool)
            group = self._open[who]
            self._copies.append(_Copy(read, write, who, where(chosen).copy(), places, sizes, group, pending))

        return run

    def _wait(self, who: Array, last: Array) -> None:
        """Make the copies of threads whose groups are at most `last`."""
        if not self._copies:
            return
        limit = np.full(self._open.size, -1, np.int64)
        limit[who] = last
        for copy in self._copies:
            due = copy.pending & (copy.group <= limit[copy.who])
            if due.any():
                self._make(copy, due)
                copy.pending &= ~due
        self._copies = [c for c in self._copies if c.pending.any()]

    def _make(self, copy: _Copy, due: Array) -> None:
        who, size, source = copy.who[due], copy.size[due], copy.source[due]
        total = 4 * copy.read.count
        content = np.zeros((who.size, total), np.uint8)  # what is not read is zeros
        for length in np.unique(np.minimum(size, total)):
            keep = np.minimum(size, total) == length
            access = copy.read if length == total else Access(copy.read.line, copy.read.what, "global", 1, int(length))
            if length:
                values = np.stack(self._memory.load(access, source[keep], who[keep]), 1)
                content[keep, :length] = np.ascontiguousarray(values).view(np.uint8)
        words = content.view(np.uint32)
        self._memory.store(copy.write, copy.target[due], [words[:, n] for n in range(copy.read.count)], who)
