"""The hooks, with scikit-build-core as it is and the kernel build replaced: see thing_project."""

from __future__ import annotations

import base64
import csv
import errno
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from thing_project import Project, kernel_build, make

from tilebuild import backend
from tilebuild.build.config import Size
from tilebuild.diagnostics import Diagnostic, TilebuildError
from tilebuild.package import inner, wheel

KERNEL_FILES = sorted(["__init__.py", "cpu/lib, one.so", "cpu/lib.so", "manifest.json", "plans/softmax.json.gz"])


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    config = SimpleNamespace(
        inner_backend="scikit-build-core", build_dir="build/kernels", rebuild_on_import=False, size_budget=Size("1 MB")
    )
    monkeypatch.setattr(wheel, "configure", lambda project, given: config)
    monkeypatch.setattr(wheel, "held", lambda project, config, log: nullcontext(kernel_build(project)))
    monkeypatch.setattr(wheel, "requirements", lambda project, config: ["xdsl>=0.70", "ninja>=1.11"])
    made = make(tmp_path / "project")
    monkeypatch.chdir(made.root)
    return made


def read(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def assert_record(contents: dict[str, bytes]) -> None:
    (record,) = [n for n in contents if n.endswith(".dist-info/RECORD")]
    rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(contents[record].decode()))}
    assert rows.keys() == contents.keys()
    for name, (digest, size) in rows.items():
        if name == record:
            assert (digest, size) == ("", "")
        else:
            expected = base64.urlsafe_b64encode(hashlib.sha256(contents[name]).digest()).decode().rstrip("=")
            assert (digest, int(size)) == (f"sha256={expected}", len(contents[name]))


def test_wheel_holds_the_kernels_and_is_tagged_for_one_platform(project: Project, tmp_path: Path) -> None:
    name = backend.build_wheel(str(tmp_path), {"tilebuild.targets": "cpu"})
    contents = read(tmp_path / name)
    assert name.startswith("thing-1.2-py3-none-")
    assert not name.endswith("-any.whl")
    assert b"Root-Is-Purelib: false" in contents["thing-1.2.dist-info/WHEEL"]
    assert sorted(n[15:] for n in contents if n.startswith("thing/_kernels/")) == KERNEL_FILES
    assert contents["thing/__init__.py"] == b"answer = 42\n"
    assert contents["thing/_kernels/cpu/lib.so"] == b"\x7fELF another"
    assert_record(contents)
    assert not (project.root / "src" / "thing" / "_kernels").exists()


def test_wheel_agrees_with_prepared_metadata(project: Project, tmp_path: Path) -> None:
    (tmp_path / "metadata").mkdir()
    info = backend.prepare_metadata_for_build_wheel(str(tmp_path / "metadata"), {"tilebuild.targets": "cpu"})
    assert not (project.root / "build").exists(), "metadata needs no kernel build"
    name = backend.build_wheel(str(tmp_path), None, str(tmp_path / "metadata" / info))
    contents = read(tmp_path / name)
    for file in ("METADATA", "WHEEL"):
        assert (tmp_path / "metadata" / info / file).read_bytes() == contents[f"{info}/{file}"]


