"""Matrix products."""

import tilebuild as tb

M, N, K = tb.dims("M N K")


@tb.kernel(
    variants=[
        tb.V(BM=192, BN=512, BK=128, target="cpu"),
        tb.V(BM=128, BN=128, BK=32, target="gpu"),
        tb.V(BM=32, BN=32, BK=32, target="spirv"),
        tb.V(BM=128, BN=128, BK=128, target="pto"),
    ]
)
def matmul(
    a: tb.In[tb.f32, M, K],
    b: tb.In[tb.f32, K, N],
    c: tb.Out[tb.f32, M, N],
    *,
    BM: tb.Const,
    BN: tb.Const,
    BK: tb.Const,
):
    """c = a @ b, tile by tile, accumulated in float32"""
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    A, B = a.tiles(BM, BK), b.tiles(BK, BN)
    acc = tb.zeros((BM, BN))
    for k in tb.pipeline(tb.cdiv(K, BK)):
        acc = tb.dot(A[i, k], B[k, j], acc)
    c.tiles(BM, BN)[i, j] = acc
