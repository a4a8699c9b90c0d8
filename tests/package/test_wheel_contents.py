"""The wheel of a real kernel build: its size budget, its bill of materials, and what other tools say about it."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tilebuild import backend

KERNELS = """\"\"\"Two kernels, one name the beginning of the other.\"\"\"
import tilebuild as tb

N = tb.dims("N")


@tb.kernel
def add(x: tb.In[tb.f32, N], y: tb.Out[tb.f32, N], *, BN: tb.Const = 64):
    j = tb.program(tb.cdiv(N, BN))
    y.tiles(BN)[j] = x.tiles(BN)[j] + 1.0


@tb.kernel
def add_two(x: tb.In[tb.f32, N], y: tb.Out[tb.f32, N], *, BN: tb.Const = 64):
    j = tb.program(tb.cdiv(N, BN))
    y.tiles(BN)[j] = x.tiles(BN)[j] + 2.0
"""
PYPROJECT = """
[build-system]
requires = ["tilebuild"]
build-backend = "tilebuild.backend"
[project]
name = "two-kernels"
version = "1.0"
description = "Two kernels"
readme = "README.md"
license = "MIT"
requires-python = ">=3.10"
dependencies = ["tilebuild"]
[tool.tilebuild]
targets = ["cpu"]
[tool.tilebuild.target.cpu]
compiler = "gcc"
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not here")
    root = tmp_path_factory.mktemp("two kernels")
    (root / "src" / "two_kernels").mkdir(parents=True)
    (root / "src" / "two_kernels" / "__init__.py").write_text(KERNELS)
    (root / "pyproject.toml").write_text(PYPROJECT)
    (root / "README.md").write_text("# Two kernels\n")
    return root


@pytest.fixture(scope="module")
def wheel(project: Path) -> Path:
    before = Path.cwd()
    os.chdir(project)
    try:
        return project / "dist" / backend.build_wheel(str(project / "dist"))
    finally:
        os.chdir(before)


@pytest.fixture(scope="module")
def bill(wheel: Path) -> dict[str, Any]:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if ".dist-info/sboms/" in n)
        found: dict[str, Any] = json.loads(archive.read(name))
    return found


def test_the_bill_names_compilers_and_flags_of_each_kernel(bill: dict[str, Any], wheel: Path) -> None:
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["purl"] == "pkg:pypi/two-kernels@1.0"
    (library,) = bill["components"]
    with zipfile.ZipFile(wheel) as archive:
        manifest = json.loads(archive.read("two_kernels/_kernels/manifest.json"))
        data = archive.read(f"two_kernels/_kernels/{library['name']}")
    assert library["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(data).hexdigest()}]
    ((compiler,),) = (entry["compilers"] for entry in manifest["libraries"].values())
    assert [k["name"] for k in library["components"]] == ["two_kernels.add", "two_kernels.add_two"]
    for kernel in library["components"]:
        properties = {p["name"]: p["value"] for p in kernel["properties"]}
        flags = properties[f"tilebuild:compiler:gcc@{compiler['version']}"]
        assert flags.split() == compiler["flags"]
        assert "-O3" in flags.split()
        assert properties["tilebuild:verdict"] == "proved"
        assert len(properties["tilebuild:source:sha256"]) == 64
    (formulation,) = bill["formulation"]
    assert [(c["name"], c["version"]) for c in formulation["components"]] == [("gcc", compiler["version"])]


def test_the_bill_is_valid_cyclonedx(bill: dict[str, Any]) -> None:
    pytest.importorskip(
        "cyclonedx.validation.json", reason="needs CycloneDX: pip install 'cyclonedx-python-lib[json-validation]'"
    )
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill)) is None
    refs = [c["bom-ref"] for c in walk(bill)]
    assert len(refs) == len(set(refs))
    assert {r for d in bill["dependencies"] for r in (d["ref"], *d["dependsOn"])} <= set(refs)


def walk(bill: dict[str, Any]) -> list[dict[str, Any]]:
    found = [bill["metadata"]["component"], *bill["formulation"], *bill["formulation"][0]["components"]]
    for component in bill["components"]:
        found += [component, *component["components"]]
    return found


@pytest.mark.parametrize("command", [
    ("twine", "check", "--strict"),
    ("check-wheel-contents",),
    ("auditwheel", "show"),
], ids=lambda c: c[0])  # fmt: skip
def test_other_tools_find_nothing_wrong(wheel: Path, command: tuple[str, ...]) -> None:
    beside = Path(sys.executable).with_name(command[0])
    program = str(beside) if beside.is_file() else shutil.which(command[0])
    if program is None:
        pytest.skip(f"needs {command[0]}: pip install {command[0]}")
    done = subprocess.run([program, *command[1:], wheel], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    if command[0] == "auditwheel":
        assert 'consistent with the\nfollowing platform tag: "manylinux' in said
    else:
        assert "warning" not in said.lower(), said


def test_a_wheel_over_its_budget_is_refused_with_a_table(
    project: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(project)
    with pytest.raises(SystemExit):
        backend.build_wheel(str(tmp_path), {"tilebuild.size-budget": "3 kB"})
    said = capsys.readouterr().err
    size = f"{wheel.stat().st_size:,} bytes"
    assert f"error[E731]: the wheel {wheel.name} takes {size}, and its budget is 3 kB" in said
    rows = [line.split() for line in said.splitlines() if line.strip().startswith("two_kernels.")]
    assert sorted(row[0] for row in rows) == ["two_kernels.add", "two_kernels.add_two"]
    compiled = {row[0]: int(row[2].replace(",", "")) for row in rows}
    for name, stem in (("two_kernels.add", "add"), ("two_kernels.add_two", "add_two")):
        own = list((project / "build" / "tilebuild").glob(f"cpu-*/{stem}_v*.o"))
        assert compiled[name] == sum(f.stat().st_size for f in own) > 0
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("TILEBUILD_SIZE_BUDGET", "1 GB")
    assert backend.build_wheel(str(tmp_path)) == wheel.name


def test_the_platform_tag_is_this_platforms(wheel: Path) -> None:
    assert wheel.name.endswith(f"-py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}.whl")
    assert importlib.util.find_spec("two_kernels") is None, "nothing was installed"
