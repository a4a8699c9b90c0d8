"""Stages what goes into the wheel: libraries, plans, the manifest and the locator module."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import tilebuild
from tilebuild.build.records import Record, VariantRecord
from tilebuild.frontend.discover import KernelDef, VariantDef
from tilebuild.manifest import (
    FILE_NAME,
    SCHEMA,
    BuildEntry,
    KernelEntry,
    LibraryEntry,
    Manifest,
    VariantEntry,
    VerdictEntry,
    dumps,
)
from tilebuild.plan import serialize
from tilebuild.plan.expr import parse_predicates
from tilebuild.plan.slots import slots
from tilebuild.targets.api import Artifact, Job, Target

LOCATOR = '"""Kernels built by tilebuild: `manifest.json` says what is here."""\n'


@dataclass(frozen=True)
class Library:
    """What one target's graph made: the job, the artifact, and of each variant what the compilers report and the
    verdict on its final code."""

    key: str
    target: Target
    job: Job
    artifact: Artifact
    records: Sequence[Record]
    resources: Mapping[str, Mapping[str, int]]
    verdicts: Mapping[str, VerdictEntry]


def write_if_changed(path: Path, data: bytes) -> None:
    """Keep the time stamp of a file that already holds these bytes: nothing is rebuilt for it."""
    if path.is_file() and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def stage(
    folder: Path,
    package: str,
    kernels: Sequence[KernelDef],
    libraries: Sequence[Library],
) -> tuple[Manifest, Mapping[str, Path]]:
    """The manifest, and wheel path -> file for everything under `<package>/_kernels/`."""
    inside = f"{package.replace('.', '/')}/_kernels"
    files: dict[str, Path] = {}

    def add(name: str, data: bytes) -> None:
        path = folder / "wheel" / name
        write_if_changed(path, data)
        files[f"{inside}/{name}"] = path

    entries: dict[str, LibraryEntry] = {}
    for library in libraries:
        job, artifact = library.job, library.artifact
        data = (folder / artifact.output).read_bytes()
        add(artifact.file, data)
        entries[library.key] = {
            "target": library.target.name,
            "arch": job.arch,
            "file": artifact.file,
            "sha256": hashlib.sha256(data).hexdigest(),
            "bytes": len(data),
            "levels": list(artifact.levels),
            "compilers": [
                {"name": t.name, "version": t.version, "flags": list(artifact.flags.get(t.identity, ()))}
                for t in job.tools
            ],
        }
    builds: dict[tuple[int, int], list[BuildEntry]] = {}
    for library in libraries:
        for number, record in enumerate(library.records):
            for variant in record.variants:
                text = serialize.dumps(variant.plan).encode()
                name = f"plans/{library.key.replace(':', '-')}/{variant.plan.variant}.json.gz"
                add(name, gzip.compress(text, 9, mtime=0))
                builds.setdefault((number, variant.index), []).append(_build_entry(library, variant, name, text))
    manifest: Manifest = {
        "schema": SCHEMA,
        "tilebuild": tilebuild.__version__,
        "package": package,
        "kernels": [_kernel_entry(k, n, libraries, builds) for n, k in enumerate(kernels)],
        "libraries": entries,
    }
    add(FILE_NAME, dumps(manifest))
    add("__init__.py", LOCATOR.encode())
    # in the order of a wheel's members, which does not depend on that of the targets
    return manifest, dict(sorted(files.items(), key=lambda item: PurePosixPath(item[0]).parts))


def _build_entry(library: Library, variant: VariantRecord, name: str, text: bytes) -> BuildEntry:
    plan = variant.plan
    scratch = {f"{space}_bytes": size for space, size in plan.scratch().items()}
    return {
        "target": plan.target,
        "arch": plan.arch,
        "library": library.key,
        "entry": plan.variant,
        "slots": slots(plan),
        "grid": [str(e) for e in plan.launch.grid],
        "plan": name,
        "plan_sha256": hashlib.sha256(text).hexdigest(),
        "resources": {**scratch, **library.resources.get(plan.variant, {})},
        "verdict": library.verdicts.get(plan.variant, variant.verdict),
    }


def _kernel_entry(
    kernel: KernelDef,
    number: int,
    libraries: Sequence[Library],
    builds: Mapping[tuple[int, int], list[BuildEntry]],
) -> KernelEntry:
    # what a variant's guard says is decided by the choice of the variant; the rest must hold for every call
    guards = [{str(p) for p in parse_predicates(v.when)} if v.when else set() for v in kernel.variants]
    facts = {
        str(f)
        for library in libraries
        for v in library.records[number].variants
        for f in v.plan.contract.facts
        if str(f) not in guards[v.index]
    }
    entry: KernelEntry = {
        "module": kernel.module,
        "name": kernel.name,
        "file": kernel.file,
        "line": kernel.span.line,
        "sources": list(kernel.sources),
        "sha256": kernel.digest,
        "dims": list(kernel.dims),
        "parameters": [
            {"name": p.name, "mode": p.mode, "dtype": p.dtype, "dims": [str(d) for d in p.dims]}
            for p in kernel.parameters
        ],
        "requires": sorted(facts),
        "otherwise": kernel.otherwise,
        "variants": [_variant_entry(v, builds.get((number, i), [])) for i, v in enumerate(kernel.variants)],
    }
    if kernel.statics:
        entry["statics"] = {name: list(values) for name, values in kernel.statics}
    return entry


def _variant_entry(v: VariantDef, builds: list[BuildEntry]) -> VariantEntry:
    entry: VariantEntry = {"consts": dict(v.consts), "when": v.when, "target": v.target, "builds": builds}
    if v.statics:
        entry["statics"] = dict(v.statics)
    return entry
