"""`tilebuild init`: what it writes builds, installs and passes its own tests; nothing is overwritten."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tilebuild import toolchain
from tilebuild.cli import main
from tilebuild.diagnostics import TilebuildError
from tilebuild.package import project

TREE = Path(__file__).parents[2]


def files(directory: Path) -> dict[str, bytes]:
    found = (f for f in directory.rglob("*") if f.is_file() and "__pycache__" not in f.parts)
    return {f.relative_to(directory).as_posix(): f.read_bytes() for f in found}


def test_the_templates_travel_with_the_package() -> None:
    assert files(project.templates()) == files(TREE / "templates")


@pytest.mark.slow
def test_a_new_project_builds_installs_and_passes_its_tests(tmp_path: Path) -> None:
    pytest.importorskip("scikit_build_core", reason="pip install scikit-build-core")
    try:
        toolchain.find("c-compiler")
    except TilebuildError as e:
        pytest.skip(str(e))
    made, site = tmp_path / "made", tmp_path / "site"
    assert main(["init", str(made), "--name", "Fast-Things", "--ci", "github"]) == 0
    before = files(made)
    assert not [name for name, data in before.items() if "mykernels" in name or b"mykernels" in data]
    environ = os.environ | {"PYTHONPATH": os.pathsep.join([str(site), str(TREE), os.environ.get("PYTHONPATH", "")])}

    def run(*command: object) -> None:
        line = [sys.executable, "-m", *map(str, command)]
        done = subprocess.run(line, cwd=made, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    run("pip", "install", "-q", "--no-build-isolation", "--no-deps", "--no-index", "--target", site, ".")
    run("pytest", "-q", "-p", "no:cacheprovider")
    assert (site / "fast_things" / "_kernels" / "manifest.json").is_file()


def test_the_name_is_that_of_the_directory(tmp_path: Path) -> None:
    assert main(["init", str(tmp_path / "waves")]) == 0
    assert 'name = "waves"' in (tmp_path / "waves" / "pyproject.toml").read_text()
    assert (tmp_path / "waves" / "src" / "waves" / "kernels.py").is_file()


@pytest.mark.parametrize("there", ["pyproject.toml", ".gitignore", ".gitlab/wheels.yml"])
def test_nothing_is_overwritten(tmp_path: Path, there: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / there).parent.mkdir(exist_ok=True)
    (tmp_path / there).write_text("precious")
    assert main(["init", str(tmp_path), "--name", "x1", "--ci", "gitlab"]) == 1
    assert files(tmp_path) == {there: b"precious"}
    said = capsys.readouterr().err
    assert "error[E750]" in said
    assert str(tmp_path / there) in said


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("3d", '"3d" cannot be imported'),
        ("a b", "a name has letters"),
        ("-x", "a name has letters"),
        ("lambda", '"lambda" cannot be imported'),
        ("JSON", '"json" is a module of Python itself'),
        ("tilebuild", "a module of tilebuild"),
    ],
)
def test_names_that_no_package_can_have(
    tmp_path: Path, name: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", str(tmp_path / "new"), f"--name={name}"]) == 1
    assert not (tmp_path / "new").exists()
    said = capsys.readouterr().err
    assert "error[E751]" in said
    assert why in said
