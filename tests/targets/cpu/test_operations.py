"""Every operation, compiled for every instruction level of this machine, against NumPy and the reference path."""

from __future__ import annotations

import math
import platform
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import composites
import conversions
import generated
import numpy as np
import pytest
from kernel_package import NUMPY, Array, Package

from tilebuild.optable import OPS

LEVELS = ("v8",) if platform.machine() in ("aarch64", "arm64") else ("v2", "v3", "v4")
HOWS = ("reference", "runtime", *LEVELS)
# ragged against every tile extent and every vector width (4, 8, 16): one lane, one less, one more, several tiles
SHAPES = [(1, 1), (1, 17), (2, 4), (3, 5), (4, 33), (5, 31), (7, 64), (9, 131), (33, 1), (6, 301)]
ULPS = {"exact": 0.0, "rounded": 0.5, "ulp": 4.0}


def random(dtype: str, shape: Sequence[int], seed: object) -> Array:
    """Numbers of all sizes, with the awkward ones among them."""
    rng = np.random.default_rng(zlib.crc32(repr(seed).encode()))
    if dtype == "f32":
        values = rng.standard_normal(shape) * 10.0 ** rng.integers(-3, 3, shape)
        special: list[Any] = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-40, 88.5, -104.0]
    else:
        info = np.iinfo(NUMPY[dtype])
        values = rng.integers(info.min, info.max, shape, endpoint=True)
        special = [0, 1, info.min, info.max, info.max // 2]
    flat = values.reshape(-1)
    if flat.size >= 2 * len(special):
        flat[rng.choice(flat.size, len(special), replace=False)] = special
    return flat.reshape(shape).astype(NUMPY[dtype])


def normal(shape: Sequence[int], seed: object) -> Array:
    rng = np.random.default_rng(zlib.crc32(repr(seed).encode()))
    return rng.standard_normal(shape).astype(np.float32)


def assert_close(got: Array, want: Array, ulps: float, scale: Array | None = None) -> None:
    """Integers agree; floats agree within `ulps` units in the last place of `want`, or of `scale` where given."""
    assert got.shape == want.shape
    if got.dtype != np.float32:
        np.testing.assert_array_equal(got, want)
        return
    with np.errstate(all="ignore"):
        wide = np.asarray(want, np.float64)
        nearest = wide.astype(np.float32)
        size = np.abs(wide) if scale is None else np.maximum(np.abs(wide), scale)
        unit = np.spacing(np.maximum(size, np.finfo(np.float32).tiny).astype(np.float32)).astype(np.float64)
        error = np.abs(got.astype(np.float64) - wide)
        fine = (got == nearest) | (np.isnan(got) & np.isnan(wide)) | (error <= ulps * unit)
    bad = np.argwhere(~fine)
    assert not bad.size, (
        f"{len(bad)} of {got.size} differ, the first at {bad[0].tolist()}: {got[tuple(bad[0])]!r}, not "
        f"{wide[tuple(bad[0])]!r}"
    )


@pytest.fixture(params=HOWS)
def how(request: pytest.FixtureRequest, package: Package) -> str:
    level: str = request.param
    if level in LEVELS and level not in package.levels:
        pytest.skip(f"this machine does not run level {level}")
    return level


# -- the operation table ----------------------------------------------------------------------------------------------

_EXACT: dict[str, Callable[..., Array]] = {"rsqrt": lambda x: 1 / np.sqrt(x)}


def want_elementwise(name: str, dtype: str, operands: Sequence[Array]) -> Array:
    """In float64, or in the operands' own integers."""
    op = OPS[name]
    function = _EXACT.get(name) or getattr(np, op.numpy)
    if name in ("shl", "shr"):
        operands = [operands[0], operands[1] & operands[1].dtype.type(31)]
    with np.errstate(all="ignore"):
        wide = [o.astype(np.float64) for o in operands] if dtype == "f32" else list(operands)
        result = function(*wide)
    return result.astype(np.int32) if op.result == "bool" else result


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", generated.DTYPES)
def test_elementwise(package: Package, how: str, dtype: str, shape: tuple[int, int]) -> None:
    x, y = random(dtype, shape, (shape, 1)), random(dtype, shape, (shape, 2))
    y.flat[:: max(1, y.size // 3)] = x.flat[:: max(1, y.size // 3)]  # some are equal
    results = package.run(f"elementwise_{dtype}", x, y, how=how)
    for (op, _), got in zip(generated.outputs(dtype), results):
        operands = (x,) if op.kind == "unary" else (x, y)
        try:
            assert_close(got, want_elementwise(op.name, dtype, operands), ULPS[op.accuracy])
        except AssertionError as e:
            raise AssertionError(f"{op.name}: {e}") from None


def check_reductions(x: Array, axis: int, results: Sequence[Array]) -> None:
    """What the reductions of the table give over an axis, in its order."""
    names = [op.name for op in generated.of_kind("reduce", {v: k for k, v in NUMPY.items()}[x.dtype.type])]
    for name, got in zip(names, results, strict=True):
        if x.dtype == np.float32 and name in ("sum", "prod"):
            # of n numbers in a tree or in order: an error of at most log2(n) to n units of the sum of their sizes, or
            # of the product itself
            wide = x.astype(np.float64)
            scale = np.abs(wide).sum(axis) if name == "sum" else None
            bound = 4 if name == "sum" else x.shape[axis] + 1
            keep = np.full(got.shape, True)
            if name == "prod":  # far below the normal numbers every order of factors rounds in its own way
                keep = np.abs(np.log2(np.abs(wide))).sum(axis) < 120
            want = getattr(wide, name)(axis)
            assert_close(got[keep], want[keep], bound, None if scale is None else scale[keep])
        else:
            whole = {"dtype": x.dtype} if name in ("sum", "prod") else {}
            np.testing.assert_array_equal(got, getattr(x, name)(axis, **whole))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", generated.DTYPES)
def test_reductions(package: Package, how: str, dtype: str, axis: int, shape: tuple[int, int]) -> None:
    x = normal(shape, shape) if dtype == "f32" else random(dtype, shape, shape)
    results = package.run(f"reduce{axis}_{dtype}", x, how=how)
    check_reductions(x, axis, results)


@pytest.mark.parametrize("axis", [0, 1])
def test_reductions_let_a_nan_through(package: Package, how: str, axis: int) -> None:
    x = normal((7, 200), "nan")
    for place in [(0, 0), (3, 77), (6, 199)]:
        x[place] = np.nan
    for got in package.run(f"reduce{axis}_f32", x, how=how):
        np.testing.assert_array_equal(np.isnan(got), np.isnan(x).any(axis))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_casts(package: Package, how: str, shape: tuple[int, int]) -> None:
    f = (normal(shape, shape) * 1e6).astype(np.float32)
    f.flat[::5] = 0.0
    i, u = random("i32", shape, 1), random("u32", shape, 2)
    i.flat[::3] = 0
    want = (
        f.astype(np.int32), abs(f).astype(np.uint32), i.astype(np.float32), u.astype(np.float32),
        (i > 0).astype(np.float32), (f > 0).astype(np.int32), (f != 0).astype(np.int32), (i != 0).astype(np.int32),
    )  # fmt: skip
    for got, expected in zip(package.run("casts", f, i, u, how=how), want):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (9, 131)], ids=str)
@pytest.mark.parametrize("source", conversions.DTYPES)
def test_conversions(package: Package, how: str, source: str, shape: tuple[int, int]) -> None:
    x = conversions.in_all_ranges(shape, source, NUMPY[source])
    for dtype, got in zip(conversions.DTYPES, package.run(f"from_{source}", x, how=how), strict=True):
        want = conversions.converted(x, dtype, NUMPY[dtype])
        np.testing.assert_array_equal(got, want, err_msg=dtype)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (9, 131)], ids=str)
