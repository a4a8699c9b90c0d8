"""Operations that a target may lack, and what says so before it lowers a kernel (R19)."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from tilebuild.diagnostics import Diagnostic, Span, TilebuildError
from tilebuild.ir.dialect import FuncOp
from tilebuild.ir.spans import span_of

# operation of the dialect -> what it is called, what to do without it
OPTIONAL: Mapping[str, tuple[str, str]] = {
    "tile.assume": ("assumptions", "tb.require conditions on dimensions, or build the kernel for cpu"),
    "tile.gather": ("gathers", "build the kernel for cpu"),
    "tile.scatter": ("scatters", "build the kernel for cpu"),
    "tile.atomic_add": ("atomic additions", "add up in one program, or build the kernel for cpu"),
    "tile.window": ("windows", "copy the padded array on the host, or build the kernel for cpu"),
}


def require(func: FuncOp, target: str, has: Collection[str] = ()) -> None:
    """Raises `TilebuildError` E402 for the first operation of the kernel that is optional and not among `has`."""
    for op in func.walk():
        if op.name in OPTIONAL and op.name not in has:
            what, fix = OPTIONAL[op.name]
            span = span_of(op, func.file.data) or Span(func.file.data, 1)
            raise TilebuildError(Diagnostic("E402", f"the {target} target has no {what} yet", span, fix=fix))
