"""Wheels out of host wheels and kernel sets: fat, split with extras, or variants."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import tilebuild
from tilebuild.diagnostics import Diagnostic, TilebuildError
from tilebuild.manifest import FILE_NAME, dumps
from tilebuild.package import kernel_set, sbom, variants
from tilebuild.package.archive import Date, Wheel, new_wheel
from tilebuild.package.kernel_set import KernelSet
from tilebuild.package.merge import Merged, merge

LAYOUTS = ("fat", "split", "variants")
_TIME: Date = (1980, 1, 1, 0, 0, 0)


def write_wheels(sets: Sequence[KernelSet], wheels: Sequence[Path], layout: str, output: Path) -> list[Path]:
    """Writes a release into `output` and returns its files. Each wheel gets the kernel sets that fit it: a device's
    all, those with host code the wheels of their machine. Nothing is written where anything disagrees.

    Raises `TilebuildError`: E740 to E742 (see `merge`), E743 an altered file, E744 something that is no wheel or set,
    E746 a set that fits no wheel.
    """
    if not wheels:
        fix = "build one, `tilebuild` takes it from any front end: python -m build --wheel"
        raise TilebuildError(Diagnostic("E746", "there is no wheel to put the kernels into", fix=fix))
    opened = [Wheel(path) for path in wheels]
    try:
        plans = [(wheel, _fitting(wheel, sets)) for wheel in opened]
        lost = [s for s in sets if not any(s in fitting for _, fitting in plans)]
        if lost:
            machines = ", ".join(f"{w.path.name} is for {w.machine or 'any machine'}" for w in opened)
            raise TilebuildError(
                Diagnostic(
                    "E746",
                    f"the kernels of {s.place} are host code of {s.machine}, and there is no wheel for that machine",
                    notes=((None, machines),),
                    fix="add the wheel of that platform",
                )
                for s in lost
            )
        merged = [(wheel, fitting, merge(fitting)) for wheel, fitting in plans]
        output.mkdir(parents=True, exist_ok=True)
        write = {"fat": _fat, "split": _split, "variants": _variants}[layout]
        written = {path for wheel, fitting, whole in merged for path in write(wheel, fitting, whole, output)}
        return sorted(written | set(_index(written, output)))
    finally:
        for wheel in opened:
            wheel.__exit__()


def _fitting(wheel: Wheel, sets: Sequence[KernelSet]) -> list[KernelSet]:
    """The kernel sets for a wheel, what it holds already among them."""
    own = kernel_set.of_wheel(wheel)
    name, version = kernel_set.normal(str(wheel.metadata["Name"])), str(wheel.metadata["Version"])
    for s in sets:
        if s.project != name or s.version not in ("", version):
            raise TilebuildError(
                Diagnostic(
                    "E740",
                    f"{s.place} holds no kernels of {wheel.path.name}",
                    notes=(
                        (None, f"the kernels are of {s.project} {s.version}"),
                        (None, f"the wheel is {name} {version}"),
                    ),
                    fix="build all of them from one checkout",
                )
            )
    fitting = [*([own] if own else []), *(s for s in sets if s.machine in ("", wheel.machine))]
    if not fitting:
        raise TilebuildError(Diagnostic("E746", f"{wheel.path} holds no kernels, and no kernel set was given for it"))
    return fitting


def _members(folder: str, merged: Merged) -> dict[str, bytes]:
    return {f"{folder}/{name}": data for name, data in merged.files.items()}


def _write(wheel: Wheel, target: Path, kernels: Merged, info: Mapping[str, bytes]) -> Path:
    """The wheel with these kernels, and with `info` (by name) in its dist-info."""
    folder = f"{kernels.manifest['package'].replace('.', '/')}/_kernels"
    bill = sbom.text(kernels.manifest, str(wheel.metadata["Name"]), str(wheel.metadata["Version"]))
    wheel.write(target, folder, _members(folder, kernels), {**info, sbom.FILE_NAME: bill})
    return target


def _fat(wheel: Wheel, sets: Sequence[KernelSet], whole: Merged, output: Path) -> Iterator[Path]:
    yield _write(wheel, output / wheel.path.name, whole, {})


def _of_host(wheel: Wheel, sets: Sequence[KernelSet]) -> list[KernelSet]:
    """What every installation has: the kernels that the wheel came with, and its machine's own code."""
    return [s for s in sets if s.place == str(wheel.path) or s.machine]


