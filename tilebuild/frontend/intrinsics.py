"""Functions that call tile intrinsics, as ascend-rs and tile-rs print them: `llvm.func` with `hacc.entry`, to L1.

Every call is read or refused: an intrinsic that is not known, an argument that is not a constant, a shape that does
not fit is an error at the call. Tiles are values: a tile that a call was allowed to overwrite is not read again.
"""

from __future__ import annotations

from xdsl.dialects.builtin import FloatAttr, IntegerAttr, StringAttr, SymbolRefAttr, f32, i32
from xdsl.dialects.llvm import LLVMPointerType
from xdsl.ir import Block, BlockArgument, Operation, SSAValue

from tilebuild.diagnostics import Diagnostic, Span, TilebuildError, did_you_mean
from tilebuild.frontend import intrinsics_graph as graph
from tilebuild.frontend.intrinsics_graph import Array, Graph, Node, Shape, Store
from tilebuild.frontend.intrinsics_lower import lower
from tilebuild.frontend.intrinsics_table import PREFIXES, Called, named, spellings
from tilebuild.frontend.mlir_text import Module, word
from tilebuild.frontend.scope import name_problem
from tilebuild.ir.dialect import FuncOp
from tilebuild.plan.expr import LARGEST

ENTRY = "hacc.entry"
_WIDE = {"f16": "f32", "bf16": "f32"}  # computed in f32 and rounded once


def read_entry(op: Operation, parsed: Module) -> FuncOp | None:
    """L1 of an `llvm.func`; None for a declaration, or a function that is no entry. Raises `TilebuildError`."""
    if ENTRY not in op.attributes or not op.regions[0].blocks:
        return None
    reader = _Reader(op, parsed)
    found = reader.run()
    return lower(found, name=reader.name, names=reader.names, file=parsed.file, span=reader.head)


class _Reader:
    """One function: what its values are."""

    def __init__(self, op: Operation, parsed: Module) -> None:
        self.op, self.parsed = op, parsed
        symbol = op.properties.get("sym_name")
        self.name = symbol.data if isinstance(symbol, StringAttr) else ""
        self.head = parsed.span(op, f"@{self.name}") if f"@{self.name}" in parsed.text else parsed.span(op)
        self.names: list[str] = []
        self.numbers: dict[SSAValue, int | float] = {}
        self.tiles: dict[SSAValue, Node] = {}
        self.overwritten: dict[SSAValue, Span] = {}
        self.arrays: dict[int, Array] = {}
        self.scalars: dict[int, str] = {}
        self.stores: list[Store] = []

    def fail(
        self, code: str, message: str, span: Span, fix: str = "", notes: tuple[tuple[Span | None, str], ...] = ()
    ) -> TilebuildError:
        return TilebuildError(Diagnostic(code, message, span, notes, fix))

    def run(self) -> Graph:
        problem = name_problem(self.name)
        if problem and "__" not in self.name:
            raise self.fail("E133", problem, self.head, "rename the function")
        block = self.op.regions[0].blocks[0]
        self.signature(block)
        for op in block.ops:
            self.operation(op)
        for index, arg in enumerate(block.args):
            if isinstance(arg.type, LLVMPointerType) and index not in self.arrays:
                message = f"the array {self.names[index]} is neither loaded nor stored: it has no extents"
                raise self.fail("E133", message, self.head, "take the argument out, or load from it")
        if not self.stores:
            raise self.fail("E104", f"{self.name} stores nothing", self.head, "call @__tile_store_f32")
        return Graph(self.arrays, self.scalars, tuple(self.stores))

    def signature(self, block: Block) -> None:
        for index, arg in enumerate(block.args):
            name = arg.name_hint or f"arg{index}"
            problem = name_problem(name)
            self.names.append(f"arg{index}" if problem or name in self.names else name)
            if arg.type in (f32, i32):
                self.scalars[index] = "f32" if arg.type == f32 else "i32"
            elif not isinstance(arg.type, LLVMPointerType):
                message = f"the parameter {name} is {arg.type}"
                raise self.fail("E133", message, self.head, "parameters are !llvm.ptr<1>, f32 and i32")

    # -- operations -----------------------------------------------------------------------------

    def operation(self, op: Operation) -> None:
        if op.name == "llvm.mlir.constant":
            value = op.properties.get("value")
            if isinstance(value, (IntegerAttr, FloatAttr)):
                self.numbers[op.results[0]] = value.value.data
                return
        elif op.name == "llvm.call":
            self.call(op)
            return
        elif op.name == "llvm.return" and not op.operands:
            return
        fix = "a kernel of tile intrinsics has constants, calls and llvm.return; loops are unrolled before"
        raise self.fail("E132", f"{word(op)} cannot be read in a kernel of tile intrinsics", self.parsed.span(op), fix)

    def call(self, op: Operation) -> None:
        callee = op.properties.get("callee")
        symbol = callee.root_reference.data if isinstance(callee, SymbolRefAttr) else ""
        place = self.parsed.span(op, f"@{symbol}")
        called = named(symbol)
        if called is None:
            if not symbol:
                raise self.fail("E132", "a call through a pointer cannot be read", self.parsed.span(op))
            fix = f"the known ones are listed in docs/mlir.md; they start with {' or '.join(PREFIXES)}"
            close = did_you_mean(symbol, spellings(symbol))
            raise self.fail("E131", f"{symbol} is no tile intrinsic that tilebuild knows{close}", place, fix)
        wanted = called.intrinsic.arguments
        if len(op.operands) != len(wanted):
            message = f"{symbol} takes {len(wanted)} arguments, found {len(op.operands)}"
            raise self.fail("E116", message, place, f"@{symbol}({', '.join(wanted)})")
        made = _Call(self, op, called, symbol).run()
        if len(op.results) != (made is not None):
            message = f"{symbol} gives {'a tile' if made else 'nothing'}, the call has {len(op.results)} results"
            raise self.fail("E116", message, place)
        if made is not None:
            self.tiles[op.results[0]] = made
        if wanted[0] == "dst" and op.operands[0] in self.tiles:
            self.overwritten[op.operands[0]] = place


