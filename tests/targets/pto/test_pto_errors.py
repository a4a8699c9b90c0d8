"""What the target lacks, what does not fit, and what it says then."""

from __future__ import annotations

from pathlib import Path

import pto_kernels as kernels
import pytest

from tilebuild.diagnostics import Diagnostic, TilebuildError
from tilebuild.targets.pto.target import TARGET

ROOT = Path(__file__).resolve().parents[3]
DIMS = 'M, N, K = tb.dims("M N K")\n'
HEAD = DIMS + "@tb.kernel\ndef k(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):\n"
PROGRAM = "    i, j = tb.program(tb.cdiv(M, 4), tb.cdiv(N, 64))\n"


def error(tmp: Path, body: str, arch: str = "a2a3") -> Diagnostic:
    with pytest.raises(TilebuildError) as caught:
        kernels.kernel(tmp, body, arch)
    (found,) = caught.value.diagnostics
    return found


def test_a_kernel_that_does_not_fit(tmp_path: Path) -> None:
    body = HEAD + "    i = tb.program(tb.cdiv(M, 64))\n    y.tiles(64, 1024)[i, 0] = x.tiles(64, 1024)[i, 0] + 1.0\n"
    body = body.replace("    i = tb", "    tb.require(N <= 1024)\n    i = tb")
    found = error(tmp_path, body)
    assert found.code == "E401"
    assert "524288 bytes of vec" in found.message
    assert "188416" in found.message
    assert any("[64, 1024] of f32 takes 262144 bytes" in text for _, text in found.notes)
    assert found.span is not None


@pytest.mark.parametrize(
    ("expression", "says", "fix"),
    [
        ("tb.exp2(t)", "no operation for exp2", "tb.exp(x * 0.69"),
        ("tb.floor(t)", "no operation for floor", "conversion to i32"),
        ("tb.where(t > 0.0, t, 0.0)", "no operation for gt", "tb.maximum"),
    ],
)
def test_an_operation_that_the_target_lacks(tmp_path: Path, expression: str, says: str, fix: str) -> None:
    body = HEAD + PROGRAM + f"    t = x.tiles(4, 64)[i, j]\n    y.tiles(4, 64)[i, j] = {expression}\n"
    found = error(tmp_path, body)
    assert found.code == "E402"
    assert says in found.message
    assert fix in found.fix
    assert found.span is not None
    assert found.span.line > 5


def test_a_dtype_that_the_target_lacks(tmp_path: Path) -> None:
    body = (
        HEAD.replace("f32", "u32")
        + PROGRAM
        + "    y.tiles(4, 64)[i, j] = x.tiles(4, 64)[i, j] + x.tiles(4, 64)[i, j]\n"
    )
    found = error(tmp_path, body)
    assert found.code == "E402"
    assert "x is u32: the pto target has f32, f16, bf16, i32, i8" in found.message
    assert found.fix
    assert found.span is not None
    line = (tmp_path / found.span.file).read_text().splitlines()[found.span.line - 1]
    assert line[found.span.column :].startswith("x: tb.In[tb.u32"), "at the parameter"


BITS = (
    HEAD.replace("f32", "i32")
    + PROGRAM
    + "    t = x.tiles(4, 64)[i, j]\n    y.tiles(4, 64)[i, j] = t & x.tiles(4, 64)[i, j]\n"
)


def test_a_dtype_that_one_architecture_lacks(tmp_path: Path) -> None:
    found = error(tmp_path, BITS)
    assert found.code == "E402"
    assert "pto:a2a3 has no and for i32 (tand: i8)" in found.message
    assert kernels.kernel(tmp_path, BITS, "a5").plans


def test_a_kernel_that_needs_both_kinds_of_core(tmp_path: Path) -> None:
    body = DIMS + (
        "@tb.kernel\n"
        "def k(a: tb.In[tb.f32, M, K], b: tb.In[tb.f32, K, N], c: tb.Out[tb.f32, M, N]):\n"
        "    i, j = tb.program(tb.cdiv(M, 32), tb.cdiv(N, 32))\n"
        "    acc = tb.zeros((32, 32))\n"
        "    for k in tb.range(tb.cdiv(K, 32)):\n"
        "        acc = tb.dot(a.tiles(32, 32)[i, k], b.tiles(32, 32)[k, j], acc)\n"
        "    c.tiles(32, 32)[i, j] = tb.exp(acc)\n"
    )
    found = error(tmp_path, body)
    assert found.code == "E402"
    assert "in one kernel" in found.message
    assert "second kernel" in found.fix
    places = [found.span, *(span for span, _ in found.notes)]
    assert [span.line for span in places if span] == [9, 8]
    scaled = body.replace("a.tiles(32, 32)[i, k],", "a.tiles(32, 32)[i, k] * 2.0,").replace("tb.exp(acc)", "acc")
    assert "in one kernel" in error(tmp_path, scaled).message


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("tb.zeros((32, 32))", "tb.full((32, 32), 1.0)", "carries anything but one product"),
        ("tb.range(tb.cdiv(K, 32))", "tb.range(K // 32)", "may not run at all"),
        ("b.tiles(32, 32)[k, j]", "b.T.tiles(32, 32)[k, j]", "do not lie next to each other"),
    ],
)
def test_products_that_the_matrix_cores_do_not_make(tmp_path: Path, old: str, new: str, says: str) -> None:
    body = DIMS + (
        "@tb.kernel\n"
        "def k(a: tb.In[tb.f32, M, K], b: tb.In[tb.f32, K, N], c: tb.Out[tb.f32, M, N]):\n"
        "    i, j = tb.program(tb.cdiv(M, 32), tb.cdiv(N, 32))\n"
        "    acc = tb.zeros((32, 32))\n"
        "    for k in tb.range(tb.cdiv(K, 32)):\n"
        "        acc = tb.dot(a.tiles(32, 32)[i, k], b.tiles(32, 32)[k, j], acc)\n"
        "    c.tiles(32, 32)[i, j] = acc\n"
    )
    if ".T." in new:
        body = body.replace("b: tb.In[tb.f32, K, N]", "b: tb.In[tb.f32, N, K]")
    found = error(tmp_path, body.replace(old, new))
    assert found.code == "E402"
    assert says in found.message
    assert found.fix


def test_an_architecture_that_is_not_one() -> None:
    with pytest.raises(TilebuildError) as caught:
        TARGET.architecture("")
    assert caught.value.diagnostics[0].code == "E403"
    assert "a2a3 or a5" in str(caught.value)
    assert TARGET.architecture("a5") == "a5"


def test_every_code_has_a_page() -> None:
    page = (ROOT / "docs" / "errors" / "pto.md").read_text(encoding="utf-8")
    for code in ("E401", "E402", "E403", "E405"):
        assert f"## {code}" in page
