"""The tile dialect: SSA over tiles, views and scalars, one operation a class, declared.

Integers that index or count are not SSA values: they are expressions (`plan.expr`) in attributes, over the
dimensions, stride symbols, program ids (declared by `tile.program`) and loop ids (declared by `tile.for`) in scope.
Every operation may carry `span`, "line:column-line:column" in the function's source file.
"""

from __future__ import annotations

from xdsl.ir import Dialect, Operation

from tilebuild.ir.base import TileOp
from tilebuild.ir.compute import (
    BinaryOp,
    CastOp,
    ConstantOp,
    DotOp,
    FillOp,
    FullOp,
    IndexOp,
    IotaOp,
    NarrowOp,
    ReduceOp,
    SelectOp,
    TransposeOp,
    UnaryOp,
)
from tilebuild.ir.indirect import AtomicAddOp, GatherOp, ScatterOp
from tilebuild.ir.memory import LoadOp, StoreOp, ViewColumnOp, ViewIndexOp, ViewTransposeOp, WindowOp, _ViewOp
from tilebuild.ir.shape import ConcatOp, InterleaveOp, ReshapeOp, ShapeOp, SliceOp
from tilebuild.ir.structure import AssumeOp, ForOp, FuncOp, ProgramOp, YieldOp
from tilebuild.ir.types import TileType, ViewType

__all__ = [
    "OPERATIONS",
    "AssumeOp",
    "AtomicAddOp",
    "BinaryOp",
    "CastOp",
    "ConcatOp",
    "ConstantOp",
    "DotOp",
    "FillOp",
    "ForOp",
    "FullOp",
    "FuncOp",
    "GatherOp",
    "IndexOp",
    "InterleaveOp",
    "IotaOp",
    "LoadOp",
    "NarrowOp",
    "ProgramOp",
    "ReduceOp",
    "ReshapeOp",
    "ScatterOp",
    "SelectOp",
    "ShapeOp",
    "SliceOp",
    "StoreOp",
    "Tile",
    "TileOp",
    "TransposeOp",
    "UnaryOp",
    "ViewColumnOp",
    "ViewIndexOp",
    "ViewTransposeOp",
    "WindowOp",
    "YieldOp",
    "_ViewOp",
]

OPERATIONS: list[type[Operation]] = [
    FuncOp, ProgramOp, AssumeOp, YieldOp, ForOp, ViewTransposeOp, ViewColumnOp, ViewIndexOp, LoadOp, WindowOp,
    StoreOp, ConstantOp, IndexOp, FullOp, IotaOp, UnaryOp, BinaryOp, SelectOp, CastOp, ReduceOp, DotOp, TransposeOp,
    FillOp, NarrowOp, GatherOp, ScatterOp, AtomicAddOp, SliceOp, ConcatOp, InterleaveOp, ReshapeOp,
]  # fmt: skip

Tile = Dialect("tile", OPERATIONS, [TileType, ViewType])
