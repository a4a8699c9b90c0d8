"""Arrays of any library as pointer, extents and strides, through DLPack.

The layouts of `DLTensor`, `DLManagedTensor` and `DLManagedTensorVersioned` and the flag bits are those of the
public dlpack.h (version 1.1). A capsule is borrowed, never consumed: its own destructor returns the memory to the
producer when the `View` that holds it goes away.
"""

from __future__ import annotations

import ctypes
import struct
import sys
from typing import Any, NamedTuple

from tilebuild.runtime.dtypes import word

READ_ONLY, COPIED = 1, 2  # DLPACK_FLAG_BITMASK_READ_ONLY, DLPACK_FLAG_BITMASK_IS_COPIED
CPU = 1  # kDLCPU
DEVICE_NAMES = {
    1: "cpu", 2: "cuda", 3: "cuda host", 4: "opencl", 7: "vulkan", 8: "metal", 9: "vpi", 10: "rocm", 11: "rocm host",
    12: "extension", 13: "cuda managed", 14: "oneapi", 15: "webgpu", 16: "hexagon", 17: "maia", 18: "trainium",
}  # fmt: skip

# data, device type, device id, ndim, dtype, shape, strides, byte_offset; no padding on 64-bit machines
_TENSOR = struct.Struct("=QiiiIQQQ")
_VERSIONED = struct.Struct("=II16xQQiiiIQQQ")  # major, minor, (manager_ctx, deleter), flags, then the tensor
_EXTENTS = tuple(struct.Struct(f"={n}q") for n in range(65))
# all addresses as one buffer, to unpack from: making a ctypes object for each read takes twice as long as reading
_MEMORY = memoryview((ctypes.c_char * sys.maxsize).from_address(0))
_MAX_VERSION = (1, 1)
_NAME, _NAME_VERSIONED = b"dltensor", b"dltensor_versioned"
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)
_INTERFACE_CODES = {"i": 0, "u": 1, "f": 2, "c": 5, "b": 6}


class View(NamedTuple):
    """An array's memory: `pointer` in bytes, `shape` and `strides` in elements, `dtype` a DLDataType word,
    `device` a DLDeviceType, `flags` DLPack's. `owner` keeps the memory alive; what follows it is the geometry."""

    pointer: int
    owner: object
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: int
    device: int
    device_id: int
    flags: int


class _Kind(NamedTuple):
    """What is known of an array type: whether `__dlpack__` takes `max_version`, and flags that it fails to set."""

    versioned: bool
    flags: int


_kinds: dict[type, _Kind] = {}


class ExportError(Exception):
    """`value` gives no view of its memory; `code` is the E8xx that fits, `fix` may be empty."""

    def __init__(self, code: str, reason: str, fix: str = "") -> None:
        self.code, self.fix = code, fix
        super().__init__(reason)


def export(value: Any) -> View:
    """The view of an array; raises `ExportError`."""
    kind = _kinds.get(type(value))
    try:
        if kind is None:
            kind, capsule = _first(value)
        elif kind.versioned:
            capsule = value.__dlpack__(max_version=_MAX_VERSION)
        else:
            capsule = value.__dlpack__()
    except ExportError:
        raise
    except Exception as e:  # producers raise what they like; their words go into the message
        return _without_dlpack(value, e)
    return _read(capsule, kind.flags)


def _first(value: Any) -> tuple[_Kind, object]:
    if hasattr(value, "mask") and framework(value) == "numpy":
        raise ExportError("E811", "is a masked array, and DLPack knows no masks", "pass .filled(...)")
    # JAX arrays never change, but an old version's capsule does not say so
    flags = READ_ONLY if type(value).__module__.partition(".")[0] in ("jax", "jaxlib") else 0
    try:
        capsule = value.__dlpack__(max_version=_MAX_VERSION)
        kind = _Kind(True, flags)
    except TypeError:
        capsule = value.__dlpack__()
        kind = _Kind(False, flags)
    _kinds[type(value)] = kind
    return kind, capsule


