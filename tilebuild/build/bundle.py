"""Stages what goes into the wheel: libraries, plans, the manifest and the locator module."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import tilebuild
from tilebuild.build.records import Record, VariantRecord
from tilebuild.frontend.discover import KernelDef
from tilebuild.manifest import FILE_NAME, SCHEMA, BuildEntry, KernelEntry, LibraryEntry, Manifest
from tilebuild.plan import serialize
from tilebuild.plan.expr import parse_predicates
from tilebuild.targets.api import Artifact, Job, Target

LOCATOR = '"""Kernels built by tilebuild: `manifest.json` says what is here."""\n'


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
    made: Sequence[tuple[str, Target, Sequence[Record]]],
    libraries: Sequence[tuple[str, Job, Artifact]],
) -> tuple[Manifest, Mapping[str, Path]]:
    """The manifest, and wheel path -> file for everything under `<package>/_kernels/`."""
    inside = f"{package.replace('.', '/')}/_kernels"
    files: dict[str, Path] = {}

    def add(name: str, data: bytes) -> None:
        path = folder / "wheel" / name
        write_if_changed(path, data)
        files[f"{inside}/{name}"] = path

    entries: dict[str, LibraryEntry] = {}
    for key, job, artifact in libraries:
        data = (folder / artifact.output).read_bytes()
        add(artifact.file, data)
        entries[key] = {
            "target": key.split(":")[0],
            "arch": job.arch,
            "file": artifact.file,
            "sha256": hashlib.sha256(data).hexdigest(),
            "bytes": len(data),
            "levels": list(artifact.levels),
            "compilers": [
                {"name": t.name, "version": t.version, "flags": list(artifact.flags[t.identity])} for t in job.tools
            ],
        }
    builds: dict[tuple[int, int], list[BuildEntry]] = {}
    for key, target, records in made:
        for number, record in enumerate(records):
            for variant in record.variants:
                text = serialize.dumps(variant.plan).encode()
                name = f"plans/{key.replace(':', '-')}/{variant.plan.variant}.json.gz"
                add(name, gzip.compress(text, 9, mtime=0))
                builds.setdefault((number, variant.index), []).append(_build_entry(key, target, variant, name, text))
    manifest: Manifest = {
        "schema": SCHEMA,
        "tilebuild": tilebuild.__version__,
        "package": package,
        "kernels": [_kernel_entry(k, n, made, builds) for n, k in enumerate(kernels)],
        "libraries": entries,
    }
    add(FILE_NAME, (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode())
    add("__init__.py", LOCATOR.encode())
    return manifest, files


def _build_entry(key: str, target: Target, variant: VariantRecord, name: str, text: bytes) -> BuildEntry:
    plan = variant.plan
    return {
        "target": plan.target,
        "arch": plan.arch,
        "library": key,
        "entry": plan.variant,
        "slots": target.slots(plan),
        "grid": [str(e) for e in plan.launch.grid],
        "plan": name,
        "plan_sha256": hashlib.sha256(text).hexdigest(),
        "resources": {f"{space}_bytes": size for space, size in sorted(plan.scratch().items())},
        "verdict": variant.verdict,
    }


def _kernel_entry(
    kernel: KernelDef,
    number: int,
    made: Sequence[tuple[str, Target, Sequence[Record]]],
    builds: Mapping[tuple[int, int], list[BuildEntry]],
) -> KernelEntry:
    # what a variant's guard says is decided by the choice of the variant; the rest must hold for every call
    guards = [{str(p) for p in parse_predicates(v.when)} if v.when else set() for v in kernel.variants]
    facts = {
        str(f)
        for _, _, records in made
        for v in records[number].variants
        for f in v.plan.contract.facts
        if str(f) not in guards[v.index]
    }
    return {
        "module": kernel.module,
        "name": kernel.name,
        "file": kernel.file,
        "line": kernel.span.line,
        "sha256": kernel.digest,
        "dims": list(kernel.dims),
        "parameters": [
            {"name": p.name, "mode": p.mode, "dtype": p.dtype, "dims": [str(d) for d in p.dims]}
            for p in kernel.parameters
        ],
        "requires": sorted(facts),
        "otherwise": kernel.otherwise,
        "variants": [
            {"consts": dict(v.consts), "when": v.when, "target": v.target, "builds": builds.get((number, i), [])}
            for i, v in enumerate(kernel.variants)
        ],
    }
