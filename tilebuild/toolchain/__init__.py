"""Finds compilers: descriptions (`toolchain_files/*.yaml`), the machine, version probes, and the command lines to run.

A compiler is data; nothing here names one. Uses `tilebuild.diagnostics` and `tilebuild.schema` only.
"""

from __future__ import annotations

from tilebuild.toolchain.description import Description, descriptions
from tilebuild.toolchain.machine import host, with_processor
from tilebuild.toolchain.search import Candidate, find, requirements, survey
from tilebuild.toolchain.tool import Tool

__all__ = [
    "Candidate",
    "Description",
    "Tool",
    "descriptions",
    "find",
    "host",
    "requirements",
    "survey",
    "with_processor",
]
