"""The spirv device: modules run by Vulkan, on arrays in CPU memory.

A library is a zip archive of uncompressed members: `<entry>.spv`, and `index.json`, which says for each entry which
bindings it writes. Arrays are copied into dense buffers before a launch, in the order of the `ptr:` slots, and those
that are written are copied back; the strides that the kernel gets are the dense ones.

Environment: TILEBUILD_VULKAN_DEVICE chooses a device, by its number or a part of its name; `none` keeps Vulkan
untouched. TILEBUILD_VULKAN_TIMEOUT is how long a launch may take, in seconds (default 120).
"""

from __future__ import annotations

import atexit
import ctypes
import itertools
import json
import math
import os
import struct
import threading
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tilebuild.manifest import BuildEntry, LibraryEntry
from tilebuild.runtime import expressions
from tilebuild.runtime.arrays import View, compact
from tilebuild.runtime.devices import DeviceError, Launch, vulkan
from tilebuild.runtime.devices.vulkan import PhysicalDevice, VulkanError
from tilebuild.runtime.devices.vulkan_compute import Buffer, Compute, Pipeline, Stuck
from tilebuild.runtime.errors import LaunchError

rank = 300  # after the cpu: its arrays are copied twice
memory = frozenset({1, 3, 11})  # kDLCPU, and the pinned host memory of CUDA and ROCm

DEVICE, SECONDS = "TILEBUILD_VULKAN_DEVICE", "TILEBUILD_VULKAN_TIMEOUT"
LARGEST = 1 << 30  # of dimensions, grids and arrays in elements: the kernels' indices have 32 bits
_ELEMENT = 4  # bytes of every dtype that the target has
_MAGIC = b"\x03\x02\x23\x07"
_PREFERENCE = ("discrete", "integrated", "virtual", "cpu", "other")
_NEEDED = {"vulkan1.2": (1, 2)}
_FORKED = "this process was forked from one that used Vulkan"
_SPAWN = 'start it with the method "spawn" instead'


class _State:
    """What the process knows of Vulkan; found out once. `reason` says why there is no device."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.looked = False
        self.api: vulkan.Api | None = None
        self.instance = 0
        self.device: PhysicalDevice | None = None
        self.compute: Compute | None = None
        self.reason = ""

    def look(self) -> PhysicalDevice | None:
        with self.lock:
            if not self.looked:
                self.looked = True
                try:
                    self._look()
                except (VulkanError, AttributeError) as e:
                    self.reason = f"Vulkan does not work here: {e}"
            return self.device

    def _look(self) -> None:
        wanted = os.environ.get(DEVICE, "")
        if wanted == "none":
            self.reason = f"{DEVICE} is none"
            return
        try:
            self.api = vulkan.Api()
        except OSError as e:
            self.reason = f"there is no Vulkan loader ({e}); Debian, Ubuntu: apt-get install libvulkan1"
            return
        self.instance = vulkan.create_instance(self.api)
        atexit.register(self.close)
        found = vulkan.physical_devices(self.api, self.instance)
        if not found:
            self.reason = "Vulkan finds no device; a software one: apt-get install mesa-vulkan-drivers"
            return
        self.device, self.reason = _choose(found, wanted)

    def open(self) -> Compute:
        with self.lock:
            if self.compute is None:
                device = self.look()
                if device is None or self.api is None:
                    raise DeviceError(self.reason)
                try:
                    self.compute = Compute(self.api, device)
                except VulkanError as e:
                    raise DeviceError(f"{device.name}: {e}") from None
            return self.compute

    def close(self) -> None:
        with self.lock:
            closed = self.compute is None or self.compute.close()
            if closed and self.instance and self.api is not None:
                self.api.vkDestroyInstance(self.instance, None)
            self.compute, self.device, self.instance, self.reason = None, None, 0, "the process is ending"


def _choose(found: Sequence[PhysicalDevice], wanted: str) -> tuple[PhysicalDevice | None, str]:
    """The device that was asked for, or the most capable kind; or why there is none."""
    listed = ", ".join(f"{n}: {d.name} ({d.kind})" for n, d in enumerate(found))
    if wanted:
        fitting = [d for n, d in enumerate(found) if wanted == str(n) or wanted.lower() in d.name.lower()]
        if not fitting:
            return None, f'{DEVICE} is "{wanted}", and the devices are {listed}'
        return fitting[0], ""
    usable = [d for d in found if d.api >= (1, 2) and d.family >= 0]
    if not usable:
        return None, f"no device has Vulkan 1.2 with compute; there is {listed}"
    return min(usable, key=lambda d: _PREFERENCE.index(d.kind)), ""


_state = _State()


def _after_fork() -> None:
    """A driver does not survive a fork: the child starts without Vulkan, and never with the parent's handles."""
    global _state  # noqa: PLW0603
    started = _state.instance != 0
    _state = _State()
    if started:
        _state.looked = True
        _state.reason = f"{_FORKED}; {_SPAWN}"


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def available(build: BuildEntry, library: LibraryEntry) -> tuple[bool, str]:
    """Asks Vulkan for its devices once a process; opens none."""
    device = _state.look()
    if device is None:
        return False, _state.reason
    problems = list(_shortcomings(device, build))
    described = f"{device.name}, {device.kind}, Vulkan {device.api[0]}.{device.api[1]}"
    return not problems, f"{described}: {'; '.join(problems)}" if problems else described


