"""Every operation of the table, on ragged tiles, against a definition of its own in float64 or exact integers."""

from __future__ import annotations

import math
import operator

import numpy as np
import pytest

import tilebuild as tb
from tilebuild.diagnostics import TilebuildError
from tilebuild.lang.reference.dtypes import NUMPY
from tilebuild.lang.reference.tile import Tile
from tilebuild.optable import OPERATORS, OPS

ULP = 2.0**-23  # relative spacing of float32; "ulp" operations are within 4 of them, the others within 1/2
SHAPE, VALID = (5, 7), (3, 6)
OTHER_VALID = (4, 2)
BOTH = (3, 2)  # what is valid in both

# name -> the value of one lane, on Python floats, integers (before wrapping) or bools
DEFINITIONS = {
    "neg": operator.neg,
    "abs": abs,
    "exp": math.exp,
    "exp2": lambda x: 2.0**x,
    "log": lambda x: math.log(x) if x > 0 else math.nan,
    "log2": lambda x: math.log2(x) if x > 0 else math.nan,
    "sqrt": lambda x: math.sqrt(x) if x >= 0 else math.nan,
    "rsqrt": lambda x: 1 / math.sqrt(x) if x > 0 else math.nan,
    "recip": lambda x: 1 / x,
    "floor": math.floor,
    "ceil": math.ceil,
    "round": round,
    "trunc": math.trunc,
    "not": lambda x: not x if isinstance(x, bool) else ~x,
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "floordiv": lambda a, b: a // b if b else 0,
    "mod": lambda a, b: a % b if b else 0,
    "shl": lambda a, b: a << (b & 31),
    "shr": lambda a, b: a >> (b & 31),
    "maximum": max,
    "minimum": min,
    "and": operator.and_,
    "or": operator.or_,
    "xor": operator.xor,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "eq": operator.eq,
    "ne": operator.ne,
    "sum": lambda *lanes: math.fsum(lanes) if isinstance(lanes[0], float) else sum(lanes),
    "prod": lambda *lanes: math.prod(lanes),
    "max": lambda *lanes: max(lanes),
    "min": lambda *lanes: min(lanes),
}
PYTHON = {
    "Add": operator.add, "Sub": operator.sub, "Mult": operator.mul, "Div": operator.truediv,
    "FloorDiv": operator.floordiv, "Mod": operator.mod, "LShift": operator.lshift, "RShift": operator.rshift,
    "BitAnd": operator.and_,
    "BitOr": operator.or_, "BitXor": operator.xor, "USub": operator.neg, "Invert": operator.invert, "Lt": operator.lt,
    "LtE": operator.le, "Gt": operator.gt, "GtE": operator.ge, "Eq": operator.eq, "NotEq": operator.ne,
}  # fmt: skip
CASES = [(name, dtype) for name, op in OPS.items() for dtype in op.dtypes]


def sample(dtype: str, seed: int) -> np.ndarray:
    r = np.random.default_rng(seed)
    if dtype == "f32":
        return r.uniform(-9, 9, SHAPE).astype(np.float32)
    if dtype == "bool":
        return r.integers(0, 2, SHAPE).astype(bool)
    # small values, so that equality happens, and large ones, so that arithmetic wraps
    limits = np.iinfo(NUMPY[dtype])
    small, large = r.integers(0, 3, SHAPE), r.integers(limits.min, limits.max, SHAPE)
    return np.where(r.integers(0, 2, SHAPE), small, large).astype(NUMPY[dtype])


def ragged(dtype: str, seed: int = 0, valid: tuple[int, int] = VALID) -> Tile:
    return Tile(sample(dtype, seed), valid, dtype)


def spellings(name: str):
    """Every way in which a kernel can write the operation."""
    ways = [PYTHON[symbol] for symbol, op in OPERATORS.items() if op == name]
    if name in tb.__all__:
        ways.append(getattr(tb, name))
    if name == "abs":
        ways.append(abs)
    assert ways, f"{name} of the table cannot be written"
    return ways


