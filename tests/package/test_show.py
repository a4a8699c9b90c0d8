"""The picture of a plan: what a person must be able to read off it."""

from __future__ import annotations

import gzip
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tilebuild.cli import COMMANDS, main
from tilebuild.diagnostics import Span
from tilebuild.package.show import show
from tilebuild.plan.expr import parse, parse_predicates
from tilebuild.plan.model import (
    Access,
    Buffer,
    Contract,
    Fused,
    Global,
    Instr,
    Launch,
    Parameter,
    Placed,
    Plan,
    Region,
    Slice,
    Space,
    Symbol,
)
from tilebuild.plan.serialize import dumps

FILE = "src/thing/kernels.py"
CLIPPED = ("min(4, M - 4*i)", "N")
SOURCE = "import tilebuild as tb\n\nt = X[i, j]\ns += (t * t).sum(1)\nY[i, 0] = s\n"


def box(buffer: str, rows: str, cols: str, valid: tuple[str, str] | None = None, at: str = "0") -> Access:
    valid = valid or (rows, cols)
    return Access(
        buffer,
        Slice(parse(at), parse(rows)),
        Slice(parse("0"), parse(cols)),
        (parse(valid[0]), parse(valid[1])),
    )


def global_view(name: str, cols: str) -> Buffer:
    storage = Global(name, parse(f"4*i*{name}__s0"), (parse(f"{name}__s0"), parse("1")))
    return Buffer(f"{name}_view", storage, "f32", parse("4"), parse(cols))


def line(n: int) -> Span:
    return Span(FILE, n)


PLAN = Plan(
    target="cpu",
    arch="x86_64",
    kernel="squares",
    variant="squares_0",
    source=FILE,
    contract=Contract(
        (
            Parameter("x", "in", "f32", (parse("M"), parse("N"))),
            Parameter("y", "out", "f32", (parse("M"),)),
            Parameter("eps", "scalar", "f32"),
        ),
        parse_predicates("N <= 1024"),
    ),
    symbols=(
        Symbol("M", "dim", parse("1")),
        Symbol("N", "dim", parse("1")),
        Symbol("x__s0", "stride", parse("0")),
        Symbol("y__s0", "stride", parse("0")),
        Symbol("i", "program", parse("0"), parse("(M - 1) // 4")),
        Symbol("j", "loop", parse("0"), parse("(N - 1) // 1024")),
    ),
    spaces=(Space("arena", 65536, 64),),
    buffers=(
        global_view("x", "1024"),
        global_view("y", "1"),
        Buffer("t", Placed("arena", 0, 16384), "f32", parse("4"), parse("1024"), span=line(3)),
        Buffer("q", Fused(), "f32", parse("4"), parse("1024")),
        Buffer("s", Placed("arena", 16384, 16), "f32", parse("4"), parse("1"), span=line(4)),
        Buffer("spare", Placed("arena", 16448, 16), "f32", parse("4"), parse("1")),
    ),
    regions=(
        Region(0, 0, "program"),
        Region(1, 0, "loop", "j", parse("0"), parse("(N + 1023) // 1024")),
        Region(2, 1, "nest", lanes=(parse("4"), parse("1024"))),
    ),
    instructions=(
        Instr(0, "fill", (), (box("s", "4", "1"),), 0, attrs=(("value", "0.0"),), span=line(4)),
        Instr(1, "load", (box("x_view", "4", "1024", CLIPPED),), (box("t", "4", "1024"),), 1, span=line(3)),
        Instr(2, "mul", (box("t", "4", "1024"), box("t", "4", "1024")), (box("q", "4", "1024"),), 2, span=line(4)),
        Instr(3, "sum", (box("q", "4", "1024"), box("s", "4", "1")), (box("s", "4", "1"),), 2, span=line(4)),
        Instr(4, "store", (box("s", "2", "1", at="2"),), (box("y_view", "2", "1", at="2"),), 0, span=line(5)),
    ),
    launch=Launch((parse("(M + 3) // 4"),)),
)  # fmt: skip


