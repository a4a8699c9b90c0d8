"""The operation table says which target has which operation for which dtype: each claim, tried on the target itself."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tilebuild.diagnostics import Diagnostic, TilebuildError
from tilebuild.frontend.discover import KernelDef, discover
from tilebuild.frontend.library import library
from tilebuild.frontend.python import lower_kernel
from tilebuild.optable import COMPOSITES, OPERATORS, OPS
from tilebuild.targets.api import Target
from tilebuild.targets.cpu import TARGET as CPU
from tilebuild.targets.gpu import TARGET as GPU
from tilebuild.targets.pto import TARGET as PTO
from tilebuild.targets.spirv import TARGET as SPIRV

TARGETS: tuple[tuple[Target, str], ...] = (
    (CPU, "x86-64"), (GPU, "sm_80"), (SPIRV, "vulkan1.2"), (PTO, "a2a3"), (PTO, "a5"),
)  # fmt: skip
_SYMBOLS = {"Add": "+", "Sub": "-", "Mult": "*", "Div": "/", "FloorDiv": "//", "Mod": "%", "LShift": "<<",
            "RShift": ">>", "BitAnd": "&", "BitOr": "|", "BitXor": "^", "Lt": "<", "LtE": "<=", "Gt": ">", "GtE": ">=",
            "Eq": "==", "NotEq": "!=", "USub": "-", "Invert": "~"}  # fmt: skip
_WRITTEN = {name: _SYMBOLS[node] for node, name in OPERATORS.items()}
# what a composite is called with, where that is not one tile
_CALLS = {
    "atan2": "a, b", "pow": "a, b", "fma": "a, b, a", "clamp": "a, {one}, {two}", "scale": "a, 2.0",
    "layernorm": "a, b, b, N", "rmsnorm": "a, b, N", "rope": "a, b, a, b", "cross_entropy": "a, t", "argmax": "a, 1",
    "argmin": "a, 1", "any": "a < b, 1", "all": "a < b, 1",
}  # fmt: skip
_COLUMNS = ("any", "all", "argmax", "argmin", "logsumexp", "cross_entropy")
_BOOL = ("isnan", "isinf", "any", "all")


def _expression(name: str, dtype: str) -> str:
    if name in COMPOSITES:
        one, two = ("1.0", "2.0") if dtype == "f32" else ("1", "2")
        return f"tb.{name}({_CALLS.get(name, 'a').format(one=one, two=two)}){'[0]' if name == 'rope' else ''}"
    op, symbol = OPS[name], _WRITTEN.get(name)
    a, b = ("(a < b)", "(b < a)") if dtype == "bool" else ("a", "b")
    if op.kind == "unary":
        return f"{symbol}{a}" if symbol else f"tb.{name}({a})"
    if op.kind == "reduce":
        return f"{a}.{name}(1)"
    return f"({a} {symbol} {b})" if symbol else f"tb.{name}({a}, {b})"


def _kernel(name: str, dtype: str) -> str:
    """The operation on whole rows; bool operands are comparisons, bool results conversions to i32."""
    array = "i32" if dtype == "bool" else dtype
    boolean = dtype == "bool" or name in _BOOL or (name in OPS and OPS[name].result == "bool")
    text = _expression(name, dtype) + (".to(tb.i32)" if boolean else "")
    result = "i32" if boolean or name.startswith("arg") else array
    column = (name in OPS and OPS[name].kind == "reduce") or name in _COLUMNS
    out = f"z: tb.Out[tb.{result}, {'M' if column else 'M, N'}]"
    place = "z.col.tiles(8, 1)[i, 0]" if column else "z.tiles(8, 64)[i, 0]"
    return f"""
@tb.kernel
def k_{name}_{dtype}(x: tb.In[tb.{array}, M, N], y: tb.In[tb.{array}, M, N], {out}):
    tb.require(N <= 64)
    i = tb.program(tb.cdiv(M, 8))
    a, b = x.tiles(8, 64)[i, 0], y.tiles(8, 64)[i, 0]
    t = a.argmax(1)
    {place} = {text}
"""


def claims() -> Iterator[tuple[str, str]]:
    for name, op in OPS.items():
        yield from ((name, dtype) for dtype in op.dtypes)
    for name, composite in COMPOSITES.items():
        yield from ((name, dtype) for dtype in composite.dtypes)


@functools.cache
def kernels() -> dict[str, KernelDef]:
    text = 'import tilebuild as tb\n\nM, N = tb.dims("M N")\n' + "".join(_kernel(*claim) for claim in claims())
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "src" / "p"
        source.mkdir(parents=True)
        (source / "__init__.py").write_text("")
        (source / "k.py").write_text(text)
        return {k.name: k for k in discover(Path(folder), ("src/p",))}


def tried(target: Target, arch: str, name: str, dtype: str) -> Diagnostic | None:
    """None where the target makes code of it, else what it says."""
    kernel = kernels()[f"k_{name}_{dtype}"]
    func = lower_kernel(kernel, kernel.variants[0], kernel.name, library())
    try:
        target.emit([target.place(target.lower(func, arch))])
    except TilebuildError as e:
        return e.diagnostics[0]
    return None


@pytest.mark.parametrize(("name", "dtype"), list(claims()))
def test_the_table_says_what_targets_have(name: str, dtype: str) -> None:
    entry = OPS.get(name) or COMPOSITES[name]
    for target, arch in TARGETS:
        refused = tried(target, arch, name, dtype)
        assert (refused is None) == (dtype in entry.on(target.name, arch)), f"{target.name}:{arch}: {refused}"
        if refused is not None:
            assert refused.code == "E402"
            assert target.name in refused.message
            assert refused.fix, f"{target.name}: {refused.message}"
