"""Random kernels whose arithmetic is exact: the simulator, on the emitted text, gives what the reference path gives."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from random import Random

import numpy as np
import pto_kernels as kernels
import pto_simulator as simulator
import pytest

from tilebuild.oracle import judge
from tilebuild.oracle.readers.pto import read
from tilebuild.targets.pto.verify import verify

Extents = tuple[int, int]  # 1 where a value has the tile's extent, 0 where it has 1
_HEAD = """
M, N = tb.dims("M N")
@tb.kernel
def k(x: tb.In[tb.f32, M, N], r: tb.In[tb.f32, M], c: tb.In[tb.f32, N], y: tb.Out[tb.f32, M, N], q: tb.Out[tb.f32, M],
      s: tb.f32, *, BM: tb.Const = {bm}, BN: tb.Const = {bn}):
    i = tb.program(tb.cdiv(M, BM))
    r_ = r.col.tiles(BM, 1)[i, 0]
    a, b = tb.zeros((BM, 1)), tb.full((BM, 1), 3.0)
    for j in tb.range(tb.cdiv(N, BN)):
        x_, c_ = x.tiles(BM, BN)[i, j], c.tiles(BN)[j]
{first}        a, b = {swap}
    q.col.tiles(BM, 1)[i, 0] = a - b
    for j in tb.range(tb.cdiv(N, BN)):
        x_, c_ = x.tiles(BM, BN)[i, j], c.tiles(BN)[j]
{second}        y.tiles(BM, BN)[i, j] = {last} + x_
"""


def clamped(text: str) -> str:
    return f"tb.maximum(tb.minimum({text}, 64.0), -64.0)"


def statements(random: Random, count: int, prefix: str) -> tuple[str, list[tuple[str, Extents]]]:
    values: list[tuple[str, Extents]] = [("x_", (1, 1)), ("r_", (1, 0)), ("c_", (0, 1)), ("a", (1, 0)), ("b", (1, 0))]
    text = ""
    for n in range(count):
        (a, p), (b, q) = (random.choice(values[-3:] + values) for _ in range(2))
        kind = random.randrange(8)
        extents = (max(p[0], q[0]), max(p[1], q[1]))
        if kind < 3:
            line = clamped(f"{a} {random.choice('+-*')} {b}")
        elif kind == 3:
            line = f"tb.{random.choice(['maximum', 'minimum'])}({a}, {b})"
        elif kind == 4:
            scalar = random.choice(["s", "2.0", "-3.0", "N", "(i + 1)"])
            pair = random.sample([a, scalar], 2)
            line, extents = clamped(f"{pair[0]} {random.choice('+-*')} {pair[1]}"), p
        elif kind == 5:
            line, extents = random.choice([f"-{a}", f"tb.abs({a})"]), p
        else:
            axis = random.randrange(2)
            line = clamped(f"{a}.{random.choice(['sum', 'max', 'min'])}({axis})")
            extents = (0, p[1]) if axis == 0 else (p[0], 0)
        text += f"        {prefix}{n} = {line}\n"
        values.append((f"{prefix}{n}", extents))
    return text, values


def module(seed: int) -> str:
    random = Random(seed)
    first, values = statements(random, random.randint(2, 6), "t")
    rows = random.choice([v for v, e in values if e == (1, 1)])
    swap = random.choice(
        [
            f"{clamped(f'a + {rows}.sum(1)')}, tb.maximum(b, {rows}.max(1))",
            f"b, {clamped(f'a - {rows}.min(1)')}",
            f"tb.minimum(a, {rows}.min(1)), a",
        ]
    )
    second, values = statements(random, random.randint(2, 6), "u")
    bm, bn = random.choice([1, 2, 3, 5, 8]), random.choice([3, 8, 13, 16])
    return _HEAD.format(bm=bm, bn=bn, first=first, swap=swap, second=second, last=values[-1][0])


def reference(path: Path) -> object:
    spec = importlib.util.spec_from_file_location("random_kernel", path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found.k


@pytest.mark.parametrize("seed", range(16))
def test_the_text_does_what_the_reference_does(seed: int, tmp_path: Path) -> None:
    arch = kernels.ARCHITECTURES[seed % 2]
    built = kernels.kernel(tmp_path, module(seed), arch)
    assert verify(built.text, arch) == []
    for plan in read(built.text, "k.pto"):
        report = judge(plan)
        assert report.verdicts["aliasing"] == report.verdicts["operands"] == "proved", report.findings
    k = reference(tmp_path / "src" / "p" / "k.py")
    for shape in ((1, 1), (7, 21)):
        rng = np.random.default_rng(seed)
        x, r, c = (rng.integers(-9, 9, n).astype(np.float32) for n in (shape, shape[:1], shape[1:]))
        outputs = [{"y": np.full(shape, np.nan, np.float32), "q": np.full(shape[0], np.nan, np.float32)} for _ in "ab"]
        k.reference(x, r, c, outputs[0]["y"], outputs[0]["q"], -2.0)  # type: ignore[attr-defined]
        arrays = {"x": x, "r": r, "c": c, **outputs[1]}
        simulator.run(built.text, "k_0", arrays, {"M": shape[0], "N": shape[1], "s": -2.0})
        for name in "yq":
            np.testing.assert_array_equal(outputs[1][name], outputs[0][name], name)
