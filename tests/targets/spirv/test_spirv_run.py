"""What the modules compute on a Vulkan device, against float64 and the reference path. All in child processes."""

from __future__ import annotations

import textwrap

import pytest
from spirv_package import ROOT, Package

pytestmark = pytest.mark.usefixtures("vulkan")

FASTNORM = f"""
import sys
sys.path.append({str(ROOT / "scripts")!r})
import numpy as np
import compare
rng = np.random.default_rng(0)
for shape in [(1, 1), (5, 37), (9, 300)]:
    x, y = rng.standard_normal(shape, dtype=np.float32) * 3, rng.standard_normal(shape, dtype=np.float32)
    for case in compare.cases(x, y):
        got = case.kernel(*case.arguments, target="spirv")
        error = np.max(np.abs(got - case.want) / (case.scale + compare.TINY))
        assert error <= compare.BOUND, (case.kernel, shape, error)
        print("ran", case.kernel, shape)
"""

COMPARED = """
import numpy as np
from spirvops import kernels
rng = np.random.default_rng(1)

def check(name, *arguments, exact=True, **shapes):
    kernel = getattr(kernels, name)
    copies = [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]
    got, want = kernel(*arguments, target="spirv", **shapes), kernel.reference(*copies, **shapes)
    got, want = ((r if isinstance(r, tuple) else (r,)) for r in (got, want))
    for n, (a, b) in enumerate(zip(got, want, strict=True)):
        if exact or a.dtype != np.float32:
            np.testing.assert_array_equal(a, b, f"{name}, output {n}")
        else:
            np.testing.assert_allclose(a, b, 5e-6, 1e-30, err_msg=f"{name}, output {n}")
    print("ran", name)

def numbers(shape):
    return rng.integers(-50, 50, shape).astype(np.float32)

def words(shape, dtype):
    return rng.integers(0, 1 << 32, shape, np.uint64).astype(np.uint32).view(dtype)
"""


