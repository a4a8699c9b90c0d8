"""`tilebuild config`: the configuration as TOML, and where each value comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tilebuild import build, cli
from tilebuild.build import config_docs, config_toml
from tilebuild.build.config import KnownTargets, load_config

KNOWN = KnownTargets({"cpu": ("x86-64",)}, config_docs.built_in())


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def configure(project: Path, settings: Any) -> Any:
        return load_config(project, KNOWN, settings)

    monkeypatch.setattr(build, "configure", configure)  # which asks the installed distribution for its targets
    (tmp_path / "pyproject.toml").write_text('[tool.tilebuild]\nbuild-dir = "out \\"x\\""\noracle.operands = "warn"\n')
    return tmp_path


def test_toml_reads_back_as_the_same(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["config", str(project), "-C", "tilebuild.target.cpu.compiler=gcc"]) == 0
    text = capsys.readouterr().out
    first = load_config(project, KNOWN, {"tilebuild.target.cpu.compiler": "gcc"}, {})
    (project / "pyproject.toml").write_text(text)
    second = load_config(project, KNOWN, {}, {})
    options = KNOWN.options["cpu"]
    assert second.options("cpu", options) == first.options("cpu", options)
    assert (second.targets, second.build_dir, second.oracle) == (first.targets, first.build_dir, first.oracle)
    tables = [line for line in text.splitlines() if line.startswith("[")]
    targets = [f"[tool.tilebuild.target.{name}]" for name in KNOWN.options]
    assert tables == ["[tool.tilebuild]", "[tool.tilebuild.oracle]", *targets]
    assert config_toml.read(project).data["tool"]["tilebuild"]["build-dir"] == 'out "x"'


def test_explain(project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILEBUILD_ORACLE_DEFAULT", "off")
    monkeypatch.setenv("TILEBUILD_ORACEL_DEFAULT", "off")
    monkeypatch.setenv("TILEBUILD_GCC", "gcc")
    assert cli.main(["config", str(project), "--explain", "-C", "tilebuild.target.cpu.levels=v3,v4"]) == 0
    text = capsys.readouterr().out
    rows = [line.split("  ") for line in text.splitlines()]
    found = {row[0]: [cell.strip() for cell in row[1:] if cell.strip()] for row in rows if row[0]}
    assert found["setting"] == ["value", "from"]
    assert found["targets"] == ['["cpu"]', "default"]
    assert found["build-dir"] == ['"out \\"x\\""', "pyproject.toml:2"]
    assert found["oracle.default"] == ['"off"', "environment variable TILEBUILD_ORACLE_DEFAULT"]
    assert found["oracle.aliasing"] == ["as default", "default"]
    assert found["oracle.operands"] == ['"warn"', "pyproject.toml:3"]
    assert found["target.cpu.levels"] == ['["v3", "v4"]', "config setting tilebuild.target.cpu.levels"]
    assert 'TILEBUILD_ORACEL_DEFAULT (did you mean "TILEBUILD_ORACLE_DEFAULT"?)' in text
    assert "TILEBUILD_GCC" not in text  # the toolchain's


def test_mistakes(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["config", str(project), "-C", "tilebuild.targets=cqu", "-C", "tilebuild.whel=fat"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert 'config setting tilebuild.targets[0]: unknown target "cqu" (did you mean "cpu"?)' in captured.err
    assert 'config setting tilebuild.whel: unknown key (did you mean "tilebuild.wheel"?)' in captured.err
