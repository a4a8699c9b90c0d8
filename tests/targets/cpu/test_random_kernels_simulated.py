"""Random kernels: a plan that is proved gives on the plan simulator, to the bit, what the reference path gives."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import kernel_package
import numpy as np
import pytest
import random_kernels
from kernel_package import Array

from tilebuild.frontend.discover import discover
from tilebuild.frontend.library import library
from tilebuild.frontend.python import lower_kernel
from tilebuild.oracle import judge
from tilebuild.plan import planner
from tilebuild.plan.model import Plan
from tilebuild.targets.cpu.lower import lower
from tilebuild.testing.plan_simulator import Arguments, simulate

COUNT = 16
SEED = 4711
SHAPES = [(1, 1), (9, 133), (5, 16)]


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Any, Plan]]]:
    project = tmp_path_factory.mktemp("simulated")
    text = random_kernels.module(SEED, COUNT)
    kernel_package.write(project, "simulatedkernels", {"drawn": text})
    with kernel_package.on_path(project / "src"):
        module = importlib.import_module("simulatedkernels.drawn")
        found = {}
        for kernel in discover(project, ["src/simulatedkernels"]):
            plan = planner.place(lower(lower_kernel(kernel, kernel.variants[0], kernel.name, library()), "x86-64"))
            found[kernel.name] = getattr(module, kernel.name), plan
        yield found


@pytest.mark.parametrize("number", range(COUNT))
def test_what_is_proved_does_what_the_reference_does(kernels: dict[str, tuple[Any, Plan]], number: int) -> None:
    kernel, plan = kernels[f"k{number}"]
    assert judge(plan).outcome == "proved"
    for seed, shape in enumerate(SHAPES):
        arrays, scalars = _inputs(*shape, seed)
        want = {name: array.copy() for name, array in arrays.items()}
        kernel.reference(**want, **scalars)
        flat = {name: array.reshape(-1).copy() for name, array in arrays.items()}
        strides = {name: tuple(array.shape[1:]) for name, array in arrays.items()}
        dims = {"M": shape[0], "N": shape[1]}
        simulate(plan, Arguments(dims, flat, strides, scalars), seed)
        for name, array in want.items():
            np.testing.assert_array_equal(flat[name].reshape(array.shape), array, f"{name}, {shape}")


def _inputs(rows: int, columns: int, seed: int) -> tuple[dict[str, Array], dict[str, float]]:
    rng = np.random.default_rng(seed)

    def whole(*shape: int) -> Array:
        return rng.integers(-9, 9, shape).astype(np.float32)

    arrays = {
        "x": whole(rows, columns),
        "y": whole(rows, columns),
        "k": rng.integers(-(1 << 31), 1 << 31, (rows, columns)).astype(np.int32),
        "u": rng.integers(0, 1 << 32, (rows, columns)).astype(np.uint32),
        "r": whole(rows),
        "c": whole(columns),
        "o": whole(rows, columns),
        "p": rng.integers(-9, 9, (rows, columns)).astype(np.int32),
        "q": whole(rows),
    }
    return arrays, {"s": float(rng.integers(-4, 4)), "n": int(rng.integers(-9, 9))}
