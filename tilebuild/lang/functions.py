"""Mathematical functions, predicates and searches, written in the tile language itself: see `library`.

Functions of numbers take and give f32; what else an operation takes is said there. Reductions keep their axis with
extent 1 and see valid lanes only. Coefficients: `python -m tilebuild.targets.cpu.fit`.
"""

from __future__ import annotations

import tilebuild as tb

# sin(r) = r + r*u * P(u), u = r*r on [0.001, 0.617]: 4.0e-09 = 0.07 * 2**-24
_SIN_0 = -1.66666552e-01
_SIN_1 = 8.33218917e-03
_SIN_2 = -1.95182845e-04
# cos(r) = 1 - u/2 + u*u * P(u), u = r*r on [0.01, 0.617]: 1.2e-10 = 0.00 * 2**-24
_COS_0 = 4.16666456e-02
_COS_1 = -1.38873106e-03
_COS_2 = 2.44325638e-05
# atan(t) = t * P(t*t) / Q(t*t) on [1e-12, 1]: 1.4e-09 = 0.02 * 2**-24
_ATAN_P0 = 1.0e00
_ATAN_P1 = 1.13102245e00
_ATAN_P2 = 2.87386745e-01
_ATAN_P3 = 8.96673556e-03
_ATAN_Q0 = 1.0e00
_ATAN_Q1 = 1.46435571e00
_ATAN_Q2 = 5.75507522e-01
_ATAN_Q3 = 5.0767798e-02

# pi / 2 in four parts, the first three of 8 bits: their products with a whole number below 2**16 are exact
# (W. J. Cody and W. Waite, Software Manual for the Elementary Functions, 1980)
_HALF_PI_1 = 1.5703125
_HALF_PI_2 = 0.0004825592041015625
_HALF_PI_3 = 1.2665987014770508e-06
_HALF_PI_4 = 9.92093629470503e-10
_TWO_OVER_PI = 0.6366197466850281
_TRIGONOMETRIC_END = 102900.0  # just below 2**16 * pi / 2
_HALF_PI = 1.5707963267948966
_PI = 3.141592653589793


# -- signs and predicates ---------------------------------------------------------------------------------------------


@tb.fn
def sign(x: tb.Tile) -> tb.Tile:
    """-1, 0 or 1, exact, of f32 or i32; a zero keeps its sign, NaN is NaN."""
    return tb.where(x > 0, 1, tb.where(x < 0, -1, x))


@tb.fn
def isnan(x: tb.Tile) -> tb.Tile:
    """Whether a number is NaN (bool); false for all integers."""
    return x != x  # noqa: PLR0124


@tb.fn
def isinf(x: tb.Tile) -> tb.Tile:
    """Whether a number is infinite (bool)."""
    return tb.abs(x) == tb.inf


@tb.fn
def fma(a: tb.Tile, b: tb.Tile, c: tb.Tile) -> tb.Tile:
    """a * b + c, rounded once where the target fuses the two, else twice; integers wrap."""
    return a * b + c


@tb.fn
def clamp(x: tb.Tile, lo: float | tb.f32, hi: float | tb.f32) -> tb.Tile:
    """min(max(x, lo), hi), exact, of f32, i32 or u32; NaN is NaN."""
    return tb.minimum(tb.maximum(x, lo), hi)


# -- quotients --------------------------------------------------------------------------------------------------------


@tb.fn
def _floordiv(a: tb.Tile, b: tb.Tile) -> tb.Tile:
    """`a // b` of f32: the quotient, rounded to f32, rounded down."""
    return tb.floor(a / b)


@tb.fn
def _mod(a: tb.Tile, b: tb.Tile) -> tb.Tile:
    """`a % b` of f32: a - (a // b) * b, with the sign of b and |a % b| <= |b|; within 2**-23 * |a| + 2**-24 * |b| of
    the exact value, where that is measured around the circle of b. NaN where b is 0 or infinite, or a infinite."""
    r = a - tb.floor(a / b) * b
    end = tb.abs(b)
    r = tb.where(b < 0.0, -r, r)
    # the quotient is rounded, before it is rounded down: the rest may lie one b, or what was rounded, beside the range
    r = tb.where(r < 0.0, r + end, r)
    r = tb.maximum(tb.minimum(tb.where(r >= end, r - end, r), end), 0.0)
    return tb.where(b < 0.0, -r, r)


# -- logarithms, exponentials, powers ---------------------------------------------------------------------------------


@tb.fn
def log1p(x: tb.Tile) -> tb.Tile:
    """log(1 + x), within 4 ulp; -inf at -1, NaN below.

    Computed as log(w) + (x - (w - 1)) / w with w = 1 + x, where the last term makes up for what 1 + x drops of x
    (the method of Kahan's HP-15C handbook, 1982).
    """
    w = 1.0 + x
    y = tb.log(w) + (x - (w - 1.0)) / w
    return tb.where((w > 0.0) & (w < tb.inf), y, tb.log(w))


@tb.fn
def pow(x: tb.Tile, y: tb.Tile) -> tb.Tile:
    """x to the y, of f32; relatively within (4 + 3 * |y * log2(|x|)|) * 2**-23 where the result is normal.

    1 where y is 0 or x is 1, even beside a NaN; of finite negative x only whole y have a power; a zero counts as +0.
    `t ** n` with a literal whole n up to 64 is so many products instead, and takes integers too.
    """
    a, half = tb.abs(x), 0.5 * y
    p = tb.exp2(y * tb.log2(a))
    p = tb.where((a == 1.0) & (tb.abs(y) == tb.inf), 1.0, p)
    whole = tb.floor(y) == y
    p = tb.where(whole & (tb.floor(half) != half) & (x < 0.0), -p, p)
    p = tb.where(whole | (x >= 0.0) | (a == tb.inf), p, tb.nan)
    return tb.where((y == 0.0) | (x == 1.0), 1.0, p)


