"""Editable installs: Python sources are used where they lie, and kernels where the last build put them.

The wheel has a finder only, a module that answers for `<package>._kernels`, whatever the inner backend does to find the
rest. Kernels lie in the build directory, one folder a build, and a file says which one counts: so a rebuild takes their
place in one step, under the feet of processes that still use the old ones.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tilebuild.build.driver import KernelBuild, held
from tilebuild.diagnostics import Diagnostic, TilebuildError
from tilebuild.manifest import EDITABLE

FOLDER = "editable"
CURRENT = "current"
_FINDER = '''\
"""Finds the kernels of {package}, which is installed editable. Written by tilebuild."""

import os
import sys

PACKAGE, PROJECT, FOLDER, REBUILD = {package!r}, {project!r}, {folder!r}, {rebuild!r}


class Finder:
    package = PACKAGE
    tilebuild_project = PROJECT
    asked = False

    @classmethod
    def directory(cls):
        try:
            with open(os.path.join(FOLDER, {current!r}), encoding="utf-8") as f:
                return os.path.join(FOLDER, f.read().strip())
        except OSError:
            return ""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name != PACKAGE + "._kernels":
            return None
        if not cls.asked:
            cls.asked = True
            wanted = os.environ.get({variable!r}, "").lower()
            if wanted in ("true", "1") or (REBUILD and not wanted):
                from tilebuild.package.editable import refresh

                refresh(PROJECT)
        from importlib.util import spec_from_file_location

        place = cls.directory()
        file = os.path.join(place, "__init__.py")
        return spec_from_file_location(name, file, submodule_search_locations=[place]) if os.path.isfile(file) else None


sys.meta_path.insert(0, Finder)
'''


def publish(folder: Path, project: Path, kernels: KernelBuild) -> Path:
    """Copies the files of a build (whose directory is `folder`, and locked) to the place where editable installs look;
    that place. Older ones are removed, except for the one before: a process may be about to load from it."""
    name = hashlib.sha256(json.dumps(kernels.manifest, sort_keys=True).encode()).hexdigest()[:16]
    home = folder / FOLDER
    place = home / name
    inside = f"{kernels.package.replace('.', '/')}/_kernels/"
    if not _whole(place, kernels, inside):
        shutil.rmtree(place, ignore_errors=True)
        for destination, source in kernels.files.items():
            copy = place / destination.removeprefix(inside)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)
        (place / EDITABLE).write_text(json.dumps({"project": str(project)}), encoding="utf-8")
    before = _read(home)
    if before != name:
        new = home / f"{CURRENT}.new"
        new.write_text(name, encoding="utf-8")
        new.replace(home / CURRENT)
        for entry in home.iterdir():
            if entry.is_dir() and entry.name not in (name, before):
                shutil.rmtree(entry, ignore_errors=True)
    return place


def finder(folder: Path, project: Path, package: str, *, rebuild: bool) -> Mapping[str, bytes | Path]:
    """The files of an editable wheel: the module that finds the kernels, and the line that starts it."""
    module = f"_tilebuild_editable_{package.replace('.', '_')}"
    text = _FINDER.format(
        package=package,
        project=str(project),
        folder=str(folder / FOLDER),
        rebuild=rebuild,
        current=CURRENT,
        variable="TILEBUILD_REBUILD_ON_IMPORT",
    )
    return {f"{module}.py": text.encode(), f"{module}.pth": f"import {module}\n".encode()}


def refresh(project: str) -> bool:
    """Builds the kernels of a project that is installed editable; whether they are others than before. Raises
    `TilebuildError` as a build does."""
    from tilebuild.build import configure

    root = Path(project)
    config = configure(root)
    folder = root / config.build_dir
    before = _read(folder / FOLDER)
    with held(root, config, log=_log) as kernels:
        return publish(folder, root, kernels).name != before


def rebuild(package: str) -> bool:
    """Builds the kernels of an editable install again where their sources changed; whether that made other ones.

    `package` is the import name. Kernels that were called already are looked up anew at their next call; the Python
    functions themselves (`.reference`) change with a reload of their module. Needs what a build needs: the IR library,
    Ninja and the targets' compilers. Raises `TilebuildError`: E732 not installed editable, else as a build does.
    """
    top = package.partition(".")[0]
    finders: list[Any] = list(sys.meta_path)
    found = next((f for f in finders if getattr(f, "tilebuild_project", "") and f.package == top), None)
    if found is None:
        fact = f"{top} is not installed editable by tilebuild, so there is nothing to build it from"
        raise TilebuildError(Diagnostic("E732", fact, fix="install it with `pip install -e` in its project directory"))
    changed = refresh(found.tilebuild_project)
    if changed:
        _forget(top)
    return changed


def _forget(top: str) -> None:
    """Kernels of a package that were called keep their launcher: drop those."""
    from tilebuild.lang.kernel import Kernel
    from tilebuild.runtime import launcher

    launcher.forget(top)
    for module in list(sys.modules.values()):
        for value in list(getattr(module, "__dict__", {}).values()):
            if isinstance(value, Kernel) and value.__module__.partition(".")[0] == top:
                value.forget()


def _whole(place: Path, kernels: KernelBuild, inside: str) -> bool:
    """Whether everything is there already (a copy may have been cut short), each file as it was built."""
    copies = {place / name.removeprefix(inside): source for name, source in kernels.files.items()}
    return (place / EDITABLE).is_file() and all(
        copy.is_file() and copy.read_bytes() == source.read_bytes() for copy, source in copies.items()
    )


def _read(home: Path) -> str:
    try:
        return (home / CURRENT).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
