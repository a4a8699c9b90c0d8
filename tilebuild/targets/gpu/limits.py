"""NVIDIA's architectures: what a block of threads has on each, and the least PTX version that names it.

Sources: the compute capabilities' table of the CUDA C++ Programming Guide (shared memory a block may ask for) and the
release notes of the PTX ISA (the version that introduced each target).
"""

from __future__ import annotations

from collections.abc import Mapping

from tilebuild.targets.simt.mapping import Limits

_KIB = 1024
# name -> (bytes of shared memory of a block, least PTX version)
_TABLE: Mapping[str, tuple[int, str]] = {
    "sm_75": (64 * _KIB, "6.3"),
    "sm_80": (163 * _KIB, "7.0"),
    "sm_86": (99 * _KIB, "7.1"),
    "sm_87": (163 * _KIB, "7.4"),
    "sm_88": (48 * _KIB, "9.0"),
    "sm_89": (99 * _KIB, "7.8"),
    "sm_90": (227 * _KIB, "7.8"),
    "sm_100": (227 * _KIB, "8.6"),
    "sm_103": (227 * _KIB, "8.8"),
    "sm_107": (48 * _KIB, "9.4"),
    "sm_110": (227 * _KIB, "9.0"),
    "sm_120": (99 * _KIB, "8.7"),
    "sm_121": (99 * _KIB, "8.8"),
}
ARCHITECTURES = tuple(_TABLE)


def limits(arch: str) -> Limits:
    """What the lowering may use of an architecture; raises KeyError."""
    return Limits("gpu", arch, 512, 32, _TABLE[arch][0], 192, 64 * _KIB, 4, (16, 16))


def ptx_version(arch: str) -> str:
    """The least `.version` of a PTX file for the architecture; raises KeyError."""
    return _TABLE[arch][1]


def capability(arch: str) -> tuple[int, int]:
    """The compute capability, (major, minor)."""
    number = int(arch.removeprefix("sm_"))
    return number // 10, number % 10
