"""Composite operations, written in the tile language itself: `tb.gelu(t)` in a kernel.

The compiler inlines them from this text for every target; the reference path executes them on tiles. Mathematical
functions are beside them, in `functions`. All take and give f32 tiles of one shape, except for the reductions at the
end. NaN gives NaN. Errors are stated in units in the last place of the exact result (ulp), or against a scale where a
result near zero is a small difference; they include those of the cpu target's operations, with and without fused
multiply-adds, and of NumPy's on the reference path.
docs/accuracy.md has what was measured.

Coefficients: `python -m tilebuild.targets.cpu.fit`.
"""

from __future__ import annotations

import tilebuild as tb

# tanh(x) = x * P(x*x) / Q(x*x) on [1e-12, 81.36]: 2.5e-08 = 0.43 * 2**-24
_TANH_P0 = 1.0e00
_TANH_P1 = 1.33826897e-01
_TANH_P2 = 3.49749066e-03
_TANH_P3 = 2.0637839e-05
_TANH_P4 = 1.33900944e-08
_TANH_Q0 = 1.0e00
_TANH_Q1 = 4.67160106e-01
_TANH_Q2 = 2.58844048e-02
_TANH_Q3 = 3.28863214e-04
_TANH_Q4 = 7.79198444e-07
# erf(x) = x * P(x*x) / Q(x*x) on [1e-12, 15.41]: 2.2e-08 = 0.37 * 2**-24
_ERF_P0 = 2.04518723e00
_ERF_P1 = 3.44647527e-01
_ERF_P2 = 9.55382138e-02
_ERF_P3 = 6.80287322e-03
_ERF_P4 = 5.15424588e-04
_ERF_P5 = 3.71394935e-06
_ERF_Q0 = 1.8125e00
_ERF_Q1 = 9.09601808e-01
_ERF_Q2 = 2.06623852e-01
_ERF_Q3 = 2.70879194e-02
_ERF_Q4 = 2.10086722e-03
_ERF_Q5 = 6.89735898e-05

# tanh and erf are 1 in float32 from here on
_TANH_END = 9.02
_ERF_END = 3.925

_SQRT_HALF = 0.7071067811865476
_GELU_A = -1.5957691216057308  # -2 * sqrt(2 / pi)
_GELU_B = -0.07135481282553494  # _GELU_A * 0.044715
_SELU_ALPHA = 1.6732632423543772
_SELU_SCALE = 1.0507009873554805


@tb.fn
def _tanh_p(u: tb.Tile) -> tb.Tile:
    return (((_TANH_P4 * u + _TANH_P3) * u + _TANH_P2) * u + _TANH_P1) * u + _TANH_P0


@tb.fn
def _tanh_q(u: tb.Tile) -> tb.Tile:
    return (((_TANH_Q4 * u + _TANH_Q3) * u + _TANH_Q2) * u + _TANH_Q1) * u + _TANH_Q0


@tb.fn
def tanh(x: tb.Tile) -> tb.Tile:
    """The hyperbolic tangent, within 8 ulp and never outside of [-1, 1]; +-1 at +-inf."""
    u = tb.minimum(x * x, _TANH_END * _TANH_END)
    # past the end of u the quotient is a multiple of x above 1, so the bounds of the result saturate it too
    return tb.maximum(tb.minimum(x * _tanh_p(u) / _tanh_q(u), 1.0), -1.0)


@tb.fn
def erf(x: tb.Tile) -> tb.Tile:
    """The error function, within 9 ulp and never outside of [-1, 1]; +-1 at +-inf."""
    u = tb.minimum(x * x, _ERF_END * _ERF_END)
    p = ((((_ERF_P5 * u + _ERF_P4) * u + _ERF_P3) * u + _ERF_P2) * u + _ERF_P1) * u + _ERF_P0
    q = ((((_ERF_Q5 * u + _ERF_Q4) * u + _ERF_Q3) * u + _ERF_Q2) * u + _ERF_Q1) * u + _ERF_Q0
    return tb.maximum(tb.minimum(x * p / q, 1.0), -1.0)


