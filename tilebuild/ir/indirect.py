"""Operations of the tile dialect that touch elements which the data names: gather, scatter, atomic addition."""

from __future__ import annotations

from typing import cast

from xdsl.dialects.builtin import IntegerAttr, StringAttr
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def

from tilebuild.ir import infer
from tilebuild.ir.base import TileOp, integer, text
from tilebuild.ir.infer import RuleError
from tilebuild.ir.memory import _AccessOp
from tilebuild.ir.types import TileType, ViewType, parse_expr
from tilebuild.plan.expr import Expr, emin

OUT_OF_BOUNDS = ("zero", "clamp")
MODES = ("set", "add", "max")
_UPDATED = {"set": ("f32", "i32", "u32"), "add": ("f32", "i32", "u32"), "max": ("f32", "i32")}


def _indices(idx: Attribute) -> TileType:
    if not isinstance(idx, TileType) or idx.dtype != "i32":
        raise RuleError("E202", f"indices are an i32 tile, found {infer.describe(idx)}", "`.to(tb.i32)`")
    return idx


def gather(view: Attribute, idx: Attribute, col: Expr, cols: int, oob: str) -> TileType:
    """Of a vector, element idx[r, c] for every lane; of rows, `cols` elements from `col` of row idx[r, 0]."""
    if oob not in OUT_OF_BOUNDS:
        message = f"a gather says what an index outside of the array gives, found oob={oob!r}"
        raise RuleError("E320", message, 'oob="zero", or oob="clamp"')
    index = _indices(idx)
    if not isinstance(view, ViewType) or len(view.dims) > 2:
        raise RuleError("E207", f"a gather takes a vector, or tiles of rows, found {infer.describe(view)}", "x[b]")
    if view.mode != "in":
        raise RuleError("E303", f"a gather from an array that is written ({view.mode})", "declare the array tb.In")
    if len(view.dims) == 1:
        return TileType.of(index.shape, view.dtype, index.valid)
    if index.shape[1] != 1:
        raise RuleError("E201", f"rows are gathered by a tile of one column, found {infer.describe(idx)}", "[BM, 1]")
    return TileType.of((index.shape[0], cols), view.dtype, (index.valid[0], emin(cols, view.dims[1] - col)))


def scatter(tile: Attribute, idx: Attribute, view: Attribute, mode: str, unique: bool) -> None:
    """Lanes of a tile to elements of a vector, or rows of it to rows, wherever the indices say."""
    if mode not in MODES:
        raise RuleError("E320", f"a scatter says how values meet, found mode={mode!r}", f"one of {', '.join(MODES)}")
    if mode == "set" and not unique:
        raise RuleError(
            "E321", "a scatter that sets elements may set one of them twice", 'mode="add", or unique=True where no '
            "index occurs twice in a launch",
        )  # fmt: skip
    index = _indices(idx)
    if not isinstance(tile, TileType) or not isinstance(view, ViewType):
        raise RuleError("E205", f"a scatter needs a tile and an array, found {infer.describe(tile)}")
    updated(tile, view, mode)
    if len(view.dims) == 1 and tile.shape != index.shape:
        raise RuleError("E201", f"{infer.describe(tile)} is scattered by {infer.describe(idx)}", "one index a lane")
    if len(view.dims) == 2 and index.shape != (tile.shape[0], 1):
        raise RuleError("E201", f"rows of {infer.describe(tile)} are scattered by {infer.describe(idx)}", "[BM, 1]")


def updated(tile: TileType, view: ViewType, mode: str) -> None:
    """An array that several programs change in any order."""
    if len(view.dims) > 2:
        raise RuleError("E207", f"{infer.describe(view)} is neither a vector nor rows", "index the leading ones: y[b]")
    if view.mode == "in" or (mode != "set" and view.mode != "inout"):
        raise RuleError("E303", f"an array declared {view.mode} takes part in {mode}", "declare it `tb.InOut`")
    if tile.dtype != view.dtype:
        raise RuleError("E202", f"{infer.describe(tile)} goes to {infer.describe(view)}", f"`.to(tb.{view.dtype})`")
    if tile.dtype not in _UPDATED[mode]:
        raise RuleError("E204", f"{mode} of {tile.dtype} in an array (only {', '.join(_UPDATED[mode])})", "`.to(...)`")


@irdl_op_definition
class GatherOp(TileOp):
    """See `gather`."""

    name = "tile.gather"
    idx = operand_def(TileType)
    view = operand_def(ViewType)
    col = prop_def(StringAttr)
    oob = prop_def(StringAttr)
    result = result_def(TileType)

    def __init__(self, idx: SSAValue, view: SSAValue, col: Expr, cols: int, oob: str) -> None:
        super().__init__(
            operands=[idx, view],
            result_types=[gather(view.type, idx.type, col, cols, oob)],
            properties={"col": text(col), "oob": StringAttr(oob)},
        )

    @property
    def start(self) -> Expr:
        return parse_expr(self.col.data)

    def expected(self) -> Attribute:
        cols = self.result.type.shape[1]
        return gather(self.view.type, self.idx.type, self.start, cols, self.oob.data)


@irdl_op_definition
class ScatterOp(TileOp):
    """See `scatter`; what an index outside of the array names is dropped. Anything but "set" is atomic."""

    name = "tile.scatter"
    tile = operand_def(TileType)
    idx = operand_def(TileType)
    view = operand_def(ViewType)
    col = prop_def(StringAttr)
    mode = prop_def(StringAttr)
    unique = prop_def(IntegerAttr)

    def __init__(self, tile: SSAValue, idx: SSAValue, view: SSAValue, col: Expr, *, mode: str, unique: bool) -> None:
        properties = {"col": text(col), "mode": StringAttr(mode), "unique": integer(int(unique))}
        super().__init__(operands=[tile, idx, view], properties=properties)

    @property
    def start(self) -> Expr:
        return parse_expr(self.col.data)

    def check(self) -> None:
        self.start  # noqa: B018
        scatter(self.tile.type, self.idx.type, self.view.type, self.mode.data, bool(self.unique.value.data))


@irdl_op_definition
class AtomicAddOp(_AccessOp):
    """Adds the valid part of a tile to a view, clipped to it; programs may meet there, in any order."""

    name = "tile.atomic_add"
    tile = operand_def(TileType)
    view = operand_def(ViewType)

    def __init__(self, tile: SSAValue, view: SSAValue, start: tuple[Expr, Expr]) -> None:
        super().__init__(operands=[tile, view], properties={"row": text(start[0]), "col": text(start[1])})

    def check(self) -> None:
        tile, view = cast(TileType, self.tile.type), cast(ViewType, self.view.type)
        infer.store(tile, view, tile.shape)
        updated(tile, view, "add")
        self.start  # noqa: B018
