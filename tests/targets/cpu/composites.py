"""Kernels as text for what is written in the language itself, with what each output should be, in float64.

`POINTWISE` are expressions of two f32 tiles `a` and `b`, `WHOLE` of tiles that hold whole rows, columns or both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any


@dataclass(frozen=True)
class Case:
    """`error` is what an output may differ by from `want`, both over the inputs; `dtype` is the output's."""

    name: str
    text: str
    want: Callable[..., Array]
    error: Callable[..., Array]
    dtype: str = "f32"


def ulps(n: float) -> Callable[..., Array]:
    """n units in the last place of the result."""
    return lambda want, *_: n * np.spacing(np.maximum(np.abs(want), 2.0**-126).astype(np.float32))


def of(n: float) -> Callable[..., Array]:
    """n, absolutely."""
    return lambda want, *_: np.full(np.shape(want), n)


def of_x(n: float) -> Callable[..., Array]:
    """n, relative to the first input."""
    return lambda want, x, *_: n * np.abs(x) + 2.0**-149


def _power(want: Array, x: Array, y: Array) -> Array:
    return (4 + 3 * np.abs(y * np.log2(np.abs(x)))) * 2.0**-23 * np.abs(want) + 2.0**-126


def _rest(_: Array, x: Array, y: Array) -> Array:
    return 2.0**-23 * np.abs(x) + 2.0**-24 * np.abs(y)


def _turned(_: Array, x: Array, y: Array) -> Array:
    return (np.abs(x) + np.abs(y)) * 2.0**-22


def _erf(x: Array) -> Array:
    return np.vectorize(math.erf)(x)


def _softplus(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _elu(x: Array, alpha: float = 1.0) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _logsumexp(x: Array) -> Array:
    top = x.max(1, keepdims=True)
    return top + np.log(np.exp(x - top).sum(1, keepdims=True))


def _centred(x: Array) -> Array:
    return x - x.mean(1, keepdims=True)


POINTWISE = [
    Case("sin", "tb.sin(a)", lambda x, _: np.sin(x), of(2.0**-23)),
    Case("cos", "tb.cos(a)", lambda x, _: np.cos(x), of(2.0**-23)),
    Case("atan2", "tb.atan2(a, b)", np.arctan2, ulps(5)),
    Case("pow", "tb.pow(tb.abs(a), b)", lambda x, y: np.abs(x) ** y, _power),
    Case("operator_pow", "tb.abs(a) ** b", lambda x, y: np.abs(x) ** y, _power),
    Case("cube", "a ** 3", lambda x, _: x**3, ulps(1.5)),
    Case("log1p", "tb.log1p(tb.abs(a))", lambda x, _: np.log1p(np.abs(x)), ulps(4)),
    Case("expm1", "tb.expm1(a)", lambda x, _: np.expm1(x), ulps(8)),
    Case("sign", "tb.sign(a)", lambda x, _: np.sign(x), of(0)),
    Case("isnan", "tb.isnan(a / (b * 0.0)).to(tb.f32)", lambda x, _: np.zeros(x.shape), of(0)),
    Case("isinf", "tb.isinf(a / (b * 0.0)).to(tb.f32)", lambda x, _: np.ones(x.shape), of(0)),
    Case("clamp", "tb.clamp(a, -0.5, b)", lambda x, y: np.minimum(np.maximum(x, -0.5), y), of(0)),
    Case("fma", "tb.fma(a, b, a)", lambda x, y: x * y + x, lambda _, x, y: 2.0**-23 * np.abs(x) * (1 + np.abs(y))),
    Case("mod", "a % b", np.mod, _rest),
    Case("tanh", "tb.tanh(a)", lambda x, _: np.tanh(x), ulps(8)),
    Case("erf", "tb.erf(a)", lambda x, _: _erf(x), ulps(9)),
    Case("sigmoid", "tb.sigmoid(a)", lambda x, _: 1 / (1 + np.exp(-x)), ulps(4)),
    Case("silu", "tb.silu(a)", lambda x, _: x / (1 + np.exp(-x)), ulps(4)),
    Case("relu", "tb.relu(a)", lambda x, _: np.maximum(x, 0), of(0)),
    Case("leaky_relu", "tb.leaky_relu(a, 0.25)", lambda x, _: np.where(x > 0, x, 0.25 * x), ulps(0.5)),
    Case("gelu", "tb.gelu(a)", lambda x, _: x * (1 + _erf(x / math.sqrt(2))) / 2, of_x(2.0**-21)),
    Case(
        "gelu_tanh", "tb.gelu_tanh(a)",
        lambda x, _: x / (1 + np.exp(-2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))), of_x(2.0**-22),
    ),
    Case("softplus", "tb.softplus(a)", lambda x, _: _softplus(x), ulps(5)),
    Case("softsign", "tb.softsign(a)", lambda x, _: x / (1 + np.abs(x)), ulps(2)),
    Case("elu", "tb.elu(a)", lambda x, _: _elu(x), ulps(9)),
    Case("selu", "tb.selu(a)", lambda x, _: 1.0507009873554805 * _elu(x, 1.6732632423543772), ulps(10)),
    Case("mish", "tb.mish(a)", lambda x, _: x * np.tanh(_softplus(x)), ulps(8)),
    Case("hardtanh", "tb.hardtanh(a)", lambda x, _: np.clip(x, -1, 1), of(0)),
    Case("hardsigmoid", "tb.hardsigmoid(a)", lambda x, _: np.clip(x + 3, 0, 6) / 6, of(2.0**-23)),
    Case("hardswish", "tb.hardswish(a)", lambda x, _: x * np.clip(x + 3, 0, 6) / 6, of_x(2.0**-22)),
    Case("square", "tb.square(a)", lambda x, _: x * x, ulps(0.5)),
    Case("scale", "tb.scale(a, 0.3)", lambda x, _: x * float(np.float32(0.3)), ulps(0.5)),
    Case("rope_a", "tb.rope(a, b, tb.cos(b), tb.sin(b))[0]", lambda x, y: x * np.cos(y) - y * np.sin(y), _turned),
    Case("rope_b", "tb.rope(a, b, tb.cos(b), tb.sin(b))[1]", lambda x, y: y * np.cos(y) + x * np.sin(y), _turned),
]  # fmt: skip

