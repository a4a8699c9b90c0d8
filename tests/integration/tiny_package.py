"""A package with one kernel, which builds in a few seconds and is fine as it stands."""

from __future__ import annotations

from pathlib import Path

PYPROJECT = """\
[build-system]
requires = ["tilebuild"]
build-backend = "tilebuild.backend"

[project]
name = "tiny"
version = "1"

[tool.tilebuild]
targets = ["cpu"]
"""
KERNEL = """\
import tilebuild as tb

M, N = tb.dims("M N")


@tb.kernel
def k(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N], *, BM: tb.Const = 4, BN: tb.Const = 64):
    i = tb.program(tb.cdiv(M, BM))
    X, Y = x.tiles(BM, BN), y.tiles(BM, BN)
    for j in tb.range(tb.cdiv(N, BN)):
        Y[i, j] = X[i, j] * 2.0
"""


class Tiny:
    """A package of one kernel in `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.source = root / "src" / "tiny" / "kernels.py"
        self.source.parent.mkdir(parents=True)
        (self.source.parent / "__init__.py").touch()
        self.source.write_text(KERNEL)
        (root / "pyproject.toml").write_text(PYPROJECT)

    def edit(self, file: str, old: str, new: str) -> None:
        text = (self.root / file).read_text()
        assert text.count(old) == 1
        (self.root / file).write_text(text.replace(old, new))

    def files(self) -> dict[str, bytes]:
        """Every file of the sources."""
        return {str(f.relative_to(self.root)): f.read_bytes() for f in (self.root / "src").rglob("*") if f.is_file()}
