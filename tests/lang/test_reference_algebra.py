# ruff: noqa: PLR0917 (constants are written in capitals; hypothesis passes by position)
"""The valid-region algebra, lane by lane: a lane of a result is valid if the lanes it is made of are, and holds what
dense arithmetic on them gives; every other lane is poison.

Values are small integers, exact in float32, so that dense NumPy on the valid lanes is exactly right.
"""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tilebuild as tb
from tilebuild.diagnostics import TilebuildError
from tilebuild.lang.reference import UnwrittenWarning
from tilebuild.lang.reference.tile import Tile

M, N, P, Q, K = tb.dims("M N P Q K")
extents = st.integers(1, 5)
quick = settings(max_examples=150, deadline=None)


@st.composite
def tiles(draw, shape=None):
    rows, cols = shape or (draw(extents), draw(extents))
    valid = draw(st.integers(0, rows)), draw(st.integers(0, cols))
    values = draw(st.lists(st.integers(-50, 50), min_size=rows * cols, max_size=rows * cols))
    return Tile(np.array(values, np.float32).reshape(rows, cols), valid, "f32")


@st.composite
def broadcasting(draw, count):
    """Tiles whose extents agree or are 1."""
    shape = draw(extents), draw(extents)
    return [draw(tiles(tuple(draw(st.sampled_from([1, n])) for n in shape))) for _ in range(count)]


def lanes(tile):
    """Position -> value, of the valid lanes."""
    return {p: float(tile.data[p]) for p in itertools.product(*map(range, tile.valid))}


def operand_lane(tile, position):
    """The lane that broadcasting takes, or None where it is not valid."""
    return lanes(tile).get(tuple(p if n > 1 else 0 for p, n in zip(position, tile.shape)))


def check(tile, shape, expected):
    """The tile has exactly the expected valid lanes, and poison elsewhere."""
    assert tile.shape == shape
    assert lanes(tile) == expected
    assert np.isnan(tile.data).sum() == tile.data.size - len(expected)


def combined(operands, function):
    shape = tuple(max(t.shape[axis] for t in operands) for axis in (0, 1))
    found = {p: [operand_lane(t, p) for t in operands] for p in itertools.product(*map(range, shape))}
    return shape, {p: function(*values) for p, values in found.items() if None not in values}


@quick
@given(broadcasting(2))
def test_elementwise(operands):
    a, b = operands
    check(a * b, *combined(operands, lambda x, y: x * y))


@quick
@given(broadcasting(3))
def test_where(operands):
    condition, a, b = operands
    check(tb.where(condition > 0.0, a, b), *combined(operands, lambda c, x, y: x if c > 0 else y))


@quick
@given(tiles(), st.sampled_from([0, 1]), st.sampled_from(["sum", "max", "min"]))
def test_reduce(tile, axis, name):
    rest = {p[1 - axis] for p in itertools.product(*map(range, tile.valid))}
    if not tile.valid[axis]:  # an identity stands for no lanes at all
        rest = set(range(tile.valid[1 - axis]))
    function, identity = {"sum": (sum, 0), "max": (max, -np.inf), "min": (min, np.inf)}[name]
    expected = {}
    for r in rest:
        values = [v for p, v in lanes(tile).items() if p[1 - axis] == r]
        expected[(0, r) if axis == 0 else (r, 0)] = float(function(values)) if values else identity
    check(getattr(tile, name)(axis), (1, tile.shape[1]) if axis == 0 else (tile.shape[0], 1), expected)


@quick
@given(st.data())
def test_dot(data):
    m, n, k = (data.draw(extents) for _ in range(3))
    a, b = data.draw(tiles((m, k))), data.draw(tiles((k, n)))
    product = {
        (i, j): float(sum(a.data[i, x] * b.data[x, j] for x in range(min(a.valid[1], b.valid[0]))))
        for i, j in itertools.product(range(a.valid[0]), range(b.valid[1]))
    }
    check(a @ b, (m, n), product)
    acc = data.draw(tiles((m, n)))
    check(tb.dot(a, b, acc), (m, n), {p: v + lanes(acc)[p] for p, v in product.items() if p in lanes(acc)})


@quick
@given(tiles())
def test_transpose_and_fill(tile):
    check(tile.T, tile.shape[::-1], {p[::-1]: v for p, v in lanes(tile).items()})
    everywhere = itertools.product(*map(range, tile.shape))
    check(tile.fill(99.0), tile.shape, {p: lanes(tile).get(p, 99.0) for p in everywhere})


