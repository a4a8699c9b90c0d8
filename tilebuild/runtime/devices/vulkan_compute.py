"""One Vulkan device at work: buffers, pipelines, and launches that end before they return.

Arrays are CPU memory: every launch copies them into buffers that host and device both see, and copies back what was
written. Buffers are kept for the next launch. One launch runs at a time; threads wait for each other.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence
from ctypes import byref, c_float, c_uint64, c_void_p
from dataclasses import dataclass
from typing import Any

from tilebuild.runtime.devices import vulkan as vk
from tilebuild.runtime.devices.vulkan import Api, PhysicalDevice, VulkanError

KEPT_BYTES = 256 << 20  # of buffers that wait for the next launch
_SMALLEST = 1 << 12
_TRANSFER_AND_STORAGE = 0x20
_SHADER_STAGE, _HOST_STAGE, _SHADER_WRITE, _HOST_READ = 0x800, 0x4000, 0x40, 0x2000


@dataclass(frozen=True)
class Buffer:
    """`size` bytes of memory at `pointer`, which the device sees as `handle`."""

    handle: int
    memory: int
    pointer: int
    size: int


@dataclass(frozen=True)
class Pipeline:
    """One entry point, with the one descriptor set that its launches use in turn."""

    handle: int
    layout: int
    set_layout: int
    pool: int
    set: int
    buffers: int
    push_bytes: int


class Stuck(Exception):
    """A launch did not end in time; the device is not used again, and nothing of it is freed."""


class Compute:
    """A logical device with one queue. `lock` is held by every launch."""

    def __init__(self, api: Api, physical: PhysicalDevice) -> None:
        """Raises `VulkanError`."""
        self._api, self.physical = api, physical
        self.lock = threading.RLock()
        self._free: dict[int, list[Buffer]] = {}
        self._kept = 0
        self._pipelines: list[Pipeline] = []
        self._device = self._create()
        queue = c_void_p()
        api.vkGetDeviceQueue(self._device, physical.family, 0, byref(queue))
        self._queue = queue.value
        self._command_pool = self._handle("vkCreateCommandPool", vk.CommandPoolInfo(flags=2, family=physical.family))
        self._commands = self._command_buffer()
        self._fence = self._handle("vkCreateFence", vk.FenceInfo())
        self._memory = vk.MemoryProperties()
        api.vkGetPhysicalDeviceMemoryProperties(physical.handle, byref(self._memory))
        self._stuck = False

    def _create(self) -> int:
        priority = (c_float * 1)(1.0)
        queue = vk.QueueInfo(family=self.physical.family, count=1, priorities=priority)
        # a device that offers this extension wants it to be asked for
        portable = vk.PORTABILITY_SUBSET in vk.device_extensions(self._api, self.physical.handle)
        names = (ctypes.c_char_p * 1)(vk.PORTABILITY_SUBSET)
        info = vk.DeviceInfo(
            queueCount=1,
            queues=ctypes.addressof(queue),
            extensionCount=int(portable),
            extensions=ctypes.addressof(names),
        )
        device = c_void_p()
        self._api.vkCreateDevice(self.physical.handle, byref(info), None, byref(device))
        assert device.value is not None
        return device.value

    def _handle(self, function: str, info: Any) -> int:
        """What a function of the form (device, info, allocator, out handle) makes."""
        result = c_uint64()
        getattr(self._api, function)(self._device, byref(info), None, byref(result))
        return result.value

    def _command_buffer(self) -> int:
        result = c_void_p()
        info = vk.CommandInfo(pool=self._command_pool, count=1)
        self._api.vkAllocateCommandBuffers(self._device, byref(info), byref(result))
        assert result.value is not None
        return result.value

    # -- buffers -------------------------------------------------------------------------------------

    def take(self, size: int) -> Buffer:
        """A buffer of at least so many bytes; raises `VulkanError`."""
        rounded = max(_SMALLEST, 1 << (size - 1).bit_length())
        if self._free.get(rounded):
            self._kept -= rounded
            return self._free[rounded].pop()
        try:
            return self._allocate(rounded)
        except VulkanError as e:
            if e.result not in vk.OUT_OF_MEMORY or not self._kept:
                raise
            self.trim(0)
            return self._allocate(rounded)

    def give(self, buffer: Buffer) -> None:
        """Keep a buffer for the next launch."""
        self._free.setdefault(buffer.size, []).append(buffer)
        self._kept += buffer.size
        self.trim(KEPT_BYTES)

    def trim(self, most: int) -> None:
        """Free kept buffers, the largest first, until no more than so many bytes are kept."""
        for size in sorted(self._free, reverse=True):
            while self._free[size] and self._kept > most:
                self._kept -= size
                self._release(self._free[size].pop())

    def _allocate(self, size: int) -> Buffer:
        handle = self._handle("vkCreateBuffer", vk.BufferInfo(size=size, usage=_TRANSFER_AND_STORAGE))
        memory = 0
        try:
            needed = vk.Requirements()
            self._api.vkGetBufferMemoryRequirements(self._device, handle, byref(needed))
            info = vk.MemoryInfo(size=needed.size, type=self._memory_type(needed.types))
            memory = self._handle("vkAllocateMemory", info)
            self._api.vkBindBufferMemory(self._device, handle, memory, 0)
            pointer = c_void_p()
            self._api.vkMapMemory(self._device, memory, 0, size, 0, byref(pointer))
        except BaseException:
            self._release(Buffer(handle, memory, 0, size))
            raise
        assert pointer.value is not None
        return Buffer(handle, memory, pointer.value, size)

    def _memory_type(self, allowed: int) -> int:
        """Memory that host and device see without flushes, cached by the host where there is such."""
        flags = [t.flags for t in self._memory.types[: self._memory.typeCount]]
        for wanted in (vk.HOST_VISIBLE | vk.HOST_COHERENT | vk.HOST_CACHED, vk.HOST_VISIBLE | vk.HOST_COHERENT):
            for n, have in enumerate(flags):
                if allowed >> n & 1 and have & wanted == wanted:
                    return n
        raise VulkanError("vkGetPhysicalDeviceMemoryProperties, asked for host visible, coherent memory,", -13)

    def _release(self, buffer: Buffer) -> None:
        self._api.vkDestroyBuffer(self._device, buffer.handle, None)
        if buffer.memory:
            self._api.vkFreeMemory(self._device, buffer.memory, None)

    # -- pipelines -----------------------------------------------------------------------------------

    def pipeline(self, code: bytes, entry: str, buffers: int, push_bytes: int) -> Pipeline:
        """Compile a module's entry point; raises `VulkanError`. Kept until the end."""
        bindings = (vk.Binding * buffers)(
            *(vk.Binding(binding=n, kind=vk.STORAGE_BUFFER, count=1, stages=vk.COMPUTE) for n in range(buffers))
        )
        info = vk.SetLayoutInfo(count=buffers, bindings=ctypes.addressof(bindings))
        set_layout = self._handle("vkCreateDescriptorSetLayout", info)
        sets = (c_uint64 * 1)(set_layout)
        pushed = vk.PushRange(stages=vk.COMPUTE, offset=0, size=push_bytes)
        layout = self._handle(
            "vkCreatePipelineLayout",
            vk.LayoutInfo(
                setCount=1,
                sets=ctypes.addressof(sets),
                rangeCount=int(push_bytes > 0),
                ranges=ctypes.addressof(pushed),
            ),
        )
        size = vk.PoolSize(kind=vk.STORAGE_BUFFER, count=buffers)
        pool = self._handle("vkCreateDescriptorPool", vk.PoolInfo(maxSets=1, sizeCount=1, sizes=ctypes.addressof(size)))
        one = c_uint64()
        set_info = vk.SetInfo(pool=pool, count=1, layouts=ctypes.addressof(sets))
        self._api.vkAllocateDescriptorSets(self._device, byref(set_info), byref(one))
        handle = self._compile(code, entry, layout)
        made = Pipeline(handle, layout, set_layout, pool, one.value, buffers, push_bytes)
        self._pipelines.append(made)
        return made

    def _compile(self, code: bytes, entry: str, layout: int) -> int:
        words = ctypes.create_string_buffer(code, len(code))
        module = self._handle("vkCreateShaderModule", vk.ModuleInfo(size=len(code), code=ctypes.addressof(words)))
        stage = vk.StageInfo(stage=vk.COMPUTE, module=module, name=entry.encode())
        info = vk.PipelineInfo(stage=stage, layout=layout, baseIndex=-1)
        result = c_uint64()
        try:
            self._api.vkCreateComputePipelines(self._device, 0, 1, byref(info), None, byref(result))
        finally:
            self._api.vkDestroyShaderModule(self._device, module, None)
        return result.value

    # -- launches ------------------------------------------------------------------------------------

    def run(
        self,
        pipeline: Pipeline,
        buffers: Sequence[tuple[Buffer, int]],
        push: bytes,
        groups: tuple[int, int],
        seconds: float,
    ) -> None:
        """Dispatch on buffers, of each so many bytes, and wait; raises `VulkanError`, and `Stuck` after `seconds`."""
        if self._stuck:
            raise Stuck
        self._bind(pipeline, buffers)
        api, commands = self._api, self._commands
        api.vkResetCommandBuffer(commands, 0)
        api.vkBeginCommandBuffer(commands, byref(vk.BeginInfo(flags=1)))
        api.vkCmdBindPipeline(commands, 1, pipeline.handle)
        sets = (c_uint64 * 1)(pipeline.set)
        api.vkCmdBindDescriptorSets(commands, 1, pipeline.layout, 0, 1, sets, 0, None)
        if push:
            api.vkCmdPushConstants(commands, pipeline.layout, vk.COMPUTE, 0, len(push), push)
        api.vkCmdDispatch(commands, *groups, 1)
        barrier = vk.MemoryBarrier(source=_SHADER_WRITE, target=_HOST_READ)
        api.vkCmdPipelineBarrier(commands, _SHADER_STAGE, _HOST_STAGE, 0, 1, byref(barrier), 0, None, 0, None)
        api.vkEndCommandBuffer(commands)
        self._submit(seconds)

    def _bind(self, pipeline: Pipeline, buffers: Sequence[tuple[Buffer, int]]) -> None:
        ranges = [vk.DescriptorBuffer(buffer=b.handle, offset=0, range=size) for b, size in buffers]
        writes = (vk.WriteSet * len(buffers))(
            *(
                vk.WriteSet(set=pipeline.set, binding=n, count=1, kind=vk.STORAGE_BUFFER, buffers=ctypes.addressof(r))
                for n, r in enumerate(ranges)
            )
        )
        self._api.vkUpdateDescriptorSets(self._device, len(buffers), writes, 0, None)

    def _submit(self, seconds: float) -> None:
        commands, fences = (c_void_p * 1)(self._commands), (c_uint64 * 1)(self._fence)
        info = vk.SubmitInfo(commandCount=1, commands=ctypes.addressof(commands))
        self._api.vkQueueSubmit(self._queue, 1, byref(info), self._fence)
        result = self._api.raw("vkWaitForFences")(self._device, 1, fences, 1, int(seconds * 1e9))
        if result == vk.TIMEOUT:
            self._stuck = True
            raise Stuck
        if result != vk.SUCCESS:
            self._stuck = True  # what the device still does, nobody knows
            raise VulkanError("vkWaitForFences", result)
        self._api.vkResetFences(self._device, 1, fences)

    def close(self) -> bool:
        """Free everything; nothing, and False, where a launch is stuck: the device may still use it."""
        with self.lock:
            if self._stuck:
                return False
            self._stuck = True
            self.trim(0)
            for p in self._pipelines:
                self._api.vkDestroyPipeline(self._device, p.handle, None)
                self._api.vkDestroyPipelineLayout(self._device, p.layout, None)
                self._api.vkDestroyDescriptorPool(self._device, p.pool, None)
                self._api.vkDestroyDescriptorSetLayout(self._device, p.set_layout, None)
            self._api.vkDestroyFence(self._device, self._fence, None)
            self._api.vkDestroyCommandPool(self._device, self._command_pool, None)
            self._api.vkDestroyDevice(self._device, None)
            return True
