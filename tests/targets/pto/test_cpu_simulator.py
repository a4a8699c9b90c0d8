"""What ptoas makes of every kernel, run in pto-isa's CPU simulator against float64 NumPy.

Needs tools that do not come with tilebuild: ptoas (`PTOAS`, PATH), the pto-isa headers (`PTO_ISA_ROOT`) and clang++.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pto_cpu_simulator as simulator
import pto_kernels as kernels
import pytest
from pto_cpu_simulator import Simulator
from pto_references import REFERENCES, Array, call_rows, surrounded

from tilebuild.frontend.discover import discover
from tilebuild.plan.model import Plan
from tilebuild.targets.pto.merge import merge

Library = tuple[Path, dict[str, Plan]]
CORES = (1, 3)
SHAPES = [(1, 1), (5, 37), (9, 300), (3, 5000)]


def require(simulated: bool) -> None:
    lacking = simulator.lacking(simulated)
    if lacking:
        pytest.skip(f"missing: {'; '.join(lacking)}")


@pytest.fixture(scope="module")
def run() -> Iterator[Simulator]:
    found = Simulator()
    yield found
    found.close()


def library(built: list[kernels.Built], folder: Path) -> Library:
    plans = [p for b in built for p in b.plans]
    return simulator.compile_(merge([b.text for b in built]), plans, folder), {p.variant: p for p in plans}


@pytest.fixture(scope="module", params=kernels.ARCHITECTURES)
def fastnorm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Library:
    require(simulated=True)
    return library(list(kernels.fastnorm(request.param).values()), tmp_path_factory.mktemp("fastnorm"))


@pytest.mark.parametrize("arch", kernels.ARCHITECTURES)
@pytest.mark.parametrize("name", [*REFERENCES, "matmul"])
def test_the_assembler_accepts(name: str, arch: str, tmp_path: Path) -> None:
    require(simulated=False)
    built = kernels.fastnorm(arch)[name]
    written = simulator.assemble(built.text, arch, tmp_path).read_text()
    assert all(f" {p.variant}(" in written for p in built.plans)


@pytest.mark.parametrize("cores", CORES)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("name", REFERENCES)
def test_rows(name: str, shape: tuple[int, int], cores: int, fastnorm: Library, run: Simulator) -> None:
    path, plans = fastnorm
    dims = {"M": shape[0], "N": shape[1]}
    fitting = [
        p for v, p in plans.items() if v.rpartition("_")[0] == name and all(f.holds(dims) for f in p.contract.facts)
    ]
    assert fitting
    for plan in fitting:

        def call(arrays: dict[str, Array], numbers: dict[str, float], plan: Plan = plan) -> None:
            run.run(path, plan, arrays, numbers, cores)

        out, expected = call_rows(name, shape, call)
        np.testing.assert_allclose(out, expected, rtol=3e-5, atol=3e-6, err_msg=plan.variant)


@pytest.mark.parametrize("cores", CORES)
@pytest.mark.parametrize("shape", [(1, 1, 1), (33, 45, 70), (130, 131, 257)], ids=lambda s: "x".join(map(str, s)))
def test_matmul(shape: tuple[int, int, int], cores: int, fastnorm: Library, run: Simulator) -> None:
    path, plans = fastnorm
    m, n, k = shape
    rng = np.random.default_rng(k)
    arrays = {"a": surrounded((m, k), rng), "b": surrounded((k, n), rng), "c": surrounded((m, n), rng)}
    expected = arrays["a"].astype(np.float64) @ arrays["b"].astype(np.float64)
    arrays["c"][...] = np.nan
    run.run(path, plans["matmul_0"], arrays, {"M": m, "N": n, "K": k}, cores)
    np.testing.assert_allclose(arrays["c"], expected, rtol=1e-5, atol=1e-5)


# name -> (a kernel's expression of the tile t and the scalar s, what it is)
BODIES: dict[str, tuple[str, Callable[[Array], Array]]] = {
    "columns": ("t.sum(0) + t * 0.0", lambda x: np.broadcast_to(x.sum(0), x.shape)),
    "backwards": ("2.0 - t", lambda x: 2 - x),
    "divided": ("1.0 / (t * t + 1.0)", lambda x: 1 / (x * x + 1)),
    "outer": ("t.max(1) - t.min(0) + t", lambda x: x.max(1, keepdims=True) - x.min(0) + x),
    "column_of_one": ("t + t.max(1).max(0)", lambda x: x + x.max()),
    "column_minus": ("t.max(1) - t", lambda x: x.max(1, keepdims=True) - x),
    "filled": ("t + t.fill(0.0).sum(1)", lambda x: x + x.sum(1, keepdims=True)),
    "whole": ("tb.maximum(tb.abs(t), -t) * s", lambda x: np.abs(x) * np.float32(1.7)),
    "converted": ("t.to(tb.i32).to(tb.f32)", np.trunc),
    "halves": ("t.to(tb.f16).to(tb.f32)", lambda x: x.astype(np.float16)),
    "roots": (
        "tb.sqrt(tb.abs(t)) + tb.rsqrt(t * t + 1.0) + tb.log(t * t + 2.0) + tb.exp(t)",
        lambda x: np.sqrt(np.abs(x)) + 1 / np.sqrt(x * x + 1) + np.log(x * x + 2) + np.exp(x),
    ),
    "infinite": (
        "tb.minimum(tb.full((6, 24), tb.inf) + t, tb.maximum(t, -tb.inf))",
        lambda x: x,
    ),
    "index": ("t + (i - 5)", lambda x: x - 5),
}
# of numbers that ptoas would have computed with another sign or in another order
NUMBERS = """
@tb.kernel
def numbers(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N], s: tb.f32):
    tb.require(M <= 6, N <= 24)
    i = tb.program(1)
    t = x.tiles(6, 24)[i, 0]
    for j in tb.range(M - 3):
        t = t + 1.0
    y.tiles(6, 24)[i, 0] = t + ((100 % (50 // (M + 1))) // (N // (M // 2 + 1) + 1) - N)
"""


def numbers(x: Array) -> Array:
    m, n = x.shape
    return x + max(0, m - 3) + ((100 % (50 // (m + 1))) // (n // (m // 2 + 1) + 1) - n)


EXPECTED = {**{name: reference for name, (_, reference) in BODIES.items()}, "numbers": numbers}
_MODULE = 'import tilebuild as tb\nM, N = tb.dims("M N")\n'
_KERNEL = """
@tb.kernel
def {name}(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N], s: tb.f32):
    tb.require(M <= 6, N <= 24)
    i = tb.program(1)
    t = x.tiles(6, 24)[i, 0]
    y.tiles(6, 24)[i, 0] = {body}
"""


@pytest.fixture(scope="module", params=kernels.ARCHITECTURES)
def operations(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Library:
    require(simulated=True)
    folder = tmp_path_factory.mktemp("operations")
    package = folder / "src" / "p"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    text = _MODULE + "".join(_KERNEL.format(name=name, body=body) for name, (body, _) in BODIES.items()) + NUMBERS
    (package / "k.py").write_text(text)
    return library([kernels.build(k, request.param) for k in discover(folder, ("src/p",))], folder)


@pytest.mark.parametrize("name", EXPECTED)
def test_operations(name: str, operations: Library, run: Simulator) -> None:
    path, plans = operations
    for shape in [(1, 1), (5, 7), (6, 24)]:
        rng = np.random.default_rng(7)
        x, y = surrounded(shape, rng) * np.float32(3), surrounded(shape, rng)
        y[...] = np.nan
        run.run(path, plans[f"{name}_0"], {"x": x, "y": y}, {"M": shape[0], "N": shape[1], "s": 1.7}, 1)
        np.testing.assert_allclose(y, EXPECTED[name](x.astype(np.float64)), rtol=1e-5, atol=1e-5)
