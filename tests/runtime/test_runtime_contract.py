"""Calls that break the contract: each with its code, the parameter, both facts, the kernel's place and the fix."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from runtime_support import (
    INCREMENT,
    RUNNING_SUM,
    SCALE,
    OldProducer,
    Producer,
    Site,
    build,
    floats,
    kernel,
    mark,
    variant,
)

from tilebuild.diagnostics import TilebuildError
from tilebuild.runtime import LaunchError, find

X = np.ones((3, 4), np.float32)
Y = np.zeros((3, 4), np.float32)


def refused(launch: Callable[..., Any], code: str, *facts: str) -> None:
    with pytest.raises(LaunchError) as caught:
        launch()
    text = str(caught.value)
    assert caught.value.code == code, text
    for fact in ("src/pkg/kernels.py:7:1: error", "fix: ", *facts):
        assert fact in text


@pytest.fixture
def scale(site: Site) -> Any:
    return find(site.package(SCALE), "scale")


def test_errors_are_value_errors_and_survive_pickling(scale: Any) -> None:
    with pytest.raises(LaunchError) as caught:
        scale()
    assert isinstance(caught.value, (TilebuildError, ValueError))
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.code) == (str(caught.value), "E810")


def test_arguments(scale: Any) -> None:
    call = "scale(x, [y], a)"
    refused(lambda: scale(X), "E810", "a was not given", call)
    refused(lambda: scale(a=1.0), "E810", "x was not given")
    refused(lambda: scale(X, Y, 1.0, 2.0), "E810", "4 positional arguments were given", call)
    refused(lambda: scale(X, Y, 1.0, x=X), "E810", "x was given twice")
    refused(lambda: scale(X, Y, 1.0, alpha=1.0), "E810", "no parameter alpha")
    refused(lambda: scale(X, 1.0, Target="cpu"), "E810", "no parameter Target")


def test_not_an_array(scale: Any) -> None:
    refused(lambda: scale([[1.0]], 1.0), "E811", "x is a list, not an array", "takes f32 arrays")
    refused(lambda: scale(None, 1.0), "E811", "x is a NoneType")
    refused(lambda: scale(np.ndarray, 1.0), "E811", "x")
    refused(lambda: scale(np.ma.masked_less(X, 0), 1.0), "E811", "x is a masked array", ".filled(")
    refused(lambda: scale(Producer((1, 1), None), Y[:1, :1], 1.0), "E811", "x has no memory: its address is null")
    refused(lambda: scale(Producer((1, 1), floats(1), name=b"used_dltensor"), Y[:1, :1], 1.0), "E811", "used_dltensor")
    refused(lambda: scale(Producer((1, 1), floats(1), major=2), Y[:1, :1], 1.0), "E811", "version 2.1", "1.x is read")


def test_dtype(scale: Any) -> None:
    refused(lambda: scale(X.astype(np.float64), 1.0), "E812", "x is f64", "scale takes f32", '.astype("float32")')
    refused(lambda: scale(X.astype(np.int32), 1.0), "E812", "x is i32", "scale takes f32")
    refused(lambda: scale(X, np.zeros((3, 4)), 1.0), "E812", "y is f64", "or leave it out")
    refused(lambda: scale(np.array([["a"]]), 1.0), "E812", "x has the dtype '<U1'", "scale takes f32")
    lanes = Producer((1, 1), floats(1, 2), dtype=(2, 32, 2))
    refused(lambda: scale(lanes, Y[:1, :1], 1.0), "E812", "f32 in 2 lanes")
    torch = pytest.importorskip("torch")
    refused(lambda: scale(torch.ones(3, 4, dtype=torch.bfloat16), 1.0), "E812", "x is bf16", "x.to(torch.float32)")


def test_rank(scale: Any) -> None:
    refused(lambda: scale(X[0], 1.0), "E813", "x has 1 dimensions, shape (4,)", "takes 2: [M, N]")
    refused(lambda: scale(np.float32(1), 1.0), "E813", "x has 0 dimensions")


def test_device(scale: Any) -> None:
    cuda = Producer((3, 4), floats(*range(12)), device=2)
    refused(lambda: scale(cuda, Y, 1.0), "E814", "x is in cuda memory", "cpu reads cpu", "pass x.cpu()")
    refused(lambda: scale(X, cuda, 1.0), "E814", "y is in cuda memory")
    refused(lambda: scale(X, cuda, 1.0, target="cpu"), "E814", "y is in cuda memory")
    pinned = Producer((3, 4), floats(*range(12)), device=3)
    assert scale(pinned, Y, 1.0)[0, 1] == 1
    torch = pytest.importorskip("torch")
    refused(lambda: scale(torch.empty(3, 4, device="meta"), 1.0), "E814", "x is on the device meta", "to the cpu")


def test_read_only_output(scale: Any) -> None:
    y = Y.copy()
    y.flags.writeable = False
    refused(lambda: scale(X, y, 1.0), "E815", "y (numpy.ndarray) is read-only", "scale writes it", "y.copy()")
    refused(lambda: scale(X, Producer((3, 4), floats(*X.flat), flags=1), 1.0), "E815", "y", "is read-only")
    refused(lambda: scale(X, Producer((3, 4), floats(*X.flat), flags=2), 1.0), "E815", "y", "only a copy")


def test_arrays_of_jax_are_never_written(scale: Any) -> None:
    # the class stands for jaxlib's, whose older versions export an unversioned capsule
    class Array(OldProducer):
        __module__ = "jaxlib.xla_extension"

    jax = Array((3, 4), floats(*range(12)))
    assert scale(jax, Y, 1.0)[1, 0] == 4
    refused(lambda: scale(X, jax, 1.0), "E815", "y (jaxlib.xla_extension.", "is read-only")


def test_dimensions_that_disagree(scale: Any) -> None:
    facts = (
        "the dimension M of scale is 3 and 2",
        "x of shape (3, 4) has M = 3 on axis 0",
        "y of shape (2, 4) has M = 2",
    )
    refused(lambda: scale(X, Y[:2], 1.0), "E816", *facts)


def test_a_dimension_twice_in_one_array(site: Site) -> None:
    square = kernel("square", ["x: in f32[N, N]", "y: out i32[N]"], variant(build("mark_1", "ptr:y dim:N")))
    refused(lambda: find(site.package(square), "square")(X), "E816", "N of square is 3 and 4")


def test_computed_extents(site: Site) -> None:
    running_sum = find(site.package(RUNNING_SUM), "running_sum")
    x, y = np.ones(4, np.float32), np.ones(4, np.float32)
    facts = "axis 0 of y, shape (4,), is 4", "takes N + 1 = 5", "N = 4", "pass y of shape (5,)"
    refused(lambda: running_sum(x, y), "E817", *facts)
    shorter = kernel(
        "shorter", ["x: in f32[N]", "y: out i32[N - 5]", "z: out i32[12 // (N - 3)]"],
        variant(build("mark_1", "ptr:y dim:N")),
    )  # fmt: skip
    launch = find(site.package(shorter), "shorter")
    refused(lambda: launch(x), "E817", "axis 0 of y is N - 5", "N = 4")
    refused(lambda: launch(x[:3], z=np.ones(1, np.int32), y=np.ones(1, np.int32)), "E817", "N - 5")
    constant = kernel("constant", ["x: in f32[3]", "y: inout i32[N]"], variant(build("mark_1", "ptr:y dim:N")))
    refused(lambda: find(site.package(constant), "constant")(x, np.ones(1, np.int32)), "E817", "is 4", "takes 3 = 3")


def test_innermost_stride(scale: Any) -> None:
    facts = "the innermost stride of x is 2 elements", "takes 1", "numpy.ascontiguousarray(x)"
    refused(lambda: scale(np.ones((3, 8), np.float32)[:, ::2], 1.0), "E818", *facts)
    refused(lambda: scale(X[:, ::-1], 1.0), "E818", "is -1 elements")
    refused(lambda: scale(X.T, Y.T, 1.0), "E818", "innermost stride of x is 4")
    refused(lambda: scale(X, np.zeros((4, 3), np.float32).T, 1.0), "E818", "innermost stride of y", "or leave it out")
    torch = pytest.importorskip("torch")
    refused(lambda: scale(torch.ones(4, 3).T, 1.0), "E818", "pass x.contiguous()")


def test_overlap(scale: Any, site: Site) -> None:
    refused(lambda: scale(X, X, 1.0), "E819", "y, which scale writes, overlaps x", "x is at 0x")
    both = np.ones((4, 4), np.float32)
    refused(lambda: scale(both[:3], both[1:], 1.0), "E819", "overlaps x")
    refused(lambda: scale(both[1:], both[:3], 1.0), "E819", "overlaps x")
    refused(lambda: scale(both[2::-1], both[1:], 1.0), "E819", "overlaps x")
    scale(both[:2], both[2:], 1.0)
    scale(both[1::-1], both[2:], 1.0)
    repeated = np.lib.stride_tricks.as_strided(Y, (3, 4), (0, 4))
    refused(lambda: scale(X, repeated, 1.0), "E819", "y, which scale writes, may have two elements", "(0, 1)")
    add = kernel("add", ["x: in i32[N]", "y: inout i32[N]"], variant(build("increment", "ptr:y dim:N")))
    a = np.ones(4, np.int32)
    refused(lambda: find(site.package(add), "add")(a, a), "E819", "y, which add writes, overlaps x")


def test_requirements(site: Site) -> None:
    launch = find(site.package(mark("k", 1, requires=("N % 8 == 0", "N <= 64"))), "k")
    assert launch(np.zeros(8, np.int32))[0] == 1
    refused(lambda: launch(np.zeros(9, np.int32)), "E820", "k requires N % 8 == 0", "N = 9")
    refused(lambda: launch(np.zeros(72, np.int32)), "E820", "k requires N <= 64", "N = 72")


@pytest.mark.parametrize(
    ("dtype", "value", "fact"),
    [
        ("f32", "1.0", "str is not a number"),
        ("f32", None, "NoneType is not a number"),
        ("f32", 1j, "complex is not a number"),
        ("f32", np.complex64(1), "numpy.complex64 is not a number"),
        ("f32", np.ones(2), "numpy.ndarray does not convert to one number"),
        ("f32", 1e300, "1e+300 is beyond the largest f32"),
        ("f32", 10**400, "int does not convert to one number"),
        ("f16", 65520.0, "beyond the largest f16"),
        ("bf16", 3.4e38, "beyond the largest bf16"),
        ("i32", 1.0, "the float 1.0 was given for an integer"),
        ("i32", np.float32(1), "numpy.float32 is not an integer"),
        ("i32", 2**31, "2147483648 is not in the range of i32, -2147483648 to 2147483647"),
        ("u8", -1, "-1 is not in the range of u8, 0 to 255"),
        ("i32", np.ones(2, np.int32), "numpy.ndarray does not convert to one integer"),
        ("bool", 1, "int is not a bool"),
    ],
)
def test_scalars(site: Site, dtype: str, value: Any, fact: str) -> None:
    show = kernel("show", ["y: out u32[N]", f"a: scalar {dtype}"], variant(build("slot_bits", "ptr:y dim:N scalar:a")))
    launch = find(site.package(show), "show")
    refused(lambda: launch(np.zeros(1, np.uint32), value), "E821", f"a of show, {dtype}", fact, "show([y], a)")


def test_empty_arrays_that_leave_an_output_unwritten(site: Site) -> None:
    rows = kernel("rows", ["x: in f32[M, N]", "y: out i32[N]"], variant(build("mark_1", "ptr:y dim:N")))
    launch = find(site.package(rows), "rows")
    facts = "an array of rows is empty, and y is not", "x has shape (0, 4)", "y has shape (4,)"
    refused(lambda: launch(X[:0]), "E822", *facts)
    assert launch(X[:, :0]).shape == (0,)


def test_outputs_that_cannot_be_allocated(site: Site, scale: Any) -> None:
    refused(lambda: scale(Producer((3, 4), floats(*X.flat)), 1.0), "E824", "y of scale", "Producer", "shape (3, 4)")
    refused(find(site.package(mark("k", 1)), "k"), "E824", "y of k was left out", "no input tells its dimension N")
    constant = kernel("c", ["y: out f32[3]"], variant(build("mark_1", "ptr:y dim:N")))
    refused(find(site.package(constant), "c"), "E824", "every array was left out")
    half = kernel("half", ["x: in f32[N]", "y: out bf16[N]"], variant(build("mark_1", "ptr:y dim:N")))
    refused(lambda: find(site.package(half), "half")(X[0]), "E824", "NumPy has no bf16")


def test_arrays_that_are_not_plain_memory(scale: Any) -> None:
    swapped = X.astype(X.dtype.newbyteorder())
    refused(lambda: scale(swapped, 1.0), "E825", "x has the byte order of another machine", "newbyteorder")
    torch = pytest.importorskip("torch")
    grad = torch.ones(3, 4, requires_grad=True)
    refused(lambda: scale(grad, 1.0), "E825", "x requires grad", "pass .detach()")
    refused(lambda: scale(torch.ones(3, 4), grad, 1.0), "E825", "y requires grad")
    assert scale(grad.detach(), 1.0).sum() == 12
    refused(lambda: scale(torch.ones(3, 4).to_sparse(), 1.0), "E811", "x cannot be shared through DLPack", "strided")


def test_uneven_strides_and_addresses(scale: Any, site: Site) -> None:
    records = np.zeros((3, 4), [("value", "<f4"), ("tag", "i1")])
    refused(lambda: scale(records["value"], 1.0), "E818", "strides of (20, 5) bytes", "ascontiguousarray")
    odd = np.frombuffer(bytes(49), np.uint8)[1:].view(np.float32).reshape(3, 4)
    refused(lambda: scale(odd, 1.0), "E826", "the first element of x is at address", "aligned to 4 bytes")


def test_nothing_is_written_when_a_call_is_refused(site: Site) -> None:
    launch = find(site.package({**INCREMENT, "requires": ["N >= 4"]}), "increment")
    x = np.ones(3, np.int32)
    with pytest.raises(LaunchError):
        launch(x)
    assert x.tolist() == [1, 1, 1]
