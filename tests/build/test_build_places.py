"""Where a build may run and what it may write."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import small_project
from small_project import Project


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = [p for p in folder.rglob("*") if p.is_file()]
    return {p.relative_to(folder).as_posix(): (p.stat().st_mtime_ns, p.read_bytes()) for p in files}


def contents(project: Project) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in project.build().files.items()}


@pytest.fixture
def elsewhere(tmp_path: Path, gcc: None, monkeypatch: pytest.MonkeyPatch) -> Project:
    made = small_project.make(tmp_path / "a place; with $HOME, 'quotes' & größer 空間")
    monkeypatch.setenv("PATH", f"{made.bin}{os.pathsep}{os.environ['PATH']}")
    return made


def test_two_directories_give_the_same_bytes(project: Project, elsewhere: Project) -> None:
    """One of them has a path that a shell, Make or Ninja would stumble over."""
    first, second = contents(project), contents(elsewhere)
    assert first == second
    for data in first.values():
        assert str(project.root).encode() not in data
        assert b"pytest" not in data


def test_nothing_is_written_outside_the_build_directory(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    before = tree(project.root)
    monkeypatch.chdir(home)
    project.build()
    after = {name: entry for name, entry in tree(project.root).items() if not name.startswith("build/tilebuild/")}
    assert after == before
    assert list(home.iterdir()) == []


def test_a_module_whose_name_is_not_ascii(tmp_path: Path, gcc: None, monkeypatch: pytest.MonkeyPatch) -> None:
    made = small_project.make(tmp_path, {"größen.py": small_project.ADD})
    monkeypatch.setenv("PATH", f"{made.bin}{os.pathsep}{os.environ['PATH']}")
    (kernel,) = made.build().manifest["kernels"]
    assert kernel["module"] == "pkg.kernels.größen"
