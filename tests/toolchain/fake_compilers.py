"""Compilers made of a few lines of shell, and descriptions that find nothing of the machine's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from tilebuild.toolchain import Description, descriptions
from tilebuild.toolchain.description import Place

GCC = "gcc (Debian 12.2.0-14+deb12u1) 12.2.0\nCopyright (C) 2022 Free Software Foundation, Inc."
CLANG = "Debian clang version 14.0.6\nTarget: x86_64-pc-linux-gnu"
APPLE = "Apple clang version 15.0.0 (clang-1500.3.9.4)\nTarget: arm64-apple-darwin23.4.0"


def fake(directory: Path, name: str, text: str, script: str = "") -> Path:
    """An executable that prints `text` after running `script`, and adds a line to `runs` beside it each time."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    path.write_text(f"#!/bin/sh\necho {name} >> '{directory / 'runs'}'\n{script}\nprintf '%s\\n' '{text}'\n")
    path.chmod(0o755)
    return path


def runs(directory: Path) -> list[str]:
    """The names of the fakes that were started, in order."""
    log = directory / "runs"
    return log.read_text().split() if log.exists() else []


def known() -> Mapping[str, Description]:
    """The built-in descriptions; the Python package of zig is one that nobody has."""
    built_in = descriptions(environ={})
    places = (Place(environment="TILEBUILD_ZIG"), Place(package="no_such_package", file="zig"), Place(path=("zig",)))
    return {**built_in, "zig": dataclasses.replace(built_in["zig"], find=places)}
