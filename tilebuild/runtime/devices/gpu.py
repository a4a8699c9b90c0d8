"""The gpu device: fatbins through NVIDIA's driver API, by ctypes. The driver library is loaded when first asked for.

A library holds machine code for one architecture and, unless the build left it out, its PTX, which the driver
compiles for newer ones. A kernel is launched on the caller's current stream (torch's or CuPy's, else the default one)
in the device's primary context, which frameworks use too; the call returns once the launch is queued.
"""

from __future__ import annotations

import ctypes
import functools
import gzip
import hashlib
import json
import os
import struct
import sys
import threading
from collections.abc import Sequence
from typing import Any

from tilebuild.manifest import BuildEntry, LibraryEntry
from tilebuild.runtime import expressions
from tilebuild.runtime.arrays import View
from tilebuild.runtime.devices import DeviceError, Launch
from tilebuild.runtime.errors import LaunchError

rank = 10
memory = frozenset({2})  # kDLCUDA

# names and values of cuda.h
_NAMES = ("libcuda.so.1", "nvcuda.dll")
_MAJOR, _MINOR, _SHARED_OPTIN = 75, 76, 97  # CU_DEVICE_ATTRIBUTE_...
_MAX_DYNAMIC_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
_POINTER, _SIZE, _END = 1, 2, 0  # CU_LAUNCH_PARAM_...
_NO_IMAGE = 209  # CUDA_ERROR_NO_BINARY_FOR_GPU
_MOST_BLOCKS = (1 << 31) - 1
_STATIC_SHARED = 48 * 1024


class _Driver:
    """The driver library, initialised, and its devices' compute capabilities; raises `DeviceError`."""

    def __init__(self) -> None:
        self.api = _load()
        code = self.api.cuInit(0)
        if code:
            raise DeviceError(f"the NVIDIA driver does not start: {self.error(code)}")
        count = ctypes.c_int()
        self.check(self.api.cuDeviceGetCount(ctypes.byref(count)), "counting devices")
        self.capabilities = [(self.attribute(d, _MAJOR), self.attribute(d, _MINOR)) for d in range(count.value)]
        self._contexts: dict[int, ctypes.c_void_p] = {}
        self._lock = threading.Lock()

    def error(self, code: int) -> str:
        name, text = ctypes.c_char_p(), ctypes.c_char_p()
        self.api.cuGetErrorName(code, ctypes.byref(name))
        self.api.cuGetErrorString(code, ctypes.byref(text))
        return f"{(name.value or b'error').decode()} ({(text.value or str(code).encode()).decode()})"

    def check(self, code: int, what: str) -> None:
        if code:
            raise DeviceError(f"{what} failed: {self.error(code)}")

    def attribute(self, device: int, attribute: int) -> int:
        value = ctypes.c_int()
        self.check(self.api.cuDeviceGetAttribute(ctypes.byref(value), attribute, device), "asking the device")
        return value.value

    def context(self, device: int) -> ctypes.c_void_p:
        """The device's primary context, kept for the rest of the process."""
        with self._lock:
            if device not in self._contexts:
                context = ctypes.c_void_p()
                self.check(self.api.cuDevicePrimaryCtxRetain(ctypes.byref(context), device), "opening the device")
                self._contexts[device] = context
            return self._contexts[device]


class _Current:
    """Makes a context the thread's current one, and gives back the one before: a framework's idea of its current
    device must not change behind its back."""

    def __init__(self, driver: _Driver, device: int) -> None:
        self._driver, self._context = driver, driver.context(device)
        self._pushed = False

    def __enter__(self) -> None:
        before = ctypes.c_void_p()
        self._driver.api.cuCtxGetCurrent(ctypes.byref(before))
        if before.value != self._context.value:
            self._driver.check(self._driver.api.cuCtxPushCurrent_v2(self._context), "taking the device")
            self._pushed = True

    def __exit__(self, *_: object) -> None:
        if self._pushed:
            self._driver.api.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))


def _load() -> ctypes.CDLL:
    for name in _NAMES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise DeviceError(f"there is no NVIDIA driver ({_NAMES[sys.platform == 'win32']})")