@tb.fn
def sigmoid(x: tb.Tile) -> tb.Tile:
    """1 / (1 + exp(-x)), within 4 ulp; 0 below -88.7, where the exact value is less than 3e-39."""
    return 1.0 / (1.0 + tb.exp(-x))


@tb.fn
def silu(x: tb.Tile) -> tb.Tile:
    """x * sigmoid(x), within 4 ulp; 0 below -88.7; NaN at -inf."""
    return x / (1.0 + tb.exp(-x))


@tb.fn
def relu(x: tb.Tile) -> tb.Tile:
    """max(x, 0), exact."""
    return tb.maximum(x, 0.0)


@tb.fn
def leaky_relu(x: tb.Tile, slope: float | tb.f32 = 0.01) -> tb.Tile:
    """x where x > 0, else slope * x, rounded once."""
    return tb.where(x > 0.0, x, slope * x)


@tb.fn
def gelu(x: tb.Tile) -> tb.Tile:
    """x * Phi(x), with Phi the normal distribution, within 2**-21 * |x|; NaN at -inf."""
    return 0.5 * x * (1.0 + erf(x * _SQRT_HALF))


@tb.fn
def gelu_tanh(x: tb.Tile) -> tb.Tile:
    """x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))), within 2**-22 * |x|; NaN at -inf.

    Computed as x * sigmoid(2 * ...), the same function, which keeps small results of negative x accurate.
    """
    return x / (1.0 + tb.exp(x * (_GELU_B * (x * x) + _GELU_A)))


@tb.fn
def softplus(x: tb.Tile) -> tb.Tile:
    """log(1 + exp(x)), within 5 ulp; 0 below -103.3.

    Computed as max(x, 0) + log(1 + e) with e = exp(-|x|), where the last term makes up for what 1 + e drops of e.
    """
    e = tb.exp(-tb.abs(x))
    w = 1.0 + e
    return tb.maximum(x, 0.0) + (tb.log(w) + (e - (w - 1.0)) / w)


@tb.fn
def softsign(x: tb.Tile) -> tb.Tile:
    """x / (1 + |x|), within 2 ulp; NaN at +-inf."""
    return x / (1.0 + tb.abs(x))


@tb.fn
def _expm1_negative(x: tb.Tile) -> tb.Tile:
    """exp(x) - 1 for x <= 0, within 8 ulp, as 2 * t / (1 - t) with t = tanh(x / 2); any value for x > 0."""
    c = tb.maximum(0.5 * x, -_TANH_END)
    u = c * c
    n = c * _tanh_p(u)
    return (n + n) / (_tanh_q(u) - n)


@tb.fn
def expm1(x: tb.Tile) -> tb.Tile:
    """exp(x) - 1, within 8 ulp."""
    c = tb.maximum(tb.minimum(0.5 * x, 0.5), -_TANH_END)
    u = c * c
    n = c * _tanh_p(u)
    return tb.where(x > 1.0, tb.exp(x) - 1.0, (n + n) / (_tanh_q(u) - n))


@tb.fn
def elu(x: tb.Tile, alpha: float | tb.f32 = 1.0) -> tb.Tile:
    """x where x > 0, else alpha * (exp(x) - 1), within 9 ulp."""
    return tb.where(x > 0.0, x, alpha * _expm1_negative(x))


@tb.fn
def selu(x: tb.Tile) -> tb.Tile:
    """1.0507... * elu(x, 1.6732...), within 10 ulp."""
    return _SELU_SCALE * elu(x, _SELU_ALPHA)


@tb.fn
def mish(x: tb.Tile) -> tb.Tile:
    """x * tanh(softplus(x)), within 8 ulp where the result is not subnormal; NaN at -inf.

    With e = exp(x) and n = e * (e + 2), tanh(log(1 + e)) is n / (n + 2), which is 1 in float32 long before x = 20.
    """
    e = tb.exp(tb.minimum(x, 20.0))
    n = e * (e + 2.0)
    return x * (n / (n + 2.0))


