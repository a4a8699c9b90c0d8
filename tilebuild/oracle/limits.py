"""What devices really have, as the oracle knows it: a plan may declare less than this, never more.

Sources: the capacities of the Ascend parts are the smaller of what the assembler and the hardware take (UB, L1, L0A,
L0B, L0C, bias and fixpipe tables); of NVIDIA parts the opt-in dynamic shared memory of one block; the cpu arena is
this project's own per-thread scratch, sized to a core's second-level cache.
"""

from __future__ import annotations

from collections.abc import Mapping

KIB = 1024

_ASCEND_A3 = {
    "vec": 196608, "mat": 524288, "left": 65536, "right": 65536, "acc": 131072, "bias": 1024, "scaling": 2048,
}  # fmt: skip
_ASCEND_A5 = {
    "vec": 253952, "mat": 524288, "left": 65536, "right": 65536, "acc": 262144, "bias": 4096, "scaling": 4096,
}  # fmt: skip
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
    ("gpu", "sm_80"): _SHARED_163,
    ("gpu", "sm_86"): _SHARED_99,
    ("gpu", "sm_89"): _SHARED_99,
    ("gpu", "sm_90"): _SHARED_227,
    ("gpu", "sm_90a"): _SHARED_227,
    ("gpu", "sm_100"): _SHARED_227,
    ("gpu", "sm_100a"): _SHARED_227,
    ("gpu", "sm_120"): _SHARED_99,
    ("gpu", "sm_120a"): _SHARED_99,
}


def capacity(target: str, arch: str, space: str) -> int | None:
    """Bytes that the device has of `space`, or None where this table does not know."""
    known = CAPACITY.get((target, arch)) or CAPACITY.get((target, "")) or {}
    return known.get(space)
