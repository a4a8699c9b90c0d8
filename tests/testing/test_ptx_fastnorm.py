"""Every kernel of the example, compiled for gpu:sm_80, on the emulator against its reference; and with its barriers
taken away one by one, which must show."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import gpu_kernels as gpu
import numpy as np
import pytest

from tilebuild.diagnostics import TilebuildError
from tilebuild.plan.expr import parse_predicates
from tilebuild.plan.model import Plan
from tilebuild.plan.slots import slots
from tilebuild.targets.gpu.target import TARGET, GpuOptions
from tilebuild.testing.ptx import Placed, Run, emulate
from tilebuild.toolchain import Tool

sys.path.insert(0, str(gpu.FASTNORM / "src"))
from fastnorm import kernels

SEEDS = (1, 2)
SHAPES = [(1, 1), (5, 37), (3, 1000), (2, 1024), (1, 1025), (2, 5001)]
SCALARS = {"eps": 1e-5, "s": 1.5}


@cache
def tools() -> tuple[Tool, ...]:
    try:
        return TARGET.tools(GpuOptions(), Path("/nonexistent"))
    except TilebuildError as error:
        if error.diagnostics[0].code != "E501":
            raise
        wanted = TARGET.requirements(GpuOptions(), Path("/nonexistent"))
        pytest.skip(f"{error.diagnostics[0].message}; get it: pip install {' '.join(wanted)}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ptx")


def ptx(folder: Path, name: str) -> str:
    """The PTX of a kernel's variants, compiled once."""
    source, output = folder / f"{name}.cu", folder / f"{name}.ptx"
    if not output.exists():
        compiler = tools()[0].name
        source.write_text(TARGET.emit(plans(name))[".cu"].text, encoding="utf-8")
        step = [
            sys.executable,
            "-m",
            "tilebuild.targets.gpu.step",
            "compile",
            compiler,
            "sm_80",
            str(source),
            str(output),
        ]
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return output.read_text(encoding="utf-8")


@cache
def plans(name: str) -> list[Plan]:
    return gpu.plans(gpu.fastnorm()[name])


def chosen(name: str, dims: dict[str, int]) -> Plan:
    for variant, plan in zip(gpu.variants(gpu.fastnorm()[name]), plans(name)):
        if not variant.when or all(f.holds(dims) for f in parse_predicates(variant.when)):
            return plan
    raise AssertionError(f"no variant of {name} for {dims}")


def launch(text: str, name: str, dims: dict[str, int], inputs: dict[str, Any], seed: int) -> tuple[Any, Run]:
    """The output, which lies in a larger array whose margins must stay as they are; inputs are read-only."""
    plan = chosen(name, dims)
    arrays: dict[str, Any] = {}
    (out,) = [p for p in gpu.fastnorm()[name].parameters if p.mode == "out"]
    shape = [d.evaluate(dims) for d in out.dims]
    base = np.full([n + 3 for n in shape], 77, np.float32)
    for n, array in inputs.items():
        arrays[n] = array.copy()
        arrays[n].setflags(write=False)
    arrays[out.name] = base[1:-2, 2:-1]
    # odd seeds begin rows at any address, even ones at multiples of 16 bytes
    placed = {n: Placed(a, 4 * (seed % 2)) for n, a in arrays.items()}
    arguments: list[Any] = []
    for slot in slots(plan):
        kind, n, *axis = slot.split(":")
        if kind == "ptr":
            arguments.append(placed[n])
        elif kind == "stride":
            arguments.append(arrays[n].strides[int(axis[0])] // 4)
        else:
            arguments.append(dims[n] if kind == "dim" else SCALARS[n])
    grid = int(np.prod([e.evaluate(dims) for e in plan.launch.grid]))
    shared = plan.launch.shared_dynamic
    run = emulate(text, plan.variant, grid, plan.launch.block, arguments, shared_bytes=shared, seed=seed, strict=True)
    result = arrays[out.name].copy()
    arrays[out.name][...] = 77
    assert (base == 77).all(), f"{plan.variant} wrote outside of {out.name}"
    return result, run


def case(name: str, dims: dict[str, int], seed: int) -> tuple[dict[str, Any], Any]:
    """Inputs, and what the reference makes of them."""
    rng = np.random.default_rng(seed)
    inputs, given = {}, []
    for p in gpu.fastnorm()[name].parameters:
        if p.mode == "in":
            inputs[p.name] = rng.standard_normal([d.evaluate(dims) for d in p.dims]).astype(np.float32)
            given.append(inputs[p.name])
        elif p.mode == "scalar":
            given.append(SCALARS[p.name])
    return inputs, getattr(kernels, name).reference(*given)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", sorted(set(gpu.fastnorm()) - {"matmul"}))
def test_kernel(folder: Path, name: str, shape: tuple[int, int], seed: int) -> None:
    dims = dict(zip("MN", shape))
    inputs, want = case(name, dims, seed)
    got, _ = launch(ptx(folder, name), name, dims, inputs, seed)
    np.testing.assert_allclose(got, want, rtol=2e-6, atol=1e-5 if name == "layernorm" else 1e-6)


@pytest.mark.parametrize("shape", [(1, 1, 1), (37, 41, 29), (130, 129, 33)], ids=str)
def test_matmul(folder: Path, shape: tuple[int, int, int]) -> None:
    dims = dict(zip("MNK", shape))
    inputs, want = case("matmul", dims, 1)
    got, _ = launch(ptx(folder, "matmul"), "matmul", dims, inputs, 1)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


BARRIER = re.compile(r"^\s*bar(?:rier)?\.(?:cta\.)?sync[^;]*;", re.MULTILINE)
PLANTED = [
    ("softmax_online", {"M": 2, "N": 5001}),
    ("layernorm", {"M": 2, "N": 5001}),
    ("matmul", {"M": 40, "N": 40, "K": 70}),
]


def differs(text: str, name: str, dims: dict[str, int], seed: int) -> bool:
    """Whether a run does not come to the reference's numbers, or is stopped."""
    inputs, want = case(name, dims, 1)
    try:
        got, _ = launch(text, name, dims, inputs, seed)
    except TilebuildError as error:
        return error.diagnostics[0].code in ("EMU-07", "EMU-08")
    return not np.allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "dims"), PLANTED, ids=[n for n, _ in PLANTED])
def test_a_missing_barrier_shows(folder: Path, name: str, dims: dict[str, int]) -> None:
    """As an unwritten byte or a wrong number, within a few schedules."""
    text = ptx(folder, name)
    body = text.index(f".entry {chosen(name, dims).variant}(")
    places = [m for m in BARRIER.finditer(text) if m.start() > body]
    assert len(places) >= 2
    for place in places:
        broken = text[: place.start()] + text[place.end() :]
        line = text[: place.start()].count("\n") + 2
        assert any(differs(broken, name, dims, seed) for seed in range(1, 7)), f"line {line}"
