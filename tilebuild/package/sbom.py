"""The software bill of materials of a wheel's kernels: CycloneDX 1.6, in `dist-info/sboms` (PEP 770).

It lists the libraries, the kernels in them with the flags that each was compiled with, and, as the formulation, the
compilers. The same build gives the same bytes: there is no time and no random number in it.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

from tilebuild.manifest import CompilerEntry, LibraryEntry, Manifest

FILE_NAME = "sboms/tilebuild.cdx.json"
# for names of the form that the section "serialNumber" of the specification asks for (RFC 4122, version 5)
_NAMESPACE = uuid.UUID("6e0b0d3f-6d0f-5c55-9d5e-6a3f3a6d1c7a")


def text(manifest: Manifest, name: str, version: str) -> bytes:
    """The document for the distribution `name` (as in its metadata) of a version."""
    package = f"pkg:pypi/{name.lower().replace('_', '-')}@{version}"
    compilers = {_ref(c): _compiler(c) for entry in manifest["libraries"].values() for c in entry["compilers"]}
    libraries = [_library(key, entry) for key, entry in sorted(manifest["libraries"].items())]
    kernels = _kernels(manifest)
    document: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {"type": "library", "bom-ref": package, "name": name, "version": version, "purl": package},
            "tools": {
                "components": [{"type": "application", "name": "tilebuild", "version": manifest["tilebuild"]}],
            },
        },
        "components": libraries,
        "dependencies": [
            {"ref": package, "dependsOn": sorted(str(entry["bom-ref"]) for entry in libraries)},
            *(
                {"ref": entry["bom-ref"], "dependsOn": sorted(str(k["bom-ref"]) for k in kernels[entry["name"]])}
                for entry in libraries
            ),
        ],
        "formulation": [{"bom-ref": "formulation", "components": [compilers[ref] for ref in sorted(compilers)]}],
    }
    for entry in libraries:
        entry["components"] = kernels[entry["name"]]
    digest = json.dumps(document, sort_keys=True)
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(_NAMESPACE, digest)}"
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


def _library(key: str, entry: LibraryEntry) -> dict[str, Any]:
    return {
        "type": "library",
        "bom-ref": f"library:{key}",
        "name": entry["file"],
        "description": f"kernels for {entry['target']} {entry['arch']}",
        "hashes": [{"alg": "SHA-256", "content": entry["sha256"]}],
        "properties": [
            {"name": "tilebuild:target", "value": entry["target"]},
            {"name": "tilebuild:arch", "value": entry["arch"]},
        ],
    }


def _kernels(manifest: Manifest) -> dict[str, list[dict[str, Any]]]:
    """By library file: the kernels in it, with source digest, verdicts, compilers and flags."""
    found: dict[str, dict[str, dict[str, Any]]] = {e["file"]: {} for e in manifest["libraries"].values()}
    verdicts: dict[str, set[str]] = {}
    # not by `read.builds`, which brings the plan's model: a build with nothing to do writes this, too
    for kernel, build in ((k, b) for k in manifest["kernels"] for v in k["variants"] for b in v["builds"]):
        entry = manifest["libraries"][build["library"]]
        name = f"{kernel['module']}.{kernel['name']}"
        ref = f"kernel:{build['library']}:{name}"
        verdicts.setdefault(ref, set()).add(build["verdict"]["outcome"])
        found[entry["file"]][ref] = {
            "type": "library",
            "bom-ref": ref,
            "name": name,
            "properties": [
                {"name": "tilebuild:source", "value": kernel["file"]},
                {"name": "tilebuild:source:sha256", "value": kernel["sha256"]},
                *({"name": f"tilebuild:compiler:{_ref(c)}", "value": " ".join(c["flags"])} for c in entry["compilers"]),
            ],
        }
    for components in found.values():
        for ref, component in components.items():
            component["properties"].append({"name": "tilebuild:verdict", "value": " ".join(sorted(verdicts[ref]))})
    return {file: list(components.values()) for file, components in found.items()}


def _ref(compiler: CompilerEntry) -> str:
    return f"{compiler['name']}@{compiler['version']}"


def _compiler(compiler: CompilerEntry) -> dict[str, Any]:
    return {
        "type": "application",
        "bom-ref": f"compiler:{_ref(compiler)}",
        "name": compiler["name"],
        "version": compiler["version"],
        "purl": f"pkg:generic/{_ref(compiler)}",
    }
