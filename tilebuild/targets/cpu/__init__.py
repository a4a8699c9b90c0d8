"""The cpu target: generated C with vector extensions, one object a kernel and instruction set, one shared library."""

from tilebuild.targets.cpu.target import TARGET

__all__ = ["TARGET"]
