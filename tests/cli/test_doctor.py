"""`tilebuild doctor`: the tables, the advice and the exit codes."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tilebuild import cli
from tilebuild.diagnostics import Diagnostic, TilebuildError
from tilebuild.manifest import SCHEMA
from tilebuild.runtime import machine
from tilebuild.targets import api
from tilebuild.toolchain import Tool, find

sys.path.insert(0, str(Path(__file__).parents[1] / "toolchain"))
from fake_compilers import CLANG, GCC, fake, known

SOURCE = "void scale_k(const long long *slots, long long part, long long parts) { }\n"


@pytest.fixture
def machine_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is all of PATH, on a machine with no other C compiler; other kinds of compilers, which may be
    installed beside the tests, are not known."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for variable in ("TILEBUILD_GCC", "TILEBUILD_CLANG", "TILEBUILD_ZIG"):
        monkeypatch.delenv(variable, raising=False)
    c_compilers = {name: d for name, d in known().items() if d.role == "c-compiler"}
    monkeypatch.setattr("tilebuild.toolchain.search.descriptions", lambda *_, **__: c_compilers)
    cpu = {"cpu": api.installed()["cpu"]}
    monkeypatch.setattr(api, "installed", lambda: cpu)
    return tmp_path / "bin"


def doctor(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = cli.main(["doctor", *arguments])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def test_nothing_there(machine_with: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = doctor(capsys)
    assert code == 1
    for name, way in (("gcc", "apt-get install gcc"), ("clang", "dnf install clang"), ("zig", "pip install")):
        assert f"  {name}" in text
        assert way in text
    assert "A build finds no C compiler here: the cpu target compiles" in text
    assert '"ziglang>=0.13,<0.18"' in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80


def test_a_compiler_that_works(machine_with: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake(machine_with, "gcc", GCC)
    fake(machine_with, "clang", CLANG)
    code, text = doctor(capsys)
    assert code == 0
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.startswith("  ") and line.split()}
    assert rows["gcc"] == ["12.2.0", "works", str(machine_with / "gcc")]
    assert rows["clang"] == ["14.0.6", "fits", str(machine_with / "clang")]
    assert "A build takes gcc 12.2.0 as C compiler. It compiled and linked a small library." in text
    assert f"{machine.architecture()}-linux" in text or "macos" in text


def test_a_compiler_that_fits_and_fails(machine_with: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake(machine_with, "gcc", GCC, '[ "$1" = --version ] || { echo "fatal error: stdint.h: not here" >&2; exit 1; }')
    fake(machine_with, "clang", CLANG)
    code, text = doctor(capsys)
    assert code == 1  # a build would take it, and would fail
    assert "fails" in text
    assert "gcc: fatal error: stdint.h: not here" in text
    assert "libc6-dev" in text


def test_a_variable_that_names_another_product(
    machine_with: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(machine_with, "clang", CLANG)
    monkeypatch.setenv("TILEBUILD_GCC", "clang")
    code, text = doctor(capsys)
    assert code == 1
    assert "is not gcc: it calls itself" in " ".join(text.split())
    assert "ziglang>=0.13,<0.18 for the build" not in text


def library(directory: Path) -> bytes:
    tool = find("c-compiler")
    source = (
        'int tilebuild_level(void) __attribute__((visibility("default")));\nint tilebuild_level(void) { return 0; }\n'
    )
    source += '__attribute__((visibility("default"))) ' + SOURCE
    (directory / "k.c").write_text(source)
    for command in (
        tool.compile_command(str(directory / "k.c"), str(directory / "k.o")),
        tool.link_command([str(directory / "k.o")], str(directory / "k.so")),
    ):
        subprocess.run(command, check=True, capture_output=True)
    return (directory / "k.so").read_bytes()


def wheel(directory: Path, content: bytes, build: dict[str, Any] | None = None, **entry: Any) -> str:
    """A wheel with one kernel, `scale`, whose library is `content`."""
    levels = ["k"]
    library_entry = {
        "target": "cpu", "arch": machine.architecture(), "file": "cpu/k.so", "bytes": len(content), "levels": levels,
        "sha256": hashlib.sha256(content).hexdigest(), "compilers": [], **entry,
    }  # fmt: skip
    build_entry = {
        "target": library_entry["target"], "arch": library_entry["arch"], "library": "cpu", "entry": "scale",
        "slots": [], "grid": [], "plan": "", "plan_sha256": "", "resources": {},
        "verdict": {"outcome": "proved", "scope": "plan", "oracle": "1", "checks": {}, "findings": []}, **(build or {}),
    }  # fmt: skip
    kernel = {
        "module": "thing", "name": "scale", "file": "thing.py", "line": 1, "sha256": "", "dims": [], "parameters": [],
        "requires": [], "otherwise": "",
        "variants": [{"consts": {}, "when": "", "target": "", "builds": [build_entry]}],
    }  # fmt: skip
    manifest = {
        "schema": SCHEMA, "tilebuild": "0", "package": "thing", "kernels": [kernel],
        "libraries": {"cpu": library_entry},
    }  # fmt: skip
    path = directory / "thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("thing/_kernels/manifest.json", json.dumps(manifest))
        archive.writestr("thing/_kernels/cpu/k.so", content)
    return str(path)


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    try:
        return library(tmp_path_factory.mktemp("library"))
    except TilebuildError as error:
        pytest.skip(error.diagnostics[0].message)


def test_wheel_that_runs(tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = doctor(capsys, wheel(tmp_path, content))
    assert code == 0
    assert "cpu/k.so: loaded, with 1 entry point at level k" in text
    assert "1 kernel of thing: runs here" in text


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (({"arch": "riscv64"}, {}), f"this machine is {machine.describe()}"),
        (({"sha256": "0" * 64}, {}), "the file was altered: its sha256 is"),
        (({"target": "quantum"}, {}), "no device for the target quantum"),
        (({"levels": []}, {}), "it does not export scale"),
        (({}, {"entry": "other"}), "it does not export other_k"),
        (({}, {"library": "another"}), "no kernel of the manifest is in it"),
        (({"file": "cpu/none.so"}, {}), "none.so"),
    ],
)
def test_wheel_that_does_not_run(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str], change: tuple[Any, Any], reason: str
) -> None:
    entry, build = change
    code, text = doctor(capsys, wheel(tmp_path, content, build, **entry))
    assert code == 1
    assert reason in " ".join(text.split())
    assert "does not run here" in text


def test_library_that_cannot_be_loaded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = doctor(capsys, wheel(tmp_path, b"\x7fELF no library"))
    assert code == 1
    assert "the system's loader refuses it" in text


def test_place_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = doctor(capsys, "no_such_package_or_file")
    assert code == 2
    assert "no such file, directory or installed package" in text
    assert "this machine" not in text


def test_which_targets_can_be_built(
    machine_with: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(machine_with, "gcc", GCC)
    disagreement = TilebuildError(Diagnostic("E506", "the tools are of different releases", fix="install one release"))

    class Able:
        options = dict

        def tools(self, options: object, cache: Path) -> tuple[Tool, ...]:
            return (find("c-compiler"),)

    class AtOdds(Able):
        def tools(self, options: object, cache: Path) -> tuple[Tool, ...]:
            raise disagreement

    monkeypatch.setattr(api, "installed", lambda: {"able": Able(), "odd": AtOdds()})
    _, text = doctor(capsys)
    rows = [line.split() for line in text[text.index("\ntarget ") :].splitlines()]
    assert ["able", "yes", "gcc", "12.2.0"] in rows
    assert ["odd", "no", "E506"] in rows
    assert "error[E506]: the tools are of different releases\n  fix: install one release" in text