# -- trigonometry -----------------------------------------------------------------------------------------------------


@tb.fn
def _wave(x: tb.Tile, quarters: float) -> tb.Tile:
    """sin(x + quarters * pi / 2)."""
    n = tb.round(x * _TWO_OVER_PI)
    r = (((x - n * _HALF_PI_1) - n * _HALF_PI_2) - n * _HALF_PI_3) - n * _HALF_PI_4
    u = r * r
    s = r + r * u * ((_SIN_2 * u + _SIN_1) * u + _SIN_0)
    c = (1.0 - 0.5 * u) + u * u * ((_COS_2 * u + _COS_1) * u + _COS_0)
    q = n + quarters
    odd = tb.floor(0.5 * q) != 0.5 * q
    y = tb.where(odd, c, s)
    half = tb.floor(0.5 * q)  # 0, 1, 2, ...: the sign changes each half turn
    y = tb.where(tb.floor(0.5 * half) != 0.5 * half, -y, y)
    return tb.where(tb.abs(x) < _TRIGONOMETRIC_END, y, tb.nan)


@tb.fn
def sin(x: tb.Tile) -> tb.Tile:
    """The sine of x in radians, within 2**-23, for |x| < 1 within 2 ulp; NaN from |x| = 102900 on."""
    return _wave(x, 0.0)


@tb.fn
def cos(x: tb.Tile) -> tb.Tile:
    """The cosine of x in radians, within 2**-23; NaN from |x| = 102900 on."""
    return _wave(x, 1.0)


@tb.fn
def atan2(y: tb.Tile, x: tb.Tile) -> tb.Tile:
    """The angle of the point (x, y) in radians, in [-pi, pi], within 5 ulp where the quotient of the lesser coordinate
    by the greater is normal; a zero counts as +0, so that atan2(0, x) is 0 or pi."""
    a, b = tb.abs(x), tb.abs(y)
    low, high = tb.minimum(a, b), tb.maximum(a, b)
    t = tb.where(low == high, tb.where(high == 0.0, 0.0, 1.0), low / high)
    t = tb.where(tb.isnan(low), low, t)
    u = t * t
    p = ((_ATAN_P3 * u + _ATAN_P2) * u + _ATAN_P1) * u + _ATAN_P0
    q = ((_ATAN_Q3 * u + _ATAN_Q2) * u + _ATAN_Q1) * u + _ATAN_Q0
    r = t * p / q
    r = tb.where(b > a, _HALF_PI - r, r)
    r = tb.where(x < 0.0, _PI - r, r)
    return tb.where(y < 0.0, -r, r)


# -- saturating conversions: `.to(dtype, sat=True)`; a NaN becomes 0 in an integer ------------------------------------


@tb.fn
def _in_i8(x: tb.Tile) -> tb.Tile:
    return tb.where(isnan(x), 0, clamp(x, -128, 127))


@tb.fn
def _in_u8(x: tb.Tile) -> tb.Tile:
    return tb.where(isnan(x), 0, clamp(x, 0, 255))


@tb.fn
def _u32_in_i8(x: tb.Tile) -> tb.Tile:
    return tb.minimum(x, 127)


@tb.fn
def _u32_in_u8(x: tb.Tile) -> tb.Tile:
    return tb.minimum(x, 255)


@tb.fn
def _u32_in_i32(x: tb.Tile) -> tb.Tile:
    return tb.minimum(x, 2147483647)


@tb.fn
def _i32_in_u32(x: tb.Tile) -> tb.Tile:
    return tb.maximum(x, 0)


@tb.fn
def _f32_in_i32(x: tb.Tile) -> tb.Tile:
    # the greatest f32 below the end of the range, which is no f32 itself
    n = tb.where(isnan(x), 0.0, clamp(x, -2147483648.0, 2147483520.0)).to(tb.i32)
    return tb.where(x >= 2147483648.0, 2147483647, n)


@tb.fn
def _f32_in_u32(x: tb.Tile) -> tb.Tile:
    n = tb.where(isnan(x), 0.0, clamp(x, 0.0, 4294967040.0)).to(tb.u32)
    return tb.where(x >= 4294967296.0, 4294967295, n)


@tb.fn
def _in_f16(x: tb.Tile) -> tb.Tile:
    return clamp(x, -65504.0, 65504.0)


@tb.fn
def _in_bf16(x: tb.Tile) -> tb.Tile:
    return clamp(x, -3.3895313892515355e38, 3.3895313892515355e38)


# -- over an axis -----------------------------------------------------------------------------------------------------


@tb.fn
def any(x: tb.Tile, axis: int) -> tb.Tile:
    """Whether any lane of a bool tile is true; false over no lane."""
    return tb.where(x, 1.0, 0.0).max(axis) > 0.0


@tb.fn
def all(x: tb.Tile, axis: int) -> tb.Tile:
    """Whether all lanes of a bool tile are true; true over no lane."""
    return tb.where(x, 1.0, 0.0).min(axis) > 0.0


@tb.fn
def argmax(x: tb.Tile, axis: int) -> tb.Tile:
    """The position (i32) of the greatest number along an axis, of equal ones the first; NaN is greatest."""
    found = (x == x.max(axis)) | isnan(x)
    return tb.where(found, tb.iota(x.shape[axis], axis % 2), 2147483647).min(axis)


@tb.fn
def argmin(x: tb.Tile, axis: int) -> tb.Tile:
    """The position (i32) of the least number along an axis, of equal ones the first; NaN is least."""
    found = (x == x.min(axis)) | isnan(x)
    return tb.where(found, tb.iota(x.shape[axis], axis % 2), 2147483647).min(axis)
