"""Gathers, scatters and atomic additions, on cpu and on the reference path, against NumPy."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kernel_package
import numpy as np
import pytest
from bf16_arrays import BF16
from kernel_package import Package

from tilebuild.diagnostics import TilebuildError

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def indirect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Package]:
    root = tmp_path_factory.mktemp("indirect")
    text = (HERE / "indirect_kernels.py").read_text(encoding="utf-8").replace("from __future__ import annotations", "")
    built = kernel_package.build(kernel_package.write(root / "project", "indkernels", {"k": text}), root / "site")
    with kernel_package.on_path(built.site):
        yield built


def normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def indices(*shape: int, below: int, seed: int = 3) -> Any:
    """Some of them outside of [0, below), on both sides, and the ends of i32."""
    found = np.random.default_rng(seed).integers(-2, below + 2, shape).astype(np.int32)
    found.flat[0] = -(2**31)
    found.flat[-1] = 2**31 - 1 if found.size > 1 else below - 1
    return found


def hows(package: Package) -> list[str]:
    return ["runtime", "reference", *package.levels]


def taken(x: Any, ids: Any) -> Any:
    """Rows or elements, zero where there are none."""
    inside = (ids >= 0) & (ids < len(x))
    return np.where(inside.reshape(inside.shape + (1,) * (x.ndim - 1)), x[np.clip(ids, 0, len(x) - 1)], 0)


@pytest.mark.parametrize("size", [(1, 1, 1), (11, 9, 83), (3, 40, 40)])
def test_embedding(indirect: Package, size: tuple[int, int, int]) -> None:
    v, m, n = size
    table, ids = normal(v, n), indices(m, below=v)
    for how in hows(indirect):
        (y,) = indirect.run("embedding", table, ids, how=how)
        np.testing.assert_array_equal(y, 2 * taken(table, ids), err_msg=how)


@pytest.mark.parametrize("size", [(1, 1, 1, 1), (2, 5, 7, 3)])
def test_nearest_row_of_bf16(indirect: Package, size: tuple[int, int, int, int]) -> None:
    b, v, m, n = size
    table, ids = BF16(normal(b, v, n)), indices(b, m, below=v)
    expected = np.stack([t[np.clip(i, 0, v - 1)] for t, i in zip(table.values, ids)])
    kernel = indirect.kernel("nearest")
    for call in (kernel, kernel.reference):
        y = np.full((b, m, n), np.nan, np.float32)
        call(table, ids, y)
        np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("size", [(1, 1, 1), (10, 5, 61)])
def test_lookup(indirect: Package, size: tuple[int, int, int]) -> None:
    v, m, n = size
    x, ids = normal(v), indices(m, n, below=v)
    after = np.where(ids == 2**31 - 1, -(2**31), ids.astype(np.int64) + 1)  # i32 wraps
    for how in hows(indirect):
        (y,) = indirect.run("lookup", x, ids, how=how)
        np.testing.assert_array_equal(y, taken(x, ids) - x[np.clip(after, 0, v - 1)], err_msg=how)


@pytest.mark.parametrize("size", [(1, 1, 1), (7, 5, 301)])
def test_histogram(indirect: Package, size: tuple[int, int, int]) -> None:
    v, m, n = size
    x, before = normal(m, n), np.arange(v, dtype=np.int32)
    bins = np.floor((x - np.float32(-1.5)) * np.float32(2)).astype(np.int64)
    expected = before + np.bincount(bins[(bins >= 0) & (bins < v)], minlength=v)
    for how in hows(indirect):
        (counts,) = indirect.run("histogram", x, before, -1.5, 2.0, how=how)
        np.testing.assert_array_equal(counts, expected, err_msg=how)


@pytest.mark.parametrize("size", [(1, 1, 1), (5, 23, 83)])
def test_embedding_gradient(indirect: Package, size: tuple[int, int, int]) -> None:
    v, m, n = size
    g, ids, table = normal(m, n), indices(m, below=v), normal(v, n, seed=1)
    inside = (ids >= 0) & (ids < v)
    expected = table.astype(np.float64)
    np.add.at(expected, ids[inside], g[inside].astype(np.float64))
    for how in hows(indirect):
        (y,) = indirect.run("embedding_gradient", g, ids, table, how=how)
        np.testing.assert_allclose(y, expected, rtol=0, atol=2e-6 * m, err_msg=how)


@pytest.mark.parametrize("size", [(1, 1), (13, 35)])
def test_permuted(indirect: Package, size: tuple[int, int]) -> None:
    x, order = normal(*size), np.random.default_rng(5).permutation(size[0]).astype(np.int32)
    expected = np.empty_like(x)
    expected[order] = x
    for how in hows(indirect):
        np.testing.assert_array_equal(indirect.run("permuted", x, order, how=how)[0], expected, err_msg=how)


def test_an_index_that_occurs_twice_is_found_on_the_reference_path(indirect: Package) -> None:
    with pytest.raises(TilebuildError, match=r"E302.*set twice"):
        indirect.run("permuted", normal(6, 3), np.array([0, 1, 2, 3, 4, 0], np.int32), how="reference")


@pytest.mark.parametrize("size", [(1, 1, 1), (6, 9, 35)])
def test_peaks(indirect: Package, size: tuple[int, int, int]) -> None:
    v, m, n = size
    x, ids, y = normal(m, n), indices(m, n, below=v), np.full(v, -0.5, np.float32)
    x.flat[m * n // 2] = np.nan
    inside = (ids >= 0) & (ids < v)
    expected = y.copy()
    with np.errstate(invalid="ignore"):  # of the NaN
        np.maximum.at(expected, ids[inside], x[inside])
    for how in hows(indirect):
        np.testing.assert_array_equal(indirect.run("peaks", x, ids, y, how=how)[0], expected, err_msg=how)


@pytest.mark.parametrize("size", [(1, 1), (41, 35)])
def test_column_sums(indirect: Package, size: tuple[int, int]) -> None:
    x, y = normal(*size), normal(size[1], seed=1)
    for how in hows(indirect):
        (found,) = indirect.run("column_sums", x, y, how=how)
        np.testing.assert_allclose(found, y + x.astype(np.float64).sum(0), rtol=0, atol=1e-6 * size[0], err_msg=how)


def test_threads_may_meet(indirect: Package) -> None:
    """Eight threads count into the same few bins: no count is lost."""
    x, counts = normal(64, 512), np.zeros(3, np.int32)
    kernel = indirect.kernel("histogram")
    threads = [threading.Thread(target=lambda: kernel(x, counts, -1.5, 1.0)) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    bins = np.floor((x - np.float32(-1.5)) * np.float32(1)).astype(np.int64)
    np.testing.assert_array_equal(counts, 8 * np.bincount(bins[(bins >= 0) & (bins < 3)], minlength=3))


def test_every_verdict_is_proved(indirect: Package) -> None:
    builds = [b for k in indirect.built.manifest["kernels"] for v in k["variants"] for b in v["builds"]]
    assert len(builds) == 8
    assert {b["verdict"]["outcome"] for b in builds} == {"proved"}
