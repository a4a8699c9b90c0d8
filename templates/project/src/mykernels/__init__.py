"""Tile kernels: `from mykernels import axpy; z = axpy(x, y, 2.0)`."""

from mykernels.kernels import axpy

__all__ = ["axpy"]
