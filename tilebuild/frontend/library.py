"""The composites written in the language itself, as sources to inline from."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Mapping
from pathlib import Path

from tilebuild.frontend.scope import Function, Sources

MODULES = ("tilebuild.lang.functions", "tilebuild.lang.library")
# Composites that a tile has as methods: `t.argmax(1)` is `tb.argmax(t, 1)`.
COMPOSITE_METHODS = ("all", "any", "argmax", "argmin")


@functools.cache
def library() -> Sources:
    """The modules as text: found by their spec, read, never imported."""
    found: dict[str, Path] = {}
    for module in MODULES:
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            raise FileNotFoundError(module)
        found[module] = Path(spec.origin)
    return Sources(found[MODULES[0]].parents[2], found)  # called tilebuild/lang/library.py in messages


def composites(sources: Sources) -> Mapping[str, Function]:
    """All composites by name, those that only others may use with their underscore."""
    names = (item for module in MODULES for item in sources.scope(module).names.items())
    return {name: found for name, found in names if isinstance(found, Function)}
