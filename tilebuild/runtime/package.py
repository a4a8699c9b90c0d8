"""A package's built kernels on disk: the locator module, the manifest, and the digests of what is loaded."""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.util
import json
import os
import re
import threading
from collections.abc import Mapping
from typing import Any, cast

from tilebuild.manifest import FILE_NAME, SCHEMA, KernelEntry, LibraryEntry, Manifest
from tilebuild.runtime import parts
from tilebuild.runtime.devices import Device, Library
from tilebuild.runtime.editable import project_of, warn_if_stale
from tilebuild.runtime.errors import LaunchError

LOCATOR = "_kernels"
_REBUILD = "build it again: `pip install .` in its project directory"


class Package:
    """The kernels of one manifest. Libraries are verified and loaded once a process, on first use; `places` are the
    directories of those that do not lie in `directory`."""

    def __init__(self, directory: str, manifest: Manifest, places: Mapping[str, str] | None = None) -> None:
        self.directory = directory
        self._places = places or {}
        self.manifest = manifest
        self.name = manifest["package"]
        self.kernels: dict[tuple[str, str], KernelEntry] = {(k["module"], k["name"]): k for k in manifest["kernels"]}
        self.project = project_of(directory)
        self.lock = threading.RLock()  # a launcher's first call takes it again through `otherwise`
        self._libraries: dict[str, Library] = {}

    def kernel(self, module: str, name: str) -> KernelEntry:
        """The entry; raises `LaunchError` (E802)."""
        found = self.kernels.get((module, name))
        if found is None:
            built = ", ".join(f"{m}.{n}" for m, n in sorted(self.kernels)) or "none"
            raise LaunchError(
                "E802",
                f"{module}.{name} is not among the built kernels of {self.name}: the build is older than the source",
                notes=(f"built are: {built}",),
                fix=_REBUILD,
            )
        if self.project:
            warn_if_stale(self.project, found)
        return found

    def library(self, key: str, device: Device) -> Library:
        """The loaded library; raises `LaunchError` (E804) where the file is not the built one, and `DeviceError`."""
        with self.lock:
            if key not in self._libraries:
                entry = self.manifest["libraries"][key]
                path = os.path.join(self._places.get(key, self.directory), *entry["file"].split("/"))
                self._verify(path, entry)
                self._libraries[key] = device.load(path, entry)
            return self._libraries[key]

    def _verify(self, path: str, entry: LibraryEntry) -> None:
        try:
            with open(path, "rb") as f:
                found = hashlib.sha256(f.read()).hexdigest()
        except OSError as e:
            raise LaunchError(
                "E804", f"the kernel library {entry['file']} of {self.name} cannot be read: {e.strerror}", fix=_REBUILD
            ) from None
        if found != entry["sha256"]:
            raise LaunchError(
                "E804",
                f"the kernel library {entry['file']} of {self.name} was altered after it was built; it is not loaded",
                notes=(f"its sha256 is {found}", f"the manifest says {entry['sha256']}"),
                fix="install the package again",
            )


_packages: dict[str, Package] = {}
_lock = threading.Lock()


def find_package(module: str) -> Package:
    """The built kernels that a module's kernels are in; raises `LaunchError` (E801, E803, E804, E828)."""
    directory = _locate(module)
    if directory is None:
        top = module.partition(".")[0]
        raise LaunchError(
            "E801",
            f"the package of {module} has no built kernels: there is no {top}.{LOCATOR} with a {FILE_NAME}",
            fix='make tilebuild the build backend in its pyproject.toml (build-backend = "tilebuild.backend") and '
            "install it with `pip install .`; `.reference(...)` runs a kernel without a build",
        )
    with _lock:
        if directory not in _packages:
            manifest, places = parts.join(_read(directory, module), _locate, _read)
            _packages[directory] = Package(directory, manifest, places)
        return _packages[directory]


