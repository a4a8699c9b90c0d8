"""`emulate`: one launch of a PTX entry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilebuild.diagnostics import Diagnostic, Span, TilebuildError, did_you_mean
from tilebuild.testing.ptx.arguments import Arguments
from tilebuild.testing.ptx.binder import Binder
from tilebuild.testing.ptx.faults import Fault
from tilebuild.testing.ptx.global_memory import SLACK, GlobalMemory
from tilebuild.testing.ptx.layout import Layout, reachable
from tilebuild.testing.ptx.memory import Memory
from tilebuild.testing.ptx.parser import parse
from tilebuild.testing.ptx.program import Program
from tilebuild.testing.ptx.scheduler import Scheduler
from tilebuild.testing.ptx.syntax import Function, Module
from tilebuild.testing.ptx.threads import WARP, Threads, Triple

_THREADS = 4096
"""How many threads run at once at most, one block at least: registers of more take more memory than they save time."""
_LARGEST_BLOCK = 1024


@dataclass(frozen=True)
class Run:
    """What a launch took. `issued`: instructions, one for all threads that execute it together; `threads`: launched."""

    issued: int
    threads: int


def emulate(
    text: str,
    entry: str,
    grid: int | Sequence[int],
    block: int | Sequence[int],
    arguments: Sequence[Any],
    *,
    shared_bytes: int = 0,
    seed: int = 0,
    strict: bool = False,
    limit: int = 20_000_000,
    name: str = "kernel.ptx",
) -> Run:
    """Run the entry `entry` of a PTX text on NumPy arrays, which hold the results afterwards.

    `arguments`, one a parameter: an array or a `Placed` (the parameter is its address), a number, a `Structure` or its
    bytes, or None for zeros. `shared_bytes` is the dynamic shared memory. The order in which warps go on is drawn from
    `seed`: the same seed, the same run. With `strict` reading shared memory that nothing wrote is an error; without, it
    gives 0xff bytes, NaN in every floating-point type. `limit` bounds the instructions issued. `name` is how messages
    call the text.

    Raises `TilebuildError` with one of the codes of docs/errors/emulator.md (EMU-01 to EMU-11), at the line of the PTX
    text. Arrays then hold what they held before.
    """
    try:
        module = parse(text)
        with np.errstate(all="ignore"):
            function = _entry(module, entry)
            launch = _Launch(_triple(grid), _triple(block), shared_bytes, seed, strict, limit)
            return _run(module, function, arguments, launch)
    except Fault as fault:
        span = Span(name, fault.line) if fault.line else None
        raise TilebuildError(Diagnostic(fault.code, fault.message, span, fix=fault.fix)) from None


@dataclass(frozen=True)
class _Launch:
    grid: Triple
    block: Triple
    shared_bytes: int
    seed: int
    strict: bool
    limit: int


def _run(module: Module, function: Function, values: Sequence[Any], launch: _Launch) -> Run:
    grid, block = launch.grid, launch.block
    size = block[0] * block[1] * block[2]
    _check(function, grid, block, size)
    random = np.random.default_rng(launch.seed)
    functions = reachable(module, function)
    layout = Layout(module, functions, launch.shared_bytes)
    memory = GlobalMemory(Arguments.capacity(values) + layout.capacity + SLACK + 8192, random)
    arguments = Arguments(function, values, memory)
    layout.allocate(memory, function, {n: arguments.base + at for n, at in arguments.offsets.items()})
    total = grid[0] * grid[1] * grid[2]
    together = max(1, min(total, _THREADS // (-(-size // WARP) * WARP)))
    threads = Threads(grid, block, together)
    space = Memory(threads, memory, layout, launch.strict)
    binder = Binder(threads, space, layout)
    sizes = {
        "%dynamic_smem_size": launch.shared_bytes,
        "%total_smem_size": layout.shared,
        "%aggr_smem_size": layout.shared,
    }
    threads.special.update({n: np.full(threads.count, v, np.uint32) for n, v in sizes.items()})
    program = Program(binder, functions, random)
    scheduler = Scheduler(program, threads, random, launch.limit)
    order = random.permutation(total)
    for first in range(0, total, together):
        if first:
            space.poison()
            binder.poison()
            program.forget()
        threads.place(order[first : first + together], program.start, random)
        scheduler.run()
    arguments.copy_back()
    return Run(scheduler.issued, total * size)


def _triple(extent: int | Sequence[int]) -> Triple:
    x, y, z = (*((extent,) if isinstance(extent, (int, np.integer)) else extent), 1, 1)[:3]
    return (int(x), int(y), int(z))


def _entry(module: Module, name: str) -> Function:
    found = module.functions.get(name)
    if found is None or not found.entry or not found.body:
        known = [f.name for f in module.functions.values() if f.entry and f.body]
        message = f'the text has no entry "{name}"{did_you_mean(name, known)}; it has {", ".join(known) or "none"}'
        raise Fault("EMU-03", message, fix="name one of its entries")
    return found


def _check(function: Function, grid: Triple, block: Triple, size: int) -> None:
    if min(*grid, *block) < 1 or size > _LARGEST_BLOCK:
        message = (
            f"a grid {grid} of blocks {block}: extents are at least 1, and a block has at most {_LARGEST_BLOCK} threads"
        )
        raise Fault("EMU-03", message, function.line, "launch other extents")
    if function.block is not None and function.block != block:
        message = f"{function.name} is compiled for blocks {function.block} (.reqntid), not {block}"
        raise Fault("EMU-03", message, function.line, "launch the blocks that it names")
    if function.most_threads and size > function.most_threads:
        message = f"{function.name} is compiled for at most {function.most_threads} threads (.maxntid), not {size}"
        raise Fault("EMU-03", message, function.line, "launch smaller blocks")
