"""A type checker finds nothing to complain about in kernels, and finds what is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "fastnorm" / "src"
GOOD = """
import tilebuild as tb

B, S, T, D = tb.dims("B S T D")


@tb.fn
def rescale(t: tb.Tile, by: tb.Tile) -> tb.Tile:
    return t * by


@tb.kernel(variants=[tb.V(BM=16, BN=16, when="S <= 64"), tb.V(BM=128, BN=128)])
def attention(q: tb.In[tb.bf16, B, S, D], k: tb.In[tb.bf16, B, T, D], v: tb.In[tb.bf16, B, T, D],
              o: tb.Out[tb.bf16, B, S, D], lse: tb.Out[tb.f32, B, S], scale: tb.f32, *, BM: tb.Const, BN: tb.Const):
    tb.require(T >= S)
    i, b = tb.program(tb.cdiv(S, BM), B)
    qt = q[b].tiles(BM, D)[i, 0]
    keys = k[b].T.tiles(D, BN)
    m, l, acc = tb.full((BM, 1), -tb.inf), tb.zeros((BM, 1)), tb.zeros((BM, D), tb.f32)
    for j in tb.pipeline(tb.cdiv(tb.min(T, (i + 1) * BM), BN), stages=2):
        s = tb.dot(qt, keys[0, j]) * scale
        s = tb.where(tb.iota(BM, 0) + i * BM >= tb.iota(BN, 1) + j * BN, s, -tb.inf)
        m2 = tb.maximum(m, tb.max(s, 1))
        p, alpha = tb.exp(s - m2), tb.exp(m - m2)
        l = l * alpha + p.sum(1)
        acc = tb.dot(p.to(tb.bf16), v[b].tiles(BN, D)[j, 0], rescale(acc, alpha))
        m = m2
    o[b].tiles(BM, D)[i, 0] = (acc / l).to(tb.bf16)
    lse[b].col.tiles(BM, 1)[i, 0] = m + tb.log(l) * tb.sqrt(1.0 / (1.0 + scale))
"""
BAD = """
import tilebuild as tb

N = tb.dims("N")


@tb.kernel
def wrong(x: tb.In[tb.f32, N], y: tb.Out[tb.f32, N]):
    i = tb.program(tb.cdiv(N, 4))
    y.tiles(4)[i] = x.tiles(4)[i].sun(1)
    y.tiles(4)[i] = 0.0
    tb.exq(x.tiles(4)[i])


wrong.reference()
wrong.refrence()
"""


@pytest.fixture(scope="module")
def mypy(tmp_path_factory):
    pytest.importorskip("mypy", reason="mypy is not installed: pip install mypy")
    cache = tmp_path_factory.mktemp("mypy")

    def run(*arguments):
        # a process of its own: mypy raises the recursion limit of the one that it runs in
        options = ["--config-file=", f"--cache-dir={cache}", "--no-error-summary"]
        command = [sys.executable, "-m", "mypy", *options, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert not done.stderr
        return done.stdout.splitlines()

    return run


@pytest.mark.slow
def test_kernel_files(mypy, monkeypatch, tmp_path):
    monkeypatch.setenv("MYPYPATH", f"{ROOT}:{EXAMPLE}")
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text(GOOD)
    bad.write_text(BAD)
    assert mypy("--check-untyped-defs", str(good), str(EXAMPLE)) == []
    found = [line.removeprefix(str(bad)).split(": error: ") for line in mypy(str(bad))]
    assert [place for place, _ in found] == [":10", ":11", ":12", ":16"]
    assert all(word in text for word, (_, text) in zip(("sun", "Tile", "exq", "refrence"), found))
