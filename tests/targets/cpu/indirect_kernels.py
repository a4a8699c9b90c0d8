"""Kernels that touch elements which the data names; written into a package, after the import of tilebuild."""

from __future__ import annotations

import tilebuild as tb

V, M, N, B = tb.dims("V M N B")


@tb.kernel
def embedding(
    table: tb.In[tb.f32, V, N], ids: tb.In[tb.i32, M], y: tb.Out[tb.f32, M, N], *, BM: tb.Const = 4, BN: tb.Const = 40,
):  # fmt: skip
    """rows of a table; zeros where there is none"""
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    t = tb.gather_rows(table.tiles(1, BN), ids.col.tiles(BM, 1)[i, 0], j, oob="zero")
    y.tiles(BM, BN)[i, j] = t + t


@tb.kernel
def nearest(table: tb.In[tb.bf16, B, V, N], ids: tb.In[tb.i32, B, M], y: tb.Out[tb.f32, B, M, N], *, BM: tb.Const = 3):
    """rows of bf16, one element of each at a time, the nearest row where there is none"""
    b, i, j = tb.program(B, tb.cdiv(M, BM), N)
    t = tb.gather_rows(table[b].tiles(1, 1), ids[b].col.tiles(BM, 1)[i, 0], j, oob="clamp")
    y[b].tiles(BM, 1)[i, j] = t.to(tb.f32)


@tb.kernel
def lookup(x: tb.In[tb.f32, V], ids: tb.In[tb.i32, M, N], y: tb.Out[tb.f32, M, N],
           *, BM: tb.Const = 2, BN: tb.Const = 24):  # fmt: skip
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    k = ids.tiles(BM, BN)[i, j]
    y.tiles(BM, BN)[i, j] = tb.gather(x, k, oob="zero") - tb.gather(x, k + 1, oob="clamp")


@tb.kernel
def histogram(x: tb.In[tb.f32, M, N], counts: tb.InOut[tb.i32, V], low: tb.f32, scale: tb.f32,
              *, BM: tb.Const = 2, BN: tb.Const = 64):  # fmt: skip
    """what lies outside of the bins is not counted"""
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    bins = tb.floor((x.tiles(BM, BN)[i, j] - low) * scale).to(tb.i32)
    tb.scatter(counts, bins, tb.full((BM, BN), 1, tb.i32), mode="add", oob="drop")


@tb.kernel
def embedding_gradient(g: tb.In[tb.f32, M, N], ids: tb.In[tb.i32, M], table: tb.InOut[tb.f32, V, N],
                       *, BM: tb.Const = 3, BN: tb.Const = 40):  # fmt: skip
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    tb.scatter_rows(table.tiles(1, BN), ids.col.tiles(BM, 1)[i, 0], g.tiles(BM, BN)[i, j], j, mode="add", oob="drop")


@tb.kernel
def permuted(x: tb.In[tb.f32, M, N], order: tb.In[tb.i32, M], y: tb.Out[tb.f32, M, N],
    *, BM: tb.Const = 4, BN: tb.Const = 16):  # fmt: skip
    """y[order[r]] = x[r], where order is a permutation"""
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    tb.scatter_rows(
        y.tiles(1, BN), order.col.tiles(BM, 1)[i, 0], x.tiles(BM, BN)[i, j], j, mode="set", unique=True, oob="drop"
    )


@tb.kernel
def peaks(x: tb.In[tb.f32, M, N], ids: tb.In[tb.i32, M, N], y: tb.InOut[tb.f32, V],
    *, BM: tb.Const = 4, BN: tb.Const = 16):  # fmt: skip
    """the largest value of each class"""
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    tb.scatter(y, ids.tiles(BM, BN)[i, j], x.tiles(BM, BN)[i, j], mode="max", oob="drop")


@tb.kernel
def column_sums(x: tb.In[tb.f32, M, N], y: tb.InOut[tb.f32, N],
    *, BM: tb.Const = 4, BN: tb.Const = 16):  # fmt: skip
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    tb.atomic_add(y.tiles(BN), j, x.tiles(BM, BN)[i, j].sum(0))
