"""The files of a project that may hold kernels. Imports no parser: a build with nothing to do looks for them too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tilebuild.diagnostics import Diagnostic, Span, TilebuildError

_SKIPPED = {"tests", "test", "docs", "build", "dist", "node_modules", "examples", "benchmarks"}


def find_modules(project: Path, kernels: Sequence[str]) -> dict[str, Path]:
    """Module name -> file, for the configured files and folders, or for every package of the project.

    A folder's modules belong to the package that its `__init__.py` files make it part of.
    """
    return _find(project, kernels, ".py")


def find_texts(project: Path, kernels: Sequence[str]) -> dict[str, Path]:
    """The same for `.mlir` files: one is called as a module beside it would be."""
    return _find(project, kernels, ".mlir")


def _find(project: Path, kernels: Sequence[str], suffix: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for root in kernels or (["src"] if (project / "src").is_dir() else ["."]):
        path = project / root
        if not path.exists():
            raise TilebuildError(
                Diagnostic(
                    "E103",
                    f"tool.tilebuild.kernels names {root!r}, which is not in the project",
                    Span("pyproject.toml", 1),
                    fix="name files or folders relative to pyproject.toml",
                )
            )
        for file in [path] if path.is_file() else files(path, suffix):
            if file.suffix == suffix:
                found[module_name(file)] = file
    return dict(sorted(found.items()))


def files(folder: Path, suffix: str) -> Iterator[Path]:
    """The files of a kind in a folder and the folders in it, but for those that hold no package's code."""
    in_package = (folder / "__init__.py").is_file()
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            skipped = entry.name in _SKIPPED and not in_package
            circular = entry.is_symlink() and folder.resolve().is_relative_to(entry.resolve())
            if not (skipped or circular or entry.name == "__pycache__" or entry.name.startswith(".")):
                yield from files(entry, suffix)
        elif entry.suffix == suffix and entry.is_file():
            yield entry


def module_name(file: Path) -> str:
    """The import name of a file, by the packages that it lies in."""
    parts = [] if file.name == "__init__.py" else [file.stem]
    folder = file.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    return ".".join(parts)
