"""The cpu device: shared libraries called through ctypes, which releases the interpreter lock.

A library exports, for each entry E and each instruction-set level L, `void E_L(const int64_t *slots, int64_t part,
int64_t parts)` (plain `E` without levels), and `int32_t tilebuild_level(void)`: the best level of this machine as an
index into the manifest's `levels`, or -1. One that also exports `tilebuild_run` (see targets/cpu/pool.c) runs its
kernels on several threads: as many as TILEBUILD_NUM_THREADS says, or as the process may use processors.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Sequence

from tilebuild.manifest import BuildEntry, LibraryEntry
from tilebuild.runtime import machine
from tilebuild.runtime.arrays import View
from tilebuild.runtime.devices import DeviceError, Launch
from tilebuild.runtime.errors import LaunchError

rank = 100
memory = frozenset({1, 3, 11})  # kDLCPU, and the pinned host memory of CUDA and ROCm

THREADS = "TILEBUILD_NUM_THREADS"
LARGE = 1 << 18  # bytes of arrays; less is done before another thread has woken up
MOST = 1024  # threads
PARTS = 8  # a thread: enough to even out threads of different speed


def available(build: BuildEntry, library: LibraryEntry) -> tuple[bool, str]:
    accepted = machine.canonical(build["arch"]) == machine.architecture()
    return accepted, f"this machine is {machine.describe()}"


def preference(build: BuildEntry, library: LibraryEntry) -> int:
    return 0  # a machine has one architecture of this target


def load(path: str, library: LibraryEntry) -> CpuLibrary:
    try:
        handle = ctypes.CDLL(path)
    except OSError as e:
        raise DeviceError(f"the system's loader refuses it: {e}") from None
    levels = library["levels"]
    if not levels:
        return CpuLibrary(handle, "")
    try:
        probe = handle.tilebuild_level
    except AttributeError:
        raise DeviceError("it has several instruction-set levels and no tilebuild_level to choose one") from None
    probe.restype, probe.argtypes = ctypes.c_int32, []
    best = probe()
    if not 0 <= best < len(levels):
        raise DeviceError(f"this processor runs none of its instruction-set levels ({', '.join(levels)})")
    return CpuLibrary(handle, levels[best])


def threads() -> int:
    """How many threads a launch may use; raises `LaunchError` E807 where the environment's number is none."""
    text = os.environ.get(THREADS, "")
    if not text:
        # where a process cannot be bound to processors, all of them
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST):
        fact = f'{THREADS} is "{text}", and it is the number of threads of a launch, 1 to {MOST}'
        raise LaunchError("E807", fact, fix=f"set it to a number, or unset it: then it is {os.cpu_count()} here")
    return int(text)


class CpuLibrary:
    """A loaded library; `level` is the chosen instruction set, empty where there is one only."""

    def __init__(self, handle: ctypes.CDLL, level: str) -> None:
        self._handle = handle
        self.level = level
        self._threads = threads() if hasattr(handle, "tilebuild_run") else 1

    def function(self, build: BuildEntry) -> Launch:
        symbol = f"{build['entry']}_{self.level}" if self.level else build["entry"]
        try:
            entry = self._handle[symbol]
        except AttributeError:
            raise DeviceError(f"it does not export {symbol}") from None
        entry.restype = None
        # a bytes object is as good as an array of int64 to a reader, and ten times as fast to make
        entry.argtypes = [ctypes.c_char_p, ctypes.c_int64, ctypes.c_int64]
        pack = struct.Struct(f"={len(build['slots'])}q").pack

        if self._threads == 1:

            def launch(slots: Sequence[int], views: Sequence[View], size: int) -> None:
                entry(pack(*slots), 0, 1)

            return launch

        run, address = self._handle.tilebuild_run, ctypes.cast(entry, ctypes.c_void_p)
        run.restype = None
        run.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int64, ctypes.c_int32]
        count, parts = self._threads, self._threads * PARTS

        def launch_parts(slots: Sequence[int], views: Sequence[View], size: int) -> None:
            if size < LARGE:
                entry(pack(*slots), 0, 1)
            else:
                run(address, pack(*slots), parts, count)

        return launch_parts
