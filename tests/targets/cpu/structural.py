"""Kernels on the structure of the language: views, loops, broadcasts, products. A module of the tests' package.

Extents of tiles are no powers of two, so that every vector width meets a ragged end.
"""

import tilebuild as tb

M, N, K, L = tb.dims("M N K L")
B, H = tb.dims("B H")
SLOPE = 0.25


@tb.fn
def line(x, a=SLOPE, b=1.0):
    return x * a + b


@tb.fn
def normalised(x, axis):
    return x / x.sum(axis)


@tb.kernel
def vector(x: tb.In[tb.f32, N], y: tb.Out[tb.f32, N], s: tb.f32, *, BN: tb.Const = 21):
    j = tb.program(tb.cdiv(N, BN))
    y.tiles(BN)[j] = line(x.tiles(BN)[j], s)


@tb.kernel
def transposed_view(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, N, M], *, BM: tb.Const = 5, BN: tb.Const = 19):
    i, j = tb.program(tb.cdiv(N, BN), tb.cdiv(M, BM))
    y.tiles(BN, BM)[i, j] = x.T.tiles(BN, BM)[i, j]


@tb.kernel
def transposed_tile(x: tb.In[tb.i32, M, N], y: tb.Out[tb.i32, N, M], *, BM: tb.Const = 18, BN: tb.Const = 19):
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    y.tiles(BN, BM)[j, i] = (x.tiles(BM, BN)[i, j] + 1).T


@tb.kernel
def transposed_store(x: tb.In[tb.u32, M, N], y: tb.Out[tb.u32, N, M], *, BM: tb.Const = 5, BN: tb.Const = 19):
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    y.T.tiles(BM, BN)[i, j] = x.tiles(BM, BN)[i, j]


@tb.kernel
def heads(
    x: tb.In[tb.f32, B, H, M, N],
    w: tb.In[tb.f32, H, N],
    y: tb.Out[tb.f32, B, H, M, N],
    s: tb.Out[tb.f32, B, H, M],
    *,
    BM: tb.Const = 3,
    BN: tb.Const = 40,
):
    i, b, h = tb.program(tb.cdiv(M, BM), B, H)
    total = tb.zeros((BM, 1))
    for j in tb.range(tb.cdiv(N, BN)):
        t = x[b, h].tiles(BM, BN)[i, j] * w[h].tiles(BN)[j]
        y[b, h].tiles(BM, BN)[i, j] = t
        total += t.sum(1)
    s[b, h].col.tiles(BM, 1)[i, 0] = total


@tb.kernel
def stacked(x: tb.In[tb.i32, B, M, N], y: tb.Out[tb.i32, B, N, M], *, BM: tb.Const = 6, BN: tb.Const = 10):
    b, i, j = tb.program(B, tb.cdiv(M, BM), tb.cdiv(N, BN))
    y[b].T.tiles(BM, BN)[i, j] = -x[b].tiles(BM, BN)[i, j]


@tb.kernel
def broadcasts(
    x: tb.In[tb.f32, M, N],
    r: tb.In[tb.f32, M],
    c: tb.In[tb.f32, N],
    y: tb.Out[tb.f32, M, N],
    p: tb.Out[tb.f32, M, N],
    *,
    BM: tb.Const = 6,
    BN: tb.Const = 35,
):
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    t, rows, columns = x.tiles(BM, BN)[i, j], r.col.tiles(BM, 1)[i, 0], c.tiles(BN)[j]
    top = t.max(1).max(0)
    y.tiles(BM, BN)[i, j] = (t - top) * rows + columns
    p.tiles(BM, BN)[i, j] = tb.maximum(rows * columns, top)


@tb.kernel
def one_row_of_columns(r: tb.In[tb.f32, M], y: tb.Out[tb.f32, M], z: tb.Out[tb.f32, M], *, BM: tb.Const = 37):
    i = tb.program(tb.cdiv(M, BM))
    t = r.col.tiles(BM, 1)[i, 0]
    y.col.tiles(BM, 1)[i, 0] = tb.exp(t) * 2.0
    z.tiles(BM)[i] = (t + 1.0).T


@tb.kernel
def filled(
    x: tb.In[tb.f32, M, N], s: tb.Out[tb.f32, M], p: tb.Out[tb.f32, M, N], *, BM: tb.Const = 5, BN: tb.Const = 22
):
    i = tb.program(tb.cdiv(M, BM))
    acc = tb.zeros((BM, BN))
    for j in tb.range(tb.cdiv(N, BN)):
        acc += x.tiles(BM, BN)[i, j].fill(0.0)
    s.col.tiles(BM, 1)[i, 0] = acc.sum(1)
    for j in tb.range(tb.cdiv(N, BN)):
        t = (x.tiles(BM, BN)[i, j] * 2.0).fill(-tb.inf)
        p.tiles(BM, BN)[i, j] = t - t.max(1)


