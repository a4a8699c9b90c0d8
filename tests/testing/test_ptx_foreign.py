"""PTX of nvcc and Triton on the emulator: the numbers that NumPy has, for ragged sizes and several schedules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from foreign_launches import launch, launches

from tilebuild.testing.ptx import Structure

SEEDS = (0, 1)
NVCC = ("nvcc_o3", "nvcc_o0", "nvcc_debug")


def normal(*shape: int, dtype: Any = np.float32, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def to_bfloat16(values: Any) -> Any:
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def from_bfloat16(bits: Any) -> Any:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_every_launch_is_run_here() -> None:
    here = {n for n in launches() if n.startswith("triton_")}
    assert here == {f"triton_{n}" for n in ("vector_add", "softmax", "layernorm", "attention")} | {
        f"triton_matmul_{n}" for n in ("f16", "bf16", "tf32", "s8")
    }
    entries = {n.split("/")[1] for n in launches() if "/" in n}
    assert {f"{c}/{e}" for c in NVCC for e in entries} == set(launches()) - here
    tests = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert entries <= tests


@pytest.mark.parametrize("n", [1, 511, 1300])
def test_triton_vector_add(n: int) -> None:
    x, y, z = normal(n), normal(n, seed=1), np.zeros(n, np.float32)
    launch("triton_vector_add", {"x": x, "y": y, "z": z, "n": n})
    np.testing.assert_array_equal(z, x + y)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (3, 512)])
def test_triton_softmax(shape: tuple[int, int], seed: int) -> None:
    x = normal(*shape)
    y = np.zeros_like(x)
    launch("triton_softmax", {"x": x, "y": y, "columns": shape[1], "stride": shape[1], "rows": shape[0]}, seed=seed)
    np.testing.assert_allclose(y, softmax(x.astype(np.float64)), rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 7), (4, 600)])
def test_triton_layernorm(shape: tuple[int, int]) -> None:
    x, weight, bias = normal(*shape, dtype=np.float16), normal(shape[1], seed=1), normal(shape[1], seed=2)
    y = np.zeros_like(x)
    values = {"x": x, "weight": weight, "bias": bias, "y": y, "columns": shape[1], "stride": shape[1], "eps": 1e-5}
    launch("triton_layernorm", {**values, "rows": shape[0]}, strict=True)
    wide = x.astype(np.float64)
    want = (wide - wide.mean(1, keepdims=True)) / np.sqrt(wide.var(1, keepdims=True) + 1e-5) * weight + bias
    np.testing.assert_allclose(y, want, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["f16", "bf16", "tf32", "s8"])
def test_triton_matmul(kind: str, seed: int) -> None:
    m, n, k = (50, 48, 80) if kind == "f16" else (45, 37, 70)
    a, b = normal(m, k), normal(k, n, seed=1)
    c: Any = np.zeros((m, n), np.float32)
    if kind == "f16":
        a, b, c = (v.astype(np.float16) for v in (a, b, c))
        want, tolerance = a.astype(np.float64) @ b.astype(np.float64), 2e-2
    elif kind == "bf16":
        a, b, c = (to_bfloat16(v) for v in (a, b, c))
        want, tolerance = from_bfloat16(a).astype(np.float64) @ from_bfloat16(b).astype(np.float64), 1e-1
    elif kind == "tf32":
        want, tolerance = a.astype(np.float64) @ b.astype(np.float64), 4e-2
    else:
        a, b, c = (a * 40).clip(-127, 127).astype(np.int8), (b * 40).clip(-127, 127).astype(np.int8), c.astype(np.int32)
        want, tolerance = a.astype(np.int64) @ b.astype(np.int64), 0
    values = {"a": a, "b": b, "c": c, "M": m, "N": n, "K": k, "stride_a": k, "stride_b": n, "stride_c": n}
    launch(f"triton_matmul_{kind}", values, seed=seed, strict=True)
    np.testing.assert_allclose(from_bfloat16(c) if kind == "bf16" else c, want, rtol=0, atol=tolerance)


@pytest.mark.parametrize("seed", SEEDS)
def test_triton_attention(seed: int) -> None:
    heads, tokens, width = 2, 75, 32
    q, k, v = normal(3, heads, tokens, width, dtype=np.float16)
    o = np.zeros_like(q)
    launch(
        "triton_attention",
        {"q": q, "k": k, "v": v, "o": o, "tokens": tokens, "scale": width**-0.5, "heads": heads},
        seed=seed,
    )
    scores = q.astype(np.float64) @ k.astype(np.float64).swapaxes(1, 2) * width**-0.5
    scores[:, np.triu(np.ones((tokens, tokens), bool), 1)] = -np.inf
    np.testing.assert_allclose(o, softmax(scores) @ v.astype(np.float64), rtol=0, atol=2e-3)


each_nvcc = pytest.mark.parametrize("compiler", NVCC)


@each_nvcc
@pytest.mark.parametrize("seed", SEEDS)
def test_rmsnorm(compiler: str, seed: int) -> None:
    x = normal(3, 250)
    y = np.zeros_like(x)
    launch(f"{compiler}/rmsnorm", {"x": x, "y": y, "columns": 250, "eps": 1e-5, "rows": 3}, seed=seed, strict=True)
    np.testing.assert_allclose(y, x / np.sqrt((x.astype(np.float64) ** 2).mean(1, keepdims=True) + 1e-5), rtol=1e-5)


@each_nvcc
def test_histogram(compiler: str) -> None:
    x = np.random.default_rng(0).integers(0, 64, 1000).astype(np.int32)
    bins = np.zeros(64, np.uint32)
    launch(f"{compiler}/histogram", {"x": x, "bins": bins, "n": 1000}, strict=True)
    np.testing.assert_array_equal(bins, np.bincount(x, minlength=64))


@each_nvcc
def test_by_table(compiler: str) -> None:
    x, which = normal(100), np.random.default_rng(1).integers(0, 3, 100).astype(np.int32)
    want = np.choose(which, [x + x, x * x, -x])
    launch(f"{compiler}/by_table", {"which": which, "x": x, "n": 100})
    np.testing.assert_array_equal(x, want)


@each_nvcc
def test_sort_rows(compiler: str) -> None:
    x = np.random.default_rng(0).integers(-99, 99, (70, 16)).astype(np.int32)
    want = np.sort(x, 1)
    launch(f"{compiler}/sort_rows", {"x": x, "rows": 70})
    np.testing.assert_array_equal(x, want)


def _case(code: int, v: int) -> int:
    u = v & 0xFFFFFFFF
    bits = f"{u:032b}"
    zeros = len(bits) - len(bits.lstrip("0"))
    source = (0x01020304 << 32 | u).to_bytes(8, "little")
    quotient = abs(v) // 7 * (1 if v >= 0 else -1)
    remainder = abs(v) % 11 * (1 if v >= 0 else -1)
    upper = (u ^ 0x55555555) << 32 | u  # the second argument of __funnelshift_l is the upper half
    results = {
        0: v * 3 - 1, 1: v * 0x12345678 >> 32, 2: int(bits[::-1], 2), 3: bits.count("1") * 100 + zeros,
        4: upper << 7 >> 32, 5: int.from_bytes(bytes(source[n] for n in (6, 1, 7, 2)), "little"),
        6: quotient + remainder, 7: v * v >> 13, 8: (u & -u).bit_length(),
    }  # fmt: skip
    return results.get(code, -v) & 0xFFFFFFFF


@each_nvcc
def test_by_case(compiler: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(-(2**31), 2**31, 500).astype(np.int32)
    x[:20] = 0
    code = rng.integers(0, 11, 500).astype(np.int32)
    want = np.array([_case(int(c), int(v)) for c, v in zip(code, x)], np.uint32)
    launch(f"{compiler}/by_case", {"code": code, "x": x, "n": 500})
    np.testing.assert_array_equal(x.view(np.uint32), want)


@each_nvcc
def test_roots(compiler: str) -> None:
    x = np.abs(normal(50, dtype=np.float64)) * 5
    y = np.zeros_like(x)
    launch(f"{compiler}/roots", {"x": x, "y": y, "n": 50})
    np.testing.assert_allclose(y, np.sqrt(x) / (1 + np.exp(-x)), rtol=1e-15)


@each_nvcc
def test_any_space(compiler: str) -> None:
    x, y = normal(64), np.zeros(64, np.float32)
    launch(f"{compiler}/any_space", {"x": x, "y": y}, strict=True)
    thread = np.arange(64)
    np.testing.assert_array_equal(y, np.where(thread % 3 < 2, x[thread % 4], x * (thread % 4 + 1).astype(np.float32)))


@each_nvcc
@pytest.mark.parametrize("seed", SEEDS)
def test_transpose(compiler: str, seed: int) -> None:
    x = normal(45, 70)
    wide = np.full((70, 50), np.nan, np.float32)
    given = {
        "from": Structure([x, 45, 70, 70], "Piiq"),
        "to": Structure([wide[:, :45], 70, 45, 50], "Piiq"),
    }
    launch(f"{compiler}/transpose", {**given, "rows": 45, "columns": 70}, seed=seed, strict=True)
    np.testing.assert_array_equal(wide[:, :45], x.T)
    assert np.isnan(wide[:, 45:]).all()


@each_nvcc
def test_compact(compiler: str) -> None:
    x, y, kept = normal(100), np.zeros(128, np.float32), np.zeros(4, np.int32)
    launch(f"{compiler}/compact", {"x": x, "y": y, "kept": kept, "n": 100})
    for warp in range(4):
        positive = [v for v in x[32 * warp : 32 * warp + 32] if v > 0]
        assert kept[warp] == len(positive)
        np.testing.assert_array_equal(y[32 * warp : 32 * warp + len(positive)], positive)


@each_nvcc
@pytest.mark.parametrize("seed", SEEDS)
def test_two_stages(compiler: str, seed: int) -> None:
    x, y = normal(2, 5, 32, 4), np.zeros((2, 32, 4), np.float32)
    launch(f"{compiler}/two_stages", {"x": x, "y": y, "steps": 5, "blocks": 2}, seed=seed, strict=True)
    want = np.zeros_like(y)
    for step in range(5):
        want += np.roll(x[:, step], -1, axis=1)
    np.testing.assert_array_equal(y, want)


@each_nvcc
def test_lock(compiler: str) -> None:
    mutex, total, last = (np.zeros(1, np.int32) for _ in range(3))
    launch(f"{compiler}/lock", {"mutex": mutex, "total": total, "last": last})
    assert total[0] == 128
    assert mutex[0] == 0
