"""The generated CUDA C++, compiled as ordinary C++ and run with a fiber a thread (shim.h): what it computes.

Threads run in random order between barriers, shared memory starts as NaN and ends in a fence, and arrays lie between
margins: wrong indices, missing barriers and writes outside show here, without a device.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import composites
import generated
import gpu_kernels as gpu
import numpy as np
import pytest
import random_kernels
import test_operations as operations
from gpu_kernels import Emulated

from tilebuild.optable import OPS

SEEDS = (1, 2)  # 1: rows start anywhere; 2: at multiples of 16 bytes
RANDOM_KERNELS = 24
# refused, with E402: see test_simt_lower.py
REFUSED = {"moved", "reshaped", "transposed_tile", "one_row_of_columns", "product_of_views"}
SHAPES = [(1, 1), (1, 17), (3, 5), (5, 31), (9, 131), (33, 1), (6, 301)]


def _rows(x: Any) -> Any:
    return x.astype(np.float64)


def softmax(x: Any) -> Any:
    e = np.exp(_rows(x) - _rows(x).max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def layernorm(x: Any, w: Any, b: Any, eps: float) -> Any:
    x = _rows(x)
    return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + eps) * w + b


def rmsnorm(x: Any, w: Any, eps: float) -> Any:
    x = _rows(x)
    return x / np.sqrt((x * x).mean(1, keepdims=True) + eps) * w


@pytest.fixture(scope="module")
def fastnorm(folder: Path) -> Emulated:
    return gpu.emulate(gpu.fastnorm(), folder)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("shape", [(1, 1), (5, 37), (3, 1000), (2, 1024), (1, 1025), (2, 5000)], ids=str)
@pytest.mark.parametrize("name", ["softmax", "softmax_online", "layernorm", "rmsnorm", "add", "scale"])
def test_fastnorm(fastnorm: Emulated, name: str, shape: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = (rng.standard_normal(shape).astype(np.float32) for _ in range(2))
    w, b = (rng.standard_normal(shape[1]).astype(np.float32) for _ in range(2))
    given, want = {
        "softmax": ((x,), softmax), "softmax_online": ((x,), softmax), "layernorm": ((x, w, b, 1e-5), layernorm),
        "rmsnorm": ((x, w, 1e-5), rmsnorm), "add": ((x, y), np.add), "scale": ((x, 0.5), np.multiply),
    }[name]  # fmt: skip
    (got,) = fastnorm.run(name, *given, seed=seed)
    np.testing.assert_allclose(got, want(*given), rtol=2e-6, atol=1e-5 if name == "layernorm" else 1e-7)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (37, 41, 29), (130, 129, 33), (128, 128, 64)], ids=str)
def test_matmul(fastnorm: Emulated, shape: tuple[int, int, int], seed: int) -> None:
    m, n, k = shape
    rng = np.random.default_rng(seed)
    a, b = (rng.integers(-9, 9, s).astype(np.float32) for s in ((m, k), (k, n)))
    (got,) = fastnorm.run("matmul", a, b, seed=seed)
    np.testing.assert_array_equal(got, a @ b)  # small integers: every order of summation gives the same


def test_infinities_and_nans_of_a_softmax(fastnorm: Emulated) -> None:
    x = np.zeros((3, 40), np.float32)
    x[0, 3], x[1, 5], x[2, :] = np.nan, -np.inf, 80.0
    (got,) = fastnorm.run("softmax", x)
    assert np.isnan(got[0]).all()
    assert got[1, 5] == 0
    np.testing.assert_allclose(got[2], 1 / 40, rtol=1e-6)


# a barrier that is missing, and one that not all threads reach, must show: else this file proves nothing about barriers
@pytest.mark.parametrize("nth", range(4))
def test_a_missing_barrier_shows(folder: Path, nth: int) -> None:
    kernel = {"softmax_online": gpu.fastnorm()["softmax_online"]}
    kept = r"((?:.|\n)*?__syncthreads\(\);)" * nth
    broken = gpu.emulate(
        kernel, folder, (rf"{kept}((?:.|\n)*?)__syncthreads\(\);", "".join(f"\\{i + 1}" for i in range(nth + 1)))
    )
    x = np.random.default_rng(0).standard_normal((2, 5000)).astype(np.float32)
    results = [broken.run("softmax_online", x, seed=seed)[0] for seed in range(1, 6)]
    assert any(not np.allclose(r, softmax(x), rtol=1e-5) for r in results)


def test_a_barrier_that_some_threads_skip_shows(folder: Path) -> None:
    kernel = {"softmax_online": gpu.fastnorm()["softmax_online"]}
    broken = gpu.emulate(kernel, folder, (r"__syncthreads\(\);", "if (thread < 7) __syncthreads();"))
    with pytest.raises(AssertionError, match="wait"):
        broken.run("softmax_online", np.ones((1, 5000), np.float32))


# -- accuracy ----------------------------------------------------------------------------------------------------------

_FUNCTIONS = """
M, N = tb.dims("M N")

