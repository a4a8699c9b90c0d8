"""Which targets can run a kernel here: every build is judged by its device, and no earlier than someone asks.

Looking at a device may open its driver, so a call whose arrays the first target takes looks at no other.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import NamedTuple

from tilebuild.manifest import BuildEntry, KernelEntry, LibraryEntry
from tilebuild.plan.expr import ExprError
from tilebuild.runtime.devices import Device, DeviceError, device


class Candidate(NamedTuple):
    """A target and architecture that a kernel is built for, whether it can be used here, and why or why not."""

    target: str
    arch: str
    accepted: bool
    reason: str


class Choice:
    """The targets of a kernel and of those that its `otherwise` (`beyond`) names, the ones of least rank first."""

    def __init__(self, kernel: KernelEntry, libraries: dict[str, LibraryEntry], beyond: Choice | None) -> None:
        """Raises `ExprError` where a build names a library of another target, and `KeyError` where it names none."""
        self._libraries = libraries
        self._beyond = beyond
        self._builds: dict[str, dict[str, BuildEntry]] = {}
        for build in (b for v in kernel["variants"] for b in v["builds"]):
            of = libraries[build["library"]]["target"]
            if of != build["target"]:
                raise ExprError(f"a build for {build['target']} is in {build['library']}, for {of}")
            self._builds.setdefault(build["target"], {}).setdefault(build["arch"], build)
        self._devices: dict[str, Device | DeviceError] = {} if beyond is None else dict(beyond._devices)
        for target in self._builds:
            try:
                self._devices[target] = device(target)
            except DeviceError as e:
                self._devices[target] = e
        self._devices = dict(sorted(self._devices.items(), key=lambda entry: _rank(entry[1])))
        self._judged: dict[str, list[Candidate]] = {}

    def device(self, target: str) -> Device:
        """The device of a target that can be used."""
        found = self._devices[target]
        assert not isinstance(found, DeviceError)
        return found

    def usable(self) -> Iterator[str]:
        """The targets that can be used here, best first; each is judged when it is asked for."""
        return (target for target in self._devices if self.can_use(target))

    def reading(self, memory: int) -> Iterator[str]:
        """Those of `usable` that read memory of this DLDeviceType; others are not judged."""
        for target, found in self._devices.items():
            if not isinstance(found, DeviceError) and memory in found.memory and self.can_use(target):
                yield target

    def can_use(self, target: str) -> bool:
        """Whether a build of the kernel, or of the ones beyond it, can run here."""
        own = any(candidate.accepted for candidate in self.candidates(target))
        return own or (self._beyond is not None and self._beyond.can_use(target))

    def candidates(self, target: str) -> list[Candidate]:
        """The kernel's own builds for a target, best first."""
        if target not in self._judged:
            builds = self._builds.get(target, {})
            self._judged[target] = _judge(self._devices.get(target), builds, self._libraries)
        return self._judged[target]

    def all(self) -> list[Candidate]:
        """Every build of the kernel itself, best first."""
        return [c for target in self._devices for c in self.candidates(target)]

    def refuse(self, target: str, reason: str) -> None:
        """Drops a target whose library failed to load."""
        self._judged[target] = [
            c._replace(accepted=False, reason=reason) if c.accepted else c for c in self.candidates(target)
        ]


def _rank(found: Device | DeviceError) -> int:
    return sys.maxsize if isinstance(found, DeviceError) else found.rank


def _judge(
    found: Device | DeviceError | None, builds: dict[str, BuildEntry], libraries: dict[str, LibraryEntry]
) -> list[Candidate]:
    judged: list[tuple[int, Candidate]] = []
    for arch, build in builds.items():
        if found is None or isinstance(found, DeviceError):
            judged.append((0, Candidate(build["target"], arch, False, str(found))))
            continue
        library = libraries[build["library"]]
        try:
            accepted, reason = found.available(build, library)
            fit = found.preference(build, library) if accepted else 0
        except DeviceError as e:
            accepted, reason, fit = False, str(e), 0
        judged.append((fit, Candidate(build["target"], arch, accepted, reason)))
    return [candidate for _, candidate in sorted(judged, key=lambda entry: -entry[0])]
