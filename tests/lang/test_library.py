"""The composite operations of tilebuild.lang.library on the reference path, against float64."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tilebuild as tb
from tilebuild.lang import library

M, N = tb.dims("M N")
Array = np.ndarray[Any, Any]


def composite(x: tb.Tile) -> tb.Tile:
    """What the kernels below apply; each test puts an operation here."""
    raise NotImplementedError


@tb.kernel
def apply(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N], *, BM: tb.Const = 3, BN: tb.Const = 65536):
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    y.tiles(BM, BN)[i, j] = composite(x.tiles(BM, BN)[i, j])


@tb.kernel
def reduce_rows(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M], *, BM: tb.Const = 3, BN: tb.Const = 512):
    i = tb.program(tb.cdiv(M, BM))
    y.col.tiles(BM, 1)[i, 0] = composite(x.tiles(BM, BN)[i, 0])


@pytest.fixture
def on_rows(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Array]:
    """Run a composite on an array, by the public path: a kernel's `reference`."""

    def run(operation: Callable[..., Any], x: Array, kernel: Any = apply) -> Array:
        monkeypatch.setitem(globals(), "composite", operation)
        result: Array = kernel.reference(np.atleast_2d(x))
        return result if x.ndim == 2 else result[0]

    return run


# -- exact values ----------------------------------------------------------------------------------------------------


def erfc(x: Array) -> Array:
    return np.vectorize(math.erfc)(x)


def erf(x: Array) -> Array:
    return np.vectorize(math.erf)(x)


def softplus(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def gelu_tanh(x: Array) -> Array:
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    return x / (1 + np.exp(-2 * inner))  # as x / 2 * (1 + tanh(inner)) would cancel in float64 too


def elu(x: Array, alpha: float = 1.0) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(x))


ALPHA, SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
EXACT: dict[str, Callable[[Array], Array]] = {
    "tanh": np.tanh,
    "erf": erf,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, float(np.float32(0.01)) * x),
    "gelu": lambda x: x / 2 * erfc(-x * math.sqrt(0.5)),
    "gelu_tanh": gelu_tanh,
    "softplus": softplus,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "elu": elu,
    "selu": lambda x: SCALE * elu(x, ALPHA),
    "mish": lambda x: x * np.tanh(softplus(x)),
    "hardtanh": lambda x: np.clip(x, -1, 1),
    "hardsigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    "hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "square": lambda x: x * x,
    "expm1": np.expm1,
}
# Stated maximum errors: in ulp of the exact value, or as a multiple of |x|, or absolute.
ULP = {
    "tanh": 8.0, "erf": 9.0, "sigmoid": 4.0, "silu": 4.0, "relu": 0.0, "leaky_relu": 0.5, "softplus": 5.0,
    "softsign": 2.0, "elu": 9.0, "selu": 10.0, "mish": 8.0, "hardtanh": 0.0, "square": 0.5, "expm1": 8.0,
}  # fmt: skip
OF_X = {"gelu": 2.0**-21, "gelu_tanh": 2.0**-22, "hardswish": 2.0**-22}
ABSOLUTE = {"hardsigmoid": 2.0**-23}
# Below, the exact value is less than 3e-39 or subnormal and the docstring says what comes out.
LOWEST = {"sigmoid": -87.0, "silu": -87.0, "mish": -85.0}
MINUS_INFINITY_IS_NAN = {"silu", "gelu", "gelu_tanh", "mish", "hardswish", "softsign"}
INFINITY_IS_NAN = {"softsign"}


def samples() -> Array:
    patterns = np.arange(0, 1 << 32, 32_771, dtype=np.uint64).astype(np.uint32).view(np.float32)
    finite = patterns[np.isfinite(patterns)]
    return np.concatenate([finite, np.linspace(-20, 20, 100_001, dtype=np.float32), np.array([0.0, -0.0], np.float32)])


def ulp_error(y: Array, exact: Array) -> Array:
    exponent = np.clip(np.frexp(exact)[1] - 1, -126, 127)
    return np.abs(y.astype(np.float64) - exact) / np.ldexp(1.0, exponent - 23)


