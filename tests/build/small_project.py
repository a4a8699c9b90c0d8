"""A package with a few small kernels, and a C compiler that notes each time it runs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tilebuild.build import configure
from tilebuild.build.driver import KernelBuild, build_kernels

ADD = """import tilebuild as tb

N = tb.dims("N")


@tb.kernel
def add(x: tb.In[tb.f32, N], y: tb.Out[tb.f32, N], *, BN: tb.Const = 64):
    j = tb.program(tb.cdiv(N, BN))
    y.tiles(BN)[j] = x.tiles(BN)[j] + 1.0
"""
SUM = """import tilebuild as tb

M, N = tb.dims("M N")


@tb.kernel
def total(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M], *, BM: tb.Const = 4, BN: tb.Const = 64):
    i = tb.program(tb.cdiv(M, BM))
    s = tb.zeros((BM, 1))
    for j in tb.range(tb.cdiv(N, BN)):
        s += x.tiles(BM, BN)[i, j].sum(1)
    y.col.tiles(BM, 1)[i, 0] = s


@tb.kernel
def half(x: tb.In[tb.f32, N], y: tb.Out[tb.f32, N], *, BN: tb.Const = 64):
    j = tb.program(tb.cdiv(N, BN))
    y.tiles(BN)[j] = x.tiles(BN)[j] * 0.5
"""
_WRAPPER = """#!/bin/sh
for word; do case $word in *.o|*.so) name=$word;; esac; done
echo "$(basename "$name")" >> '{log}'
{script}
exec {real} "$@"
"""
_IN_CHILD = """import sys
from pathlib import Path
from tilebuild.build import configure
from tilebuild.build.driver import build_kernels
project = Path(sys.argv[1])
build_kernels(project, configure(project), log=lambda line: print(line, flush=True))
print("modules", *sorted(sys.modules))
"""


@dataclass(frozen=True)
class Project:
    """`bin` holds the compiler, for the front of PATH; what it writes is listed in `log`."""

    root: Path
    bin: Path

    @property
    def kernels(self) -> Path:
        return self.root / "src" / "pkg" / "kernels"

    @property
    def folder(self) -> Path:
        return self.root / "build" / "tilebuild"

    def build(self) -> KernelBuild:
        return build_kernels(self.root, configure(self.root), log=lambda _: None)

    def command(self) -> list[str]:
        """A command that builds and whose last line of output lists the modules that it imported."""
        return [sys.executable, "-c", _IN_CHILD, str(self.root)]

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(self.command(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def compiled(self) -> list[str]:
        """The outputs that were compiled or linked since the last call, sorted."""
        log = self.bin / "log"
        names = log.read_text().split() if log.exists() else []
        log.unlink(missing_ok=True)
        return sorted(n for n in names if n.startswith(("kernels_", "arena", "dispatch", "kernels.so")))

    def compiler(self, script: str) -> None:
        """Run a line of shell in every compiler run, before the real compiler."""
        real = shutil.which("gcc", path="/usr/local/bin:/usr/bin:/bin") or shutil.which("gcc")
        path = self.bin / "gcc"
        path.write_text(_WRAPPER.format(log=self.bin / "log", script=script, real=real))
        path.chmod(0o755)


def make(root: Path, files: Mapping[str, str] | None = None, options: Mapping[str, Any] | None = None) -> Project:
    """The project in `root / "project"`; `files` are those of the package's folder of kernels."""
    project = Project(root / "project", root / "bin")
    project.kernels.mkdir(parents=True)
    (project.root / "src" / "pkg" / "__init__.py").write_text("")
    for name, text in {
        "__init__.py": "",
        **({"adding.py": ADD, "summing.py": SUM} if files is None else files),
    }.items():
        (project.kernels / name).write_text(text, encoding="utf-8")
    lines = "".join(f"{key} = {value!r}\n" for key, value in (options or {}).items())
    (project.root / "pyproject.toml").write_text(
        f'[project]\nname = "pkg"\nversion = "1"\n[tool.tilebuild]\n{lines or TARGETS}[tool.tilebuild.target.cpu]\n'
        'compiler = "gcc"\nlevels = ["v2"]\n'
    )
    project.bin.mkdir()
    project.compiler("")
    return project


TARGETS = "targets = ['cpu']\n"
