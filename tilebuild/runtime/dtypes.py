"""The dtypes that an array parameter may have, and how DLPack, NumPy and torch call them."""

from __future__ import annotations

import struct
import sys
from collections.abc import Mapping
from typing import NamedTuple

# DLDataTypeCode of dlpack.h, with the letter that stands for it in messages
_LETTERS = {0: "i", 1: "u", 2: "f", 4: "bf", 5: "complex", 6: "bool"}


def word(code: int, bits: int, lanes: int = 1) -> int:
    """A DLDataType (u8 code, u8 bits, u16 lanes) as the native 32-bit word that it occupies in memory."""
    return int.from_bytes(struct.pack("=BBH", code, bits, lanes), sys.byteorder)


def describe(dtype_word: int) -> str:
    """A DLDataType's name in a message, e.g. "f64"."""
    code, bits, lanes = struct.unpack("=BBH", dtype_word.to_bytes(4, sys.byteorder))
    letter = _LETTERS.get(code, f"DLPack type code {code} of bits ")
    name = letter if letter == "bool" and bits == 8 else f"{letter}{bits}"
    return name if lanes == 1 else f"{name} in {lanes} lanes"


class Dtype(NamedTuple):
    """`numpy` is empty where NumPy has no such dtype; `bytes` is the size of one element."""

    name: str
    word: int
    bytes: int
    numpy: str
    torch: str


DTYPES: Mapping[str, Dtype] = {
    name: Dtype(name, word(code, bits), bits // 8, numpy, torch)
    for name, code, bits, numpy, torch in (
        ("bool", 6, 8, "bool", "bool"),
        ("i8", 0, 8, "int8", "int8"),
        ("u8", 1, 8, "uint8", "uint8"),
        ("i32", 0, 32, "int32", "int32"),
        ("u32", 1, 32, "uint32", "uint32"),
        ("f16", 2, 16, "float16", "float16"),
        ("bf16", 4, 16, "", "bfloat16"),
        ("f32", 2, 32, "float32", "float32"),
    )
}
