"""The pto target: PTO-MLIR at level 3 with the planner's own addresses, for Huawei Ascend; assembled where ptoas is."""

from tilebuild.targets.pto.target import TARGET

__all__ = ["TARGET"]
