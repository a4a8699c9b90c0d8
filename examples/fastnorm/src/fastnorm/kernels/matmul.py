"""Matrix products."""

import tilebuild as tb

M, N, K = tb.dims("M N K")


@tb.kernel
def matmul(
    a: tb.In[tb.f32, M, K],
    b: tb.In[tb.f32, K, N],
    c: tb.Out[tb.f32, M, N],
    *,
    BM: tb.Const = 96,
    BN: tb.Const = 256,
    BK: tb.Const = 256,
):
    """c = a @ b, tile by tile, accumulated in float32"""
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    A, B = a.tiles(BM, BK), b.tiles(BK, BN)
    acc = tb.zeros((BM, BN))
    for k in tb.pipeline(tb.cdiv(K, BK)):
        acc = tb.dot(A[i, k], B[k, j], acc)
    c.tiles(BM, BN)[i, j] = acc
