"""The reference path: a kernel's Python body executed on NumPy, with poison in every lane that a tile does not have.

Needs NumPy. Uses `tilebuild.diagnostics`, the operation table, `tilebuild.plan.expr` and the runtime's contract, so
that arguments mean here what they mean at a launch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tilebuild.lang.reference.binding import bind
from tilebuild.lang.reference.launch import Launch, UnwrittenWarning

if TYPE_CHECKING:
    from tilebuild.lang.kernel import Kernel

__all__ = ["UnwrittenWarning", "run"]


def run(kernel: Kernel, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Bind the arguments, choose a variant, execute every program: see `Kernel.reference`."""
    call = bind(kernel, args, kwargs)
    if not call.empty:
        Launch(call).run()
    return call.results
