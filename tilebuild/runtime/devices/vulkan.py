"""Vulkan through ctypes: the structures and functions that compute needs, and what the machine's devices are.

Layouts and numbers are those of vulkan_core.h, version 1.2. Nothing is loaded on import.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Mapping
from ctypes import POINTER, c_char, c_char_p, c_float, c_int32, c_size_t, c_uint8, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass
from typing import Any

API_VERSION = (1 << 22) | (2 << 12)
LIBRARIES: Mapping[str, tuple[str, ...]] = {
    "win32": ("vulkan-1.dll",),
    "darwin": ("libvulkan.1.dylib", "libMoltenVK.dylib"),
}
KINDS = ("other", "integrated", "discrete", "virtual", "cpu")
HOST_VISIBLE, HOST_COHERENT, HOST_CACHED = 2, 4, 8
STORAGE_BUFFER, COMPUTE = 7, 0x20  # a descriptor type; a shader stage
SUCCESS, TIMEOUT = 0, 2
_RESULTS = {
    -1: "out of host memory", -2: "out of device memory", -3: "initialisation failed", -4: "device lost",
    -5: "memory map failed", -7: "extension not present", -8: "feature not present", -9: "incompatible driver",
    -10: "too many objects", -13: "unknown error", 1: "not ready", 2: "timeout", 5: "incomplete",
}  # fmt: skip
OUT_OF_MEMORY = (-1, -2)


class VulkanError(Exception):
    """A Vulkan call failed; `result` is its VkResult."""

    def __init__(self, function: str, result: int) -> None:
        self.result = result
        super().__init__(f"{function} gives {result} ({_RESULTS.get(result, 'no known result')})")


def _structure(name: str, *fields: tuple[str, Any], tag: int | None = None) -> Any:
    """A structure; one with a tag starts with sType, which it fills in, and pNext."""
    head = [] if tag is None else [("sType", c_uint32), ("pNext", c_void_p)]

    def initialise(self: Any, **values: Any) -> None:
        ctypes.Structure.__init__(self, **({} if tag is None else {"sType": tag}), **values)

    return type(name, (ctypes.Structure,), {"_fields_": [*head, *fields], "__init__": initialise})


def _words(*names: str) -> list[tuple[str, Any]]:
    return [(name, c_uint32) for name in names]


ApplicationInfo = _structure(
    "ApplicationInfo", ("name", c_char_p), ("version", c_uint32), ("engine", c_char_p), ("engineVersion", c_uint32),
    ("api", c_uint32), tag=0,
)  # fmt: skip
InstanceInfo = _structure(
    "InstanceInfo", ("flags", c_uint32), ("application", c_void_p), ("layerCount", c_uint32), ("layers", c_void_p),
    ("extensionCount", c_uint32), ("extensions", c_void_p), tag=1,
)  # fmt: skip
QueueInfo = _structure(
    "QueueInfo", *_words("flags", "family", "count"), ("priorities", POINTER(c_float)), tag=2
)  # fmt: skip
DeviceInfo = _structure(
    "DeviceInfo", *_words("flags", "queueCount"), ("queues", c_void_p), ("layerCount", c_uint32), ("layers", c_void_p),
    ("extensionCount", c_uint32), ("extensions", c_void_p), ("features", c_void_p), tag=3,
)  # fmt: skip
SubmitInfo = _structure(
    "SubmitInfo", ("waitCount", c_uint32), ("waits", c_void_p), ("stages", c_void_p), ("commandCount", c_uint32),
    ("commands", c_void_p), ("signalCount", c_uint32), ("signals", c_void_p), tag=4,
)  # fmt: skip
MemoryInfo = _structure("MemoryInfo", ("size", c_uint64), ("type", c_uint32), tag=5)
FenceInfo = _structure("FenceInfo", ("flags", c_uint32), tag=8)
BufferInfo = _structure(
    "BufferInfo", ("flags", c_uint32), ("size", c_uint64), *_words("usage", "sharing", "familyCount"),
    ("families", c_void_p), tag=12,
)  # fmt: skip
ModuleInfo = _structure("ModuleInfo", ("flags", c_uint32), ("size", c_size_t), ("code", c_void_p), tag=16)
StageInfo = _structure(
    "StageInfo", *_words("flags", "stage"), ("module", c_uint64), ("name", c_char_p), ("specialization", c_void_p),
    tag=18,
)  # fmt: skip
PipelineInfo = _structure(
    "PipelineInfo", ("flags", c_uint32), ("stage", StageInfo), ("layout", c_uint64), ("base", c_uint64),
    ("baseIndex", c_int32), tag=29,
)  # fmt: skip
LayoutInfo = _structure(
    "LayoutInfo", *_words("flags", "setCount"), ("sets", c_void_p), ("rangeCount", c_uint32), ("ranges", c_void_p),
    tag=30,
)  # fmt: skip
SetLayoutInfo = _structure("SetLayoutInfo", *_words("flags", "count"), ("bindings", c_void_p), tag=32)
PoolInfo = _structure("PoolInfo", *_words("flags", "maxSets", "sizeCount"), ("sizes", c_void_p), tag=33)
SetInfo = _structure("SetInfo", ("pool", c_uint64), ("count", c_uint32), ("layouts", c_void_p), tag=34)
WriteSet = _structure(
    "WriteSet", ("set", c_uint64), *_words("binding", "element", "count", "kind"), ("images", c_void_p),
    ("buffers", c_void_p), ("views", c_void_p), tag=35,
)  # fmt: skip
CommandPoolInfo = _structure("CommandPoolInfo", *_words("flags", "family"), tag=39)
CommandInfo = _structure("CommandInfo", ("pool", c_uint64), *_words("level", "count"), tag=40)
BeginInfo = _structure("BeginInfo", ("flags", c_uint32), ("inheritance", c_void_p), tag=42)
MemoryBarrier = _structure("MemoryBarrier", *_words("source", "target"), tag=46)
PushRange = _structure("PushRange", *_words("stages", "offset", "size"))
Binding = _structure("Binding", *_words("binding", "kind", "count", "stages"), ("samplers", c_void_p))
PoolSize = _structure("PoolSize", *_words("kind", "count"))
DescriptorBuffer = _structure("DescriptorBuffer", ("buffer", c_uint64), ("offset", c_uint64), ("range", c_uint64))
Requirements = _structure("Requirements", ("size", c_uint64), ("alignment", c_uint64), ("types", c_uint32))
QueueFamily = _structure("QueueFamily", *_words("flags", "count", "timestampBits", "width", "height", "depth"))
MemoryType = _structure("MemoryType", *_words("flags", "heap"))
MemoryHeap = _structure("MemoryHeap", ("size", c_uint64), ("flags", c_uint32))
MemoryProperties = _structure(
    "MemoryProperties", ("typeCount", c_uint32), ("types", MemoryType * 32), ("heapCount", c_uint32),
    ("heaps", MemoryHeap * 16),
)  # fmt: skip
Extension = _structure("Extension", ("name", c_char * 256), ("version", c_uint32))
# VkPhysicalDeviceLimits up to the last field that is read here; the whole structure takes 504 bytes
_Limits = _structure(
    "_Limits", ("images", c_uint32 * 6), *_words("uniformRange", "storageRange", "pushConstants"),
    ("allocations", c_uint32 * 2), ("granularity", c_uint64 * 2), ("sets", c_uint32 * 3),
    *_words("storageBuffers"), ("counts", c_uint32 * 34), *_words("sharedBytes"), ("groups", c_uint32 * 3),
    *_words("invocations"), ("groupSize", c_uint32 * 3),
)  # fmt: skip
_Properties = _structure(
    "_Properties", *_words("api", "driver", "vendor", "device", "kind"), ("name", c_char * 256), ("uuid", c_uint8 * 16),
    ("limits", _Limits), ("rest", c_uint8 * 512),
)  # fmt: skip
_Properties2 = _structure("_Properties2", ("properties", _Properties), tag=1000059001)
_FloatControls = _structure(
    "_FloatControls", ("independence", c_uint32 * 2), ("keepNan", c_uint32 * 3), ("others", c_uint32 * 12),
    tag=1000197000,
)  # fmt: skip

_H, _P, _N = c_uint64, c_void_p, c_uint32  # a handle, a pointer or dispatchable handle, a number
_FUNCTIONS: Mapping[str, tuple[Any, ...]] = {
    "vkCreateInstance": (_P, _P, _P), "vkDestroyInstance": (_P, _P), "vkEnumerateInstanceVersion": (_P,),
    "vkEnumerateInstanceExtensionProperties": (_P, _P, _P), "vkEnumeratePhysicalDevices": (_P, _P, _P),
    "vkEnumerateDeviceExtensionProperties": (_P, _P, _P, _P),
    "vkGetPhysicalDeviceProperties": (_P, _P), "vkGetPhysicalDeviceProperties2": (_P, _P),
    "vkGetPhysicalDeviceQueueFamilyProperties": (_P, _P, _P), "vkGetPhysicalDeviceMemoryProperties": (_P, _P),
    "vkCreateDevice": (_P, _P, _P, _P), "vkDestroyDevice": (_P, _P), "vkGetDeviceQueue": (_P, _N, _N, _P),
    "vkCreateCommandPool": (_P, _P, _P, _P), "vkDestroyCommandPool": (_P, _H, _P),
    "vkAllocateCommandBuffers": (_P, _P, _P), "vkResetCommandBuffer": (_P, _N), "vkBeginCommandBuffer": (_P, _P),
    "vkEndCommandBuffer": (_P,), "vkCreateFence": (_P, _P, _P, _P), "vkDestroyFence": (_P, _H, _P),
    "vkResetFences": (_P, _N, _P), "vkWaitForFences": (_P, _N, _P, _N, c_uint64), "vkQueueSubmit": (_P, _N, _P, _H),
    "vkCreateBuffer": (_P, _P, _P, _P), "vkDestroyBuffer": (_P, _H, _P),
    "vkGetBufferMemoryRequirements": (_P, _H, _P), "vkAllocateMemory": (_P, _P, _P, _P), "vkFreeMemory": (_P, _H, _P),
    "vkBindBufferMemory": (_P, _H, _H, c_uint64), "vkMapMemory": (_P, _H, c_uint64, c_uint64, _N, _P),
    "vkCreateShaderModule": (_P, _P, _P, _P), "vkDestroyShaderModule": (_P, _H, _P),
    "vkCreateDescriptorSetLayout": (_P, _P, _P, _P), "vkDestroyDescriptorSetLayout": (_P, _H, _P),
    "vkCreatePipelineLayout": (_P, _P, _P, _P), "vkDestroyPipelineLayout": (_P, _H, _P),
    "vkCreateComputePipelines": (_P, _H, _N, _P, _P, _P), "vkDestroyPipeline": (_P, _H, _P),
    "vkCreateDescriptorPool": (_P, _P, _P, _P), "vkDestroyDescriptorPool": (_P, _H, _P),
    "vkAllocateDescriptorSets": (_P, _P, _P), "vkUpdateDescriptorSets": (_P, _N, _P, _N, _P),
    "vkCmdBindPipeline": (_P, _N, _H), "vkCmdBindDescriptorSets": (_P, _N, _H, _N, _N, _P, _N, _P),
    "vkCmdPushConstants": (_P, _H, _N, _N, _N, _P), "vkCmdDispatch": (_P, _N, _N, _N),
    "vkCmdPipelineBarrier": (_P, _N, _N, _N, _N, _P, _N, _P, _N, _P),
}  # fmt: skip
_NO_RESULT = ("vkDestroy", "vkFree", "vkCmd", "vkGet", "vkUpdate")
_PORTABILITY = b"VK_KHR_portability_enumeration"
PORTABILITY_SUBSET = b"VK_KHR_portability_subset"


class Api:
    """The loader's functions: `api.vkCreateBuffer(...)` raises `VulkanError` unless it succeeds."""

    def __init__(self) -> None:
        """Raises OSError where there is no Vulkan loader."""
        problems = []
        for name in LIBRARIES.get(sys.platform, ("libvulkan.so.1",)):
            try:
                self._library = ctypes.CDLL(name)
                return
            except OSError as e:
                problems.append(str(e))
        raise OSError("; ".join(problems))

    def raw(self, name: str) -> Any:
        """The function itself, which returns its VkResult; raises AttributeError."""
        function = getattr(self._library, name)
        function.argtypes = _FUNCTIONS[name]
        function.restype = None if name.startswith(_NO_RESULT) else c_int32
        return function

    def __getattr__(self, name: str) -> Any:
        function = self.raw(name)
        if function.restype is None:
            call = function
        else:

            def call(*args: Any) -> None:
                result = function(*args)
                if result != SUCCESS:
                    raise VulkanError(name, result)

        setattr(self, name, call)
        return call


