"""Kernels for tests of the gpu target: lowered, emitted, and run as ordinary C++ on the host (see shim.h)."""

from __future__ import annotations

import ctypes
import hashlib
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tilebuild.frontend.discover import KernelDef, VariantDef, discover
from tilebuild.frontend.library import library
from tilebuild.frontend.python import lower_kernel
from tilebuild.ir.verifier import verify
from tilebuild.plan.expr import parse_predicates
from tilebuild.plan.model import Plan
from tilebuild.plan.slots import slots
from tilebuild.targets.gpu.ctext import TYPES
from tilebuild.targets.gpu.emit import emit
from tilebuild.targets.gpu.limits import limits
from tilebuild.targets.simt.lower import lower
from tilebuild.targets.simt.mapping import Limits
from tilebuild.targets.simt.place import place

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
FASTNORM = ROOT / "examples" / "fastnorm"
NUMPY = {"f32": np.float32, "i32": np.int32, "u32": np.uint32}


@cache
def fastnorm() -> Mapping[str, KernelDef]:
    return {k.name: k for k in discover(FASTNORM, ["src/fastnorm/kernels"])}


def write(project: Path, package: str, text: str) -> Mapping[str, KernelDef]:
    """The kernels of a package of one module, which starts by importing tilebuild as tb."""
    folder = project / "src" / package
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "__init__.py").write_text("import tilebuild as tb\n" + text, encoding="utf-8")
    return {k.name: k for k in discover(project, [f"src/{package}"])}


def variants(kernel: KernelDef) -> list[VariantDef]:
    return [v for v in kernel.variants if v.target in ("", "gpu")]


def plan(kernel: KernelDef, variant: VariantDef, name: str, machine: Limits | None = None) -> Plan:
    func = lower_kernel(kernel, variant, name, library())
    assert [d for d in verify(func) if d.severity == "error"] == []
    return place(lower(func, machine or limits("sm_80")))


def plans(kernel: KernelDef, arch: str = "sm_80") -> list[Plan]:
    return [plan(kernel, v, f"{kernel.name}_{n}", limits(arch)) for n, v in enumerate(variants(kernel))]


@dataclass(frozen=True)
class Emulated:
    """Compiled kernels; one launch runs all blocks, each with threads in an order that the seed decides."""

    kernels: Mapping[str, tuple[KernelDef, Sequence[Plan]]]
    handle: ctypes.CDLL

    def run(self, name: str, *given: Any, seed: int = 1, dims: Mapping[str, int] | None = None) -> tuple[Any, ...]:
        """The outputs for values of `In`, `InOut` and scalar parameters. Arrays lie in larger ones whose margins hold
        what no kernel may read (NaN) or write; `dims` are those that no input tells."""
        kernel, made = self.kernels[name]
        values = iter(given)
        arrays: dict[str, Any] = {}
        scalars: dict[str, Any] = {}
        sizes = dict(dims or {})
        for p in kernel.parameters:
            if p.mode == "scalar":
                scalars[p.name] = next(values)
            elif p.mode != "out":
                arrays[p.name] = np.asarray(next(values), NUMPY[p.dtype])
                sizes |= {str(d): n for d, n in zip(p.dims, arrays[p.name].shape) if str(d).isidentifier()}
        for p in kernel.parameters:
            if p.mode == "out":
                shape = [d.evaluate(sizes) for d in p.dims]
                arrays[p.name] = np.full(shape, np.nan if p.dtype == "f32" else 77, NUMPY[p.dtype])
        inside = {n: _surrounded(array, seed) for n, array in arrays.items()}
        whole = {n: base.copy() for n, (base, _) in inside.items()}
        chosen = _variant(kernel, made, sizes)
        words = [_slot(s, {n: a for n, (_, a) in inside.items()}, scalars, sizes, kernel) for s in slots(chosen)]
        grid = int(np.prod([e.evaluate(sizes) for e in chosen.launch.grid]))
        entry = self.handle[f"run_{chosen.variant}"]
        entry.restype = ctypes.c_char_p
        error = entry(
            (ctypes.c_int64 * len(words))(*words), ctypes.c_int64(grid), ctypes.c_uint64(seed * 2654435761 + 1)
        )
        assert error is None, f"{chosen.variant}: {error.decode()}"
        outputs = []
        for p in kernel.parameters:
            if p.mode == "scalar":
                continue
            base, array = inside[p.name]
            if p.mode != "in":
                outputs.append(array.copy())
                array[...] = _view(whole[p.name], array.shape, seed)
            assert base.tobytes() == whole[p.name].tobytes(), f"{chosen.variant} wrote outside of {p.name}"
        return tuple(outputs)


