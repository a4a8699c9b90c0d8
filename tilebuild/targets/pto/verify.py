"""A verifier for PTO-MLIR text at level 3: what the assembler does not check there, and what it would reject.

It reads the text alone (through the oracle's parser, which knows no emitter): values defined before their use, types,
layouts, operand spaces and dtypes, extents, addresses, capacities, sections, in-place rules, and that two tiles either
begin at one address or share no byte, for the assembler's synchronisation sees no other overlap.
"""

from __future__ import annotations

from tilebuild.diagnostics import Diagnostic, Span
from tilebuild.oracle.readers.pto_text import Module, Operation, SyntaxProblem, parse
from tilebuild.oracle.readers.pto_types import TileType, TypeProblem, pointer_dtype, tile_type, view_dtype
from tilebuild.targets.pto.capabilities import (
    ARCHITECTURES,
    BYTES,
    DOTS,
    DTYPES,
    DTYPES_OF,
    MOST_DOT,
    NOT_IN_PLACE,
    Architecture,
)
from tilebuild.targets.pto.rules import SCALAR_FORMS, shape_problems, tile_problems

_FIX = "this is a fault of tilebuild: please report it with the kernel"
_STRUCTURE = ("scf.for", "scf.if", "pto.section.vector", "pto.section.cube", "return")


def verify(text: str, arch: str, name: str = "") -> list[Diagnostic]:
    """Everything that is wrong with a file for an architecture (`a2a3`, `a5`), as E405 with the line of the text."""
    try:
        module = parse(text)
    except SyntaxProblem as error:
        return [Diagnostic("E405", str(error), Span(name, error.line), fix=_FIX)]
    found: list[Diagnostic] = []
    machine = ARCHITECTURES[arch]
    stated = module.attributes.get("pto.target_arch", "").strip('"')
    if stated != machine.ptoas:
        found.append(
            Diagnostic("E405", f'the module is for "{stated}", not for "{machine.ptoas}"', Span(name, 1), fix=_FIX)
        )
    for function in module.functions:
        checker = _Checker(module, machine)
        checker.function(function)
        found += [Diagnostic("E405", m, Span(name, line), fix=_FIX) for line, m in checker.problems]
    return found


class _Tile:
    """An allocated tile; `address` is None where it is not a constant."""

    def __init__(self, type_: TileType, address: int | None, size: int) -> None:
        self.type, self.address, self.size = type_, address, size

    def overlaps(self, other: _Tile) -> bool:
        if self.address is None or other.address is None or self.type.space != other.type.space:
            return False
        return self.address < other.address + other.size and other.address < self.address + self.size