@tb.fn
def hardtanh(x: tb.Tile, lo: float | tb.f32 = -1.0, hi: float | tb.f32 = 1.0) -> tb.Tile:
    """min(max(x, lo), hi), exact."""
    return tb.clamp(x, lo, hi)


@tb.fn
def hardsigmoid(x: tb.Tile) -> tb.Tile:
    """min(max(x + 3, 0), 6) / 6, within 2**-23."""
    return tb.clamp(x + 3.0, 0.0, 6.0) / 6.0


@tb.fn
def hardswish(x: tb.Tile) -> tb.Tile:
    """x * hardsigmoid(x), within 2**-22 * |x|; NaN at -inf."""
    return x * hardsigmoid(x)


@tb.fn
def square(x: tb.Tile) -> tb.Tile:
    """x * x, rounded once."""
    return x * x


@tb.fn
def softmax(x: tb.Tile, axis: int = 1) -> tb.Tile:
    """exp(x) / sum of exp(x) over an axis that the tile holds whole; NaN where a whole row is -inf.

    An element is within (4 + |x - max|) * 2**-23 of its exact value, and the sum's own error, relatively.
    """
    e = tb.exp(x - x.max(axis))
    return e / e.sum(axis)


@tb.fn
def log_softmax(x: tb.Tile, axis: int = 1) -> tb.Tile:
    """log(softmax(x)) over an axis that the tile holds whole, as (x - max) - log(sum of exp(x - max))."""
    d = x - x.max(axis)
    return d - tb.log(tb.exp(d).sum(axis))


@tb.fn
def logsumexp(x: tb.Tile, axis: int = 1) -> tb.Tile:
    """log(sum of exp(x)) over an axis that the tile holds whole, which has extent 1 in the result.

    Computed as max + log(sum of exp(x - max)); an infinite maximum is not subtracted, so that the result is it.
    """
    m = x.max(axis)
    m = tb.where(tb.abs(m) < tb.inf, m, 0.0)
    return m + tb.log(tb.exp(x - m).sum(axis))


@tb.fn
def scale(x: tb.Tile, factor: float | tb.f32) -> tb.Tile:
    """x * factor, rounded once."""
    return x * factor


@tb.fn
def layernorm(  # noqa: PLR0917
    x: tb.Tile, w: tb.Tile, b: tb.Tile, n: int, eps: float | tb.f32 = 1e-5, axis: int = 1
) -> tb.Tile:
    """(x - mean) / sqrt(variance + eps) * w + b over an axis that the tile holds whole and that has n valid lanes.

    The variance is that of the n numbers themselves (divided by n), computed from their distances to the mean.
    """
    d = x - x.sum(axis) / n
    return d * tb.rsqrt((d * d).sum(axis) / n + eps) * w + b


@tb.fn
def rmsnorm(x: tb.Tile, w: tb.Tile, n: int, eps: float | tb.f32 = 1e-5, axis: int = 1) -> tb.Tile:
    """x / sqrt(mean of x * x + eps) * w over an axis that the tile holds whole and that has n valid lanes."""
    return x * tb.rsqrt((x * x).sum(axis) / n + eps) * w


@tb.fn
def rope(a: tb.Tile, b: tb.Tile, cosine: tb.Tile, sine: tb.Tile) -> tuple[tb.Tile, tb.Tile]:
    """The points (a, b) turned by the angles with these cosines and sines: two tiles, `a, b = tb.rope(a, b, c, s)`.

    Rotary position embedding (Su et al., RoFormer, 2021) with a and b the two halves of a head, or its even and odd
    columns, whichever the model pairs. Within 3 * 2**-24 * (|a| + |b|).
    """
    return a * cosine - b * sine, b * cosine + a * sine


@tb.fn
def cross_entropy(x: tb.Tile, target: tb.Tile) -> tb.Tile:
    """logsumexp(x) - x[target] of each row, [R, 1]: what -log_softmax gives at the column that `target` (i32, [R, 1])
    names. The tile holds whole rows; a target that is no valid column counts as a logit of 0."""
    return logsumexp(x, 1) - tb.where(tb.iota(x.shape[1], 1) == target, x, 0.0).sum(1)
