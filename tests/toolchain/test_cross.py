"""Code for another machine: which compiler is taken, the files for CMake and Meson, and a library that runs."""

from __future__ import annotations

import ast
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from fake_compilers import CLANG, GCC, fake, known

from tilebuild import toolchain
from tilebuild.build import configure
from tilebuild.build.driver import KernelBuild, build_kernels
from tilebuild.cli import main
from tilebuild.diagnostics import TilebuildError
from tilebuild.toolchain import cross_files

OTHER = "aarch64" if os.uname().machine == "x86_64" else "x86_64"
MACHINE = toolchain.with_processor(OTHER)
ELF_MACHINES = {"x86_64": 62, "aarch64": 183}  # EM_X86_64, EM_AARCH64


def environ(path: Path) -> dict[str, str]:
    return {"PATH": str(path)}


def test_a_compiler_that_cannot_cross_is_passed_over(tmp_path: Path) -> None:
    for name, text in {"gcc": GCC, "clang": CLANG, "zig": "0.15.2"}.items():
        fake(tmp_path, name, text)
    tool = toolchain.find("c-compiler", machine=MACHINE, known=known(), environ=environ(tmp_path))
    assert (tool.name, tool.machine) == ("zig", MACHINE)
    assert any(word.startswith(OTHER) for word in tool.flags())
    assert (
        toolchain.find("c-compiler", machine=toolchain.host(), known=known(), environ=environ(tmp_path)).name == "gcc"
    )


def test_what_is_said_where_none_can(tmp_path: Path) -> None:
    fake(tmp_path, "gcc", GCC)
    with pytest.raises(TilebuildError) as caught:
        toolchain.find("c-compiler", machine=MACHINE, known=known(), environ=environ(tmp_path))
    said = str(caught.value)
    assert caught.value.diagnostics[0].code == "E502"
    assert f"makes code for the machine that it runs on ({toolchain.host()}), and this is for {MACHINE}" in said
    assert toolchain.requirements("c-compiler", machine=MACHINE, known=known(), environ=environ(tmp_path)) == [
        known()["zig"].requirement
    ]
    fake(tmp_path, "zig", "0.15.2")
    with pytest.raises(TilebuildError, match=r"is described for .*and this is for riscv64-linux-gnu"):
        toolchain.find("c-compiler", machine="riscv64-linux-gnu", known=known(), environ=environ(tmp_path))


def test_a_compiler_that_is_not_described_for_it_makes_no_files(tmp_path: Path) -> None:
    fake(tmp_path, "gcc", GCC)
    gcc = toolchain.find("c-compiler", "gcc", known=known(), environ=environ(tmp_path))
    with pytest.raises(TilebuildError, match=r"E504.*gcc is not described as a cross compiler"):
        cross_files.cmake(gcc)


@pytest.fixture
def zig() -> toolchain.Tool:
    try:
        return toolchain.find("c-compiler", "zig", machine=MACHINE)
    except TilebuildError:
        pytest.skip('zig is not here: pip install "ziglang>=0.13,<0.18"')


def elf_machine(data: bytes) -> int:
    assert data[:4] == b"\x7fELF"
    (found,) = struct.unpack_from("<H", data, 18)
    return int(found)


