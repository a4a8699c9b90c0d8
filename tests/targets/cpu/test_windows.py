"""Windows: clipped strided loads, on cpu and on the reference path, against NumPy in float64."""

from __future__ import annotations

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
def windows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Package]:
    root = tmp_path_factory.mktemp("windows")
    text = (HERE / "window_kernels.py").read_text(encoding="utf-8").replace("from __future__ import annotations", "")
    built = kernel_package.build(kernel_package.write(root / "project", "winkernels", {"k": text}), root / "site")
    with kernel_package.on_path(built.site):
        yield built


def normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def hows(package: Package) -> list[str]:
    return ["runtime", "reference", *package.levels]


def conv64(x: Any, w: Any, bias: Any) -> Any:
    x, w = x.astype(np.float64), w.astype(np.float64)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    kh, kw = w.shape[2:]
    views = np.lib.stride_tricks.sliding_window_view(padded, (kh, kw), axis=(2, 3))[:, :, ::2, ::2]
    return np.einsum("bchwij,ocij->bohw", views, w) + bias[:, None, None]


# B, CI, CO, H, W, KH, KW
@pytest.mark.parametrize(
    "size", [(1, 1, 1, 1, 1, 1, 1), (2, 3, 4, 9, 37, 3, 3), (1, 2, 3, 8, 33, 5, 2), (1, 1, 2, 3, 2, 5, 4)]
)
def test_conv2d(windows: Package, size: tuple[int, ...]) -> None:
    b, ci, co, h, w, kh, kw = size
    arrays = normal(b, ci, h, w), normal(co, ci, kh, kw, seed=1), normal(co, seed=2)
    expected = conv64(*arrays)
    for how in hows(windows):
        (y,) = windows.run("conv2d", *arrays, how=how)
        np.testing.assert_allclose(y, expected, rtol=0, atol=1e-6 * ci * kh * kw + 1e-6, err_msg=how)


@pytest.mark.parametrize("size", [(1, 1, 1), (2, 11, 97), (1, 10, 48)])
def test_maxpool(windows: Package, size: tuple[int, int, int]) -> None:
    x = normal(*size)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    expected = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::2, ::2].max((-1, -2))
    for how in hows(windows):
        np.testing.assert_array_equal(windows.run("maxpool", x, how=how)[0], expected, err_msg=how)


@pytest.mark.parametrize("size", [(1, 1), (3, 32), (2, 100)])
def test_avgpool1d(windows: Package, size: tuple[int, int]) -> None:
    x = normal(*size)
    padded = np.pad(x.astype(np.float64), ((0, 0), (1, 1)))
    expected = (padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]) / 3
    for how in hows(windows):
        np.testing.assert_allclose(windows.run("avgpool1d", x, how=how)[0], expected, rtol=0, atol=1e-6, err_msg=how)


@pytest.mark.parametrize("size", [(1, 1), (9, 17), (40, 3)])
def test_windows_outside_of_the_array(windows: Package, size: tuple[int, int]) -> None:
    x = np.arange(size[0] * size[1], dtype=np.int32).reshape(size)
    for how in hows(windows):
        np.testing.assert_array_equal(windows.run("columns", x, how=how)[0], x.T, err_msg=how)


@pytest.mark.parametrize("size", [(1, 1), (7, 83)])
def test_windows_of_bf16(windows: Package, size: tuple[int, int]) -> None:
    x = BF16(normal(*size))
    expected = x.values - np.pad(x.values, ((1, 0), (0, 0)))[:-1]
    for call in (windows.kernel("overlapping"), windows.kernel("overlapping").reference):
        y = np.full(size, np.nan, np.float32)
        call(x, y)
        np.testing.assert_array_equal(y, expected.astype(np.float32))


@pytest.mark.parametrize(("m", "n"), [(1, 17), (16, 32), (13, 27), (9, 40)])
def test_what_is_assumed(windows: Package, m: int, n: int) -> None:
    x = normal(n)
    expected = np.pad(x[16:], (0, max(0, m + 16 - n)), constant_values=-1)[:m]
    for how in hows(windows):
        np.testing.assert_array_equal(windows.run("ahead", x, how=how, dims={"M": m})[0], expected, err_msg=how)


@pytest.mark.parametrize(("m", "n"), [(1, 16), (17, 32), (100, 8)])
def test_a_launch_that_breaks_an_assumption_is_refused(windows: Package, m: int, n: int) -> None:
    kernel = windows.kernel("ahead")
    for call in (kernel, kernel.reference):
        y = np.full(m, 7, np.float32)
        with pytest.raises(TilebuildError, match="E820"):
            call(normal(n), y)
    assert windows.entry("ahead")["requires"] == ["(M + 7) // 8 - ((N + 7) // 8) + 2 <= 0"]


def test_every_window_is_proved(windows: Package) -> None:
    """The oracle, which knows no windows but only the boxes that are read, finds each inside its array."""
    builds = [b for k in windows.built.manifest["kernels"] for v in k["variants"] for b in v["builds"]]
    assert len(builds) == 6
    assert {b["verdict"]["outcome"] for b in builds} == {"proved"}
