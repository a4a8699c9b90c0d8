"""The vendor's compilers on what is generated: nothing here needs a GPU or a driver."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import gpu_kernels as gpu
import pytest

from tilebuild.diagnostics import TilebuildError
from tilebuild.targets.api import Artifact, Job
from tilebuild.targets.gpu import ptx
from tilebuild.targets.gpu.limits import ARCHITECTURES, ptx_version
from tilebuild.targets.gpu.target import TARGET, GpuOptions, agree
from tilebuild.toolchain import Tool

GOLDEN = Path(__file__).parent / "golden"


@cache
def tools(compiler: str = "nvrtc") -> tuple[Tool, ...]:
    try:
        return TARGET.tools(GpuOptions(compiler=compiler), Path("/nonexistent"))  # type: ignore[arg-type]
    except TilebuildError as error:
        if error.diagnostics[0].code != "E501":
            raise
        pytest.skip(
            f"{error.diagnostics[0].message}; get it: {TARGET.requirements(GpuOptions(), Path('/nonexistent'))}"
        )


def build(folder: Path, arch: str, names: Sequence[str], options: GpuOptions) -> tuple[Job, Artifact]:
    """Run the edges of a build of some of fastnorm's kernels."""
    where = folder / f"gpu-{arch}"
    where.mkdir(parents=True)
    made = []
    for name in names:
        found = gpu.plans(gpu.fastnorm()[name], arch)
        made += found
        (where / f"{name}.cu").write_text(TARGET.emit(found)[".cu"].text, encoding="utf-8")
    sources = tuple(f"{name}.cu" for name in names)
    job = Job(arch, options, tools(options.compiler), sources, tuple(made), where.name)
    edges, artifact = TARGET.graph(job)
    for edge in edges:
        command = [sys.executable if word == "{python}" else word for word in edge.command]
        assert all((folder / i).is_file() for i in edge.inputs), edge
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), edge.title
        assert (folder / edge.output).is_file(), edge
    return job, artifact


@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
def test_every_kernel_of_fastnorm(tmp_path: Path, arch: str) -> None:
    job, artifact = build(tmp_path, arch, list(gpu.fastnorm()), GpuOptions())
    resources = TARGET.resources(job, tmp_path)
    assert set(resources) == {p.variant for p in job.plans}
    for plan in job.plans:
        used = resources[plan.variant]
        assert used["spill_bytes"] == used["stack_bytes"] == 0, plan.variant
        assert used["shared_bytes"] == plan.launch.shared_static, plan.variant
        assert 0 < used["registers"] <= (plan.launch.registers or 128), plan.variant
    for variant, path in TARGET.texts(job).items():
        text = (tmp_path / path).read_text(encoding="utf-8")
        assert f".entry {variant}(" in text
        assert f".version {ptx_version(arch)}\n.target {arch}" in text
    data = (tmp_path / artifact.output).read_bytes()
    assert data[:4] == b"\x50\xed\x55\xba"  # a fatbin
    assert artifact.file == f"gpu/{arch}/kernels.fatbin"
    assert set(artifact.flags) == {t.identity for t in job.tools}


def test_the_same_bytes_each_time(tmp_path: Path) -> None:
    results = []
    for name in ("first", "second"):
        _, artifact = build(tmp_path / name, "sm_90", ["rmsnorm", "add"], GpuOptions())
        results.append((tmp_path / name / artifact.output).read_bytes())
    assert results[0] == results[1]


def test_nvcc_by_configuration(tmp_path: Path) -> None:
    job, _ = build(tmp_path, "sm_80", ["scale", "matmul"], GpuOptions(compiler="nvcc", ptx=False))
    assert job.tools[0].name == "nvcc"
    assert all(r["spill_bytes"] == 0 for r in TARGET.resources(job, tmp_path).values())


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_least_ptx_version_of_every_architecture(tmp_path: Path, arch: str) -> None:
    build(tmp_path, arch, ["scale"], GpuOptions())  # ptxas refuses a version that is too low for the architecture


def test_16_byte_accesses_and_shuffles(tmp_path: Path) -> None:
    job, _ = build(tmp_path, "sm_80", ["softmax", "matmul"], GpuOptions())
    texts = {v: (tmp_path / p).read_text(encoding="utf-8") for v, p in TARGET.texts(job).items()}
    body = texts["softmax_0"].split(".entry softmax_0(")[1].split(".entry")[0]
    # a row of 1024 is eight vectors a thread, asked for once, and stored once
    assert len(re.findall(r"ld\.global\.(?:nc\.)?v4", body)) == len(re.findall(r"st\.global\.v4", body)) == 8
    assert len(re.findall(r"shfl\.sync\.bfly", body)) == 10
    assert "bar.sync" not in body
    assert re.search(r"ld\.shared\.v4", texts["matmul_0"])


