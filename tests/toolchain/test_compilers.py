"""The described compilers that this machine has make libraries that load, compute and import nothing surprising."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
from pathlib import Path

import pytest

from tilebuild.diagnostics import TilebuildError
from tilebuild.toolchain import Tool, find
from tilebuild.toolchain.machine import host, levels
from tilebuild.toolchain.trial import trial

SOURCE = """\
#include <math.h>
#include <stdint.h>
#include <string.h>
typedef float lanes __attribute__((vector_size(LANES * 4)));
typedef float unaligned __attribute__((vector_size(LANES * 4), aligned(4)));
#define EXPORT __attribute__((visibility("default")))
EXPORT void axpy(float *y, const float *x, float a, int64_t n)
{
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        lanes product = *(const unaligned *)(x + i) * a;
        *(unaligned *)(y + i) = product + *(unaligned *)(y + i);
    }
    for (; i < n; i++) y[i] += a * x[i];
}
EXPORT void copy(char *to, const char *from, int64_t n) { memcpy(to, from, (uint64_t)n); }
EXPORT float root(float x) { return sqrtf(x) + floorf(x); }
int not_exported(int a) { return a << 2; }
"""
LANES = {"x86-64-v2": 4, "x86-64-v3": 8, "x86-64-v4": 16}
COMPILERS = ("gcc", "clang", "zig")


@pytest.fixture(scope="module", params=COMPILERS)
def tool(request: pytest.FixtureRequest) -> Tool:
    try:
        return find("c-compiler", request.param)
    except TilebuildError as error:
        pytest.skip(str(error.diagnostics[0].message))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def call(tool: Tool, command: tuple[str, ...], cache: Path) -> str:
    environ = {**os.environ, **tool.environment(cache)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stderr


def build(tool: Tool, directory: Path, cache: Path, arch: str) -> Path:
    (directory / "k.c").write_text(SOURCE)
    define = [f"LANES={LANES.get(arch, 4)}"]
    compiling = tool.compile_command(
        str(directory / "k.c"), str(directory / "k.o"), arch=arch, define=define, include=[str(directory)]
    )
    assert call(tool, compiling, cache) == ""  # a flag that it does not know would be a warning
    assert call(tool, tool.link_command([str(directory / "k.o")], str(directory / "k.so")), cache) == ""
    return directory / "k.so"


def readelf(*arguments: str) -> str:
    return subprocess.run(["readelf", "-W", *arguments], capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_library_of_every_level(tool: Tool, tmp_path: Path, cache: Path) -> None:
    runnable = levels()
    for arch in tool.architectures:
        library = build(tool, tmp_path, cache, arch)
        assert ": " in (tmp_path / "k.o.d").read_text()
        if host().startswith("x86_64-linux"):
            symbols = readelf("--dyn-syms", str(library))
            assert {"axpy", "copy", "root"} <= set(re.findall(r"GLOBAL\s+DEFAULT\s+\d+ (\w+)", symbols))
            assert "not_exported" not in symbols
            assert "ubsan" not in readelf("-s", str(tmp_path / "k.o"))
            assert ".symtab" not in readelf("-S", str(library))  # stripped
            versions = {tuple(map(int, v.split("."))) for v in re.findall(r"GLIBC_([\d.]+)", symbols)}
            assert max(versions) <= (2, 28)
            assert str(tmp_path).encode() not in library.read_bytes()
        if runnable.get(arch, arch == "aarch64"):
            lanes = ctypes.CDLL(str(library))
            y, x = (ctypes.c_float * 37)(*range(37)), (ctypes.c_float * 37)(*[2.0] * 37)
            lanes.axpy(y, x, ctypes.c_float(3.0), ctypes.c_int64(37))
            assert list(y) == [i + 6.0 for i in range(37)]
        library.unlink()


@pytest.mark.slow
@pytest.mark.skipif(not host().startswith("x86_64-linux"), reason="reads x86-64 code")
def test_fused_multiply_add_across_statements(tool: Tool, tmp_path: Path, cache: Path) -> None:
    build(tool, tmp_path, cache, "x86-64-v3")
    code = subprocess.run(["objdump", "-d", str(tmp_path / "k.o")], capture_output=True, text=True, check=True).stdout
    assert re.search(r"vfmadd\w+ps", code)


@pytest.mark.slow
@pytest.mark.skipif("linux" not in host(), reason="elsewhere it is the linker's default")
def test_undefined_name_fails_the_link(tool: Tool, tmp_path: Path, cache: Path) -> None:
    (tmp_path / "k.c").write_text(
        'extern int nowhere(int);\n__attribute__((visibility("default"))) int f(int a) { return nowhere(a); }\n'
    )
    call(tool, tool.compile_command(str(tmp_path / "k.c"), str(tmp_path / "k.o")), cache)
    with pytest.raises(AssertionError, match="nowhere"):
        call(tool, tool.link_command([str(tmp_path / "k.o")], str(tmp_path / "k.so")), cache)


@pytest.mark.slow
def test_same_bytes_from_two_directories(tool: Tool, tmp_path: Path, cache: Path) -> None:
    arch = tool.architectures[-1]
    libraries = []
    for name in ("one", "another"):
        (tmp_path / name).mkdir()
        libraries.append(build(tool, tmp_path / name, cache, arch).read_bytes())
    assert libraries[0] == libraries[1]


@pytest.mark.slow
def test_trial(tool: Tool, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in tool.environment(cache).items():
        monkeypatch.setenv(name, value)
    assert trial(tool, tmp_path) == ""


def test_trial_of_a_compiler_that_fails(tmp_path: Path) -> None:
    from fake_compilers import GCC, fake, known

    fake(tmp_path / "bin", "gcc", GCC, script='[ "$1" = --version ] || { echo "stdint.h: no such file" >&2; exit 1; }')
    tool = find("c-compiler", "gcc", known=known(), environ={"PATH": str(tmp_path / "bin")})
    assert trial(tool, tmp_path) == "stdint.h: no such file"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3 avx", [True, False, False]),
        ("avx avx2 bmi1 bmi2 f16c fma abm movbe xsave", [False, False, False]),  # no level without those below
        (
            "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3 avx avx2 bmi1 bmi2 f16c fma abm movbe xsave",
            [True, True, False],
        ),
    ],
)
def test_levels_of_a_processor(tmp_path: Path, flags: str, expected: list[bool]) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nflags\t\t: fpu {flags}\nbugs\t\t:\n")
    assert list(levels(cpuinfo).values()) == expected


def test_levels_of_an_unknown_processor(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("Features\t: fp asimd\n")
    assert levels(tmp_path / "cpuinfo") == {}
    assert levels(tmp_path / "none") == {}