def test_same_inputs_give_the_same_bytes(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = []
    for place, epoch in (("a", "1700000000"), ("b/deeper", "1700000000"), ("c", "1700000400")):
        there = make(tmp_path / place)
        monkeypatch.chdir(there.root)
        monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
        made = there.root / backend.build_wheel(str(there.root))
        digests.append(hashlib.sha256(made.read_bytes()).hexdigest())
    assert digests[0] == digests[1]
    assert digests[0] != digests[2], "SOURCE_DATE_EPOCH is what dates the files"


def test_sdist_holds_no_build_directory(project: Project, tmp_path: Path) -> None:
    project.append('\n[tool.scikit-build]\nsdist.exclude = ["notes.txt"]\n')
    (project.root / "notes.txt").write_text("private")
    (project.root / "build" / "other").mkdir(parents=True)
    (project.root / "build" / "other" / "kept.txt").write_text("not tilebuild's")
    kernel_build(project.root)
    name = backend.build_sdist(str(tmp_path), {"tilebuild.targets": "cpu"})
    with tarfile.open(tmp_path / name) as archive:
        files = sorted(n.partition("/")[2] for n in archive.getnames())
    assert files == ["PKG-INFO", "build/other/kept.txt", "pyproject.toml", "src/thing/__init__.py"]


@pytest.mark.parametrize("mode", ["redirect", "inplace"])
def test_an_editable_install_finds_live_sources_and_the_kernels_of_the_last_build(
    project: Project, tmp_path: Path, mode: str
) -> None:
    project.append(f'\n[tool.scikit-build]\neditable.mode = "{mode}"\n')
    wheel_file = tmp_path / backend.build_editable(str(tmp_path))
    assert_record(read(wheel_file))
    (project.root / "src" / "thing" / "__init__.py").write_text("answer = 43\n")
    answer, where, files = imported(wheel_file, tmp_path)
    assert answer == 43
    assert Path(where).parent == project.root / "build" / "kernels" / "editable"
    assert files == sorted([*KERNEL_FILES, "editable.json"])


def imported(wheel_file: Path, tmp_path: Path) -> list[Any]:
    """What a process that has an editable wheel installed finds: the package's answer, the place of its kernels, and
    the files there."""
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel_file) as archive:
        archive.extractall(site)
    script = (
        f"import site; site.addsitedir({str(site)!r})\n"
        "import json, thing, thing._kernels as k\n"
        "print(json.dumps([thing.answer, str(k.WHERE), sorted("
        "str(p.relative_to(k.WHERE)) for p in k.WHERE.rglob('*') if p.is_file() and p.suffix != '.pyc')]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout)
    return found


def test_requires_the_inner_backend_and_what_the_kernels_need(project: Project) -> None:
    for hook in (backend.get_requires_for_build_wheel, backend.get_requires_for_build_editable):
        assert hook({"tilebuild.targets": "cpu"}) == ["scikit-build-core>=1.0", "xdsl>=0.70", "ninja>=1.11"]
    assert backend.get_requires_for_build_sdist({"tilebuild.targets": "cpu"}) == ["scikit-build-core>=1.0"]


def test_requires_cmake_where_the_inner_backend_cannot_be_asked_yet(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inner.InnerBackend, "installed", False)
    monkeypatch.setattr(inner.shutil, "which", lambda tool: None)
    assert backend.get_requires_for_build_wheel() == ["scikit-build-core>=1.0", "xdsl>=0.70", "ninja>=1.11"]
    (project.root / "CMakeLists.txt").write_text("")
    needed = backend.get_requires_for_build_wheel()
    assert needed == ["scikit-build-core>=1.0", "cmake", "ninja", "xdsl>=0.70", "ninja>=1.11"]


@pytest.mark.skipif(not shutil.which("cmake"), reason="needs CMake")
def test_a_package_with_cmake_keeps_its_own_tags(project: Project, tmp_path: Path) -> None:
    (project.root / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.15)\nproject(thing LANGUAGES NONE)\n"
        'file(WRITE "${CMAKE_BINARY_DIR}/made.txt" "by cmake")\n'
        'install(FILES "${CMAKE_BINARY_DIR}/made.txt" DESTINATION thing)\n'
    )
    name = backend.build_wheel(str(tmp_path))
    contents = read(tmp_path / name)
    assert name.startswith(f"thing-1.2-cp{sys.version_info[0]}{sys.version_info[1]}-")
    assert contents["thing/made.txt"] == b"by cmake"
    assert contents["thing/_kernels/cpu/lib.so"] == b"\x7fELF another"


def test_an_exit_of_the_inner_backend_is_explained(
    project: Project, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        backend.build_wheel(str(tmp_path), {"whel.cmake": "false"})
    assert stopped.value.code == 7
    said = capfd.readouterr()
    assert "whel -> Did you mean: wheel?" in said.out
    assert "error[E702]: the inner backend scikit-build-core stopped in build_wheel with exit code 7" in said.err


def test_a_wheel_without_its_package_is_refused(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project.append("\n[tool.scikit-build]\nwheel.packages = []\n")
    with pytest.raises(SystemExit):
        backend.build_wheel(str(tmp_path))
    assert "thing/__init__.py is not in it, so its kernels could never be imported" in capsys.readouterr().err
    assert list(tmp_path.glob("*.whl")) == []


def test_errors_are_one_message_and_an_exit_code(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(project: Path, config: object, log: object) -> None:
        raise TilebuildError(
            [Diagnostic("E201", "shapes differ", fix="make them agree"), Diagnostic("E102", "no name")]
        )

    monkeypatch.setattr(wheel, "held", fail)
    with pytest.raises(SystemExit) as stopped:
        backend.build_wheel(str(tmp_path))
    assert stopped.value.code == 1
    assert stopped.value.__suppress_context__, "no traceback of the cause"
    expected = "\nerror[E201]: shapes differ\n  fix: make them agree\n\nerror[E102]: no name\n\n"
    assert capsys.readouterr().err == expected


def test_optional_hooks_exist_only_where_the_inner_backend_has_them(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    optional = ("build_editable", "get_requires_for_build_editable", "prepare_metadata_for_build_editable",
                "prepare_metadata_for_build_wheel")  # fmt: skip
    assert [name for name in optional if not hasattr(backend, name)] == []
    monkeypatch.setattr(inner.InnerBackend, "has", lambda self, hook: False)
    assert [name for name in optional if hasattr(backend, name)] == []
    assert not hasattr(backend, "prepare_metadata_for_build_whel")


def test_editable_hooks_are_there_before_the_inner_backend_is(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frontend asks for them before it installs what `get_requires` names."""
    monkeypatch.setattr(inner.InnerBackend, "installed", False)
    assert hasattr(backend, "build_editable")
    assert hasattr(backend, "get_requires_for_build_editable")
    assert not hasattr(backend, "prepare_metadata_for_build_wheel")


def test_a_disk_that_is_full_is_one_message(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(project: Path, config: object, log: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/some/file")

    monkeypatch.setattr(wheel, "held", fail)
    with pytest.raises(SystemExit):
        backend.build_wheel(str(tmp_path))
    said = capsys.readouterr().err
    assert "error[E730]: /some/file cannot be written: No space left on device\n  fix: free some space" in said
