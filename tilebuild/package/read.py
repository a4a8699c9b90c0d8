"""Finds built kernels again: in a wheel, a directory (a build's, an unpacked wheel's) or an installed package.

Nothing is imported or installed: a wheel is read as the archive that it is.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tilebuild.diagnostics import Diagnostic, TilebuildError
from tilebuild.manifest import FILE_NAME, SCHEMA, BuildEntry, KernelEntry, Manifest, VariantEntry
from tilebuild.plan.model import Plan
from tilebuild.plan.serialize import PlanReadError, loads

KERNELS = "_kernels"  # the folder in a package
STAGED = "wheel"  # the folder in a build directory


class UnreadableError(TilebuildError):
    """There is no wheel, build, package or plan that can be read at this place."""

    exit_code = 2


@dataclass(frozen=True)
class Built:
    """One manifest and the files beside it. `read` takes a path relative to the manifest's directory, `source` the
    path of a kernel's source file as the manifest has it, and gives None where that file is not at hand."""

    place: str
    manifest: Manifest
    read: Callable[[str], bytes]
    source: Callable[[str], str | None]

    def plan(self, build: BuildEntry) -> Plan:
        """The plan of a build; raises `UnreadableError` where it is missing or not a plan."""
        return read_plan(self.read(build["plan"]), f"{self.place}: {build['plan']}")


def builds(manifest: Manifest) -> Iterator[tuple[KernelEntry, VariantEntry, BuildEntry]]:
    """Every build of every variant of every kernel, in the manifest's order."""
    for kernel in manifest["kernels"]:
        for variant in kernel["variants"]:
            for build in variant["builds"]:
                yield kernel, variant, build


def read_plan(data: bytes, place: str) -> Plan:
    """A plan from JSON, gzip-compressed or not; raises `UnreadableError`."""
    try:
        text = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        return loads(text.decode())
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, PlanReadError) as e:
        raise UnreadableError(Diagnostic("E705", f"{place}: {e}")) from None


def open_built(place: str) -> Built:
    """The kernels of a wheel file, a directory or an installed package's import name.

    In a directory the manifest is looked for as `manifest.json`, then up to three levels down in `_kernels` (of a
    package) and in `wheel` (of a build directory; a project keeps that in `build/tilebuild`).
    Raises `UnreadableError`.
    """
    path = Path(place)
    if path.is_file():
        return _open_wheel(path)
    roots = [path] if path.is_dir() else _package_directories(place)
    found = [m for root in roots for m in _manifests(root)]
    if not found:
        kind = "directory" if path.is_dir() else "file, directory or installed package"
        where = f"{place}: there is no {KERNELS}/{FILE_NAME} in it" if roots else f"{place}: no such {kind}"
        raise UnreadableError(
            Diagnostic("E705", where, fix="name a wheel, a directory that `tilebuild build` wrote, or a package")
        )
    if len(found) > 1:
        raise UnreadableError(
            Diagnostic(
                "E705", f"{place}: has more than one build: {', '.join(map(str, found))}", fix="name one of them"
            )
        )
    return _open_directory(found[0].parent)


def _manifests(root: Path) -> list[Path]:
    if (root / FILE_NAME).is_file():
        return [root / FILE_NAME]
    patterns = [f"{'*/' * depth}{folder}/{FILE_NAME}" for folder in (KERNELS, STAGED) for depth in range(4)]
    return next((found for p in patterns if (found := sorted(root.glob(p)))), [])


def _package_directories(name: str) -> list[Path]:
    top, *rest = name.split(".")
    if not all(part.isidentifier() for part in (top, *rest)):
        return []
    spec = importlib.util.find_spec(top)  # of a top-level name: this imports nothing
    return [Path(p, *rest) for p in (spec.submodule_search_locations if spec else None) or []]


def _open_directory(directory: Path) -> Built:
    def read(name: str) -> bytes:
        try:
            return (directory / name).read_bytes()
        except OSError as e:
            raise UnreadableError(Diagnostic("E705", f"{directory}: {e}")) from None

    def source(name: str) -> str | None:
        # a package keeps its sources above `_kernels`; a build directory lies in the project, paths start there
        candidates = (_tail(parent, name) for parent in directory.resolve().parents)
        path = next((c for c in candidates if c), None)
        return path.read_text(encoding="utf-8") if path else None

    return Built(str(directory), _manifest(read(FILE_NAME), str(directory)), read, source)


def _tail(root: Path, name: str) -> Path | None:
    parts = PurePosixPath(name).parts
    return next((p for i in range(len(parts) - 1) if (p := root.joinpath(*parts[i:])).is_file()), None)


def _open_wheel(path: Path) -> Built:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as e:
        raise UnreadableError(Diagnostic("E705", f"{path}: not a wheel: {e}")) from None
    names = archive.namelist()
    manifests = [n for n in names if n.endswith(f"{KERNELS}/{FILE_NAME}")]
    if len(manifests) != 1:
        raise UnreadableError(Diagnostic("E705", f"{path}: has {len(manifests)} files {KERNELS}/{FILE_NAME}, not one"))
    root = manifests[0].rpartition("/")[0]

    def read(name: str) -> bytes:
        try:
            return archive.read(f"{root}/{name}")
        except (KeyError, zipfile.BadZipFile, zlib.error) as e:
            raise UnreadableError(Diagnostic("E705", f"{path}: {e}")) from None

    def source(name: str) -> str | None:
        parts = PurePosixPath(name).parts
        member = next((m for i in range(len(parts) - 1) if (m := "/".join(parts[i:])) in names), None)
        return archive.read(member).decode() if member else None

    return Built(str(path), _manifest(read(FILE_NAME), str(path)), read, source)


def _manifest(data: bytes, place: str) -> Manifest:
    try:
        manifest: Manifest = json.loads(data)
        schema = manifest["schema"]
        entries = list(builds(manifest)) if schema == SCHEMA else []
    except (ValueError, KeyError, TypeError) as e:
        raise UnreadableError(Diagnostic("E705", f"{place}: {FILE_NAME} is not a manifest: {e!r}")) from None
    if schema != SCHEMA:
        fact = f"{place}: the manifest's schema is {schema!r}, and this version reads {SCHEMA}"
        raise UnreadableError(Diagnostic("E705", fact, fix="read it with the version of tilebuild that made it"))
    if not entries:
        raise UnreadableError(Diagnostic("E705", f"{place}: there is no kernel in its {FILE_NAME}"))
    return manifest
