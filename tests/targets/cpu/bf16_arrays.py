"""bf16 arrays for tests: NumPy has no such dtype, so their 16-bit words travel through DLPack under the right name."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

_BFLOAT = 4  # DLDataTypeCode of dlpack.h
_CODE = 20  # bytes before DLTensor.dtype.code: data, device, ndim


class BF16:
    """float32 values rounded to bf16, in `words`; a producer of DLPack without versions."""

    def __init__(self, values: Any) -> None:
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
        self.words = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)

    @property
    def values(self) -> Any:
        """As float64."""
        return (self.words.astype(np.uint32) << 16).view(np.float32).astype(np.float64)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)

    def __dlpack__(self, **options: Any) -> Any:
        if "max_version" in options:
            raise TypeError("__dlpack__() got an unexpected keyword argument 'max_version'")
        capsule = self.words.__dlpack__()
        pointer = ctypes.pythonapi.PyCapsule_GetPointer
        pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        ctypes.c_uint8.from_address(pointer(capsule, b"dltensor") + _CODE).value = _BFLOAT
        return capsule


def empty(*shape: int) -> BF16:
    """An array of NaNs."""
    return BF16(np.full(shape, np.nan))
