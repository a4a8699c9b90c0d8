"""What the emitted text computes, executed over bytes at its own addresses, against float64 NumPy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pto_kernels as kernels
import pto_simulator as simulator
import pytest
from pto_references import REFERENCES, Array, rows, surrounded

from tilebuild.diagnostics import TilebuildError
from tilebuild.oracle import judge
from tilebuild.oracle.readers.pto import read
from tilebuild.plan.expr import parse_predicates
from tilebuild.targets.pto.verify import verify

SHAPES = [(1, 1), (5, 7), (9, 1030), (2, 4099)]


@pytest.mark.parametrize("arch", kernels.ARCHITECTURES)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("name", REFERENCES)
def test_rows(name: str, shape: tuple[int, int], arch: str) -> None:
    built = kernels.fastnorm(arch)[name]
    dims = {"M": shape[0], "N": shape[1]}
    plan = next(p for p in built.plans if all(f.holds(dims) for f in p.contract.facts if not _about_exactness(f)))
    out, expected = rows(built.text, plan.variant, name, shape)
    np.testing.assert_allclose(out, expected, rtol=3e-5, atol=3e-6)


def _about_exactness(fact: object) -> bool:
    return "16777216" in str(fact)


@pytest.mark.parametrize("arch", kernels.ARCHITECTURES)
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 7), (130, 131, 257)], ids=lambda s: "x".join(map(str, s)))
def test_matmul(shape: tuple[int, int, int], arch: str) -> None:
    m, n, k = shape
    rng = np.random.default_rng(k)
    arrays = {"a": surrounded((m, k), rng), "b": surrounded((k, n), rng), "c": surrounded((m, n), rng)}
    expected = arrays["a"].astype(np.float64) @ arrays["b"].astype(np.float64)
    simulator.run(kernels.fastnorm(arch)["matmul"].text, "matmul_0", arrays, {"M": m, "N": n, "K": k})
    np.testing.assert_allclose(arrays["c"], expected, rtol=1e-5, atol=1e-5)


BODIES: dict[str, tuple[str, Callable[[Array], Array]]] = {
    "column sums": ("t.sum(0) + t * 0.0", lambda x: np.broadcast_to(x.sum(0), x.shape)),
    "reversed": ("2.0 - t", lambda x: 2 - x),
    "divided": ("1.0 / (t * t + 1.0)", lambda x: 1 / (x * x + 1)),
    "outer": ("t.max(1) - t.min(0) + t", lambda x: x.max(1, keepdims=True) - x.min(0) + x),
    "column of one": ("t + t.max(1).max(0)", lambda x: x + x.max()),
    "column minus tile": ("t.max(1) - t", lambda x: x.max(1, keepdims=True) - x),
    "filled": ("t + t.fill(0.0).sum(1)", lambda x: x + x.sum(1, keepdims=True)),
    "whole": ("tb.maximum(tb.abs(t), -t) * s", lambda x: np.abs(x) * np.float32(1.7)),
    "converted": ("t.to(tb.i32).to(tb.f32)", np.trunc),
}


@pytest.mark.parametrize("name", BODIES)
def test_operations(name: str, tmp_path: Path) -> None:
    body, reference = BODIES[name]
    built = kernels.kernel(
        tmp_path,
        f"""
M, N = tb.dims("M N")
@tb.kernel
def k(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N], s: tb.f32):
    tb.require(M <= 6, N <= 24)
    i = tb.program(1)
    t = x.tiles(6, 24)[i, 0]
    y.tiles(6, 24)[i, 0] = {body}
""",
    )
    for shape in [(1, 1), (5, 7), (6, 24)]:
        rng = np.random.default_rng(7)
        x, y = surrounded(shape, rng) * np.float32(3), surrounded(shape, rng)
        simulator.run(built.text, "k_0", {"x": x, "y": y}, {"M": shape[0], "N": shape[1], "s": 1.7})
        np.testing.assert_allclose(y, reference(x.astype(np.float64)), rtol=1e-5, atol=1e-5)


def test_a_product_of_two_loops_and_indexed_views(tmp_path: Path) -> None:
    built = kernels.kernel(
        tmp_path,
        """
B, M, N = tb.dims("B M N")
@tb.kernel
def k(x: tb.In[tb.f32, B, M, N], y: tb.Out[tb.f32, B, M, N]):
    b, i, j = tb.program(B, tb.cdiv(M, 4), tb.cdiv(N, 8))
    y[b].tiles(4, 8)[i, j] = x[b].tiles(4, 8)[i, j] * 2.0
""",
    )
    x = np.random.default_rng(1).standard_normal((3, 5, 11)).astype(np.float32)
    y = np.full_like(x, np.nan)
    numbers = {"B": 3, "M": 5, "N": 11, "x__s1": 11, "y__s1": 11}
    simulator.run(built.text, "k_0", {"x": x, "y": y}, numbers)
    np.testing.assert_array_equal(y, 2 * x)


def call(tmp_path: Path, body: str, arrays: dict[str, Array], **numbers: float) -> None:
    """Run the one kernel of a module on arrays."""
    built = kernels.kernel(tmp_path, body)
    for plan in (*built.plans, *read(built.text, "k.pto")):
        report = judge(plan)
        assert report.outcome == "proved", [f.message for f in report.findings]
    assert verify(built.text, "a2a3") == []
    simulator.run(built.text, "k_0", arrays, numbers)


def test_columns_are_loaded_and_stored(tmp_path: Path) -> None:
    body = """
