"""Entry points of installed packages that are meant for tilebuild.

`importlib.metadata` reads the files of every installed distribution, which takes longer than a build with nothing to do
may; here only those are handed to it that name a group of ours.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
from pathlib import Path

_MARK = b"tilebuild."


def entry_points(group: str) -> list[importlib.metadata.EntryPoint]:
    """The entry points of a group that begins with "tilebuild."; of two distributions with one name, those of the one
    that comes first on `sys.path`."""
    return [e for e in _ours(tuple(sys.path)) if e.group == group]


def _ours(path: tuple[str, ...]) -> tuple[importlib.metadata.EntryPoint, ...]:
    found: dict[str, list[importlib.metadata.EntryPoint]] = {}
    for directory in path:
        try:
            names = [n for n in os.listdir(directory or ".") if n.endswith((".dist-info", ".egg-info"))]
        except OSError:  # an archive, or nothing at all
            continue
        for name in sorted(names):
            place = os.path.join(directory or ".", name)
            try:
                with open(os.path.join(place, "entry_points.txt"), "rb") as f:
                    concerned = _MARK in f.read()
            except OSError:
                continue
            if concerned:
                points = importlib.metadata.PathDistribution(Path(place)).entry_points
                found.setdefault(name.partition("-")[0].lower(), list(points))
    return tuple(point for points in found.values() for point in points)