def _variant(kernel: KernelDef, made: Sequence[Plan], dims: Mapping[str, int]) -> Plan:
    for v, p in zip(variants(kernel), made):
        if not v.when or all(f.holds(dims) for f in parse_predicates(v.when)):
            return p
    raise AssertionError(f"no variant of {kernel.name} for {dims}")


def _view(base: Any, shape: Sequence[int], seed: int) -> Any:
    # an odd seed starts rows at any address, an even one at multiples of 16 bytes
    first = (seed % 2,) * (len(shape) - 1) + ((1 if seed % 2 else 4),)
    return base[tuple(slice(f, f + n) for f, n in zip(first, shape))]


def _surrounded(array: Any, seed: int) -> tuple[Any, Any]:
    shape = array.shape
    extra = [2] * (len(shape) - 1) + [5 if seed % 2 else 8 + -shape[-1] % 4]
    raw = np.zeros(int(np.prod([n + e for n, e in zip(shape, extra)])) + 16, array.dtype)
    start = -raw.ctypes.data % 16 // 4
    base = raw[start:][: int(np.prod([n + e for n, e in zip(shape, extra)]))].reshape(
        [n + e for n, e in zip(shape, extra)]
    )
    base[...] = np.nan if array.dtype == np.float32 else 99
    view = _view(base, shape, seed)
    view[...] = array
    return base, view


def _slot(
    slot: str, arrays: Mapping[str, Any], scalars: Mapping[str, Any], dims: Mapping[str, int], kernel: KernelDef
) -> int:
    kind, name, *axis = slot.split(":")
    if kind == "ptr":
        return int(arrays[name].ctypes.data)
    if kind == "stride":
        return int(arrays[name].strides[int(axis[0])] // 4)
    if kind == "dim":
        return dims[name]
    dtype = next(p.dtype for p in kernel.parameters if p.name == name)
    return int.from_bytes(NUMPY[dtype](scalars[name]).tobytes(), "little")


def emulate(kernels: Mapping[str, KernelDef], folder: Path, edit: tuple[str, str] | None = None) -> Emulated:
    """Kernels compiled for the host, as one file; `edit` replaces a pattern of the generated text once."""
    made = {name: (kernel, plans(kernel)) for name, kernel in kernels.items()}
    every = [p for _, found in made.values() for p in found]
    text = emit(every).text
    if edit is not None:
        text, count = re.subn(edit[0], edit[1], text, count=1)
        assert count == 1, f"{edit[0]} is not in the text"
    text = re.sub(
        r"(?:extern )?__shared__ __align__\(16\) unsigned char shared\[\d*\];",
        "unsigned char *const shared = shim::shared_memory;",
        text,
    )
    shim = (HERE / "shim.h").read_text(encoding="utf-8")
    unit = f"{shim}\n{text}\n{''.join(_runner(p) for p in every)}"
    stem = hashlib.sha256(unit.encode()).hexdigest()[:16]
    library_file = folder / f"{stem}.so"
    if not library_file.exists():
        file = folder / f"{stem}.cpp"
        file.write_text(unit, encoding="utf-8")
        compiler = shutil.which("g++") or shutil.which("clang++")
        assert compiler is not None
        command = [
            compiler,
            "-std=c++17",
            "-O1",
            "-w",
            "-fPIC",
            "-shared",
            "-ffp-contract=off",
            str(file),
            "-o",
            str(library_file),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return Emulated(made, ctypes.CDLL(str(library_file)))


def _runner(p: Plan) -> str:
    """A function that launches an entry: the words of its slots, the number of blocks, a seed."""
    parameters = {q.name: q for q in p.contract.parameters}
    arguments = []
    for n, slot in enumerate(slots(p)):
        kind, name, *_ = slot.split(":")
        if kind == "ptr":
            arguments.append(f"({TYPES[parameters[name].dtype]} *)words[{n}]")
        elif kind == "scalar":
            arguments.append(f"*(const {TYPES[parameters[name].dtype]} *)&words[{n}]")
        else:
            arguments.append(f"words[{n}]")
    x, y = p.launch.block
    used = p.launch.shared_static + p.launch.shared_dynamic
    call = f"const int64_t *words = words_{p.variant}; {p.variant}({', '.join(arguments)});"
    return (
        f"static const int64_t *words_{p.variant};\n"
        f"static void body_{p.variant}() {{ {call} }}\n"
        f'extern "C" const char *run_{p.variant}(const int64_t *words, int64_t blocks, uint64_t seed)\n'
        f"{{ words_{p.variant} = words; shim::body = body_{p.variant}; shim::random_state = seed; shim::error = 0;\n"
        f"  for (int64_t b = 0; b < blocks && !shim::error; b++) shim::run_block((int)b, {x}, {y}, {used});\n"
        f"  return shim::error; }}\n"
    )
