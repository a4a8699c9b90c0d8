"""Calls that touch elements which the data names: gather, scatter, atomic addition."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from xdsl.ir import SSAValue

from tilebuild.frontend.values import TileSpace, Value, show
from tilebuild.frontend.views import ViewLowering
from tilebuild.ir import indirect, infer
from tilebuild.ir.dialect import AtomicAddOp, GatherOp, ScatterOp
from tilebuild.ir.types import TileType, ViewType
from tilebuild.plan.expr import Expr, const


class IndirectLowering(ViewLowering):
    """Adds gathers, scatters and atomic additions to what is called on arrays."""

    def gather(self, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        bound = self.bind(node, args, keywords, ["x", "idx", "oob"], optional=1)
        idx = self.ssa(bound["idx"], node)
        view = self.vector(bound["x"], node)
        return self.built(GatherOp(idx, view, const(0), 1, str(bound.get("oob", ""))))

    def gather_rows(self, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        bound = self.bind(node, args, keywords, ["x", "idx", "j", "oob"], optional=2)
        space = self.rows(bound["x"], node)
        col = self.as_integer(bound.get("j", 0), node) * space.shape[1]
        op = GatherOp(self.ssa(bound["idx"], node), space.view, col, space.shape[1], str(bound.get("oob", "")))
        return self.built(op)

    def scatter(self, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        names = ["y", "idx", "t", "mode", "unique", "oob"]
        bound = self.bind(node, args, keywords, names, optional=3)
        return self.scattered(self.vector(bound["y"], node), const(0), bound, node)

    def scatter_rows(self, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        names = ["y", "idx", "t", "j", "mode", "unique", "oob"]
        bound = self.bind(node, args, keywords, names, optional=4)
        space = self.rows(bound["y"], node)
        tile = self.ssa(bound["t"], node)
        if isinstance(tile.type, TileType) and tile.type.shape[1] != space.shape[1]:
            raise self.fail(
                "E201", f"{show(tile)} is scattered into {show(space)}", node, "cut the array as the tile is"
            )
        return self.scattered(space.view, self.as_integer(bound.get("j", 0), node) * space.shape[1], bound, node)

    def scattered(self, view: SSAValue, col: Expr, bound: Mapping[str, Value], node: ast.Call) -> Value:
        oob = bound.get("oob", "")
        if oob != "drop":
            message = f"a scatter says what becomes of an index outside of the array, found oob={oob!r}"
            raise self.fail("E320", message, node, 'oob="drop"')
        tile, idx = self.ssa(bound["t"], node), self.ssa(bound["idx"], node)
        mode, unique = str(bound.get("mode", "")), bound.get("unique") is True
        indirect.scatter(tile.type, idx.type, view.type, mode, unique)
        self.builder.add(ScatterOp(tile, idx, view, col, mode=mode, unique=unique))
        return None

    def atomic_add(self, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        bound = self.bind(node, args, keywords, ["y", "index", "t"])
        space, index = bound["y"], bound["index"]
        if not isinstance(space, TileSpace):
            message = f"tb.atomic_add takes a tile space, found {show(space)}"
            raise self.fail("E205", message, node, "tb.atomic_add(y.tiles(BM, BN), (i, j), t)")
        tile = self.ssa(bound["t"], node)
        infer.store(tile.type, space.view.type, space.shape)
        assert isinstance(tile.type, TileType)
        indirect.updated(tile.type, space.type, "add")
        at = index if isinstance(index, tuple) else (index,)
        self.builder.add(AtomicAddOp(tile, space.view, self.place(space, [self.as_integer(e, node) for e in at], node)))
        return None

    def vector(self, value: Value, node: ast.Call) -> SSAValue:
        if not isinstance(value, SSAValue) or not isinstance(value.type, ViewType) or len(value.type.dims) != 1:
            message = f"a vector is needed, found {show(value)}"
            raise self.fail("E205", message, node, "x[i], or tb.gather_rows and tb.scatter_rows of x.tiles(1, BN)")
        return value

    def rows(self, value: Value, node: ast.Call) -> TileSpace:
        if not isinstance(value, TileSpace) or value.rank != 2 or value.shape[0] != 1:
            message = f"tiles of one row are needed, found {show(value)}"
            raise self.fail("E205", message, node, "x.tiles(1, BN)")
        return value
