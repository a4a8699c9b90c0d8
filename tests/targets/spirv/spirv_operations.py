"""Kernels that use every operation of the target, as text; the reference path says what they compute."""

from __future__ import annotations

from collections.abc import Iterator

from tilebuild.optable import OPS

_SYMBOLS = {
    "neg": "-{0}", "not": "~{0}", "add": "{0} + {1}", "sub": "{0} - {1}", "mul": "{0} * {1}", "div": "{0} / {1}",
    "floordiv": "{0} // {1}", "mod": "{0} % {1}", "shl": "{0} << {1}", "shr": "{0} >> {1}",
    "and": "{0} & {1}", "or": "{0} | {1}", "xor": "{0} ^ {1}", "lt": "{0} < {1}", "le": "{0} <= {1}",
    "gt": "{0} > {1}", "ge": "{0} >= {1}", "eq": "{0} == {1}", "ne": "{0} != {1}",
}  # fmt: skip
NUMBERS = ("f32", "i32", "u32")

EXTRA = """
@tb.kernel
def reduce_rows(
    x: tb.In[tb.f32, M, N], k: tb.In[tb.i32, M, N], s: tb.Out[tb.f32, M], m: tb.Out[tb.i32, M], n: tb.Out[tb.i32, M],
    *, BM: tb.Const = 3, BN: tb.Const = 70,
):
    i = tb.program(tb.cdiv(M, BM))
    X, V = x.tiles(BM, BN), k.tiles(BM, BN)
    total, high = tb.zeros((BM, 1)), tb.full((BM, 1), -5, tb.i32)
    low = tb.full((BM, 1), 5, tb.i32)
    for j in tb.range(tb.cdiv(N, BN)):
        total += X[i, j].sum(1)
        high = tb.maximum(high, V[i, j].max(1))
        low = tb.minimum(low, V[i, j].min(1))
    s.col.tiles(BM, 1)[i, 0] = total
    m.col.tiles(BM, 1)[i, 0] = high
    n.col.tiles(BM, 1)[i, 0] = low

@tb.kernel
def reduce_columns(
    x: tb.In[tb.f32, M, N], u: tb.In[tb.u32, M, N], s: tb.Out[tb.f32, N], m: tb.Out[tb.u32, N],
    *, BM: tb.Const = 4, BN: tb.Const = 40,
):
    j = tb.program(tb.cdiv(N, BN))
    total, high = tb.zeros((1, BN)), tb.full((1, BN), 0, tb.u32)
    for i in tb.range(tb.cdiv(M, BM)):
        total += x.tiles(BM, BN)[i, j].sum(0)
        high = tb.maximum(high, u.tiles(BM, BN)[i, j].max(0))
    s.tiles(BN)[j] = total
    m.tiles(BN)[j] = high

@tb.kernel
def positions(y: tb.Out[tb.i32, M, N], z: tb.Out[tb.f32, M, N], *, BM: tb.Const = 4, BN: tb.Const = 40):
    tb.require(M <= 4096, N <= 4096)
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    place = (tb.iota(BM, 0) + i * BM) * 1000 + (tb.iota(BN, 1) + j * BN)
    y.tiles(BM, BN)[i, j] = place + (i - 2 * j) // 3 * 7 + (i - j) % 3
    z.tiles(BM, BN)[i, j] = tb.zeros((BM, BN)) + N

@tb.kernel
def filled(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M], *, BM: tb.Const = 4, BN: tb.Const = 40):
    i = tb.program(tb.cdiv(M, BM))
    acc = tb.zeros((BM, BN))
    for j in tb.range(tb.cdiv(N, BN)):
        acc += x.tiles(BM, BN)[i, j].fill(2.0)
    y.col.tiles(BM, 1)[i, 0] = acc.sum(1)

@tb.kernel
def batched(
    x: tb.In[tb.f32, B, 2, M, N], w: tb.In[tb.f32, H], y: tb.Out[tb.f32, B, H, N, M],
    *, BM: tb.Const = 4, BN: tb.Const = 8,
):
    i, j, b, h = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN), B, H)
    y[b, h].T.tiles(BM, BN)[i, j] = x[b, h % 2].tiles(BM, BN)[i, j] * w.tiles(1)[h]

@tb.kernel
def product(
    a: tb.In[tb.f32, M, K], b: tb.In[tb.f32, N, K], bias: tb.In[tb.f32, N], c: tb.Out[tb.f32, M, N],
    *, BM: tb.Const = 24, BN: tb.Const = 20, BK: tb.Const = 12,
):
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    acc = tb.zeros((BM, BN))
    for k in tb.range(tb.cdiv(K, BK)):
        acc = tb.dot(a.tiles(BM, BK)[i, k] + 1.0, b.T.tiles(BK, BN)[k, j], acc)
    c.tiles(BM, BN)[i, j] = tb.where(acc > 0.0, acc, 0.0) + bias.tiles(BN)[j]

@tb.kernel
def many(x: tb.InOut[tb.i32, M, N], add: tb.i32, *, BM: tb.Const = 1, BN: tb.Const = 1):
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    x.tiles(BM, BN)[i, j] = x.tiles(BM, BN)[i, j] + add
"""


