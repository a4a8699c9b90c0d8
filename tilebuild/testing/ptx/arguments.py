"""Arguments of a launch: NumPy arrays into the emulated global memory and back, scalars into the parameter block."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilebuild.testing.ptx.declarations import SIZES
from tilebuild.testing.ptx.faults import Fault
from tilebuild.testing.ptx.global_memory import READ, SLACK, WRITE, GlobalMemory
from tilebuild.testing.ptx.syntax import Function, Variable

Array = NDArray[Any]
ALIGN = 256
_Key = tuple[int, int]
"""An array's place: which argument, and which member of it if that is a structure, else -1."""


@dataclass(frozen=True)
class Placed:
    """An array whose first element lies `offset` bytes past a multiple of 256 in global memory."""

    array: Array
    offset: int


@dataclass(frozen=True)
class Structure:
    """A parameter that is a C structure of the device: `format` is one of the standard library's `struct`, with native
    alignment; an array among `values` stands for its address (P)."""

    values: Sequence[Any]
    format: str

    def pack(self, addresses: Mapping[int, int]) -> bytes:
        """Its bytes; `addresses` of the arrays by their places."""
        return struct.pack(self.format, *(addresses.get(n, v) for n, v in enumerate(self.values)))


@dataclass(frozen=True)
class _Copy:
    array: Array
    inside: Array
    """The same elements in the emulated memory."""


class Arguments:
    """What a launch gets. Elements of an array can be read, and written where the array is writeable; the bytes
    between the elements of a strided array, and all others, can be neither. Arrays that share memory do so there."""

    def __init__(self, function: Function, values: Sequence[Any], memory: GlobalMemory) -> None:
        wanted = len(function.parameters)
        if len(values) != wanted:
            names = ", ".join(p.name for p in function.parameters)
            message = f"{function.name} has {wanted} parameters ({names}); {len(values)} arguments were given"
            raise Fault("EMU-03", message, function.line, "give one argument a parameter, in order")
        self._copies: list[_Copy] = []
        addresses = self._place(function, values, memory)
        block = bytearray()
        self.offsets: dict[str, int] = {}
        for n, (parameter, value) in enumerate(zip(function.parameters, values)):
            block.extend(bytes(-len(block) % max(1, parameter.align)))
            self.offsets[parameter.name] = len(block)
            raw = addresses.get((n, -1), value)
            if isinstance(value, Structure):
                raw = value.pack({m: address for (k, m), address in addresses.items() if k == n})
            block.extend(_bytes(parameter, raw))
        self.base = memory.allocate("the parameters", np.frombuffer(bytes(block), np.uint8), READ, ALIGN)

    def _place(self, function: Function, values: Sequence[Any], memory: GlobalMemory) -> dict[_Key, int]:
        arrays = dict(_arrays(values))
        for n, m in arrays:
            parameter = function.parameters[n]
            if m < 0 and SIZES[parameter.type] * parameter.count != 8:
                what = f"argument {n} is an array, but {parameter.name} is no pointer"
                raise Fault("EMU-03", what, parameter.line, "check the order of the arguments")
        addresses: dict[_Key, int] = {}
        for group in _overlapping({key: _bounds(a) for key, (a, _) in arrays.items()}):
            low, high = min(_bounds(arrays[k][0])[0] for k in group), max(_bounds(arrays[k][0])[1] for k in group)
            first, offset = arrays[group[0]]
            lead = first.ctypes.data - low if first.size else 0
            title = " and ".join(f"argument {n} ({function.parameters[n].name})" for n, _ in group)
            start = memory.allocate(title, np.zeros(high - low, np.uint8), 0, ALIGN, (offset - lead) % ALIGN)
            for key in group:
                array = arrays[key][0]
                addresses[key] = start + (array.ctypes.data - low if array.size else 0)
                inside = memory.elements(addresses[key], array)
                inside[...] = array
                memory.permit(addresses[key], array, READ | WRITE if array.flags.writeable else READ)
                if array.flags.writeable:
                    self._copies.append(_Copy(array, inside))
        return addresses

    @staticmethod
    def capacity(values: Sequence[Any]) -> int:
        """How much global memory arguments take, at most."""
        sizes = [_bounds(a)[1] - _bounds(a)[0] + SLACK for _, (a, _) in _arrays(values)]
        return sum(sizes) + 8 * len(values) + sum(len(v) for v in values if isinstance(v, bytes)) + 2 * SLACK

    def copy_back(self) -> None:
        """Give the arrays what the kernel left."""
        for copy in self._copies:
            copy.array[...] = copy.inside


def _arrays(values: Sequence[Any]) -> Iterator[tuple[_Key, tuple[Array, int]]]:
    """The arrays among arguments, each with the offset of its first element."""
    for n, value in enumerate(values):
        inner = enumerate(value.values) if isinstance(value, Structure) else [(-1, value)]
        for m, item in inner:
            array, offset = (item.array, item.offset) if isinstance(item, Placed) else (item, 0)
            if isinstance(array, np.ndarray) and array.ndim:
                yield (n, m), (array, offset)


def _bounds(array: Array) -> tuple[int, int]:
    """The address of an array's first byte and of the one past its last."""
    low = high = array.ctypes.data
    for extent, stride in zip(array.shape, array.strides):
        low += min(0, (extent - 1) * stride)
        high += max(0, (extent - 1) * stride)
    return (low, high + array.itemsize) if array.size else (0, 0)


def _overlapping(bounds: Mapping[_Key, tuple[int, int]]) -> list[list[_Key]]:
    """Arguments whose bytes overlap, together."""
    groups: list[list[_Key]] = []
    end = -1
    for n in sorted(bounds, key=lambda n: bounds[n]):
        low, high = bounds[n]
        if low < end and high > low:
            groups[-1].append(n)
        else:
            groups.append([n])
        end = max(end, high)
    return groups


_PACKED = {"f32": "<f", "f64": "<d", "f16": "<e"}


def _bytes(parameter: Variable, value: Any) -> bytes:
    size = SIZES[parameter.type] * parameter.count
    if value is None:
        return bytes(size)
    if isinstance(value, (bytes, bytearray)) or parameter.array:
        raw = bytes(value)
    elif parameter.type in _PACKED:
        raw = struct.pack(_PACKED[parameter.type], float(value))
    elif isinstance(value, (float, np.floating)):
        # an untyped parameter (.b32) takes a number in the format of its size
        raw = struct.pack({2: "<e", 4: "<f", 8: "<d"}[size], float(value))
    else:
        number = int(value)
        if not -(1 << 8 * size - 1) <= number < 1 << 8 * size:
            raise Fault("EMU-03", f"{number} does not fit {parameter.name} ({size} bytes)", parameter.line)
        raw = (number & (1 << 8 * size) - 1).to_bytes(size, "little")
    if len(raw) != size:
        raise Fault("EMU-03", f"{parameter.name} has {size} bytes; {len(raw)} were given", parameter.line)
    return raw
