"""Loads, stores, and what is a hint or a fence: ld, st, prefetch, membar and their like.

Caches are not modelled, and every access is seen by all threads at once, so that cache and ordering qualifiers change
nothing here. They are known by name all the same: a qualifier that is not is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilebuild.testing.ptx.binder import Binder, Op, Words
from tilebuild.testing.ptx.faults import Fault
from tilebuild.testing.ptx.kinds import KINDS
from tilebuild.testing.ptx.memory import Access
from tilebuild.testing.ptx.syntax import Vector
from tilebuild.testing.ptx.threads import Chosen

Array = NDArray[Any]
SPACES = ("global", "shared", "local", "param", "const", "shared::cta", "param::func", "param::entry", "generic")
ORDER = ("relaxed", "acquire", "release", "acq_rel", "sc", "volatile", "weak", "mmio")
SCOPES = ("cta", "cluster", "gpu", "sys")
_CACHE = ("ca", "cg", "cs", "lu", "cv", "wb", "wt", "nc", "unified")
_EVICTION = tuple(
    f"{level}::{what}"
    for level in ("L1", "L2")
    for what in ("evict_first", "evict_last", "evict_normal", "evict_unchanged", "no_allocate", "evict_last_use")
)
_PREFETCH = ("L2::64B", "L2::128B", "L2::256B")


def space_of(w: Words) -> str:
    """The state space that is named, or generic."""
    return w.take(*SPACES).split("::")[0] or "generic"


def hints(w: Words) -> bool:
    """Take the qualifiers without meaning here; whether a cache policy follows as the last operand."""
    for words in (ORDER, SCOPES, _CACHE, _CACHE, _EVICTION, _EVICTION, _PREFETCH):
        w.take(*words)
    return w.flag("L2::cache_hint")


def _load(b: Binder, w: Words) -> Op:
    kind = w.kind()
    space, count = space_of(w), int((w.take("v2", "v4", "v8") or "v1")[1:])
    policy = hints(w)
    w.done()
    target, source = w.instruction.operands[: 2 if not policy else -1]
    items = target.items if isinstance(target, Vector) else (target,)
    if len(items) != count:
        w.refuse()
    memory_space, address = b.address(source, space)
    access = Access(w.instruction.line, w.instruction.text, memory_space, max(1, kind.bits // 8), count)
    # bits are kept as they are: only integers are extended
    kind = KINDS[f"u{kind.bits}"] if kind.is_float or kind.family == "b" else kind
    writes = [b.write(item, kind) for item in items]
    memory, number = b.memory, kind.number

    def run(chosen: Chosen) -> None:
        for write, values in zip(writes, memory.load(access, address(chosen), chosen)):
            write(chosen, values.view(number))

    return run


def _store(b: Binder, w: Words) -> Op:
    kind = w.kind()
    space, count = space_of(w), int((w.take("v2", "v4", "v8") or "v1")[1:])
    policy = hints(w)
    w.done()
    target, source = w.instruction.operands[: 2 if not policy else -1]
    items = source.items if isinstance(source, Vector) else (source,)
    if len(items) != count:
        w.refuse()
    memory_space, address = b.address(target, space)
    access = Access(w.instruction.line, w.instruction.text, memory_space, max(1, kind.bits // 8), count, write=True)
    kind = kind if kind.is_float and kind.plain else KINDS[f"u{kind.bits}"]
    readers = [b.read(item, kind) for item in items]
    memory, bits = b.memory, kind.unsigned

    def run(chosen: Chosen) -> None:
        memory.store(access, address(chosen), [np.asarray(r(chosen)).view(bits) for r in readers], chosen)

    return run


def _nothing(*words: str) -> Callable[[Binder, Words], Op]:
    """An instruction that changes nothing that a thread can see; its qualifiers are still checked."""

    def handler(b: Binder, w: Words) -> Op:
        while w.take(*words):
            pass
        w.done()
        return lambda chosen: None

    return handler


def _trap(b: Binder, w: Words) -> Op:
    w.done()
    line, threads = w.instruction.line, b.threads

    def run(chosen: Chosen) -> None:
        thread = threads.name(int(threads.indices(chosen)[0]))
        raise Fault("EMU-11", f"{w.instruction.opcode} was reached by {thread}", line, "the kernel itself stops here")

    return run


def _policy(b: Binder, w: Words) -> Op:
    """createpolicy: some value; only caches ask for it."""
    write = b.write(w.instruction.operands[0], KINDS["b64"])
    return lambda chosen: write(chosen, np.zeros((), np.uint64))


_LEVELS = ("L1", "L2", "global", "local", "tensormap", *_EVICTION)
TABLE: dict[str, Callable[[Binder, Words], Op]] = {
    "ld": _load, "ldu": _load, "st": _store,
    "prefetch": _nothing(*_LEVELS), "prefetchu": _nothing("L1"), "discard": _nothing("global", "L2"),
    "applypriority": _nothing(*_LEVELS), "createpolicy": _policy,
    "membar": _nothing("cta", "gl", "sys", "proxy", "alias", "async"),
    "fence": _nothing(*ORDER, *SCOPES, "proxy", "alias", "async", "async::generic", "mbarrier_init", "shared::cta",
                      "global", "async.global", "async.shared::cta"),
    "nanosleep": _nothing("u32"), "pmevent": _nothing("mask"), "griddepcontrol": _nothing("wait", "launch_dependents"),
    "setmaxnreg": _nothing("inc", "dec", "sync", "aligned", "u32"),
    "trap": _trap, "brkpt": _trap,
}  # fmt: skip
