"""The package's kernels."""

import tilebuild as tb

M, N = tb.dims("M N")


@tb.kernel
def axpy(
    x: tb.In[tb.f32, M, N],
    y: tb.In[tb.f32, M, N],
    z: tb.Out[tb.f32, M, N],
    a: tb.f32,
    *,
    BM: tb.Const = 4,
    BN: tb.Const = 1024,
):
    """z = a * x + y"""
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    z.tiles(BM, BN)[i, j] = x.tiles(BM, BN)[i, j] * a + y.tiles(BM, BN)[i, j]