def module() -> str:
    return 'M, N, K, B, H = tb.dims("M N K B H")\n' + "\n".join([*_elementwise(), _CASTS, EXTRA])


def _elementwise() -> Iterator[str]:
    """One kernel a dtype and kind, with an output an operation."""
    for dtype in NUMBERS:
        for kind in ("unary", "binary", "compare"):
            names = [o.name for o in OPS.values() if o.kind == kind and dtype in o.dtypes]
            yield _kernel(f"{kind}_{dtype}", dtype, {n: _call(n) for n in names}, kind == "compare")
    booleans = {n: f"({_call(n).format('(a > b)', '(a == a)')})" for n in ("and", "or", "xor", "not")}
    yield _kernel("booleans", "i32", booleans, True)


def _call(name: str) -> str:
    return _SYMBOLS.get(name, f"tb.{name}({{0}}, {{1}})" if OPS[name].kind == "binary" else f"tb.{name}({{0}})")


def _kernel(name: str, dtype: str, calls: dict[str, str], boolean: bool) -> str:
    outputs = ", ".join(f"o_{n}: tb.Out[tb.{'i32' if boolean else dtype}, M, N]" for n in calls)
    body = "\n".join(
        f"    o_{n}.tiles(BM, BN)[i, j] = ({text.format('a', 'b')}){'.to(tb.i32)' if boolean else ''}"
        for n, text in calls.items()
    )
    return f"""
@tb.kernel
def {name}(
    x: tb.In[tb.{dtype}, M, N], y: tb.In[tb.{dtype}, M, N], {outputs}, *, BM: tb.Const = 3, BN: tb.Const = 40,
):
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    a, b = x.tiles(BM, BN)[i, j], y.tiles(BM, BN)[i, j]
{body}
"""


_CASTS = """
@tb.kernel
def casts(
    f: tb.In[tb.f32, M, N], i: tb.In[tb.i32, M, N], u: tb.In[tb.u32, M, N], i_f: tb.Out[tb.i32, M, N],
    u_f: tb.Out[tb.u32, M, N], f_i: tb.Out[tb.f32, M, N], f_u: tb.Out[tb.f32, M, N], f_b: tb.Out[tb.f32, M, N],
    b_f: tb.Out[tb.i32, M, N], *, BM: tb.Const = 2, BN: tb.Const = 37,
):
    r, c = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    F, I, U = f.tiles(BM, BN)[r, c], i.tiles(BM, BN)[r, c], u.tiles(BM, BN)[r, c]
    i_f.tiles(BM, BN)[r, c] = F.to(tb.i32)
    u_f.tiles(BM, BN)[r, c] = tb.abs(F).to(tb.u32)
    f_i.tiles(BM, BN)[r, c] = I.to(tb.f32)
    f_u.tiles(BM, BN)[r, c] = U.to(tb.f32)
    f_b.tiles(BM, BN)[r, c] = (I > 0).to(tb.f32)
    b_f.tiles(BM, BN)[r, c] = F.to(tb.bool).to(tb.i32)
"""