@pytest.mark.parametrize("name", EXACT)
def test_error_is_within_what_is_stated(on_rows: Callable[..., Array], name: str) -> None:
    x = samples()
    with np.errstate(all="ignore"):
        exact = EXACT[name](x.astype(np.float64))
    keep = (x >= LOWEST.get(name, -np.inf)) & (np.abs(exact) < 3.4e38)
    x, exact = x[keep], exact[keep]
    y = on_rows(getattr(library, name), x)
    difference = np.abs(y.astype(np.float64) - exact)
    if name in ULP:
        error, bound = ulp_error(y, exact), ULP[name]
    elif name in OF_X:
        error, bound = difference - 2.0**-149, OF_X[name] * np.abs(x).astype(np.float64)
    else:
        error, bound = difference, ABSOLUTE[name]
    worst = int(np.argmax(error - bound))
    assert (error <= bound).all(), f"{name}({x[worst]!r}) = {y[worst]!r}, not {exact[worst]!r}: {error[worst]:.3g}"


@pytest.mark.parametrize("name", EXACT)
def test_nan_and_infinities(on_rows: Callable[..., Array], name: str) -> None:
    y = on_rows(getattr(library, name), np.array([np.nan, np.inf, -np.inf], np.float32))
    with np.errstate(all="ignore"):
        plus, minus = EXACT[name](np.array([1e30, -1e30]))  # as good as the limits
    expected = np.array([np.nan, np.inf if plus > 1e20 else plus, -np.inf if minus < -1e20 else minus])
    expected[2] = np.inf if minus > 1e20 else expected[2]
    expected[1] = np.nan if name in INFINITY_IS_NAN else expected[1]
    expected[2] = np.nan if name in MINUS_INFINITY_IS_NAN else expected[2]
    np.testing.assert_allclose(y, expected, rtol=2e-7)


@pytest.mark.parametrize("name", ["tanh", "erf"])
def test_never_outside_of_one(on_rows: Callable[..., Array], name: str) -> None:
    x = np.linspace(2, 12, 400_001, dtype=np.float32)
    operation = getattr(library, name)
    y = on_rows(operation, x)
    assert y.max() == 1.0
    assert (y[x > 9.1] == 1.0).all()
    assert (on_rows(operation, -x) == -y).all()  # odd, to the bit


def test_small_results_are_accurate(on_rows: Callable[..., Array]) -> None:
    """What exp(x) - 1, log(1 + e) and x * (1 + tanh) written out as such would lose."""
    x = np.array([1e-30, -1e-30, 1e-10, -1e-10, -12.0, -40.0, -80.0], np.float32)
    for name in ("tanh", "erf", "elu", "softplus", "silu", "mish", "square"):
        exact = EXACT[name](x.astype(np.float64))
        np.testing.assert_allclose(on_rows(getattr(library, name), x), exact, rtol=2e-6, atol=1e-44, err_msg=name)
    exact = gelu_tanh(np.array([-3.0, -4.0, -5.0]))
    np.testing.assert_allclose(on_rows(library.gelu_tanh, np.array([-3.0, -4.0, -5.0], np.float32)), exact, rtol=1e-5)


def test_parameters(on_rows: Callable[..., Array]) -> None:
    x = np.linspace(-5, 5, 1001, dtype=np.float32)
    cases: list[tuple[Callable[..., Any], Array]] = [
        (lambda t: tb.clamp(t, -0.5, 2.0), np.clip(x, -0.5, 2)),
        (lambda t: library.hardtanh(t, lo=-2.0, hi=0.0), np.clip(x, -2, 0)),
        (lambda t: library.leaky_relu(t, 0.25), np.where(x > 0, x, 0.25 * x)),
        (lambda t: library.elu(t, alpha=0.5), np.where(x > 0, x, 0.5 * np.expm1(x))),
    ]
    for operation, expected in cases:
        np.testing.assert_allclose(on_rows(operation, x), expected, rtol=1e-6)


