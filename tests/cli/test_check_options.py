"""What `tilebuild check` is told and where it writes: launch facts, severities, projects with waivers, formats."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from tilebuild.cli import check, check_options
from tilebuild.cli.check_options import Options
from tilebuild.diagnostics import TilebuildError

PTX = """.version 8.0
.target sm_80
.address_size 64
.visible .entry copy(.param .u64 to)
{
    .reg .b32 %r<9>;
    .shared .align 4 .b8 s[128];
    mov.u32 %r1, %REGISTER.x;
    shl.b32 %r2, %r1, 2;
    mov.u32 %r3, s;
    add.s32 %r4, %r3, %r2;
    st.shared.u32 [%r4], %r1;
    ret;
}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "k.ptx"
    path.write_text(PTX.replace("REGISTER", "tid"))
    return path


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    check.add_parser(parser.add_subparsers())
    return parser.parse_args(["check", *arguments])


def run(*arguments: str) -> int:
    return check.run(parsed(*arguments))


def options(*arguments: str) -> Options:
    return check_options.read(parsed("k.ptx", *arguments))


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        options(*arguments)
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_facts_of_a_launch() -> None:
    read = options("--launch", "block=32x8,grid=100x2,dynamic-shared=4096", "--extent", "to=1024", "--extent", "x=8")
    assert read.facts.block == (32, 8)
    assert read.facts.grid == (100, 2)
    assert read.facts.extents == {"to": 1024, "x": 8}
    assert read.facts.shared_dynamic == 4096
    nothing = options()
    assert (nothing.facts.block, nothing.facts.grid, nothing.facts.extents) == ((), (), {})
    assert nothing.facts.shared_dynamic is None
    assert options("--dynamic-shared", "0").facts.shared_dynamic == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--launch", "block=0"), '"0" is not one to three sides'),
        (("--launch", "block=1x1x1x1"), "one to three sides"),
        (("--launch", "block=-1"), "one to three sides"),
        (("--launch", "block=2147483648"), "one to three sides"),
        (("--launch", "blocks=3"), '"blocks=3" is no fact of a launch: write block='),
        (("--launch", "block"), "no fact of a launch"),
        (("--launch", "block=1,block=2"), "block is given twice"),
        (("--launch", "dynamic-shared=1k"), '"1k" is not a number of bytes'),
        (("--launch", "block=1", "--block", "2"), "block is given twice: --block, and --launch block=.."),
        (("--extent", "to"), '"to" is not NAME=BYTES'),
        (("--extent", "=4"), "is not NAME=BYTES"),
        (("--extent", "to=-4"), '"-4" is not a number of bytes'),
        (("--extent", "to=4", "--extent", "to=5"), "to is given twice, as 4 and as 5"),
        (("--severity", "alias=warn"), 'there is no check "alias" (did you mean "aliasing"?)'),
        (("--severity", "aliasing=loud"), 'aliasing: "loud" is none of error, warn, off'),
        (("--severity", "sync"), 'sync: "" is none of'),
    ],
)
def test_what_is_no_option_says_why(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], text: str) -> None:
    assert text in refused(capsys, *arguments)


def test_a_launch_proves_what_the_file_leaves_open(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(file), "--strict") == 1
    assert run(str(file), "--strict", "--launch", "block=32") == 0
    assert run(str(file), "--launch", "block=33") == 1
    file.write_text(PTX.replace("REGISTER", "ctaid"))
    capsys.readouterr()
    assert run(str(file), "--strict", "--launch", "block=32") == 1
    assert run(str(file), "--strict", "--launch", "block=1024,grid=32") == 0
    assert run(str(file), "--launch", "block=1,grid=33") == 1


def test_an_extent_of_no_parameter_is_refused(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(file), "--extent", "to=512", "--launch", "block=32") == 0
    assert run(str(file), "--extent", "too=512") == 2
    assert "a fact about too is given, and no kernel has that parameter; there are ['to']" in capsys.readouterr().err


def test_severities(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = (str(file), "--launch", "block=64")
    assert run(*bad) == 1
    assert run(*bad, "--severity", "operands=warn") == 0
    assert "warning[O-PTX-01]" in capsys.readouterr().out
    assert run(*bad, "--severity", "default=warn", "--severity", "operands=error") == 1
    capsys.readouterr()
    assert run(*bad, "--severity", "operands=off") == 0
    assert capsys.readouterr().out == "copy on gpu:sm_80: proved (capacity proved, sync proved, linear-use proved)\n"
    assert run(*bad, "--severity", "default=off") == 1
    assert capsys.readouterr().out == "copy on gpu:sm_80: unknown (no check ran)\n"


def project(root: Path, table: str) -> str:
    (root / "pyproject.toml").write_text(f"[tool.tilebuild.oracle]\n{table}")
    return str(root)


def test_a_project_s_severities_and_waivers(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1777593600")  # 2026-05-01
    bad = (str(file), "--launch", "block=64", "--project")
    waiver = (
        'waivers = [{finding = "O-PTX-01", kernel = "co*", reason = "it is launched with 32", expires = 2026-05-01}]'
    )
    assert run(*bad, project(file.parent, 'kernel.copy.operands = "warn"')) == 0
    assert run(*bad, project(file.parent, 'kernel.copy.operands = "warn"'), "--severity", "operands=error") == 1
    capsys.readouterr()
    assert run(*bad, project(file.parent, waiver)) == 0
    said = capsys.readouterr()
    assert "waived[O-PTX-01]" in said.out
    assert "note: waived until 2026-05-01: it is launched with 32" in said.out
    assert said.err == ""
    assert run(*bad, project(file.parent, waiver.replace("2026-05-01", "2026-04-30"))) == 1
    said = capsys.readouterr()
    assert "error[O-PTX-01]" in said.out
    assert "until 2026-04-30) expired on 2026-04-30" in said.err
    assert run(str(file), "--launch", "block=32", "--project", project(file.parent, waiver)) == 0
    assert "is not used: nothing was found that it speaks of" in capsys.readouterr().err
    with pytest.raises(TilebuildError, match='the key "reason" is missing'):
        run(*bad, project(file.parent, waiver.replace('reason = "it is launched with 32", ', "")))


@pytest.mark.parametrize("kind", ["text", "json", "sarif", "html"])
def test_every_format_goes_to_a_file(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    out = tmp_path / "out"
    given = (str(file), "none", "--launch", "block=64", "--format", kind)
    assert run(*given) == 2
    shown = capsys.readouterr()
    assert run(*given, "--output", str(out)) == 2
    assert capsys.readouterr().out == ""
    assert out.read_text() == shown.out
    assert "O-PTX-01" in shown.out
    assert ("none: cannot be judged" in shown.err) == (kind == "text")
    if kind in ("json", "sarif"):
        json.loads(shown.out)
    with pytest.raises(TilebuildError, match=r"E613.*the verdicts cannot be written"):
        run(*given, "--output", str(tmp_path / "no" / "folder"))


def test_several_kernels_end_in_a_summary(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(file), str(file), "--launch", "block=64") == 1
    assert capsys.readouterr().out.splitlines()[-1] == "2 kernels: 2 violated; findings: 2 errors"
    assert run(str(file), str(file), "--launch", "block=32", "--quiet") == 0
    assert capsys.readouterr().out == ""
