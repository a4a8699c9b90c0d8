"""Joins kernel sets: one manifest and one folder of files, as if all targets had been built at once."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tilebuild.diagnostics import Diagnostic, TilebuildError
from tilebuild.manifest import FILE_NAME, KernelEntry, Manifest, dumps
from tilebuild.package.kernel_set import KernelSet


@dataclass(frozen=True)
class Merged:
    """`files` are those of a wheel's `_kernels` folder, by their path there, the manifest among them."""

    manifest: Manifest
    files: dict[str, bytes]


def merge(sets: Sequence[KernelSet]) -> Merged:
    """The union of kernel sets of one project. Their order does not matter: targets stand in the project's order.

    Raises `TilebuildError` with everything that disagrees: E740 another project, version or tilebuild, E741 other
    sources of a kernel, E742 a target that is in two sets, or a file that differs.
    """
    problems = [*_identities(sets), *_sources(sets), *_twice(sets)]
    if problems:
        raise TilebuildError(problems)
    order = next((s.order for s in sets if s.order), ())
    libraries = {key: entry for s in sets for key, entry in s.manifest["libraries"].items()}
    ranked = {key: n for n, key in enumerate(sorted(libraries, key=lambda key: (_rank(key, order), key)))}
    manifest = copy.deepcopy(sets[0].manifest)
    manifest["libraries"] = libraries
    for number, kernel in enumerate(manifest["kernels"]):
        same = [s.manifest["kernels"][number] for s in sets]
        kernel["requires"] = sorted({fact for k in same for fact in k["requires"]})
        for index, variant in enumerate(kernel["variants"]):
            builds = [build for k in same for build in k["variants"][index]["builds"]]
            variant["builds"] = sorted(builds, key=lambda build: ranked[build["library"]])
    files = {name: data for s in sets for name, data in s.files.items()}
    return Merged(manifest, files | {FILE_NAME: dumps(manifest)})


def _rank(key: str, order: Sequence[str]) -> int:
    """The place of a library's target among the project's; one that is none of them comes last."""
    name = key.partition(":")[0]
    return next((n for n, spec in enumerate(order) if spec in (key, name)), len(order))


def _differ(code: str, what: str, sets: Sequence[KernelSet], facts: Sequence[str], fix: str) -> Iterator[Diagnostic]:
    """A diagnostic where the facts about the sets are not all the same: each fact, and the sets that it is true of."""
    if len(set(facts)) > 1:
        where = {fact: ", ".join(s.place for s, f in zip(sets, facts) if f == fact) for fact in facts}
        yield Diagnostic(
            code, what, notes=tuple((None, f"{fact}: {places}") for fact, places in where.items()), fix=fix
        )


def _identities(sets: Sequence[KernelSet]) -> Iterator[Diagnostic]:
    fix = "build all of them from one checkout, with one version of tilebuild"
    for what, facts in (
        ("project", [s.project for s in sets]),
        ("package", [s.manifest["package"] for s in sets]),
        ("tilebuild", [f"tilebuild {s.manifest['tilebuild']}" for s in sets]),
    ):
        yield from _differ("E740", f"kernels of more than one {what} cannot be merged", sets, facts, fix)
    # a version that the project computes is not known where kernels are built alone; their sources are compared anyway
    known = [s for s in sets if s.version]
    what = "kernels of more than one version cannot be merged"
    yield from _differ("E740", what, known, [f"version {s.version}" for s in known], fix)
    known = [s for s in sets if s.order]
    what = "kernel sets were configured for different targets"
    yield from _differ("E740", what, known, [", ".join(s.order) for s in known], fix)


def _sources(sets: Sequence[KernelSet]) -> Iterator[Diagnostic]:
    fix = "build all of them from one checkout"
    kernels = [{(k["module"], k["name"]): k for k in s.manifest["kernels"]} for s in sets]
    for module, name in sorted({key for of_set in kernels for key in of_set}):
        entries = [of_set.get((module, name)) for of_set in kernels]
        facts = [_source(entry) for entry in entries]
        yield from _differ("E741", f"{module}.{name} is not the same kernel everywhere", sets, facts, fix)
    if len({tuple(of_set) for of_set in kernels}) > 1 and all(of_set.keys() == kernels[0].keys() for of_set in kernels):
        order = [", ".join(name for _, name in of_set) for of_set in kernels]
        yield from _differ("E741", "the kernels stand in another order", sets, order, fix)


def _source(entry: KernelEntry | None) -> str:
    """All that is the same for every target, as a text that tells what differs."""
    if entry is None:
        return "it is not there"
    variants = [(v["consts"], v["when"], v["target"]) for v in entry["variants"]]
    return f"its source digest is {entry['sha256']}, at {entry['file']}:{entry['line']}, with the variants {variants}"


def _twice(sets: Sequence[KernelSet]) -> Iterator[Diagnostic]:
    holder: dict[str, KernelSet] = {}
    for s in sets:
        for key in s.manifest["libraries"]:
            if key in holder:
                yield Diagnostic(
                    "E742",
                    f"{key} is in two of the sets",
                    notes=((None, f"in {holder[key].place}"), (None, f"and in {s.place}")),
                    fix="leave one of them out",
                )
            holder.setdefault(key, s)
    files: dict[str, tuple[KernelSet, bytes]] = {}
    for s in sets:
        for name, data in s.files.items():
            if name != FILE_NAME and files.setdefault(name, (s, data))[1] != data:
                yield Diagnostic(
                    "E742",
                    f"{name} differs between two of the sets",
                    notes=((None, f"{len(files[name][1])} bytes in {files[name][0].place}"),
                           (None, f"{len(data)} bytes in {s.place}")),
                    fix="build all of them from one checkout, with one version of tilebuild",
                )  # fmt: skip