@tb.kernel
def constant(y: tb.Out[tb.f32, M, N], z: tb.Out[tb.i32, M, N], s: tb.f32, *, BM: tb.Const = 4, BN: tb.Const = 17):
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    y.tiles(BM, BN)[i, j] = tb.full((BM, BN), s)
    z.tiles(BM, BN)[i, j] = tb.iota(BM, 0) * 1000 + tb.iota(BN, 1) + (i * 10 + j)


@tb.kernel
def clipped(x: tb.In[tb.f32, M, N], y: tb.InOut[tb.f32, K, L], *, BM: tb.Const = 4, BN: tb.Const = 18):
    i, j = tb.program(tb.min(tb.cdiv(M, BM), tb.cdiv(K, BM)), tb.min(tb.cdiv(N, BN), tb.cdiv(L, BN)))
    y.tiles(BM, BN)[i, j] = x.tiles(BM, BN)[i, j] + 1.0


@tb.kernel
def below_diagonal(
    x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N], z: tb.Out[tb.i32, M, N], *, BM: tb.Const = 7, BN: tb.Const = 18
):
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    keep = tb.iota(BM, 0) + i * BM >= tb.iota(BN) + j * BN
    t = x.tiles(BM, BN)[i, j]
    y.tiles(BM, BN)[i, j] = tb.where(keep, t, -tb.inf)
    z.tiles(BM, BN)[i, j] = (~keep ^ (t > 0.0) | (keep & (t < -1.0))).to(tb.i32)


@tb.kernel
def indices(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N], *, BM: tb.Const = 3, BN: tb.Const = 9):
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    y.tiles(BM, BN)[i, j] = (x.tiles(BM, BN)[i, j] + (i * BM + j)) / N


@tb.kernel
def product(
    a: tb.In[tb.f32, M, K],
    b: tb.In[tb.f32, K, N],
    c: tb.InOut[tb.f32, M, N],
    *,
    BM: tb.Const = 14,
    BN: tb.Const = 41,
    BK: tb.Const = 10,
):
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    acc = c.tiles(BM, BN)[i, j]
    for k in tb.pipeline(tb.cdiv(K, BK), stages=3):
        acc = tb.dot(a.tiles(BM, BK)[i, k], b.tiles(BK, BN)[k, j], acc)
    c.tiles(BM, BN)[i, j] = acc


@tb.kernel
def product_of_views(
    a: tb.In[tb.f32, K, M],
    w: tb.In[tb.f32, N, K],
    c: tb.Out[tb.f32, M, N],
    *,
    BM: tb.Const = 7,
    BN: tb.Const = 34,
    BK: tb.Const = 12,
):
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    acc = tb.zeros((BM, BN))
    for k in tb.range(tb.cdiv(K, BK)):
        acc = tb.dot(a.tiles(BK, BM)[k, i].T, w.T.tiles(BK, BN)[k, j] * 0.5, acc)
    c.tiles(BM, BN)[i, j] = acc + 1.0


@tb.kernel
def products(
    a: tb.In[tb.f32, M, K],
    b: tb.In[tb.f32, K, L],
    v: tb.In[tb.f32, L, N],
    y: tb.Out[tb.f32, M, N],
    *,
    BM: tb.Const = 9,
    BN: tb.Const = 33,
    BK: tb.Const = 24,
    BL: tb.Const = 40,
):
    tb.require(K <= 24, L <= 40)
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    s = tb.exp(a.tiles(BM, BK)[i, 0]) @ b.tiles(BK, BL)[0, 0]
    p = s - s.max(1)
    y.tiles(BM, BN)[i, j] = tb.dot(p, v.tiles(BL, BN)[0, j])


@tb.kernel
def swapped(
    x: tb.In[tb.f32, M, N],
    y: tb.In[tb.f32, M, N],
    u: tb.Out[tb.f32, M, N],
    v: tb.Out[tb.f32, M, N],
    *,
    BM: tb.Const = 3,
    BN: tb.Const = 20,
):
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    a, b = x.tiles(BM, BN)[i, j], y.tiles(BM, BN)[i, j]
    for _ in tb.range(K_TIMES):
        a, b = b, a
    u.tiles(BM, BN)[i, j] = a
    v.tiles(BM, BN)[i, j] = b


K_TIMES = 3