@tb.kernel
def functions(
    x: tb.In[tb.f32, M, N], e: tb.Out[tb.f32, M, N], e2: tb.Out[tb.f32, M, N],
    l: tb.Out[tb.f32, M, N], l2: tb.Out[tb.f32, M, N], r: tb.Out[tb.f32, M, N],
):
    i = tb.program(M)
    t = x.tiles(1, 4096)[i, 0]
    e.tiles(1, 4096)[i, 0] = tb.exp(t)
    e2.tiles(1, 4096)[i, 0] = tb.exp2(t)
    l.tiles(1, 4096)[i, 0] = tb.log(t)
    l2.tiles(1, 4096)[i, 0] = tb.log2(t)
    r.tiles(1, 4096)[i, 0] = tb.rsqrt(t)
"""


def test_the_stated_accuracy(folder: Path, tmp_path: Path) -> None:
    """What docs/gpu.md says, in units in the last place, over all magnitudes; the edges are exact."""
    emulated = gpu.emulate(gpu.write(tmp_path, "functionkernels", _FUNCTIONS), folder)
    rng = np.random.default_rng(0)
    small = np.concatenate([rng.uniform(-104, 89, 2048), rng.uniform(-1, 1, 2048)])
    positive = 2.0 ** rng.uniform(-149, 128, 4096)
    x = np.stack([small, positive, rng.uniform(0.5, 2, 4096), rng.uniform(-150, 128, 4096)]).astype(np.float32)
    wide = x.astype(np.float64)
    with np.errstate(all="ignore"):
        exact = np.exp(wide), np.exp2(wide), np.log(wide), np.log2(wide), 1 / np.sqrt(wide)
    found = []
    for got, want in zip(emulated.run("functions", x), exact, strict=True):
        fine = np.isfinite(want) & (np.abs(want) < 3.4e38)
        unit = np.spacing(np.maximum(np.abs(want[fine]), 2.0**-126).astype(np.float32)).astype(np.float64)
        found.append(float(np.max(np.abs(got[fine] - want[fine]) / unit)))
    assert [f <= bound for f, bound in zip(found, (1.0, 1.0, 1.0, 1.5, 1.5))] == [True] * 5, found


# -- every operation ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Emulated:
    return gpu.emulate(gpu.write(tmp_path_factory.mktemp("table"), "tablekernels", generated.table()), folder)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", generated.DTYPES)
def test_elementwise(table: Emulated, dtype: str, shape: tuple[int, int]) -> None:
    x, y = operations.random(dtype, shape, (shape, 1)), operations.random(dtype, shape, (shape, 2))
    y.flat[:: max(1, y.size // 3)] = x.flat[:: max(1, y.size // 3)]  # some are equal
    results = table.run(f"elementwise_{dtype}", x, y, seed=sum(shape))
    for (op, _), got in zip(generated.outputs(dtype), results, strict=True):
        operands = (x,) if op.kind == "unary" else (x, y)
        want = operations.want_elementwise(op.name, dtype, operands)
        operations.assert_close(got, want, operations.ULPS[op.accuracy])
    assert len(results) == len([op for op in OPS.values() if op.kind != "reduce" and dtype in op.dtypes])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", generated.DTYPES)
def test_reductions(table: Emulated, dtype: str, axis: int, shape: tuple[int, int]) -> None:
    x = operations.normal(shape, shape) if dtype == "f32" else operations.random(dtype, shape, shape)
    results = table.run(f"reduce{axis}_{dtype}", x, seed=sum(shape))
    operations.check_reductions(x, axis, results)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_casts(table: Emulated, shape: tuple[int, int]) -> None:
    f = (operations.normal(shape, shape) * 1e6).astype(np.float32)
    i, u = operations.random("i32", shape, 1), operations.random("u32", shape, 2)
    f.flat[::5], i.flat[::3] = 0.0, 0
    want = (
        f.astype(np.int32), abs(f).astype(np.uint32), i.astype(np.float32), u.astype(np.float32),
        (i > 0).astype(np.float32), (f > 0).astype(np.int32), (f != 0).astype(np.int32), (i != 0).astype(np.int32),
    )  # fmt: skip
    for got, expected in zip(table.run("casts", f, i, u), want, strict=True):
        np.testing.assert_array_equal(got, expected)


# -- written in the language -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def composed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Emulated:
    kernels = gpu.write(tmp_path_factory.mktemp("composed"), "composedkernels", composites.module())
    return gpu.emulate(kernels, folder)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_composites(composed: Emulated, shape: tuple[int, int]) -> None:
    x, y = composites.inputs(shape, sum(shape))
    composites.check("pointwise", composed.run("pointwise", x, y), x, y)
    composites.check("rows", composed.run("rows", x), x)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kernel", ["each0_f32", "each1_f32", "each1_i32", "each0_u32"])
def test_over_an_axis(composed: Emulated, kernel: str, shape: tuple[int, int]) -> None:
    x = np.random.default_rng(sum(shape)).integers(0, 5, shape).astype(operations.NUMPY[kernel[-3:]])
    composites.check(kernel, composed.run(kernel, x), x)


# -- structure ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def structural(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Emulated:
    text = (Path(operations.__file__).parent / "structural.py").read_text(encoding="utf-8")
    kernels = gpu.write(tmp_path_factory.mktemp("structural"), "structuralkernels", text)
    return gpu.emulate({n: k for n, k in kernels.items() if n not in REFUSED}, folder)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("case", [c for c in operations.CASES if c.name not in REFUSED], ids=lambda c: c.name)
def test_structure(structural: Emulated, case: operations.Case, shape: tuple[int, int]) -> None:
    m, n = shape[0], min(shape[1], case.most)
    inputs = case.inputs(m, n)
    with np.errstate(all="ignore"):
        want = case.want(*inputs)
    scale = None if case.scale is None else np.float64(case.scale(*inputs))
    for seed in SEEDS:
        for got, expected in zip(structural.run(case.name, *inputs, dims={"M": m}, seed=seed), want, strict=True):
            operations.assert_close(got, expected, case.ulps, scale)


# -- kernels nobody thought of -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Emulated, Any]]:
    project = tmp_path_factory.mktemp("drawn")
    kernels = gpu.write(project, "drawnkernels", random_kernels.module(20261122, RANDOM_KERNELS))
    sys.path.insert(0, str(project / "src"))
    try:
        yield gpu.emulate(kernels, folder), importlib.import_module("drawnkernels")
    finally:
        sys.path.remove(str(project / "src"))


@pytest.mark.parametrize("number", range(RANDOM_KERNELS))
def test_random_kernels(drawn: tuple[Emulated, Any], number: int) -> None:
    emulated, module = drawn
    for rows, columns, seed in ((1, 1, 1), (9, 133, 2), (17, 40, 3)):
        rng = np.random.default_rng(seed)
        x, y = (rng.integers(-9, 9, (rows, columns)).astype(np.float32) for _ in range(2))
        k = rng.integers(-(1 << 31), 1 << 31, (rows, columns)).astype(np.int32)
        u = rng.integers(0, 1 << 32, (rows, columns)).astype(np.uint32)
        r, c, q = (rng.integers(-9, 9, n).astype(np.float32) for n in (rows, columns, rows))
        s, n = float(rng.integers(-4, 4)), int(rng.integers(-9, 9))
        o, p, q_want = np.empty_like(x), np.empty_like(k), q.copy()
        getattr(module, f"k{number}").reference(x, y, k, u, r, c, s, n, o, p, q_want)
        for got, want in zip(
            emulated.run(f"k{number}", x, y, k, u, r, c, s, n, q, seed=seed), (o, p, q_want), strict=True
        ):
            np.testing.assert_array_equal(got, want)
