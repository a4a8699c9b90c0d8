# ruff: noqa: PLR0917 (a kernel has the parameters that it has)
"""Kernels in Triton, of our own, for scripts/make_foreign_ptx.py; tests read only the PTX made of them."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def vector_add(x, y, z, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    tl.store(z + at, tl.load(x + at, mask=inside) + tl.load(y + at, mask=inside), mask=inside)


@triton.jit
def softmax(x, y, columns, stride, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    inside = at < columns
    values = tl.load(x + row * stride + at, mask=inside, other=-float("inf"))
    powers = tl.exp(values - tl.max(values, axis=0))
    tl.store(y + row * stride + at, powers / tl.sum(powers, axis=0), mask=inside)


@triton.jit
def layernorm(x, weight, bias, y, columns, stride, eps, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    total = tl.zeros([BLOCK], dtype=tl.float32)
    for start in range(0, columns, BLOCK):
        at = start + tl.arange(0, BLOCK)
        total += tl.load(x + row * stride + at, mask=at < columns, other=0.0).to(tl.float32)
    mean = tl.sum(total, axis=0) / columns
    squares = tl.zeros([BLOCK], dtype=tl.float32)
    for start in range(0, columns, BLOCK):
        at = start + tl.arange(0, BLOCK)
        values = tl.load(x + row * stride + at, mask=at < columns, other=0.0).to(tl.float32)
        apart = tl.where(at < columns, values - mean, 0.0)
        squares += apart * apart
    scale = 1 / tl.sqrt(tl.sum(squares, axis=0) / columns + eps)
    for start in range(0, columns, BLOCK):
        at = start + tl.arange(0, BLOCK)
        inside = at < columns
        values = tl.load(x + row * stride + at, mask=inside, other=0.0).to(tl.float32)
        w = tl.load(weight + at, mask=inside, other=0.0)
        b = tl.load(bias + at, mask=inside, other=0.0)
        tl.store(y + row * stride + at, (values - mean) * scale * w + b, mask=inside)


@triton.jit
def matmul(a, b, c, M, N, K, stride_a, stride_b, stride_c, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    columns = tl.program_id(1) * BN + tl.arange(0, BN)
    inner = tl.arange(0, BK)
    total = tl.zeros((BM, BN), dtype=tl.int32 if a.dtype.element_ty == tl.int8 else tl.float32)
    for start in range(0, K, BK):
        k = start + inner
        left = tl.load(
            a + rows[:, None] * stride_a + k[None, :], mask=(rows[:, None] < M) & (k[None, :] < K), other=0.0
        )
        right = tl.load(
            b + k[:, None] * stride_b + columns[None, :], mask=(k[:, None] < K) & (columns[None, :] < N), other=0.0
        )
        total = tl.dot(left, right, total)
    inside = (rows[:, None] < M) & (columns[None, :] < N)
    tl.store(c + rows[:, None] * stride_c + columns[None, :], total.to(c.dtype.element_ty), mask=inside)


@triton.jit
def attention(q, k, v, o, tokens, scale, WIDTH: tl.constexpr, BQ: tl.constexpr, BK: tl.constexpr):
    head = tl.program_id(1) * tokens * WIDTH
    rows = tl.program_id(0) * BQ + tl.arange(0, BQ)
    channel = tl.arange(0, WIDTH)
    inner = tl.arange(0, BK)
    queries = tl.load(q + head + rows[:, None] * WIDTH + channel[None, :], mask=rows[:, None] < tokens, other=0.0)
    largest = tl.full([BQ], -float("inf"), dtype=tl.float32)
    norm = tl.zeros([BQ], dtype=tl.float32)
    total = tl.zeros([BQ, WIDTH], dtype=tl.float32)
    for start in range(0, (tl.program_id(0) + 1) * BQ, BK):
        columns = start + inner
        inside = columns[:, None] < tokens
        keys = tl.load(k + head + columns[:, None] * WIDTH + channel[None, :], mask=inside, other=0.0)
        values = tl.load(v + head + columns[:, None] * WIDTH + channel[None, :], mask=inside, other=0.0)
        scores = tl.dot(queries, tl.trans(keys)) * (scale * 1.4426950408889634)
        scores = tl.where(columns[None, :] <= rows[:, None], scores, -float("inf"))
        new = tl.maximum(largest, tl.max(scores, 1))
        shrink = tl.exp2(largest - new)
        weights = tl.exp2(scores - new[:, None])
        norm = norm * shrink + tl.sum(weights, 1)
        total = tl.dot(weights.to(values.dtype), values, total * shrink[:, None])
        largest = new
    tl.store(
        o + head + rows[:, None] * WIDTH + channel[None, :],
        (total / norm[:, None]).to(o.dtype.element_ty),
        mask=rows[:, None] < tokens,
    )


def _matmul(element: str, result: str, strides: str = "i32") -> dict[str, str]:
    pointers = {"a": f"*{element}", "b": f"*{element}", "c": f"*{result}"}
    return pointers | dict.fromkeys("MNK", "i32") | dict.fromkeys(["stride_a", "stride_b", "stride_c"], strides)


_TILES = {"BM": 32, "BN": 32, "BK": 32}
_GRID = {"grid": ["ceil(M / BM)", "ceil(N / BN)", "1"]}
_ATTENTION = {"q": "*fp16", "k": "*fp16", "v": "*fp16", "o": "*fp16", "tokens": "i32", "scale": "fp32"}
# name -> (kernel, types of its arguments (":16": a multiple of 16), constants, warps, launch facts)
KERNELS = {
    "triton_vector_add": (
        vector_add,
        {"x": "*fp32", "y": "*fp32", "z": "*fp32", "n": "i32"},
        {"BLOCK": 512},
        4,
        {"grid": ["ceil(n / BLOCK)", "1", "1"]},
    ),
    "triton_softmax": (
        softmax,
        {"x": "*fp32", "y": "*fp32", "columns": "i32", "stride": "i32"},
        {"BLOCK": 512},
        4,
        {"grid": ["rows", "1", "1"]},
    ),
    "triton_layernorm": (
        layernorm,
        {
            "x": "*fp16",
            "weight": "*fp32",
            "bias": "*fp32",
            "y": "*fp16",
            "columns": "i32",
            "stride": "i32",
            "eps": "fp32",
        },
        {"BLOCK": 256},
        2,
        {"grid": ["rows", "1", "1"]},
    ),
    "triton_matmul_f16": (matmul, _matmul("fp16", "fp16", "i32:16"), _TILES, 4, _GRID),
    "triton_matmul_bf16": (matmul, _matmul("bf16", "bf16"), _TILES, 4, _GRID),
    "triton_matmul_tf32": (matmul, _matmul("fp32", "fp32"), _TILES, 4, _GRID),
    "triton_matmul_s8": (matmul, _matmul("i8", "i32"), _TILES, 4, _GRID),
    "triton_attention": (
        attention,
        _ATTENTION,
        {"WIDTH": 32, "BQ": 32, "BK": 32},
        4,
        {"grid": ["ceil(tokens / BQ)", "heads", "1"]},
    ),
}
