"""The functions of tilebuild.lang.functions on the reference path, against float64 and exact integers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tilebuild as tb
from tilebuild.diagnostics import TilebuildError
from tilebuild.lang.reference.tile import Tile

M, N = tb.dims("M N")
Array = np.ndarray[Any, Any]


def composite(x: tb.Tile, y: tb.Tile) -> tb.Tile:
    """What the kernel below applies; each test puts an operation here."""
    raise NotImplementedError


@tb.kernel
def apply(
    x: tb.In[tb.f32, M, N],
    y: tb.In[tb.f32, M, N],
    z: tb.Out[tb.f32, M, N],
    *,
    BM: tb.Const = 1,
    BN: tb.Const = 65536,
):
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    z.tiles(BM, BN)[i, j] = composite(x.tiles(BM, BN)[i, j], y.tiles(BM, BN)[i, j])


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Array]:
    def of(operation: Callable[..., Any], x: Array, y: Array | None = None) -> Array:
        monkeypatch.setitem(globals(), "composite", operation)
        x = np.atleast_2d(x.astype(np.float32))
        result: Array = apply.reference(x, x if y is None else np.atleast_2d(y.astype(np.float32)))
        return result[0]

    return of


def ulp_error(y: Array, exact: Array) -> Array:
    exponent = np.clip(np.frexp(exact)[1] - 1, -126, 127)
    return np.abs(y.astype(np.float64) - exact) / np.ldexp(1.0, exponent - 23)


def magnitudes(count: int, low: float, high: float, seed: int = 0) -> Array:
    """Numbers of both signs whose logarithms are spread evenly."""
    rng = np.random.default_rng(seed)
    return (2.0 ** rng.uniform(low, high, count) * rng.choice([-1.0, 1.0], count)).astype(np.float32)


# -- one operand ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "exact"), [("sin", np.sin), ("cos", np.cos)])
def test_trigonometry(run: Callable[..., Array], name: str, exact: Callable[..., Array]) -> None:
    quarters = np.arange(-60000, 60001, 7) * (math.pi / 2)  # where the results are least
    x = np.concatenate([magnitudes(200_000, -140, 16.65), np.linspace(-40, 40, 100_001), quarters]).astype(np.float32)
    x = x[np.abs(x) < 102_900]
    got, want = run(lambda t, _: getattr(tb, name)(t), x), exact(x.astype(np.float64))
    assert np.max(np.abs(got - want)) <= 2.0**-23
    assert np.max(np.abs(got)) <= 1 + 2.0**-23
    if name == "sin":
        small = np.abs(x) < 1
        assert np.max(ulp_error(got[small], want[small])) <= 2
    assert np.isnan(run(lambda t, _: getattr(tb, name)(t), np.array([np.inf, -np.inf, np.nan, 102_900, 1e30]))).all()


def test_log1p(run: Callable[..., Array]) -> None:
    x = np.concatenate([magnitudes(200_000, -149, 127), np.linspace(-1, 3, 100_001)[1:]]).astype(np.float32)
    x = x[x > -1]
    want = np.log1p(x.astype(np.float64))
    assert np.max(ulp_error(run(lambda t, _: tb.log1p(t), x), want)) <= 4
    edges = run(lambda t, _: tb.log1p(t), np.array([-1.0, np.inf, -1.5, np.nan, -np.inf, 0.0]))
    np.testing.assert_array_equal(edges, [-np.inf, np.inf, np.nan, np.nan, np.nan, 0])


def test_signs_and_predicates(run: Callable[..., Array]) -> None:
    x = np.array([-np.inf, -2.5, -0.0, 0.0, 1e-45, 3.0, np.inf, np.nan], np.float32)
    got = run(lambda t, _: tb.sign(t), x)
    np.testing.assert_array_equal(got, np.sign(x))
    assert np.signbit(got[2])
    np.testing.assert_array_equal(run(lambda t, _: tb.isnan(t).to(tb.f32), x), np.isnan(x))
    np.testing.assert_array_equal(run(lambda t, _: tb.isinf(t).to(tb.f32), x), np.isinf(x))
    np.testing.assert_array_equal(run(lambda t, _: tb.clamp(t, -1.5, 2.0), x), np.clip(x, -1.5, 2.0))


# -- two operands -----------------------------------------------------------------------------------------------------


def test_pow(run: Callable[..., Array]) -> None:
    rng = np.random.default_rng(3)
    x, y = np.abs(magnitudes(100_000, -120, 120)), magnitudes(100_000, -10, 6, 1)
    x[::5], y[::5] = -x[::5], np.round(rng.uniform(-12, 12, 20_000))
    with np.errstate(all="ignore"):
        want = np.power(x.astype(np.float64), y.astype(np.float64))
    fine = np.isfinite(want) & (np.abs(want) > 2.0**-125) & (np.abs(want) < 2.0**127)
    got = run(tb.pow, x, y)
    bound = (4 + 3 * np.abs(y * np.log2(np.abs(x)))) * 2.0**-23
    got, want, bound = got[fine], want[fine], bound[fine]
    assert (np.abs(got - want) <= bound * np.abs(want)).all()
    assert fine.sum() > 20_000


def test_edges_of_pow(run: Callable[..., Array]) -> None:
    values = np.array([-np.inf, -2.5, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0, np.inf, np.nan])
    x, y = (v.ravel() for v in np.meshgrid(values, values))
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(run(tb.pow, x, y), np.power(x, y), rtol=1e-6)


def test_atan2(run: Callable[..., Array]) -> None:
    y, x = magnitudes(100_000, -40, 40), magnitudes(100_000, -40, 40, 1)
    assert np.max(ulp_error(run(tb.atan2, y, x), np.arctan2(y.astype(np.float64), x.astype(np.float64)))) <= 5
    values = np.array([-np.inf, -1.0, 0.0, 1.0, np.inf, np.nan])
    y, x = (v.ravel() for v in np.meshgrid(values, values))
    np.testing.assert_allclose(run(tb.atan2, y, x), np.arctan2(y, x), rtol=3e-7)


def test_quotients_and_rests(run: Callable[..., Array]) -> None:
    a, b = magnitudes(100_000, -20, 20), magnitudes(100_000, -20, 20, 1)
    a[::3] = b[::3] * np.random.default_rng(0).integers(-9, 9, len(b[::3]))
    wide, by = a.astype(np.float64), b.astype(np.float64)
    np.testing.assert_array_equal(run(lambda s, t: s // t, a, b), np.floor(a / b))
    got = run(lambda s, t: s % t, a, b)
    away = np.abs(got - np.mod(wide, by))
    assert (np.minimum(away, np.abs(by) - away) <= 2.0**-23 * np.abs(wide) + 2.0**-24 * np.abs(by)).all()
    assert (got * b >= 0).all()
    assert (np.abs(got) <= np.abs(b)).all()
    exact = run(lambda s, t: s % t, np.array([7.5, -7.5, 7.5, -7.5, 1.0]), np.array([2.0, 2.0, -2.0, -2.0, 0.0]))
    np.testing.assert_array_equal(exact, [1.5, 0.5, -0.5, -1.5, np.nan])


def test_fma(run: Callable[..., Array]) -> None:
    x, y = magnitudes(1000, -9, 9), magnitudes(1000, -9, 9, 1)
    np.testing.assert_array_equal(run(lambda s, t: tb.fma(s, t, 1.0), x, y), x * y + np.float32(1))


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 7, 16, 64, -1, -3])
def test_whole_powers(run: Callable[..., Array], exponent: int) -> None:
    x = np.linspace(-1.5, 1.5, 1001, dtype=np.float32)
    x[500] = 1
    wide = x.astype(np.float64) ** exponent
    got = run(lambda t, _: t**exponent, x)
    np.testing.assert_allclose(got, wide, rtol=max(1, 2 * abs(exponent)) * 2.0**-23, atol=1e-37)


def test_whole_powers_of_integers() -> None:
    tile = Tile(np.array([[-3, 0, 2, 100_003]], np.int32), (1, 4), "i32")
    wrapped = [int(np.array((v**3) & 0xFFFFFFFF, np.uint32).astype(np.int32)) for v in (-3, 0, 2, 100_003)]
    assert (tile**3).data.tolist() == [wrapped]
    assert (tile**0).data.tolist() == [[1, 1, 1, 1]]
    with pytest.raises(TilebuildError, match="negative powers"):
        tile**-1


# -- over an axis -----------------------------------------------------------------------------------------------------

SHAPE = (5, 7)


@pytest.mark.parametrize("valid", [(5, 7), (3, 6), (1, 1)], ids=str)
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("dtype", ["f32", "i32", "u32"])
@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_positions(name: str, dtype: str, axis: int, valid: tuple[int, int]) -> None:
    numpy = {"f32": np.float32, "i32": np.int32, "u32": np.uint32}[dtype]
    values = np.random.default_rng(1).integers(0, 4, SHAPE).astype(numpy)  # many are equal
    if dtype == "f32":
        values[2, 3] = values[2, 5] = np.nan
    for result in (
        getattr(Tile(values, valid, dtype), name)(axis),
        getattr(tb, name)(Tile(values, valid, dtype), axis),
    ):
        assert (result.dtype, result.valid) == ("i32", tuple(1 if a == axis % 2 else v for a, v in enumerate(valid)))
        want = getattr(np, name)(values[: valid[0], : valid[1]], axis, keepdims=True)
        np.testing.assert_array_equal(result.live, want)


@pytest.mark.parametrize("valid", [(5, 7), (3, 6), (1, 1), (4, 0)], ids=str)
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("name", ["any", "all"])
def test_truths(name: str, axis: int, valid: tuple[int, int]) -> None:
    values = np.random.default_rng(2).integers(0, 2, SHAPE).astype(bool)
    values[1], values[2], values[:, 0] = True, False, [1, 1, 0, 0, 0]
    result = getattr(Tile(values, valid, "bool"), name)(axis)
    assert result.dtype == "bool"
    np.testing.assert_array_equal(result.live, getattr(np, name)(values[: valid[0], : valid[1]], axis, keepdims=True))


def test_truths_of_numbers_are_refused() -> None:
    with pytest.raises(TilebuildError, match="bool condition"):
        tb.any(Tile(np.zeros(SHAPE, np.float32), SHAPE, "f32"), 1)
