"""Devices: how the kernel libraries of one target are judged, loaded and called. One module a target, by its name.

A device knows its machine, memory and streams; the rest of the run time knows none of them. Others come through the
entry point group `tilebuild.devices` (name: the target; value: a module or object that is a `Device`).
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from typing import Protocol, cast

from tilebuild.manifest import BuildEntry, LibraryEntry
from tilebuild.runtime.arrays import View

Launch = Callable[[Sequence[int], Sequence[View], int], None]
"""Runs a kernel once: the values of the build's slots, the arrays that they point into, for devices that copy memory or
follow the caller's stream, and how many bytes these have together. Returns when the outputs are written, or are ordered
on that stream."""


class DeviceError(Exception):
    """A library cannot be used on this machine; the text is the reason."""


class Library(Protocol):
    """A loaded kernel library."""

    def function(self, build: BuildEntry) -> Launch:
        """The entry point of a build; raises `DeviceError` where the library lacks it."""
        ...


class Device(Protocol):
    """`rank`: the lower one is taken where several can run. `memory`: the DLDeviceTypes its kernels read."""

    @property
    def rank(self) -> int: ...

    @property
    def memory(self) -> frozenset[int]: ...

    def available(self, build: BuildEntry, library: LibraryEntry) -> tuple[bool, str]:
        """Whether this machine can run the build, and why or why not; loads nothing and changes nothing."""
        ...

    def preference(self, build: BuildEntry, library: LibraryEntry) -> int:
        """How well an available build fits the machine among those of its target; the higher one is taken."""
        ...

    def load(self, path: str, library: LibraryEntry) -> Library:
        """Load a verified library; raises `DeviceError`."""
        ...


def device(target: str) -> Device:
    """The device of a target; raises `DeviceError` where there is none."""
    name = f"{__name__}.{target}"
    if target.isidentifier() and importlib.util.find_spec(name) is not None:
        return cast("Device", importlib.import_module(name))
    # only a target that is not built in pays for reading the installed distributions' metadata
    from importlib.metadata import entry_points

    for entry in entry_points(group="tilebuild.devices", name=target):
        try:
            return cast("Device", entry.load())
        except Exception as e:  # a plug-in may fail in any way; the machine then has no such device
            raise DeviceError(f"the device plug-in {entry.value} failed: {type(e).__name__}: {e}") from e
    raise DeviceError(f"this version of tilebuild has no device for the target {target}")