def _locate(module: str) -> str | None:
    """The directory of the locator module nearest to `module`, longest prefix first.

    The import system is asked, not the file system: an editable install maps module names to other places.
    """
    parts = module.split(".")
    for n in range(len(parts), 0, -1):
        try:
            spec = importlib.util.find_spec(".".join((*parts[:n], LOCATOR)))
        except (ModuleNotFoundError, ValueError):  # the prefix is a module, not a package, or cannot be imported
            continue
        if spec is None:
            continue
        places = list(spec.submodule_search_locations or ())
        if spec.origin:
            places.append(os.path.dirname(spec.origin))
        for place in places:
            if os.path.isfile(os.path.join(place, FILE_NAME)):
                return os.path.realpath(place)
    return None


def _read(directory: str, module: str) -> Manifest:
    top = module.partition(".")[0]
    try:
        with open(os.path.join(directory, FILE_NAME), "rb") as f:
            data = f.read()
        manifest: Any = json.loads(data)
    except (OSError, ValueError, RecursionError) as e:
        raise LaunchError("E803", f"the kernel manifest of {top} cannot be read: {e}", fix=_REBUILD) from None
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if schema != SCHEMA:
        newer = isinstance(schema, int) and schema > SCHEMA
        raise LaunchError(
            "E803",
            f"the kernel manifest of {top} has schema {schema!r}, and this tilebuild reads {SCHEMA}",
            fix="upgrade tilebuild: `pip install -U tilebuild`" if newer else _REBUILD,
        )
    _check_record(directory, top, manifest, data)
    return _checked(manifest, top)


def _checked(manifest: dict[str, Any], top: str) -> Manifest:
    """The entries that finding a kernel needs; a launcher checks the rest of its own kernel's."""
    kernels, libraries = manifest.get("kernels"), manifest.get("libraries")
    if not (isinstance(kernels, list) and isinstance(libraries, dict) and isinstance(manifest.get("package"), str)):
        raise LaunchError("E803", f"the kernel manifest of {top} lacks package, kernels or libraries", fix=_REBUILD)
    for i, kernel in enumerate(kernels):
        if not isinstance(kernel, dict) or {type(kernel.get(k)) for k in ("module", "name", "file")} != {str}:
            raise LaunchError("E803", f"kernels[{i}] in the kernel manifest of {top} is no kernel", fix=_REBUILD)
    return cast("Manifest", manifest)


def malformed(package: str, kernel: KernelEntry, error: Exception) -> LaunchError:
    """The error for a kernel's entry that this version cannot use."""
    what = f"the entry {error} is missing" if isinstance(error, KeyError) else str(error)
    return LaunchError(
        "E803", f"the manifest of {package} has an unusable entry for {kernel['name']}: {what}", fix=_REBUILD
    )


def _check_record(directory: str, top: str, manifest: dict[str, Any], data: bytes) -> None:
    """Compare the manifest with its line in the installed distribution's RECORD, where there is one.

    An editable install and a source tree have none; there, the manifest is what the last build wrote.
    """
    package = directory
    while os.path.basename(package) != top:
        package, child = os.path.dirname(package), package
        if package == child:
            return
    site = os.path.dirname(package)
    path = os.path.relpath(os.path.join(directory, FILE_NAME), site).replace(os.sep, "/")
    owners = {_normal(top), _normal(str(manifest.get("package", top)))}
    for name in sorted(os.listdir(site)):
        if not name.endswith(".dist-info") or _normal(name.partition("-")[0]) not in owners:
            continue
        try:
            with open(os.path.join(site, name, "RECORD"), encoding="utf-8", newline="") as f:
                recorded = {row[0]: row[1] for row in csv.reader(f) if len(row) >= 2}
        except (OSError, UnicodeDecodeError, csv.Error):
            continue
        algorithm, _, digest = recorded.get(path, "").partition("=")
        found = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        if algorithm == "sha256" and digest != found:
            raise LaunchError(
                "E804",
                f"the kernel manifest of {top} was altered after it was installed; no kernel of it is loaded",
                notes=(f"its sha256 is {found}", f"{name}/RECORD says {digest}"),
                fix="install the package again",
            )


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
