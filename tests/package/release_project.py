"""A project with two kernels, built for the cpu and for spirv: kernel sets, host wheel, and the wheel in one go."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tilebuild import backend
from tilebuild.cli import main

PYPROJECT = """
[build-system]
requires = ["tilebuild"]
build-backend = "tilebuild.backend"

[project]
name = "Duo.kernels"
version = "1.2"

[tool.tilebuild]
targets = ["cpu", "spirv"]
[tool.tilebuild.target.cpu]
levels = ["v2"]
[tool.scikit-build]
wheel.packages = ["src/duo"]
"""
KERNELS = """import tilebuild as tb

M, N = tb.dims("M N")


@tb.kernel
def double(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N], *, BM: tb.Const = 4, BN: tb.Const = 64):
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    y.tiles(BM, BN)[i, j] = x.tiles(BM, BN)[i, j] * 2.0


@tb.kernel
def half(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N], *, BM: tb.Const = 4, BN: tb.Const = 64):
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    y.tiles(BM, BN)[i, j] = x.tiles(BM, BN)[i, j] * 0.5
"""


@dataclass(frozen=True)
class Release:
    """`cpu` and `spirv` are kernel sets; `host` has the cpu's kernels in it, `once` those of both targets."""

    root: Path
    cpu: Path
    spirv: Path
    host: Path
    once: Path


def make(root: Path) -> Release:
    package = root / "project" / "src" / "duo"
    package.mkdir(parents=True)
    (root / "project" / "pyproject.toml").write_text(PYPROJECT)
    (package / "__init__.py").write_text("from duo.kernels import double, half\n")
    (package / "kernels.py").write_text(KERNELS)
    (package / "zebra.py").write_text("# sorts after the kernels\n")
    sets = {target: kernel_set(root / "project", target, root / target) for target in ("cpu", "spirv")}
    host = wheel(root / "project", root / "host", {"tilebuild.targets": ["cpu"]})
    once = wheel(root / "project", root / "once", {})
    return Release(root, sets["cpu"], sets["spirv"], host, once)


def kernel_set(project: Path, target: str, folder: Path) -> Path:
    assert main(["build", str(project), "--target", target, "--output", str(folder)]) == 0
    return folder


def wheel(project: Path, folder: Path, settings: dict[str, Any]) -> Path:
    folder.mkdir()
    with working_in(project):
        return folder / backend.build_wheel(str(folder), settings)


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def copied(kernel_set: Path, to: Path) -> Path:
    return Path(shutil.copytree(kernel_set, to))


def describe(folder: Path, **changes: Any) -> None:
    """Writes other facts into a set's description."""
    file = folder / "kernel-set.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def rewrite(folder: Path, old: str, new: str, *, manifest_only: bool = False) -> Path:
    """The set as if it had been built with other words in its manifest and file names; its digests are right again."""
    described = json.loads((folder / "kernel-set.json").read_text())
    inside = folder / "files" / described["package"] / "_kernels"
    manifest = inside / "manifest.json"
    manifest.write_text(manifest.read_text().replace(old, new))
    if not manifest_only:
        for file in sorted(inside.rglob("*"), reverse=True):
            if old in file.name:
                file.rename(file.with_name(file.name.replace(old, new)))
    files = [file for file in inside.rglob("*") if file.is_file()]
    digests = {f.relative_to(inside).as_posix(): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}
    describe(folder, files=digests)
    return folder


def as_gpu(kernel_set: Path, to: Path, arch: str) -> Path:
    """A stand-in for the set of a gpu, which needs its compilers: the files of `spirv` under another name."""
    copied(kernel_set, to)
    rewrite(to, "spirv:vulkan1.2", f"gpu:{arch}", manifest_only=True)
    inside = to / "files" / "duo" / "_kernels"
    (inside / "gpu").mkdir()
    (inside / "spirv" / "vulkan1.2").rename(inside / "gpu" / arch)
    (inside / "spirv").rmdir()
    (inside / "plans" / "spirv-vulkan1.2").rename(inside / "plans" / f"gpu-{arch}")
    rewrite(to, "spirv/vulkan1.2", f"gpu/{arch}", manifest_only=True)
    rewrite(to, "spirv-vulkan1.2", f"gpu-{arch}", manifest_only=True)
    rewrite(to, '"arch": "vulkan1.2"', f'"arch": "{arch}"', manifest_only=True)
    return rewrite(to, '"target": "spirv"', '"target": "gpu"', manifest_only=True)
