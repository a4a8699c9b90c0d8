"""Which names a kernel can use, however they came into its file; nothing of the file is executed."""

from __future__ import annotations

from pathlib import Path

import pytest
from kernel_source import findings, in_file, in_kernel, lowered, only_finding, write

from tilebuild.frontend.discover import discover

BODY = """
def k(x: {tb}In[{tb}f32, M, N], y: {tb}Out[{tb}f32, M, N], *, BM: {tb}Const = 4):
    i, j = {tb}program({tb}cdiv(M, BM), {tb}cdiv(N, 8))
    y.tiles(BM, 8)[i, j] = {value}
"""


def kernel(head: str, tb: str = "tb.", value: str = "x.tiles(BM, 8)[i, j]") -> str:
    dims = "" if "dims(" in head else f'M, N = {tb}dims("M N")\n'
    return f"{head}\n{dims}\n\n@{tb}kernel" + BODY.format(tb=tb, value=value)


MEMBERS = "kernel, In, Out, Const, f32, dims, program, cdiv"
BY_ASSIGNMENT = """\
import tilebuild as tb
kernel, In, Out, Const = tb.kernel, tb.In, tb.Out, tb.Const
f32 = tb.f32
dims = tb.dims
M, N = dims("M N")
program = tb.program
cdiv: object = tb.cdiv"""
TYPE_CHECKING = """\
import tilebuild as tb
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from tilebuild import Tile"""
ONE_BY_ONE = """\
import tilebuild as tb
M = tb.dims("M")
N = tb.dims("N,")
A, B = tb.dims("A, B")"""
SCRIPT = """\
import tilebuild as tb
M, N = tb.dims("M N")
if __name__ == "__main__":
    M, N = 3, 4"""
IMPORTS = {
    "alias": kernel("import tilebuild as t", "t."),
    "whole name": kernel("import tilebuild", "tilebuild."),
    "submodule": kernel("import tilebuild.lang", "tilebuild."),
    "names": kernel(f"from tilebuild import {MEMBERS}", ""),
    "names of the language's modules": kernel(f"from tilebuild.lang.types import {MEMBERS}", ""),
    "try": kernel("try:\n    import tilebuild as tb\nexcept ImportError:\n    tb = None"),
    "second name": kernel("import tilebuild\ntb = tilebuild"),
    "names by assignment": kernel(BY_ASSIGNMENT, ""),
    "future": kernel("from __future__ import annotations\nimport tilebuild as tb"),
    "type checking": kernel(TYPE_CHECKING),
    "one dimension at a time": kernel(ONE_BY_ONE),
    "a part for scripts": kernel(SCRIPT),
}


@pytest.mark.parametrize("name", IMPORTS)
def test_ways_to_import(name: str, tmp_path: Path) -> None:
    write(tmp_path, IMPORTS[name])
    assert [k.name for k in discover(tmp_path)] == ["k"]
    assert findings(tmp_path) == []


def test_a_file_that_only_names_tilebuild(tmp_path: Path) -> None:
    write(tmp_path, "# tilebuild\ndef kernel(f): return f\n@kernel\ndef k(): pass\n")
    assert discover(tmp_path) == []


HELPERS = """\
import tilebuild as tb
SCALE = 3.0
HALF = SCALE
N = tb.dims("N")


@tb.fn
def f(t, by=SCALE):
    return t * by
"""
MORE = """\
import tilebuild as tb
from . import helpers
from .helpers import f, HALF
SCALE = 7.0


@tb.fn
def g(t):
    return f(t) + SCALE
"""
USES = {
    "relative": ("from .helpers import f, SCALE", "f(x.tiles(BM, 8)[i, j]) * SCALE"),
    "absolute": ("from pkg.helpers import f as g", "g(x.tiles(BM, 8)[i, j], 2.0)"),
    "all": ("from .helpers import *", "f(x.tiles(BM, 8)[i, j], by=HALF)"),
    "through another file": ("from .more import g, HALF", "g(x.tiles(BM, 8)[i, j]) * HALF"),
    "a dimension": ("from .helpers import N as COLUMNS", "x.tiles(BM, 8)[i, j] * COLUMNS"),
}


