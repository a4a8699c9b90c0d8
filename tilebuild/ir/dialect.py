"""The tile dialect: SSA over tiles, views and scalars, one operation a class, declared.

Integers that index or count are not SSA values: they are expressions (`plan.expr`) in attributes, over the
dimensions, stride symbols, program ids (declared by `tile.program`) and loop ids (declared by `tile.for`) in scope.
Every operation may carry `span`, "line:column-line:column" in the function's source file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, IntegerAttr, StringAttr, SymbolNameConstraint
from xdsl.ir import Attribute, Block, Dialect, Operation, Region, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    region_def,
    result_def,
    traits_def,
    var_operand_def,
    var_result_def,
)
from xdsl.traits import IsolatedFromAbove, IsTerminator, NoTerminator
from xdsl.utils.exceptions import VerifyException

from tilebuild.ir import infer
from tilebuild.ir.infer import RuleError
from tilebuild.ir.types import DTYPES, TileType, ViewType, dtype_name, parse_expr
from tilebuild.plan.expr import Expr, ExprLike


def _text(e: ExprLike) -> StringAttr:
    return StringAttr(str(Expr.of(e)))


def _int(value: int) -> IntegerAttr:
    return IntegerAttr(value, 64)


class TileOp(IRDLOperation):
    """What all operations share: an optional source span, and rules reported as verifier errors."""

    span = opt_prop_def(StringAttr)

    def expected(self) -> Attribute | None:
        """The result type that the type rules give, or None where there is nothing to compare."""
        return None

    def verify_(self) -> None:
        try:
            expected = self.expected()
        except RuleError as e:
            raise VerifyException(str(e)) from None
        if expected is not None and self.results[0].type != expected:
            raise VerifyException(f"[E208] {self.name} has type {self.results[0].type}, the rules give {expected}")

    @property
    def operand_types(self) -> list[Attribute]:
        return [o.type for o in self.operands]


@irdl_op_definition
class FuncOp(TileOp):
    """One kernel variant: arguments are views and scalars in the order of `params`."""

    name = "tile.func"
    sym_name = prop_def(SymbolNameConstraint())
    params = prop_def(ArrayAttr[StringAttr])
    dims = prop_def(ArrayAttr[StringAttr])
    consts = prop_def(DictionaryAttr)
    requires = prop_def(ArrayAttr[StringAttr])
    file = prop_def(StringAttr)
    variant = prop_def(StringAttr)
    body = region_def("single_block")
    traits = traits_def(IsolatedFromAbove(), NoTerminator())

    def __init__(
        self,
        name: str,
        variant: str,
        params: Sequence[str],
        dims: Sequence[str],
        consts: dict[str, int],
        requires: Sequence[str],
        file: str,
        block: Block,
    ) -> None:
        super().__init__(
            properties={
                "sym_name": StringAttr(name),
                "variant": StringAttr(variant),
                "params": ArrayAttr(StringAttr(p) for p in params),
                "dims": ArrayAttr(StringAttr(d) for d in dims),
                "consts": DictionaryAttr({k: _int(v) for k, v in sorted(consts.items())}),
                "requires": ArrayAttr(StringAttr(r) for r in requires),
                "file": StringAttr(file),
            },
            regions=[Region(block)],
        )

    @property
    def program(self) -> ProgramOp:
        """The grid declaration; raises ValueError where the verifier would."""
        for op in self.body.block.ops:
            if isinstance(op, ProgramOp):
                return op
        raise ValueError(f"{self.sym_name.data} declares no program")


@irdl_op_definition
class ProgramOp(TileOp):
    """The logical grid: program id `ids[a]` runs over `[0, extents[a])`."""

    name = "tile.program"
    ids = prop_def(ArrayAttr[StringAttr])
    extents = prop_def(ArrayAttr[StringAttr])
    order = prop_def(StringAttr)

    def __init__(self, ids: Sequence[str], extents: Sequence[Expr], order: str = "row") -> None:
        super().__init__(
            properties={
                "ids": ArrayAttr(StringAttr(i) for i in ids),
                "extents": ArrayAttr(_text(e) for e in extents),
                "order": StringAttr(order),
            }
        )

    @property
    def grid(self) -> list[tuple[str, Expr]]:
        return [(i.data, parse_expr(e.data)) for i, e in zip(self.ids, self.extents)]


@irdl_op_definition
class YieldOp(TileOp):
    name = "tile.yield"
    values = var_operand_def()
    traits = traits_def(IsTerminator())

    def __init__(self, values: Sequence[SSAValue]) -> None:
        super().__init__(operands=[list(values)])


@irdl_op_definition
class ForOp(TileOp):
    """`id` runs over `[lower, upper)`; the block's arguments carry values from one iteration to the next.
    `stages` > 1 asks for that many buffers of what the body loads."""

    name = "tile.for"
    id = prop_def(StringAttr)
    lower = prop_def(StringAttr)
    upper = prop_def(StringAttr)
    stages = prop_def(IntegerAttr)
    inits = var_operand_def()
    outs = var_result_def()
    body = region_def("single_block")

    def __init__(
        self, id: str, lower: Expr, upper: Expr, stages: int, inits: Sequence[SSAValue], body: Block
    ) -> None:
        super().__init__(
            operands=[list(inits)],
            result_types=[[v.type for v in inits]],
            properties={"id": StringAttr(id), "lower": _text(lower), "upper": _text(upper), "stages": _int(stages)},
            regions=[Region(body)],
        )

    @property
    def bounds(self) -> tuple[Expr, Expr]:
        return parse_expr(self.lower.data), parse_expr(self.upper.data)

    @property
    def yielded(self) -> YieldOp:
        return cast(YieldOp, self.body.block.last_op)

    def verify_(self) -> None:
        last = self.body.block.last_op
        if not isinstance(last, YieldOp):
            raise VerifyException("[E209] the body of tile.for must end in tile.yield")
        groups = (self.inits, self.body.block.args, last.values, self.outs)
        types = [[v.type for v in g] for g in groups]
        if any(t != types[0] for t in types[1:]):
            raise VerifyException("[E304] loop-carried values must have one type on entry, in the body and on exit")


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
            raise RuleError("E207", f".T needs two dimensions, found {infer.describe(t)}", ".col sees a vector as [n, 1]")
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
            properties={"indices": ArrayAttr(_text(i) for i in indices)},
        )

    @staticmethod
    def infer(t: Attribute, indices: Sequence[ExprLike]) -> ViewType:
        if not isinstance(t, ViewType) or len(indices) >= len(t.dims):
            raise RuleError("E207", f"{len(indices)} indices leave nothing of {infer.describe(t)}", "use .tiles(...)")
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
            operands=[view], result_types=[result], properties={"row": _text(start[0]), "col": _text(start[1])}
        )

    def verify_(self) -> None:
        try:
            rule = infer.load(self.view.type, self.start, cast(TileType, self.result.type).shape)
        except RuleError as e:
            raise VerifyException(str(e)) from None
        if rule.dtype != cast(TileType, self.result.type).dtype:
            raise VerifyException(f"[E202] a load of {self.view.type} gives {rule.dtype}")


@irdl_op_definition
class StoreOp(_AccessOp):
    """Writes the valid part of a tile, clipped to the view."""

    name = "tile.store"
    tile = operand_def(TileType)
    view = operand_def(ViewType)

    def __init__(self, tile: SSAValue, view: SSAValue, start: tuple[Expr, Expr]) -> None:
        super().__init__(operands=[tile, view], properties={"row": _text(start[0]), "col": _text(start[1])})

    def verify_(self) -> None:
        try:
            infer.store(self.tile.type, self.view.type, cast(TileType, self.tile.type).shape)
        except RuleError as e:
            raise VerifyException(str(e)) from None


@irdl_op_definition
class ConstantOp(TileOp):
    """A scalar literal; `value` is the number's text ("0.5", "-inf", "7")."""

    name = "tile.constant"
    value = prop_def(StringAttr)
    result = result_def()

    def __init__(self, value: float | int, dtype: str) -> None:
        super().__init__(result_types=[DTYPES[dtype]], properties={"value": StringAttr(repr(value))})


