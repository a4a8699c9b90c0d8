# ruff: noqa: PLR0917 (constants are written in capitals; kernels have as many arrays as they need)
"""How a call of `kernel.reference` becomes arrays, dimensions, scalars and constants."""

from __future__ import annotations

import numpy as np
import pytest

import tilebuild as tb
from tilebuild.diagnostics import TilebuildError

M, N = tb.dims("M N")
L = tb.dims("L")
X = np.arange(6, dtype=np.float32).reshape(2, 3)
V = np.arange(3, dtype=np.float32)


@tb.kernel
def scaled(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N], s: tb.f32, b: tb.f32, *, BN: tb.Const = 2):
    i, j = tb.program(M, tb.cdiv(N, BN))
    y.tiles(1, BN)[i, j] = x.tiles(1, BN)[i, j] * s + b


@pytest.mark.parametrize("form", ["all", "left out", "keywords", "mixed", "output by keyword"])
def test_outputs_may_be_left_out_and_arguments_named(form):
    y = np.zeros_like(X)
    result = {
        "all": lambda: scaled.reference(X, y, 2.0, 1),
        "left out": lambda: scaled.reference(X, 2.0, 1),
        "keywords": lambda: scaled.reference(b=1, s=2.0, x=X),
        "mixed": lambda: scaled.reference(X, 2.0, b=1),
        "output by keyword": lambda: scaled.reference(X, 2.0, 1, y=y),
    }[form]()
    np.testing.assert_array_equal(result, X * 2 + 1)
    assert result.dtype == np.float32
    assert (result is y) == (form in ("all", "output by keyword"))


@tb.kernel
def split(x: tb.In[tb.f32, M, 2 * N], a: tb.Out[tb.f32, M, N], n: tb.Out[tb.i32, 1, N + 1]):
    i = tb.program(M)
    if i == 0:
        n.tiles(1, N + 1)[0, 0] = tb.iota(N + 1) * N
    a.tiles(1, N)[i, 0] = x.tiles(1, N)[i, 1]


def test_extents_may_be_expressions_and_several_outputs_are_a_tuple():
    x = np.arange(12, dtype=np.float32).reshape(2, 6)
    a = np.empty((2, 3), np.float32)
    first, second = split.reference(x, a=a)
    assert first is a
    np.testing.assert_array_equal(a, x[:, 3:])
    np.testing.assert_array_equal(second, [[0, 3, 6, 9]])
    assert second.dtype == np.int32


@tb.kernel
def rows(q: tb.In[tb.f32, L, M, N], w: tb.In[tb.f32, N], o: tb.Out[tb.f32, L, M]):
    b, i = tb.program(L, M)
    o[b].col.tiles(1, 1)[i, 0] = (q[b].tiles(1, N)[i, 0] * w.tiles(N)[0]).sum(1)


def test_views_of_more_dimensions_and_any_outer_strides():
    r = np.random.default_rng(0)
    q = r.integers(-9, 9, (3, 4, 5)).astype(np.float32)
    for strided in (q, q[::-1], q[:, ::2], q[::2, ::-1]):
        np.testing.assert_array_equal(rows.reference(strided, V[[0, 1, 2, 1, 0]]), strided @ V[[0, 1, 2, 1, 0]])


@tb.kernel
def typed(
    h: tb.In[tb.f16, N], u: tb.In[tb.u8, N], c: tb.In[tb.bool, N], n: tb.i32, k: tb.bool, y: tb.Out[tb.f32, N],
    z: tb.Out[tb.bool, N]
):  # fmt: skip
    tb.program(1)
    t = tb.where(c.tiles(N)[0], h.tiles(N)[0].to(tb.f32), -1.0)
    y.tiles(N)[0] = t + (u.tiles(N)[0].to(tb.i32) + n).to(tb.f32)
    z.tiles(N)[0] = c.tiles(N)[0] ^ k


def test_dtypes():
    h, u, c = V.astype(np.float16) / 3, np.array([1, 2, 255], np.uint8), np.array([True, False, True])
    y, z = typed.reference(h, u, c, -3, True)
    np.testing.assert_array_equal(y, np.where(c, h.astype(np.float32), -1) + u - 3)
    np.testing.assert_array_equal(z, ~c)


@tb.kernel
def doubled(x: tb.In[tb.bf16, M, N], y: tb.Out[tb.bf16, M, N]):
    i = tb.program(M)
    y.tiles(1, N)[i, 0] = (x.tiles(1, N)[i, 0].to(tb.f32) * 2.01).to(tb.bf16)


def test_torch_tensors_bf16_included():
    torch = pytest.importorskip("torch")
    x = torch.linspace(-3, 3, 12).reshape(3, 4)
    np.testing.assert_array_equal(scaled.reference(x, 2.0, 1.0).numpy(), (x * 2 + 1).numpy())
    y = doubled.reference(x.bfloat16())
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, (x.bfloat16().float() * 2.01).bfloat16())
    assert doubled.reference(x.bfloat16(), out := torch.empty(3, 4, dtype=torch.bfloat16)) is out
    assert torch.equal(out, y)