def test_an_error_is_at_the_generated_line(tmp_path: Path) -> None:
    tools()
    (tmp_path / "gpu-sm_80").mkdir()
    (tmp_path / "gpu-sm_80" / "broken.cu").write_text("\nint x = y;\n", encoding="utf-8")
    command = [sys.executable, "-m", "tilebuild.targets.gpu.step", "compile", "nvrtc", "sm_80"]
    files = ["gpu-sm_80/broken.cu", "gpu-sm_80/broken.ptx"]
    done = subprocess.run([*command, *files], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert 'gpu-sm_80/broken.cu:2:1: error: identifier "y" is undefined' in done.stderr
    assert not (tmp_path / files[1]).exists()


@pytest.mark.parametrize("name", ["softmax", "matmul"])
def test_golden_text(name: str) -> None:
    """The text that test_every_kernel_of_fastnorm compiles; TILEBUILD_UPDATE_GOLDEN=1 writes it anew."""
    text = TARGET.emit(gpu.plans(gpu.fastnorm()[name]))[".cu"].text
    file = GOLDEN / f"{name}.cu"
    if os.environ.get("TILEBUILD_UPDATE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


# -- what the tools are asked for --------------------------------------------------------------------------------------


def _with_version(tool: Tool, version: str) -> Tool:
    return dataclasses.replace(tool, version=version)


def test_parts_of_different_releases_are_refused() -> None:
    found = tools()
    agree(found)
    with pytest.raises(TilebuildError) as caught:
        agree((found[0], _with_version(found[1], "13.0"), found[2]))
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E506"
    assert "ptxas 13.0" in diagnostic.message
    assert "nvrtc" in diagnostic.message
    assert "cuda-toolkit[nvcc,nvrtc]" in diagnostic.fix


def test_an_architecture_that_the_compiler_does_not_know() -> None:
    compiler, *others = tools()
    with pytest.raises(TilebuildError) as caught:
        TARGET.graph(Job("sm_53", GpuOptions(), (compiler, *others), (), (), "gpu-sm_53"))
    assert caught.value.diagnostics[0].code == "E422"
    assert "sm_53" in caught.value.diagnostics[0].message
    assert compiler.identity in caught.value.diagnostics[0].message


def test_requirements_pin_all_parts_together(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *_: None)
    monkeypatch.setenv("PATH", "")
    assert TARGET.requirements(GpuOptions(), tmp_path / "probes") == ["cuda-toolkit[nvcc,nvrtc]==13.5.0"]


@pytest.mark.parametrize(("arch", "words"), [("sm_9O", 'did you mean "sm_90"?'), ("", "needs an architecture")])
def test_unknown_architectures(arch: str, words: str) -> None:
    with pytest.raises(TilebuildError) as caught:
        TARGET.architecture(arch)
    assert caught.value.diagnostics[0].code == "E403"
    assert words in caught.value.diagnostics[0].message


# -- PTX text ----------------------------------------------------------------------------------------------------------

_PTX = """//
// Generated
.version 9.5
.target sm_80
.address_size 64

.visible .entry {name}()
"""


def test_joined_files_have_one_header() -> None:
    text = ptx.joined([_PTX.format(name="a"), _PTX.format(name="b")])
    assert text.count(".version") == text.count(".target") == text.count(".address_size") == 1
    assert text.index(".target") < text.index(".entry a") < text.index(".entry b")
    assert ".version 7.0\n.target sm_80" in ptx.lowered(text, "7.0")


def test_resources_of_a_log() -> None:
    log = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'a_0' for 'sm_80'
ptxas info    : Function properties for a_0
    16 bytes stack frame, 12 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 128 registers, used 1 barriers, 16 bytes cumulative stack size, 34816 bytes smem, 424 bytes cmem[0]
ptxas info    : Compiling entry function 'b_0' for 'sm_80'
ptxas info    : Function properties for b_0
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 32 registers, used 0 barriers
"""
    want: Mapping[str, Mapping[str, int]] = {
        "a_0": {"stack_bytes": 16, "spill_bytes": 12, "registers": 128, "barriers": 1, "shared_bytes": 34816},
        "b_0": {"stack_bytes": 0, "spill_bytes": 0, "registers": 32, "barriers": 0, "shared_bytes": 0},
    }
    assert ptx.resources(log) == want