def _shortcomings(device: PhysicalDevice, build: BuildEntry) -> Iterator[str]:
    version = _NEEDED.get(build["arch"])
    if version is None:
        yield f"this tilebuild knows no {build['arch']}"
    elif device.api < version:
        yield f"{build['arch']} is needed"
    if device.family < 0:
        yield "it has no queue for compute"
    needs = build["resources"]
    for what, need, have in (
        ("invocations of a workgroup", needs.get("invocations", 0), min(device.invocations, device.group_size[0])),
        ("bytes of workgroup memory", needs.get("workgroup_bytes", 0), device.shared_bytes),
        ("bytes of push constants", needs.get("push_constant_bytes", 0), device.push_constants),
        ("storage buffers", needs.get("storage_buffers", 0), device.storage_buffers),
    ):
        if need > have:
            yield f"{need} {what} are needed, and it has {have}"
    if needs.get("keep_nan") and not device.keep_nan:
        yield "it does not promise to keep NaN and infinities (shaderSignedZeroInfNanPreserveFloat32)"


def preference(build: BuildEntry, library: LibraryEntry) -> int:
    return 0  # a machine has one architecture of this target


def load(path: str, library: LibraryEntry) -> SpirvLibrary:
    try:
        with zipfile.ZipFile(path) as archive:
            index = json.loads(archive.read("index.json"))
            modules = {name: archive.read(f"{name}.spv") for name in index}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, NotImplementedError) as e:
        raise DeviceError(f"it is no library of SPIR-V modules: {e}") from None
    return SpirvLibrary(_state.open(), modules, index)


class SpirvLibrary:
    """The modules of a package; pipelines are compiled at the first launch of each."""

    def __init__(self, compute: Compute, modules: dict[str, bytes], index: dict[str, Any]) -> None:
        self._compute, self._modules, self._index = compute, modules, index

    def function(self, build: BuildEntry) -> Launch:
        entry = build["entry"]
        code = self._modules.get(entry, b"")
        if code[:4] != _MAGIC or len(code) % 4:
            raise DeviceError(f"it has no module for {entry}")
        for problem in _shortcomings(self._compute.physical, build):
            raise DeviceError(f"{self._compute.physical.name}: {problem}")
        return _Kernel(self._compute, code, build, frozenset(self._index[entry]["writes"]))


