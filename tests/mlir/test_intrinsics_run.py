"""Every tile intrinsic, built for the cpu from MLIR and executed against NumPy, and whole kernels of them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

import intrinsic_kernels
import numpy as np
import pytest
from intrinsic_kernels import SIZES, Case
from intrinsic_text import module
from whole_kernels import WHOLE

from tilebuild.build import configure
from tilebuild.build.driver import build_kernels
from tilebuild.frontend.intrinsics_table import INTRINSICS

PACKAGE = "intrinsic_tiles"
CASES = {f"{name}_{r}x{c}": case for r, c in SIZES for name, case in intrinsic_kernels.cases((r, c)).items()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The kernels in a package of two `.mlir` files and the lines of Python that name them."""
    root = tmp_path_factory.mktemp("intrinsics")
    source = root / "src" / PACKAGE
    source.mkdir(parents=True)
    files = {"each": CASES, "whole": WHOLE}
    lines = ["import tilebuild as tb", ""]
    for file, cases in files.items():
        (source / f"{file}.mlir").write_text(module(*(case.text for case in cases.values())))
        lines += [f'{c.text.name} = tb.mlir_kernel("{file}.mlir", "{c.text.name}")' for c in cases.values()]
    (source / "__init__.py").write_text("\n".join(lines) + "\n")
    (root / "pyproject.toml").write_text(
        f'[project]\nname = "{PACKAGE}"\nversion = "1"\n[tool.tilebuild]\ntargets = ["cpu"]\n'
        '[tool.tilebuild.target.cpu]\nlevels = ["v2"]\n'
    )
    kernels = build_kernels(root, configure(root), log=lambda _: None)
    for name, path in kernels.files.items():
        place = root / "src" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
    sys.path.insert(0, str(root / "src"))
    importlib.invalidate_caches()
    try:
        yield importlib.import_module(PACKAGE)
    finally:
        sys.path.remove(str(root / "src"))


def run(built: ModuleType, case: Case) -> None:
    rng = np.random.default_rng(len(case.text.name))
    inputs = [make(rng) for make in case.inputs]
    wide = [x.astype(np.float64) if getattr(x, "dtype", None) == np.float32 else x for x in inputs]
    got: Any = getattr(built, case.text.name)(*inputs)
    check(got if isinstance(got, tuple) else (got,), case.want(*wide), case)


def check(got: Sequence[Any], want: Sequence[Any], case: Case) -> None:
    """Integers agree; floats are as near as the case says."""
    assert len(got) == len(want)
    for g, w in zip(got, want):
        assert g.shape == w.shape
        if g.dtype == np.int32:
            np.testing.assert_array_equal(g, w)
        else:
            size = np.abs(w).max() if case.of_largest else np.abs(w)
            assert np.all(np.abs(g - w) <= case.ulps * np.spacing(np.float32(size)))


@pytest.mark.parametrize("name", CASES)
def test_intrinsic(name: str, built: ModuleType) -> None:
    run(built, CASES[name])


@pytest.mark.parametrize("name", WHOLE)
def test_whole_kernel(name: str, built: ModuleType) -> None:
    run(built, WHOLE[name])


def test_every_intrinsic_is_run() -> None:
    text = module(*(case.text for case in CASES.values()))
    for prefix in ("@__tile_", "@ascend_tile_"):
        assert [name for name in INTRINSICS if f"{prefix}{name}_" not in text] == []
