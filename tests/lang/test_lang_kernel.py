"""The objects that the decorators and the annotations make, before anything is executed."""

from __future__ import annotations

import copy
import inspect
import pickle
import pydoc

import pytest

import tilebuild as tb
import tilebuild.runtime

M, N = tb.dims("M, N")


@tb.kernel(variants=[tb.V(BM=4, when="N <= 8", target="cpu"), tb.V(BM=1)], otherwise="other")
def guarded(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N], eps: tb.f32, *, BM: tb.Const):
    """y = x"""
    raise AssertionError("a launch executes the built library, not this body")


@tb.fn
def helper(t, u=2.0):
    """t times u"""
    return t * u


def test_a_kernel_looks_like_its_function():
    assert (guarded.__name__, guarded.__qualname__, guarded.__module__) == ("guarded", "guarded", __name__)
    assert guarded.__doc__ == "y = x"
    assert list(inspect.signature(guarded).parameters) == ["x", "y", "eps", "BM"]
    assert repr(guarded) == f"<tilebuild kernel {__name__}.guarded(x, y, eps, *, BM)>"
    assert "y = x" in pydoc.render_doc(guarded)
    assert repr(guarded.variants) == "(V(BM=4, when='N <= 8', target='cpu'), V(BM=1))"
    assert guarded.otherwise == "other"


@pytest.mark.parametrize("made", [guarded, helper])
def test_it_is_pickled_and_copied_by_reference(made):
    assert pickle.loads(pickle.dumps(made)) is made
    assert copy.deepcopy(made) is made


def test_a_call_finds_the_launcher_once_and_passes_everything_on(monkeypatch):
    found, calls = [], []

    def find(module, name):
        found.append((module, name))
        return lambda *args, **kwargs: calls.append((args, kwargs)) or "result"

    monkeypatch.setattr(tilebuild.runtime, "find", find)
    fresh = tb.kernel(guarded.__wrapped__)
    assert [fresh(1, 2), fresh(1, eps=3, target="cpu")] == ["result"] * 2
    assert found == [(__name__, "guarded")]
    assert calls == [((1, 2), {}), ((1,), {"eps": 3, "target": "cpu"})]


def test_a_helper_is_an_ordinary_function_elsewhere():
    assert helper(3.0) == 6.0
    assert helper(3.0, u=1) == 3.0
    assert repr(helper) == f"<tilebuild helper {__name__}.helper>"


def test_dimensions_are_expressions_over_names():
    assert [str(d) for d in (M, N)] == ["M", "N"]
    assert str(tb.dims("K")) == "K"
    from tilebuild.plan.expr import parse

    for made, value in (
        (2 * N + 1, 11), (1 + N * 2, 11), (N - 1, 4), (9 - N, 4), (N // 2 * M, 6), (11 // N, 2), (N % 3, 2), (8 % N, 3),
        (-N + M, -2), ((M + 1) * (N - M), 8), (tb.cdiv(N, 2), 3), (N * M // 4 - M % 2, 2),
    ):  # fmt: skip
        assert parse(str(made)).evaluate({"M": 3, "N": 5}) == value, made
    assert repr(tb.In[tb.f32, M, N + 1, 4]) == "tb.In[tb.f32, M, (N + 1), 4]"
    assert repr(tb.InOut[tb.i32, M]) == "tb.InOut[tb.i32, M]"


@pytest.mark.parametrize("names", ["", "M M", "M 2N", "M-N"])
def test_names_that_are_no_dimensions(names):
    with pytest.raises(ValueError, match="give different names"):
        tb.dims(names)


@pytest.mark.parametrize("item", [(tb.f32,), (M, N), (tb.f32, "M"), (float, M)])
def test_annotations_that_describe_no_array(item):
    with pytest.raises(TypeError, match="give a dtype, then"):
        tb.In[item]


def test_unknown_names():
    with pytest.raises(AttributeError, match="no attribute 'exq'") as caught:
        tb.exq  # noqa: B018
    assert caught.value.obj is tb
    assert not hasattr(tb, "__wrapped__")
