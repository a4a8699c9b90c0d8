"""examples/attention, built for cpu, against the reference path and against NumPy in float64, at ragged sizes.

bf16 outputs are within half a unit in their last place (2**-8, relatively) of what float32 arithmetic gives.
"""

from __future__ import annotations

import itertools
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kernel_package
import numpy as np
import pytest
from bf16_arrays import BF16, empty
from kernel_package import Package

from tilebuild.diagnostics import TilebuildError

EXAMPLE = Path(__file__).parents[3] / "examples" / "attention"
HALF_ULP = 2.0**-8


@pytest.fixture(scope="module")
def attention(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Package]:
    root = tmp_path_factory.mktemp("attention")
    shutil.copytree(EXAMPLE, root / "project")
    built = kernel_package.build(root / "project", root / "site")
    with kernel_package.on_path(built.site):
        yield built


def normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def flash64(q: Any, k: Any, v: Any, scale: float, causal: bool) -> tuple[Any, Any]:
    heads, s, t = q.shape[1] // k.shape[1], q.shape[2], k.shape[2]
    k, v = (np.repeat(a, heads, axis=1) for a in (k, v))
    scores = q @ k.swapaxes(-1, -2) * scale
    if causal:
        scores = np.where(np.arange(s)[:, None] + (t - s) >= np.arange(t), scores, -np.inf)
    top = scores.max(-1, keepdims=True)
    p = np.exp(scores - top)
    total = p.sum(-1, keepdims=True)
    return p / total @ v, (top + np.log(total))[..., 0]


# B, H, G, S, T, D
SIZES = [(1, 1, 1, 1, 1, 64), (2, 4, 2, 130, 130, 64), (1, 6, 2, 33, 300, 64), (1, 3, 1, 129, 257, 128)]


@pytest.mark.parametrize(("size", "causal"), list(itertools.product(SIZES, (True, False))))
def test_flash_fwd(attention: Package, size: tuple[int, ...], causal: bool) -> None:
    b, h, g, s, t, d = size
    q, k, v = BF16(normal(b, h, s, d)), BF16(normal(b, g, t, d, seed=1)), BF16(normal(b, g, t, d, seed=2))
    scale = 1 / math.sqrt(d)
    kernel = attention.kernel("flash_fwd")
    expected, expected_lse = flash64(q.values, k.values, v.values, float(np.float32(scale)), causal)
    results = []
    for call in (kernel, kernel.reference):
        o, lse = empty(b, h, s, d), np.full((b, h, s), np.nan, np.float32)
        call(q, k, v, o, lse, scale, causal=causal)
        # p is rounded to bf16 before it is summed over: |p - bf16(p)| <= p * HALF_ULP, and again in the result
        limit = HALF_ULP * (np.abs(v.values).max() + np.abs(expected)) + 1e-5
        assert (np.abs(o.values - expected) <= limit).all()
        np.testing.assert_allclose(lse, expected_lse, rtol=0, atol=2e-5)
        results.append((o.values, lse))
    # p may round to the neighbouring bf16 in one of them, wherever exp differs by an ulp
    assert (np.abs(results[0][0] - results[1][0]) <= 2 * limit).all()
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=0, atol=1e-5)


def test_a_query_that_sees_the_future_is_wrong(attention: Package) -> None:
    """The causal build differs from the other one: the test above could tell them apart."""
    q, k, v = (BF16(normal(1, 1, 40, 64, seed=n)) for n in range(3))
    outputs = [empty(1, 1, 40, 64), empty(1, 1, 40, 64)]
    for causal, o in zip((True, False), outputs):
        attention.kernel("flash_fwd")(q, k, v, o, np.empty((1, 1, 40), np.float32), 0.125, causal=causal)
    assert np.abs(outputs[0].values[0, 0, 0] - outputs[1].values[0, 0, 0]).max() > 0.1
    np.testing.assert_array_equal(outputs[0].values[0, 0, -1], outputs[1].values[0, 0, -1])


