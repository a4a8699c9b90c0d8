"""Small PTX entries around a few instructions, one thread an element."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tilebuild.testing.ptx import emulate

BITS = {1: "b8", 2: "b16", 4: "b32", 8: "b64"}
HEAD = ".version 8.0\n.target sm_80\n.address_size 64\n"


def entry(body: str, parameters: int, declarations: str = "") -> str:
    """An entry `k` with pointers %p0.. in its parameters' order, %tid.x in %t, and its byte offset times 1 in %at."""
    names = ", ".join(f".param .u64 p{n}" for n in range(parameters))
    loads = "\n".join(f"ld.param.u64 %p{n}, [p{n}];" for n in range(parameters))
    return f"""{HEAD}{declarations}
.visible .entry k({names})
{{
.reg .pred %q<8>; .reg .b16 %h<16>; .reg .b32 %r<32>, %t; .reg .b64 %d<32>, %p<8>, %at<8>; .reg .f32 %f<8>;
{loads}
mov.u32 %t, %tid.x;
{body}
ret;
}}
"""


def elementwise(instructions: str, inputs: Sequence[Any], result: Any, **options: Any) -> Any:
    """Values %x0.. of each input's element go through `instructions`, which set %y; an array like `result` of them.
    Inputs and result have one axis; their items' sizes say how large the registers are."""
    lines = []
    for n, array in enumerate(inputs):
        bits = BITS[array.itemsize]
        register = "b16" if bits == "b8" else bits
        lines.append(f".reg .{register} %x{n}; mad.wide.u32 %at{n}, %t, {array.itemsize}, %p{n};")
        kind = "s8" if array.dtype == np.int8 else "u8" if bits == "b8" else bits
        lines.append(f"ld.global.{kind} %x{n}, [%at{n}];")
    size = np.dtype(result).itemsize
    bits = BITS[size]
    lines.append(f".reg .{'b16' if bits == 'b8' else bits} %y;")
    lines += [instructions, f"mad.wide.u32 %at7, %t, {size}, %p{len(inputs)};", f"st.global.{bits} [%at7], %y;"]
    count = len(inputs[0])
    out = np.zeros(count, result)
    # blocks of 32 keep a thread an element: the tail is inactive
    emulate(entry("\n".join(lines), len(inputs) + 1), "k", 1, count, [*inputs, out], **options)
    return out
