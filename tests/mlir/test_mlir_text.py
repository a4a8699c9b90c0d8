"""The dialect as a format: what is printed reads back the same, by us and through `mlir-opt`."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intrinsic_kernels import SIZES, cases
from intrinsic_text import module
from whole_kernels import WHOLE

from tilebuild.cli import main
from tilebuild.frontend.discover import discover
from tilebuild.frontend.lowering import lower
from tilebuild.ir.dialect import FuncOp
from tilebuild.ir.verifier import verify

ROOT = Path(__file__).parents[2]
FASTNORM = ROOT / "examples/fastnorm"


def mlir_opt() -> str:
    found = shutil.which("mlir-opt") or next((str(p) for p in sorted(Path("/usr/lib").glob("llvm-*/bin/mlir-opt"))), "")
    if not found:
        pytest.skip("mlir-opt is not installed: apt-get install mlir-19-tools")
    return found


def functions(project: Path) -> list[FuncOp]:
    """Every kernel variant of a project; each passes the verifier."""
    found = []
    for kernel in discover(project):
        for index, variant in enumerate(kernel.variants):
            func = lower(kernel, variant, f"{kernel.name}_{index}")
            func.verify()
            assert [d.render(project) for d in verify(func)] == []
            found.append(func)
    return found


def package(root: Path, **files: str) -> Path:
    folder = root / "src" / "pkg"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "__init__.py").touch()
    for name, text in files.items():
        (folder / name.replace("_mlir", ".mlir").replace("_py", ".py")).write_text(text)
    return root


def assert_same(again: Sequence[FuncOp], printed: Sequence[FuncOp]) -> None:
    """The same operations, but for what the place of the text in a file decides."""
    assert len(again) == len(printed)
    for a, b in zip(map(placeless, again), map(placeless, printed)):
        assert a.is_structurally_equivalent(b), f"{a}\n{b}"


def placeless(func: FuncOp) -> FuncOp:
    copy: FuncOp = func.clone()
    for op in copy.walk():
        op.properties.pop("span", None)
        op.properties.pop("file", None)
    return copy


@pytest.fixture(scope="module")
def intrinsics(tmp_path_factory: pytest.TempPathFactory) -> list[FuncOp]:
    every = [case.text for size in SIZES for case in cases(size).values()] + [case.text for case in WHOLE.values()]
    return functions(package(tmp_path_factory.mktemp("intrinsics"), made_mlir=module(*every)))


def test_fastnorm_as_mlir_is_the_same_kernels(tmp_path: Path) -> None:
    printed = functions(FASTNORM)
    again = package(tmp_path, norms_mlir="\n".join(map(str, printed)))
    assert_same(functions(again), printed)
    want = {k.name: (k.dims, [(p.name, p.mode, p.dims) for p in k.parameters], k.otherwise) for k in discover(FASTNORM)}
    got = {k.name: (k.dims, [(p.name, p.mode, p.dims) for p in k.parameters], k.otherwise) for k in discover(again)}
    assert got == want
    guards = {k.name: [(v.consts, v.when, v.target) for v in k.variants] for k in discover(FASTNORM)}
    assert {k.name: [(v.consts, v.when, v.target) for v in k.variants] for k in discover(again)} == guards


def test_intrinsics_lowered_read_back_as_the_dialect(tmp_path: Path, intrinsics: list[FuncOp]) -> None:
    again = functions(package(tmp_path, made_mlir="\n".join(map(str, intrinsics))))
    assert_same(again, intrinsics)


def test_through_mlir_opt(tmp_path: Path, intrinsics: list[FuncOp]) -> None:
    """It prints attributes in its own order; what comes out is read as the same kernels."""
    printed = [*functions(FASTNORM), *intrinsics]
    command = [mlir_opt(), "--allow-unregistered-dialect", "-"]
    done = subprocess.run(command, input="\n".join(map(str, printed)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert_same(functions(package(tmp_path, made_mlir=done.stdout)), printed)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mlir", str(FASTNORM), "--kernel", "softmax"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("module {\n")
    assert text.count('"tile.func"') == 2
    assert 'when = "N <= 1024"' in text
    assert main(["mlir", str(FASTNORM), "--kernel", "softmacks"]) == 1
    assert 'did you mean "softmax"?' in capsys.readouterr().err


EXAMPLES = re.findall(r"```mlir\n(.*?)```", (ROOT / "docs/mlir.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_of_the_page(example: str, tmp_path: Path) -> None:
    assert len(functions(package(tmp_path, made_mlir=example))) == 1


OPERATIONS = [
    "{a} + {b}", "{a} * {b}", "tb.maximum({a}, {b})", "tb.exp(-{a})", "{a} - {b}.max(1)", "{a} / ({b}.sum(1) + 1.0)",
    "tb.where({a} > {b}, {a}, 0.5)", "{a}.fill(1.0)", "{a} * N", "tb.dot({a}, {b}.T).sum(1) + {a}",
]  # fmt: skip
steps = st.lists(st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=6)


@settings(max_examples=25, deadline=None)
@given(steps=steps, tile=st.tuples(st.integers(1, 9), st.integers(1, 9)), loop=st.booleans())
def test_random_kernels_read_back(
    steps: list[tuple[str, int, int]], tile: tuple[int, int], loop: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lines = ["t0 = X[i, j]", "t1 = tb.full((BM, BN), 0.25)"]
    for number, (form, a, b) in enumerate(steps, 2):
        lines.append(f"t{number} = " + form.format(a=f"t{a % number}", b=f"t{b % number}"))
    last = f"t{len(steps) + 1}"
    if loop:
        lines += ["s = tb.zeros((BM, 1))", "for c in tb.pipeline(tb.cdiv(N, BN), stages=2):", "    s += X[i, c].sum(1)"]
        last = f"{last} + s"
    body = "".join(f"    {line}\n" for line in [*lines, f"Y[i, j] = {last} + tb.zeros((BM, BN))"])
    source = (
        'import tilebuild as tb\n\nM, N = tb.dims("M N")\n\n\n@tb.kernel\ndef k(x: tb.In[tb.f32, M, N], '
        f"y: tb.Out[tb.f32, M, N], *, BM: tb.Const = {tile[0]}, BN: tb.Const = {tile[1]}):\n    tb.require(N <= 4096)\n"
        "    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))\n    X, Y = x.tiles(BM, BN), y.tiles(BM, BN)\n" + body
    )
    printed = functions(package(tmp_path_factory.mktemp("python"), k_py=source))
    assert_same(functions(package(tmp_path_factory.mktemp("mlir"), k_mlir=str(printed[0]))), printed)


def test_a_kernel_by_its_file(tmp_path: Path) -> None:
    """What `tb.mlir_kernel` names, and what it refuses."""
    (tmp_path / "naming").mkdir()
    (tmp_path / "naming" / "__init__.py").write_text(
        'import tilebuild as tb\n\na = tb.mlir_kernel("soft.mlir")\nb = tb.mlir_kernel("deep/er.mlir", "exp")\n'
    )
    code = "import naming as n; print(n.a.__module__, n.a.__name__, n.b.__module__, n.b.__name__, repr(n.a))"
    environment = {"PYTHONPATH": f"{ROOT}:{tmp_path}"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.split(maxsplit=4) == [
        "naming.soft", "soft", "naming.deep.er", "exp", "<tilebuild kernel naming.soft.soft in MLIR>\n",
    ]  # fmt: skip
    import tilebuild as tb
    from tilebuild.diagnostics import TilebuildError

    for wrong in ("soft.py", "soft", "../soft.mlir", "/soft.mlir", "a b.mlir", ".mlir"):
        with pytest.raises(ValueError, match="takes the path of"):
            tb.mlir_kernel(wrong)
    with pytest.raises(TilebuildError, match="E338"):
        tb.mlir_kernel("soft.mlir").reference()
