"""Kernels nobody thought of: random ones, built once, must do what the reference path does, to the bit."""

from __future__ import annotations

import os
from collections.abc import Iterator

import kernel_package
import numpy as np
import pytest
import random_kernels
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from kernel_package import Array, Package

COUNT = 24
# the levels differ in the prelude and the width of a vector only, which the operations' tests cover
LEVELS = '[tool.tilebuild.target.cpu]\nlevels = ["v2", "v3"]\n'
SEED = 20261122  # of the kernels' text; TILEBUILD_TEST_SEED draws others


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Package]:
    root = tmp_path_factory.mktemp("random")
    text = random_kernels.module(int(os.environ.get("TILEBUILD_TEST_SEED", SEED)), COUNT)
    project = kernel_package.write(root / "project", "randomkernels", {"drawn": text}, LEVELS)
    built = kernel_package.build(project, root / "site")
    with kernel_package.on_path(built.site):
        yield built


def _inputs(rows: int, columns: int, seed: int) -> tuple[Array, ...]:
    rng = np.random.default_rng(seed)
    x, y = (rng.integers(-9, 9, (rows, columns)).astype(np.float32) for _ in range(2))
    k = rng.integers(-(1 << 31), 1 << 31, (rows, columns)).astype(np.int32)
    u = rng.integers(0, 1 << 32, (rows, columns)).astype(np.uint32)
    r, c, q = (rng.integers(-9, 9, n).astype(np.float32) for n in (rows, columns, rows))
    return x, y, k, u, r, c, float(rng.integers(-4, 4)), int(rng.integers(-9, 9)), q


@pytest.mark.parametrize("number", range(COUNT))
@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(rows=st.integers(1, 20), columns=st.integers(1, 140), seed=st.integers(0, 99))
@example(rows=1, columns=1, seed=0)
@example(rows=9, columns=133, seed=1)
def test_the_library_does_what_the_reference_does(
    package: Package, number: int, rows: int, columns: int, seed: int
) -> None:
    inputs = _inputs(rows, columns, seed)
    want = package.run(f"k{number}", *inputs, how="reference")
    for level in package.levels:
        for name, got, expected in zip("opq", package.run(f"k{number}", *inputs, how=level), want, strict=True):
            np.testing.assert_array_equal(got, expected, f"output {name} at level {level}")


def test_the_text_is_the_same_each_time() -> None:
    assert random_kernels.module(SEED, 3) == random_kernels.module(SEED, 3)
