"""Arguments of calls by name, and the methods of arrays: tile spaces and windows."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from xdsl.ir import SSAValue

from tilebuild.diagnostics import did_you_mean
from tilebuild.frontend.expressions import ExpressionLowering
from tilebuild.frontend.scope import source_text
from tilebuild.frontend.values import TileSpace, Value, is_integer, show
from tilebuild.ir import infer
from tilebuild.ir.dialect import WindowOp
from tilebuild.ir.types import ViewType
from tilebuild.plan.expr import Expr


class ViewLowering(ExpressionLowering):
    """Adds what is called on arrays to the expressions."""

    def bind(
        self,
        node: ast.Call,
        args: Sequence[Value],
        keywords: Mapping[str, Value],
        names: Sequence[str],
        optional: int = 0,
    ) -> dict[str, Value]:
        """Arguments by name; the last `optional` names may be missing. Raises E116."""
        bound = dict(zip(names, args))
        problem = f"takes {len(names)} argument(s), found {len(args)}" if len(args) > len(names) else ""
        for name, value in keywords.items():
            if name not in names:
                problem = f"has no argument {name}{did_you_mean(name, names)}"
            elif name in bound:
                problem = f"gets {name} twice"
            bound[name] = value
        missing = [n for n in names[: len(names) - optional] if n not in bound]
        if missing:
            problem = f"needs {', '.join(missing)}"
        if problem:
            callee = source_text(node.func)
            raise self.fail("E116", f"{callee} {problem}", node, f"{callee}({', '.join(names)})")
        return bound

    def as_integer(self, value: Value, node: ast.AST) -> Expr:
        if not is_integer(value):
            raise self.fail("E211", f"an integer over dimensions and ids is needed, found {show(value)}", node)
        return Expr.of(value)

    def tiles(self, view: SSAValue, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        assert isinstance(view.type, ViewType)
        infer.extents_2d(view.type)
        rank = len(view.type.dims)
        extents = [a for a in args if type(a) is int and a >= 1]
        if keywords or not len(extents) == len(args) == rank:
            message = (
                f".tiles takes {rank} positive tile extent(s) known while building, found {entries_text(tuple(args))}"
            )
            raise self.fail(
                "E203", message, node, f"x.tiles({'BN' if rank == 1 else 'BM, BN'}) with tb.Const parameters"
            )
        return TileSpace(view, (1, extents[0]) if rank == 1 else (extents[0], extents[1]), rank)

    def window(self, view: SSAValue, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        usual: dict[str, Value] = {"stride": 1} if len(args) < 3 else {}
        bound = self.bind(node, args, {**usual, **keywords}, ["start", "shape", "stride", "fill"])
        assert isinstance(view.type, ViewType)
        infer.extents_2d(view.type)
        rank = len(view.type.dims)
        start, shape = (self.entries(bound[n], rank, n, node) for n in ("start", "shape"))
        stride = bound["stride"]
        steps = self.entries((stride,) * rank if is_integer(stride) else stride, rank, "stride", node)
        if not all(type(n) is int and n >= 1 for n in (*shape, *steps)):
            message = (
                f"a window's shape and stride are positive integers known while building, found {entries_text(shape)} "
            )
            raise self.fail("E203", f"{message}and {entries_text(steps)}", node, "tb.Const or tb.Static parameters")
        fill = bound["fill"]
        if isinstance(fill, SSAValue) or not isinstance(fill, (int, float)):
            raise self.fail("E202", f"a window is filled with a number, found {show(fill)}", node, "fill=0.0")
        dtype = view.type.dtype
        self.number(fill, node, dtype)
        row, col = (Expr.of(e) for e in ((0, *start) if rank == 1 else start))
        extents, by = ((1, *shape), (1, *steps)) if rank == 1 else (shape, steps)
        value = float(fill) if dtype in infer.FLOATS else int(fill)
        return self.built(WindowOp(view, (row, col), (extents[0], extents[1]), (by[0], by[1]), value))

    def entries(self, value: Value, rank: int, what: str, node: ast.AST) -> tuple[Any, ...]:
        """One integer an axis."""
        found = value if isinstance(value, tuple) else (value,)
        if len(found) != rank or not all(is_integer(e) for e in found):
            message = f"the {what} of a window of {rank} dimension(s) is as many integers, found {entries_text(found)}"
            raise self.fail("E211", message, node, "x.window((row, col), (BM, BN), stride=(2, 2), fill=0.0)")
        return found


def entries_text(value: Value) -> str:
    """What an entry or a tuple of them is, for a message."""
    return f"({', '.join(map(show, value))})" if isinstance(value, tuple) else show(value)
