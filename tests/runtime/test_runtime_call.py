"""Calls that are right: results, binding, allocation, strides, ragged sizes, scalars."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import pytest
from runtime_support import (
    INCREMENT,
    RUNNING_SUM,
    SCALE,
    TOTALS,
    OldProducer,
    Producer,
    Site,
    build,
    floats,
    kernel,
    variant,
)

from tilebuild.runtime import find

SIZES = [(1, 1), (3, 5), (37, 1000), (1, 513), (513, 1)]


def matrix(m: int, n: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(m * n).standard_normal((m, n), dtype=np.float32)


@pytest.mark.parametrize(("m", "n"), SIZES)
def test_numpy_outputs_are_written_and_returned(site: Site, m: int, n: int) -> None:
    scale = find(site.package(SCALE), "scale")
    x, y = matrix(m, n), np.full((m, n), np.nan, np.float32)
    assert scale(x, y, 2.5) is y
    np.testing.assert_array_equal(y, x * np.float32(2.5))


@pytest.mark.parametrize(("m", "n"), SIZES)
def test_torch_outputs_are_allocated_like_the_input(site: Site, m: int, n: int) -> None:
    torch = pytest.importorskip("torch")
    scale = find(site.package(SCALE), "scale")
    x = torch.from_numpy(matrix(m, n))
    y = scale(x, 2.5)
    assert (type(y), y.dtype, y.device) == (torch.Tensor, torch.float32, x.device)
    assert torch.equal(y, x * 2.5)
    given = torch.empty_like(x)
    assert scale(x, given, 3.0) is given
    assert torch.equal(given, x * 3.0)


def test_numpy_outputs_are_allocated_with_computed_extents(site: Site) -> None:
    y = find(site.package(RUNNING_SUM), "running_sum")(np.arange(5, dtype=np.float32))
    assert (type(y), y.dtype) == (np.ndarray, np.float32)
    np.testing.assert_array_equal(y, [0, 0, 1, 3, 6, 10])


def test_several_outputs_come_as_a_tuple_and_may_be_given_in_part(site: Site) -> None:
    totals = find(site.package(TOTALS), "totals")
    x = np.array([1, 5, 2], np.float32)
    total, largest = totals(x)
    assert (total.tolist(), largest.tolist()) == ([8.0], [5.0])
    mine = np.zeros(1, np.float32)
    total, largest = totals(x, largest=mine)
    assert largest is mine
    assert (total.tolist(), mine.tolist()) == ([8.0], [5.0])


def test_an_inout_is_changed_in_place_and_returned(site: Site) -> None:
    x = np.array([1, -2], np.int32)
    assert find(site.package(INCREMENT), "increment")(x) is x
    assert x.tolist() == [2, -1]


def test_every_way_to_bind_arguments(site: Site) -> None:
    scale = find(site.package(SCALE), "scale")
    x = matrix(2, 3)
    expected = x * np.float32(2)
    y = np.empty_like(x)
    calls = [
        scale(x, 2.0), scale(x, a=2.0), scale(x=x, a=2.0), scale(a=2.0, x=x), scale(x, y, 2.0), scale(x, y, a=2.0),
        scale(x, 2.0, y=y), scale(x, y=y, a=2.0), scale(y=y, a=2.0, x=x), scale(x, 2.0, target="cpu"),
    ]  # fmt: skip
    for result in calls:
        np.testing.assert_array_equal(result, expected)


def test_outer_strides_are_free(site: Site) -> None:
    scale = find(site.package(SCALE), "scale")
    wide, out = matrix(8, 10), np.zeros((4, 10), np.float32)
    x, y = wide[::2, 2:7], out[:, 1:6]
    scale(x, y, 2.0)
    np.testing.assert_array_equal(y, x * 2)
    assert not out[:, 0].any()
    assert not out[:, 6:].any()
    np.testing.assert_array_equal(scale(wide[::-1], 1.0), wide[::-1])
    repeated = np.broadcast_to(wide[0], (3, 10))
    np.testing.assert_array_equal(scale(repeated, 1.0), repeated)


def test_an_axis_of_extent_one_may_have_any_stride(site: Site) -> None:
    scale = find(site.package(SCALE), "scale")
    column = matrix(6, 4)[:, 1:2]
    assert column.strides[-1] != 4 or column.shape[-1] == 1
    np.testing.assert_array_equal(scale(column, 2.0), column * 2)
    assert scale(matrix(4, 4).T[:, :1], 2.0).shape == (4, 1)


def test_read_only_inputs_are_read(site: Site) -> None:
    scale = find(site.package(SCALE), "scale")
    x = matrix(3, 4)
    x.flags.writeable = False
    np.testing.assert_array_equal(scale(x, 2.0), x * 2)


def test_remembered_geometries_do_not_mix_and_stay_bounded(site: Site) -> None:
    scale = find(site.package(SCALE), "scale")
    for n in [*range(1, 300), *range(1, 300, 7)]:
        x = matrix(2, n)
        np.testing.assert_array_equal(scale(x, 2.0), x * 2)
        np.testing.assert_array_equal(scale(x[:, :1], 2.0), x[:, :1] * 2)
    assert len(scale._contract._geometries) <= 256


def test_empty_outputs_need_no_launch(site: Site) -> None:
    scale = find(site.package(SCALE), "scale")
    assert scale(np.empty((0, 5), np.float32), 2.0).shape == (0, 5)
    y = np.empty((3, 0), np.float32)
    assert scale(np.empty((3, 0), np.float32), y, 2.0) is y


BITS = [
    ("f32", 1.5, struct.unpack("<I", struct.pack("<f", 1.5))[0]),
    ("f32", -0.0, 0x80000000),
    ("f32", 3, 0x40400000),
    ("f32", True, 0x3F800000),
    ("f32", math.inf, 0x7F800000),
    ("f32", np.float64(0.1), 0x3DCCCCCD),
    ("f32", np.array(2.0), 0x40000000),
    ("f32", np.int64(-1), 0xBF800000),
    ("f16", 1.0, 0x3C00),
    ("bf16", 1.0, 0x3F80),
    ("bf16", 1.00390625, 0x3F80),  # halfway to the next: to even
    ("bf16", 1.01171875, 0x3F82),  # halfway: to even, upwards
    ("bf16", 1.0039062500000002, 0x3F81),  # above halfway by less than an f32 can say
    ("bf16", -1.0039062499999998, 0xBF80),
    ("bf16", math.nan, 0x7FC0),
    ("bf16", -math.inf, 0xFF80),
    ("i32", -5, 0xFFFFFFFB),
    ("i32", np.int8(7), 7),
    ("i32", np.array(-2), 0xFFFFFFFE),
    ("u32", 2**32 - 1, 0xFFFFFFFF),
    ("i8", -128, 0xFFFFFF80),
    ("u8", 255, 255),
    ("bool", True, 1),
    ("bool", np.bool_(False), 0),
]


@pytest.mark.parametrize(("dtype", "value", "bits"), BITS, ids=str)
def test_scalars_arrive_as_the_bits_of_their_dtype(site: Site, dtype: str, value: Any, bits: int) -> None:
    show = kernel("show", ["y: out u32[N]", f"a: scalar {dtype}"], variant(build("slot_bits", "ptr:y dim:N scalar:a")))
    y = np.zeros(1, np.uint32)
    find(site.package(show), "show")(y, value)
    assert hex(y[0]) == hex(bits)


def test_bf16_rounds_as_torch_does(site: Site) -> None:
    torch = pytest.importorskip("torch")
    show = kernel("show", ["y: out u32[N]", "a: scalar bf16"], variant(build("slot_bits", "ptr:y dim:N scalar:a")))
    launch = find(site.package(show), "show")
    y = np.zeros(1, np.uint32)
    for value in np.random.default_rng(0).standard_normal(200).astype(np.float32).tolist():
        expected = torch.tensor(value).to(torch.bfloat16).view(torch.int16).item() & 0xFFFF
        launch(y, value)
        assert y[0] == expected


DTYPES = ["bool", "int8", "uint8", "int32", "uint32", "float16", "float32"]
SHORT = {"int8": "i8", "uint8": "u8", "int32": "i32", "uint32": "u32", "float16": "f16", "float32": "f32"}


@pytest.mark.parametrize(
    ("library", "name"), [*(("numpy", n) for n in DTYPES), *(("torch", n) for n in [*DTYPES, "bfloat16"])]
)
def test_every_dtype_is_taken_and_allocated(site: Site, library: str, name: str) -> None:
    made = pytest.importorskip(library)
    short = {**SHORT, "bfloat16": "bf16"}.get(name, name)
    # the entry writes int32, so y is not read here: only dtypes and shapes are the subject
    take = kernel(
        "take",
        [f"x: in {short}[N]", f"z: out {short}[N]", "y: out i32[N]"],
        variant(build("mark_1", "ptr:y dim:N ptr:x ptr:z")),
    )
    dtype = made.dtype(name) if library == "numpy" else getattr(made, name)
    z, y = find(site.package(take), "take")(made.ones(3, dtype=dtype))
    assert (z.dtype, tuple(z.shape)) == (dtype, (3,))
    assert y.tolist() == [1, 1, 1]


@pytest.mark.parametrize("kind", [Producer, OldProducer])
def test_any_dlpack_producer_is_read(site: Site, kind: type[Producer]) -> None:
    scale = find(site.package(SCALE), "scale")
    y = np.zeros((2, 2), np.float32)
    compact = kind((2, 2), floats(1, 2, 3, 4))
    for _ in range(2):  # the type is known from the first call on
        assert scale(compact, y, 2.0).tolist() == [[2, 4], [6, 8]]
    padded = kind((2, 2), floats(1, 2, 9, 3, 4, 9), strides=(3, 1), byte_offset=64)
    assert scale(padded, y, 2.0).tolist() == [[2, 4], [6, 8]]
    target = kind((2, 2), floats(0, 0, 0, 0))
    assert scale(np.ones((2, 2), np.float32), target, 3.0) is target
    assert list(target.values) == [3, 3, 3, 3]
