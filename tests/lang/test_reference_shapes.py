"""Slices, concatenations, interleavings and reshapes on the reference path: values, valid regions, refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tilebuild as tb
from tilebuild.diagnostics import TilebuildError
from tilebuild.lang.reference.tile import Tile


def tile(valid: tuple[int, int], shape: tuple[int, int] = (4, 6), dtype: str = "f32") -> Tile:
    numpy = np.float32 if dtype == "f32" else np.int32
    return Tile(np.arange(shape[0] * shape[1]).reshape(shape).astype(numpy), valid, dtype)


def test_a_slice_keeps_the_axis_that_it_does_not_cut() -> None:
    result = tb.slice(tile((3, 6)), (0, 2), (4, 3))
    assert (result.shape, result.valid) == ((4, 3), (3, 3))
    np.testing.assert_array_equal(result.live, tile((4, 6)).data[:3, 2:5])
    rows = tb.slice(tile((4, 5)), (1, 0), (2, 6))
    assert (rows.shape, rows.valid) == ((2, 6), (2, 5))


def test_concat_and_interleave_keep_the_rows_that_both_have() -> None:
    a, b = tile((3, 6)), tile((2, 6))
    joined, turned = tb.concat(a, b), tb.interleave(a, b)
    assert (joined.valid, turned.valid) == ((2, 12), (2, 12))
    np.testing.assert_array_equal(joined.live, np.concatenate([a.data, b.data], 1)[:2])
    np.testing.assert_array_equal(turned.live[:, 1::2], b.data[:2])
    below = tb.concat(tile((4, 5)), tile((4, 3)), axis=0)
    assert (below.shape, below.valid) == ((8, 6), (8, 3))


@pytest.mark.parametrize("shape", [(8, 3), (2, 12), (3, 8), (1, 24), (24, 1)], ids=str)
def test_a_reshape_goes_row_by_row(shape: tuple[int, int]) -> None:
    result = tb.reshape(tile((4, 6)), shape)
    assert result.valid == shape
    np.testing.assert_array_equal(result.data, np.arange(24).reshape(shape))


def test_a_reshape_to_its_own_shape_keeps_what_is_valid() -> None:
    assert tb.reshape(tile((2, 3)), (4, 6)).valid == (2, 3)


@pytest.mark.parametrize(
    ("code", "make"),
    [
        ("E208", lambda: tb.slice(tile((4, 5)), (0, 2), (4, 3))),
        ("E208", lambda: tb.concat(tile((4, 5)), tile((4, 6)))),
        ("E208", lambda: tb.interleave(tile((4, 6)), tile((4, 5)))),
        ("E208", lambda: tb.reshape(tile((3, 6)), (8, 3))),
        ("E203", lambda: tb.slice(tile((4, 6)), (0, 4), (4, 3))),
        ("E203", lambda: tb.slice(tile((4, 6)), (-1, 0), (4, 3))),
        ("E203", lambda: tb.reshape(tile((4, 6)), (5, 5))),
        ("E201", lambda: tb.concat(tile((4, 6)), tile((4, 6), dtype="i32"))),
        ("E201", lambda: tb.concat(tile((4, 6)), tile((3, 6), (3, 6)))),
        ("E201", lambda: tb.interleave(tile((4, 6)), tile((4, 3), (4, 3)))),
        ("E206", lambda: tb.concat(axis=1)),
        ("E205", lambda: tb.reshape(1.0, (4, 6))),
    ],
)
def test_refusals(code: str, make: Callable[[], Any]) -> None:
    with pytest.raises(TilebuildError, match=code):
        make()
