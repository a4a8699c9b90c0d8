"""Toolchain files: what they may say, and how their mistakes are reported."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tilebuild.diagnostics import TilebuildError
from tilebuild.toolchain import Tool, descriptions
from tilebuild.toolchain.description import read

# what gpu and npu tools will need: another role, device architectures, several steps, no platform of their own
ASSEMBLER = """\
name: asm
role: gpu-assembler
title: GPU assembler
rank: 1
why: the gpu target assembles what it generates
find:
  - environment: TILEBUILD_ASM
  - package: vendor.toolkit
    file: bin/asm
  - path: [asm]
version:
  arguments: [--version]
  pattern: 'release (\\d+\\.\\d+)'
  minimum: "12.0"
  below: "14"
flags: [-v]
platforms:
  "*":
    architectures:
      sm_80: [-arch=sm_80]
      sm_90: [-arch=sm_90, --wide]
commands:
  assemble: ["{command}", "{flags}", "{arch_flags}", "{in}", -o, "{out}"]
  merge: ["{command}", --create, "{out}", "--image={in}", "--name={arch}"]
requirement: vendor-toolkit>=12,<14
get:
  any system: pip install vendor-toolkit
"""


def written(directory: Path, text: str, name: str = "asm.yaml") -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_text(text, encoding="utf-8")
    return directory


def test_built_in_compilers_stand_in_for_each_other() -> None:
    found = descriptions(environ={})
    compilers = sorted((d for d in found.values() if d.role == "c-compiler"), key=lambda d: d.rank)
    assert [(d.rank, d.name) for d in compilers] == [(1, "gcc"), (2, "clang"), (3, "zig")]
    for description in compilers:
        assert set(description.commands) == {"compile", "link"}
        for machine, names in (
            ("x86_64-linux-gnu", ["x86-64-v2", "x86-64-v3", "x86-64-v4"]),
            ("x86_64-linux-musl", ["x86-64-v2", "x86-64-v3", "x86-64-v4"]),
            ("aarch64-linux-gnu", ["aarch64"]),
            ("aarch64-macos", ["aarch64"]),
        ):
            platform = description.platform(machine)
            assert platform is not None
            assert list(platform.architectures) == names
        assert description.platform("riscv64-linux-gnu") is None
        assert {"-O3", "-fPIC", "-fvisibility=hidden", "-g0", "-ffp-contract=fast"} <= set(description.flags)
        assert "-ffast-math" not in str(description)


def test_another_kind_of_tool(tmp_path: Path) -> None:
    description = descriptions([written(tmp_path, ASSEMBLER)], environ={})["asm"]
    tool = Tool("asm", "13.0", ("/opt/asm",), "0" * 64, "x86_64-linux-gnu", description)
    assert tool.architectures == ("sm_80", "sm_90")
    command = tool.fill("assemble", {"out": "k.cubin"}, {"in": ["k.ptx"]}, "sm_90")
    assert command == ("/opt/asm", "-v", "-arch=sm_90", "--wide", "k.ptx", "-o", "k.cubin")
    command = tool.fill("merge", {"out": "k.fat"}, {"in": ["a", "b"]}, "sm_90")
    assert command == ("/opt/asm", "--create", "k.fat", "--image=a", "--image=b", "--name=sm_90")
    with pytest.raises(TilebuildError, match=r'E504.*"sm_9O" \(did you mean "sm_90"'):
        tool.fill("assemble", {"out": "k.cubin"}, {"in": ["k.ptx"]}, "sm_9O")
    with pytest.raises(TilebuildError, match=r'E504.*no command for the step "link", only assemble, merge'):
        tool.link_command(["a.o"], "a.so")


def test_commands_of_a_compiler() -> None:
    description = descriptions(environ={})["zig"]
    tool = Tool("zig", "0.15.2", ("/z/zig", "cc"), "0" * 64, "x86_64-linux-gnu", description)
    command = tool.compile_command("$in", "$out", arch="x86-64-v3", include=["one", "two"], define=["VL=8"])
    assert command[:2] == ("/z/zig", "cc")
    expected = ["-mcpu=x86_64_v3", "-DVL=8", "-Ione", "-Itwo", "-MMD", "-MF", "$out.d", "-c", "$in", "-o", "$out"]
    assert list(command[-len(expected) :]) == expected
    assert "x86_64-linux-gnu.2.28" in command
    link = tool.link_command(["a.o", "b.o"], "k.so")
    # the least machine: zig links a support library that it compiles for this very choice
    assert not [word for word in link if word.startswith("-mcpu")]
    assert link[-6:] == ("a.o", "b.o", "-lm", "-pthread", "-o", "k.so")
    assert tool.flags("x86-64-v3")[-1] == "-mcpu=x86_64_v3"
    assert tool.flags()[-1] == "x86_64-linux-gnu.2.28"
    assert tool.environment(Path("/c"), {}) == {"ZIG_GLOBAL_CACHE_DIR": "/c/zig", "ZIG_LOCAL_CACHE_DIR": "/c/zig"}
    assert tool.environment(Path("/c"), {"ZIG_GLOBAL_CACHE_DIR": "/mine"}) == {"ZIG_LOCAL_CACHE_DIR": "/c/zig"}


@pytest.mark.parametrize(
    ("old", "new", "place", "facts"),
    [
        ("flags: [-v]", "flgas: [-v]", "16:1", ['flgas: unknown key (did you mean "flags"?)']),
        ("rank: 1", "", "1:1", ['the key "rank" is missing']),
        ("rank: 1", "rank: one", "4:7", ['rank: expected an integer, found the string "one"']),
        ("rank: 1", "rank: true", "4:7", ["rank: expected an integer, found true"]),
        ('minimum: "12.0"', "minimum: 12.0", "14:12", ["version.minimum: expected a string", 'write "12.0"']),
        ('minimum: "12.0"', "minimum: twelve", "14:12", ['version.minimum: "twelve" is not a version']),
        ("'release (\\d+\\.\\d+)'", "'('", "13:12", ["version.pattern: not a regular expression"]),
        ("'release (\\d+\\.\\d+)'", "'x'", "13:12", ["version.pattern: has 0 groups, not one"]),
        ("flags: [-v]", "flags: -v", "16:8", ['flags: expected a list of strings, found the string "-v"', '["-v"]']),
        ("file: bin/asm", "flie: bin/asm", "9:5", ['find[1].flie: unknown key (did you mean "file"?)']),
        ("    file: bin/asm\n", "", "8:5", ["find[1]: a place has either"]),
        ("path: [asm]", "path: [asm]\n    environment: X", "10:5", ["find[2]: a place has either", "'path'"]),
        (
            '-o, "{out}"]\n  m',
            '-o, "{uot}"]\n  m',
            "23:66",
            ["commands.assemble[5]: unknown placeholder {uot}", '"out"'],
        ),
        ("title: GPU assembler", "title: a\ntitle: b", "4:1", ["title: this key stands twice", "the first is here"]),
        ("name: asm", "name: asm\n1: x", "2:1", ["expected a string as key, found 1"]),
        ("flags: [-v]", "flags: [-v", "17:10", ["not valid YAML"]),
        (ASSEMBLER, "", None, ["expected a table, found nothing"]),
        (ASSEMBLER, "- a\n", "1:1", ["expected a table, found a list"]),
        ("get:\n", "deps: make\nget:\n", "26:7", ['deps: "make" is not supported', '"gcc", "msvc" or "none"']),
    ],
)
def test_mistakes(tmp_path: Path, old: str, new: str, place: str | None, facts: list[str]) -> None:
    assert ASSEMBLER.count(old) == 1
    file = written(tmp_path, ASSEMBLER.replace(old, new)) / "asm.yaml"
    with pytest.raises(TilebuildError) as caught:
        read(file)
    assert [d.code for d in caught.value.diagnostics] == ["E505"]
    if place is not None:
        assert str(caught.value).startswith(f"{file}:{place}: ")
    for fact in facts:
        assert fact in str(caught.value)


def test_all_mistakes_of_all_files_at_once(tmp_path: Path) -> None:
    written(tmp_path, ASSEMBLER.replace("rank: 1", "rnak: 1").replace("deps", "dep"), "a.yaml")
    written(tmp_path, ASSEMBLER.replace("title", "titel"), "b.yaml")
    with pytest.raises(TilebuildError) as caught:
        descriptions([tmp_path, tmp_path / "none"], environ={})
    messages = [d.message for d in caught.value.diagnostics]
    assert len(messages) == 5  # each file: an unknown key and a missing one; the directory
    assert "no such directory of toolchain files" in messages[-1]


def test_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "asm.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TilebuildError, match="E505"):
        read(tmp_path / "asm.yaml")
    with pytest.raises(TilebuildError, match="E505"):
        read(tmp_path / "none.yaml")


def test_later_directories_replace_earlier_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = written(tmp_path / "a", ASSEMBLER)
    second = written(tmp_path / "b", ASSEMBLER.replace("rank: 1", "rank: 2"))
    variable = {"TILEBUILD_TOOLCHAINS": f"{first}{os.pathsep}{second}"}
    assert descriptions(environ=variable)["asm"].rank == 2
    assert descriptions([first], environ=variable)["asm"].rank == 1
    assert "asm" not in descriptions(environ={})


def test_installed_packages_bring_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "vendor_toolchains", ASSEMBLER)
    (tmp_path / "vendor_toolchains" / "__init__.py").write_text("raise AssertionError('never imported')\n")
    metadata = tmp_path / "vendor-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: vendor\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[tilebuild.toolchains]\nvendor = vendor_toolchains\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert descriptions(environ={})["asm"].role == "gpu-assembler"
    (metadata / "entry_points.txt").write_text("[tilebuild.toolchains]\nvendor = no_such_package\n")
    with pytest.raises(TilebuildError, match=r'E505.*entry point "vendor" names no package'):
        descriptions(environ={})
