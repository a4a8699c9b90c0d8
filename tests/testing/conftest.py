"""The gpu target's helpers for compiling the example's kernels are used here too."""

from __future__ import annotations

import sys
from pathlib import Path

_TARGETS = Path(__file__).parent.parent / "targets"
sys.path[:0] = [str(_TARGETS / "gpu"), str(_TARGETS / "cpu")]
