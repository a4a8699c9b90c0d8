"""A small package whose kernels are made by a stand-in for the kernel build: what is tested here is the packaging."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tilebuild.build.driver import KernelBuild
from tilebuild.manifest import SCHEMA, Manifest

PYPROJECT = """
[build-system]
requires = ["tilebuild"]
build-backend = "tilebuild.backend"

[project]
name = "thing"
version = "1.2"
description = "A thing"
requires-python = ">=3.10"
dependencies = ["tilebuild"]

[tool.tilebuild]
targets = ["cpu"]
"""
LOCATOR = "from pathlib import Path\n\nWHERE = Path(__file__).parent\n"


@dataclass(frozen=True)
class Project:
    """`root` holds the package `thing`; the stand-in build writes below `build_dir` and nowhere else."""

    root: Path

    def append(self, toml: str) -> None:
        with (self.root / "pyproject.toml").open("a") as f:
            f.write(toml)


def make(root: Path) -> Project:
    source = root / "src" / "thing"
    source.mkdir(parents=True)
    (root / "pyproject.toml").write_text(PYPROJECT)
    (source / "__init__.py").write_text("answer = 42\n")
    return Project(root)


def kernel_build(project: Path) -> KernelBuild:
    """Files as a build leaves them, in directories that are not laid out like the wheel."""
    built = project / "build" / "kernels"
    manifest: Manifest = {"schema": SCHEMA, "tilebuild": "0", "package": "thing", "kernels": [], "libraries": {}}
    contents = {
        "thing/_kernels/__init__.py": ("gen/locator.py", LOCATOR.encode()),
        "thing/_kernels/manifest.json": ("gen/m.json", json.dumps(manifest).encode()),
        "thing/_kernels/cpu/lib, one.so": ("obj/x.so", b"\x7fELF library"),
        "thing/_kernels/cpu/lib.so": ("obj/y.so", b"\x7fELF another"),
        "thing/_kernels/plans/softmax.json.gz": ("plans/s.json.gz", b"\x1f\x8b plan"),
    }
    files = {}
    for name, (place, data) in contents.items():
        files[name] = built / place
        files[name].parent.mkdir(parents=True, exist_ok=True)
        files[name].write_bytes(data)
    return KernelBuild(package="thing", files=files, manifest=manifest, requirements=())
