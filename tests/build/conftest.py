"""Projects with one instruction level and a compiler that keeps a log, on the front of PATH."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import small_project
from small_project import Project


@pytest.fixture
def gcc() -> None:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not here")


@pytest.fixture
def project(tmp_path: Path, gcc: None, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Three kernels in two files, not built yet."""
    made = small_project.make(tmp_path)
    monkeypatch.setenv("PATH", f"{made.bin}{os.pathsep}{os.environ['PATH']}")
    return made


@pytest.fixture
def built(project: Project) -> Project:
    """The same after its first build."""
    project.build()
    assert project.compiled()
    return project
