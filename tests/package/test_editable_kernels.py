"""Editable installs of a real kernel build: what is stale is said, and rebuilt when asked."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tilebuild import backend

SOURCE = """import tilebuild as tb

N = tb.dims("N")


@tb.kernel
def scale(x: tb.In[tb.f32, N], y: tb.Out[tb.f32, N], *, BN: tb.Const = 64):
    j = tb.program(tb.cdiv(N, BN))
    y.tiles(BN)[j] = x.tiles(BN)[j] * 2.0
"""
PYPROJECT = """
[project]
name = "livepkg"
version = "1"
[tool.tilebuild]
targets = ["cpu"]
[tool.tilebuild.target.cpu]
compiler = "gcc"
levels = ["v2"]
"""
START = "import site, warnings, numpy as np; site.addsitedir({site!r}); warnings.simplefilter('always')\n"
CALL = "import livepkg; print(livepkg.scale(np.ones(3, np.float32))[0])\n"


class Live:
    """A project that is installed editable into the folder `site`."""

    def __init__(self, root: Path, site: Path) -> None:
        self.root, self.site = root, site
        self.source = root / "src" / "livepkg" / "__init__.py"

    def run(self, script: str, **variables: str) -> tuple[str, str]:
        """What a process that has it installed prints, and its errors and warnings."""
        done = subprocess.run(
            [sys.executable, "-c", START.format(site=str(self.site)) + script],
            capture_output=True, text=True, check=False, cwd=self.site, env=os.environ | variables,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout, done.stderr

    def edit(self, factor: str) -> None:
        self.source.write_text(SOURCE.replace("2.0", factor))


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Live:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not here")
    root = tmp_path / "a project, größer"
    made = Live(root, tmp_path / "site")
    made.source.parent.mkdir(parents=True)
    made.edit("2.0")
    (root / "pyproject.toml").write_text(PYPROJECT)
    monkeypatch.chdir(root)
    name = backend.build_editable(str(tmp_path))
    with zipfile.ZipFile(tmp_path / name) as archive:
        archive.extractall(made.site)
        assert not [n for n in archive.namelist() if n.endswith(".so")], "kernels are found where they are built"
    return made


def test_a_kernel_older_than_its_source_is_said_to_be(live: Live) -> None:
    assert live.run(CALL) == ("2.0\n", "")
    live.edit("3.0")
    out, warned = live.run(CALL)
    assert out == "2.0\n"
    assert "StaleKernelWarning: warning[W809]: the kernel scale is older than its source" in warned
    assert "src/livepkg/__init__.py changed since it was built\n  fix: tilebuild.rebuild('livepkg')" in warned
    live.edit("2.0")
    assert live.run(CALL) == ("2.0\n", "")


def test_rebuild_makes_the_kernels_of_this_process_current(live: Live) -> None:
    script = (
        "import livepkg, tilebuild\n"
        "x = np.ones(3, np.float32)\n"
        "before = livepkg.scale(x)[0]\n"
        "import pathlib; p = pathlib.Path(livepkg.__file__); p.write_text(p.read_text().replace('2.0', '5.0'))\n"
        "print(before, tilebuild.rebuild('livepkg'), livepkg.scale(x)[0], tilebuild.rebuild('livepkg'))\n"
    )
    out, warned = live.run(script)
    assert out == "2.0 True 5.0 False\n"
    assert "W809" not in warned
    assert live.run(CALL) == ("5.0\n", "")


def test_a_rebuild_that_fails_leaves_the_kernels_as_they_were(live: Live) -> None:
    live.source.write_text(SOURCE.replace("* 2.0", "* two"))
    script = (
        "import tilebuild\nfrom tilebuild.diagnostics import TilebuildError\n"
        "try: tilebuild.rebuild('livepkg')\nexcept TilebuildError as e: print(e.diagnostics[0].code[:2])\n" + CALL
    )
    out, _ = live.run(script)
    assert out == "E1\n2.0\n"


def test_rebuilding_on_import_is_off_until_it_is_asked_for(live: Live) -> None:
    live.edit("7.0")
    assert live.run(CALL)[0] == "2.0\n"
    assert live.run(CALL, TILEBUILD_REBUILD_ON_IMPORT="true")[0] == "7.0\n"
    live.edit("9.0")
    assert live.run(CALL, TILEBUILD_REBUILD_ON_IMPORT="false")[0] == "7.0\n"


def test_the_setting_turns_it_on(live: Live, tmp_path: Path) -> None:
    text = (live.root / "pyproject.toml").read_text()
    (live.root / "pyproject.toml").write_text(text.replace("targets", "rebuild-on-import = true\ntargets"))
    name = backend.build_editable(str(tmp_path))
    with zipfile.ZipFile(tmp_path / name) as archive:
        archive.extractall(live.site)
    live.edit("4.0")
    assert live.run(CALL)[0] == "4.0\n"
    live.edit("6.0")
    assert live.run(CALL, TILEBUILD_REBUILD_ON_IMPORT="0")[0] == "4.0\n"


def test_kernels_that_are_gone_are_said_to_be_missing(live: Live) -> None:
    shutil.rmtree(live.root / "build")
    script = "from tilebuild.diagnostics import TilebuildError\nimport livepkg\n"
    script += "try: livepkg.scale(np.ones(3, np.float32))\nexcept TilebuildError as e: print(e)\n"
    said = live.run(script)[0]
    assert "error[E801]" in said
    assert live.run("import tilebuild\ntilebuild.rebuild('livepkg')\n" + CALL)[0] == "2.0\n"


def test_what_is_not_installed_editable_cannot_be_rebuilt(live: Live) -> None:
    script = "import tilebuild\nfrom tilebuild.diagnostics import TilebuildError\n"
    script += "try: tilebuild.rebuild('json')\nexcept TilebuildError as e: print(e.diagnostics[0].code)\n"
    assert live.run(script)[0] == "E732\n"


def test_an_older_build_stays_for_processes_that_use_it(live: Live) -> None:
    """Another process rebuilds between the choice of a folder here and the loading from it."""
    other = START.format(site=str(live.site)) + "import tilebuild; tilebuild.rebuild('livepkg')"
    script = (
        "import livepkg._kernels as k, livepkg, os, pathlib, subprocess, sys\n"
        "p = pathlib.Path(livepkg.__file__); p.write_text(p.read_text().replace('2.0', '5.0'))\n"
        f"subprocess.run([sys.executable, '-c', {other!r}], check=True, stderr=subprocess.DEVNULL)\n"
        "print(os.path.isfile(os.path.join(k.__path__[0], 'manifest.json')))\n"
    )
    assert live.run(script)[0] == "True\n"


def test_two_checkouts_do_not_share_kernels(live: Live, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Live(tmp_path / "other", tmp_path / "other-site")
    shutil.copytree(live.root, other.root, ignore=shutil.ignore_patterns("build"))
    other.edit("8.0")
    monkeypatch.chdir(other.root)
    name = backend.build_editable(str(tmp_path))
    with zipfile.ZipFile(tmp_path / name) as archive:
        archive.extractall(other.site)
    assert other.run(CALL)[0] == "8.0\n"
    assert live.run(CALL)[0] == "2.0\n"
