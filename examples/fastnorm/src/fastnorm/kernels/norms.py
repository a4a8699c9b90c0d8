"""Kernels that normalise the rows of a matrix."""

import tilebuild as tb

M, N = tb.dims("M N")


@tb.kernel(
    variants=[tb.V(BM=4, BN=1024, when="N <= 1024"), tb.V(BM=1, BN=8192, when="N <= 8192")],
    otherwise="softmax_online",
)
def softmax(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N], *, BM: tb.Const, BN: tb.Const):
    """y = softmax of each row of x, with a whole row in one tile"""
    i = tb.program(tb.cdiv(M, BM))
    t = x.tiles(BM, BN)[i, 0]  # the guard says that one tile holds the row
    e = tb.exp(t - t.max(1))
    y.tiles(BM, BN)[i, 0] = e / e.sum(1)


@tb.kernel
def softmax_online(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N], *, BM: tb.Const = 1, BN: tb.Const = 4096):
    """y = softmax of each row of x, for rows of any length: a running maximum and a rescaled sum"""
    i = tb.program(tb.cdiv(M, BM))
    X, Y = x.tiles(BM, BN), y.tiles(BM, BN)
    m, s = tb.full((BM, 1), -tb.inf), tb.zeros((BM, 1))
    for j in tb.pipeline(tb.cdiv(N, BN)):
        t = X[i, j]
        m2 = tb.maximum(m, t.max(1))
        s = s * tb.exp(m - m2) + tb.exp(t - m2).sum(1)
        m = m2
    for j in tb.pipeline(tb.cdiv(N, BN)):
        Y[i, j] = tb.exp(X[i, j] - m) / s


@tb.kernel
def layernorm(
    x: tb.In[tb.f32, M, N],
    w: tb.In[tb.f32, N],
    b: tb.In[tb.f32, N],
    y: tb.Out[tb.f32, M, N],
    eps: tb.f32,
    *,
    BM: tb.Const = 1,
    BN: tb.Const = 4096,
):
    """y = (x - mean) / sqrt(variance + eps) * w + b, over each row"""
    i = tb.program(tb.cdiv(M, BM))
    X, Y, W, B = x.tiles(BM, BN), y.tiles(BM, BN), w.tiles(BN), b.tiles(BN)
    s, q = tb.zeros((BM, 1)), tb.zeros((BM, 1))
    for j in tb.pipeline(tb.cdiv(N, BN)):
        s += X[i, j].sum(1)
    mu = s / N
    for j in tb.pipeline(tb.cdiv(N, BN)):
        d = X[i, j] - mu  # lanes past N do not exist: no mask
        q += (d * d).sum(1)
    rstd = tb.rsqrt(q / N + eps)
    for j in tb.pipeline(tb.cdiv(N, BN)):
        Y[i, j] = (X[i, j] - mu) * rstd * W[j] + B[j]


@tb.kernel
def rmsnorm(
    x: tb.In[tb.f32, M, N],
    w: tb.In[tb.f32, N],
    y: tb.Out[tb.f32, M, N],
    eps: tb.f32,
    *,
    BM: tb.Const = 1,
    BN: tb.Const = 4096,
):
    """y = x / sqrt(mean(x * x) + eps) * w, over each row"""
    i = tb.program(tb.cdiv(M, BM))
    X, Y, W = x.tiles(BM, BN), y.tiles(BM, BN), w.tiles(BN)
    q = tb.zeros((BM, 1))
    for j in tb.pipeline(tb.cdiv(N, BN)):
        t = X[i, j]
        q += (t * t).sum(1)
    rstd = tb.rsqrt(q / N + eps)
    for j in tb.pipeline(tb.cdiv(N, BN)):
        Y[i, j] = X[i, j] * rstd * W[j]
