"""Each rule that the reference path checks while it runs, with a kernel that breaks it.

The line that breaks the rule ends in a comment with the code: the error must point there.
"""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import tilebuild as tb
from tilebuild.diagnostics import TilebuildError
from tilebuild.lang.reference import UnwrittenWarning

M, N = tb.dims("M N")
OTHER = tb.dims("OTHER")
X = np.arange(24, dtype=np.float32).reshape(4, 6)
BREAKING = []


def breaking(**arrays):
    """A kernel of x [M, N], v [N] and y [M, N] that is run on the given arrays (by default 4 x 6 f32) and fails."""

    def add(kernel):
        BREAKING.append(pytest.param(kernel, arrays, id=kernel.__name__))
        return kernel

    return add


@tb.fn
def twice(t):
    return t + t


@breaking()
@tb.kernel
def tile_outside(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    i = tb.program(tb.cdiv(M, 3))
    y.tiles(3, N)[i, 0] = x.tiles(3, N)[i + 1, 0]  # E301


@breaking()
@tb.kernel
def tile_outside_below(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    i = tb.program(2)
    y.tiles(2, N)[-i, 0] = x.tiles(2, N)[i, 0]  # E301


@breaking()
@tb.kernel
def index_outside(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.program(1)
    x[M].tiles(N)  # E301


@breaking()
@tb.kernel
def one_tile_by_two_programs(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    i, _ = tb.program(2, 2)
    y.tiles(2, N)[i, 0] = x.tiles(2, N)[i, 0]  # E302


@breaking()
@tb.kernel
def overlapping_views_by_two_programs(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    i = tb.program(2)
    for r in tb.range(i, i + 2):
        y[r].tiles(N)[0] = x[r].tiles(N)[0]  # E302


@breaking()
@tb.kernel
def write_of_an_input(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.program(1)
    x.tiles(M, N)[0, 0] = tb.zeros((M, N))  # E303


@breaking()
@tb.kernel
def read_of_an_output(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.program(1)
    y.T.tiles(N, M)[0, 0]  # E303


@breaking()
@tb.kernel
def read_after_write(x: tb.In[tb.f32, M, N], y: tb.InOut[tb.f32, M, N]):
    i = tb.program(M)
    y.tiles(1, N)[i, 0] = x.tiles(1, N)[i, 0]
    y.tiles(M, 1)[0, 0]  # E306


@breaking()
@tb.kernel
def read_of_what_an_earlier_program_wrote(x: tb.In[tb.f32, M, N], y: tb.InOut[tb.f32, M, N]):
    i = tb.program(M)
    y.tiles(1, N)[i, 0] = y.tiles(1, N)[0, 0]  # E306


@breaking()
@tb.kernel
def write_of_what_an_earlier_program_read(x: tb.In[tb.f32, M, N], y: tb.InOut[tb.f32, M, N]):
    i = tb.program(M)
    t = y.tiles(1, N)[M - 1, 0]
    y.tiles(1, N)[i, 0] = t  # E306


@breaking()
@tb.kernel
def tiles_that_do_not_broadcast(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.program(1)
    x.tiles(2, 3)[0, 0] + x.tiles(2, 2)[0, 0]  # E201


@breaking()
@tb.kernel
def inner_extents_of_dot(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.program(1)
    x.tiles(2, 3)[0, 0] @ x.tiles(2, 3)[0, 0]  # E201


@breaking()
@tb.kernel
def accumulator_of_dot(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.program(1)
    tb.dot(x.tiles(2, 3)[0, 0], x.T.tiles(3, 2)[0, 0], tb.zeros((2, 3)))  # E201


@breaking()
@tb.kernel
def shape_of_a_store(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    i = tb.program(2)
    y.tiles(2, N)[i, 0] = x.tiles(2, N)[i, 0].max(1)  # E201


@breaking(x=X.astype(np.float16))
@tb.kernel
def dtype_of_a_store(x: tb.In[tb.f16, M, N], y: tb.Out[tb.f32, M, N]):
    tb.program(1)
    y.tiles(M, N)[0, 0] = x.tiles(M, N)[0, 0]  # E202


@breaking()
@tb.kernel
def two_dtypes(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.program(1)
    x.tiles(M, N)[0, 0] + tb.iota(N)  # E202


@breaking()
@tb.kernel
def float_with_an_integer_tile(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.program(1)
    tb.iota(N) + 0.5  # E202


@breaking(s=2)
@tb.kernel
def typed_scalar(x: tb.In[tb.f32, M, N], s: tb.i32, y: tb.Out[tb.f32, M, N]):
    tb.program(1)
    x.tiles(M, N)[0, 0] * s  # E202


@breaking()
@tb.kernel
def condition_of_where(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.program(1)
    tb.where(x.tiles(M, N)[0, 0], 1.0, 0.0)  # E202


@breaking()
@tb.kernel
def mixed_dot(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.program(1)
    x.tiles(M, N)[0, 0].to(tb.bf16) @ x.T.tiles(N, M)[0, 0]  # E202


@breaking()
@tb.kernel
def empty_tile_shape(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.program(1)
    tb.zeros((0, 4))  # E203


@breaking()
@tb.kernel
def too_few_tile_extents(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.program(1)
    x.tiles(4)  # E203


@breaking(x=X.astype(np.float16))
@tb.kernel
def arithmetic_on_storage(x: tb.In[tb.f16, M, N], y: tb.Out[tb.f32, M, N]):
    tb.program(1)
    t = x.tiles(M, N)[0, 0]
    twice(t)  # E204-in-the-helper
    t.sum(1)


@breaking()
@tb.kernel
def reduction_of_storage(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.program(1)
    x.tiles(M, N)[0, 0].to(tb.i8).sum(1)  # E204


@breaking()
@tb.kernel
def exponential_of_integers(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.program(1)
    tb.exp(tb.iota(N))  # E204


@breaking()
@tb.kernel
def dot_of_integers(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.program(1)
    tb.iota(N, 0) @ tb.iota(N)  # E204


@breaking()
@tb.kernel
def store_of_a_number(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.program(1)
    y.tiles(M, N)[0, 0] = 0.0  # E205


@breaking()
@tb.kernel
def operation_on_an_array(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.program(1)
    tb.exp(x)  # E205


@breaking()
@tb.kernel
def reduction_of_an_array(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.program(1)
    tb.max(x, 1)  # E205


@breaking()
@tb.kernel
def axis_of_a_number(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.program(1)
    tb.max(3)  # E205


@breaking()
@tb.kernel
def conversion_to_a_python_type(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.program(1)
    x.tiles(M, N)[0, 0].to(float)  # E205


@breaking()
@tb.kernel
def third_axis(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.program(1)
    x.tiles(M, N)[0, 0].sum(2)  # E206


@breaking(x=X.reshape(2, 2, 6))
@tb.kernel
def tiles_of_three_dimensions(x: tb.In[tb.f32, 2, 2, N], y: tb.Out[tb.f32, N]):
    tb.program(1)
    x.tiles(2, 2, N)  # E207


@breaking()
@tb.kernel
def transpose_of_a_vector(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.program(1)
    x[0].T  # noqa: B018  # E207


@breaking()
@tb.kernel
def column_of_a_matrix(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.program(1)
    x.col  # noqa: B018  # E207


@breaking()
@tb.kernel
def nothing_left_of_an_array(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.program(1)
    x[0, 0]  # E207


@breaking()
@tb.kernel
def index_that_is_a_tile(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.program(1)
    x.tiles(1, 1)[tb.zeros((1, 1)), 0]  # E211


@breaking()
@tb.kernel
def too_few_indices(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.program(1)
    x.tiles(1, 1)[0]  # E211


@breaking()
@tb.kernel
def integer_that_f32_rounds(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.program(1)
    x.tiles(M, N)[0, 0] + 16777217  # E331


@breaking()
@tb.kernel
def literal_beyond_i32(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.program(1)
    tb.iota(N) + 2147483648  # E331


@breaking()
@tb.kernel
def literal_beyond_f32(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.program(1)
    tb.full((M, N), 1e39)  # E331


@breaking()
@tb.kernel
def conversion_that_does_not_fit(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.program(1)
    (x.tiles(M, N)[0, 0] * 1e9).to(tb.i32)  # E331


@breaking()
@tb.kernel
def tile_as_a_condition(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.program(1)
    if x.tiles(M, N)[0, 0] > 0.0:  # E114
        pass


@breaking()
@tb.kernel
def two_grids(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.program(1)
    tb.program(1)  # E111


@breaking()
@tb.kernel
def empty_grid(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.program(M // 8)  # E111


@breaking()
@tb.kernel
def broken_requirement(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.require(M == 4, N % 4 == 0)  # E820
    tb.program(1)


def run(kernel, arrays):
    arguments = {"x": X, **arrays}
    if "InOut" in str(inspect.signature(kernel)):
        arguments["y"] = np.zeros_like(X)
    return kernel.reference(**arguments)


@pytest.mark.parametrize(("kernel", "arrays"), BREAKING)
def test_broken_rule(kernel, arrays):
    lines, first = inspect.getsourcelines(kernel)
    [(line, code)] = [(first + n, text.split("# E")[1][:3]) for n, text in enumerate(lines) if "# E" in text]
    with pytest.raises(TilebuildError) as caught:
        run(kernel, arrays)
    [diagnostic] = caught.value.diagnostics
    assert diagnostic.code == f"E{code}"
    assert "M=4" in diagnostic.notes[0][1] or "N=6" in diagnostic.notes[0][1]
    if "in-the-helper" not in "".join(lines):
        assert (diagnostic.span.file, diagnostic.span.line) == (__file__, line)
        assert lines[line - first].rstrip() in str(caught.value)
    else:
        assert diagnostic.span.line == inspect.getsourcelines(twice)[1] + 2


def test_a_message_states_the_program_the_facts_and_the_fix():
    with pytest.raises(TilebuildError) as caught:
        tile_outside.reference(X)
    text = str(caught.value)
    assert "error[E301]: tile [2, 0] is outside the tile space of x, which has [2, 1] tiles" in text
    assert "note: in program (1) of a [2] grid, M=4, N=6" in text
    assert "fix: let every index run to tb.cdiv" in text


def test_elements_that_nothing_writes_are_a_warning():
    with pytest.warns(UnwrittenWarning) as caught:
        y = first_rows.reference(X)
    [warning] = caught
    assert "no program wrote 12 of the 24 elements of y, the first at [2, 0]" in str(warning.message)
    assert "E332" in str(warning.message)
    assert warning.filename == __file__
    assert np.isnan(y[2:]).all()
    np.testing.assert_array_equal(y[:2], X[:2])


@tb.kernel
def first_rows(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.program(1)
    y.tiles(2, N)[0, 0] = x.tiles(2, N)[0, 0]


@tb.kernel
def no_grid(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    y.tiles(M, N)[0, 0] = x.tiles(M, N)[0, 0]


def test_a_kernel_without_a_grid():
    with pytest.raises(TilebuildError, match=r"E111.*no_grid has no tb.program"):
        no_grid.reference(X)


@tb.kernel
def foreign_dimension(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.program(OTHER)


def test_a_dimension_that_no_parameter_has_is_no_name():
    with pytest.raises(NameError, match="OTHER"):
        foreign_dimension.reference(X)


@tb.kernel
def in_place(y: tb.InOut[tb.f32, M, N]):
    i = tb.program(M)
    y.tiles(1, N)[i, 0] = y.tiles(1, N)[i, 0] + y[i].tiles(N)[0]


def test_an_inout_that_each_program_keeps_to_itself_is_fine():
    y = X.copy()
    assert in_place.reference(y) is y
    np.testing.assert_array_equal(y, 2 * X)


def test_operations_of_a_launch_outside_one():
    with pytest.raises(TilebuildError, match=r"E111.*tb.program is called outside a kernel"):
        tb.program(1)
