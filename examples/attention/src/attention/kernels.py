"""Attention and its neighbours: softmax, layernorm, a linear layer with gelu, and flash attention with grouped heads.

Any extents; rows may be further apart than they are long. bf16 arrays compute in f32.
"""

from __future__ import annotations

import tilebuild as tb

M, N, K = tb.dims("M N K")
B, H, G, S, T = tb.dims("B H G S T")
D = tb.dim("D", static=(64, 128))


@tb.kernel(
    variants=[tb.V(BM=4, BN=1024, when="N <= 1024"), tb.V(BM=1, BN=8192, when="N <= 8192")],
    otherwise="softmax_online",
)
def softmax(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N], *, BM: tb.Const, BN: tb.Const):
    """softmax over each row of x"""
    i = tb.program(tb.cdiv(M, BM))
    t = x.tiles(BM, BN)[i, 0]  # the guard says that one tile holds the row
    e = tb.exp(t - t.max(1))
    y.tiles(BM, BN)[i, 0] = e / e.sum(1)


@tb.kernel
def softmax_online(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N], *, BM: tb.Const = 4, BN: tb.Const = 1024):
    """softmax over rows of any length, reading each row twice"""
    i = tb.program(tb.cdiv(M, BM))
    X, Y = x.tiles(BM, BN), y.tiles(BM, BN)
    m, s = tb.full((BM, 1), -tb.inf), tb.zeros((BM, 1))
    for j in tb.range(tb.cdiv(N, BN)):
        t = X[i, j]
        m2 = tb.maximum(m, t.max(1))
        s = s * tb.exp(m - m2) + tb.exp(t - m2).sum(1)
        m = m2
    for j in tb.range(tb.cdiv(N, BN)):
        Y[i, j] = tb.exp(X[i, j] - m) / s


@tb.kernel
def layernorm(
    x: tb.In[tb.f32, M, N], w: tb.In[tb.f32, N], b: tb.In[tb.f32, N], y: tb.Out[tb.f32, M, N], eps: tb.f32,
    *, BM: tb.Const = 4, BN: tb.Const = 1024,
):  # fmt: skip
    """y = (x - mean) / sqrt(variance + eps) * w + b over each row"""
    i = tb.program(tb.cdiv(M, BM))
    X, Y, W, B_ = x.tiles(BM, BN), y.tiles(BM, BN), w.tiles(BN), b.tiles(BN)
    s, q = tb.zeros((BM, 1)), tb.zeros((BM, 1))
    for j in tb.pipeline(tb.cdiv(N, BN)):
        s += X[i, j].sum(1)
    mu = s / N
    for j in tb.pipeline(tb.cdiv(N, BN)):
        d = X[i, j] - mu  # lanes past N do not exist: no mask
        q += (d * d).sum(1)
    rstd = tb.rsqrt(q / N + eps)
    for j in tb.pipeline(tb.cdiv(N, BN)):
        Y[i, j] = (X[i, j] - mu) * rstd * W[j] + B_[j]


@tb.kernel(variants=[tb.V(BM=128, BN=256, BK=64, target="gpu:sm_90a", when="K % 8 == 0"), tb.V(BM=64, BN=64, BK=32)])
def linear_gelu(
    a: tb.In[tb.bf16, M, K], w: tb.In[tb.bf16, N, K], bias: tb.In[tb.f32, N], c: tb.Out[tb.bf16, M, N],
    *, BM: tb.Const, BN: tb.Const, BK: tb.Const,
):  # fmt: skip
    """c = gelu(a @ w.T + bias)"""
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN), order="grouped:8")
    A, Wt = a.tiles(BM, BK), w.T.tiles(BK, BN)
    acc = tb.zeros((BM, BN), tb.f32)
    for k in tb.pipeline(tb.cdiv(K, BK), stages=4):
        acc = tb.dot(A[i, k], Wt[k, j], acc)
    c.tiles(BM, BN)[i, j] = tb.gelu(acc + bias.tiles(BN)[j]).to(tb.bf16)


@tb.kernel
def flash_fwd(  # noqa: PLR0917
    q: tb.In[tb.bf16, B, H, S, D], k: tb.In[tb.bf16, B, G, T, D], v: tb.In[tb.bf16, B, G, T, D],
    o: tb.Out[tb.bf16, B, H, S, D], lse: tb.Out[tb.f32, B, H, S], scale: tb.f32,
    *, causal: tb.Static = (True, False), BM: tb.Const = 128, BN: tb.Const = 128,
):  # fmt: skip
    """o = softmax(q @ k.T * scale) @ v, H heads of q to G of k and v; lse = log of the sum of exp of a row.

    Causal: the last query sees all of k, the one before it all but the last row, and so on.
    """
    tb.require(H % G == 0, T >= S)
    i, bh = tb.program(tb.cdiv(S, BM), B * H)
    b, h = bh // H, bh % H
    qt = q[b, h].tiles(BM, D)[i, 0]
    Kt, V = k[b, h // (H // G)].T.tiles(D, BN), v[b, h // (H // G)].tiles(BN, D)
    m, l, acc = tb.full((BM, 1), -tb.inf), tb.zeros((BM, 1)), tb.zeros((BM, D))  # noqa: E741
    hi = tb.min(T, (i + 1) * BM + (T - S)) if causal else T
    for j in tb.pipeline(tb.cdiv(hi, BN), stages=2):
        s = tb.dot(qt, Kt[0, j]) * scale  # columns past T are not valid: max and sum skip them
        if causal:
            s = tb.where(tb.iota(BM, 0) + (i * BM + T - S) >= tb.iota(BN, 1) + j * BN, s, -tb.inf)
        m2 = tb.maximum(m, s.max(1))
        p, alpha = tb.exp(s - m2), tb.exp(m - m2)
        l = l * alpha + p.sum(1)  # noqa: E741
        acc = tb.dot(p.to(tb.bf16), V[j, 0], acc * alpha)
        m = m2
    o[b, h].tiles(BM, D)[i, 0] = (acc / l).to(tb.bf16)
    lse[b, h].col.tiles(BM, 1)[i, 0] = m + tb.log(l)
