"""The stamp of a finished build: the digest of its inputs, and the files it made, so that a no-op build is one look."""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import tilebuild
from tilebuild.build import sealed
from tilebuild.frontend.modules import find_modules, find_texts
from tilebuild.manifest import FILE_NAME, Manifest
from tilebuild.toolchain import description

COMPLETE = "complete.json"
PROBES = "probes.json"
_GENERATOR = (
    "diagnostics.py",
    "manifest.py",
    "optable.py",
    "build",
    "frontend",
    "ir",
    "lang/functions.py",
    "lang/library.py",
    "oracle",
    "plan",
    "targets",
    "toolchain",
)


@functools.cache
def _own_digest() -> str:
    """Over the text of everything in tilebuild that decides what a build makes."""
    root = Path(tilebuild.__file__).parent
    h = hashlib.sha256()
    for file in sorted(description.built_in().glob("*.yaml")):  # flags, and which versions fit
        h.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    for name in _GENERATOR:
        path = root / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.suffix in (".py", ".h", ".c"):
                h.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return h.hexdigest()


def generator_digest(targets: Sequence[object]) -> str:
    """Own code and the modules of the targets' plug-ins."""
    h = hashlib.sha256(_own_digest().encode())
    for target in targets:
        file = importlib.import_module(type(target).__module__).__file__
        h.update(Path(file).read_bytes() if file else repr(target).encode())
    return h.hexdigest()


def sources_digest(project: Path, kernels: Sequence[str]) -> str:
    """Over every Python and MLIR file of the packages that kernels may be in or import from."""
    h = hashlib.sha256()
    files = set(find_texts(project, kernels).values())
    for module, file in find_modules(project, kernels).items():
        depth = module.count(".") + (file.name == "__init__.py")  # of folders that are packages
        files |= set(file.parents[depth - 1].rglob("*.py")) if depth else {file}
    for file in sorted(files):
        h.update(file.relative_to(project).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return h.hexdigest()


def load(folder: Path, key: str, tools: Sequence[str] | None) -> tuple[Manifest, Mapping[str, Path]] | None:
    """The manifest and the files of the build with this key, if every file still has its recorded bytes, and if `tools`
    made them: the compilers' fingerprints, or None where they are not here to be compared."""
    kept = sealed.read(folder / COMPLETE, key)
    if kept is None or (tools is not None and kept["tools"] != list(tools)):
        return None
    files: dict[str, Path] = {}
    manifest: Manifest | None = None
    for name, (relative, digest) in kept["files"].items():
        files[name] = folder / relative
        data = files[name].read_bytes() if files[name].is_file() else b""
        if hashlib.sha256(data).hexdigest() != digest:
            return None
        if name.endswith(f"/{FILE_NAME}"):
            manifest = json.loads(data)
    return None if manifest is None else (manifest, files)


def save(folder: Path, key: str, tools: Sequence[str], files: Mapping[str, Path]) -> None:
    """Record a finished build, and the fingerprints of its compilers."""
    listed = {
        name: [path.relative_to(folder).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()]
        for name, path in files.items()
    }
    sealed.write(folder / COMPLETE, key, {"tools": list(tools), "files": listed})


def clear(folder: Path) -> None:
    (folder / COMPLETE).unlink(missing_ok=True)
