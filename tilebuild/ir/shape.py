"""Operations of the tile dialect that move lanes: slice, concat, interleave, reshape.

A slice and a concat are lists of `Move`s, boxes of an operand that become boxes of the result. An axis on which lanes
move has to be fully valid (R14): where a lane goes may not depend on what is valid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from xdsl.dialects.builtin import IntegerAttr
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def, var_operand_def

from tilebuild.ir import infer
from tilebuild.ir.base import TileOp, integer
from tilebuild.ir.infer import RuleError
from tilebuild.ir.types import TileType
from tilebuild.plan.expr import Expr, emin

Shape = tuple[int, int]
_AXES = ("rows", "columns")


class Span(NamedTuple):
    """`size` positions of an axis from `start` on."""

    start: int
    size: int


class Move(NamedTuple):
    """A box of an operand, (rows, columns), and the equally large box of the result that it becomes."""

    operand: int
    source: tuple[Span, Span]
    target: tuple[Span, Span]


class ShapeOp(TileOp):
    """What all of them have."""

    result = result_def(TileType)


def _tile(what: str, t: Attribute) -> TileType:
    if not isinstance(t, TileType):
        raise RuleError("E205", f"{what} needs a tile, found {infer.describe(t)}", "load a tile: x.tiles(BM, BN)[i, j]")
    return t


def _full(what: str, t: TileType, axis: int) -> None:
    if t.valid[axis] != Expr.of(t.shape[axis]):
        message = f"{what} moves {_AXES[axis]} of {infer.describe(t)}, of which {t.valid[axis]} are valid"
        raise RuleError("E208", message, "make it fully valid first: .fill(0.0)")


def _whole(shape: Shape) -> tuple[Span, Span]:
    return Span(0, shape[0]), Span(0, shape[1])


@irdl_op_definition
class SliceOp(ShapeOp):
    """The box of the result's extents that starts at (row, col)."""

    name = "tile.slice"
    row = prop_def(IntegerAttr)
    col = prop_def(IntegerAttr)
    value = operand_def()

    def __init__(self, value: SSAValue, start: Shape, shape: Shape) -> None:
        super().__init__(
            operands=[value],
            result_types=[self.infer(value.type, start, shape)],
            properties={"row": integer(start[0]), "col": integer(start[1])},
        )

    @staticmethod
    def infer(t: Attribute, start: Shape, shape: Shape) -> TileType:
        t = _tile("a slice", t)
        valid = list(t.valid)
        for axis in (0, 1):
            if not (start[axis] >= 0 and shape[axis] >= 1 and start[axis] + shape[axis] <= t.shape[axis]):
                end = start[axis] + shape[axis]
                raise RuleError(
                    "E203", f"a slice of {_AXES[axis]} {start[axis]} to {end} of {infer.describe(t)}",
                    "a start of at least 0, an extent of at least 1, and an end inside the tile",
                )  # fmt: skip
            if shape[axis] != t.shape[axis]:
                _full("a slice", t, axis)
                valid[axis] = Expr.of(shape[axis])
        return TileType.of(shape, t.dtype, (valid[0], valid[1]))

    @property
    def start(self) -> Shape:
        return self.row.value.data, self.col.value.data

    def expected(self) -> Attribute:
        return self.infer(self.value.type, self.start, self.result.type.shape)

    def moves(self) -> list[Move]:
        """Every lane of the result once."""
        shape = self.result.type.shape
        return [Move(0, (Span(self.start[0], shape[0]), Span(self.start[1], shape[1])), _whole(shape))]


@irdl_op_definition
class ConcatOp(ShapeOp):
    """Tiles side by side along an axis."""

    name = "tile.concat"
    axis = prop_def(IntegerAttr)
    values = var_operand_def()

    def __init__(self, values: Sequence[SSAValue], axis: int) -> None:
        super().__init__(
            operands=[list(values)],
            result_types=[self.infer([v.type for v in values], axis)],
            properties={"axis": integer(axis)},
        )

    @staticmethod
    def infer(types: Sequence[Attribute], axis: int) -> TileType:
        tiles = [_tile("concat", t) for t in types]
        if not tiles or axis not in (0, 1):
            raise RuleError("E206", f"concat of {len(tiles)} tiles along axis {axis}", "at least one tile, axis 0 or 1")
        first, other = tiles[0], 1 - axis
        for t in tiles:
            if t.shape[other] != first.shape[other] or t.dtype != first.dtype:
                raise RuleError(
                    "E201", f"concat of {infer.describe(first)} and {infer.describe(t)}",
                    f"give them one dtype and as many {_AXES[other]}",
                )  # fmt: skip
            _full("concat", t, axis)
        total = sum(t.shape[axis] for t in tiles)
        shared = emin(*(t.valid[other] for t in tiles))
        shape = (total, first.shape[1]) if axis == 0 else (first.shape[0], total)
        valid = (Expr.of(total), shared) if axis == 0 else (shared, Expr.of(total))
        return TileType.of(shape, first.dtype, valid)

    def expected(self) -> Attribute:
        return self.infer(self.operand_types, self.axis.value.data)

    def moves(self) -> list[Move]:
        """Every lane of the result once."""
        found, at = [], 0
        for n, t in enumerate(self.operand_types):
            rows, cols = _whole(_tile("concat", t).shape)
            if self.axis.value.data == 0:
                found.append(Move(n, (rows, cols), (Span(at, rows.size), cols)))
                at += rows.size
            else:
                found.append(Move(n, (rows, cols), (rows, Span(at, cols.size))))
                at += cols.size
        return found


@irdl_op_definition
class InterleaveOp(ShapeOp):
    """The columns of two tiles by turns: column 2c is a's column c, column 2c + 1 is b's."""

    name = "tile.interleave"
    a = operand_def()
    b = operand_def()

    def __init__(self, a: SSAValue, b: SSAValue) -> None:
        super().__init__(operands=[a, b], result_types=[self.infer(a.type, b.type)])

    @staticmethod
    def infer(a: Attribute, b: Attribute) -> TileType:
        left, right = _tile("interleave", a), _tile("interleave", b)
        if left.shape != right.shape or left.dtype != right.dtype:
            raise RuleError(
                "E201", f"interleave of {infer.describe(left)} and {infer.describe(right)}",
                "give both the same extents and dtype",
            )  # fmt: skip
        for t in (left, right):
            _full("interleave", t, 1)
        rows, cols = left.shape
        return TileType.of((rows, 2 * cols), left.dtype, (emin(left.valid[0], right.valid[0]), Expr.of(2 * cols)))

    def expected(self) -> Attribute:
        return self.infer(self.a.type, self.b.type)


@irdl_op_definition
class ReshapeOp(ShapeOp):
    """The same lanes, row after row, in rows of another length."""

    name = "tile.reshape"
    value = operand_def()

    def __init__(self, value: SSAValue, shape: Shape) -> None:
        super().__init__(operands=[value], result_types=[self.infer(value.type, shape)])

    @staticmethod
    def infer(t: Attribute, shape: Shape) -> TileType:
        t = _tile("reshape", t)
        if min(shape) < 1 or t.shape[0] * t.shape[1] != shape[0] * shape[1]:
            message = f"{infer.describe(t)} reshaped to [{shape[0]}, {shape[1]}]"
            raise RuleError("E203", message, "give as many lanes as before")
        if shape != t.shape:
            _full("reshape", t, 0)
            _full("reshape", t, 1)
            return TileType.of(shape, t.dtype)
        return t

    def expected(self) -> Attribute:
        return self.infer(self.value.type, self.result.type.shape)
