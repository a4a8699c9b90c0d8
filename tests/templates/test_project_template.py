"""The project template: what a new project starts from must build as it is."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tilebuild import toolchain
from tilebuild.build import configure
from tilebuild.build.driver import build_kernels
from tilebuild.diagnostics import TilebuildError

TEMPLATE = Path(__file__).parents[2] / "templates" / "project"

CALL = """
import numpy as np
from mykernels import axpy
x, y = np.arange(35, dtype="float32").reshape(5, 7), np.ones((5, 7), "float32")
assert (axpy(x, y, 2.0) == 2 * x + 1).all()
assert (axpy.reference(x, y, 2.0) == 2 * x + 1).all()
"""


def test_the_template_builds_and_runs(tmp_path: Path) -> None:
    try:
        toolchain.find("c-compiler")
    except TilebuildError as e:
        pytest.skip(str(e))
    project = tmp_path / "project"
    shutil.copytree(TEMPLATE, project)
    built = build_kernels(project, configure(project), log=lambda line: None)
    assert built.package == "mykernels"
    for name, file in built.files.items():
        target = project / "src" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    subprocess.run([sys.executable, "-c", CALL], cwd=project / "src", check=True)