@dataclass
class _Kernel:
    """One entry point; the launch."""

    compute: Compute
    code: bytes
    build: BuildEntry
    writes: frozenset[int]

    def __post_init__(self) -> None:
        slots = self.build["slots"]
        self.arrays = [s.partition(":")[2] for s in slots if s.startswith("ptr:")]
        self.dims = [(n, s.partition(":")[2]) for n, s in enumerate(slots) if s.startswith("dim:")]
        places = {name: f"d[{n}]" for n, name in self.dims}
        self.grid = [expressions.extent(text, places) for text in self.build["grid"]]
        self.strides = [(n, *_stride(s, self.arrays)) for n, s in enumerate(slots) if s.startswith("stride:")]
        self.pushed = struct.Struct(f"<{len(slots) - len(self.arrays)}I")
        self.pipeline: Pipeline | None = None
        self.process = os.getpid()

    def __call__(self, slots: Sequence[int], views: Sequence[View], size: int) -> None:
        if self.process != os.getpid():
            raise LaunchError("E844", f"{self.build['entry']} cannot run: {_FORKED}", fix=_SPAWN)
        values = list(slots)
        dense = [compact(v.shape) for v in views]
        for n, array, axis in self.strides:
            values[n] = dense[array][axis]
        groups = self._groups(slots, views)
        push = self.pushed.pack(*(v & 0xFFFFFFFF for v in values[len(self.arrays) :]))
        with self.compute.lock:
            try:
                self._launch(views, push, groups)
            except VulkanError as e:
                raise LaunchError(
                    "E843", f"{self.build['entry']} failed on {self.compute.physical.name}: {e}",
                    fix="where memory ran out, pass smaller arrays; else see the driver's log",
                ) from None  # fmt: skip
            except Stuck:
                raise LaunchError(
                    "E842",
                    f"{self.build['entry']} did not end within {_seconds():g} s on {self.compute.physical.name}; the "
                    "device is not used again in this process, and the outputs are not written",
                    fix=f"pass smaller arrays, set {SECONDS} to more seconds, or use another target",
                ) from None

    def _groups(self, slots: Sequence[int], views: Sequence[View]) -> tuple[int, int]:
        """The workgroups along x and y; raises `LaunchError` E841 for what 32-bit indices or the device cannot do."""
        device = self.compute.physical
        total = math.prod(extent((), slots, ()) for extent in self.grid)
        sizes = [math.prod(v.shape) for v in views]
        across = min(total, device.groups[0])
        facts = [(f"the dimension {name}", slots[n], LARGEST) for n, name in self.dims]
        facts.append(("the number of programs", total, LARGEST))
        facts += [(f"the number of elements of {name}", size, LARGEST) for name, size in zip(self.arrays, sizes)]
        facts += [
            (f"the number of bytes of {name}", size * _ELEMENT, device.storage_range)
            for name, size in zip(self.arrays, sizes)
        ]
        facts.append(("the number of rows of workgroups", -(-total // across), device.groups[1]))
        for what, value, most in facts:
            if value > most:
                raise LaunchError(
                    "E841",
                    f"{what} is {value} in a call of {self.build['entry']}, and {device.name} takes {most}",
                    fix="call the kernel on parts of the arrays, or use another target",
                )
        return across, -(-total // across)

    def _launch(self, views: Sequence[View], push: bytes, groups: tuple[int, int]) -> None:
        if self.pipeline is None:
            self.pipeline = self.compute.pipeline(self.code, self.build["entry"], len(self.arrays), self.pushed.size)
        taken: list[tuple[Buffer, int]] = []
        try:
            for view in views:
                size = math.prod(view.shape) * _ELEMENT
                taken.append((self.compute.take(size), size))
                # outputs too: what a kernel does not write keeps its value
                for host, device, length in _pieces(view, taken[-1][0].pointer):
                    ctypes.memmove(device, host, length)
            self.compute.run(self.pipeline, taken, push, groups, _seconds())
            for n in sorted(self.writes):
                for host, device, length in _pieces(views[n], taken[n][0].pointer):
                    ctypes.memmove(host, device, length)
        except Stuck:
            taken.clear()  # the device may still write there
            raise
        finally:
            for buffer, _ in taken:
                self.compute.give(buffer)


def _stride(slot: str, arrays: Sequence[str]) -> tuple[int, int]:
    _, name, axis = slot.split(":")
    return arrays.index(name), int(axis)


def _pieces(view: View, pointer: int) -> Iterator[tuple[int, int, int]]:
    """(address, address in the dense copy, bytes) of the runs that an array consists of."""
    axes = len(view.shape)
    run = 1
    while axes and (view.shape[axes - 1] == 1 or view.strides[axes - 1] == run):
        run *= view.shape[axes - 1]
        axes -= 1
    outer, steps = view.shape[:axes], view.strides[:axes]
    length = run * _ELEMENT
    for number, at in enumerate(itertools.product(*map(range, outer))):
        offset = sum(a * s for a, s in zip(at, steps))
        yield view.pointer + offset * _ELEMENT, pointer + number * length, length


def _seconds() -> float:
    try:
        return max(0.0, float(os.environ.get(SECONDS, "120")))
    except ValueError:
        return 120.0
