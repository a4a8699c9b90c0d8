"""The operation kernels, built once a test run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import composites
import conversions
import generated
import kernel_package
import pytest
from kernel_package import Package

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Package]:
    """Every operation of the table for every dtype, and the structural kernels."""
    kept = os.environ.get("TILEBUILD_TEST_BUILD")  # a folder to keep the build in: only what changed is compiled again
    root = Path(kept) if kept else tmp_path_factory.mktemp("operations")
    files = {
        "table": generated.table(),
        "composites": composites.module(),
        "conversions": conversions.module(),
        "structural": (HERE / "structural.py").read_text(encoding="utf-8"),
    }
    project = kernel_package.write(root / "project", "opkernels", files)
    built = kernel_package.build(project, root / "site")
    with kernel_package.on_path(built.site):
        yield built