@pytest.mark.parametrize("name", USES)
def test_helpers_of_other_files(name: str, tmp_path: Path) -> None:
    statement, value = USES[name]
    write(tmp_path, kernel(f"import tilebuild as tb\n{statement}", value=value), helpers=HELPERS, more=MORE)
    assert findings(tmp_path) == []


def test_a_helper_uses_the_constants_of_its_own_file(tmp_path: Path) -> None:
    write(
        tmp_path,
        kernel("import tilebuild as tb\nfrom .helpers import f\nSCALE = 5.0", value="f(x.tiles(BM, 8)[i, j])"),
        helpers=HELPERS,
    )
    (func,) = lowered(tmp_path)
    assert 'value = "3.0"' in str(func)
    assert 'value = "5.0"' not in str(func)


def test_files_that_import_each_other(tmp_path: Path) -> None:
    a = kernel("import tilebuild as tb\nfrom .helpers import f\nA = 2.0", value="f(x.tiles(BM, 8)[i, j])")
    write(tmp_path, a, helpers=f"{HELPERS}\n\nfrom pkg.kernels import k\n")
    assert findings(tmp_path) == []


X = "x.tiles(BM, 8)[i, j]"
CONSTANTS = {
    "literals": ("A, B = 2.0, -3\nC: float = 0.5\n_D = True", f"{X} * A * B * C if _D else {X}"),
    "the last assignment": ("A = 2.0\nA = 3.0", f"{X} * A"),
    "several names": ("A = B = 2.0", f"{X} * A * B"),
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_constants(name: str, tmp_path: Path) -> None:
    head, value = CONSTANTS[name]
    write(tmp_path, kernel(f"import tilebuild as tb\n{head}", value=value))
    assert findings(tmp_path) == []


LATER = "it is defined under a condition, or changed later"
FOREIGN = {
    "other module": ("import math", "math.pi", "it is the module math"),
    "submodule": ("import os.path as p", "p", "it is the module os.path"),
    "other package": ("from math import pi", "pi", "it is imported from math, which is no file of this package"),
    "missing": ("from .helpers import g", "g", "it is not defined in src/pkg/helpers.py"),
    "module of the package": (
        "from . import helpers",
        "helpers.f",
        "it is a module; write `from pkg.helpers import ...`",
    ),
    "too far up": ("from .... import g", "g", "it is imported from ., which is no file of this package"),
    "computed": ("A = 2 * 3", "A", "it is a module-level value that is not a literal"),
    "unpacked": ("A, *B = 1, 2", "B", "it is a module-level value that is not a literal"),
    "list": ("[A, B] = 1, 2", "A", "it is a module-level value that is not a literal"),
    "class": ("class A:\n    pass", "A", "it is a class"),
    "async function": ("async def A():\n    B = 3", "A", "it is an async function"),
    "conditional": ("if True:\n    A = 3", "A", LATER),
    "changed": ("A = 3\nA += 1", "A", LATER),
    "deleted": ("A = 3\ndel A", "A", LATER),
    "loop": ("for A in (1, 2):\n    pass", "A", LATER),
    "named on the way": ("print(A := 3)", "A", LATER),
    "conditional function": ("if True:\n    @tb.fn\n    def A(t):\n        return t", "A", LATER),
    "global": ("A = 3\ndef f():\n    global A\n    A = 4", "A", "it is changed by a function (`global`)"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_names_that_a_kernel_cannot_use(name: str, tmp_path: Path) -> None:
    head, value, what = FOREIGN[name]
    used = value.split(".")[0]
    found = only_finding(
        tmp_path,
        kernel(f"import tilebuild as tb\n{head}", value=f"{X} * «{used}»{value[len(used) :]}"),
        helpers=HELPERS,
    )
    assert (found.code, found.message) == ("E101", f"a kernel cannot use {used}: {what}")
    assert found.fix == "use parameters, locals, tb.*, tb.dims, literal constants and tb.fn helpers of this package"


@pytest.mark.parametrize(
    ("head", "message", "fix"),
    [
        (
            "def f(t):\n    return t",
            "f is a plain function: a kernel calls only tb.fn helpers",
            "decorate it with @tb.fn",
        ),
        (
            "@tb.kernel\ndef f(y: tb.Out[tb.f32, 4]):\n    i = tb.program(1)\n    y.tiles(4)[i] = tb.zeros((1, 4))",
            "f is a kernel function: a kernel calls only tb.fn helpers",
            "",
        ),
    ],
)
def test_functions_that_are_no_helpers(head: str, message: str, fix: str, tmp_path: Path) -> None:
    found = only_finding(tmp_path, kernel(f"import tilebuild as tb\n{head}", value=f"«f»({X})"))
    assert (found.code, found.message, found.fix) == ("E101", message, fix)


F = "@tb.fn\ndef f({}):\n    {}\n\n\n"
BAD_HELPERS = {
    "itself": (F.format("t", "return f(t)"), "f calls itself: a helper is inlined where it is called", "use a loop"),
    "each other": (
        F.format("t", "return g(t)") + F.format("t", "return f(t)").replace("def f", "def g"),
        "f calls itself: a helper is inlined where it is called",
        "use a loop",
    ),
    "no value": (F.format("t", "t = t + 1.0"), "the helper f does not end in `return value`", ""),
    "keyword-only": (F.format("t, *, a=1", "return t"), "the helper f has other than ordinary parameters", ""),
    "decorated twice": (
        "@print\n" + F.format("t", "return t"),
        "the helper f has further decorators",
        "keep only @tb.fn",
    ),
}


@pytest.mark.parametrize("name", BAD_HELPERS)
def test_helpers_that_cannot_be_inlined(name: str, tmp_path: Path) -> None:
    helper, message, fix = BAD_HELPERS[name]
    found = only_finding(tmp_path, in_kernel("Y[i, j] = «f(X[i, j])»", helper))
    assert (found.code, found.message, found.fix) == ("E118", message, fix)


def test_an_error_in_a_helper_names_both_places(tmp_path: Path) -> None:
    helper = F.format("t", "u = t.sum(1)\n    return u.foo")
    found = only_finding(tmp_path, in_kernel("Y[i, j] = X[i, j]\nZ[i, j] = «f(X[i, j])»", helper))
    assert found.code == "E115"
    ((place, text),) = found.notes
    assert text == "in the helper called here"
    assert place is not None
    assert in_kernel("", helper).splitlines()[place.line - 1][place.column : place.end_column] == "u.foo"
    carets = [line.split("|")[1].strip() for line in found.render(tmp_path).splitlines() if "^" in line]
    assert carets == ["^" * len("f(X[i, j])"), "^" * len("u.foo")]


def test_an_error_in_a_composite_names_its_file(tmp_path: Path) -> None:
    found = only_finding(tmp_path, in_kernel("Y[i, j] = «tb.gelu(n.tiles(BM, BN)[i, j])»"))
    assert found.code == "E202"
    assert "tilebuild/lang/library.py:" in found.render(tmp_path)


def test_a_kernel_whose_names_shadow_others(tmp_path: Path) -> None:
    """Locals, parameters and ids may be called as modules, dimensions and strides are."""
    text = in_file(
        "@tb.kernel\ndef k(M: tb.In[tb.f32, M, N], N_1: tb.Out[tb.f32, M, N], *, K: tb.Const = 4):\n"
        "    N_2, j = tb.program(tb.cdiv(N, K), 1)\n    math = 2.0\n"
        "    for i in tb.range(tb.cdiv(N, 8)):\n        N_1.tiles(K, 8)[0, 0] = math * M.tiles(K, 8)[0, 0]\n"
    )
    write(tmp_path, text)
    assert {d.code for d in findings(tmp_path)} == {"E302"}
