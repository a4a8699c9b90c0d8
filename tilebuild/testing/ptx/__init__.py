"""An emulator for PTX on NumPy arrays: the functional test of GPU kernels on machines without a GPU.

`emulate` runs an entry of a PTX text; see docs/ptx-emulator.md for what it models, finds and leaves out.
"""

from __future__ import annotations

from tilebuild.testing.ptx.arguments import Placed, Structure
from tilebuild.testing.ptx.launch import Run, emulate

__all__ = ["Placed", "Run", "Structure", "emulate"]