@dataclass(frozen=True)
class PhysicalDevice:
    """One device: `kind` of `KINDS`, `api` (major, minor), `family` a queue family with compute, -1 where none."""

    handle: int
    name: str
    kind: str
    api: tuple[int, int]
    family: int
    invocations: int
    group_size: tuple[int, int, int]
    groups: tuple[int, int, int]
    shared_bytes: int
    push_constants: int
    storage_range: int
    storage_buffers: int
    keep_nan: bool


def create_instance(api: Api) -> int:
    """A Vulkan instance; raises `VulkanError`."""
    portable = _PORTABILITY in _extensions(api)
    names = (c_char_p * 1)(_PORTABILITY)
    application = ApplicationInfo(api=API_VERSION)
    info = InstanceInfo(
        application=ctypes.addressof(application),
        flags=int(portable),
        extensionCount=int(portable),
        extensions=ctypes.addressof(names),
    )
    instance = c_void_p()
    api.vkCreateInstance(ctypes.byref(info), None, ctypes.byref(instance))
    assert instance.value is not None
    return instance.value


def _extensions(api: Api) -> set[bytes]:
    count = c_uint32()
    api.vkEnumerateInstanceExtensionProperties(None, ctypes.byref(count), None)
    found = (Extension * count.value)()
    api.vkEnumerateInstanceExtensionProperties(None, ctypes.byref(count), found)
    return {e.name for e in found}


