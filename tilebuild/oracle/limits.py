"""What devices really have, as the oracle knows it: a plan may declare less than this, never more.

Sources: the capacities of the Ascend parts are the smaller of what the assembler and the hardware take (UB, L1, L0A,
L0B, L0C, bias and fixpipe tables); of NVIDIA parts the opt-in dynamic shared memory of one block, and the limits of a
launch, from the compute capabilities' table of the CUDA C++ Programming Guide; where that does not list a part, the
48 KiB that every part has; of Vulkan the minima of the specification's table of required limits, which every device
has; the cpu arena is this project's own per-thread scratch, sized to a core's second-level cache.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tilebuild.plan.model import Plan

KIB = 1024

_ASCEND_A3 = {
    "vec": 196608, "mat": 524288, "left": 65536, "right": 65536, "acc": 131072, "bias": 1024, "scaling": 2048,
}  # fmt: skip
_ASCEND_A5 = {
    "vec": 253952, "mat": 524288, "left": 65536, "right": 65536, "acc": 262144, "bias": 4096, "scaling": 4096,
}  # fmt: skip
_SHARED_48 = {"shared": 48 * KIB}
_SHARED_64 = {"shared": 64 * KIB}
_SHARED_99 = {"shared": 99 * KIB}
_SHARED_163 = {"shared": 163 * KIB}
_SHARED_227 = {"shared": 227 * KIB}
_ARENA = {"arena": 1024 * KIB}

# Bytes of each space by (target, arch); the arch "" stands for every architecture of its target.
CAPACITY: Mapping[tuple[str, str], Mapping[str, int]] = {
    ("cpu", ""): _ARENA,
    ("pto", "a2a3"): _ASCEND_A3,
    ("pto", "a3"): _ASCEND_A3,
    ("pto", "a5"): _ASCEND_A5,
    ("spirv", "vulkan1.2"): {"shared": 16 * KIB},
    ("gpu", "sm_75"): _SHARED_64,
    ("gpu", "sm_80"): _SHARED_163,
    ("gpu", "sm_86"): _SHARED_99,
    ("gpu", "sm_87"): _SHARED_163,
    ("gpu", "sm_88"): _SHARED_48,
    ("gpu", "sm_89"): _SHARED_99,
    ("gpu", "sm_90"): _SHARED_227,
    ("gpu", "sm_100"): _SHARED_227,
    ("gpu", "sm_103"): _SHARED_227,
    ("gpu", "sm_107"): _SHARED_48,
    ("gpu", "sm_110"): _SHARED_227,
    ("gpu", "sm_120"): _SHARED_99,
    ("gpu", "sm_121"): _SHARED_99,
}
# Bytes of shared memory that a kernel may have without asking for more at its launch
STATIC_SHARED: Mapping[str, int] = {"gpu": 48 * KIB}

# Threads that exchange registers; where none are named, a device may have any number
WARP: Mapping[str, int] = {"gpu": 32}


@dataclass(frozen=True)
class Block:
    """The largest block of threads: all together and in each direction; the registers that a block's threads share
    and the most that one thread has, 0 where they are not known."""

    threads: int
    sides: tuple[int, int, int]
    registers: int = 0
    thread_registers: int = 0


BLOCKS: Mapping[str, Block] = {
    "gpu": Block(1024, (1024, 1024, 64), 65536, 255),
    "spirv": Block(128, (128, 128, 64)),
}


def capacity(target: str, arch: str, space: str) -> int | None:
    """Bytes that the device has of `space`, or None where this table does not know."""
    base = arch[:-1] if target == "gpu" and arch[-1:] in ("a", "f") else arch  # of one architecture or its family only
    known = CAPACITY.get((target, base)) or CAPACITY.get((target, "")) or {}
    return known.get(space)


def threads(plan: Plan) -> int | None:
    """The threads that run a program of the plan together; None where the plan does not say, and there are many."""
    if plan.launch.block:
        return math.prod(plan.launch.block)
    return None if plan.target in BLOCKS else 1