def _split(wheel: Wheel, sets: Sequence[KernelSet], whole: Merged, output: Path) -> Iterator[Path]:
    """A host wheel whose extras name one more wheel a device target; those are for any machine."""
    host = _of_host(wheel, sets)
    by_target: dict[str, list[KernelSet]] = {}
    for s in sets:
        if s not in host:
            names = {entry["target"] for entry in s.manifest["libraries"].values()}
            if not host or len(names) > 1:
                what = (
                    "there is no kernel of the host" if not host else f"{s.place} holds {' and '.join(sorted(names))}"
                )
                fix = "build the wheel with its host's kernels, and one kernel set a target"
                raise TilebuildError(Diagnostic("E746", f"{wheel.path.name} cannot be split: {what}", fix=fix))
            by_target.setdefault(names.pop(), []).append(s)
    name, version = str(wheel.metadata["Name"]), str(wheel.metadata["Version"])
    parts = {target: f"{kernel_set.normal(name)}-{target}" for target in sorted(by_target)}
    kernels = merge(host)
    manifest = copy.deepcopy(kernels.manifest)
    manifest["parts"] = [_import_name(part) for part in parts.values()]
    kernels = Merged(manifest, kernels.files | {FILE_NAME: dumps(manifest)})
    yield _write(wheel, output / wheel.path.name, kernels, {"METADATA": _with_extras(wheel, parts, version)})
    for target, part in parts.items():
        path, info, contents = _part_wheel(part, (name, version), target, merge(by_target[target]))
        new_wheel(output / path, info, contents, _TIME)
        yield output / path


def _import_name(distribution: str) -> str:
    return distribution.replace("-", "_")


def _with_extras(wheel: Wheel, parts: Mapping[str, str], version: str) -> bytes:
    """The wheel's metadata with an extra for each part, where the project has not declared the same one itself."""
    head, blank, body = wheel.read(f"{wheel.info}/METADATA").decode().partition("\n\n")
    declared = {kernel_set.normal(str(extra)) for extra in wheel.metadata.get_all("Provides-Extra", [])}
    lines = [head.rstrip("\n")]
    for extra, part in parts.items():
        requirement = f'Requires-Dist: {part}=={version}; extra == "{extra}"'
        lines += [*([] if extra in declared else [f"Provides-Extra: {extra}"]), requirement]
    return ("\n".join(lines) + (blank + body if blank else "\n")).encode()


def _part_wheel(
    part: str, host_version: tuple[str, str], target: str, merged: Merged
) -> tuple[str, str, dict[str, bytes]]:
    """The file name, dist-info and contents of a wheel with the kernels of one device target, which any machine can
    install."""
    package = _import_name(part)
    host, version = host_version
    info = f"{package}-{version.replace('-', '_')}.dist-info"
    contents = _members(f"{package}/_kernels", merged)
    contents[f"{package}/__init__.py"] = (
        f'"""Kernels of {host} for {target}; {host} finds them by itself."""\n'.encode()
    )
    contents[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: {part}\nVersion: {version}\n"
        f"Summary: The kernels of {host} for {target}\nRequires-Dist: {host}=={version}\n"
    ).encode()
    contents[f"{info}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: tilebuild {tilebuild.__version__}\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    ).encode()
    return f"{package}-{version.replace('-', '_')}-py3-none-any.whl", info, contents


def _variants(wheel: Wheel, sets: Sequence[KernelSet], whole: Merged, output: Path) -> Iterator[Path]:
    """The wheel with everything under its plain name, one without devices as the null variant, and one a property.
    Where no vendor has a word for any of the targets there is the first alone."""
    yield from _fat(wheel, sets, whole, output)
    host = _of_host(wheel, sets)
    chosen: dict[variants.Properties, list[KernelSet]] = {}
    for s in sets:
        if s not in host:
            properties = [variants.properties(entry) for entry in s.manifest["libraries"].values()]
            if len(properties) == 1 and properties[0]:
                chosen.setdefault(properties[0], []).append(s)
    labelled: dict[str, tuple[variants.Properties, list[KernelSet]]] = {}
    if host and chosen:
        labelled[variants.NULL] = ((), host)
    labelled |= {variants.label(p): (p, [*host, *of_property]) for p, of_property in chosen.items()}
    for label, (wanted, with_sets) in labelled.items():
        target = output / f"{wheel.path.stem}-{label}.whl"
        info = {variants.FILE: variants.description({label: wanted}, chosen)}
        yield _write(wheel, target, merge(with_sets), info)


def _index(written: Iterable[Path], output: Path) -> Iterator[Path]:
    """The file beside the wheels that lists every variant, if there is any: installers read it, not the wheels."""
    known: dict[str, variants.Properties] = {}
    head = ""
    for path in sorted(written):
        head = "-".join(path.name.split("-")[:2])
        with Wheel(path) as wheel:
            if f"{wheel.info}/{variants.FILE}" in wheel.digests:
                known |= variants.read(wheel.read(f"{wheel.info}/{variants.FILE}"))
    if known:
        index = output / f"{head}-variants.json"
        index.write_bytes(variants.description(known, known.values()))
        yield index


def summary(paths: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """Name and size of each file, as cells of a table."""
    for path in paths:
        yield path.name, f"{path.stat().st_size:,} bytes"
