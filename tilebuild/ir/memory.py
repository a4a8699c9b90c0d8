"""Operations of the tile dialect on arrays: views of them, loads and stores of tiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from xdsl.dialects.builtin import ArrayAttr, IntegerAttr, StringAttr
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def

from tilebuild.ir import infer
from tilebuild.ir.base import TileOp, integer, text
from tilebuild.ir.infer import RuleError
from tilebuild.ir.types import TileType, ViewType, parse_expr
from tilebuild.plan.expr import Expr, ExprLike


class _ViewOp(TileOp):
    """A view of a view."""

    source = operand_def(ViewType)
    result = result_def(ViewType)

    @property
    def view(self) -> ViewType:
        return cast(ViewType, self.source.type)


@irdl_op_definition
class ViewTransposeOp(_ViewOp):
    """Swaps the last two dimensions."""

    name = "tile.view_transpose"

    def __init__(self, source: SSAValue) -> None:
        super().__init__(operands=[source], result_types=[self.infer(source.type)])

    @staticmethod
    def infer(t: Attribute) -> ViewType:
        if not isinstance(t, ViewType) or len(t.dims) < 2:
            raise RuleError(
                "E207", f".T needs two dimensions, found {infer.describe(t)}", ".col sees a vector as [n, 1]"
            )
        return t.with_((*t.dims[:-2], t.dims[-1], t.dims[-2]), (*t.strides[:-2], t.strides[-1], t.strides[-2]))

    def expected(self) -> Attribute:
        return self.infer(self.source.type)


@irdl_op_definition
class ViewColumnOp(_ViewOp):
    """A vector of n elements as an [n, 1] array."""

    name = "tile.view_column"

    def __init__(self, source: SSAValue) -> None:
        super().__init__(operands=[source], result_types=[self.infer(source.type)])

    @staticmethod
    def infer(t: Attribute) -> ViewType:
        if not isinstance(t, ViewType) or len(t.dims) != 1:
            raise RuleError("E207", f".col needs one dimension, found {infer.describe(t)}")
        return t.with_((t.dims[0], 1), (t.strides[0], 1))

    def expected(self) -> Attribute:
        return self.infer(self.source.type)


@irdl_op_definition
class ViewIndexOp(_ViewOp):
    """Fixes the leading dimensions at `indices` and drops them."""

    name = "tile.view_index"
    indices = prop_def(ArrayAttr[StringAttr])

    def __init__(self, source: SSAValue, indices: Sequence[ExprLike]) -> None:
        super().__init__(
            operands=[source],
            result_types=[self.infer(source.type, indices)],
            properties={"indices": ArrayAttr(text(i) for i in indices)},
        )

    @staticmethod
    def infer(t: Attribute, indices: Sequence[ExprLike]) -> ViewType:
        if not isinstance(t, ViewType) or len(indices) >= len(t.dims):
            raise RuleError(
                "E207",
                f"{len(indices)} indices leave nothing of {infer.describe(t)}",
                "cut it into tiles: x.tiles(BM, BN)[i, j]",
            )
        n = len(indices)
        offset = t.offset + sum((s * i for s, i in zip(t.strides, indices)), start=Expr.of(0))
        return t.with_(t.dims[n:], t.strides[n:], offset)

    @property
    def exprs(self) -> list[Expr]:
        return [parse_expr(i.data) for i in self.indices]

    def expected(self) -> Attribute:
        return self.infer(self.source.type, self.exprs)


class _AccessOp(TileOp):
    """A tile of a view that starts at element (row, col)."""

    row = prop_def(StringAttr)
    col = prop_def(StringAttr)

    @property
    def start(self) -> tuple[Expr, Expr]:
        return parse_expr(self.row.data), parse_expr(self.col.data)


@irdl_op_definition
class LoadOp(_AccessOp):
    """The result's valid region is the tile clipped to the view (the verifier proves it)."""

    name = "tile.load"
    view = operand_def(ViewType)
    result = result_def(TileType)

    def __init__(self, view: SSAValue, start: tuple[Expr, Expr], result: TileType) -> None:
        super().__init__(
            operands=[view], result_types=[result], properties={"row": text(start[0]), "col": text(start[1])}
        )

    def check(self) -> None:
        t = self.result.type
        rule = infer.load(self.view.type, self.start, t.shape)
        if rule.dtype != t.dtype:
            raise RuleError("E202", f"a load of {infer.describe(self.view.type)} gives {rule.dtype}, not {t.dtype}")


@irdl_op_definition
class WindowOp(_AccessOp):
    """Elements `row_step` and `col_step` apart from a start that may lie outside the view; where the view has no
    element, the number `fill`. Fully valid."""

    name = "tile.window"
    view = operand_def(ViewType)
    row_step = prop_def(IntegerAttr)
    col_step = prop_def(IntegerAttr)
    fill = prop_def(StringAttr)
    result = result_def(TileType)

    def __init__(
        self, view: SSAValue, start: tuple[Expr, Expr], shape: tuple[int, int], steps: tuple[int, int], fill: float
    ) -> None:
        number = repr(fill)
        super().__init__(
            operands=[view],
            result_types=[infer.window(view.type, shape, steps, number)],
            properties={
                "row": text(start[0]), "col": text(start[1]), "row_step": integer(steps[0]),
                "col_step": integer(steps[1]), "fill": StringAttr(number),
            },
        )  # fmt: skip

    @property
    def steps(self) -> tuple[int, int]:
        return self.row_step.value.data, self.col_step.value.data

    def expected(self) -> Attribute:
        self.start  # noqa: B018
        return infer.window(self.view.type, self.result.type.shape, self.steps, self.fill.data)


@irdl_op_definition
class StoreOp(_AccessOp):
    """Writes the valid part of a tile, clipped to the view."""

    name = "tile.store"
    tile = operand_def(TileType)
    view = operand_def(ViewType)

    def __init__(self, tile: SSAValue, view: SSAValue, start: tuple[Expr, Expr]) -> None:
        super().__init__(operands=[tile, view], properties={"row": text(start[0]), "col": text(start[1])})

    def check(self) -> None:
        infer.store(self.tile.type, self.view.type, cast(TileType, self.tile.type).shape)
        self.start  # noqa: B018
