"""One compilation a session: plain kernels, and libraries that claim one level of two, or none."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from runtime_support import Site


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    compiler = shutil.which("gcc") or shutil.which("clang") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler: gcc, clang or cc")
    source = Path(__file__).with_name("kernels.c")
    directory = tmp_path_factory.mktemp("libraries")
    made = {}
    for name, flags in {"main": [], "v2": ["-DLEVEL=0"], "v3": ["-DLEVEL=1"], "neither": ["-DLEVEL=-1"]}.items():
        made[name] = directory / f"{name}.so"
        subprocess.run([compiler, "-O1", "-fPIC", "-shared", *flags, "-o", made[name], source], check=True)
    return made


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, libraries: dict[str, Path]) -> Site:
    monkeypatch.syspath_prepend(str(tmp_path))
    return Site(tmp_path, libraries)
