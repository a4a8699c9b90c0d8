"""L1 to a pto plan: a kernel with a matrix product is for the matrix cores, any other for the vector cores."""

from __future__ import annotations

from tilebuild.ir.dialect import DotOp, FuncOp
from tilebuild.plan.model import Plan
from tilebuild.targets import optional
from tilebuild.targets.pto.cube import CubeLowering
from tilebuild.targets.pto.vector import VectorLowering


def lower(func: FuncOp, arch: str) -> Plan:
    """The plan of one variant, its buffers not yet placed.

    Raises `TilebuildError` E402 for a dtype or an operation that the target lacks, with what to write instead, and for
    a kernel that needs both kinds of core.
    """
    optional.require(func, "pto")
    kind = CubeLowering if any(isinstance(op, DotOp) for op in func.walk()) else VectorLowering
    lowering = kind(func, arch)
    lowering.run()
    return lowering.plan()