def test_the_picture_of_a_plan() -> None:
    text = show(PLAN, {FILE: SOURCE}.get, {"variant": "BM = 4"})
    assert text[: text.index("  program")].splitlines() == [
        "squares, from src/thing/kernels.py",
        "  plan      squares_0 for cpu x86_64",
        "  variant   BM = 4",
        "  grid      i < (M + 3) // 4",
        "  contract  x: in f32[M, N], y: out f32[M], eps: scalar f32",
        "  facts     N <= 1024",
        "  spaces",
        "    name   used bytes  of            aligned to",
        "    arena  16464       65536  25.1%  64",
        "  buffers",
        "    id      dtype  rows x cols  storage                         offset  bytes  life    line",
        "    x_view  f32    4 x 1024     x[4*i*x__s0], strides x__s0, 1                 %1..%3",
        "    y_view  f32    4 x 1        y[4*i*y__s0], strides y__s0, 1                 %4",
        "    t       f32    4 x 1024     arena                           0       16384  %1..%3  3",
        "    q       f32    4 x 1024     fused                                          %2..%3",
        "    s       f32    4 x 1        arena                           16384   16     %0..%4  4",
        "    spare   f32    4 x 1        arena                           16448   16     none",
    ]


def test_lives_span_the_loop_that_carries_a_value() -> None:
    rows = {line.split()[0]: line.split() for line in show(PLAN, {}.get).splitlines() if line.startswith("    ")}
    assert rows["s"][-2:] == ["%0..%4", "4"]
    assert rows["t"][-2:] == ["%1..%3", "3"]
    assert rows["spare"][-1] == "none"


def test_the_program_stands_beside_its_python_lines() -> None:
    text = show(PLAN, {FILE: SOURCE}.get)
    assert text[text.index("  program") :].splitlines() == [
        "  program",
        "    # 4: s += (t * t).sum(1)",
        "    %0 s = fill {value=0.0}",
        "    loop j in 0 .. (N + 1023) // 1024",
        "      # 3: t = X[i, j]",
        "      %1 t = load x_view<min(4, M - 4*i) x N>",
        "      nest 4 x 1024, lane by lane",
        "        # 4: s += (t * t).sum(1)",
        "        %2 q = mul t, t",
        "        %3 s = sum q, s",
        "    # 5: Y[i, 0] = s",
        "    %4 y_view[2:4, 0:1] = store s[2:4, 0:1]",
    ]


def test_without_sources_there_are_line_numbers() -> None:
    assert "    # 5\n" in show(PLAN, lambda name: None)


@pytest.mark.parametrize("name", ["k.json", "k.json.gz"])
def test_a_plan_file_is_shown(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = dumps(PLAN).encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    assert main(["plan", str(tmp_path / name)]) == 0
    assert capsys.readouterr().out == show(PLAN, lambda name: None) + "\n"


def test_what_is_no_plan_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "k.json").write_text('{"schema": 1, "kernel": "k"}')
    assert main(["plan", str(tmp_path / "k.json")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "error[E705]" in said.err
    assert "missing entry 'arch'" in said.err


def test_a_plan_that_hangs_together_nowhere_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    regions = (PLAN.regions[0], replace(PLAN.regions[1], parent=2), replace(PLAN.regions[2], parent=1))
    (tmp_path / "k.json").write_text(dumps(replace(PLAN, regions=regions)))
    assert main(["plan", str(tmp_path / "k.json")]) == 2
    assert "error[O-PLAN-03]" in capsys.readouterr().err


def test_help_loads_no_command() -> None:
    script = (
        "import sys\nfrom tilebuild.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as e:\n    assert e.code == 0\n"
        "print(*sorted(m for m in sys.modules if m.startswith(('tilebuild.', 'yaml', 'xdsl', 'numpy'))))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    *text, loaded = done.stdout.splitlines()
    assert loaded == "tilebuild.cli tilebuild.diagnostics"
    assert all(any(line.split()[:1] == [name] for line in text) for name in COMMANDS)