def device_extensions(api: Api, device: int) -> set[bytes]:
    """The names of the extensions that a device has."""
    count = c_uint32()
    api.vkEnumerateDeviceExtensionProperties(device, None, ctypes.byref(count), None)
    found = (Extension * count.value)()
    api.vkEnumerateDeviceExtensionProperties(device, None, ctypes.byref(count), found)
    return {e.name for e in found}


def physical_devices(api: Api, instance: int) -> list[PhysicalDevice]:
    """The machine's devices, in the loader's order; raises `VulkanError`."""
    count = c_uint32()
    api.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), None)
    handles = (c_void_p * count.value)()
    if count.value:
        api.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), handles)
    return [_describe(api, handle) for handle in handles[: count.value] if handle]


def _describe(api: Api, handle: int) -> PhysicalDevice:
    properties = _Properties()
    api.vkGetPhysicalDeviceProperties(handle, ctypes.byref(properties))
    version = properties.api >> 22 & 0x7F, properties.api >> 12 & 0x3FF
    keep_nan = False
    if version >= (1, 2):
        controls = _FloatControls()
        api.vkGetPhysicalDeviceProperties2(handle, ctypes.byref(_Properties2(pNext=ctypes.addressof(controls))))
        keep_nan = bool(controls.keepNan[1])
    limits = properties.limits
    return PhysicalDevice(
        handle,
        properties.name.decode(errors="replace"),
        KINDS[properties.kind] if properties.kind < len(KINDS) else "other",
        version,
        _compute_family(api, handle),
        limits.invocations,
        tuple(limits.groupSize),
        tuple(limits.groups),
        limits.sharedBytes,
        limits.pushConstants,
        limits.storageRange,
        limits.storageBuffers,
        keep_nan,
    )


def _compute_family(api: Api, handle: int) -> int:
    count = c_uint32()
    api.vkGetPhysicalDeviceQueueFamilyProperties(handle, ctypes.byref(count), None)
    families = (QueueFamily * count.value)()
    api.vkGetPhysicalDeviceQueueFamilyProperties(handle, ctypes.byref(count), families)
    return next((n for n, f in enumerate(families) if f.flags & 2 and f.count), -1)