@tb.kernel
def copy_corner(
    x: tb.In[tb.f32, M, N],
    y: tb.Out[tb.f32, P, Q],
    *,
    BM: tb.Const = 2,
    BN: tb.Const = 3,
    TI: tb.Const = 1,
    TJ: tb.Const = 1,
):
    tb.program(1)
    y.tiles(BM, BN)[TI - 1, TJ - 1] = x.tiles(BM, BN)[TI - 1, TJ - 1]


@quick
@given(*[st.integers(1, 7)] * 4, *[st.integers(1, 4)] * 2, st.data())
def test_load_and_store_are_clipped_to_both_arrays(m, n, p, q, bm, bn, data):
    i = data.draw(st.integers(0, (min(m, p) - 1) // bm))
    j = data.draw(st.integers(0, (min(n, q) - 1) // bn))
    x = np.arange(m * n, dtype=np.float32).reshape(m, n)
    y = np.full((p, q), -1, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnwrittenWarning)
        copy_corner.reference(x, y, BM=bm, BN=bn, TI=i + 1, TJ=j + 1)
    for r, c in itertools.product(range(p), range(q)):
        inside = i * bm <= r < (i + 1) * bm and j * bn <= c < (j + 1) * bn and r < m and c < n
        assert y[r, c] == (x[r, c] if inside else -1)


@tb.kernel
def product_plus_row(
    a: tb.In[tb.f32, M, K], b: tb.In[tb.f32, N, K], v: tb.In[tb.f32, N], s: tb.Out[tb.f32, M], y: tb.Out[tb.f32, M, N],
    *, BM: tb.Const = 2, BN: tb.Const = 2, BK: tb.Const = 2
):  # fmt: skip
    i = tb.program(tb.cdiv(M, BM))
    total = tb.zeros((BM, 1))
    for j in tb.range(tb.cdiv(N, BN)):
        acc = tb.zeros((BM, BN))
        for k in tb.pipeline(tb.cdiv(K, BK), stages=3):
            acc = tb.dot(a.tiles(BM, BK)[i, k], b.T.tiles(BK, BN)[k, j], acc)
        t = acc + v.tiles(BN)[j]
        y.tiles(BM, BN)[i, j] = t
        total += t.sum(1)
    s.col.tiles(BM, 1)[i, 0] = total


@settings(max_examples=60, deadline=None)
@given(*[st.integers(1, 7)] * 6)
def test_tile_extents_never_show_in_a_result(m, n, k, bm, bn, bk):
    r = np.random.default_rng(m * 64 + n * 8 + k)
    a, b, v = (r.integers(-9, 9, s).astype(np.float32) for s in ((m, k), (n, k), (n,)))
    s, y = product_plus_row.reference(a, b, v, BM=bm, BN=bn, BK=bk)
    np.testing.assert_array_equal(y, a @ b.T + v)
    np.testing.assert_array_equal(s, (a @ b.T + v).sum(1))


def test_lanes_are_lost_where_a_loop_adds_ragged_tiles():
    """What the compiler's loop rule (E305) refuses, seen as a wrong sum."""
    x = np.ones((1, 10), np.float32)
    assert ragged_sum.reference(x).item() == 6
    assert filled_sum.reference(x).item() == 10


@tb.kernel
def ragged_sum(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M], *, BN: tb.Const = 4):
    i = tb.program(M)
    acc = tb.zeros((1, BN))
    for j in tb.range(tb.cdiv(N, BN)):
        acc += x.tiles(1, BN)[i, j]
    y.col.tiles(1, 1)[i, 0] = acc.sum(1)


@tb.kernel
def filled_sum(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M], *, BN: tb.Const = 4):
    i = tb.program(M)
    acc = tb.zeros((1, BN))
    for j in tb.range(tb.cdiv(N, BN)):
        acc += x.tiles(1, BN)[i, j].fill(0.0)
    y.col.tiles(1, 1)[i, 0] = acc.sum(1)


def test_integers_without_lanes_have_no_extreme():
    empty = Tile(np.zeros((2, 3), np.int32), (2, 0), "i32")
    assert empty.sum(1).live.tolist() == [[0], [0]]
    with pytest.raises(TilebuildError, match="E330"):
        empty.max(1)
