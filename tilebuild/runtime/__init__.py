"""Run time: finds a package's built kernels, picks and verifies a library, checks each call and launches.

Uses the standard library and, of tilebuild, `diagnostics`, `manifest` and `plan` only; NumPy and torch are touched
only where the caller passed their arrays. Every failure is a `LaunchError` (E8xx).
"""

from __future__ import annotations

from tilebuild.runtime.choice import Candidate
from tilebuild.runtime.errors import LaunchError
from tilebuild.runtime.launcher import Launcher, find

__all__ = ["Candidate", "LaunchError", "Launcher", "find"]