def run(package: Package, code: str, **environment: str) -> str:
    done = package.run(textwrap.dedent(code), **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_fastnorm_is_within_the_bound(fastnorm: Package) -> None:
    assert run(fastnorm, FASTNORM).count("ran") == 27


def test_operations_do_what_the_reference_does(operations: Package) -> None:
    code = """
    for shape in [(1, 1), (7, 93)]:
        for kind in ("unary", "binary", "compare"):
            for dtype in ("i32", "u32"):
                kind_of = {"i32": "int32", "u32": "uint32"}[dtype]
                check(f"{kind}_{dtype}", words(shape, kind_of), words(shape, kind_of))
        x, y = numbers(shape), numbers(shape)
        y[y == 0] = 3
        check("binary_f32", x, y)
        check("compare_f32", x, y)
        check("unary_f32", abs(x) / 8 + 1, y, exact=False)
        check("booleans", words(shape, "int32") % 3, words(shape, "int32") % 3)
        check("casts", x / 4, words(shape, "int32"), words(shape, "uint32"))
    """
    assert run(operations, COMPARED + textwrap.dedent(code)).count("ran") == 22


def test_tiles_reductions_products_and_views(operations: Package) -> None:
    code = """
    for shape in [(1, 1), (7, 93), (5, 141)]:
        check("reduce_rows", numbers(shape), words(shape, "int32"))
        check("reduce_columns", numbers(shape), words(shape, "uint32"))
        check("filled", numbers(shape))
        y, z = np.empty(shape, np.int32), np.empty(shape, np.float32)
        check("positions", y, z)
        check("batched", numbers((3, 2, *shape)), numbers(5))
    for m, n, k in [(1, 1, 1), (25, 21, 13), (50, 7, 40)]:
        check("product", numbers((m, k)), numbers((n, k)), numbers(n))
    """
    assert run(operations, COMPARED + textwrap.dedent(code)).count("ran") == 18


def test_nan_and_infinity(operations: Package) -> None:
    code = """
    inf, nan = float("inf"), float("nan")
    x = np.array([[inf, -inf, nan, 0.0, -0.0, 89.0, -104.0, 1e-40, -1.0, 128.0, nan, 1.0, 2.0**-149]], np.float32)
    y = np.array([[nan, nan, inf, inf, -inf, nan, 1.0, 0.0, nan, -inf, nan, 0.0, -1.0]], np.float32)
    np.seterr(all="ignore")
    names = ["neg", "abs", "exp", "exp2", "log", "log2", "sqrt", "rsqrt", "recip", "floor", "ceil",
             "round", "trunc"]
    wide = x.astype(np.float64)
    want = [-wide, abs(wide), np.exp(wide), np.exp2(wide), np.log(wide), np.log2(wide), np.sqrt(wide),
            1 / np.sqrt(wide), 1 / wide, np.floor(wide), np.ceil(wide), np.rint(wide), np.trunc(wide)]
    # a device may flush subnormal numbers, arguments or results
    flushable = (abs(wide) < 2.0**-126) & (wide != 0)
    for name, got, expected in zip(names, kernels.unary_f32(x, y, target="spirv"), want, strict=True):
        skipped = flushable | (abs(expected) < 2.0**-126)
        np.testing.assert_allclose(got[~skipped], expected.astype(np.float32)[~skipped], 3e-7, err_msg=name)
    check("binary_f32", x, y)
    check("compare_f32", x, y)
    """
    assert run(operations, COMPARED + textwrap.dedent(code)).count("ran") == 2


def test_accuracy_of_the_functions(operations: Package) -> None:
    """The bounds that docs/spirv.md states, over bit patterns of every exponent."""
    code = """
    np.seterr(all="ignore")
    bits = np.resize(np.arange(0, 1 << 32, 65521, np.uint64), (1640, 40)).astype(np.uint32)
    x = bits.view(np.float32)
    wide = x.astype(np.float64)
    names = ["neg", "abs", "exp", "exp2", "log", "log2", "sqrt", "rsqrt", "recip"]
    want = [-wide, abs(wide), np.exp(wide), np.exp2(wide), np.log(wide), np.log2(wide), np.sqrt(wide),
            1 / np.sqrt(wide), 1 / wide]
    stated = [0, 0, 1.5, 1.5, 1.5, 2, 5, 2, 2.5]
    for name, got, exact, bound in zip(names, kernels.unary_f32(x, x, target="spirv"), want, stated):
        normal = (abs(exact) >= 2.0**-126) & (abs(exact) < 2.0**127) & (abs(wide) >= 2.0**-126) & (abs(wide) < 2.0**126)
        unit = np.spacing(abs(exact).astype(np.float32)).astype(np.float64)
        error = (abs(got - exact) / unit)[normal].max()
        assert error <= bound, (name, error)
        assert (np.isnan(got) == np.isnan(exact)).all(), name
    print("ran")
    """
    assert "ran" in run(operations, COMPARED + textwrap.dedent(code))


def test_a_grid_longer_than_one_axis_of_workgroups(operations: Package) -> None:
    code = """
    x = np.arange(66000 * 2, dtype=np.int32).reshape(66000, 2)
    want = x + 7
    kernels.many(x, 7, target="spirv")
    np.testing.assert_array_equal(x, want)
    print("ran")
    """
    assert "ran" in run(operations, COMPARED + textwrap.dedent(code))


def test_arrays_with_gaps_are_read_and_written_in_place(operations: Package) -> None:
    code = """
    around = np.full((9, 50), 77, np.int32)
    inside = around[2:7, 5:42]
    inside[...] = np.arange(5 * 37).reshape(5, 37)
    want = around.copy()
    want[2:7, 5:42] += 3
    kernels.many(inside, 3, target="spirv")
    np.testing.assert_array_equal(around, want)
    rows = numbers((11, 93))
    check("reduce_rows", rows[::2], words((6, 93), "int32"))
    check("reduce_rows", np.broadcast_to(rows[0], (6, 93)), words((6, 93), "int32"))
    print("ran")
    """
    assert run(operations, COMPARED + textwrap.dedent(code)).count("ran") == 3


def test_a_module_that_is_no_module_is_refused_before_vulkan_sees_it(fastnorm: Package) -> None:
    code = """
    from tilebuild.runtime.devices import DeviceError, spirv
    library = spirv.SpirvLibrary(spirv._state.open(), {"e": b"no module"}, {"e": {"writes": []}})
    try:
        library.function({"entry": "e", "arch": "vulkan1.2", "resources": {}, "slots": [], "grid": []})
    except DeviceError as e:
        print("refused:", e)
    """
    assert "refused: it has no module for e" in run(fastnorm, code)