def test_saturating_conversions(package: Package, how: str, shape: tuple[int, int]) -> None:
    x = conversions.of_all_sizes(shape)
    *integers, half = package.run("saturating", x, how=how)
    for (dtype, rounded), got in zip(conversions.SATURATING, integers, strict=True):
        want = conversions.saturated(x, dtype, NUMPY[dtype], rounded)
        np.testing.assert_array_equal(got, want, err_msg=f"{dtype} {rounded}")
    np.testing.assert_array_equal(half, conversions.saturated(x, "f16", np.float16))
    for source in ("i32", "u32"):
        x = random(source, shape, shape)
        for dtype, got in zip(conversions.INTEGERS, package.run(f"saturating_{source}", x, how=how), strict=True):
            np.testing.assert_array_equal(got, conversions.saturated(x, dtype, NUMPY[dtype]), err_msg=dtype)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (9, 131)], ids=str)
def test_bf16(package: Package, level: str, shape: tuple[int, int]) -> None:
    """NumPy has no bf16 to call the kernels with: the built code itself."""
    if level not in package.levels:
        pytest.skip(f"this machine does not run level {level}")
    x = conversions.of_all_sizes(shape)
    plain, saturated = package.run("to_bf16", x, how=level)
    most = np.float32(3.3895313892515355e38)
    for got, want in ((plain, conversions.bf16_of(x)), (saturated, conversions.bf16_of(np.clip(x, -most, most)))):
        np.testing.assert_array_equal(conversions.of_bf16(got), conversions.of_bf16(want))
    words = conversions.bf16_of(conversions.in_all_ranges(shape, "f32", np.float32))
    wide = conversions.of_bf16(words)
    for got, want in zip(package.run("from_bf16", words, how=level), (wide, words, wide.astype(np.int32)), strict=True):
        np.testing.assert_array_equal(got, want)


