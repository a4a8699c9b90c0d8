"""Kernels for the tests of the pto target: from Python text, or fastnorm's, lowered, placed and emitted."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from tilebuild.frontend.discover import KernelDef, discover
from tilebuild.frontend.library import library
from tilebuild.frontend.python import lower_kernel
from tilebuild.plan.model import Plan
from tilebuild.targets.api import Source
from tilebuild.targets.pto.emit import emit
from tilebuild.targets.pto.lower import lower
from tilebuild.targets.pto.place import place

FASTNORM = Path(__file__).resolve().parents[3] / "examples" / "fastnorm"
ARCHITECTURES = ("a2a3", "a5")


@dataclass(frozen=True)
class Built:
    """One kernel on one architecture."""

    name: str
    arch: str
    plans: tuple[Plan, ...]
    source: Source

    @property
    def text(self) -> str:
        return self.source.text


@functools.cache
def fastnorm(arch: str) -> dict[str, Built]:
    """Every kernel of fastnorm, by name."""
    return {k.name: build(k, arch) for k in discover(FASTNORM, ("src/fastnorm/kernels",))}


def build(kernel: KernelDef, arch: str) -> Built:
    variants = [v for v in kernel.variants if v.target in ("", "pto")]
    plans = [
        place(lower(lower_kernel(kernel, v, f"{kernel.name}_{i}", library()), arch)) for i, v in enumerate(variants)
    ]
    return Built(kernel.name, arch, tuple(plans), emit(plans))


def kernel(tmp: Path, body: str, arch: str = "a2a3") -> Built:
    """The one kernel of a module's text, which follows `import tilebuild as tb`."""
    folder = tmp / "src" / "p"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "__init__.py").write_text("")
    (folder / "k.py").write_text("import tilebuild as tb\n" + body)
    (found,) = discover(tmp, ("src/p",))
    return build(found, arch)