M, N = tb.dims("M N")
@tb.kernel
def k(x: tb.In[tb.f32, M, N], s: tb.In[tb.f32, M], y: tb.Out[tb.f32, M]):
    tb.require(N <= 32)
    i = tb.program(tb.cdiv(M, 4))
    t = x.tiles(4, 32)[i, 0]
    y.col.tiles(4, 1)[i, 0] = t.max(1) * s.col.tiles(4, 1)[i, 0]
"""
    rng = np.random.default_rng(3)
    x, s, y = (rng.standard_normal(n).astype(np.float32) for n in ((7, 19), (7,), (7,)))
    call(tmp_path, body, {"x": x, "s": s, "y": y}, M=7, N=19)
    np.testing.assert_array_equal(y, x.max(1) * s)


def test_carried_tiles_that_change_places(tmp_path: Path) -> None:
    body = """
M, N = tb.dims("M N")
@tb.kernel
def k(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.require(N <= 16)
    i = tb.program(1)
    a, b = tb.full((4, 16), 1.0), tb.full((4, 16), 2.0)
    for j in tb.range(tb.cdiv(M, 4)):
        a, b = b, a + x.tiles(4, 16)[j, 0].fill(0.0)
    for j in tb.range(tb.cdiv(M, 4)):
        y.tiles(4, 16)[j, 0] = a * 10.0 + b
"""
    x = np.random.default_rng(3).standard_normal((11, 9)).astype(np.float32)
    y = np.full_like(x, np.nan)
    call(tmp_path, body, {"x": x, "y": y}, M=11, N=9)
    a, b = np.full((4, 9), 1.0), np.full((4, 9), 2.0)
    padded = np.vstack([x, np.zeros((1, 9))])
    for j in range(3):
        a, b = b, a + padded[4 * j : 4 * j + 4]
    np.testing.assert_allclose(y, np.vstack([a * 10 + b] * 3)[:11], rtol=1e-5)


def test_storage_dtypes_are_converted(tmp_path: Path) -> None:
    body = """
M, N = tb.dims("M N")
@tb.kernel
def k(x: tb.In[tb.f16, M, N], y: tb.Out[tb.f16, M, N]):
    i, j = tb.program(tb.cdiv(M, 4), tb.cdiv(N, 20))
    t = x.tiles(4, 20)[i, j].to(tb.f32)
    y.tiles(4, 20)[i, j] = (t * t).to(tb.f16)
"""
    x = np.random.default_rng(3).standard_normal((5, 37)).astype(np.float16)
    y = np.full_like(x, np.nan)
    call(tmp_path, body, {"x": x, "y": y}, M=5, N=37)
    np.testing.assert_array_equal(y, (x.astype(np.float32) ** 2).astype(np.float16))


def test_an_array_is_updated_in_place(tmp_path: Path) -> None:
    body = """
M, N = tb.dims("M N")
@tb.kernel
def k(x: tb.InOut[tb.i32, M, N], n: tb.i32):
    i, j = tb.program(tb.cdiv(M, 4), tb.cdiv(N, 20))
    x.tiles(4, 20)[i, j] = tb.maximum(x.tiles(4, 20)[i, j] * 3 - n, 0) + N
"""
    built = kernels.kernel(tmp_path, body)
    x = np.arange(5 * 37, dtype=np.int32).reshape(5, 37)
    expected = np.maximum(x * 3 - 7, 0) + 37
    simulator.run(built.text, "k_0", {"x": x}, {"M": 5, "N": 37, "n": 7})
    np.testing.assert_array_equal(x, expected)


def test_the_guards_are_those_that_the_test_knows() -> None:
    facts = {str(f) for b in kernels.fastnorm("a2a3").values() for p in b.plans for f in p.contract.facts}
    assert facts == {str(p) for p in parse_predicates("N <= 1024 and N <= 8192 and N <= 16777216")}


def test_numbers_that_the_generated_text_would_get_wrong_are_kept_apart(tmp_path: Path) -> None:
    """Infinities as constants, quotients of quotients, negative numbers as floats, loops to less than their start."""
    body = """
M, N = tb.dims("M N")
@tb.kernel
def k(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.require(M <= 6, N <= 24)
    i = tb.program(1)
    t = tb.maximum(x.tiles(6, 24)[i, 0], -tb.inf)
    for j in tb.range(M - 3):
        t = t + 1.0
    y.tiles(6, 24)[i, 0] = t + (100 % (50 // (M + 1)) // (N // 2 + 1) - N)
"""
    text = kernels.kernel(tmp_path, body).text
    assert "0xFF800000" not in text
    assert "arith.mulf" in text
    assert text.count("arith.maxsi") == 4  # of the loop, two quotients and the number
    for m, n in ((1, 1), (6, 24)):
        x = np.random.default_rng(3).standard_normal((m, n)).astype(np.float32)
        y = np.full_like(x, np.nan)
        call(tmp_path, body, {"x": x, "y": y}, M=m, N=n)
        np.testing.assert_allclose(y, x + max(0, m - 3) + (100 % (50 // (m + 1)) // (n // 2 + 1) - n), rtol=1e-5)


def test_a_loop_from_what_may_be_negative_is_an_error(tmp_path: Path) -> None:
    body = """
M, N = tb.dims("M N")
@tb.kernel
def k(y: tb.Out[tb.f32, M, N]):
    i = tb.program(1)
    t = tb.zeros((6, 24))
    for j in tb.range(M - 3, N):
        t = t + 1.0
    y.tiles(6, 24)[i, 0] = t
"""
    with pytest.raises(TilebuildError, match="only from what is proved not to be negative"):
        kernels.kernel(tmp_path, body)
