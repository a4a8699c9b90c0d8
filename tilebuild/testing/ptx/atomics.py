"""Atomic operations: atom and red, one thread after the other in a random order where they meet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilebuild.testing.ptx.binder import Binder, Op, Words
from tilebuild.testing.ptx.floats import larger, smaller
from tilebuild.testing.ptx.kinds import KINDS, decode, encode
from tilebuild.testing.ptx.memory import Access
from tilebuild.testing.ptx.rounding import sum_to_odd
from tilebuild.testing.ptx.syntax import Operand, Sink, Vector
from tilebuild.testing.ptx.threads import Chosen
from tilebuild.testing.ptx.transfers import ORDER, SCOPES, space_of

Array = NDArray[Any]


def _replace(old: Array, expected: Array, new: Array) -> Array:
    return np.where(old == expected, new, old)


_OPERATIONS: dict[str, Callable[..., Array]] = {
    "and": lambda old, x: old & x, "or": lambda old, x: old | x, "xor": lambda old, x: old ^ x,
    "exch": lambda old, x: x, "cas": _replace,
    "inc": lambda old, x: np.where(old >= x, 0, old + old.dtype.type(1)),
    "dec": lambda old, x: np.where((old == 0) | (old > x), x, old - old.dtype.type(1)),
}  # fmt: skip


def rounds(address: Array, random: np.random.Generator) -> list[Array]:
    """Indices of accesses in groups: no group has one address twice, and the order among equal ones is random."""
    mixed = random.permutation(address.size)
    order = mixed[np.argsort(address[mixed], kind="stable")]
    sorted_addresses = address[order]
    first = np.r_[True, sorted_addresses[1:] != sorted_addresses[:-1]]
    starts = np.maximum.accumulate(np.where(first, np.arange(address.size), 0))
    rank = np.arange(address.size) - starts
    return [order[rank == n] for n in range(int(rank.max()) + 1)]


class Atomics:
    """Binds atom and red; the order in which threads come is drawn from `random`."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        self.table: dict[str, Callable[[Binder, Words], Op]] = {"atom": self._bind, "red": self._bind}

    def _bind(self, b: Binder, w: Words) -> Op:
        kind = w.kind()
        name = w.take("add", "min", "max", *_OPERATIONS)
        space = space_of(w)
        count = int((w.take("v2", "v4", "v8") or "v1")[1:])
        w.take(*ORDER)
        w.take(*SCOPES)
        w.flag("noftz")
        policy = w.flag("L2::cache_hint")
        w.done()
        operands = list(w.instruction.operands[: -1 if policy else None])
        target: Operand = operands.pop(0) if w.instruction.opcode == "atom" else Sink()
        memory_space, address = b.address(operands[0], space)
        if name in ("cas", "exch", "and", "or", "xor"):
            kind = KINDS[f"u{kind.bits}"]
        operation = _OPERATIONS.get(name)
        if name == "add":
            operation = sum_to_odd if kind.is_half else np.add
        elif name in ("min", "max"):
            floats, integers = (smaller, np.minimum) if name == "min" else (larger, np.maximum)
            operation = floats if kind.is_float else integers
        if operation is None:
            w.refuse()
        items = [o.items if isinstance(o, Vector) else (o,) for o in operands[1:]]
        targets = target.items if isinstance(target, Vector) else (target,) * count
        readers = [[b.read(group[n], kind) for group in items] for n in range(count)]
        writes = [b.write(t, kind) for t in targets]
        access = Access(w.instruction.line, w.instruction.text, memory_space, kind.bits // 8, count, write=True)
        memory, threads, random, apply = b.memory, b.threads, self._random, operation

        def run(chosen: Chosen) -> None:
            addresses = address(chosen)
            who = threads.indices(chosen)
            # shared and local addresses of different blocks and threads are different places
            owner = (
                addresses if memory_space in ("global", "generic") else addresses + threads.block_of[chosen] * (1 << 32)
            )
            if memory_space == "generic":
                owner = np.where(addresses >> 44 == 1, addresses + threads.block_of[chosen] * (1 << 32), addresses)
            values = [[np.broadcast_to(r(chosen), r(chosen).shape or who.shape) for r in group] for group in readers]
            before = [np.zeros(who.size, kind.unsigned) for _ in range(count)]
            for group in rounds(owner, random):
                part = who[group]
                old = memory.load(access, addresses[group], part)
                new = []
                for n in range(count):
                    before[n][group] = old[n]
                    new.append(encode(apply(decode(old[n], kind), *(v[group] for v in values[n])), kind))
                memory.store(access, addresses[group], new, part)
            for write, result in zip(writes, before):
                write(chosen, decode(result, kind))

        return run
