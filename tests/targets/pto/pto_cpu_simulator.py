"""Runs what ptoas wrote in the CPU simulator of the pto-isa headers, every core from memory that holds NaNs.

Nothing of either project is here: the user names them. The simulator ends the process where an address or a shape
breaks its rules, so calls are made in a process of their own.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from tilebuild import toolchain
from tilebuild.plan.model import Plan
from tilebuild.plan.slots import slots

Array = Any
OLDEST_CLANG = 15
_FLAGS = ["-std=c++20", "-D__CPU_SIM", "-include", "stdint.h", "-include", "stddef.h", "-O1", "-w", "-fPIC", "-shared"]
_HARNESS = """
#include <cstring>
#include <cstdlib>
#include <thread>
#include <utility>
#include "pto/pto-inst.hpp"

// The simulator's TROWSUM, but for one demand that the devices' does not have: as many rows in the types of operand and
// result. Rows of a column are rounded up to 32 bytes.
template <typename Out, typename In, typename Scratch>
void sum_of_rows(Out &out, In &in, Scratch &) {
    pto::TRowSum<Out, In>(out.data(), in.data(), in.GetValidRow(), in.GetValidCol());
}
#define TROWSUM sum_of_rows
#include "kernels.cpp"

static void poison(pto::NPUArch arch) {
    auto &memory = pto::NPUMemoryModel::Instance();
    memory.Initialize(arch);
    const auto &sizes = memory.GetSizes();  // registers, UB, L1, L0A, L0B, L0C
    char *bases[] = {memory.GetUBBase(), memory.GetL1Base(), memory.GetL0ABase(), memory.GetL0BBase(),
                     memory.GetL0CBase()};
    for (int i = 0; i < 5; i++) std::memset(bases[i], 0xff, sizes[i + 1]);
}

template <typename... A, std::size_t... I>
static void call(void (*kernel)(A...), void **arguments, std::index_sequence<I...>) {
    kernel(*static_cast<A *>(arguments[I])...);
}

template <typename... A>
static void launch(void (*kernel)(A...), void **arguments, unsigned cores, pto::NPUArch arch, const char *vector) {
    setenv("PTO_CPU_SIM_UB_BYTES", vector, 1);
    pto::cpu_sim::EnsureRuntimeInitialized();
    pto::cpu_sim::runtime_config().num_cores = cores;
    for (unsigned core = 0; core < cores; core++)
        std::thread([&] {
            pto::cpu_sim::set_execution_context(core, 0, 1);
            poison(arch);
            call(kernel, arguments, std::index_sequence_for<A...>{});
        }).join();
}
"""
_ENTRY = """
extern "C" void launch_{name}(void **arguments, unsigned cores) {{
    launch({name}, arguments, cores, pto::NPUArch::{arch}, "{vector}");
}}
"""


@cache
def clang() -> str | None:
    """A clang++ that is new enough."""
    for name in ("clang++", *(f"clang++-{v}" for v in range(30, OLDEST_CLANG - 1, -1))):
        path = shutil.which(name)
        if path is not None:
            said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False, timeout=60).stdout
            version = re.search(r"clang version (\d+)", said)
            if version is not None and int(version[1]) >= OLDEST_CLANG:
                return path
    return None


def headers() -> Path | None:
    """The include directory of pto-isa."""
    root = os.environ.get("PTO_ISA_ROOT", "")
    return Path(root) / "include" if root else None


def lacking(simulator: bool = True) -> list[str]:
    """What is missing here, each with how to get it."""
    found = []
    if not os.environ.get("PTOAS") and shutil.which("ptoas") is None:
        found.append("ptoas (build it from https://github.com/hw-native-sys/PTOAS, and name it in PTOAS)")
    if simulator and headers() is None:
        found.append("the pto-isa headers (clone https://gitcode.com/cann/pto-isa, and name it in PTO_ISA_ROOT)")
    if simulator and clang() is None:
        found.append(f"clang++ {OLDEST_CLANG} or newer (Debian, Ubuntu: apt-get install clang)")
    return found


def assemble(text: str, arch: str, folder: Path) -> Path:
    """The C++ of a PTO text, with the flags that a build gives. Fails where ptoas rejects it."""
    source, out = folder / "kernels.pto", folder / "kernels.cpp"
    source.write_text(text)
    out.unlink(missing_ok=True)
    tool = toolchain.find("pto-assembler", "ptoas", cache=folder / "probes.json")
    command = tool.fill("assemble", {"out": str(out)}, {"in": (str(source),)}, arch)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-4000:]
    assert out.is_file(), "ptoas wrote nothing"
    return out


def compile_(text: str, plans: Sequence[Plan], folder: Path) -> Path:
    """A library with `launch_NAME(arguments, cores)` for every plan's function of a text."""
    compiler, include, arch = clang(), headers(), plans[0].arch
    assert compiler is not None
    assemble(text, arch, folder)
    vector = next(s.capacity for s in plans[0].spaces if s.name == "vec")
    entries = [_ENTRY.format(name=p.variant, arch=arch.upper(), vector=vector) for p in plans]
    (folder / "harness.cpp").write_text(_HARNESS + "".join(entries))
    out = folder / "kernels.so"
    command = [compiler, *_FLAGS, f"-I{include}", str(folder / "harness.cpp"), "-o", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[:4000]
    return out


class Simulator:
    """Calls functions of libraries in another process."""

    def __init__(self) -> None:
        self.pool = ProcessPoolExecutor(1, get_context("spawn"))

    def close(self) -> None:
        self.pool.shutdown()

    def run(
        self, library: Path, plan: Plan, arrays: Mapping[str, Array], numbers: Mapping[str, Any], cores: int
    ) -> None:
        """Call a plan's function on arrays, which may be parts of others, as `pto_simulator.run` does.

        Raises BrokenProcessPool where an assertion of the simulator fails; its message is on stderr.
        """
        whole = {name: a if a.base is None else a.base for name, a in arrays.items()}
        dtypes = {p.name: p.dtype for p in plan.contract.parameters}
        values: list[tuple[str, Any]] = []
        for slot in slots(plan):
            kind, name, *axis = slot.split(":")
            if kind == "ptr":
                values.append(("array", whole[name]))
            elif kind == "stride":
                given = numbers.get(f"{name}__s{axis[0]}")
                values.append(
                    ("i32", arrays[name].strides[int(axis[0])] // whole[name].itemsize if given is None else given)
                )
            else:
                values.append(("i32" if kind == "dim" else dtypes[name], numbers[name]))
        try:
            done = self.pool.submit(_call, str(library), f"launch_{plan.variant}", values, cores).result(timeout=300)
        except Exception:
            self.pool.shutdown(cancel_futures=True)
            self.pool = ProcessPoolExecutor(1, get_context("spawn"))
            raise
        for (kind, array), result in zip(values, done):
            if kind == "array":
                array[...] = result


def _call(library: str, entry: str, values: Sequence[tuple[str, Any]], cores: int) -> list[Any]:
    """In the other process: the arrays as they are after the call."""
    function = getattr(ctypes.CDLL(library), entry)
    function.restype = None
    kinds = {"i32": ctypes.c_int32, "f32": ctypes.c_float}
    held = [ctypes.c_void_p(v.ctypes.data) if kind == "array" else kinds[kind](v) for kind, v in values]
    function((ctypes.c_void_p * len(held))(*(ctypes.addressof(h) for h in held)), ctypes.c_uint(cores))
    return [np.array(v) if kind == "array" else None for kind, v in values]
