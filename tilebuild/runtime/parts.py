"""The kernels of a split package: builds for further targets that lie in wheels of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from tilebuild.manifest import KernelEntry, Manifest
from tilebuild.runtime.errors import LaunchError


def join(
    manifest: Manifest, locate: Callable[[str], str | None], read: Callable[[str, str], Manifest]
) -> tuple[Manifest, Mapping[str, str]]:
    """The manifest with the builds of every installed part, and the directory of each library that lies in a part.

    `locate` gives the directory of a package's kernels, None where it is not installed; `read` the manifest there.
    Raises `LaunchError` (E828) for a part that was built from other sources.
    """
    places: dict[str, str] = {}
    for part in manifest.get("parts", []):
        directory = locate(part)
        if directory is None:
            continue
        more = read(directory, part)
        try:
            manifest = _joined(manifest, more, part)
        except (KeyError, TypeError, AttributeError) as e:
            raise LaunchError("E803", f"the kernel manifest of {part} has an unusable entry: {e!r}") from None
        places |= dict.fromkeys(more["libraries"], directory)
    return manifest, places


def _joined(manifest: Manifest, more: Manifest, part: str) -> Manifest:
    package = manifest["package"]
    here, there = _identity(manifest), _identity(more)
    if here != there:
        differing = next(name for name in sorted(here.keys() | there.keys()) if here.get(name) != there.get(name))
        raise LaunchError(
            "E828",
            f"{part} was not built with this {package}: they differ in {differing}",
            notes=(f"{package} has {here.get(differing, 'nothing')}", f"{part} has {there.get(differing, 'nothing')}"),
            fix=f"install both in one version: `pip install --upgrade {package} {part.replace('_', '-')}`",
        )
    entries = {(k["module"], k["name"]): k for k in more["kernels"]}
    kernels = [_with_builds(k, entries[k["module"], k["name"]]) for k in manifest["kernels"]]
    libraries = {**more["libraries"], **manifest["libraries"]}
    return cast("Manifest", {**manifest, "kernels": kernels, "libraries": libraries})


def _with_builds(kernel: KernelEntry, more: KernelEntry) -> KernelEntry:
    variants: list[Any] = [
        {**variant, "builds": [*variant["builds"], *further["builds"]]}
        for variant, further in zip(kernel["variants"], more["variants"])
    ]
    requires = sorted({*kernel["requires"], *more["requires"]})
    return cast("KernelEntry", {**kernel, "variants": variants, "requires": requires})


def _identity(manifest: Manifest) -> dict[str, str]:
    """What must be the same in every part: tilebuild's version, and of each kernel its source and its variants."""
    found = {"tilebuild": manifest["tilebuild"]}
    for kernel in manifest["kernels"]:
        variants = [(v["consts"], v["when"], v["target"]) for v in kernel["variants"]]
        found[f"{kernel['module']}.{kernel['name']}"] = f"source {kernel['sha256']}, variants {variants}"
    return found