@functools.lru_cache(maxsize=1)
def _state() -> _Driver | str:
    """The driver, or why there is none; asked once a process."""
    try:
        return _Driver()
    except DeviceError as e:
        return str(e)


def _driver() -> _Driver:
    state = _state()
    if isinstance(state, str):
        raise DeviceError(state)
    return state


def available(build: BuildEntry, library: LibraryEntry) -> tuple[bool, str]:
    state = _state()
    if isinstance(state, str):
        return False, state
    if not state.capabilities:
        return False, "the NVIDIA driver shows no device (CUDA_VISIBLE_DEVICES hides them, or there is none)"
    verdicts = [_covers(library, capability) for capability in state.capabilities]
    return next((v for v in verdicts if v[0]), verdicts[0])


def preference(build: BuildEntry, library: LibraryEntry) -> int:
    """How well a build that is available fits the first device, higher is better: machine code before PTX, and then
    the newer architecture."""
    state = _state()
    if isinstance(state, str) or not state.capabilities:
        return 0
    built, device = _capability(library["arch"]), state.capabilities[0]
    return (built[0] == device[0]) * 1000 + built[0] * 10 + built[1]


def _capability(arch: str) -> tuple[int, int]:
    number = int(arch.removeprefix("sm_"))
    return number // 10, number % 10


def _covers(library: LibraryEntry, device: tuple[int, int]) -> tuple[bool, str]:
    """Whether a library has code for a compute capability: its own or a later minor version of it runs the machine
    code, any later one the PTX."""
    built = _capability(library["arch"])
    here = f"the device has compute capability {device[0]}.{device[1]}"
    if built[0] == device[0] and built[1] <= device[1]:
        return True, here
    if not any("kind=ptx" in compiler["flags"] for compiler in library["compilers"]):
        return False, f"{here}, and the library holds machine code for {library['arch']} alone"
    if built < device:
        return True, f"{here}; the driver compiles the PTX of {library['arch']} for it"
    return False, f"{here}, less than the {built[0]}.{built[1]} of {library['arch']}"


def load(path: str, library: LibraryEntry) -> GpuLibrary:
    driver = _driver()
    with open(path, "rb") as f:
        image = f.read()
    root = path
    for _ in library["file"].split("/"):
        root = os.path.dirname(root)
    loaded = GpuLibrary(driver, image, library, root)
    loaded.module(next(d for d, c in enumerate(driver.capabilities) if _covers(library, c)[0]))
    return loaded


class GpuLibrary:
    """A fatbin, loaded once on each device that a launch asks for. `root` is the directory of the manifest."""

    def __init__(self, driver: _Driver, image: bytes, library: LibraryEntry, root: str) -> None:
        self._driver, self._image, self._library, self._root = driver, image, library, root
        self._modules: dict[int, ctypes.c_void_p] = {}
        self._lock = threading.Lock()

    def module(self, device: int) -> ctypes.c_void_p:
        """The module on a device; raises `DeviceError`."""
        with self._lock:
            if device not in self._modules:
                self._modules[device] = self._open(device)
            return self._modules[device]

    def _open(self, device: int) -> ctypes.c_void_p:
        module = ctypes.c_void_p()
        with _Current(self._driver, device):
            code = self._driver.api.cuModuleLoadData(ctypes.byref(module), self._image)
        if code == _NO_IMAGE:
            why = _covers(self._library, self._driver.capabilities[device])[1]
            raise DeviceError(f"the driver finds no code for device {device} in it: {why}")
        self._driver.check(code, "loading it")
        return module

    def function(self, build: BuildEntry) -> Launch:
        return _Function(self._driver, self, build, self._shape(build))

    def _shape(self, build: BuildEntry) -> dict[str, Any]:
        """The launch of the build's plan, which says how many threads a block has."""
        try:
            with open(os.path.join(self._root, *build["plan"].split("/")), "rb") as f:
                text = gzip.decompress(f.read())
            if hashlib.sha256(text).hexdigest() != build["plan_sha256"]:
                raise DeviceError(f"the plan {build['plan']} was altered after it was built")
            launch: dict[str, Any] = json.loads(text)["launch"]
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise DeviceError(f"the plan {build['plan']} cannot be read: {e}") from None
        return launch