@tb.kernel
def fibonacci(
    x: tb.In[tb.i32, M, N], u: tb.Out[tb.i32, M, N], v: tb.Out[tb.i32, M, N], *, BM: tb.Const = 3, BN: tb.Const = 20
):
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    a, b = tb.zeros((BM, BN), tb.i32), x.tiles(BM, BN)[i, j]
    for _ in tb.range(N):
        a, b = b, a + b
    u.tiles(BM, BN)[i, j] = a
    v.tiles(BM, BN)[i, j] = b


@tb.kernel
def scalars(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N], s: tb.f32, *, BM: tb.Const = 2, BN: tb.Const = 30):
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    a, step = 1.0, s * 0.5
    for k in tb.range(2, M + 2):
        a = a + step
        step = step - k * 0.25
    y.tiles(BM, BN)[i, j] = x.tiles(BM, BN)[i, j] * a + step


@tb.kernel
def nested(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M], *, BM: tb.Const = 5, BN: tb.Const = 26):
    i = tb.program(tb.cdiv(M, BM))
    total, largest = tb.zeros((BM, 1)), tb.full((BM, 1), -tb.inf)
    for j in tb.range(tb.cdiv(N, BN)):
        t = x.tiles(BM, BN)[i, j]
        part = tb.zeros((BM, 1))
        for _ in tb.range(j + 1):
            part += t.sum(1)
        for _ in tb.unroll(2):
            part = part * 0.5
        total += part
        largest = tb.maximum(largest, t.max(1))
    y.col.tiles(BM, 1)[i, 0] = total + largest


@tb.kernel
def in_place(x: tb.InOut[tb.f32, M, N], y: tb.InOut[tb.i32, M, N], *, BM: tb.Const = 4, BN: tb.Const = 120):
    tb.require(N <= 120)
    i = tb.program(tb.cdiv(M, BM))
    X, Y = x.tiles(BM, BN), y.tiles(BM, BN)
    X[i, 0] = normalised(tb.exp(X[i, 0]), 1)
    Y[i, 0] = Y[i, 0] * 2 - 1


@tb.kernel
def library(
    x: tb.In[tb.f32, M, N], g: tb.Out[tb.f32, M, N], s: tb.Out[tb.f32, M, N], *, BM: tb.Const = 4, BN: tb.Const = 150
):
    tb.require(N <= 150)
    i = tb.program(tb.cdiv(M, BM))
    t = x.tiles(BM, BN)[i, 0]
    g.tiles(BM, BN)[i, 0] = tb.gelu(t) + tb.tanh(t)
    s.tiles(BM, BN)[i, 0] = tb.softmax(t)


@tb.kernel
def pairs_of_rows(x: tb.In[tb.f32, 2 * M, 6], y: tb.Out[tb.f32, M, 6], *, BM: tb.Const = 1):
    i = tb.program(M)
    total = tb.zeros((BM, 6))
    for half in tb.unroll(2):
        total += x.tiles(BM, 6)[i * 2 + half, 0] * (half + 1)
    y.tiles(BM, 6)[i, 0] = total


@tb.kernel
def moved(
    x: tb.In[tb.f32, M, 6], y: tb.In[tb.f32, M, 6], s: tb.Out[tb.f32, M, 2], c: tb.Out[tb.f32, M, 15],
    t: tb.Out[tb.f32, M, 12], *, BM: tb.Const = 4,
):  # fmt: skip
    i = tb.program(tb.cdiv(M, BM))
    a, b = x.tiles(BM, 6)[i, 0], y.tiles(BM, 6)[i, 0]
    s.tiles(BM, 2)[i, 0] = tb.slice(a + 1.0, (0, 3), (BM, 2))
    c.tiles(BM, 15)[i, 0] = tb.concat(a, b * 2.0, tb.slice(b, (0, 3), (BM, 3)))
    t.tiles(BM, 12)[i, 0] = tb.interleave(a, b)


@tb.kernel
def reshaped(
    x: tb.In[tb.i32, B, 4, 6], r: tb.Out[tb.i32, B, 8, 3], q: tb.Out[tb.i32, B, 2, 12], v: tb.Out[tb.i32, B, 7, 6],
):  # fmt: skip
    b = tb.program(B)
    a = x[b].tiles(4, 6)[0, 0]
    r[b].tiles(8, 3)[0, 0] = tb.reshape(a, (8, 3))
    q[b].tiles(2, 12)[0, 0] = tb.reshape(a + 1, (2, 12))
    v[b].tiles(7, 6)[0, 0] = tb.concat(a, tb.slice(a, (1, 0), (3, 6)), axis=0)