ROWS = [
    Case("softmax", "tb.softmax(a)", lambda x: np.exp(x - _logsumexp(x)), of(3e-6)),
    Case("log_softmax", "tb.log_softmax(a)", lambda x: x - _logsumexp(x), of(1e-5)),
    Case(
        "layernorm", "tb.layernorm(a, w, w, N)",
        lambda x: _centred(x) / np.sqrt((_centred(x) ** 2).mean(1, keepdims=True) + 1e-5) * np.arange(x.shape[1])
        + np.arange(x.shape[1]),
        lambda want, *_: 1e-4 * (1 + np.abs(want)),
    ),
    Case(
        "rmsnorm", "tb.rmsnorm(a, w, N)",
        lambda x: x / np.sqrt((x * x).mean(1, keepdims=True) + 1e-5) * np.arange(x.shape[1]),
        lambda want, *_: 1e-5 * (1 + np.abs(want)),
    ),
]  # fmt: skip
# over an axis, [M, 1] or [1, N]
EACH = [
    Case("argmax", "a.argmax({axis})", lambda x, axis: x.argmax(axis), of(0), "i32"),
    Case("argmin", "tb.argmin(a, {axis})", lambda x, axis: x.argmin(axis), of(0), "i32"),
    Case("any", "(a > 1).any({axis}).to(tb.i32)", lambda x, axis: (x > 1).any(axis), of(0), "i32"),
    Case("all", "tb.all(a < 3, {axis}).to(tb.i32)", lambda x, axis: (x < 3).all(axis), of(0), "i32"),
]
OF_ROWS = [
    Case("logsumexp", "tb.logsumexp(a)", lambda x: _logsumexp(x)[:, 0], of(1e-5)),
    Case("cross_entropy", "tb.cross_entropy(a, a.argmin(1))", lambda x: _logsumexp(x)[:, 0] - x.min(1), of(1e-5)),
]


