"""The PTX of foreign/ and how to launch it: see foreign/README.md."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tilebuild.testing.ptx import Run, emulate

FOLDER = Path(__file__).parent / "foreign"


@cache
def launches() -> dict[str, dict[str, Any]]:
    """launch.json"""
    found: dict[str, dict[str, Any]] = json.loads((FOLDER / "launch.json").read_text(encoding="utf-8"))
    return found


@cache
def text(name: str) -> str:
    """The PTX in which a launch's entry is."""
    return (FOLDER / launches()[name]["file"]).read_text(encoding="utf-8")


def grid(name: str, values: Mapping[str, Any]) -> list[int]:
    """The extents of a launch's grid for the values of its arguments and other names."""
    facts = launches()[name]
    known = {"ceil": math.ceil, **facts["constants"], **values}
    return [int(eval(e, {"__builtins__": {}}, known)) for e in facts["grid"]]


def launch(name: str, values: Mapping[str, Any], **options: Any) -> Run:
    """Emulate a launch. `values`: the arguments by name, and what the grid's extents mention besides."""
    facts = launches()[name]
    arguments = [None if a is None else values[a] for a in facts["arguments"]]
    given = options.pop("text", None) or text(name)
    return emulate(
        given,
        facts["entry"],
        grid(name, values),
        facts["block"],
        arguments,
        shared_bytes=facts["shared_bytes"],
        name=facts["file"],
        **options,
    )