class _Function:
    """One entry: a `Launch`."""

    def __init__(self, driver: _Driver, library: GpuLibrary, build: BuildEntry, launch: dict[str, Any]) -> None:
        self._driver, self._library, self._entry = driver, library, build["entry"]
        self._block = (*launch["block"], 1, 1)[:3]
        self._dynamic = int(launch.get("shared_dynamic", 0))
        slots = build["slots"]
        # arguments as the entry declares them: pointers and integers of 8 bytes, then scalars of 4
        self._pack = struct.Struct("=" + "".join("I" if s.startswith("scalar:") else "q" for s in slots)).pack
        self._scalars = sum(s.startswith("scalar:") for s in slots)
        dims = {s.partition(":")[2]: f"d[{i}]" for i, s in enumerate(slots) if s.startswith("dim:")}
        self._grid = [expressions.extent(text, dims) for text in build["grid"]]
        self._functions: dict[int, ctypes.c_void_p] = {}
        self._size = ctypes.c_size_t(struct.calcsize("=" + "q" * (len(slots) - self._scalars) + "I" * self._scalars))
        self.prepare(next(iter(library._modules)))

    def prepare(self, device: int) -> ctypes.c_void_p:
        """The entry on a device; raises `DeviceError`."""
        driver, api = self._driver, self._driver.api
        function = ctypes.c_void_p()
        module = self._library.module(device)
        with _Current(driver, device):
            found = api.cuModuleGetFunction(ctypes.byref(function), module, self._entry.encode())
            driver.check(found, f"finding {self._entry} in it")
            if self._dynamic > _STATIC_SHARED:
                most = driver.attribute(device, _SHARED_OPTIN)
                if self._dynamic > most:
                    raise DeviceError(
                        f"{self._entry} takes {self._dynamic} bytes of shared memory, and a block has {most}"
                    )
            if self._dynamic:
                code = api.cuFuncSetAttribute(function, _MAX_DYNAMIC_SHARED, self._dynamic)
                driver.check(code, f"giving {self._entry} {self._dynamic} bytes of shared memory")
        self._functions[device] = function
        return function

    def __call__(self, slots: Sequence[int], views: Sequence[View], size: int) -> None:
        device = views[0].device_id
        if any(v.device_id != device for v in views):
            listed = ", ".join(str(d) for d in sorted({v.device_id for v in views}))
            raise LaunchError(
                "E831",
                f"the arrays of one call to {self._entry} are on the devices {listed}",
                fix="move them to one device",
            )
        blocks = 1
        for extent in self._grid:
            blocks *= extent((), slots, ())
        if blocks > _MOST_BLOCKS:
            raise LaunchError(
                "E832",
                f"{self._entry} needs {blocks} blocks for these arrays, and a launch has at most {_MOST_BLOCKS}",
                fix="call it on parts of the arrays",
            )
        try:
            function = self._functions.get(device) or self.prepare(device)
            code = self._launch(function, device, blocks, slots)
        except DeviceError as e:
            raise LaunchError("E830", f"{self._entry} cannot be launched on device {device}: {e}") from None
        if code:
            raise LaunchError(
                "E830",
                f"the launch of {self._entry} failed: {self._driver.error(code)}",
                fix="an error of an earlier launch is reported by a later one: CUDA_LAUNCH_BLOCKING=1 tells which",
            )

    def _launch(self, function: ctypes.c_void_p, device: int, blocks: int, slots: Sequence[int]) -> int:
        first = len(slots) - self._scalars
        words = [*slots[:first], *(s & 0xFFFFFFFF for s in slots[first:])]
        data = ctypes.create_string_buffer(self._pack(*words))
        extra = (ctypes.c_void_p * 5)(_POINTER, ctypes.addressof(data), _SIZE, ctypes.addressof(self._size), _END)
        with _Current(self._driver, device):
            code: int = self._driver.api.cuLaunchKernel(
                function, blocks, 1, 1, *self._block, self._dynamic, ctypes.c_void_p(_stream(device)), None, extra
            )
        return code


def _stream(device: int) -> int:
    """The handle of the caller's current stream."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return int(torch.cuda.current_stream(device).cuda_stream)
    cupy = sys.modules.get("cupy")
    return int(cupy.cuda.get_current_stream().ptr) if cupy is not None else 0