class _Call:
    """One call of a known intrinsic, with as many arguments as it takes."""

    def __init__(self, reader: _Reader, op: Operation, called: Called, symbol: str) -> None:
        self.r, self.op, self.called, self.symbol = reader, op, called, symbol
        self.place = reader.parsed.span(op, f"@{symbol}")
        self.at = {name: index for index, name in enumerate(called.intrinsic.arguments)}

    def where(self, name: str) -> Span:
        return self.r.parsed.argument(self.op, self.at[name])

    def operand(self, name: str) -> SSAValue:
        return self.op.operands[self.at[name]]

    # -- arguments ------------------------------------------------------------------------------

    def size(self, name: str, least: int = 1) -> int:
        """A whole number known while building."""
        value = self.r.numbers.get(self.operand(name))
        if type(value) is not int:
            what = "is not a constant" if value is None else f"is {value}, not an integer"
            fix = "shapes are static: pass the result of an llvm.mlir.constant(... : i32)"
            raise self.r.fail("E134", f"{name} of {self.symbol} {what}", self.where(name), fix)
        if not least <= value <= LARGEST:
            message = f"{name} of {self.symbol} is {value}; it is at least {least}"
            raise self.r.fail("E203", message, self.where(name))
        return value

    def shape(self, rows: str = "rows", cols: str = "cols") -> Shape:
        return self.size(rows), self.size(cols)

    def tile(self, name: str, shape: Shape, repeats: bool = False) -> Node:
        """A tile of the intrinsic's dtype and of this shape; with `repeats`, an extent may be 1."""
        value, r = self.operand(name), self.r
        node = r.tiles.get(value)
        if node is None:
            what = "an array" if isinstance(value.type, LLVMPointerType) else "a number"
            message = f"{name} of {self.symbol} is {what}, not a tile"
            raise r.fail("E205", message, self.where(name), "load a tile first: @__tile_load_f32(array, rows, cols)")
        if value in r.overwritten:
            notes: tuple[tuple[Span | None, str], ...] = ((r.overwritten[value], "this call may overwrite it"),)
            message = f"{name} of {self.symbol} was the destination of a call before: what it holds is not certain"
            raise r.fail("E135", message, self.where(name), "read the result of that call, or give it 0 as dst", notes)
        node = self.in_dtype(node, name)
        if shape != node.shape and not (repeats and all(n in (1, m) for n, m in zip(node.shape, shape))):
            found, want = (f"[{s[0]}, {s[1]}]" for s in (node.shape, shape))
            message = f"{name} of {self.symbol} is a tile {found} where the call says {want}"
            notes = ((node.span, "the tile was made here"),)
            raise r.fail("E201", message, self.where(name), "give the call the extents that the tile has", notes)
        return node

    def in_dtype(self, node: Node, name: str) -> Node:
        dtype = self.called.dtype
        if node.dtype == dtype:
            return node
        if node.op == "matmul" and dtype in _WIDE:
            return graph.cast(node, dtype, self.place)  # products of f16 are f32 until they are used as f16
        message = f"{name} of {self.symbol} is a tile of {node.dtype}, not of {dtype}"
        fix = f"convert it: @{PREFIXES[0]}cast_{node.dtype}_{dtype}"
        raise self.r.fail("E202", message, self.where(name), fix, ((node.span, "the tile was made here"),))

    def number(self, name: str) -> Node:
        """A constant or a scalar parameter, of the dtype in which the call computes."""
        value, wide = self.operand(name), _WIDE.get(self.called.dtype, self.called.dtype)
        known = self.r.numbers.get(value)
        if known is not None and (wide == "f32" or type(known) is int):
            return graph.number(float(known) if wide == "f32" else known, wide, self.place)
        if isinstance(value, BlockArgument) and self.r.scalars.get(value.index) == wide:
            return Node("param", (), (1, 1), wide, self.place, index=value.index)
        fix = f"a constant or a parameter of type {wide}"
        raise self.r.fail("E202", f"{name} of {self.symbol} is no {wide} number", self.where(name), fix)

    # -- what it computes -----------------------------------------------------------------------

    def run(self) -> Node | None:
        kind = self.called.intrinsic.kind
        if kind in ("load", "store"):
            return self.memory(kind)
        if kind in ("slice", "concat", "transpose", "cast"):
            return {"slice": self.slice, "concat": self.concat, "transpose": self.transpose, "cast": self.cast}[kind]()
        if kind == "matmul":
            return self.matmul()
        made = self.computed(kind, self.shape())
        return graph.cast(made, self.called.dtype, self.place)

    def wide(self, name: str, shape: Shape, repeats: bool = False) -> Node:
        """A tile operand in the dtype in which the call computes."""
        dtype = self.called.dtype
        return graph.cast(self.tile(name, shape, repeats), _WIDE.get(dtype, dtype), self.place)

    def computed(self, kind: str, shape: Shape) -> Node:
        op, place = self.called.intrinsic.op, self.place
        if kind == "elementwise" and "b" in self.at:
            made = graph.elementwise(op, (self.wide("a", shape, True), self.wide("b", shape, True)), place)
            if made.shape != shape:
                message = (
                    f"both tiles of {self.symbol} have an extent of 1 where the call says [{shape[0]}, {shape[1]}]"
                )
                raise self.r.fail("E201", message, self.place, "give the call the extents that the tiles have")
            return made
        a = self.wide("a", shape)
        if kind == "elementwise":
            return graph.elementwise(op, (a,), place)
        if kind == "reduce":
            return graph.reduce(op, a, place)
        if kind == "scale":
            return graph.elementwise("mul", (a, self.number("scalar")), place)
        if kind == "clamp":
            return graph.clamp(a, self.number("lo"), self.number("hi"), place)
        if kind == "rms_norm":
            return graph.rms_norm(a, self.number("eps"), place)
        return {"softmax": graph.softmax, "sigmoid": graph.sigmoid, "silu": graph.silu}[kind](a, place)

    def cast(self) -> Node:
        return graph.cast(self.tile("a", self.shape()), self.called.result, self.place)

    def transpose(self) -> Node:
        shape = self.shape()
        a = self.tile("a", shape)
        return Node("transpose", (a,), (shape[1], shape[0]), a.dtype, self.place)

    def memory(self, kind: str) -> Node | None:
        value, r, shape = self.operand("array"), self.r, self.shape()
        if not (isinstance(value, BlockArgument) and isinstance(value.type, LLVMPointerType)):
            fix = "pass a parameter of the kernel, of type !llvm.ptr<1>"
            raise r.fail("E205", f"array of {self.symbol} is no array of the kernel", self.where("array"), fix)
        name = r.names[value.index]
        array = r.arrays.setdefault(value.index, Array(shape, self.called.dtype, self.place))
        if (array.shape, array.dtype) != (shape, self.called.dtype):
            before, now = (f"{d} [{s[0]}, {s[1]}]" for s, d in ((array.shape, array.dtype), (shape, self.called.dtype)))
            notes: tuple[tuple[Span | None, str], ...] = ((array.span, f"{before} here"),)
            message = f"the array {name} is {now} in this call and {before} in another"
            raise r.fail("E133", message, self.place, "an array has one shape: load all of it, and slice", notes)
        if kind == "store":
            r.stores.append(Store(value.index, self.tile("a", shape), self.place))
            array.stored = array.stored or self.place
            return None
        if array.stored is not None:
            notes = ((array.stored, "the store"),)
            message = f"this load of {name} may read what a store of the kernel wrote"
            raise r.fail("E306", message, self.place, "read the tile that was stored", notes)
        array.loaded = array.loaded or self.place
        return Node("load", (), shape, self.called.dtype, self.place, index=value.index)

    def slice(self) -> Node:
        shape = self.shape()
        a, taken = self.tile("a", shape), self.shape("taken_rows", "taken_cols")
        first = self.size("first_row", 0), self.size("first_col", 0)
        for axis, name in enumerate(("row", "col")):
            if first[axis] + taken[axis] > shape[axis]:
                message = (
                    f"{self.symbol} takes {name}s {first[axis]} to {first[axis] + taken[axis] - 1} of a tile that has "
                    f"{shape[axis]}"
                )
                raise self.r.fail("E201", message, self.where(f"first_{name}"))
        return Node("slice", (a,), taken, a.dtype, self.place, first=first)

    def concat(self) -> Node:
        rows, left, right = self.size("rows"), self.size("cols_a"), self.size("cols_b")
        parts = self.tile("a", (rows, left)), self.tile("b", (rows, right))
        return Node("concat", parts, (rows, left + right), parts[0].dtype, self.place)

    def matmul(self) -> Node:
        mode = self.r.numbers.get(self.operand("dst"), 0)
        if mode != 0:
            fix = "pass 0, and add the accumulator with @__tile_add_f32"
            message = f"{self.symbol} is told to accumulate (mode {mode}), and no call says into what"
            raise self.r.fail("E134", message, self.where("dst"), fix)
        m, k, n = (self.size(x) for x in "mkn")
        return graph.matmul(self.wide("a", (m, k)), self.wide("b", (k, n)), self.place)
