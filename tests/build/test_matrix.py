"""The jobs of a CI run, out of targets and platforms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tilebuild.build import configure, matrix
from tilebuild.cli import main
from tilebuild.diagnostics import TilebuildError
from tilebuild.targets import api


def made(directory: Path, *targets: str, platforms: tuple[str, ...] = ("linux-x86_64",), **more: Any) -> matrix.Jobs:
    (directory / "pyproject.toml").write_text(
        f"[tool.tilebuild]\ntargets = {json.dumps(targets)}\nplatforms = {json.dumps(platforms)}\n"
    )
    return matrix.jobs(configure(directory, {}), api.installed(), more.pop("runners", {}), **more)


BOTH = ("linux-x86_64", "linux-aarch64")


def test_a_device_has_one_job_and_a_platform_has_one(tmp_path: Path) -> None:
    jobs = made(tmp_path, "cpu", "gpu:sm_80", "gpu:sm_90", "spirv", platforms=BOTH)
    assert [(job["name"], job["target"]) for job in jobs["kernels"]] == [
        ("kernels-gpu-sm_80", "gpu:sm_80"),
        ("kernels-gpu-sm_90", "gpu:sm_90"),
        ("kernels-spirv", "spirv"),
    ]
    assert {job["platform"] for job in jobs["kernels"]} == {"linux-x86_64"}
    assert [(job["name"], job["targets"], job["build"]) for job in jobs["hosts"]] == [
        ("wheels-linux-x86_64", "cpu:x86-64", "*-manylinux_x86_64"),
        ("wheels-linux-aarch64", "cpu:aarch64", "*-manylinux_aarch64"),
    ]


def test_host_code_goes_to_the_platform_of_its_machine(tmp_path: Path) -> None:
    jobs = made(tmp_path, "cpu:aarch64", "cpu:x86-64", platforms=BOTH)
    assert [job["targets"] for job in jobs["hosts"]] == ["cpu:x86-64", "cpu:aarch64"]
    assert jobs["kernels"] == []


def test_without_host_code_the_wheels_carry_the_first_target(tmp_path: Path) -> None:
    jobs = made(tmp_path, "spirv", "gpu:sm_80", platforms=BOTH)
    assert [job["targets"] for job in jobs["hosts"]] == ["spirv", "spirv"]
    assert [job["target"] for job in jobs["kernels"]] == ["gpu:sm_80"]
    assert {job["repair"] for job in jobs["hosts"]} == {""}


@pytest.mark.parametrize(
    ("targets", "platforms", "facts"),
    [
        (["cpu:aarch64", "cpu:x86-64"], ("linux-x86_64",), ['"cpu:aarch64"', "linux-x86_64"]),
        (["cpu:x86-64", "spirv"], BOTH, ["linux-aarch64", "cpu:x86-64, spirv", 'add "cpu"']),
    ],
)
def test_targets_and_platforms_that_do_not_meet(
    tmp_path: Path, targets: list[str], platforms: tuple[str, ...], facts: list[str]
) -> None:
    with pytest.raises(TilebuildError) as caught:
        made(tmp_path, *targets, platforms=platforms)
    assert {d.code for d in caught.value.diagnostics} == {"E608"}
    assert [fact for fact in facts if fact not in str(caught.value)] == []


def test_github_lines_hold_the_matrices(tmp_path: Path) -> None:
    jobs = made(tmp_path, "cpu", "spirv")
    lines = dict(line.split("=", 1) for line in matrix.as_github(jobs).splitlines())
    assert {kind: json.loads(text)["include"] for kind, text in lines.items()} == jobs
    assert matrix.as_github(made(tmp_path, "cpu")).startswith("kernels=\n")


def test_gitlab_yaml_holds_the_matrices(tmp_path: Path) -> None:
    hidden = yaml.safe_load(matrix.as_gitlab(made(tmp_path, "cpu", "gpu:sm_80", service="gitlab")))
    (row,) = hidden[".kernels"]["parallel"]["matrix"]
    assert (row["NAME"], row["TARGET"], row["RUNNER"]) == (
        "kernels-gpu-sm_80",
        "gpu:sm_80",
        "saas-linux-small-amd64",
    )
    none = yaml.safe_load(matrix.as_gitlab(made(tmp_path, "cpu")))
    assert none[".kernels"] == {"rules": [{"when": "never"}]}


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(tmp_path, "cpu", "spirv")
    assert main(["matrix", str(tmp_path), "--runner", "linux-x86_64=big"]) == 0
    jobs = json.loads(capsys.readouterr().out)
    assert {job["runner"] for kind in jobs.values() for job in kind} == {"big"}
    assert main(["matrix", str(tmp_path), "--runner", "linux-x86=big"]) == 1
    assert 'unknown platform "linux-x86" (did you mean "linux-x86_64"?)' in capsys.readouterr().err
