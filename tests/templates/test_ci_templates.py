"""The CI workflows: valid by the services' published schemas, and run here, step by step, on a new project."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from ci_runner import GitHub, GitLab, Machine, StepError, evaluate

from tilebuild import toolchain
from tilebuild.cli import main
from tilebuild.diagnostics import TilebuildError

TREE = Path(__file__).parents[2]
CI = TREE / "templates" / "ci"

# what stands in for the programs of a runner: this Python, and for cibuildwheel, which needs containers, a plain build
# with the environment, selector and repair command that the workflow gives it
_PYTHON = """#!{python}
import os, shlex, subprocess, sys
arguments = sys.argv[1:]
if arguments[:4] == ["-m", "pip", "install", "cibuildwheel"]:
    sys.exit(0)
if arguments[:2] == ["-m", "cibuildwheel"]:
    assert arguments[2] == "--output-dir" and len(arguments) == 4, arguments
    assert os.environ["CIBW_BUILD"].endswith("-manylinux_x86_64"), os.environ["CIBW_BUILD"]
    assert os.environ["CIBW_REPAIR_WHEEL_COMMAND_LINUX"] == "auditwheel repair -w {{dest_dir}} {{wheel}}"
    inner = dict(word.split("=", 1) for word in shlex.split(os.environ["CIBW_ENVIRONMENT"]))
    command = ["-m", "build", "--wheel", "--no-isolation", "--outdir", arguments[3]]
    sys.exit(subprocess.call([sys.executable, *command], env=os.environ | inner))
if arguments[:3] == ["-m", "build", "--sdist"]:
    arguments.append("--no-isolation")
os.execv(sys.executable, [sys.executable, *arguments])
"""
_TILEBUILD = '#!/bin/sh\nexec "{python}" -m tilebuild "$@"\n'


def schema_errors(schema: str, *files: Path) -> str:
    if importlib.util.find_spec("check_jsonschema") is None:
        pytest.skip("check-jsonschema is not here: pip install check-jsonschema")
    transform = ["--data-transform", "gitlab-ci"] if schema == "gitlab-ci" else []
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", *transform]
    done = subprocess.run([*command, *map(str, files)], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


def test_the_github_workflow_is_valid(tmp_path: Path) -> None:
    text = (CI / "github" / "wheels.yml").read_text()
    assert schema_errors("github-workflows", CI / "github" / "wheels.yml") == ""
    (tmp_path / "wrong.yml").write_text(text.replace("runs-on:", "run-on:"))
    assert "run-on" in schema_errors("github-workflows", tmp_path / "wrong.yml")


def test_the_gitlab_pipelines_are_valid(project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["matrix", str(project), "--format", "gitlab"]) == 0
    child = tmp_path / "child.yml"
    child.write_text(capsys.readouterr().out + (CI / "gitlab" / "wheels.yml").read_text())
    assert schema_errors("gitlab-ci", CI / "gitlab" / "gitlab-ci.yml", child) == ""
    (tmp_path / "wrong.yml").write_text(child.read_text().replace("script:", "skript:"))
    assert "skript" in schema_errors("gitlab-ci", tmp_path / "wrong.yml")


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A new project with a second target, whose compiler is Python."""
    directory = tmp_path / "checkout"
    assert main(["init", str(directory), "--name", "waves"]) == 0
    file = directory / "pyproject.toml"
    file.write_text(file.read_text().replace('targets = ["cpu"]', 'targets = ["cpu", "spirv"]'))
    capsys.readouterr()
    return directory


@pytest.fixture
def machine(project: Path, tmp_path: Path) -> Machine:
    for module, package in (("build", "build"), ("scikit_build_core", "scikit-build-core"), ("xdsl", "xdsl")):
        pytest.importorskip(module, reason=f"pip install {package}")
    try:
        toolchain.find("c-compiler")
    except TilebuildError as e:
        pytest.skip(str(e))
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in (("python", _PYTHON), ("tilebuild", _TILEBUILD)):
        (programs / name).write_text(text.format(python=sys.executable))
        (programs / name).chmod(0o755)
    return Machine(tmp_path / "machine", project, programs)


def assert_released(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        manifest = json.loads(archive.read("waves/_kernels/manifest.json"))
        assert archive.testzip() is None
    assert list(manifest["libraries"]) == ["cpu:x86-64", "spirv:vulkan1.2"]


@pytest.mark.slow
def test_the_github_workflow_makes_a_release(machine: Machine) -> None:
    run = GitHub(machine, CI / "github" / "wheels.yml")
    run.run()
    assert run.results == dict.fromkeys(run.jobs, "success")
    assert sorted(a.name for a in run.artifacts.iterdir()) == ["dist", "kernels-spirv", "sdist", "wheels-linux-x86_64"]
    assert_released(run.artifacts / "dist")
    assert "proved" in machine.said["merge 0"]


@pytest.mark.slow
def test_without_device_targets_there_are_no_kernel_jobs(machine: Machine, project: Path) -> None:
    file = project / "pyproject.toml"
    file.write_text(file.read_text().replace('["cpu", "spirv"]', '["cpu"]'))
    run = GitHub(machine, CI / "github" / "wheels.yml")
    run.run()
    assert {name for name, result in run.results.items() if result == "skipped"} == {"kernels"}
    (wheel,) = (run.artifacts / "dist").glob("*.whl")
    (built,) = (run.artifacts / "wheels-linux-x86_64").glob("*.whl")
    assert wheel.read_bytes() == built.read_bytes()


@pytest.mark.slow
def test_the_gitlab_pipelines_make_a_release(machine: Machine) -> None:
    run = GitLab(machine, {".gitlab/wheels.yml": CI / "gitlab" / "wheels.yml"})
    run.run((CI / "gitlab" / "gitlab-ci.yml").read_text())
    assert run.ran == ["parent matrix", "child kernels kernels-spirv", "child hosts wheels-linux-x86_64", "child merge"]
    assert_released(machine.root / "artifacts-child" / "dist")


def test_the_runner_stops_at_a_failing_step(machine: Machine, tmp_path: Path) -> None:
    jobs = {"one": {"steps": [{"run": "echo before\nfalse\necho after"}]}}
    (tmp_path / "w.yml").write_text(yaml.safe_dump({"jobs": jobs}))
    with pytest.raises(StepError, match="exit status 1") as caught:
        GitHub(machine, tmp_path / "w.yml").run()
    assert str(caught.value).endswith("before\n")


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("needs.a.outputs.x != ''", True),
        ("!failure() && !cancelled()", True),
        ("success() || failure()", False),
        ("fromJSON(needs.a.outputs.x)", [1]),
    ],
)
def test_expressions(expression: str, value: object) -> None:
    context = {"needs": {"a": {"outputs": {"x": "[1]"}}}, "status": ["skipped"]}
    assert evaluate(expression, context) == value
