"""What this machine is, in the words that manifests and messages use."""

from __future__ import annotations

import os
import sys

_ALIASES = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}


def canonical(arch: str) -> str:
    """One spelling for each host architecture: "x86-64" and "AMD64" are "x86_64"."""
    name = arch.lower().replace("-", "_")
    return _ALIASES.get(name, name)


def architecture() -> str:
    """This machine's host architecture, e.g. "x86_64" or "aarch64"."""
    if hasattr(os, "uname"):
        return canonical(os.uname().machine)
    return canonical(os.environ.get("PROCESSOR_ARCHITECTURE", "unknown"))


def describe() -> str:
    """Operating system and architecture, e.g. "linux, x86_64"."""
    return f"{sys.platform}, {architecture()}"
