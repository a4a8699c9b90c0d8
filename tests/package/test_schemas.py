"""The published schemas: up to date, valid, and true of what is built; validate-pyproject finds the table's."""

from __future__ import annotations

import copy
import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tilebuild import toolchain
from tilebuild.build import configure
from tilebuild.build.driver import build_kernels
from tilebuild.cli import main
from tilebuild.diagnostics import TilebuildError
from tilebuild.package import schemas

TREE = Path(__file__).parents[2]


@pytest.mark.parametrize("name", schemas.SCHEMAS)
def test_published_schemas_are_up_to_date_and_valid(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", name]) == 0
    said = capsys.readouterr().out
    fix = "run `python -m tilebuild.package.schemas`"
    assert (TREE / "docs" / "schemas" / f"{name}.json").read_text(encoding="utf-8") == said, fix
    jsonschema.Draft7Validator.check_schema(json.loads(said))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The manifest of a build for two targets."""
    try:
        toolchain.find("c-compiler")
    except TilebuildError as e:
        pytest.skip(str(e))
    project = tmp_path_factory.mktemp("schema") / "waves"
    assert main(["init", str(project)]) == 0
    made = build_kernels(project, configure(project, {"tilebuild.targets": ["cpu", "spirv"]}), log=lambda _: None)
    return dict(made.manifest)


def problems(manifest: object) -> list[str]:
    return [error.json_path for error in jsonschema.Draft7Validator(schemas.manifest()).iter_errors(manifest)]


def test_a_built_manifest_is_as_the_schema_says(built: dict[str, Any]) -> None:
    assert problems(built) == []
    assert problems(built | {"parts": ["waves_spirv"]}) == []


def test_what_is_no_manifest_is_not(built: dict[str, Any]) -> None:
    wrong = copy.deepcopy(built)
    wrong["kernels"][0]["sha256"] = "0"
    del wrong["kernels"][0]["variants"][0]["builds"][0]["slots"]
    wrong["libraries"]["cpu:x86-64"]["bytes"] = "many"
    assert set(problems(wrong | {"schema": 2, "more": 1})) == {
        "$",
        "$.schema",
        "$.kernels[0].sha256",
        "$.kernels[0].variants[0].builds[0]",
        "$.libraries['cpu:x86-64'].bytes",
    }


@pytest.mark.parametrize("file", sorted((TREE / "toolchain_files").glob("*.yaml")), ids=lambda file: file.stem)
def test_toolchain_files_are_as_the_schema_says(file: Path) -> None:
    validator = jsonschema.Draft7Validator(schemas.toolchain())
    described = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert [error.message for error in validator.iter_errors(described)] == []
    assert not validator.is_valid(described | {"versoin": 1})


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ('targets = ["cpu", "gpu:sm_80"]\nplatforms = ["linux-aarch64"]\nwheel = "split"', ""),
        ('targets = "cpu"', "tool.tilebuild.targets"),
        ('targest = ["cpu"]', "targest"),
        ('[tool.tilebuild.target.cpu]\ncompiler = "tcc"', "tool.tilebuild.target.cpu.compiler"),
    ],
)
def test_validate_pyproject_checks_the_table(tmp_path: Path, table: str, complaint: str) -> None:
    pytest.importorskip("validate_pyproject", reason="pip install validate-pyproject")
    if not importlib.metadata.entry_points(group="validate_pyproject.tool_schema", name="tilebuild"):
        pytest.skip("tilebuild's entry point is not installed: pip install tilebuild of this version")
    file = tmp_path / "pyproject.toml"
    file.write_text(f'[project]\nname = "x"\nversion = "1"\n[tool.tilebuild]\n{table}\n')
    command = [sys.executable, "-m", "validate_pyproject", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == (complaint == ""), done.stdout + done.stderr
    assert complaint in done.stdout + done.stderr
