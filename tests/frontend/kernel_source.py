"""Kernel packages written for one test, and what the front end says about them."""

from __future__ import annotations

from pathlib import Path

from tilebuild.diagnostics import Diagnostic, Span, TilebuildError
from tilebuild.frontend.discover import discover
from tilebuild.frontend.library import library
from tilebuild.frontend.python import lower_kernel
from tilebuild.ir.dialect import FuncOp
from tilebuild.ir.verifier import verify

FILE = "src/pkg/kernels.py"
_HEAD = """\
import tilebuild as tb

M, N, K = tb.dims("M N K")


"""
_KERNEL = """\
@tb.kernel
def k(x: tb.In[tb.f32, M, N], v: tb.In[tb.f32, N], n: tb.In[tb.i32, M, N], z: tb.InOut[tb.f32, M, N],
      q: tb.In[tb.f32, K, M, N], y: tb.Out[tb.f32, M, N], s: tb.f32, *, BM: tb.Const = 4, BN: tb.Const = 8):
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    X, Y, V, Z = x.tiles(BM, BN), y.tiles(BM, BN), v.tiles(BN), z.tiles(BM, BN)
"""


def in_file(text: str) -> str:
    """A file with the usual import and dimensions."""
    return _HEAD + text


def in_kernel(body: str, helpers: str = "") -> str:
    """A file with one kernel of this body; it has arrays x, v, n, z, q and y, ids i and j, spaces X, V, Y and Z."""
    return _HEAD + helpers + _KERNEL + "".join(f"    {line}\n" for line in body.splitlines())


def marked(text: str) -> tuple[str, Span | None]:
    """The text without its «...» marks, and the span that they marked (columns in UTF-8 bytes)."""
    if "«" not in text:
        return text, None
    before, rest = text.split("«")
    inside, after = rest.split("»")

    def place(upto: str) -> tuple[int, int]:
        return upto.count("\n") + 1, len(upto.rpartition("\n")[2].encode())

    return before + inside + after, Span(FILE, *place(before), *place(before + inside))


def write(root: Path, text: str | bytes, **others: str) -> None:
    """A package `pkg` whose module `kernels` is the text; `others` are modules beside it."""
    folder = root / "src" / "pkg"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "__init__.py").touch()
    (folder / "kernels.py").write_bytes(text if isinstance(text, bytes) else text.encode())
    for name, other in others.items():
        (folder / f"{name}.py").write_text(other, encoding="utf-8")


def lowered(root: Path) -> list[FuncOp]:
    """L1 of every variant of the package; raises `TilebuildError`."""
    return [
        lower_kernel(kernel, variant, f"{kernel.name}_{index}", library())
        for kernel in discover(root)
        for index, variant in enumerate(kernel.variants)
    ]


def findings(root: Path) -> list[Diagnostic]:
    """Everything that discovery, lowering and verification say."""
    try:
        return [d for func in lowered(root) for d in verify(func)]
    except TilebuildError as e:
        return list(e.diagnostics)


def only_finding(root: Path, text: str, **others: str) -> Diagnostic:
    """The one thing that is wrong with a file, at the «marked» place."""
    source, expected = marked(text)
    write(root, source, **others)
    (found,) = findings(root)
    assert expected is None or found.span == expected, f"{found.span!r} is not {expected!r}\n{found.render(root)}"
    return found