@irdl_op_definition
class IndexOp(TileOp):
    """An integer expression as a scalar of the result's dtype."""

    name = "tile.index"
    expr = prop_def(StringAttr)
    result = result_def()

    def __init__(self, expr: ExprLike, dtype: str) -> None:
        super().__init__(result_types=[DTYPES[dtype]], properties={"expr": _text(expr)})


@irdl_op_definition
class FullOp(TileOp):
    """A fully valid tile with one scalar in every lane."""

    name = "tile.full"
    value = operand_def()
    result = result_def(TileType)

    def __init__(self, value: SSAValue, shape: tuple[int, int]) -> None:
        super().__init__(operands=[value], result_types=[TileType.of(shape, dtype_name(value.type))])

    def expected(self) -> Attribute:
        return TileType.of(cast(TileType, self.result.type).shape, infer.dtype_of(self.value.type))


@irdl_op_definition
class IotaOp(TileOp):
    """0, 1, 2, ... along `axis` (i32); the other extent is 1."""

    name = "tile.iota"
    axis = prop_def(IntegerAttr)
    result = result_def(TileType)

    def __init__(self, n: int, axis: int) -> None:
        super().__init__(
            result_types=[TileType.of((n, 1) if axis == 0 else (1, n), "i32")], properties={"axis": _int(axis)}
        )


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
            properties={"op": StringAttr(op), "axis": _int(axis)},
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
        super().__init__(operands=[value, fill], result_types=[infer.fill(value.type)])

    def expected(self) -> Attribute:
        if infer.dtype_of(self.fill.type) != infer.dtype_of(self.value.type):
            raise RuleError("E202", f"{infer.describe(self.value.type)} is filled with {infer.describe(self.fill.type)}")
        return infer.fill(self.value.type)


@irdl_op_definition
class NarrowOp(TileOp):
    """The same tile with a smaller valid region: what a loop-carried value starts from (D7)."""

    name = "tile.narrow"
    value = operand_def(TileType)
    result = result_def(TileType)

    def __init__(self, value: SSAValue, valid: tuple[Expr, Expr]) -> None:
        t = cast(TileType, value.type)
        super().__init__(operands=[value], result_types=[TileType.of(t.shape, t.dtype, valid)])

    def verify_(self) -> None:
        a, b = cast(TileType, self.value.type), cast(TileType, self.result.type)
        if (a.shape, a.dtype) != (b.shape, b.dtype):
            raise VerifyException("[E208] tile.narrow changes only the valid region")


OPERATIONS: list[type[Operation]] = [
    FuncOp, ProgramOp, YieldOp, ForOp, ViewTransposeOp, ViewColumnOp, ViewIndexOp, LoadOp, StoreOp, ConstantOp,
    IndexOp, FullOp, IotaOp, UnaryOp, BinaryOp, SelectOp, CastOp, ReduceOp, DotOp, TransposeOp, FillOp, NarrowOp,
]  # fmt: skip

Tile = Dialect("tile", OPERATIONS, [TileType, ViewType])