def module() -> str:
    """All of it as kernels: `pointwise`, `rows`, and `each<axis>_<dtype>`."""
    parts = ['M, N = tb.dims("M N")\n', _kernel("pointwise", POINTWISE, True)]
    rows = "".join(f"    o_{c.name}: tb.Out[tb.f32, M, N],\n" for c in ROWS)
    rows += "".join(f"    o_{c.name}: tb.Out[tb.f32, M],\n" for c in OF_ROWS)
    stores = "".join(f"    o_{c.name}.tiles(BM, BN)[i, 0] = {c.text}\n" for c in ROWS)
    stores += "".join(f"    o_{c.name}.col.tiles(BM, 1)[i, 0] = {c.text}\n" for c in OF_ROWS)
    parts.append(f"""@tb.kernel
def rows(x: tb.In[tb.f32, M, N],
{rows}    *, BM: tb.Const = 3, BN: tb.Const = 310):
    tb.require(N <= 310)
    i = tb.program(tb.cdiv(M, BM))
    a, w = x.tiles(BM, BN)[i, 0], tb.iota(BN, 1).to(tb.f32)
{stores}""")
    for axis, dtype in ((0, "f32"), (1, "f32"), (1, "i32"), (0, "u32")):
        kept = "M" if axis else "N"
        outputs = "".join(f"    o_{c.name}: tb.Out[tb.{c.dtype}, {kept}],\n" for c in EACH)
        place = "col.tiles(BM, 1)[p, 0]" if axis else "tiles(BN)[p]"
        stores = "".join(f"    o_{c.name}.{place} = {c.text.format(axis=axis)}\n" for c in EACH)
        sizes = (
            ("BM: tb.Const = 3, BN: tb.Const = 310", "N <= 310")
            if axis
            else ("BM: tb.Const = 35, BN: tb.Const = 11", "M <= 35")
        )
        parts.append(f"""@tb.kernel
def each{axis}_{dtype}(x: tb.In[tb.{dtype}, M, N],
{outputs}    *, {sizes[0]}):
    tb.require({sizes[1]})
    p = tb.program(tb.cdiv({kept}, B{kept}))
    a = x.tiles(BM, BN)[{"p, 0" if axis else "0, p"}]
{stores}""")
    return "\n\n".join(parts)


def _kernel(name: str, cases: Sequence[Case], two: bool) -> str:
    outputs = "".join(f"    o_{c.name}: tb.Out[tb.f32, M, N],\n" for c in cases)
    stores = "".join(f"    o_{c.name}.tiles(BM, BN)[i, j] = {c.text}\n" for c in cases)
    return f"""@tb.kernel
def {name}(x: tb.In[tb.f32, M, N], y: tb.In[tb.f32, M, N],
{outputs}    *, BM: tb.Const = 3, BN: tb.Const = 36):
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    a, b = x.tiles(BM, BN)[i, j], y.tiles(BM, BN)[i, j]
{stores}"""


def inputs(shape: Sequence[int], seed: int) -> tuple[Array, Array]:
    """Two f32 arrays without zeros: of one size, and of all sizes that a power of the other one bears."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape) * 10.0 ** rng.integers(-2, 2, shape)
    y = rng.standard_normal(shape) * 4
    return x.astype(np.float32), y.astype(np.float32)


def check(kernel: str, results: Sequence[Array], *given: Array) -> None:
    """The outputs of one of the kernels against what they should be."""
    wide = [g.astype(np.float64) if g.dtype == np.float32 else g for g in given]
    axis: tuple[int, ...] = ()
    cases: Sequence[Case] = POINTWISE
    if kernel == "rows":
        cases = [*ROWS, *OF_ROWS]
    elif kernel.startswith("each"):
        cases, axis = EACH, (int(kernel[4]),)
    for case, got in zip(cases, results, strict=True):
        with np.errstate(over="ignore"):
            want = np.asarray(case.want(*wide, *axis))
        away = np.abs(got.astype(np.float64) - want)
        bad = np.argwhere(~(away <= case.error(want, *wide)))
        assert not bad.size, f"{case.name} at {bad[0]}: {got[tuple(bad[0])]!r}, not {want[tuple(bad[0])]!r}"
