"""The gpu tests' helper, which lowers kernels, is used here too."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "gpu"))
