"""The example package's kernels on the reference path, against NumPy in float64.

The bounds are what float32 arithmetic in any order of summation stays within on these inputs (normal deviates; rows
of up to 8191): relative to the result for softmax, absolute for results of order 1 to 10 that come from cancellation.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "fastnorm" / "src"))
from fastnorm import kernels

SHAPES = [(1, 1), (37, 1000), (3, 8191)]
EPS = 1e-5


def normal(*shapes, seed=0):
    r = np.random.default_rng(seed)
    return [r.standard_normal(s).astype(np.float32) for s in shapes]


def exact(*arrays):
    return [a.astype(np.float64) for a in arrays]


def softmax64(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def gelu64(x):
    return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2


def gelu_tanh64(x):
    return x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["softmax", "softmax_online"])
def test_softmax(name, shape):
    [x] = normal(shape)
    y = getattr(kernels, name).reference(x)
    np.testing.assert_allclose(y, softmax64(*exact(x)), rtol=2e-6, atol=0)


def test_softmax_of_long_rows_goes_online():
    [x] = normal((1, 8193))
    np.testing.assert_allclose(kernels.softmax.reference(x), softmax64(*exact(x)), rtol=2e-6, atol=0)
    np.testing.assert_array_equal(kernels.softmax.reference(x), kernels.softmax_online.reference(x))


@pytest.mark.parametrize("tile", [{"BM": 3, "BN": 17}, {"BM": 5, "BN": 100}, {"BM": 64, "BN": 2048}])
def test_results_do_not_depend_on_the_tile(tile):
    [x] = normal((37, 100))
    np.testing.assert_allclose(kernels.softmax_online.reference(x, **tile), softmax64(*exact(x)), rtol=2e-6, atol=0)
    w, b = normal(100, 100, seed=1)
    expected = kernels.layernorm.reference(x, w, b, EPS)
    np.testing.assert_allclose(kernels.layernorm.reference(x, w, b, EPS, **tile), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_layernorm(shape):
    x, w, b = normal(shape, shape[1], shape[1])
    x64, w64, b64 = exact(x, w, b)
    expected = (x64 - x64.mean(1, keepdims=True)) / np.sqrt(x64.var(1, keepdims=True) + EPS) * w64 + b64
    np.testing.assert_allclose(kernels.layernorm.reference(x, w, b, EPS), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_rmsnorm(shape):
    x, w = normal(shape, shape[1])
    x64, w64 = exact(x, w)
    expected = x64 / np.sqrt((x64**2).mean(1, keepdims=True) + EPS) * w64
    np.testing.assert_allclose(kernels.rmsnorm.reference(x, w, EPS), expected, rtol=2e-6, atol=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_elementwise(shape):
    x, y, b, r = normal(shape, shape, shape[1], shape)
    np.testing.assert_array_equal(kernels.add.reference(x, y), x + y)
    np.testing.assert_array_equal(kernels.scale.reference(x, 0.3), x * np.float32(0.3))
    np.testing.assert_allclose(kernels.gelu.reference(x), gelu64(*exact(x)), rtol=0, atol=2e-6)
    x64, b64, r64 = exact(x, b, r)
    expected = gelu_tanh64(x64 + b64) + r64
    np.testing.assert_allclose(kernels.bias_gelu_residual.reference(x, b, r), expected, rtol=0, atol=4e-6)


@pytest.mark.parametrize(("m", "n", "k"), [(1, 1, 1), (37, 50, 300), (97, 257, 3)])
def test_matmul(m, n, k):
    a, b = normal((m, k), (k, n))
    a64, b64 = exact(a, b)
    # each term is rounded at most k + 1 times
    bound = (abs(a64) @ abs(b64)) * (k + 1) * 2.0**-24
    assert (abs(kernels.matmul.reference(a, b) - a64 @ b64) <= bound).all()
    assert (abs(kernels.matmul.reference(a, b, BM=13, BN=7, BK=11) - a64 @ b64) <= bound).all()