def check(result: Tile, lanes: list[list[object]], valid: tuple[int, int], dtype: str, name: str) -> None:
    assert (result.dtype, result.valid) == (dtype, valid)
    if dtype == "f32":
        tolerance = {"exact": 0.0, "rounded": ULP / 2, "ulp": 4 * ULP}[OPS[name].accuracy]
        np.testing.assert_allclose(result.live.astype(np.float64), np.array(lanes, np.float64), tolerance, 0)
        outside = np.isnan(result.data)
    elif dtype == "bool":
        assert result.live.tolist() == lanes
        outside = result.data
    else:
        wrapped = [[int(np.array(v & 0xFFFFFFFF, np.uint32).astype(NUMPY[dtype])) for v in row] for row in lanes]
        assert result.live.tolist() == wrapped
        outside = result.data == {"i32": -(2**31), "u32": 2**32 - 1}[dtype]
    assert outside[valid[0] :].all()
    assert outside[:, valid[1] :].all()


def test_the_definitions_cover_the_table():
    assert set(DEFINITIONS) == set(OPS)


@pytest.mark.parametrize(("name", "dtype"), [c for c in CASES if OPS[c[0]].kind == "unary"])
def test_unary(name, dtype):
    tile = ragged(dtype)
    lanes = [[DEFINITIONS[name](v) for v in row] for row in tile.live.tolist()]
    for way in spellings(name):
        check(way(tile), lanes, VALID, dtype, name)


@pytest.mark.parametrize(("name", "dtype"), [c for c in CASES if OPS[c[0]].kind in ("binary", "compare")])
def test_binary(name, dtype):
    a, b = ragged(dtype, 1), ragged(dtype, 2, OTHER_VALID)
    rows = zip(a.data[: BOTH[0], : BOTH[1]].tolist(), b.data[: BOTH[0], : BOTH[1]].tolist())
    lanes = [[DEFINITIONS[name](v, w) for v, w in zip(*row)] for row in rows]
    result = "bool" if OPS[name].result == "bool" else dtype
    for way in spellings(name):
        check(way(a, b), lanes, BOTH, result, name)


@pytest.mark.parametrize(("name", "dtype"), [c for c in CASES if OPS[c[0]].kind in ("binary", "compare")])
def test_with_a_number_on_either_side(name, dtype):
    a = ragged(dtype, 3)
    number = {"f32": 2.5, "i32": 2, "u32": 2, "bool": True}[dtype]
    result = "bool" if OPS[name].result == "bool" else dtype
    for way in spellings(name):
        right = [[DEFINITIONS[name](v, number) for v in row] for row in a.live.tolist()]
        left = [[DEFINITIONS[name](number, v) for v in row] for row in a.live.tolist()]
        check(way(a, number), right, VALID, result, name)
        check(way(number, a), left, VALID, result, name)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(("name", "dtype"), [c for c in CASES if OPS[c[0]].kind == "reduce"])
def test_reduce(name, dtype, axis):
    tile = ragged(dtype, 4)
    if name == "sum" and dtype == "f32":  # all of one sign: the bound of a sum is relative to its terms
        tile = abs(tile)
    live = tile.live.tolist()
    lanes = [[DEFINITIONS[name](*c) for c in zip(*live)]] if axis == 0 else [[DEFINITIONS[name](*r)] for r in live]
    valid = (1, VALID[1]) if axis == 0 else (VALID[0], 1)
    for result in (getattr(tile, name)(axis), getattr(tb, name)(tile, axis), getattr(tile, name)(axis=axis - 2)):
        assert result.shape == ((1, SHAPE[1]) if axis == 0 else (SHAPE[0], 1))
        check(result, lanes, valid, dtype, name)


@pytest.mark.parametrize("name", [n for n in OPS if OPS[n].kind == "unary" and "f32" in OPS[n].dtypes])
def test_a_scalar_computes_in_f32(name):
    result = getattr(tb, name)(0.7)
    assert type(result) is np.float32
    assert result == pytest.approx(DEFINITIONS[name](float(np.float32(0.7))), rel=4 * ULP)


@pytest.mark.parametrize("name", ["maximum", "minimum", "max", "min"])
def test_extremes_propagate_nan(name):
    tile = Tile(np.array([[1, np.nan, 2]], np.float32), (1, 3), "f32")
    result = getattr(tb, name)(tile, 1 if OPS[name].kind == "reduce" else 1.5)
    assert np.isnan(result.data[0, 0 if OPS[name].kind == "reduce" else 1])


