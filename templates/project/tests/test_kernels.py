"""Each kernel as it was built, and its Python body, against NumPy."""

import numpy as np
import pytest
from mykernels import axpy

SHAPES = [(1, 1), (5, 7), (37, 1000), (4, 1024)]


@pytest.mark.parametrize("shape", SHAPES)
def test_axpy(shape):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal(shape, np.float32), rng.standard_normal(shape, np.float32)
    expected = 2.0 * x.astype(np.float64) + y
    np.testing.assert_allclose(axpy(x, y, 2.0), expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(axpy.reference(x, y, 2.0), expected, rtol=1e-6, atol=1e-6)