def _read(capsule: object, flags: int) -> View:
    try:
        address = _pointer(capsule, _NAME_VERSIONED)
    except ValueError:
        try:
            address = _pointer(capsule, _NAME)
        except ValueError:
            raise ExportError("E811", f"gives {capsule!r:.60} as its unused DLPack capsule") from None
        data, device, device_id, ndim, dtype, shape_at, strides_at, offset = _TENSOR.unpack_from(_MEMORY, address)
    else:
        major, minor, given, data, device, device_id, ndim, dtype, shape_at, strides_at, offset = (
            _VERSIONED.unpack_from(_MEMORY, address)
        )
        if major != _MAX_VERSION[0]:
            raise ExportError("E811", f"has DLPack version {major}.{minor}, and 1.x is read here")
        flags |= given
    shape: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    if ndim:
        if ndim >= len(_EXTENTS):
            raise ExportError("E813", f"has {ndim} dimensions, and at most {len(_EXTENTS) - 1} are read")
        extents = _EXTENTS[ndim]
        shape = extents.unpack_from(_MEMORY, shape_at)
        strides = extents.unpack_from(_MEMORY, strides_at) if strides_at else compact(shape)
    if not data and 0 not in shape:
        raise ExportError("E811", "has no memory: its address is null")
    # half the time of the named constructor, on the path of every call
    return tuple.__new__(View, (data + offset, capsule, shape, strides, dtype, device, device_id, flags))


def compact(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides, in elements, of a row-major array without gaps."""
    strides, step = [], 1
    for extent in reversed(shape):
        strides.append(step)
        step *= max(extent, 1)
    return tuple(reversed(strides))


def _without_dlpack(value: Any, cause: Exception) -> View:
    """What `__dlpack__` refused: an old NumPy's read-only array is read, anything else is explained."""
    if getattr(value, "requires_grad", False) is True:
        raise ExportError("E825", "requires grad, and the kernel has no backward pass", "pass .detach()") from None
    device = getattr(getattr(value, "device", None), "type", "cpu")  # torch's way to say where an array is
    if device != "cpu":
        raise ExportError(
            "E814", f"is on the device {device}, which shares no memory: {cause}", "create it, or move it, to the cpu"
        ) from None
    interface = getattr(value, "__array_interface__", None)
    if isinstance(interface, dict):
        return _from_interface(interface)
    if not hasattr(value, "__dlpack__"):
        kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
        raise ExportError(
            "E811", f"is a {kind}, not an array: it has no __dlpack__", "pass a NumPy array or a torch tensor"
        ) from None
    raise ExportError("E811", f"cannot be shared through DLPack: {cause}") from None


def _from_interface(interface: dict[str, Any]) -> View:
    """NumPy's array interface, version 3; strides there are in bytes."""
    order, kind, size = interface["typestr"][0], interface["typestr"][1], int(interface["typestr"][2:])
    if kind not in _INTERFACE_CODES:
        raise ExportError("E812", f"has the dtype {interface['typestr']!r}")
    if order not in ("|", "<" if sys.byteorder == "little" else ">"):
        raise ExportError(
            "E825", f"has the byte order of another machine ({interface['typestr']!r})",
            'pass .astype(a.dtype.newbyteorder("="))',
        )  # fmt: skip
    shape = tuple(interface["shape"])
    data = interface.get("data")
    if data is None or interface.get("mask") is not None:
        raise ExportError("E811", "has an array interface with no address, or with a mask")
    steps = interface.get("strides")
    if steps is not None and any(s % size for s in steps):
        raise ExportError(
            "E818", f"has strides of {tuple(steps)} bytes, no multiples of its element's {size}",
            "pass numpy.ascontiguousarray(a)",
        )  # fmt: skip
    strides = compact(shape) if steps is None else tuple(s // size for s in steps)
    flags = READ_ONLY if data[1] else 0
    return View(data[0], interface, shape, strides, word(_INTERFACE_CODES[kind], 8 * size), CPU, 0, flags)


def framework(value: object) -> str:
    """ "numpy", "torch", or "" for any other library; imports neither."""
    for name, kind in (("numpy", "ndarray"), ("torch", "Tensor")):
        module = sys.modules.get(name)
        if module is not None and isinstance(value, getattr(module, kind)):
            return name
    return ""
