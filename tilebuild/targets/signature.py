"""A kernel's signature in its plan: parameters, symbols with their ranges, and views of the arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from xdsl.ir import BlockArgument, SSAValue

from tilebuild.diagnostics import Diagnostic, TilebuildError
from tilebuild.ir import infer
from tilebuild.ir.dialect import FuncOp, _ViewOp
from tilebuild.ir.facts import facts_to_ranges
from tilebuild.ir.spans import parameter_span
from tilebuild.ir.types import ViewType
from tilebuild.plan.bounds import Range
from tilebuild.plan.expr import const, parse_predicates
from tilebuild.plan.model import Buffer, Contract, Global, Parameter, Symbol

SCALARS = ("f32", "i32", "u32")


def contract(func: FuncOp, target: str, arrays: Sequence[str] = SCALARS) -> Contract:
    """The parameters and what the launcher must check; raises `TilebuildError` E402 for a dtype the target lacks.

    `arrays` are the dtypes of the target's arrays; those of its scalars are `SCALARS`.
    """
    found = []
    for name, arg in zip(names(func), func.body.block.args):
        t = arg.type
        dtype = infer.dtype_of(t)
        what, known = (f"array {name}", arrays) if isinstance(t, ViewType) else (f"scalar {name}", SCALARS)
        if dtype not in known:
            message = f"the {what} is {dtype}, and the {target} target has {', '.join(known)}"
            fix = f"declare it {', '.join(f'tb.{d}' for d in known[:-1])} or tb.{known[-1]}"
            raise TilebuildError(Diagnostic("E402", message, parameter_span(func, name), fix=fix))
        found.append(
            Parameter(name, t.mode, dtype, t.dims) if isinstance(t, ViewType) else Parameter(name, "scalar", dtype)
        )
    return Contract(tuple(found), tuple(p for r in func.requires for p in parse_predicates(r.data)))


def names(func: FuncOp) -> list[str]:
    """The parameters' names, in order."""
    return [p.data for p in func.params]


def symbols(func: FuncOp) -> list[Symbol]:
    """Dimensions, strides and program ids, each with what is known of its range."""
    found = []
    for d in func.dims:
        ranges = {d.data: Range(const(1))}
        facts_to_ranges([r.data for r in func.requires], ranges)
        found.append(Symbol(d.data, "dim", ranges[d.data].lo or const(1), ranges[d.data].hi))
    for name, arg in zip(names(func), func.body.block.args):
        if isinstance(arg.type, ViewType):
            found += [Symbol(f"{name}__s{a}", "stride", const(0)) for a in range(len(arg.type.dims) - 1)]
    return found + [Symbol(name, "program", const(0), extent - 1) for name, extent in func.program.grid]


class Views:
    """The buffers that stand for views of the arrays, one a view."""

    def __init__(self, func: FuncOp) -> None:
        self._names = names(func)
        self._ids: dict[SSAValue, str] = {}
        self.buffers: dict[str, Buffer] = {}
        for arg in func.body.block.args:
            if isinstance(arg.type, ViewType):
                self.id(arg)

    def id(self, value: SSAValue) -> str:
        """The buffer's name."""
        if value not in self._ids:
            root = value
            while isinstance(root.owner, _ViewOp):
                root = root.owner.source
            parameter = self._names[cast(BlockArgument, root).index]
            t = cast(ViewType, value.type)
            if len(t.dims) <= 2:
                extents, strides = infer.extents_2d(t), infer.strides_2d(t)
            else:  # only ever indexed
                extents, strides = (t.dims[-2], t.dims[-1]), (t.strides[-2], t.strides[-1])
            name = parameter if value is root else f"{parameter}_{len(self._ids)}"
            self.buffers[name] = Buffer(name, Global(parameter, t.offset, strides), t.dtype, *extents)
            self._ids[value] = name
        return self._ids[value]
