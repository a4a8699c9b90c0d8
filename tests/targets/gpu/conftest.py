"""The kernels' texts of the cpu target's tests are used here too."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "cpu"))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where compiled kernels go; what is there already is used."""
    kept = os.environ.get("TILEBUILD_TEST_BUILD")
    path = Path(kept) / "gpu" if kept else tmp_path_factory.mktemp("gpu")
    path.mkdir(parents=True, exist_ok=True)
    return path