# C alone: the first link of C++ would compile zig's C++ library, which takes minutes
SOURCES = {
    "add.c": "int add(int a, int b) { return a + b; }\n",
    "twice.c": "int add(int, int);\nint twice(int a) { return add(a, a); }\n",
    "CMakeLists.txt": "cmake_minimum_required(VERSION 3.15)\nproject(sums C)\nadd_library(low STATIC add.c)\n"
    "set_target_properties(low PROPERTIES POSITION_INDEPENDENT_CODE ON)\n"
    "add_library(sums SHARED twice.c)\ntarget_link_libraries(sums low)\n",
    "meson.build": "project('sums', 'c')\nlow = static_library('low', 'add.c', pic: true)\n"
    "shared_library('sums', 'twice.c', link_with: low)\n",
}


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A library that CMake and Meson can build, in a path with a space."""
    directory = tmp_path / "so urces"
    directory.mkdir()
    for name, text in SOURCES.items():
        (directory / name).write_text(text)
    return directory


def run(*command: object, cwd: Path) -> None:
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_cmake_builds_for_the_other_machine(zig: toolchain.Tool, sources: Path, tmp_path: Path) -> None:
    cmake = shutil.which("cmake")
    if cmake is None:
        pytest.skip("cmake is not here: pip install cmake")
    file = tmp_path / "cross.cmake"
    assert main(["toolchain", "cmake", "--machine", MACHINE, "--output", str(file)]) == 0
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    run(cmake, *generator, "-S", ".", "-B", "out", f"-DCMAKE_TOOLCHAIN_FILE={file}", cwd=sources)
    run(cmake, "--build", "out", cwd=sources)
    assert elf_machine((sources / "out" / "libsums.so").read_bytes()) == ELF_MACHINES[OTHER]
    assert (sources / "out" / "liblow.a").read_bytes().startswith(b"!<arch>")


@pytest.mark.slow
def test_meson_builds_for_the_other_machine(zig: toolchain.Tool, sources: Path, tmp_path: Path) -> None:
    meson = shutil.which("meson") or shutil.which("meson", path=str(Path(sys.executable).parent))
    if meson is None or shutil.which("ninja") is None:
        pytest.skip("meson and ninja are not here: pip install meson ninja")
    file = tmp_path / "cross.ini"
    assert main(["toolchain", "meson", "--machine", MACHINE, "--output", str(file)]) == 0
    run(meson, "setup", "out", "--cross-file", file, cwd=sources)
    run(meson, "compile", "-C", "out", cwd=sources)
    assert elf_machine((sources / "out" / "libsums.so").read_bytes()) == ELF_MACHINES[OTHER]


def test_the_files_name_the_compiler_of_each_language(zig: toolchain.Tool, tmp_path: Path) -> None:
    (tmp_path / "x.cpp").write_text(
        "template <class T> T twice(T a) { return a + a; }\nint four() { return twice(2); }\n"
    )
    binaries = dict(
        line.split(" = ") for line in cross_files.meson(zig).splitlines() if line.endswith("]") and " = " in line
    )
    run(*ast.literal_eval(binaries["cpp"]), "-c", "x.cpp", "-o", "x.o", cwd=tmp_path)
    assert elf_machine((tmp_path / "x.o").read_bytes()) == ELF_MACHINES[OTHER]
    text = cross_files.cmake(zig)
    assert f'set(CMAKE_CXX_COMPILER "{zig.command[0]}" "c++")' in text
    assert f'set(CMAKE_C_COMPILER "{zig.command[0]}" "cc")' in text


# --- kernels ------------------------------------------------------------------------------------------------------

_DRIVER = """
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
enum {{ rows = 5, columns = 1030 }};
static float x[rows * columns], y[rows * columns], z[rows * columns];
int main(int count, char **words)
{{
    void *library = dlopen(words[1], RTLD_NOW);
    if (!library) {{ printf("%s\\n", dlerror()); return 1; }}
    int32_t (*level)(void) = (int32_t (*)(void))dlsym(library, "tilebuild_level");
    void (*entry)(const int64_t *, int64_t, int64_t) =
        (void (*)(const int64_t *, int64_t, int64_t))dlsym(library, "{entry}");
    if (!level || level() != 0 || !entry) {{ printf("no entry\\n"); return 2; }}
    float a = 2.5f;
    int64_t a_bits = 0;
    memcpy(&a_bits, &a, sizeof a);
    for (int i = 0; i < rows * columns; ++i) {{ x[i] = 0.25f * (float)i; y[i] = (float)(i % 7); z[i] = -1.0f; }}
    const int64_t slots[] = {{ {slots} }};
    entry(slots, 0, 1);
    for (int i = 0; i < rows * columns; ++i)
        if (z[i] != a * x[i] + y[i]) {{ printf("z[%d] is %g\\n", i, (double)z[i]); return 3; }}
    printf("right\\n");
    return 0;
}}
"""


def slot(text: str) -> str:
    """A launch slot (see `manifest.BuildEntry`) in the driver's C."""
    kind, *rest = text.split(":")
    if kind == "stride":
        return {"0": "columns", "1": "1"}[rest[1]]
    return {"ptr": f"(int64_t){rest[0]}", "dim": {"M": "rows", "N": "columns"}.get(rest[0], ""), "scalar": "a_bits"}[
        kind
    ]


@pytest.fixture
def built(zig: toolchain.Tool, tmp_path: Path) -> KernelBuild:
    """The kernel of a new project, built for the other machine's processor."""
    project = tmp_path / "project"
    assert main(["init", str(project), "--name", "waves"]) == 0
    arch = {"x86_64": "x86-64"}.get(OTHER, OTHER)
    return build_kernels(project, configure(project, {"tilebuild.targets": [f"cpu:{arch}"]}), log=lambda _: None)


@pytest.mark.slow
def test_kernels_are_built_for_the_other_machine(built: KernelBuild) -> None:
    ((key, library),) = built.manifest["libraries"].items()
    assert key == f"cpu:{library['arch']}"
    assert [c["name"] for c in library["compilers"]] == ["zig"]
    data = built.files[f"waves/_kernels/{library['file']}"].read_bytes()
    assert elf_machine(data) == ELF_MACHINES[OTHER]
    (entry,) = (b for k in built.manifest["kernels"] for v in k["variants"] for b in v["builds"])
    assert entry["verdict"]["outcome"] == "proved"


@pytest.mark.slow
def test_a_library_for_aarch64_runs_in_an_emulator(built: KernelBuild, zig: toolchain.Tool, tmp_path: Path) -> None:
    if OTHER != "aarch64":
        pytest.skip("this machine is an aarch64 one: its own libraries run in other tests")
    qemu = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    if qemu is None:
        pytest.skip("qemu-aarch64 is not here: apt-get install qemu-user")
    system = Path(os.environ.get("QEMU_LD_PREFIX", "/usr/aarch64-linux-gnu"))
    if not (system / "lib" / "ld-linux-aarch64.so.1").is_file():
        pytest.skip(f"there is no C library for aarch64 in {system}: apt-get install libc6-arm64-cross")
    (library,) = built.manifest["libraries"].values()
    (entry,) = (b for k in built.manifest["kernels"] for v in k["variants"] for b in v["builds"])
    source, program = tmp_path / "driver.c", tmp_path / "driver"
    slots = ", ".join(map(slot, entry["slots"]))
    source.write_text(_DRIVER.format(entry=f"{entry['entry']}_{library['levels'][0]}", slots=slots))
    # without contraction, the driver's own product and sum would not be the kernel's fused ones: 2.5 * i / 4 is exact
    run(*zig.command, *zig.platform_flags, "-O1", "-o", program, source, cwd=tmp_path)
    file = built.files[f"waves/_kernels/{library['file']}"]
    done = subprocess.run(
        [qemu, "-L", str(system), str(program), str(file)], capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "right\n"), done.stderr
