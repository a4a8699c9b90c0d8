"""Kernels of tile intrinsics as a code generator would print them for a model's layers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from intrinsic_kernels import Array, Case, normal, positive, sigmoid, softmax
from intrinsic_text import Text


def layer_norm() -> Case:
    """(x - mean) * rsqrt(var + eps) * w + b, in steps; nothing is overwritten."""
    rows, cols = 48, 96
    t = Text("layer_norm", 4)
    x = t.load("%arg0", rows, cols)
    mean = t.call("scale_f32", 0, t.call("reduce_sum_f32", 0, x, rows, cols), 1 / cols, rows, 1)
    centred = t.call("sub_f32", 0, x, mean, rows, cols)
    square = t.call("mul_f32", 0, centred, centred, rows, cols)
    variance = t.call("scale_f32", 0, t.call("reduce_sum_f32", 0, square, rows, cols), 1 / cols, rows, 1)
    root = t.call("rsqrt_f32", 0, t.call("clamp_f32", 0, variance, 1e-5, 1e30, rows, 1), rows, 1)
    normal_ = t.call("mul_f32", 0, centred, root, rows, cols)
    weighted = t.call("mul_f32", 0, normal_, t.load("%arg1", 1, cols), rows, cols)
    t.store("%arg3", t.call("add_f32", 0, weighted, t.load("%arg2", 1, cols), rows, cols), rows, cols)

    def layer_norm(x: Array, w: Array, b: Array) -> Sequence[Array]:
        d = x - x.mean(1, keepdims=True)
        return [d / np.sqrt(np.maximum((d * d).mean(1, keepdims=True), np.float32(1e-5))) * w + b]

    inputs = [normal(rows, cols), positive(1, cols), normal(1, cols)]
    return Case(t, inputs, layer_norm, 64, True)


def attention() -> Case:
    """Softmax(q @ k.T * scale) @ v."""
    heads, depth = 32, 64
    t = Text("attention", 4)
    q, k, v = (t.load(f"%arg{n}", heads, depth) for n in range(3))
    turned = t.call("transpose_f32", 0, k, heads, depth)
    scores = t.call("matmul_f32", 0, q, turned, heads, depth, heads)
    weights = t.call("softmax_f32", 0, t.call("scale_f32", 0, scores, 0.125, heads, heads), heads, heads)
    t.store("%arg3", t.call("matmul_f32", 0, weights, v, heads, heads, depth), heads, depth)
    return Case(t, [normal(heads, depth)] * 3, lambda q, k, v: [softmax(q @ k.T * 0.125) @ v], 64, True)


def gated() -> Case:
    """Silu of one half of x @ w, times the other half, put behind x."""
    t = Text("gated", 3)
    m, n = 24, 40
    product = t.call("matmul_f32", 0, t.load("%arg0", m, 80), t.load("%arg1", 80, 2 * n), m, 80, 2 * n)
    gate = t.call("slice_f32", 0, product, 0, 0, m, 2 * n, m, n)
    up = t.call("slice_f32", 0, product, 0, n, m, 2 * n, m, n)
    both = t.call("mul_f32", 0, t.call("silu_f32", 0, gate, m, n), up, m, n)
    t.store("%arg2", t.call("concat_f32", 0, t.load("%arg0", m, 80), both, m, 80, n), m, 80 + n)

    def gated(x: Array, w: Array) -> Sequence[Array]:
        y = x @ w
        return [np.concatenate([x, y[:, :n] * sigmoid(y[:, :n]) * y[:, n:]], 1)]

    return Case(t, [normal(m, 80), normal(80, 2 * n)], gated, 64, True)


def transposed_product() -> Case:
    """(a @ b).T, where b is joined of two pieces."""
    t = Text("transposed_product", 3)
    a, b = t.load("%arg0", 20, 12), t.load("%arg1", 12, 18)
    joined = t.call("concat_f32", 0, b, t.call("exp_f32", 0, b, 12, 18), 12, 18, 18)
    flipped = t.call("transpose_f32", 0, t.call("matmul_f32", 0, a, joined, 20, 12, 36), 20, 36)
    t.store("%arg2", flipped, 36, 20)
    return Case(t, [normal(20, 12), normal(12, 18)], lambda a, b: [(a @ np.concatenate([b, np.exp(b)], 1)).T], 64, True)


def joined_rows() -> Case:
    """A reduction over rows that lie in pieces: the transpose of a join."""
    t = Text("joined_rows", 2)
    x = t.load("%arg0", 10, 14)
    tall = t.call("transpose_f32", 0, t.call("concat_f32", 0, x, x, 10, 14, 14), 10, 28)
    wide = t.call("concat_f32", 0, tall, tall, 28, 10, 10)
    t.store("%arg1", t.call("reduce_sum_f32", 0, t.call("transpose_f32", 0, wide, 28, 20), 20, 28), 20, 1)
    return Case(t, [positive(10, 14)], lambda x: [2 * np.concatenate([x, x]).sum(1, keepdims=True)], 16)


def update() -> Case:
    """An array that is read and written."""
    t = Text("update", 2)
    x = t.load("%arg0", 33, 50)
    t.store("%arg0", t.call("add_f32", 0, x, t.load("%arg1", 33, 50), 33, 50), 33, 50)
    return Case(t, [normal(33, 50), normal(33, 50)], lambda x, y: [x + y], 0.51)


def long() -> Case:
    """Neither extent has a divisor of a good size."""
    t = Text("long", 2)
    x = t.load("%arg0", 37, 4099)
    t.store("%arg1", t.call("exp_f32", 0, t.call("neg_f32", 0, x, 37, 4099), 37, 4099), 37, 4099)
    return Case(t, [normal(37, 4099)], lambda x: [np.exp(-x)], 8)


WHOLE = {
    case.text.name: case
    for case in (layer_norm(), attention(), gated(), transposed_product(), joined_rows(), update(), long())
}
