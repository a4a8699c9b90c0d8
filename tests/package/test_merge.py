"""`tilebuild merge`: kernel sets and host wheels into fat, split and variant wheels, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import pytest
import release_project
from release_project import Release

from tilebuild import toolchain
from tilebuild.cli import main
from tilebuild.diagnostics import TilebuildError

pytest.importorskip("scikit_build_core", reason="pip install scikit-build-core")


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    try:
        toolchain.find("c-compiler")
    except TilebuildError as e:
        pytest.skip(str(e))
    return release_project.make(tmp_path_factory.mktemp("release"))


def merged(output: Path, *inputs: object, layout: str = "fat") -> list[Path]:
    assert main(["merge", *map(str, inputs), "--layout", layout, "--output", str(output)]) == 0
    return sorted(output.iterdir())


def manifest_of(wheel: Path) -> dict[str, Any]:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith("/_kernels/manifest.json"))
        found: dict[str, Any] = json.loads(archive.read(name))
    return found


def test_a_merged_wheel_is_the_wheel_built_in_one_go(release: Release, tmp_path: Path) -> None:
    (wheel,) = merged(tmp_path, release.spirv, release.host)
    assert wheel.name == release.once.name
    assert wheel.read_bytes() == release.once.read_bytes()


def test_a_wheel_without_kernels_gets_them_before_its_dist_info(release: Release, tmp_path: Path) -> None:
    bare = tmp_path / release.once.name
    with zipfile.ZipFile(release.once) as old, zipfile.ZipFile(bare, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.infolist():
            data = old.read(member)
            if member.filename.endswith("/RECORD"):
                data = b"\n".join(line for line in data.split(b"\n") if b"/_kernels/" not in line)
            if "/_kernels/" not in member.filename:
                new.writestr(member, data)
    (wheel,) = merged(tmp_path / "out", release.cpu, bare, release.spirv)
    with zipfile.ZipFile(release.once) as old, zipfile.ZipFile(wheel) as new:
        assert {n: new.read(n) for n in new.namelist() if not n.endswith("/RECORD")} == {
            n: old.read(n) for n in old.namelist() if not n.endswith("/RECORD")
        }
        record = new.read("duo_kernels-1.2.dist-info/RECORD").decode().splitlines()
        assert sorted(record) == sorted(old.read("duo_kernels-1.2.dist-info/RECORD").decode().splitlines())
        listed = [line.partition(",")[0] for line in record]
        assert listed == new.namelist()
        first = next(n for n, name in enumerate(listed) if ".dist-info/" in name)
        assert "/_kernels/" in listed[first - 1]


@pytest.mark.parametrize("backwards", [False, True])
def test_a_wheel_that_another_tool_wrote_anew_takes_kernels(release: Release, tmp_path: Path, backwards: bool) -> None:
    """auditwheel writes members in an order of its own, and directories have members in some archives."""
    other = tmp_path / release.host.name
    with zipfile.ZipFile(release.host) as old, zipfile.ZipFile(other, "w", zipfile.ZIP_DEFLATED) as new:
        new.writestr("duo/", b"")
        for member in sorted(old.infolist(), key=lambda m: m.filename, reverse=backwards):
            new.writestr(member, old.read(member))
    (wheel,) = merged(tmp_path / "out", other, release.spirv)
    with zipfile.ZipFile(release.once) as once, zipfile.ZipFile(wheel) as new:
        assert new.testzip() is None
        files = [n for n in new.namelist() if not n.endswith("/")]
        assert sorted(files) == sorted(once.namelist())
        assert files[-1].endswith("/RECORD")
        assert all(new.read(n) == once.read(n) for n in files if not n.endswith("/RECORD"))
        (record,) = (n for n in files if n.endswith("/RECORD"))
        assert sorted(new.read(record).splitlines()) == sorted(once.read(record).splitlines())


def test_the_order_of_the_inputs_does_not_matter(release: Release, tmp_path: Path) -> None:
    gpu = release_project.as_gpu(release.spirv, tmp_path / "gpu", "sm_80")
    one = merged(tmp_path / "one", release.spirv, gpu, release.host)
    two = merged(tmp_path / "two", gpu, release.host, release.spirv)
    assert one[0].read_bytes() == two[0].read_bytes()
    assert list(manifest_of(one[0])["libraries"]) == ["cpu:x86-64", "gpu:sm_80", "spirv:vulkan1.2"]


def test_a_split_package_is_installed_by_its_extra_and_finds_its_part(release: Release, tmp_path: Path) -> None:
    wheels = merged(tmp_path / "out", release.host, release.spirv, layout="split")
    assert [w.name for w in wheels] == [
        "duo_kernels-1.2-py3-none-linux_x86_64.whl",
        "duo_kernels_spirv-1.2-py3-none-any.whl",
    ]
    assert list(manifest_of(wheels[0])["libraries"]) == ["cpu:x86-64"]
    assert list(manifest_of(wheels[1])["libraries"]) == ["spirv:vulkan1.2"]
    alone, both = tmp_path / "alone", tmp_path / "both"
    install(wheels[0].parent, "duo-kernels", alone)
    install(wheels[0].parent, "duo-kernels[spirv]", both)
    assert targets_found(alone) == "cpu 8.0 8.0"
    assert targets_found(both) == "cpu,spirv 8.0 8.0"


def test_a_part_of_another_build_is_refused_at_run_time(release: Release, tmp_path: Path) -> None:
    wheels = merged(tmp_path / "out", release.host, release.spirv, layout="split")
    site = tmp_path / "site"
    for wheel in wheels:
        zipfile.ZipFile(wheel).extractall(site)
    manifest = site / "duo_kernels_spirv" / "_kernels" / "manifest.json"
    kernel = manifest_of(wheels[1])["kernels"][0]
    manifest.write_text(manifest.read_text().replace(kernel["sha256"], "0" * 64))
    shutil.rmtree(site / "duo_kernels_spirv-1.2.dist-info")
    said = targets_found(site)
    assert "[E828]" in said
    assert "duo.kernels.double" in said


def test_a_project_that_declares_the_extra_itself_keeps_it(release: Release, tmp_path: Path) -> None:
    wheels = merged(tmp_path / "out", release.host, release.spirv, layout="split")
    again = merged(
        tmp_path / "again", wheels[0], release_project.as_gpu(release.spirv, tmp_path / "g", "sm_80"), layout="split"
    )
    with zipfile.ZipFile(again[0]) as archive:
        metadata = BytesParser().parsebytes(archive.read("duo_kernels-1.2.dist-info/METADATA"))
    assert metadata.get_all("Provides-Extra") == ["spirv", "gpu"]
    assert metadata.get_all("Requires-Dist") == [
        'duo-kernels-spirv==1.2; extra == "spirv"',
        'duo-kernels-gpu==1.2; extra == "gpu"',
    ]


def install(folder: Path, requirement: str, site: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--find-links", str(folder), "--target"]
    done = subprocess.run([*command, str(site), requirement], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


FIND = """
import numpy as np
from duo import double, half
from tilebuild.diagnostics import TilebuildError
from tilebuild.runtime.package import find_package
x = np.full((3, 70), 4, "float32")
try:
    package = find_package("duo.kernels")
    targets = {b["target"] for k in package.kernels.values() for v in k["variants"] for b in v["builds"]}
    print(",".join(sorted(targets)), double(x, target="cpu").max(), half(x * 4, target="cpu").min())
