"""Packages with one `.mlir` file, and what the front end says about it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import kernel_source

from tilebuild.diagnostics import Diagnostic, TilebuildError
from tilebuild.frontend.discover import discover
from tilebuild.frontend.lowering import lower
from tilebuild.ir.dialect import FuncOp
from tilebuild.ir.verifier import verify

FILE = "src/pkg/made.mlir"


def write(root: Path, text: str | bytes) -> None:
    folder = root / "src" / "pkg"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "__init__.py").touch()
    (folder / "made.mlir").write_bytes(text if isinstance(text, bytes) else text.encode())


def lowered(root: Path) -> list[FuncOp]:
    """L1 of every variant of the package's kernels; raises `TilebuildError`."""
    return [lower(k, v, f"{k.name}_{n}") for k in discover(root) for n, v in enumerate(k.variants)]


def findings(root: Path, text: str | bytes) -> list[Diagnostic]:
    write(root, text)
    try:
        return [d for func in lowered(root) for d in verify(func)]
    except TilebuildError as e:
        return list(e.diagnostics)


def first_finding(root: Path, text: str) -> Diagnostic:
    """The first thing that is wrong with a file, at the «marked» place; all others have its code."""
    source, place = kernel_source.marked(text)
    found, *others = findings(root, source)
    assert {d.code for d in others} <= {found.code}
    if place is not None:
        expected = dataclasses.replace(place, file=FILE)
        assert found.span == expected, f"{found.span!r} is not {expected!r}\n{found.render(root)}"
    return found
