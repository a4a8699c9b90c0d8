"""Arguments of a launch: NumPy arrays into the emulated global memory and back, scalars into the parameter block."""

from __future__ import annotations

import struct
from collections.abc import Sequence
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


@dataclass(frozen=True)
class Placed:
    """An array whose first element lies `offset` bytes past a multiple of 256 in global memory."""

    array: Array
    offset: int


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
        pointers = self._place(function, values, memory)
        block = bytearray()
        self.offsets: dict[str, int] = {}
        for n, (parameter, value) in enumerate(zip(function.parameters, values)):
            block.extend(bytes(-len(block) % max(1, parameter.align)))
            self.offsets[parameter.name] = len(block)
            block.extend(pointers[n] if n in pointers else _scalar(parameter, value))
        self.base = memory.allocate("the parameters", np.frombuffer(bytes(block), np.uint8), READ, ALIGN)

    def _place(self, function: Function, values: Sequence[Any], memory: GlobalMemory) -> dict[int, bytes]:
        arrays: dict[int, tuple[Array, int]] = {}
        for n, value in enumerate(values):
            array, offset = (value.array, value.offset) if isinstance(value, Placed) else (value, 0)
            if isinstance(array, np.ndarray) and array.ndim:
                if SIZES[function.parameters[n].type] * function.parameters[n].count != 8:
                    what = f"argument {n} is an array, but {function.parameters[n].name} is no pointer"
                    raise Fault("EMU-03", what, function.parameters[n].line, "check the order of the arguments")
                arrays[n] = (array, offset)
        bounds = {n: _bounds(a) for n, (a, _) in arrays.items()}
        pointers: dict[int, bytes] = {}
        for group in _overlapping(bounds):
            low, high = min(bounds[n][0] for n in group), max(bounds[n][1] for n in group)
            first = arrays[group[0]]
            lead = first[0].ctypes.data - low if first[0].size else 0
            title = " and ".join(f"argument {n} ({function.parameters[n].name})" for n in group)
            start = memory.allocate(title, np.zeros(high - low, np.uint8), 0, ALIGN, (first[1] - lead) % ALIGN)
            for n in group:
                array = arrays[n][0]
                at = start + (array.ctypes.data - low if array.size else 0)
                pointers[n] = at.to_bytes(8, "little")
                inside = memory.elements(at, array)
                inside[...] = array
                memory.permit(at, array, READ | WRITE if array.flags.writeable else READ)
                if array.flags.writeable:
                    self._copies.append(_Copy(array, inside))
        return pointers

    @staticmethod
    def capacity(values: Sequence[Any]) -> int:
        """How much global memory arguments take, at most."""
        arrays = [v.array if isinstance(v, Placed) else v for v in values]
        sizes = [_bounds(a)[1] - _bounds(a)[0] for a in arrays if isinstance(a, np.ndarray)]
        return sum(sizes) + SLACK * (len(arrays) + 1)

    def copy_back(self) -> None:
        """Give the arrays what the kernel left."""
        for copy in self._copies:
            copy.array[...] = copy.inside


def _bounds(array: Array) -> tuple[int, int]:
    """The address of an array's first byte and of the one past its last."""
    low = high = array.ctypes.data
    for extent, stride in zip(array.shape, array.strides):
        low += min(0, (extent - 1) * stride)
        high += max(0, (extent - 1) * stride)
    return (low, high + array.itemsize) if array.size else (0, 0)


def _overlapping(bounds: dict[int, tuple[int, int]]) -> list[list[int]]:
    """Arguments whose bytes overlap, together."""
    groups: list[list[int]] = []
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


def _scalar(parameter: Variable, value: Any) -> bytes:
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
