"""Kernels that touch each element once."""

import tilebuild as tb

M, N = tb.dims("M N")


@tb.kernel
def add(
    x: tb.In[tb.f32, M, N], y: tb.In[tb.f32, M, N], z: tb.Out[tb.f32, M, N], *, BM: tb.Const = 4, BN: tb.Const = 1024
):
    """z = x + y"""
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    z.tiles(BM, BN)[i, j] = x.tiles(BM, BN)[i, j] + y.tiles(BM, BN)[i, j]


@tb.kernel
def scale(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N], s: tb.f32, *, BM: tb.Const = 4, BN: tb.Const = 1024):
    """y = s * x"""
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    y.tiles(BM, BN)[i, j] = x.tiles(BM, BN)[i, j] * s


@tb.kernel
def gelu(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N], *, BM: tb.Const = 4, BN: tb.Const = 1024):
    """y = x * Phi(x), with the error function"""
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    y.tiles(BM, BN)[i, j] = tb.gelu(x.tiles(BM, BN)[i, j])


@tb.kernel
def bias_gelu_residual(
    x: tb.In[tb.f32, M, N],
    b: tb.In[tb.f32, N],
    r: tb.In[tb.f32, M, N],
    y: tb.Out[tb.f32, M, N],
    *,
    BM: tb.Const = 4,
    BN: tb.Const = 1024,
):
    """y = gelu(x + b) + r, with the tanh form of gelu"""
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    t = x.tiles(BM, BN)[i, j] + b.tiles(BN)[j]
    y.tiles(BM, BN)[i, j] = tb.gelu_tanh(t) + r.tiles(BM, BN)[i, j]
