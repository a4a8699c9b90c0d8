"""A kernel set: what one CI job made of a project's kernels, in a directory that another job can take up.

kernel-set.json                    whose kernels these are, and the digest of every file
files/<package>/_kernels/...       as in a wheel: libraries, plans, manifest
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tilebuild.build import config_toml
from tilebuild.build.config import Config
from tilebuild.build.driver import KernelBuild
from tilebuild.diagnostics import Diagnostic, TilebuildError
from tilebuild.manifest import FILE_NAME, Manifest
from tilebuild.manifest import SCHEMA as MANIFEST_SCHEMA
from tilebuild.package.archive import Wheel
from tilebuild.targets import api

DESCRIPTION = "kernel-set.json"
SCHEMA = 1
_AGAIN = "make it again: tilebuild build --output"


@dataclass(frozen=True)
class KernelSet:
    """`files` are those in `_kernels`, by their path there. `version` is empty where the project computes it; `machine`
    is that of its host code, empty where there is none; `order` are the project's targets and `layout` its setting
    `wheel`, both empty for the kernels of a wheel."""

    place: str
    project: str
    version: str
    machine: str
    order: tuple[str, ...]
    layout: str
    manifest: Manifest
    files: Mapping[str, bytes]


def write(project: Path, config: Config, built: KernelBuild, folder: Path) -> None:
    """Writes a build as a kernel set. `config` is that of the project without the choice of targets for this build.

    Raises `TilebuildError` (E745) where the directory holds something else.
    """
    if folder.exists() and not (folder / DESCRIPTION).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise TilebuildError(
            Diagnostic(
                "E745", f"{folder} is there already and holds no kernel set", fix="name a new or empty directory"
            )
        )
    shutil.rmtree(folder / "files", ignore_errors=True)
    inside = f"{built.package.replace('.', '/')}/_kernels/"
    digests = {}
    for name, file in built.files.items():
        target = folder / "files" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        data = file.read_bytes()
        target.write_bytes(data)
        digests[name.removeprefix(inside)] = hashlib.sha256(data).hexdigest()
    table: dict[str, Any] = config_toml.read(project).data.get("project", {})
    description = {
        "schema": SCHEMA,
        "project": normal(str(table.get("name", built.package))),
        "version": str(table.get("version", "")),
        "package": built.package,
        "machine": _machine(built.manifest),
        "order": [str(spec) for spec in config.targets],
        "layout": config.wheel,
        "files": digests,
    }
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read(folder: Path) -> KernelSet:
    """A kernel set with all of its files checked; raises `TilebuildError` (E743 altered, E744 not a kernel set)."""
    try:
        said = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        schema = said["schema"]
        if schema != SCHEMA:
            raise _not_a_set(folder, f"its schema is {schema!r}, and this version reads {SCHEMA}")
        inside = folder / "files" / Path(*str(said["package"]).split(".")) / "_kernels"
        listed: dict[str, str] = dict(said["files"])
        there = {file.relative_to(inside).as_posix() for file in inside.rglob("*") if file.is_file()}
        if there != listed.keys():
            extra, gone = sorted(there - listed.keys()), sorted(listed.keys() - there)
            facts = [*(f"{name} is there and not listed" for name in extra), *(f"{name} is missing" for name in gone)]
            raise _altered(folder, "its files are not those that were written", facts)
        files = {name: (inside / name).read_bytes() for name in listed}
        for name, digest in listed.items():
            found = hashlib.sha256(files[name]).hexdigest()
            if found != digest:
                raise _altered(
                    folder, f"{name} was altered", [f"its sha256 is {found}", f"{DESCRIPTION} says {digest}"]
                )
        return _checked(
            KernelSet(
                str(folder),
                str(said["project"]),
                str(said["version"]),
                str(said["machine"]),
                tuple(map(str, said["order"])),
                str(said["layout"]),
                json.loads(files[FILE_NAME]),
                files,
            )
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise _not_a_set(folder, f"{type(e).__name__}: {e}") from None


def of_wheel(wheel: Wheel) -> KernelSet | None:
    """The kernels that a wheel holds already, or None; raises `TilebuildError` (E743, E744)."""
    name, version = str(wheel.metadata["Name"]), str(wheel.metadata["Version"])
    found = [m.filename for m in wheel.members if m.filename.endswith(f"/_kernels/{FILE_NAME}")]
    if not found:
        return None
    if len(found) > 1:
        raise TilebuildError(Diagnostic("E744", f"{wheel.path} has more than one manifest: {', '.join(found)}"))
    inside = found[0].removesuffix(FILE_NAME)
    names = [m.filename for m in wheel.members if m.filename.startswith(inside) and not m.is_dir()]
    files = {name.removeprefix(inside): wheel.read(name) for name in names}
    try:
        manifest: Manifest = json.loads(files[FILE_NAME])
        return _checked(KernelSet(str(wheel.path), normal(name), version, wheel.machine, (), "", manifest, files))
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise _not_a_set(wheel.path, f"{type(e).__name__}: {e}") from None


def normal(name: str) -> str:
    """A distribution's name as the index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _machine(manifest: Manifest) -> str:
    installed = api.installed()
    machines = {
        machine
        for entry in manifest["libraries"].values()
        for arch, machine in installed[entry["target"]].machines
        if arch == entry["arch"]
    }
    if len(machines) > 1:
        listed = " and ".join(sorted(machines))
        fix = "build one set for each machine, with --target"
        raise TilebuildError(Diagnostic("E745", f"a kernel set cannot hold host code of {listed}", fix=fix))
    return next(iter(machines), "")


def _checked(found: KernelSet) -> KernelSet:
    """Libraries and plans have the digests of the manifest, too."""
    if found.manifest["schema"] != MANIFEST_SCHEMA:
        fact = f"its manifest's schema is {found.manifest['schema']!r}, and this version reads {MANIFEST_SCHEMA}"
        raise _not_a_set(Path(found.place), fact)
    for name, said, data in _digests(found):
        digest = hashlib.sha256(data).hexdigest()
        if digest != said:
            facts = [f"its sha256 is {digest}", f"the manifest says {said}"]
            raise _altered(Path(found.place), f"{name} is not the file that was built", facts)
    return found


def _digests(found: KernelSet) -> Iterator[tuple[str, str, bytes]]:
    for entry in found.manifest["libraries"].values():
        yield entry["file"], entry["sha256"], found.files[entry["file"]]
    for kernel in found.manifest["kernels"]:
        for variant in kernel["variants"]:
            for build in variant["builds"]:
                try:
                    text = gzip.decompress(found.files[build["plan"]])
                except (OSError, EOFError, zlib.error):
                    text = b""
                yield build["plan"], build["plan_sha256"], text


def _not_a_set(folder: Path, why: str) -> TilebuildError:
    return TilebuildError(Diagnostic("E744", f"{folder} is no kernel set: {why}", fix=_AGAIN))


def _altered(folder: Path, what: str, facts: list[str]) -> TilebuildError:
    notes = tuple((None, fact) for fact in facts)
    return TilebuildError(Diagnostic("E743", f"{folder}: {what} after it was built", notes=notes, fix=_AGAIN))
