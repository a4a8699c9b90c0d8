"""Kernels that read arrays through windows; the file is written into a package, after the import of tilebuild."""

from __future__ import annotations

import tilebuild as tb

B, CI, CO, H, W, KH, KW = tb.dims("B CI CO H W KH KW")
M, N = tb.dims("M N")


@tb.kernel
def conv2d(
    x: tb.In[tb.f32, B, CI, H, W], w: tb.In[tb.f32, CO, CI, KH, KW], bias: tb.In[tb.f32, CO],
    y: tb.Out[tb.f32, B, CO, (H + 2 - KH) // 2 + 1, (W + 2 - KW) // 2 + 1],
    *, BH: tb.Const = 4, BW: tb.Const = 16,
):  # fmt: skip
    """stride 2, a border of one zero"""
    tb.require(H + 2 >= KH, W + 2 >= KW)
    bc, i, j = tb.program(B * CO, tb.cdiv((H + 2 - KH) // 2 + 1, BH), tb.cdiv((W + 2 - KW) // 2 + 1, BW))
    b, co = bc // CO, bc % CO
    acc = tb.zeros((BH, BW))
    for ci in tb.range(CI):
        weights = w[co, ci].tiles(1, 1)
        for kh in tb.range(KH):
            for kw in tb.range(KW):
                start = (i * BH * 2 - 1 + kh, j * BW * 2 - 1 + kw)
                acc += x[b, ci].window(start, (BH, BW), stride=(2, 2), fill=0.0) * weights[kh, kw]
    y[b, co].tiles(BH, BW)[i, j] = acc + bias.tiles(1)[co]


@tb.kernel
def maxpool(
    x: tb.In[tb.f32, B, H, W], y: tb.Out[tb.f32, B, (H + 1) // 2, (W + 1) // 2], *, BH: tb.Const = 5, BW: tb.Const = 24,
):  # fmt: skip
    """3 x 3, stride 2, a border of one"""
    b, i, j = tb.program(B, tb.cdiv((H + 1) // 2, BH), tb.cdiv((W + 1) // 2, BW))
    m = tb.full((BH, BW), -tb.inf)
    for kh in tb.unroll(3):
        for kw in tb.unroll(3):
            start = (i * BH * 2 - 1 + kh, j * BW * 2 - 1 + kw)
            m = tb.maximum(m, x[b].window(start, (BH, BW), stride=2, fill=-tb.inf))
    y[b].tiles(BH, BW)[i, j] = m


@tb.kernel
def avgpool1d(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N], *, BN: tb.Const = 32):
    """the mean of an element and its neighbours, zeros beyond the ends"""
    i, j = tb.program(M, tb.cdiv(N, BN))
    s = tb.zeros((1, BN))
    for k in tb.range(3):
        s += x[i].window(j * BN + k - 1, BN, fill=0.0)
    y[i].tiles(BN)[j] = s / 3.0


@tb.kernel
def columns(x: tb.In[tb.i32, M, N], y: tb.Out[tb.i32, N, M], *, BM: tb.Const = 8, BN: tb.Const = 8):
    """the transpose, far outside of the array at some tiles, one column at a time at others"""
    i, j = tb.program(tb.cdiv(N, BM), tb.cdiv(M, BN))
    far = x.window((M + 100, N), (BM, BN), fill=7) - x.window((-100, -100), (BM, BN), stride=9, fill=7)
    one = x.T.window((i * BM, j * BN), (BM, 1), fill=0) - x.T.tiles(BM, 1)[i, j * BN]
    y.tiles(BM, BN)[i, j] = x.T.window((i * BM, j * BN), (BM, BN), fill=-1) + far + one


@tb.kernel
def overlapping(x: tb.In[tb.bf16, M, N], y: tb.Out[tb.f32, M, N], *, BM: tb.Const = 3, BN: tb.Const = 40):
    """differences of rows of bf16"""
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    here = x.window((i * BM, j * BN), (BM, BN), fill=0.0).to(tb.f32)
    above = x.window((i * BM - 1, j * BN), (BM, BN), fill=0.0).to(tb.f32)
    y.tiles(BM, BN)[i, j] = here - above


@tb.kernel
def ahead(x: tb.In[tb.f32, N], y: tb.Out[tb.f32, M], *, BN: tb.Const = 8):
    """x from its element 16 on; x has at least two tiles more than y"""
    i = tb.program(tb.cdiv(M, BN))
    tb.assume(i + 2 < tb.cdiv(N, BN))
    y.tiles(BN)[i] = x.tiles(BN)[i + 2].fill(-1.0)
