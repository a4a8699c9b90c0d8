"""Matrix instructions of a warp: ldmatrix, stmatrix, movmatrix and mma.sync.

Fragments lie as the PTX ISA draws them ("Matrix Fragments for mma.m16n8k16" and its neighbours). All of these pictures
are one rule: a register holds `e` neighbours along k; lane L is in group L // 4 and has place L % 4 there; register r
of A has row group + 8 * (r % 2) and columns 4e * (r // 2) + e * place + 0..e-1, one of B has those rows and column
group, and C and D have row group + 8 * (i // 2) and column 2 * place + i % 2. Matrices of eight rows leave out the + 8.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilebuild.testing.ptx.binder import Binder, Op, Reader, Words
from tilebuild.testing.ptx.kinds import KINDS, decode
from tilebuild.testing.ptx.memory import Access
from tilebuild.testing.ptx.syntax import Operand, Vector
from tilebuild.testing.ptx.threads import WARP, Chosen

Array = NDArray[Any]
ALIGNED = ("ldmatrix", "stmatrix", "movmatrix", "mma")
"""Instructions that all threads of a warp execute together."""
U32 = KINDS["u32"]
_LANE = np.arange(WARP)
GROUP, PLACE = _LANE // 4, _LANE % 4
_BITS = {"f64": 64, "tf32": 32, "f16": 16, "bf16": 16, "s8": 8, "u8": 8, "s4": 4, "u4": 4, "b1": 1}
_SHAPES = {
    "f16": ("m16n8k8", "m16n8k16"), "bf16": ("m16n8k8", "m16n8k16"), "tf32": ("m16n8k4", "m16n8k8"),
    "f64": ("m8n8k4", "m16n8k4", "m16n8k8", "m16n8k16"), "s8": ("m8n8k16", "m16n8k16", "m16n8k32"),
    "s4": ("m8n8k32", "m16n8k32", "m16n8k64"), "b1": ("m8n8k128", "m16n8k128", "m16n8k256"),
}  # fmt: skip


def _items(operand: Operand) -> tuple[Operand, ...]:
    return operand.items if isinstance(operand, Vector) else (operand,)


def _warps(values: Array, chosen: Array) -> Array:
    return np.broadcast_to(values, chosen.shape).reshape(-1, WARP)


def numbers(registers: list[Array], kind: str) -> Array:
    """[register][warp, lane] bits -> [warp, register, lane, e] numbers."""
    bits = np.stack(registers, 1)
    size = _BITS[kind]
    if kind == "f64":
        return bits.view(np.float64)[..., None]
    if kind == "tf32":  # the lower bits of the operand are not looked at
        return np.asarray((bits & np.uint32(0xFFFFE000)).view(np.float32)[..., None].astype(np.float64))
    if size == 16:
        return decode(bits, KINDS[f"{kind}x2"])
    shifts = np.arange(0, 32, size, dtype=np.uint32)
    each = (bits[..., None] >> shifts & np.uint32((1 << size) - 1)).astype(np.int64)
    if kind[0] == "s":
        each -= (each >> size - 1 & 1) << size
    return np.asarray(each, np.float64)  # in which sums of their products are exact


def _matrix_a(fragment: Array, rows: int) -> Array:
    warps, registers, _, e = fragment.shape
    tall = rows // 8
    result = np.zeros((warps, rows, registers // tall * 4 * e), fragment.dtype)
    for r in range(registers):
        for j in range(e):
            result[:, GROUP + 8 * (r % tall), r // tall * 4 * e + e * PLACE + j] = fragment[:, r, :, j]
    return result


def _matrix_b(fragment: Array) -> Array:
    warps, registers, _, e = fragment.shape
    result = np.zeros((warps, registers * 4 * e, 8), fragment.dtype)
    for r in range(registers):
        for j in range(e):
            result[:, r * 4 * e + e * PLACE + j, GROUP] = fragment[:, r, :, j]
    return result


def _mma(b: Binder, w: Words) -> Op:
    for word in ("sync", "aligned"):
        if not w.flag(word):
            w.refuse()
    shape = w.take(*{s for group in _SHAPES.values() for s in group})
    w.take("row")
    w.take("col")
    clamp = w.flag("satfinite")
    combine = w.take("xor", "and")
    if combine:
        w.flag("popc")
    of_c, of_b, of_a, of_d = (w.last() for _ in range(4))
    w.done()
    key = of_a.replace("u", "s") if of_a[0] == "u" else of_a
    if shape not in _SHAPES.get(key, ()) or {of_c, of_d} - {"f16", "f32", "f64", "s32"}:
        w.refuse()
    rows = int(shape[1 : shape.index("n")])
    target, a, second, c = w.instruction.operands
    part = KINDS["u64"] if of_a == "f64" else U32
    readers = [[b.read(item, part) for item in _items(operand)] for operand in (a, second)]
    packed_c, packed_d = of_c == "f16", of_d == "f16"
    kind_c, kind_d = KINDS["f16x2" if packed_c else of_c], KINDS["f16x2" if packed_d else of_d]
    addends = [b.read(item, kind_c) for item in _items(c)]
    writes = [b.write(item, kind_d) for item in _items(target)]
    threads = b.threads
    elements = rows // 8 * 2

    def run(chosen: Chosen) -> None:
        who = threads.indices(chosen)
        left, right = (
            numbers([np.ascontiguousarray(_warps(r(chosen), who)) for r in group], kind)
            for group, kind in zip(readers, (of_a, of_b))
        )
        x, y = _matrix_a(left, rows), _matrix_b(right)
        product = x @ y
        if combine == "xor":  # the number of bits that differ
            product = x.sum(2)[:, :, None] + y.sum(1)[:, None, :] - 2 * product
        results = []
        for n in range(elements):
            values = product[:, GROUP + 8 * (n // 2), 2 * PLACE + n % 2].reshape(-1)
            results.append(values + _element(addends, n, chosen, who, packed_c))
        if packed_d:
            results = [np.stack(results[n : n + 2], -1) for n in range(0, elements, 2)]
        for write, values in zip(writes, results):
            write(chosen, _integer(values, clamp) if of_d == "s32" else values)

    return run


def _integer(values: Array, clamp: bool) -> Array:
    """Exact sums as s32: clamped, or without the bits that are too many."""
    exact = np.clip(values, -(1 << 31), (1 << 31) - 1) if clamp else values
    return exact.astype(np.int64).astype(np.int32)


def _element(addends: list[Reader], n: int, chosen: Chosen, who: Array, packed: bool) -> Array:
    if packed:
        values = np.asarray(addends[n // 2](chosen))[..., n % 2]
    else:
        values = np.asarray(addends[n](chosen))
    return np.broadcast_to(values, who.shape).astype(np.float64)


def _matrix_access(b: Binder, w: Words, write: bool) -> tuple[Access, Any, int, bool]:
    kind = w.kind()
    for word in ("sync", "aligned"):
        w.flag(word)
    shape, count = w.take("m8n8"), int((w.take("x1", "x2", "x4") or "x0")[1:])
    transposed = w.flag("trans")
    space = w.take("shared", "shared::cta").split("::")[0] or "generic"
    w.done()
    if not shape or not count or kind.bits != 16:
        w.refuse()
    memory_space, address = b.address(w.instruction.operands[0 if write else 1], space)
    # a row of eight numbers is four accesses of 32 bits for the bounds, one of 16 bytes for the alignment
    return Access(w.instruction.line, w.instruction.text, memory_space, 4, 4, write), address, count, transposed


def _ldmatrix(b: Binder, w: Words) -> Op:
    access, address, count, transposed = _matrix_access(b, w, write=False)
    writes = [b.write(item, U32) for item in _items(w.instruction.operands[0])]
    threads, memory = b.threads, b.memory

    def run(chosen: Chosen) -> None:
        who = threads.indices(chosen)
        addresses = np.broadcast_to(address(chosen), who.shape)
        asked = threads.lane[who] < 8 * count  # those threads' addresses count
        rows = np.stack(memory.load(access, addresses[asked], who[asked]), 1)
        matrices = np.ascontiguousarray(rows).view(np.uint16).reshape(-1, count, 8, 8)
        for n, write in enumerate(writes):
            matrix = matrices[:, n].swapaxes(1, 2) if transposed else matrices[:, n]
            pairs = np.ascontiguousarray(matrix).view(np.uint32)  # [warp, row, pair of columns]
            write(chosen, pairs[:, GROUP, PLACE].reshape(-1))

    return run


def _stmatrix(b: Binder, w: Words) -> Op:
    access, address, count, transposed = _matrix_access(b, w, write=True)
    readers = [b.read(item, U32) for item in _items(w.instruction.operands[1])]
    threads, memory = b.threads, b.memory

    def run(chosen: Chosen) -> None:
        who = threads.indices(chosen)
        addresses = np.broadcast_to(address(chosen), who.shape)
        asked = threads.lane[who] < 8 * count
        matrices = np.zeros((who.size // WARP, count, 8, 4), np.uint32)
        for n, read in enumerate(readers):
            matrices[:, n, GROUP, PLACE] = _warps(read(chosen), who)
        if transposed:
            swapped = np.ascontiguousarray(matrices.view(np.uint16).swapaxes(2, 3))
            matrices = swapped.view(np.uint32)
        rows = matrices.reshape(-1, 4)
        memory.store(access, addresses[asked], [rows[:, n] for n in range(4)], who[asked])

    return run


def _movmatrix(b: Binder, w: Words) -> Op:
    w.kind()
    for word in ("sync", "aligned", "m8n8", "trans"):
        w.flag(word)
    w.done()
    target, source = w.instruction.operands
    read, write = b.read(source, U32), b.write(target, U32)

    def run(chosen: Chosen) -> None:
        who = b.threads.indices(chosen)
        matrix = np.zeros((who.size // WARP, 8, 4), np.uint32)
        matrix[:, GROUP, PLACE] = _warps(read(chosen), who)
        swapped = np.ascontiguousarray(matrix.view(np.uint16).swapaxes(1, 2)).view(np.uint32)
        write(chosen, swapped[:, GROUP, PLACE].reshape(-1))

    return run


TABLE: dict[str, Callable[[Binder, Words], Op]] = {
    "mma": _mma, "ldmatrix": _ldmatrix, "stmatrix": _stmatrix, "movmatrix": _movmatrix,
}  # fmt: skip
