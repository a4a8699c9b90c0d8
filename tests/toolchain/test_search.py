"""Which compiler is taken, and what is said where none fits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fake_compilers import APPLE, CLANG, GCC, fake, known, runs

from tilebuild.diagnostics import TilebuildError
from tilebuild.toolchain import find, requirements, survey
from tilebuild.toolchain import probe as probe_module

OLD_GCC = GCC.replace("12.2.0", "8.5.0")
ZIG = "0.15.2"


def environ(path: Path, **variables: str) -> dict[str, str]:
    return {"PATH": str(path), **variables}


@pytest.mark.parametrize(
    ("programs", "prefer", "identity"),
    [
        ({"gcc": GCC, "clang": CLANG, "zig": ZIG}, "auto", "gcc 12.2.0"),
        ({"clang": CLANG, "zig": ZIG}, "auto", "clang 14.0.6"),
        ({"zig": ZIG}, "auto", "zig 0.15.2"),
        ({"zig": "0.15.0-dev.123+abcdef"}, "auto", "zig 0.15.0"),
        ({"gcc": GCC, "zig": ZIG}, "zig", "zig 0.15.2"),
        ({"gcc": OLD_GCC, "gcc-13": GCC.replace("12.2.0", "13.1.0")}, "auto", "gcc 13.1.0"),
        ({"cc": "cc (Ubuntu 11.4.0-1ubuntu1~22.04) 11.4.0\nFree Software Foundation"}, "auto", "gcc 11.4.0"),
        ({"gcc": "gcc (GCC) 13.2.1 20230801 (Red Hat 13.2.1-1)\nFree Software Foundation"}, "auto", "gcc 13.2.1"),
        (
            {"gcc": "x86_64-conda-linux-gnu-gcc (conda-forge gcc 14.1.0-5) 14.1.0\nFree Software Foundation"},
            "auto",
            "gcc 14.1.0",
        ),
        ({"gcc": APPLE, "cc": APPLE}, "auto", "clang 15.0.0"),  # macOS
        ({"gcc": OLD_GCC, "clang": CLANG}, "auto", "clang 14.0.6"),
        ({"gcc": "welcome!", "zig": ZIG}, "auto", "zig 0.15.2"),
    ],
)
def test_choice(tmp_path: Path, programs: dict[str, str], prefer: str, identity: str) -> None:
    for name, text in programs.items():
        fake(tmp_path, name, text)
    tool = find("c-compiler", prefer, known=known(), environ=environ(tmp_path))
    assert tool.identity == identity
    assert Path(tool.command[0]).parent == tmp_path
    assert requirements("c-compiler", prefer, known=known(), environ=environ(tmp_path)) == []


@pytest.mark.parametrize(
    ("programs", "prefer", "code", "facts"),
    [
        ({}, "auto", "E501", ["no C compiler (gcc, clang, zig) was found", "not on PATH: gcc, cc", "install gcc",
                              "no_such_package is not installed", 'pip install "ziglang', "TILEBUILD_GCC"]),
        ({}, "clang", "E501", ["no C compiler (clang)", "apt-get install clang"]),
        ({"gcc": OLD_GCC}, "gcc", "E502", ["gcc is gcc 8.5.0, and 11 or newer is needed"]),
        ({"gcc": OLD_GCC}, "auto", "E502", ["gcc 8.5.0", "not on PATH: clang", "ziglang"]),
        ({"gcc": APPLE}, "gcc", "E502", ['is not gcc: it calls itself "Apple clang version 15.0.0']),
        ({"clang": CLANG.replace("14.0.6", "9.0.1")}, "clang", "E502", ["clang 9.0.1, and 13 or newer"]),
        ({"zig": "0.99.0"}, "zig", "E502", ["zig 0.99.0, and a version below 0.18 is needed"]),
        ({"zig": "0.9.1"}, "zig", "E502", ["zig 0.9.1, and 0.13 or newer is needed"]),
        ({"gcc": "garbage"}, "gcc", "E502", ['is not gcc: it calls itself "garbage"']),
        ({"gcc": ""}, "gcc", "E502", ['is not gcc: it calls itself ""']),
        ({}, "gc", "E503", ['unknown compiler "gc" (did you mean "gcc"?)', "auto, gcc, clang, zig"]),
    ],
)  # fmt: skip
def test_refusal(tmp_path: Path, programs: dict[str, str], prefer: str, code: str, facts: list[str]) -> None:
    for name, text in programs.items():
        fake(tmp_path, name, text)
    with pytest.raises(TilebuildError) as caught:
        find("c-compiler", prefer, known=known(), environ=environ(tmp_path))
    assert [d.code for d in caught.value.diagnostics] == [code]
    for fact in facts:
        assert fact in str(caught.value)


def test_unknown_role() -> None:
    with pytest.raises(TilebuildError, match=r'\[E503\].*"c-compilr" \(did you mean "c-compiler"'):
        find("c-compilr", known=known(), environ={})


@pytest.mark.parametrize(
    ("programs", "prefer", "wanted"),
    [
        ({}, "auto", ["ziglang>=0.13,<0.18"]),
        ({}, "zig", ["ziglang>=0.13,<0.18"]),
        ({}, "gcc", []),  # the index has none: the build will say what is missing
        ({"gcc": OLD_GCC}, "auto", ["ziglang>=0.13,<0.18"]),
        ({"gcc": GCC}, "zig", ["ziglang>=0.13,<0.18"]),
    ],
)
def test_requirements(tmp_path: Path, programs: dict[str, str], prefer: str, wanted: list[str]) -> None:
    for name, text in programs.items():
        fake(tmp_path, name, text)
    assert requirements("c-compiler", prefer, known=known(), environ=environ(tmp_path)) == wanted


def test_requirements_of_an_unknown_compiler() -> None:
    with pytest.raises(TilebuildError, match="E503"):
        requirements("c-compiler", "tcc", known=known(), environ={"PATH": "/nowhere"})


def test_variable_goes_before_path_and_may_hold_arguments(tmp_path: Path) -> None:
    fake(tmp_path / "bin", "gcc", GCC)
    other = fake(tmp_path / "my tools", "gcc", GCC.replace("12.2.0", "14.1.0"))
    launcher = fake(tmp_path / "bin", "wrap", "", script='shift 0; exec "$@"')
    for value in (str(other), f"wrap '{other}'"):
        tool = find("c-compiler", known=known(), environ=environ(tmp_path / "bin", TILEBUILD_GCC=value))
        assert tool.version == "14.1.0"
    assert tool.command == (str(launcher), str(other))


@pytest.mark.parametrize(
    ("value", "code", "fact"),
    [
        ("/no/such/gcc", "E501", "TILEBUILD_GCC=/no/such/gcc names no command that can be run"),
        ("'unbalanced", "E501", "TILEBUILD_GCC is not a command"),
        ("   ", "E501", "names no command"),
        ("{clang}", "E502", "is not gcc"),
    ],
)
def test_what_a_variable_names_is_never_replaced(tmp_path: Path, value: str, code: str, fact: str) -> None:
    clang = fake(tmp_path, "clang", CLANG)
    variables = environ(tmp_path, TILEBUILD_GCC=value.format(clang=clang))
    with pytest.raises(TilebuildError, match=code) as caught:
        find("c-compiler", known=known(), environ=variables)
    assert fact in str(caught.value)
    assert requirements("c-compiler", known=known(), environ=variables) == []


def test_launcher_in_disguise_is_passed_over(tmp_path: Path) -> None:
    ccache = fake(tmp_path / "launcher", "ccache", GCC)
    (tmp_path / "masquerade").mkdir()
    (tmp_path / "masquerade" / "gcc").symlink_to(ccache)
    real = fake(tmp_path / "bin", "gcc", GCC)
    path = f"{tmp_path / 'masquerade'}{os.pathsep}{tmp_path / 'bin'}"
    assert find("c-compiler", known=known(), environ={"PATH": path}).command == (str(real),)


def test_warm_disk_cache_starts_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path / "bin", "gcc", OLD_GCC)  # a refusal is remembered too
    fake(tmp_path / "bin", "clang", CLANG)
    cache = tmp_path / "cache" / "probes.json"

    def look() -> str:
        monkeypatch.setattr(probe_module, "_memory", {})  # as in a new process
        return find("c-compiler", known=known(), environ=environ(tmp_path / "bin"), cache=cache).fingerprint

    first = look()
    assert runs(tmp_path / "bin") == ["gcc", "clang"]
    assert look() == first
    assert runs(tmp_path / "bin") == ["gcc", "clang"]

    # another compiler under the same name, of the same size
    status = (tmp_path / "bin" / "clang").stat()
    fake(tmp_path / "bin", "clang", CLANG.replace("14.0.6", "15.0.7"))
    os.utime(tmp_path / "bin" / "clang", ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert look() != first
    assert runs(tmp_path / "bin") == ["gcc", "clang", "clang"]

    cache.write_text('{"schema": 1, "answers": {"x": 3}}')
    look()
    cache.write_bytes(b"\xff not json")
    look()
    assert runs(tmp_path / "bin")[3:] == ["gcc", "clang"] * 2


def test_command_with_other_words_is_asked_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path, "python", ZIG)
    variables = environ(tmp_path, TILEBUILD_ZIG="python -m ziglang")
    for _ in range(2):
        tool = find("c-compiler", "zig", known=known(), environ=variables, cache=tmp_path / "probes.json")
    assert tool.command[1:] == ("-m", "ziglang", "cc")
    assert runs(tmp_path) == ["python", "python"]


def test_probe_that_hangs_is_killed_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_module, "TIMEOUT_S", 0.3)
    fake(tmp_path, "gcc", GCC, script="/bin/sleep 60 & /bin/sleep 60")  # the child keeps the pipe open
    with pytest.raises(TilebuildError, match="E502") as caught:
        find("c-compiler", "gcc", known=known(), environ=environ(tmp_path))
    assert "gave no answer in" in str(caught.value)


def test_probe_that_fails(tmp_path: Path) -> None:
    fake(tmp_path, "gcc", GCC, script="echo 'error while loading shared libraries: libfoo.so' >&2; exit 127")
    (tmp_path / "cc").write_text("#!/no/such/interpreter\n")
    (tmp_path / "cc").chmod(0o755)
    with pytest.raises(TilebuildError, match="E502") as caught:
        find("c-compiler", "gcc", known=known(), environ=environ(tmp_path))
    assert "exit status 127" in str(caught.value)
    assert "libfoo.so" in str(caught.value)
    assert "cannot be started: No such file or directory" in str(caught.value)


def test_fingerprint_of_an_index_package_does_not_depend_on_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = []
    for i in range(2):
        site = tmp_path / f"environment {i}"
        executable = site / "no_such_package" / "zig"
        executable.parent.mkdir(parents=True)
        executable.write_text(f"#!/bin/sh\necho {ZIG}\n")
        executable.chmod(0o755)
        os.utime(executable, (i, i))
        monkeypatch.syspath_prepend(str(site))
        digests.append(find("c-compiler", "zig", known=known(), environ={"PATH": ""}).fingerprint)
        monkeypatch.undo()
    assert digests[0] == digests[1]


def test_survey_has_one_entry_a_compiler(tmp_path: Path) -> None:
    fake(tmp_path, "gcc", OLD_GCC)
    fake(tmp_path, "clang", CLANG)
    entries = {c.description.name: c for c in survey(known(), environ=environ(tmp_path))}
    assert [n for n, c in entries.items() if c.description.role == "c-compiler"] == ["gcc", "clang", "zig"]
    assert (entries["gcc"].fits, entries["gcc"].version) == (False, "8.5.0")
    assert entries["clang"].tool().identity == "clang 14.0.6"
    assert "no_such_package is not installed; not on PATH: zig" in entries["zig"].problem