def call_flash(kernel: Any, size: tuple[int, ...], **static: object) -> None:
    b, h, g, s, t, d = size
    q, k, v = BF16(normal(b, h, s, d)), BF16(normal(b, g, t, d)), BF16(normal(b, g, t, d))
    kernel(q, k, v, empty(b, h, s, d), np.empty((b, h, s), np.float32), 0.125, **static)


@pytest.mark.parametrize(
    ("size", "static", "code"),
    [
        ((1, 3, 2, 4, 4, 64), {}, "E820"),  # H % G
        ((1, 2, 2, 5, 4, 64), {}, "E820"),  # T >= S
        ((1, 2, 2, 4, 4, 96), {}, "E823"),  # D has no build
        ((1, 2, 2, 4, 4, 64), {"causal": 2}, "E827"),
        ((1, 2, 2, 4, 4, 64), {"causal": "yes"}, "E827"),
        ((1, 2, 2, 4, 4, 64), {"casual": True}, "E810"),
    ],
)
def test_a_broken_contract_is_refused(
    attention: Package, size: tuple[int, ...], static: dict[str, object], code: str
) -> None:
    kernel = attention.kernel("flash_fwd")
    for call in (kernel, kernel.reference):
        with pytest.raises(TilebuildError) as error:
            call_flash(call, size, **static)
        assert error.value.diagnostics[0].code == code


def test_static_values_are_builds(attention: Package) -> None:
    entry = attention.entry("flash_fwd")
    assert entry["statics"] == {"causal": [True, False]}
    assert [(v["statics"], v["when"]) for v in entry["variants"]] == [
        ({"causal": causal}, f"D == {d}") for causal in (True, False) for d in (64, 128)
    ]
    call_flash(attention.kernel("flash_fwd"), (1, 1, 1, 3, 3, 64))  # the first value is taken where none is named


def test_every_verdict_is_proved(attention: Package) -> None:
    builds = [b for k in attention.built.manifest["kernels"] for v in k["variants"] for b in v["builds"]]
    assert len(builds) == 9
    assert {b["verdict"]["outcome"] for b in builds} == {"proved"}


@pytest.mark.parametrize("size", [(1, 1, 1), (65, 70, 33), (600, 130, 257)])
def test_linear_gelu(attention: Package, size: tuple[int, int, int]) -> None:
    m, n, k = size
    a, w, bias = BF16(normal(m, k)), BF16(normal(n, k, seed=1) / math.sqrt(k)), normal(n, seed=2)
    z = a.values @ w.values.T + bias.astype(np.float64)
    expected = z * (1 + np.vectorize(math.erf)(z / math.sqrt(2))) / 2
    kernel = attention.kernel("linear_gelu")
    for call in (kernel, kernel.reference):
        c = empty(m, n)
        call(a, w, bias, c)
        assert (np.abs(c.values - expected) <= HALF_ULP * np.abs(expected) + 1e-5).all()


@pytest.mark.parametrize("size", [(1, 1), (5, 1000), (3, 1025), (2, 8193)])
def test_softmax(attention: Package, size: tuple[int, int]) -> None:
    x = normal(*size)
    e = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
    (y,) = attention.run("softmax", x)
    np.testing.assert_allclose(y, e / e.sum(1, keepdims=True), rtol=4e-6, atol=0)
    np.testing.assert_allclose(y, attention.run("softmax", x, how="reference")[0], rtol=4e-6, atol=0)


@pytest.mark.parametrize("size", [(1, 1), (5, 1000), (9, 2049)])
def test_layernorm(attention: Package, size: tuple[int, int]) -> None:
    x, w, b = normal(*size), normal(size[1], seed=1), normal(size[1], seed=2)
    wide = x.astype(np.float64)
    d = wide - wide.mean(1, keepdims=True)
    expected = d / np.sqrt((d * d).mean(1, keepdims=True) + 1e-5) * w + b
    (y,) = attention.run("layernorm", x, w, b, 1e-5)
    np.testing.assert_allclose(y, expected, rtol=0, atol=2e-5)
    np.testing.assert_allclose(y, attention.run("layernorm", x, w, b, 1e-5, how="reference")[0], rtol=0, atol=2e-5)
