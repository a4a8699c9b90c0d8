"""The shape of `_kernels/manifest.json`: what a build writes and the runtime, the CLI and the loader read.

Plain data, standard library only. Paths are relative to the manifest, with forward slashes; digests are hex sha256.
"""

from __future__ import annotations

import json
from typing import TypedDict

SCHEMA = 1
FILE_NAME = "manifest.json"
EDITABLE = "editable.json"  # beside the manifest of an editable install: {"project": directory}


class ParameterEntry(TypedDict):
    """An array (`dims`: expressions over dimension names, outermost first) or a "scalar"."""

    name: str
    mode: str  # "in" | "out" | "inout" | "scalar"
    dtype: str
    dims: list[str]


class VerdictEntry(TypedDict):
    """What the oracle said: `outcome` is the worst of `checks` (proved < unknown < violated)."""

    outcome: str
    scope: str  # "plan" | "text" | "artifact"
    oracle: str  # the oracle's version
    checks: dict[str, str]
    findings: list[str]


class BuildEntry(TypedDict):
    """One variant on one target: an entry point of a library.

    `slots` is the launch ABI as data: `ptr:<param>`, `dim:<name>`, `stride:<param>:<axis>` (elements),
    `scalar:<param>` (the value's bits), in order, each an int64.
    """

    target: str
    arch: str
    library: str  # a key of Manifest["libraries"]
    entry: str
    slots: list[str]
    grid: list[str]
    plan: str  # file: gzip-compressed canonical JSON
    plan_sha256: str
    resources: dict[str, int]
    verdict: VerdictEntry


class _Chosen(TypedDict, total=False):
    statics: dict[str, int]


class VariantEntry(_Chosen):
    """`when` is a conjunction over the dimensions, empty for always; variants are tried in order. `statics`: the value
    of each `tb.Static` parameter; absent where there is none."""

    consts: dict[str, int]
    when: str
    target: str  # "" for every target
    builds: list[BuildEntry]


class _Statics(TypedDict, total=False):
    statics: dict[str, list[int]]


class KernelEntry(_Statics):
    """`otherwise` names a kernel of the same module, taken where no variant's guard holds, or is empty. `statics`: the
    values that each `tb.Static` parameter was built for, the first of which is taken where a call names none. `sources`
    are the files that its meaning depends on, relative to the project, sorted; `sha256` is over the name, NUL, the text
    and NUL of each."""

    module: str
    name: str
    file: str
    line: int
    sources: list[str]
    sha256: str
    dims: list[str]
    parameters: list[ParameterEntry]
    requires: list[str]
    otherwise: str
    variants: list[VariantEntry]


class CompilerEntry(TypedDict):
    name: str
    version: str
    flags: list[str]


class LibraryEntry(TypedDict):
    """`levels`: for a library with several instruction sets, the entry suffixes, least first; else empty."""

    target: str
    arch: str
    file: str
    sha256: str
    bytes: int
    levels: list[str]
    compilers: list[CompilerEntry]


class _Parts(TypedDict, total=False):
    parts: list[str]


class Manifest(_Parts):
    """`parts`: the import names of packages in wheels of their own that hold more builds of these kernels, for other
    targets; each has a manifest with the same kernels. They need not be installed."""

    schema: int
    tilebuild: str
    package: str
    kernels: list[KernelEntry]
    libraries: dict[str, LibraryEntry]


def dumps(manifest: Manifest) -> bytes:
    """The bytes of the file: the same for equal manifests."""
    return (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode()