class _Checker:
    def __init__(self, module: Module, machine: Architecture) -> None:
        self.module, self.machine = module, machine
        self.problems: list[tuple[int, str]] = []
        self.types: list[dict[str, str]] = [{}]
        self.constants: dict[str, int] = {}
        self.tiles: dict[str, _Tile] = {}
        self.section = ""
        self.allocated: list[_Tile] = []

    def report(self, op: Operation, message: str) -> None:
        self.problems.append((op.line, f"{op.name}: {message}"))

    # -- values ---------------------------------------------------------------------------------

    def define(self, name: str, kind: str, op: Operation) -> None:
        if self.type_of(name) is not None:
            self.report(op, f"{name} is defined twice")
        self.types[-1][name] = kind

    def type_of(self, name: str) -> str | None:
        return next((scope[name] for scope in reversed(self.types) if name in scope), None)

    def use(self, name: str, kind: str | None, op: Operation) -> None:
        """A use of a value, as the type that the operation states for it (None where it states none)."""
        known = self.type_of(name)
        if known is None:
            self.report(op, f"{name} is not defined here")
        elif kind is not None and self.module.resolve(kind) != known:
            self.report(op, f"{name} has the type {known}, and is used as {self.module.resolve(kind)}")

    def function(self, op: Operation) -> None:
        tokens = op.tokens
        for i, t in enumerate(tokens[:-2]):
            if t.kind == "value" and tokens[i + 1].text == ":":
                self.define(t.text, self.module.resolve(tokens[i + 2].text), op)
        for region in op.regions:
            self.block(region)

    def block(self, ops: tuple[Operation, ...]) -> None:
        self.types.append({})
        for op in ops:
            try:
                self.operation(op)
            except TypeProblem as error:
                self.report(op, str(error))
        self.types.pop()

    def operation(self, op: Operation) -> None:
        if op.name in _STRUCTURE:
            self.structure(op)
        elif op.name == "arith.constant":
            self.define(op.results[0], op.type, op)
            number = next((t.text for t in op.tokens if t.kind == "number"), "")
            if op.type in ("index", "i64", "i32"):
                self.constants[op.results[0]] = int(number)
        elif op.name in ("pto.get_block_idx", "pto.get_block_num"):
            self.define(op.results[0], "i64", op)
        elif op.name.startswith("arith."):
            for v in op.values:
                self.use(v, None, op)
            self.define(op.results[0], "i1" if op.name == "arith.cmpi" else op.type, op)
        elif op.name == "pto.alloc_tile":
            self.alloc(op)
        elif op.name in ("pto.make_tensor_view", "pto.partition_view", "pto.addptr"):
            for v in op.values:
                self.use(v, None, op)
            self.define(op.results[0], self.module.resolve(op.type), op)
            self.view(op)
        elif op.name.startswith("pto.t"):
            self.instruction(op)
        else:
            self.report(op, "is an operation that this verifier does not know")

    def structure(self, op: Operation) -> None:
        if op.name.startswith("pto.section."):
            self.section = op.name.rsplit(".", 1)[1]
        values = op.values
        for v in values[1:4] if op.name == "scf.for" else values[:1]:
            self.use(v, "index" if op.name == "scf.for" else "i1", op)
        for region in op.regions:
            self.types.append({})
            if op.name == "scf.for":
                self.define(values[0], "index", op)
            self.block(region)
            self.types.pop()
        if op.name.startswith("pto.section."):
            self.section = ""

    def view(self, op: Operation) -> None:
        if op.name == "pto.make_tensor_view":
            rank, dtype = view_dtype(self.module.resolve(op.type))
            pointer = self.type_of(op.values[0])
            if len(op.listed("shape")) != rank or len(op.listed("strides")) != rank:
                self.report(op, f"states extents and strides that are not {rank} each")
            if pointer is not None and pointer_dtype(pointer) != dtype:
                self.report(op, f"sees {pointer} as {dtype}")

    # -- tiles ----------------------------------------------------------------------------------

    def alloc(self, op: Operation) -> None:
        for v in op.values:
            self.use(v, None, op)
        kind = self.module.resolve(op.type)
        self.define(op.results[0], kind, op)
        t = tile_type(kind)
        for message in tile_problems(self.machine, t, (bool(op.named("valid_row")), bool(op.named("valid_col")))):
            self.report(op, message)
        address = self.constants.get(op.named("addr"))
        size = t.rows * t.cols * BYTES[DTYPES.get(t.dtype, "i64")]
        tile = _Tile(t, address, size)
        self.tiles[op.results[0]] = tile
        if address is None:
            self.report(op, "has no constant address: at level 3 every tile needs one")
            return
        space = self.machine.space(t.space)
        if address < 0 or address + size > space.capacity:
            self.report(op, f"ends at byte {address + size} of {space.name}, which has {space.capacity}")
        if address % space.alignment:
            self.report(op, f"begins at byte {address}, which is no multiple of {space.alignment}")
        for other in self.allocated:
            if tile.overlaps(other) and other.address != address:
                self.report(
                    op,
                    f"takes the bytes {address}..{address + size} of {space.name}, some of which a tile at "
                    f"{other.address} has: two tiles begin at one address or share nothing",
                )
                break
        self.allocated.append(tile)

    # -- instructions ---------------------------------------------------------------------------

    def instruction(self, op: Operation) -> None:
        (ins, in_types), (outs, out_types) = op.group("ins"), op.group("outs")
        if len(ins) != len(in_types) or len(outs) != len(out_types) or len(outs) != 1 or not ins:
            self.report(op, "does not state a type for each operand and one result")
            return
        for v, kind in zip((*ins, *outs), (*in_types, *out_types)):
            self.use(v, kind, op)
        name = op.name.removeprefix("pto.")
        tiles = [self.tiles.get(v) for v in (*ins, *outs)]
        cube = any(t is not None and t.type.space != "vec" for t in tiles)
        if self.section != ("cube" if cube else "vector"):
            self.report(op, f"stands in {'no section' if not self.section else f'a {self.section} section'}")
        if name in ("tload", "tstore"):
            self.move(op, name, tiles, ins, outs)
        elif name in ("tmatmul", "tmatmul.acc"):
            self.product(op, tiles)
        elif cube:
            self.transfer(op, name, tiles)
        else:
            self.vector(op, name, tiles)

    def move(
        self, op: Operation, name: str, tiles: list[_Tile | None], ins: tuple[str, ...], outs: tuple[str, ...]
    ) -> None:
        tile, array = (tiles[-1], ins[0]) if name == "tload" else (tiles[0], outs[0])
        kind = self.type_of(array)
        if tile is None or kind is None:
            self.report(op, "moves between a tile and a part of an array")
            return
        _, dtype = view_dtype(kind)
        allowed = ("vec", "mat") if name == "tload" else ("vec", "acc")
        if tile.type.space not in allowed:
            self.report(op, f"has a tile in {tile.type.space}, not in {' or '.join(allowed)}")
        if dtype != tile.type.dtype:
            self.report(op, f"moves {dtype} and a tile of {tile.type.dtype}")
        self.dtype(op, name, tile.type)

    def dtype(self, op: Operation, name: str, t: TileType) -> None:
        allowed = DTYPES_OF[self.machine.name].get(name)
        if allowed is None:
            self.report(op, f"is no operation of {self.machine.name}")
        elif DTYPES.get(t.dtype) not in allowed:
            self.report(op, f"takes {', '.join(allowed)}, not {t.dtype}")

    def product(self, op: Operation, tiles: list[_Tile | None]) -> None:
        found = [t for t in tiles if t is not None]
        if len(found) != len(tiles) or len(found) != (4 if op.name.endswith(".acc") else 3):
            self.report(op, "takes tiles of left, right and acc")
            return
        left, right, acc = found[-3], found[-2], found[-1]
        spaces = [t.type.space for t in (left, right, acc, *found[:-3])]
        if spaces != ["left", "right", "acc", "acc"][: len(spaces)]:
            self.report(op, f"has its operands in {', '.join(spaces)}, not in left, right and acc")
        (m, k), (k2, n) = (left.type.rows, left.type.cols), (right.type.rows, right.type.cols)
        if k != k2 or (acc.type.rows, acc.type.cols) != (m, n):
            self.report(op, f"multiplies {m} x {k} and {k2} x {n} into {acc.type.rows} x {acc.type.cols}")
        if max(m, k, n) > MOST_DOT:
            self.report(op, f"has an extent above {MOST_DOT}")
        if (triple := (acc.type.dtype, left.type.dtype, right.type.dtype)) not in DOTS:
            self.report(op, f"multiplies {triple[1]} and {triple[2]} into {triple[0]}")
        if len(found) == 4 and (found[0].address, found[0].type) != (acc.address, acc.type):
            self.report(op, "adds to another tile than it writes")

    def transfer(self, op: Operation, name: str, tiles: list[_Tile | None]) -> None:
        source, target = (tiles[0], tiles[-1]) if len(tiles) == 2 else (None, None)
        if name != "tmov" or source is None or target is None:
            self.report(op, "is no operation on tiles outside of vec")
        elif (source.type.space, target.type.space) not in (("mat", "left"), ("mat", "right")):
            self.report(op, f"moves from {source.type.space} to {target.type.space}")
        elif (source.type.rows, source.type.cols, source.type.dtype) != (
            target.type.rows,
            target.type.cols,
            target.type.dtype,
        ):
            self.report(op, "moves between tiles of different extents or dtypes")

    def vector(self, op: Operation, name: str, tiles: list[_Tile | None]) -> None:
        target = tiles[-1]
        if target is None:
            self.report(op, "has no tile as its result")
            return
        self.in_place(op, name, tiles)
        sources = [t for t in tiles[:-1] if t is not None]
        if name != "tcvt":
            self.dtype(op, name, target.type)
            if any(s.type.dtype != target.type.dtype for s in sources):
                self.report(op, "has operands of different dtypes")
        scalars = len(tiles) - 1 - len(sources)
        if scalars != (1 if name in SCALAR_FORMS else 0):
            self.report(op, f"has {scalars} scalar operands")
        for message in shape_problems(name, [s.type for s in sources], target.type):
            self.report(op, message)

    def in_place(self, op: Operation, name: str, tiles: list[_Tile | None]) -> None:
        target = tiles[-1]
        if target is None or name not in NOT_IN_PLACE:
            return
        forbidden = NOT_IN_PLACE[name]
        for i, source in enumerate(tiles[:-1]):
            if source is not None and source.overlaps(target) and (forbidden is None or i in forbidden):
                self.report(op, f"writes over its operand {i} at {source.address}, which it may not")
