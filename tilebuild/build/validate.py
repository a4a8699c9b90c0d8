"""The plug-in for validate-pyproject (entry point `validate_pyproject.tool_schema`): it checks [tool.tilebuild]."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def schema(tool_name: str = "tilebuild") -> dict[str, Any]:
    """the table of tilebuild: what to build kernels for, and how

    It is the published schema, so that the targets of plug-ins, whose options it does not know, have any.
    """
    found: dict[str, Any] = json.loads((Path(__file__).parent / "schema.json").read_text(encoding="utf-8"))
    return found