# -- reductions ------------------------------------------------------------------------------------------------------


def exact_logsumexp(x: Array) -> Array:
    m = x.max(1, keepdims=True)
    m = np.where(np.isfinite(m), m, 0.0)
    with np.errstate(all="ignore"):
        result: Array = m + np.log(np.exp(x - m).sum(1, keepdims=True))
    return result


def rows(scale: float, shape: tuple[int, int] = (5, 300)) -> Array:
    return (np.random.default_rng(3).standard_normal(shape) * scale).astype(np.float32)


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_softmax(on_rows: Callable[..., Array], scale: float) -> None:
    x = rows(scale)
    wide = x.astype(np.float64)
    exact = np.exp(wide - exact_logsumexp(wide))
    y = on_rows(library.softmax, x).astype(np.float64)
    from_max = x.max(1, keepdims=True) - wide
    # the stated bound, 300 * 2**-24 being that of NumPy's sum, and a subnormal or two
    assert (np.abs(y - exact) <= exact * ((4 + from_max) * 2**-23 + 300 * 2**-24) + 2**-148).all()
    assert (np.abs(y.sum(1) - 1) < 1e-5).all()


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_log_softmax_and_logsumexp(on_rows: Callable[..., Array], scale: float) -> None:
    x = rows(scale)
    wide = x.astype(np.float64)
    exact = exact_logsumexp(wide)
    tolerance = {"rtol": 3e-7, "atol": 4e-6}
    np.testing.assert_allclose(on_rows(library.log_softmax, x), wide - exact, **tolerance)
    np.testing.assert_allclose(on_rows(library.logsumexp, x, reduce_rows), exact[:, 0], **tolerance)


def test_over_columns(on_rows: Callable[..., Array]) -> None:
    x = rows(2.0, (3, 40))
    y = on_rows(lambda t: library.softmax(t, axis=0), x)
    wide = np.exp(x.astype(np.float64))
    np.testing.assert_allclose(y, wide / wide.sum(0), rtol=1e-6)
    y = on_rows(lambda t: library.log_softmax(t, 0), x)
    np.testing.assert_allclose(y, np.log(wide / wide.sum(0)), rtol=1e-6, atol=1e-6)


def test_reductions_at_the_edges(on_rows: Callable[..., Array]) -> None:
    inf, nan = np.inf, np.nan
    x = np.array([[-inf, -inf], [inf, 1.0], [inf, -inf], [nan, 1.0], [-inf, 2.0], [3e38, -3e38]], np.float32)
    np.testing.assert_array_equal(
        on_rows(library.logsumexp, x, reduce_rows), np.array([-inf, inf, inf, nan, 2.0, 3e38], np.float32)
    )
    expected = np.array([[nan, nan]] * 4 + [[0.0, 1.0], [1.0, 0.0]], np.float32)
    np.testing.assert_array_equal(on_rows(library.softmax, x), expected)


# -- the text is the tile language -----------------------------------------------------------------------------------


def test_only_what_helpers_may_contain() -> None:
    """Assignments, then one return; calls of operations and helpers; names of parameters, locals and constants."""
    module = ast.parse(Path(library.__file__).read_text())
    constants = {t.id for n in module.body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)}
    helpers = [n for n in module.body if isinstance(n, ast.FunctionDef)]
    known = constants | {h.name for h in helpers} | {"tb"}
    for helper in helpers:
        body = helper.body[1:] if ast.get_docstring(helper) else helper.body
        assert [type(s) for s in body] == [*[ast.Assign] * (len(body) - 1), ast.Return], helper.name
        assert ast.get_docstring(helper) or helper.name in ("_tanh_p", "_tanh_q")
        names = known | {a.arg for a in helper.args.args}
        for statement in body:
            loaded = {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
            assert loaded <= names, (helper.name, loaded - names)
            names |= {n.id for n in ast.walk(statement) if isinstance(n, ast.Name)}
