"""The launch arguments of a plan, numbered alike on every target."""

from __future__ import annotations

from tilebuild.plan.model import Plan


def slots(plan: Plan) -> list[str]:
    """The arguments in order (see `manifest.BuildEntry`): the arrays' addresses and their strides but for the innermost
    one, the dimensions, the scalars."""
    parameters = plan.contract.parameters
    arrays = [p for p in parameters if p.mode != "scalar"]
    found = [f"ptr:{p.name}" for p in arrays]
    found += [f"stride:{p.name}:{axis}" for p in arrays for axis in range(len(p.dims) - 1)]
    found += [f"dim:{s.name}" for s in plan.symbols if s.kind == "dim"]
    return found + [f"scalar:{p.name}" for p in parameters if p.mode == "scalar"]
