"""The composites written in the language itself, as sources to inline from."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

from tilebuild.frontend.scope import Sources

MODULE = "tilebuild.lang.library"


@functools.cache
def library() -> Sources:
    """`tilebuild.lang.library` as text: found by its spec, read, never imported."""
    spec = importlib.util.find_spec(MODULE)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(MODULE)
    path = Path(spec.origin)
    return Sources(path.parents[2], {MODULE: path})  # called tilebuild/lang/library.py in messages
