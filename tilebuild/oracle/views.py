"""Whether a two-dimensional view stays inside the array it looks at.

The address of an element is a sum of index x stride over the array's axes. Each stride is a symbol of its own (the
innermost one is 1), so the view is inside where, for every axis, the factor of that axis's stride stays in
`0 <= index < dim`, whatever the strides are.
"""

from __future__ import annotations

from collections.abc import Sequence

from tilebuild.oracle.scopes import Scope
from tilebuild.plan.expr import ONE, ZERO, Expr, Sym
from tilebuild.plan.model import Buffer, Global


def outside(scope: Scope, buffer: Buffer, view: Global, dims: Sequence[Expr]) -> str:
    """Why the view is not proved to be inside an array of the given dimensions; empty where it is."""
    dims = dims or (ONE,)
    strides = [f"{view.parameter}__s{axis}" for axis in range(len(dims) - 1)]
    offset = _indices(view.offset, strides)
    steps = [_indices(stride, strides) for stride in view.strides]
    if offset is None or steps[0] is None or steps[1] is None:
        return "its offset or strides are not a sum of an index times a stride for each axis"
    for axis, dim in enumerate(dims):
        last = offset[axis]
        for factors, extent in zip(steps, (buffer.rows, buffer.cols)):
            factor = factors[axis] if factors is not None else ZERO
            if extent != ONE and not scope.nonnegative(factor):
                return f"it runs backwards along axis {axis}"
            last = last + factor * (extent - 1)
        if not scope.nonnegative(offset[axis]):
            return f"it begins at index {offset[axis]} of axis {axis}"
        if not scope.below(last, dim):
            return f"it reaches index {last} of axis {axis}, which has {dim} positions"
    return ""


def _indices(address: Expr, strides: Sequence[str]) -> list[Expr] | None:
    """The factor of each axis's stride, the innermost one's (1) last; None where the address is no such sum."""
    atoms = {Sym(name): axis for axis, name in enumerate(strides)}
    parts: list[Expr] = [ZERO] * (len(strides) + 1)
    for monomial, factor in address.terms:
        found = [a for a in monomial if isinstance(a, Sym) and a in atoms]
        rest = Expr(((tuple(a for a in monomial if a not in found), factor),))
        if len(found) > 1 or rest.symbols & set(strides):
            return None
        axis = atoms[found[0]] if found else len(strides)
        parts[axis] = parts[axis] + rest
    return parts