@pytest.mark.parametrize(("name", "integers"), [("min", (3, 1, 2)), ("max", (1, 3))])
def test_extremes_of_integers(name, integers):
    result = getattr(tb, name)(*integers)
    assert (type(result), result) == (int, {"min": 1, "max": 3}[name])


def test_conversions():
    tile = Tile(np.array([[-1.75, 2.5, 300.0, np.nan]], np.float32), (1, 3), "f32")
    assert tile.to(tb.i32).live.tolist() == [[-1, 2, 300]]
    assert tile.to(tb.i32).to(tb.u8).live.tolist() == [[255, 2, 44]]
    assert tile.to(tb.bool).live.tolist() == [[True, True, True]]
    assert (tile < 0.0).to(tb.f32).live.tolist() == [[1.0, 0.0, 0.0]]
    assert tile.to(tb.f16).to(tb.f32).live.tolist() == [[-1.75, 2.5, 300.0]]


INTEGER_RANGES = {"i8": (-128, 127), "u8": (0, 255), "i32": (-(2**31), 2**31 - 1), "u32": (0, 2**32 - 1)}
ROUNDED = {"trunc": math.trunc, "nearest": round, "floor": math.floor, "ceil": math.ceil}


@pytest.mark.parametrize("how", ROUNDED)
@pytest.mark.parametrize("dtype", INTEGER_RANGES)
@pytest.mark.parametrize("source", ["f32", "f16", "bf16"])
def test_saturating_conversions_of_floats(source, dtype, how):
    low, high = INTEGER_RANGES[dtype]
    values = [0.5, -0.5, 1.5, 2.5, -2.5, 254.5, 127.25, -128.75, 3e9, 5e9, -3e9, 2147483648.0, 4294967296.0, np.inf]
    tile = Tile(np.array([[*values, -np.inf, np.nan]], np.float32), (1, len(values) + 2), "f32").to(getattr(tb, source))
    result = tile.to(getattr(tb, dtype), round=how, sat=True)
    lanes = tile.to(tb.f32).data[0].tolist()
    want = [0 if math.isnan(v) else min(max(ROUNDED[how](v) if math.isfinite(v) else v, low), high) for v in lanes]
    assert (result.dtype, result.data[0].tolist()) == (dtype, want)


@pytest.mark.parametrize("dtype", INTEGER_RANGES)
@pytest.mark.parametrize("source", INTEGER_RANGES)
def test_conversions_between_integers(source, dtype):
    low, high = INTEGER_RANGES[source]
    values = [v for v in (low, -1, 0, 1, 127, 128, 255, 256, 2**31 - 1, 2**31, high) if low <= v <= high]
    tile = Tile(np.array([values], NUMPY[source]), (1, len(values)), source)
    low, high = INTEGER_RANGES[dtype]
    assert tile.to(getattr(tb, dtype), sat=True).data[0].tolist() == [min(max(v, low), high) for v in values]
    wrapped = [(v - low) % (high - low + 1) + low for v in values]
    assert tile.to(getattr(tb, dtype)).data[0].tolist() == wrapped


@pytest.mark.parametrize(("dtype", "most"), [("f16", 65504.0), ("bf16", 3.3895313892515355e38)])
def test_saturating_conversions_to_narrow_floats(dtype, most):
    tile = Tile(np.array([[1.0, 3.4e38, -3.4e38, np.nan]], np.float32), (1, 4), "f32")
    got = tile.to(getattr(tb, dtype), sat=True).to(tb.f32).data[0]
    np.testing.assert_array_equal(got, np.array([1, most, -most, np.nan], np.float32))
    assert np.isinf(tile.to(getattr(tb, dtype)).to(tb.f32).data[0, 1])


@pytest.mark.parametrize(
    ("source", "dtype", "how"), [("i32", "f32", "nearest"), ("f32", "f16", "floor"), ("f32", "i8", "up")]
)
def test_roundings_that_do_not_exist(source, dtype, how):
    with pytest.raises(TilebuildError, match="does not round by"):
        ragged(source).to(getattr(tb, dtype), round=how)