except TilebuildError as e:
    print(repr(e))
"""


def targets_found(site: Path) -> str:
    tree = Path(__file__).parents[2]
    environ = os.environ | {"PYTHONPATH": os.pathsep.join([str(site), str(tree), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", FIND], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def variants(release: Release, tmp_path: Path) -> list[Path]:
    gpus = [release_project.as_gpu(release.spirv, tmp_path / arch, arch) for arch in ("sm_80", "sm_90", "sm_90a")]
    return merged(tmp_path / "variants", release.host, release.spirv, *gpus, layout="variants")


def test_a_variant_wheel_has_the_kernels_of_one_property(variants: list[Path]) -> None:
    libraries = {
        w.stem.partition("linux_x86_64")[2]: list(manifest_of(w)["libraries"]) for w in variants if w.suffix == ".whl"
    }
    assert libraries == {
        "": ["cpu:x86-64", "gpu:sm_80", "gpu:sm_90", "gpu:sm_90a", "spirv:vulkan1.2"],
        "-null": ["cpu:x86-64"],
        "-sm_arch_80_real": ["cpu:x86-64", "gpu:sm_80"],
        "-sm_arch_90_real": ["cpu:x86-64", "gpu:sm_90", "gpu:sm_90a"],
    }


def test_variantlib_reads_variant_wheels_and_their_index(variants: list[Path]) -> None:
    reason = "variantlib is not here: pip install variantlib"
    dist_info = pytest.importorskip("variantlib.variant_dist_info", reason=reason)
    variants_json = pytest.importorskip("variantlib.variants_json", reason=reason)
    described = {}
    for wheel in variants:
        if wheel.suffix == ".whl" and not wheel.stem.endswith("linux_x86_64"):
            with zipfile.ZipFile(wheel) as archive:
                text = archive.read("duo_kernels-1.2.dist-info/variant.json")
            label = wheel.stem.rpartition("-")[2]
            found = dist_info.VariantDistInfo(text, label)
            described[label] = sorted(p.to_str() for p in found.variant_desc.properties)
    assert described == {
        "null": [],
        "sm_arch_80_real": ["nvidia :: sm_arch :: 80_real"],
        "sm_arch_90_real": ["nvidia :: sm_arch :: 90_real"],
    }
    (index,) = (path for path in variants if path.name == "duo_kernels-1.2-variants.json")
    assert set(variants_json.VariantsJson(json.loads(index.read_text())).variants) == set(described)


@pytest.mark.parametrize(
    ("capability", "libraries"),
    [
        ("8.6", ["cpu:x86-64", "gpu:sm_80"]),
        ("9.0", ["cpu:x86-64", "gpu:sm_90", "gpu:sm_90a"]),
        ("7.5", ["cpu:x86-64"]),
    ],
)
def test_uv_installs_the_variant_of_the_machine(
    variants: list[Path], tmp_path: Path, capability: str, libraries: list[str]
) -> None:
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        pytest.skip("uv is not here: pip install uv")
    site = tmp_path / "site"
    command = [uv, "pip", "install", "--preview-features", "wheel-variants", "--no-index", "--no-cache", "--target"]
    done = subprocess.run(
        [*command, str(site), "--find-links", str(variants[0].parent), "duo-kernels", "--python", sys.executable],
        env=os.environ
        | {"NV_VARIANT_PROVIDER_FORCE_SM_ARCH": capability, "NV_VARIANT_PROVIDER_FORCE_CUDA_DRIVER_VERSION": "12.8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    manifest = json.loads((site / "duo" / "_kernels" / "manifest.json").read_text())
    assert list(manifest["libraries"]) == libraries


# --- what is refused ----------------------------------------------------------------------------------------------


def refused(capsys: pytest.CaptureFixture[str], output: Path, *inputs: object, layout: str = "fat") -> str:
    capsys.readouterr()
    assert main(["merge", *map(str, inputs), "--layout", layout, "--output", str(output)]) == 1
    assert not output.exists()
    return capsys.readouterr().err


def assert_says(said: str, code: str, *facts: object) -> None:
    assert f"error[{code}]" in said
    assert [fact for fact in map(str, facts) if fact not in said] == []


def test_a_target_that_is_there_twice(release: Release, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, tmp_path / "out", release.host, release.cpu)
    assert_says(said, "E742", "cpu:x86-64 is in two of the sets", release.host, release.cpu)


def test_another_version(release: Release, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = release_project.copied(release.spirv, tmp_path / "other")
    release_project.describe(other, version="1.3")
    assert_says(
        refused(capsys, tmp_path / "out", release.host, other), "E740", other, "duo-kernels 1.3", "duo-kernels 1.2"
    )


def test_a_version_that_is_computed_is_not_compared(release: Release, tmp_path: Path) -> None:
    other = release_project.copied(release.spirv, tmp_path / "other")
    release_project.describe(other, version="")
    (wheel,) = merged(tmp_path / "out", release.host, other)
    assert wheel.read_bytes() == release.once.read_bytes()


def test_another_project(release: Release, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = release_project.copied(release.spirv, tmp_path / "other")
    release_project.describe(other, project="solo")
    assert_says(refused(capsys, tmp_path / "out", release.host, other), "E740", "of solo 1.2", "duo-kernels 1.2")


def test_another_tilebuild(release: Release, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = release_project.copied(release.spirv, tmp_path / "other")
    mine = manifest_of(release.once)["tilebuild"]
    release_project.rewrite(other, f'"tilebuild": "{mine}"', '"tilebuild": "0.0.1"', manifest_only=True)
    said = refused(capsys, tmp_path / "out", release.host, other)
    assert_says(said, "E740", f"tilebuild {mine}: {release.host}", f"tilebuild 0.0.1: {other}")


def test_another_source(release: Release, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = Path(
        shutil.copytree(release.root / "project", tmp_path / "project", ignore=shutil.ignore_patterns("build"))
    )
    source = project / "src" / "duo" / "kernels.py"
    source.write_text(source.read_text().replace("* 0.5", "* 0.25"))
    other = release_project.kernel_set(project, "spirv", tmp_path / "other")
    before, after = (manifest_of_set(folder)["kernels"][1]["sha256"] for folder in (release.spirv, other))
    assert before != after
    said = refused(capsys, tmp_path / "out", release.host, other)
    assert_says(said, "E741", "duo.kernels.half is not the same kernel everywhere", before, after, release.host, other)


def test_a_kernel_that_one_set_lacks(release: Release, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = Path(
        shutil.copytree(release.root / "project", tmp_path / "project", ignore=shutil.ignore_patterns("build"))
    )
    source = project / "src" / "duo" / "kernels.py"
    source.write_text(source.read_text().partition("@tb.kernel\ndef half")[0])
    other = release_project.kernel_set(project, "spirv", tmp_path / "other")
    assert_says(
        refused(capsys, tmp_path / "out", release.host, other), "E741", f"it is not there: {other}", release.host
    )


def manifest_of_set(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "files" / "duo" / "_kernels" / "manifest.json").read_text())
    return found


def test_an_altered_file(release: Release, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = release_project.copied(release.spirv, tmp_path / "other")
    (library,) = manifest_of_set(other)["libraries"].values()
    file = other / "files" / "duo" / "_kernels" / library["file"]
    file.write_bytes(file.read_bytes()[:-1] + b"\1")
    assert_says(refused(capsys, tmp_path / "out", release.host, other), "E743", library["file"], library["sha256"])
    # an attacker, or a tool, that brings the set's own description in line is found by the manifest
    release_project.rewrite(other, "no such words", "")
    assert_says(refused(capsys, tmp_path / "out", release.host, other), "E743", "the manifest says", library["sha256"])


def test_a_file_too_many_and_one_too_few(release: Release, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = release_project.copied(release.spirv, tmp_path / "other")
    inside = other / "files" / "duo" / "_kernels"
    (inside / "more").write_text("x")
    assert_says(refused(capsys, tmp_path / "out", release.host, other), "E743", "more is there and not listed")
    (inside / "more").unlink()
    (inside / "__init__.py").unlink()
    assert_says(refused(capsys, tmp_path / "out", release.host, other), "E743", "__init__.py is missing")


def test_an_altered_wheel(release: Release, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    altered = tmp_path / release.host.name
    with zipfile.ZipFile(release.host) as old, zipfile.ZipFile(altered, "w") as new:
        for member in old.infolist():
            new.writestr(member, old.read(member) + (b"\0" if member.filename.endswith("kernels.so") else b""))
    said = refused(capsys, tmp_path / "out", altered, release.spirv)
    assert_says(said, "E743", "kernels.so was altered", "RECORD says sha256=")


@pytest.mark.parametrize(
    ("text", "fact"),
    [(None, "No such file"), ("{", "JSONDecodeError"), ('{"schema": 9}', "its schema is 9"), ("[]", "")],
)
def test_what_is_no_kernel_set(
    release: Release, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, fact: str
) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    if text is not None:
        (folder / "kernel-set.json").write_text(text)
    assert_says(refused(capsys, tmp_path / "out", release.host, folder), "E744", f"{folder} is no kernel set", fact)


def test_what_is_no_wheel(release: Release, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x-1-py3-none-any.whl").write_text("no archive")
    assert_says(refused(capsys, tmp_path / "out", tmp_path / "x-1-py3-none-any.whl"), "E744", "not a wheel")


def test_host_code_without_its_wheel(release: Release, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = release_project.copied(release.cpu, tmp_path / "other")
    release_project.describe(other, machine="aarch64")
    said = refused(capsys, tmp_path / "out", release.host, other)
    assert_says(said, "E746", f"the kernels of {other} are host code of aarch64", "is for x86_64")
    assert_says(refused(capsys, tmp_path / "out", release.spirv), "E746", "there is no wheel")


def test_a_directory_with_something_else_in_it_is_left_alone(
    release: Release, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").write_text("precious")
    assert main(["build", str(release.root / "project"), "--target", "spirv", "--output", str(tmp_path)]) == 1
    assert_says(capsys.readouterr().err, "E745", tmp_path)
    assert [f.name for f in tmp_path.iterdir()] == ["mine"]
    again = release_project.copied(release.spirv, tmp_path / "again")
    release_project.kernel_set(release.root / "project", "spirv", again)
    assert {f: (release.spirv / f).read_bytes() for f in ("kernel-set.json",)} == {
        f: (again / f).read_bytes() for f in ("kernel-set.json",)
    }
