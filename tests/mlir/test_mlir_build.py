"""`.mlir` files in a build: the manifest, what an edit does, errors at their lines, and every target."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from intrinsic_kernels import SIZES, cases
from intrinsic_text import module
from whole_kernels import WHOLE

from tilebuild import oracle
from tilebuild.build import configure
from tilebuild.build.driver import KernelBuild, build_kernels
from tilebuild.cli import main
from tilebuild.diagnostics import Diagnostic, TilebuildError
from tilebuild.frontend.discover import discover
from tilebuild.frontend.lowering import lower
from tilebuild.targets import api

VIEW = '!tile.view<f32, "{}", ["N"], ["1"], "0">'
TWICE = f"""\
!In = {VIEW.format("in")}
!Out = {VIEW.format("out")}
!T = !tile.tile<1x64xf32, "1", "min(64, N - 64*i)">
"tile.func"() <{{sym_name = "twice", params = ["x", "y"], dims = ["N"]}}> ({{
^bb0(%x: !In, %y: !Out):
  "tile.program"() <{{ids = ["i"], extents = ["(N + 63) // 64"], order = "row"}}> : () -> ()
  %t = "tile.load"(%x) <{{row = "0", col = "64*i"}}> : (!In) -> !T
  %u = "tile.binary"(%t, %t) <{{op = "add"}}> : (!T, !T) -> !T
  "tile.store"(%u, %y) <{{row = "0", col = "64*i"}}> : (!T, !Out) -> ()
}}) : () -> ()
"""
HALF = """\
import tilebuild as tb

N = tb.dims("N")
twice = tb.mlir_kernel("both.mlir", "twice")


@tb.kernel
def half(x: tb.In[tb.f32, N], y: tb.Out[tb.f32, N]):
    i = tb.program(tb.cdiv(N, 64))
    y.tiles(64)[i] = x.tiles(64)[i] * 0.5
"""


def package(root: Path, name: str, **files: str) -> Path:
    folder = root / "src" / name
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    for file, text in files.items():
        (folder / file.replace("_mlir", ".mlir").replace("_py", ".py")).write_text(text)
    (root / "pyproject.toml").write_text(
        f'[project]\nname = "{name}"\nversion = "1"\n[tool.tilebuild]\ntargets = ["cpu"]\n'
        '[tool.tilebuild.target.cpu]\nlevels = ["v2"]\n'
    )
    return root


def build(root: Path, log: list[str] | None = None) -> KernelBuild:
    return build_kernels(root, configure(root), log=(log if log is not None else []).append)


def test_beside_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One module of a Python and an MLIR file; an edit of the latter builds its kernel again, and nothing else."""
    root = package(tmp_path, "mixedpkg", both_py=HALF, both_mlir=TWICE)
    built = build(root)
    entries = {k["name"]: k for k in built.manifest["kernels"]}
    assert set(entries) == {"half", "twice"}
    assert {k["module"] for k in entries.values()} == {"mixedpkg.both"}
    assert (entries["twice"]["file"], entries["twice"]["line"]) == ("src/mixedpkg/both.mlir", 4)
    assert entries["twice"]["dims"] == ["N"]
    sources = {f"mixedpkg/{p.name}": p for p in (root / "src/mixedpkg").glob("*.py")}
    for name, path in {**sources, **built.files}.items():
        place = root / "site" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
    monkeypatch.syspath_prepend(str(root / "site"))
    from mixedpkg import both  # type: ignore[import-not-found]

    x = np.arange(100, dtype=np.float32)
    np.testing.assert_array_equal(both.twice(x), 2 * x)
    np.testing.assert_array_equal(both.twice(both.half(x)), x)
    with pytest.raises(TilebuildError, match="E8"):
        both.twice(x.astype(np.float64))
    log: list[str] = []
    build(root, log)
    assert "up to date" in log[0]
    (root / "src/mixedpkg/both.mlir").write_text(TWICE.replace('op = "add"', 'op = "mul"'))
    log.clear()
    again = build(root, log)
    assert not any("up to date" in line for line in log)
    changed = {k["name"] for k in again.manifest["kernels"] if k["sha256"] != entries[k["name"]]["sha256"]}
    assert changed == {"twice"}


def test_an_error_of_a_build_is_at_the_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = package(
        tmp_path,
        "wrongpkg",
        both_mlir=TWICE.replace('row = "0", col = "64*i"}> : (!In)', 'row = "1", col = "64*i"}> : (!In)'),
    )
    assert main(["build", str(root)]) == 1
    shown = capsys.readouterr().err
    assert "src/wrongpkg/both.mlir:7:3: error[E301]: the row index 1 of x is not proved inside" in shown
    assert '  7 |   %t = "tile.load"(%x)' in shown


PTO_LACKS = {
    "reduce",
    "transpose",
    "attention",
    "gated",
    "transposed_product",
    "joined_rows",
}  # one core, rows in order


@pytest.mark.parametrize("spec", ["gpu:sm_80", "spirv:vulkan1.2", "pto:a2a3"])
def test_every_target_takes_them(spec: str, tmp_path: Path) -> None:
    every = [case.text for size in SIZES for case in cases(size).values()] + [case.text for case in WHOLE.values()]
    root = package(tmp_path, "alltargets", made_mlir=module(*every))
    name, architecture = spec.split(":")
    target = api.installed()[name]
    arch = target.architecture(architecture)
    refused: list[Diagnostic] = []
    lacking = set()
    for kernel in discover(root):
        try:
            plan = target.place(target.lower(lower(kernel, kernel.variants[0], kernel.name), arch))
        except TilebuildError as e:
            refused += e.diagnostics
            lacking.add(kernel.name.rpartition("_")[0] if kernel.name[-1].isdigit() else kernel.name)
            continue
        assert target.emit([plan])
        assert [f"{f.code} {f.message}" for f in oracle.judge(plan).findings] == []
    assert lacking <= (PTO_LACKS if name == "pto" else set())
    assert all(d.code == "E402" and d.span and d.span.file.endswith("made.mlir") for d in refused)
