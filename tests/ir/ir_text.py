"""A kernel with every operation of the dialect, as text; and text read back as a function."""

from __future__ import annotations

from pathlib import Path

from xdsl.context import Context
from xdsl.dialects.builtin import Builtin
from xdsl.parser import Parser

from tilebuild.frontend.discover import discover
from tilebuild.frontend.library import library
from tilebuild.frontend.python import lower_kernel
from tilebuild.ir.dialect import FuncOp, Tile

FASTNORM = Path(__file__).parents[2] / "examples/fastnorm"
EVERYTHING = """\
import tilebuild as tb

M, N, K = tb.dims("M N K")


@tb.kernel
def everything(x: tb.In[tb.f32, M, N], v: tb.In[tb.f32, N], q: tb.In[tb.f32, K, M, N], y: tb.Out[tb.f32, M, N],
               h: tb.InOut[tb.f32, N], z: tb.InOut[tb.f32, M, N], s: tb.f32, *, BM: tb.Const = 4, BN: tb.Const = 8):
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN)); tb.assume(i < M)
    X, A = x.tiles(BM, BN), q[0].T.tiles(BN, BM)
    m = tb.full((BM, 1), s)
    for c in tb.pipeline(tb.cdiv(N, BN), stages=2):
        m = tb.maximum(m, X[i, c].max(1))
    t = tb.where(X[i, j] > 0.0, X[i, j].fill(1.0), -m) + A[j, i].T
    u = (tb.iota(BN) + j * BN).to(tb.f32)
    p = tb.slice(t.fill(0.0), (0, 4), (BM, 4))
    t = t + tb.reshape(tb.concat(p, tb.interleave(p, p)).sum(0), (4, 3)).sum(1)
    t = t + tb.dot(t, t.T).sum(1) + v.col.tiles(BN, 1)[j, 0].T
    t = t + x.window((i * BM - 1, j * BN), (BM, BN), stride=(1, 2), fill=0.5)
    k = t.to(tb.i32)
    t = tb.gather(v, k, oob="zero") + tb.gather_rows(x.tiles(1, BN), k.max(1), j, oob="clamp")
    tb.scatter(h, k, t, mode="add", oob="drop")
    tb.atomic_add(z.tiles(BM, BN), (i, j), t)
    y.tiles(BM, BN)[i, j] = tb.exp(t) * u * N
"""


def read(text: str) -> FuncOp:
    """A function from its text; raises xDSL's ParseError."""
    context = Context()
    context.load_dialect(Builtin)
    context.load_dialect(Tile)
    func = Parser(context, text).parse_op()
    assert isinstance(func, FuncOp)
    return func


def functions(project: Path) -> list[FuncOp]:
    """L1 of every kernel variant of a project."""
    return [lower_kernel(k, v, f"{k.name}_{i}", library()) for k in discover(project) for i, v in enumerate(k.variants)]


def everything(folder: Path) -> FuncOp:
    package = folder / "src" / "pkg"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "kernels.py").write_text(EVERYTHING)
    (func,) = functions(folder)
    return func
