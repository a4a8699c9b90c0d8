"""The C that is emitted: kept as golden files, free of warnings, and clean under the sanitizers.

    TILEBUILD_UPDATE_GOLDEN=1 pytest tests/targets/cpu/test_emitted.py     writes the golden files anew

A golden file shows what a change of the emitter does to real kernels; whether it is right is what the tests that run
kernels say.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import kernel_package
import pytest

from tilebuild.build import configure
from tilebuild.build.config import Config
from tilebuild.build.records import Records
from tilebuild.frontend.discover import discover
from tilebuild.targets.cpu import TARGET

GOLDEN = Path(__file__).parent / "golden"
SUPPORT = Path(sys.modules[type(TARGET).__module__].__file__ or "").parent
EXAMPLE = Path(__file__).parents[3] / "examples" / "fastnorm"
CHOSEN = ("softmax", "layernorm", "matmul")
FLAGS = ["-std=c11", "-O2", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-fPIC"]
LEVELS = {"x86_64": ("x86-64-v2", "x86-64-v3", "x86-64-v4")}.get(os.uname().machine, ("armv8-a",))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Kernel name -> emitted text, for all of fastnorm's kernels."""
    config: Config = configure(EXAMPLE)
    records = Records(EXAMPLE, tmp_path_factory.mktemp("records"), "golden", config)
    found = {}
    for kernel in discover(EXAMPLE, config.kernels):
        record = records.make(kernel, TARGET, "x86-64", kernel.name)
        found[kernel.name] = record.sources[".c"].text
    return found


def compiler(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not here")
    return path


@pytest.mark.parametrize("name", CHOSEN)
def test_emitted_text_is_the_golden_one(sources: dict[str, str], name: str) -> None:
    file = GOLDEN / f"{name}.c"
    if os.environ.get("TILEBUILD_UPDATE_GOLDEN"):
        file.write_text(sources[name])
    assert sources[name] == file.read_text(), "if this is meant: TILEBUILD_UPDATE_GOLDEN=1"


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("program", ["gcc", "clang"])
def test_it_compiles_without_a_warning(sources: dict[str, str], tmp_path: Path, program: str, level: str) -> None:
    (tmp_path / "all.c").write_text("".join(sources.values()))
    command = [compiler(program), *FLAGS, "-fsyntax-only", "-Wall", "-Wextra", "-Werror", f"-march={level}"]
    result = subprocess.run([*command, f"-I{SUPPORT}", tmp_path / "all.c"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


_SANITIZED = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import kernel_package
from tilebuild.build import configure
from tilebuild.build.driver import KernelBuild, build_kernels

project, site = Path(sys.argv[2]), Path(sys.argv[3])
built = build_kernels(project, configure(project), log=lambda _: None)
kernel_package.stage(built, project, site)
sys.path.insert(0, str(site))
package = kernel_package.Package(site, built)
rng = np.random.default_rng(0)
for level in package.levels:
    for m, n in [(1, 1), (3, 17), (5, 1000), (2, 1025), (1, 8191), (37, 63)]:
        # arrays of their own, with nothing around them that belongs to the process
        f = lambda *shape: rng.standard_normal(shape).astype(np.float32)
        x, w, b, k = f(m, n), f(n), f(n), n % 29 + 1
        for name, inputs in {
            "softmax": (x,), "softmax_online": (x,), "layernorm": (x, w, b, 1e-5), "rmsnorm": (x, w, 1e-5),
            "gelu": (x,), "bias_gelu_residual": (x, b, x), "scale": (x, 2.0), "add": (x, x),
            "matmul": (f(m, k), f(k, n)),
        }.items():
            (got,) = package.run(name, *inputs, how=level, surrounded=False, dims={"M": m, "N": n})
            assert np.isfinite(got).all(), (name, level, m, n)
print("clean")
"""


@pytest.mark.slow
def test_the_sanitizers_find_nothing(tmp_path: Path) -> None:
    """fastnorm with gcc's address and undefined-behaviour sanitizers, at ragged sizes, in a child process."""
    gcc = compiler("gcc")
    runtime = subprocess.run(
        [gcc, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not os.path.isabs(runtime):
        pytest.skip("libasan is not here")
    project = tmp_path / "fastnorm"
    shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns("build", "dist", "__pycache__"))
    wrapper = tmp_path / "bin" / "gcc"
    wrapper.parent.mkdir()
    sanitizers = "-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-sanitize=shift -O1"
    wrapper.write_text(f'#!/bin/sh\nexec {gcc} "$@" {sanitizers}\n')
    wrapper.chmod(0o755)
    arguments = [Path(kernel_package.__file__).parent, project, tmp_path / "site"]
    environment = {
        **os.environ,
        "PATH": f"{wrapper.parent}{os.pathsep}{os.environ['PATH']}",
        "LD_PRELOAD": runtime,
        "TILEBUILD_TARGETS": "cpu",
        "ASAN_OPTIONS": "detect_leaks=0:verify_asan_link_order=0",
        "PYTHONPATH": os.pathsep.join([*sys.path, sysconfig.get_path("purelib")]),
    }
    child = subprocess.run(
        [sys.executable, "-c", _SANITIZED, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr[-4000:]
    assert child.stdout.strip() == "clean"
