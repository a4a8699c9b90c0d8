"""Executes PTO text over real bytes: every tile is where its address says, whatever else lies there.

Only what a file says is used (through the oracle's parser); nothing of the emitter or of plans. On-chip memory starts
as NaNs, each core's for itself, and elements outside a tile's valid region are neither read nor written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilebuild.oracle.readers.pto_text import Module, Operation, parse
from tilebuild.oracle.readers.pto_types import TileType, tile_type

Array = Any
_SIZES = {"vec": 196608, "mat": 524288, "left": 65536, "right": 65536, "acc": 262144}
_DTYPES = {"f32": np.float32, "f16": np.float16, "i32": np.int32, "i8": np.int8}
_INTEGER: Mapping[str, Callable[[int, int], int]] = {
    "arith.addi": lambda a, b: a + b,
    "arith.subi": lambda a, b: a - b,
    "arith.muli": lambda a, b: a * b,
    "arith.minsi": min,
    "arith.maxsi": max,
    # they truncate, as the machine's do
    "arith.divsi": lambda a, b: int(a / b),
    "arith.remsi": lambda a, b: a - int(a / b) * b,
}
_UNARY = {
    "neg": np.negative, "abs": np.abs, "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "recip": np.reciprocal,
    "rsqrt": lambda x: np.float32(1) / np.sqrt(x), "mov": lambda x: x.copy(),
}  # fmt: skip
_BINARY = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "max": np.maximum, "min": np.minimum,
    "and": np.bitwise_and, "or": np.bitwise_or,
}  # fmt: skip


@dataclass(frozen=True)
class View:
    """Part of a flat array: element (r, c) is at offset + r * strides[0] + c * strides[1]."""

    data: Array
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def indices(self) -> Array:
        rows, cols = np.indices(self.shape)
        found = self.offset + rows * self.strides[0] + cols * self.strides[1]
        assert found.size == 0 or 0 <= found.min() <= found.max() < self.data.size, "outside of the array"
        return found


@dataclass(frozen=True)
class Tile:
    """An allocated tile."""

    type: TileType
    address: int
    valid: tuple[int, int]

    def bytes_of(self) -> Array:
        """The byte address of each element."""
        t = self.type
        size = np.dtype(_DTYPES[t.dtype]).itemsize
        rows, cols = np.indices((t.rows, t.cols))
        if t.layout.slayout == "none_box":
            place = rows * t.cols + cols if t.layout.blayout == "row_major" else cols * t.rows + rows
        else:
            height, width = (16, 16) if t.layout.fractal == 1024 else (16, 32 // size)
            if t.layout.slayout == "col_major":
                height, width = width, height
            down, across = rows // height, cols // width
            box = (
                down * (t.cols // width) + across
                if t.layout.blayout == "row_major"
                else across * (t.rows // height) + down
            )
            r, c = rows % height, cols % width
            inner = r * width + c if t.layout.slayout == "row_major" else c * height + r
            place = box * height * width + inner
        return self.address + place * size


class Core:
    """One core that runs one function."""

    def __init__(
        self, module: Module, function: Operation, arguments: Mapping[str, Any], number: int, count: int
    ) -> None:
        self.module, self.number, self.count = module, number, count
        self.memory = {name: np.full(size, 0xFF, np.uint8) for name, size in _SIZES.items()}
        names = [
            t.text for t, after in zip(function.tokens, function.tokens[1:]) if t.kind == "value" and after.text == ":"
        ]
        self.env: dict[str, Any] = {name: arguments[name] for name in names}
        self.run(function.regions[0])

    def run(self, ops: Sequence[Operation]) -> None:
        for op in ops:
            self.operation(op)

    def operation(self, op: Operation) -> None:
        env, name = self.env, op.name
        values = [env.get(v) for v in op.values]
        if name.startswith("pto.section."):
            self.run(op.regions[0])
        elif name == "scf.for":
            lower, upper, step = values[1:4]
            for i in range(lower, upper, step):
                env[op.values[0]] = i
                self.run(op.regions[0])
        elif name == "scf.if":
            self.run(op.regions[0] if values[0] else op.regions[1])
        elif name == "arith.constant":
            text = next(t.text for t in op.tokens if t.kind == "number")
            env[op.results[0]] = self.constant(text, op.type)
        elif name in _INTEGER:
            env[op.results[0]] = _INTEGER[name](*values)
        elif name == "arith.cmpi":
            assert any(t.text == "eq" for t in op.tokens)
            env[op.results[0]] = values[0] == values[1]
        elif name == "arith.index_cast":
            env[op.results[0]] = values[0]
        elif name == "arith.sitofp":
            env[op.results[0]] = np.float32(values[0])
        elif name == "arith.mulf":
            with np.errstate(over="ignore", invalid="ignore"):
                env[op.results[0]] = np.float32(values[0]) * np.float32(values[1])
        elif name in ("pto.get_block_idx", "pto.get_block_num"):
            env[op.results[0]] = self.number if name.endswith("idx") else self.count
        elif name == "pto.addptr":
            env[op.results[0]] = (values[0][0], values[0][1] + values[1])
        elif name == "pto.make_tensor_view":
            shape, strides = (tuple(env[v] for v in op.listed(w)) for w in ("shape", "strides"))
            env[op.results[0]] = View(values[0][0], values[0][1], shape, strides)
        elif name == "pto.partition_view":
            self.partition(op)
        elif name == "pto.alloc_tile":
            t = tile_type(self.module.resolve(op.type))
            given = [env[op.named(w)] if op.named(w) else None for w in ("valid_row", "valid_col")]
            valid = tuple(g if f is None else f for f, g in zip(t.valid, given))
            assert all(0 < v <= n for v, n in zip(valid, (t.rows, t.cols))), (
                f"line {op.line}: {valid} of {t.rows} x {t.cols}"
            )
            env[op.results[0]] = Tile(t, env[op.named("addr")], valid)
        elif name != "return":
            self.instruction(op)

    def constant(self, text: str, kind: str) -> Any:
        if kind in ("index", "i64", "i32"):
            return int(text)
        if text.startswith("0x"):
            return np.array(int(text, 16), np.uint32).view(np.float32)[()]
        return np.float32(text)

    def partition(self, op: Operation) -> None:
        view = self.env[op.values[0]]
        offsets, sizes = (tuple(self.env[v] for v in op.listed(w)) for w in ("offsets", "sizes"))
        assert all(o >= 0 and o + s <= n for o, s, n in zip(offsets, sizes, view.shape)), f"line {op.line}"
        start = view.offset + sum(o * s for o, s in zip(offsets, view.strides))
        self.env[op.results[0]] = View(view.data, start, sizes, view.strides)

    # -- tiles ----------------------------------------------------------------------------------

    def load(self, tile: Tile, valid: tuple[int, int] | None = None) -> Array:
        """The valid elements."""
        rows, cols = valid or tile.valid
        dtype = np.dtype(_DTYPES[tile.type.dtype])
        at = tile.bytes_of()[:rows, :cols, None] + np.arange(dtype.itemsize)
        return self.memory[tile.type.space][at].reshape(rows, cols * dtype.itemsize).view(dtype)

    def store(self, tile: Tile, values: Array) -> None:
        dtype = np.dtype(_DTYPES[tile.type.dtype])
        rows, cols = tile.valid
        assert values.shape == (rows, cols), f"{values.shape} into {tile.valid}"
        at = tile.bytes_of()[:rows, :cols, None] + np.arange(dtype.itemsize)
        data = np.ascontiguousarray(values.astype(dtype)).view(np.uint8).reshape(rows, cols, dtype.itemsize)
        self.memory[tile.type.space][at] = data

    def instruction(self, op: Operation) -> None:
        ins = [self.env[v] for v in op.group("ins")[0]]
        out = self.env[op.group("outs")[0][0]]
        name = op.name.removeprefix("pto.t")
        if name == "load":
            self.store(out, ins[0].data[ins[0].indices()])
        elif name == "store":
            assert ins[0].valid == tuple(out.shape), f"line {op.line}: {ins[0].valid} to {out.shape}"
            out.data[out.indices()] = self.load(ins[0])
        elif name in ("matmul", "matmul.acc"):
            a, b = (self.load(t) for t in ins[-2:])
            total = self.load(ins[0]) if name == "matmul.acc" else np.float32(0)
            self.store(out, (total + a.astype(np.float64) @ b.astype(np.float64)).astype(np.float32))
        elif name == "mov" and out.type.space != "vec":
            self.store(out, self.load(ins[0]))
        else:
            with np.errstate(all="ignore"):
                self.vector(name, ins, out)

    def vector(self, name: str, ins: list[Any], out: Tile) -> None:
        rows, cols = out.valid
        first = self.load(ins[0]) if isinstance(ins[0], Tile) else ins[0]
        if name in _UNARY:
            self.store(out, _UNARY[name](first))
        elif name == "cvt":
            values = np.trunc(first) if out.type.dtype == "i32" else first
            self.store(out, values)
        elif name == "expands":
            self.store(out, np.full((rows, cols), first))
        elif name in ("rowexpand", "colexpand"):
            self.store(out, np.broadcast_to(first, (rows, cols)))
        elif name.startswith(("row", "col")) and name[3:] in ("max", "min", "sum"):
            axis = 1 if name.startswith("row") else 0
            found = getattr(first, name[3:])(axis=axis, keepdims=True)
            if axis == 1:  # what is left in the temporary is nothing to rely on
                self.store(Tile(ins[1].type, ins[1].address, ins[0].valid), np.full(ins[0].valid, np.nan))
            self.store(out, found)
        else:
            second = self.load(ins[1]) if isinstance(ins[1], Tile) else ins[1]
            operation = name.removeprefix("rowexpand").removeprefix("colexpand")
            if operation == name and operation not in _BINARY:
                operation = name.removesuffix("s")
            self.store(out, _BINARY[operation](first, second))


def run(text: str, entry: str, arrays: Mapping[str, Array], numbers: Mapping[str, Any], cores: int = 3) -> None:
    """Call one function of a file: arrays of two dimensions or one, dimensions and scalars by name."""
    module = parse(text)
    (function,) = (f for f in module.functions if any(t.text == f"@{entry}" for t in f.tokens))
    arguments: dict[str, Any] = {f"%arg.{n}": v for n, v in numbers.items()}
    arguments |= {f"%scalar.{n}": v if isinstance(v, int) else np.float32(v) for n, v in numbers.items()}
    for name, array in arrays.items():
        base = array if array.base is None else array.base
        arguments[f"%ptr.{name}"] = (base.reshape(-1), 0)
        arguments[f"%arg.{name}__s0"] = array.strides[0] // array.itemsize
    for number in range(cores):
        Core(module, function, arguments, number, cores)
