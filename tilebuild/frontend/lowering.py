"""A kernel variant to L1, whatever its source is written in."""

from __future__ import annotations

from tilebuild.frontend.library import library
from tilebuild.frontend.mlir import MlirKernel
from tilebuild.frontend.python import lower_kernel
from tilebuild.frontend.signature import KernelDef, PythonKernel, VariantDef
from tilebuild.ir.dialect import FuncOp


def lower(kernel: KernelDef, variant: VariantDef, name: str) -> FuncOp:
    """L1 of one variant, called `name`; raises `TilebuildError` with the first broken rule, at its place."""
    if isinstance(kernel, PythonKernel):
        return lower_kernel(kernel, variant, name, library())
    assert isinstance(kernel, MlirKernel)
    return kernel.lower(variant, name)