# -- written in the language -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_composites(package: Package, how: str, shape: tuple[int, int]) -> None:
    x, y = composites.inputs(shape, sum(shape))
    composites.check("pointwise", package.run("pointwise", x, y, how=how), x, y)
    composites.check("rows", package.run("rows", x, how=how), x)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kernel", ["each0_f32", "each1_f32", "each1_i32", "each0_u32"])
def test_over_an_axis(package: Package, how: str, kernel: str, shape: tuple[int, int]) -> None:
    x = np.random.default_rng(sum(shape)).integers(0, 5, shape).astype(NUMPY[kernel[-3:]])  # many are equal
    composites.check(kernel, package.run(kernel, x, how=how), x)


# -- structure --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A structural kernel: its inputs for a shape, and what they should give, in float64, within `ulps` units in the
    last place of `scale` (of the result itself, where there is none)."""

    name: str
    inputs: Callable[[int, int], tuple[Any, ...]]
    want: Callable[..., tuple[Array, ...]]
    ulps: float = 1.0
    scale: Callable[..., float] | None = None
    most: int = 10**9  # the largest extent of the second axis


def _wide(*arrays: Any) -> tuple[Array, ...]:
    return tuple(np.asarray(a, np.float64) for a in arrays)


def _broadcasts(x: Array, r: Array, c: Array) -> tuple[Array, ...]:
    tops = np.empty(x.shape)
    for i in range(0, x.shape[0], 6):
        for j in range(0, x.shape[1], 35):
            tops[i : i + 6, j : j + 35] = x[i : i + 6, j : j + 35].max()
    x, r, c = _wide(x, r[:, None], c)
    return (x - tops) * r + c, np.maximum(r * c, tops)


def _filled(x: Array) -> tuple[Array, ...]:
    (x,) = _wide(x)
    tops = np.concatenate([x[:, j : j + 22].max(1, keepdims=True).repeat(22, 1) for j in range(0, x.shape[1], 22)], 1)
    return x.sum(1), 2 * (x - tops[:, : x.shape[1]])


def _clipped(x: Array, y: Array) -> tuple[Array, ...]:
    rows, cols = min(x.shape[0], y.shape[0]), min(x.shape[1], y.shape[1])
    want = y.copy()
    want[:rows, :cols] = x[:rows, :cols] + np.float32(1)
    return (want,)


def _below_diagonal(x: Array) -> tuple[Array, ...]:
    keep = np.tri(*x.shape, dtype=bool)
    flags = ~keep ^ (x > 0) | (keep & (x < -1))
    return np.where(keep, x, -np.inf), flags.astype(np.int32)


def _indices(x: Array) -> tuple[Array, ...]:
    i, j = np.indices(x.shape) // np.array([3, 9])[:, None, None]
    return ((x.astype(np.float64) + (3 * i + j)) / x.shape[1],)


def _products(a: Array, b: Array, v: Array) -> tuple[Array, ...]:
    a, b, v = _wide(a, b, v)
    s = np.exp(a) @ b
    return ((s - s.max(1, keepdims=True)) @ v,)


def _scalars(x: Array, s: float) -> tuple[Array, ...]:
    a, step = 1.0, s * 0.5
    for k in range(2, x.shape[0] + 2):
        a, step = a + step, step - k * 0.25
    return (x.astype(np.float64) * a + step,)


def _fibonacci(x: Array) -> tuple[Array, ...]:
    a, b = np.zeros_like(x), x
    for _ in range(x.shape[1]):
        a, b = b, a + b
    return a, b


def _nested(x: Array) -> tuple[Array, ...]:
    parts = [x[:, j : j + 26].sum(1, dtype=np.float64) * (n + 1) for n, j in enumerate(range(0, x.shape[1], 26))]
    return (np.sum(parts, 0) / 4 + x.max(1),)


def _library(x: Array) -> tuple[Array, ...]:
    (x,) = _wide(x)
    e = np.exp(x - x.max(1, keepdims=True))
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) + np.tanh(x), e / e.sum(1, keepdims=True)


def _in_place(x: Array, y: Array) -> tuple[Array, ...]:
    e = np.exp(x.astype(np.float64))
    return e / e.sum(1, keepdims=True), y * 2 - 1


def _heads(x: Array, w: Array) -> tuple[Array, ...]:
    y = x.astype(np.float64) * w[:, None]
    return y, y.sum(-1)


def _moved(x: Array, y: Array) -> tuple[Array, ...]:
    turns = np.stack([x, y], 2).reshape(-1, 12)
    return x[:, 3:5] + np.float32(1), np.concatenate([x, 2 * y, y[:, 3:]], 1), turns


CASES = [
    Case("moved", lambda m, n: (normal([m, 6], n), normal([m, 6], m)), _moved, 0),
    Case(
        "reshaped", lambda m, n: (random("i32", [m, 4, 6], n),),
        lambda x: (x.reshape(-1, 8, 3), x.reshape(-1, 2, 12) + np.int32(1), np.concatenate([x, x[:, 1:]], 1)),
    ),
    Case("vector", lambda m, n: (normal([n], n), 0.75), lambda x, s: (x * np.float64(s) + 1,), 1, lambda *_: 4.0),
    Case("transposed_view", lambda m, n: (normal([m, n], n),), lambda x: (x.T,), 0),
    Case("transposed_tile", lambda m, n: (random("i32", [m, n], n),), lambda x: (x.T + np.int32(1),)),
    Case("transposed_store", lambda m, n: (random("u32", [m, n], n),), lambda x: (x.T,)),
    Case("heads", lambda m, n: (normal([2, 3, m, n], n), normal([3, n], 1)), _heads, 8, lambda *_: 64.0),
    Case("stacked", lambda m, n: (random("i32", [3, m, n], n),), lambda x: (-x.transpose(0, 2, 1),)),
    Case(
        "broadcasts", lambda m, n: (normal([m, n], n), normal([m], 1), normal([n], 2)), _broadcasts, 2, lambda *_: 16.0
    ),
    Case("one_row_of_columns", lambda m, n: (normal([n], m),), lambda r: (2 * np.exp(_wide(r)[0]), _wide(r)[0] + 1), 3),
    Case("filled", lambda m, n: (normal([m, n], n),), _filled, 30, lambda *_: 4.0),
    Case("clipped", lambda m, n: (normal([m, n], n), normal([n % 7 + 1, m + n // 2], m)), _clipped, 0),
    Case("below_diagonal", lambda m, n: (normal([m, n], n),), _below_diagonal, 0),
    Case("indices", lambda m, n: (normal([m, n], n),), _indices, 2),
    Case(
        "product",
        lambda m, n: (normal([m, n % 23 + 1], m), normal([n % 23 + 1, n], n), normal([m, n], 3)),
        lambda a, b, c: (_wide(a)[0] @ b + c,), 8, lambda a, *_: 8.0,
    ),
    Case(
        "product_of_views",
        lambda m, n: (normal([n % 29 + 1, m], m), normal([n, n % 29 + 1], n)),
        lambda a, w: (_wide(a)[0].T @ w.T * 0.5 + 1,), 8, lambda a, *_: 8.0,
    ),
    Case(
        "products",
        lambda m, n: (normal([m, n % 24 + 1], m), normal([n % 24 + 1, n % 40 + 1], n), normal([n % 40 + 1, n], 3)),
        _products, 16, lambda *_: 500.0,
    ),
    Case("swapped", lambda m, n: (normal([m, n], n), normal([m, n], 0)), lambda x, y: (y, x), 0),
    Case("fibonacci", lambda m, n: (random("i32", [m, n], n),), _fibonacci),
    Case("scalars", lambda m, n: (normal([m, n], n), 0.375), _scalars, 4, lambda *_: 512.0),
    Case("nested", lambda m, n: (normal([m, n], n),), _nested, 30, lambda *_: 16.0),
    Case("in_place", lambda m, n: (normal([m, n], n), random("i32", [m, n], n)), _in_place, 30, most=120),
    Case("library", lambda m, n: (normal([m, n], n),), _library, 30, most=150),
    Case(
        "pairs_of_rows", lambda m, n: (normal([2 * m, 6], n),), lambda x: _wide(x[::2] + 2.0 * x[1::2]), 2,
        lambda *_: 2.0,
    ),
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_structure(package: Package, how: str, case: Case, shape: tuple[int, int]) -> None:
    m, n = shape[0], min(shape[1], case.most)
    inputs = case.inputs(m, n)
    with np.errstate(all="ignore"):
        want = case.want(*inputs)
    scale = None if case.scale is None else np.float64(case.scale(*inputs))
    for got, expected in zip(package.run(case.name, *inputs, how=how, dims={"M": m}), want, strict=True):
        assert_close(got, expected, case.ulps, scale)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_full_tile_ends_where_the_array_ends(package: Package, how: str, shape: tuple[int, int]) -> None:
    i, j = np.indices(shape)
    want = np.full(shape, 2.5, np.float32), i % 4 * 1000 + j % 17 + (i // 4 * 10 + j // 17)
    for got, expected in zip(
        package.run("constant", 2.5, how=how, dims={"M": shape[0], "N": shape[1]}), want, strict=True
    ):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("parts", [2, 3, 50])
def test_the_grid_in_parts(package: Package, parts: int) -> None:
    x = normal([37, 100], 0)
    level = package.levels[-1]
    for got, want in zip(
        package.run("heads", x[None, None], x[:1], how=level, parts=parts), _heads(x[None, None], x[:1])
    ):
        assert_close(got, want, 8, np.float64(64))