REFUSED = [
    ("E810", lambda: scaled.reference(X)),
    ("E810", lambda: scaled.reference(X, 2.0, 1.0, BM=3)),
    ("E810", lambda: scaled.reference(X, 2.0, 1.0, BN=0)),
    ("E810", lambda: scaled.reference(X, 2.0, 1.0, BN=1.0)),
    ("E811", lambda: scaled.reference([[1.0]], 2.0, 1.0)),
    ("E812", lambda: scaled.reference(X.astype(np.float64), 2.0, 1.0)),
    ("E813", lambda: scaled.reference(V, 2.0, 1.0)),
    ("E815", lambda: scaled.reference(X, np.broadcast_to(X, X.shape), 2.0, 1.0)),
    ("E816", lambda: scaled.reference(X, np.zeros((2, 4), np.float32), 2.0, 1.0)),
    ("E817", lambda: split.reference(X[:, :2], np.zeros((2, 2), np.float32), np.zeros((1, 3), np.int32))),
    ("E818", lambda: scaled.reference(X.T[:, :2], 2.0, 1.0)),
    ("E819", lambda: scaled.reference(X, X[:], 2.0, 1.0)),
    ("E821", lambda: scaled.reference(X, "2", 1.0)),
    ("E822", lambda: rows.reference(np.zeros((1, 2, 0), np.float32), np.zeros(0, np.float32))),
    ("E824", lambda: split.reference(np.zeros((2, 6), np.float32))),
    ("E105", lambda: unannotated.reference(X)),
    ("E106", lambda: goes_elsewhere.reference(X)),
    ("E106", lambda: goes_round.reference(X)),
    ("E106", lambda: other_parameters.reference(X)),
    ("E107", lambda: no_value.reference(X)),
    ("E823", lambda: no_variant.reference(X)),
]


@pytest.mark.parametrize(("code", "call"), REFUSED)
def test_what_is_refused(code, call):
    with pytest.raises(TilebuildError) as caught:
        call()
    assert [d.code for d in caught.value.diagnostics] == [code]


def test_nothing_to_do_for_empty_arrays():
    assert scaled.reference(np.zeros((0, 3), np.float32), 1.0, 1.0).shape == (0, 3)


def _negated(x, y, BM):
    i = tb.program(tb.cdiv(M, BM))
    y.tiles(BM, N)[i, 0] = -x.tiles(BM, N)[i, 0]


@tb.kernel
def unannotated(x, y: tb.Out[tb.f32, M, N]):
    tb.program(M)


@tb.kernel(variants=[tb.V(BM=1, when="N > 9")], otherwise="X")
def goes_elsewhere(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N], *, BM: tb.Const):
    tb.program(M)


@tb.kernel(variants=[tb.V(BM=1, when="N > 9")], otherwise="goes_round")
def goes_round(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N], *, BM: tb.Const):
    tb.program(M)


@tb.kernel(variants=[tb.V(BM=1, when="N > 9")], otherwise="scaled")
def other_parameters(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N], *, BM: tb.Const):
    tb.program(M)


@tb.kernel
def no_value(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N], *, BM: tb.Const):
    tb.program(M)


@tb.kernel(variants=[tb.V(BM=1, when="N > 9")])
def no_variant(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N], *, BM: tb.Const):
    tb.program(M)


@tb.kernel(
    variants=[tb.V(BM=1, when="N == 1"), tb.V(BM=2, WHICH=2, target="cpu", when="N % 2 == 0 and N <= 4")],
    otherwise="which_of_the_others",
)
def which(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N], *, BM: tb.Const, WHICH: tb.Const = 1):
    i = tb.program(tb.cdiv(M, BM))
    y.tiles(BM, N)[i, 0] = tb.full((BM, N), 100.0 * WHICH + BM)


@tb.kernel(variants=[tb.V(BM=3, when="N >= 3"), tb.V(BM=4)])
def which_of_the_others(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N], *, BM: tb.Const, DEPTH: tb.Const = 5):
    i = tb.program(tb.cdiv(M, BM))
    y.tiles(BM, N)[i, 0] = tb.full((BM, N), 10.0 * DEPTH + BM)


@pytest.mark.parametrize(
    ("n", "overrides", "expected"),
    [(1, {}, 101), (2, {}, 202), (4, {}, 202), (3, {}, 53), (2, {"BM": 7}, 207), (1, {"WHICH": 9}, 901)]
    + [(5, {"DEPTH": 6}, 63), (6, {"BM": 1, "DEPTH": 1}, 11)],
)
def test_the_first_variant_whose_guard_holds_is_taken(n, overrides, expected):
    assert set(which.reference(np.zeros((2, n), np.float32), **overrides).ravel()) == {expected}


@tb.fn
def centred(t):
    return t - row_mean(t)


@tb.fn
def row_mean(t):
    """Uses the kernel's own N."""
    return t.sum(1) / N


@tb.kernel
def uses_helpers(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    i = tb.program(M)
    y.tiles(1, 8)[i, 0] = centred(x.tiles(1, 8)[i, 0])


def test_helpers_see_the_dimensions_of_the_launch():
    for n in (3, 2):
        x = X[:, :n]
        np.testing.assert_array_equal(uses_helpers.reference(x), x - x.mean(1, keepdims=True))


ANNOTATIONS = """
import tilebuild as tb
from tilebuild import In as Input, dims

M, N = dims("M N")

@tb.kernel
def total(x: Input[tb.f32, M, N + 1], y: tb.Out[tb.f32, M, 1], n: "tb.Out[tb.i32, N]", *, BN: tb.Const = 2):
    i = tb.program(M)
    acc = tb.zeros((1, 1))
    for j in range(tb.cdiv(N + 1, BN)):
        acc += x.tiles(1, BN)[i, j].sum(1)
    y.tiles(1, 1)[i, 0] = acc
    if i == 0:
        n.tiles(N)[0] = tb.iota(N)
"""


@pytest.mark.parametrize("head", ["", "from __future__ import annotations\n"])
def test_annotations_may_be_values_or_text(head):
    module = {"__name__": "annotated"}
    exec(compile(head + ANNOTATIONS, "annotated.py", "exec", dont_inherit=True), module)
    y, n = module["total"].reference(X, n=np.zeros(2, np.int32))
    np.testing.assert_array_equal(y, X.sum(1, keepdims=True))
    np.testing.assert_array_equal(n, [0, 1])