@pytest.mark.parametrize(
    ("value", "dtype", "fits"),
    [
        (2147483520.0, "i32", True),
        (2147483648.0, "i32", False),
        (-2147483648.0, "i32", True),
        (-2147483904.0, "i32", False),
    ]
    + [(4294967040.0, "u32", True), (4294967296.0, "u32", False), (-0.5, "u32", True), (-1.0, "u32", False)]
    + [(127.9, "i8", True), (128.0, "i8", False), (math.nan, "i32", False), (math.inf, "i32", False)],
)
def test_conversions_to_integers_fit_or_are_refused(value, dtype, fits):
    tile = tb.full((1, 1), value)
    if fits:
        assert tile.to(getattr(tb, dtype)).data.item() == math.trunc(value)
    else:
        with pytest.raises(TilebuildError, match="E331"):
            tile.to(getattr(tb, dtype))


def test_bf16_rounds_to_nearest_even():
    r = np.random.default_rng(5)
    bits = r.integers(0, 2**32, 4000, np.uint32).reshape(1, -1)
    bits[0, :64] = (bits[0, :64] & np.uint32(0xFFFF0000)) | np.uint32(0x8000)  # ties
    values = bits.view(np.float32)
    values = np.where(np.isfinite(values) & (abs(values) < 1e38), values, np.float32(1))
    rounded = Tile(values, values.shape, "f32").to(tb.bf16).to(tb.f32).data
    below = (values.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)  # towards zero
    above = ((values.view(np.uint32) & np.uint32(0xFFFF0000)) + np.uint32(0x10000)).view(np.float32)
    for v, lo, hi, found in zip(*(a[0].astype(np.float64) for a in (values, below, above, rounded))):
        even = lo if (int(np.float32(lo).view(np.uint32)) >> 16) % 2 == 0 else hi
        nearest = lo if abs(v - lo) < abs(v - hi) else hi if abs(v - hi) < abs(v - lo) else even
        assert found == nearest


def test_creation():
    assert tb.full((2, 3), 1.5).live.tolist() == [[1.5] * 3] * 2
    assert tb.full((1, 2), 7, tb.u32).dtype == "u32"
    assert np.isneginf(tb.full((1, 1), -tb.inf).data).all()
    assert [tb.zeros((2, 2), d).live.tolist() for d in (tb.f32, tb.i32, tb.bool)] == [[[0, 0], [0, 0]]] * 3
    assert tb.iota(3, 0).live.tolist() == [[0], [1], [2]]
    assert tb.iota(3).live.tolist() == [[0, 1, 2]]
    assert tb.iota(3, 1).dtype == "i32"
    assert tb.full((1, 1), 0.1, tb.bf16).live.item() == 0.10009765625


def test_where_selects_and_keeps_to_what_is_valid_in_all():
    c = ragged("f32", 6, (5, 6)) > 0.0
    a, b = ragged("f32", 7, (4, 7)), ragged("f32", 8, (5, 3))
    result = tb.where(c, a, b)
    assert result.valid == (4, 3)
    expected = [
        [x if k else y for k, x, y in zip(*rows)] for rows in zip(*(t.data[:4, :3].tolist() for t in (c, a, b)))
    ]
    assert result.live.tolist() == expected
    numbers = tb.where(c, 1.0, -1.0)
    assert (numbers.dtype, numbers.live.tolist()) == ("f32", np.where(c.live, 1.0, -1.0).tolist())


@pytest.mark.parametrize(("bounds", "expected"), [((3,), [0, 1, 2]), ((2, 4), [2, 3]), ((0,), []), ((3, 2), [])])
def test_loops_are_ranges(bounds, expected):
    assert list(tb.range(*bounds)) == expected
    assert list(tb.pipeline(*bounds, stages=3)) == expected


def test_the_other_integers():
    assert list(tb.unroll(2)) == [0, 1]
    assert [tb.cdiv(a, 4) for a in (0, 1, 4, 5)] == [0, 1, 1, 2]
    with pytest.raises(TypeError, match="a loop takes an end"):
        tb.range(1, 2, 3)
