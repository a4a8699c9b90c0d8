"""Operations of the tile dialect that compute tiles and scalars."""

from __future__ import annotations

from typing import cast

from xdsl.dialects.builtin import IntegerAttr, StringAttr
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def

from tilebuild.ir import infer
from tilebuild.ir.base import TileOp, integer, text
from tilebuild.ir.infer import RuleError
from tilebuild.ir.types import DTYPES, TileType, dtype_name, parse_expr
from tilebuild.plan.expr import Expr, ExprLike


@irdl_op_definition
class ConstantOp(TileOp):
    """A scalar literal; `value` is the number's text ("0.5", "-inf", "7")."""

    name = "tile.constant"
    value = prop_def(StringAttr)
    result = result_def()

    def __init__(self, value: float | int, dtype: str) -> None:
        super().__init__(result_types=[DTYPES[dtype]], properties={"value": StringAttr(repr(value))})

    def check(self) -> None:
        infer.constant(self.value.data, self.result.type)


@irdl_op_definition
class IndexOp(TileOp):
    """An integer expression as a scalar of the result's dtype."""

    name = "tile.index"
    expr = prop_def(StringAttr)
    result = result_def()

    def __init__(self, expr: ExprLike, dtype: str) -> None:
        super().__init__(result_types=[DTYPES[dtype]], properties={"expr": text(expr)})

    def check(self) -> None:
        parse_expr(self.expr.data)
        if infer.dtype_of(self.result.type) not in ("f32", "i32") or isinstance(self.result.type, TileType):
            raise RuleError(
                "E202", f"an integer becomes an f32 or i32 scalar, not a {infer.describe(self.result.type)}"
            )


@irdl_op_definition
class FullOp(TileOp):
    """A fully valid tile with one scalar in every lane."""

    name = "tile.full"
    value = operand_def()
    result = result_def(TileType)

    def __init__(self, value: SSAValue, shape: tuple[int, int]) -> None:
        super().__init__(operands=[value], result_types=[TileType.of(shape, dtype_name(value.type))])

    def expected(self) -> Attribute:
        infer.require_scalar("full", self.value.type)
        return TileType.of(self.result.type.shape, infer.dtype_of(self.value.type))


@irdl_op_definition
class IotaOp(TileOp):
    """0, 1, 2, ... along `axis` (i32); the other extent is 1."""

    name = "tile.iota"
    axis = prop_def(IntegerAttr)
    result = result_def(TileType)

    def __init__(self, n: int, axis: int) -> None:
        super().__init__(
            result_types=[TileType.of((n, 1) if axis == 0 else (1, n), "i32")], properties={"axis": integer(axis)}
        )

    def expected(self) -> Attribute:
        axis, shape = self.axis.value.data, self.result.type.shape
        if axis not in (0, 1):
            raise RuleError("E206", f"the axis of a tile is 0 (rows) or 1 (columns), found {axis}")
        return TileType.of((shape[0], 1) if axis == 0 else (1, shape[1]), "i32")


class _ElementwiseOp(TileOp):
    op = prop_def(StringAttr)
    result = result_def()

    def expected(self) -> Attribute:
        return infer.elementwise(self.op.data, self.operand_types)


@irdl_op_definition
class UnaryOp(_ElementwiseOp):
    name = "tile.unary"
    value = operand_def()

    def __init__(self, op: str, value: SSAValue) -> None:
        super().__init__(
            operands=[value], result_types=[infer.elementwise(op, [value.type])], properties={"op": StringAttr(op)}
        )


@irdl_op_definition
class BinaryOp(_ElementwiseOp):
    """Binary and compare operations of the table, with broadcasting from 1 to n."""

    name = "tile.binary"
    lhs = operand_def()
    rhs = operand_def()

    def __init__(self, op: str, lhs: SSAValue, rhs: SSAValue) -> None:
        super().__init__(
            operands=[lhs, rhs],
            result_types=[infer.elementwise(op, [lhs.type, rhs.type])],
            properties={"op": StringAttr(op)},
        )


@irdl_op_definition
class SelectOp(TileOp):
    name = "tile.select"
    condition = operand_def()
    lhs = operand_def()
    rhs = operand_def()
    result = result_def()

    def __init__(self, condition: SSAValue, lhs: SSAValue, rhs: SSAValue) -> None:
        operands = [condition, lhs, rhs]
        super().__init__(operands=operands, result_types=[infer.select([o.type for o in operands])])

    def expected(self) -> Attribute:
        return infer.select(self.operand_types)


@irdl_op_definition
class CastOp(TileOp):
    """Conversion to the result's dtype: floating point to integer truncates."""

    name = "tile.cast"
    value = operand_def()
    result = result_def()

    def __init__(self, value: SSAValue, dtype: str) -> None:
        super().__init__(operands=[value], result_types=[infer.broadcast([value.type], dtype)])

    def expected(self) -> Attribute:
        return infer.broadcast(self.operand_types, infer.dtype_of(self.result.type))


@irdl_op_definition
class ReduceOp(TileOp):
    """Over the valid lanes of an axis, which is kept with extent 1."""

    name = "tile.reduce"
    op = prop_def(StringAttr)
    axis = prop_def(IntegerAttr)
    value = operand_def()
    result = result_def()

    def __init__(self, op: str, value: SSAValue, axis: int) -> None:
        super().__init__(
            operands=[value],
            result_types=[infer.reduce(op, value.type, axis)],
            properties={"op": StringAttr(op), "axis": integer(axis)},
        )

    def expected(self) -> Attribute:
        return infer.reduce(self.op.data, self.value.type, self.axis.value.data)


@irdl_op_definition
class DotOp(TileOp):
    """acc + a @ b over the valid part of the shared extent."""

    name = "tile.dot"
    a = operand_def()
    b = operand_def()
    acc = operand_def()
    result = result_def()

    def __init__(self, a: SSAValue, b: SSAValue, acc: SSAValue) -> None:
        super().__init__(operands=[a, b, acc], result_types=[infer.dot(a.type, b.type, acc.type)])

    def expected(self) -> Attribute:
        return infer.dot(self.a.type, self.b.type, self.acc.type)


@irdl_op_definition
class TransposeOp(TileOp):
    name = "tile.transpose"
    value = operand_def()
    result = result_def()

    def __init__(self, value: SSAValue) -> None:
        super().__init__(operands=[value], result_types=[infer.transpose(value.type)])

    def expected(self) -> Attribute:
        return infer.transpose(self.value.type)


@irdl_op_definition
class FillOp(TileOp):
    """The tile made fully valid, with `fill` (a scalar) in the lanes that were not."""

    name = "tile.fill"
    value = operand_def()
    fill = operand_def()
    result = result_def()

    def __init__(self, value: SSAValue, fill: SSAValue) -> None:
        super().__init__(operands=[value, fill], result_types=[infer.fill(value.type, fill.type)])

    def expected(self) -> Attribute:
        return infer.fill(self.value.type, self.fill.type)


@irdl_op_definition
class NarrowOp(TileOp):
    """The same tile with a smaller valid region: what a loop-carried value starts from (D7)."""

    name = "tile.narrow"
    value = operand_def(TileType)
    result = result_def(TileType)

    def __init__(self, value: SSAValue, valid: tuple[Expr, Expr]) -> None:
        t = cast(TileType, value.type)
        super().__init__(operands=[value], result_types=[TileType.of(t.shape, t.dtype, valid)])

    def check(self) -> None:
        a, b = cast(TileType, self.value.type), self.result.type
        if (a.shape, a.dtype) != (b.shape, b.dtype):
            raise RuleError("E208", "tile.narrow changes only the valid region")
