"""Instructions of PTO text as instructions of a plan: what each operation reads, writes and does to its tiles."""

from __future__ import annotations

from tilebuild.oracle.readers.pto_text import Operation
from tilebuild.oracle.readers.pto_tiles import Tiles
from tilebuild.oracle.readers.pto_types import MEANINGS, Meaning
from tilebuild.oracle.readers.pto_uses import ArrayUse, Assembler, RawInstr, ScalarUse, TileUse, Use
from tilebuild.oracle.readers.pto_values import Handle, Number, Part, Value, as_expr

_MATMULS = ("pto.tmatmul", "pto.tmatmul.acc")


class Recorder:
    """Records instructions in program order. `env` has the values that are known, `here` is the region that
    instructions stand in, `touched` says of each array whether it is read ("in") or written ("out")."""

    def __init__(self, file: str) -> None:
        self.env: dict[str, Value] = {}
        self.here = 0
        self.raw: list[RawInstr] = []
        self.tiles = Tiles()
        self.assembler = Assembler(self.tiles, file)
        self.touched: dict[str, set[str]] = {}

    def instruction(self, op: Operation) -> None:
        operands = [self.env.get(v) for v in op.group("ins")[0]]
        results = [self.env.get(v) for v in op.group("outs")[0]]
        meaning = MEANINGS.get(op.name)
        if op.name in ("pto.tload", "pto.tstore") and self.move(op, operands, results):
            return
        if op.name in _MATMULS and self.product(op, operands, results):
            return
        if meaning is not None and len(results) == 1 and isinstance(results[0], Handle):
            types = op.group("ins")[1]
            if self.compute(op, meaning, operands, results[0], types):
                return
        self.unknown(op.name, op, operands, results)

    def add(self, raw: RawInstr) -> None:
        uses = (*raw.reads, *raw.writes)
        for use in uses:
            if isinstance(use, TileUse):
                self.tiles.touch(use.handle)
        if raw.elementwise:
            self.tiles.link([u.handle for u in uses if isinstance(u, TileUse)])
        self.raw.append(raw)

    def unknown(
        self, what: str, op: Operation, operands: list[Value] | None = None, results: list[Value] | None = None
    ) -> None:
        """An instruction that the oracle will say it does not know."""
        reads, writes = (
            [TileUse(v, (v.type.rows, v.type.cols)) for v in side or [] if isinstance(v, Handle)]
            for side in (operands, results)
        )
        self.add(RawInstr(what, list(reads), list(writes), self.here, op.line))

    def move(self, op: Operation, operands: list[Value], results: list[Value]) -> bool:
        load = op.name == "pto.tload"
        part, tile = (operands[:1], results[:1]) if load else (results[:1], operands[:1])
        if not part or not tile or not isinstance(part[0], Part) or not isinstance(tile[0], Handle):
            return False
        p, t = part[0], tile[0]
        if len(p.offsets) > 2:
            return False
        box = (t.type.rows, t.type.cols)
        array, local = ArrayUse(p, box, t), TileUse(t, box)
        self.touched.setdefault(p.view.parameter, set()).add("in" if load else "out")
        engine = "MTE2" if load else "FIX" if t.type.space == "acc" else "MTE3"
        sides: tuple[list[Use], list[Use]] = ([array], [local]) if load else ([local], [array])
        self.add(RawInstr("load" if load else "store", *sides, self.here, op.line, engine))
        return True

    def zero(self, acc: Handle, op: Operation) -> None:
        use = TileUse(acc, (acc.type.rows, acc.type.cols))
        self.add(RawInstr("full", [], [use], self.here, op.line, "M", {"value": "0"}))

    def product(self, op: Operation, operands: list[Value], results: list[Value]) -> bool:
        adds = op.name == "pto.tmatmul.acc"
        handles = [v for v in (*operands, *results) if isinstance(v, Handle)]
        if len(handles) != (4 if adds else 3) or len(operands) != (3 if adds else 2) or len(results) != 1:
            return False
        a, b = handles[-3], handles[-2]
        source, target = handles[0] if adds else handles[-1], handles[-1]
        if not adds:
            self.zero(target, op)
        m, k, n = min(a.type.rows, target.type.rows), min(a.type.cols, b.type.rows), min(b.type.cols, target.type.cols)
        reads: list[Use] = [TileUse(a, (m, k)), TileUse(b, (k, n)), TileUse(source, (m, n))]
        self.add(RawInstr("dot", reads, [TileUse(target, (m, n))], self.here, op.line, "M"))
        return True

    def compute(
        self, op: Operation, meaning: Meaning, operands: list[Value], target: Handle, types: tuple[str, ...]
    ) -> bool:
        box = (target.type.rows, target.type.cols)
        if meaning.form == "reduce":
            return self.reduce(op, meaning, operands, target)
        if len(operands) < meaning.reads:
            return False
        taken, scratch = operands[: meaning.reads], operands[meaning.reads :]
        if scratch and meaning.form != "row":
            return False
        if meaning.form == "scalar":
            reads = [
                self.scalar(v, t, op) if not isinstance(v, Handle) else TileUse(v, box) for v, t in zip(taken, types)
            ]
        elif all(isinstance(v, Handle) for v in taken):
            handles = [v for v in taken if isinstance(v, Handle)]
            if meaning.form == "tile":
                sizes = [(h.type.rows, h.type.cols) for h in (*handles, target)]
                box = (min(r for r, _ in sizes), min(c for _, c in sizes))
            reads = [TileUse(h, box) for h in handles]
            last = handles[-1]
            if meaning.form == "row":
                reads[-1] = TileUse(last, (min(last.type.rows, box[0]), 1))
            elif meaning.form == "column":
                reads[-1] = TileUse(last, (1, min(last.type.cols, box[1])))
        else:
            return False
        linked = meaning.form in ("tile", "scalar")
        space = target.type.space
        engine = "MTE1" if space in ("left", "right", "bias", "scaling") else "V"
        raw = RawInstr(meaning.op, list(reads), [TileUse(target, box)], self.here, op.line, engine)
        raw.elementwise, raw.straight = linked, not linked and not (meaning.op == "copy" and meaning.form == "row")
        self.add(raw)
        for v in scratch:  # what an operation keeps for itself is written and read in it
            if isinstance(v, Handle):
                self.held(v, taken[0], op)
        return True

    def held(self, scratch: Handle, source: Value, op: Operation) -> None:
        self.unknown(f"{op.name} with a temporary", op, [source], [scratch])

    def reduce(self, op: Operation, meaning: Meaning, operands: list[Value], target: Handle) -> bool:
        handles = [v for v in operands if isinstance(v, Handle)]
        if not 1 <= len(handles) == len(operands) <= 2:
            return False
        source = handles[0]
        box = (source.type.rows, source.type.cols)
        if len(handles) == 2:  # it works in its temporary: the operand's lanes go there, and from there into the result
            sight = Handle(
                handles[1].name, handles[1].type, handles[1].address, source.valid, op.line, handles[1].order
            )
            sight.root = self.tiles.touch(handles[1])
            copy = RawInstr("copy", [TileUse(source, box)], [TileUse(sight, box)], self.here, op.line, "V")
            copy.elementwise = True
            self.add(copy)
            source = sight
        out = (min(box[0], target.type.rows), 1) if meaning.axis == 1 else (1, min(box[1], target.type.cols))
        raw = RawInstr(meaning.op, [TileUse(source, box)], [TileUse(target, out)], self.here, op.line, "V")
        raw.attrs["axis"] = meaning.axis
        self.add(raw)
        return True

    def scalar(self, value: Value, type_text: str, op: Operation) -> ScalarUse:
        """A register with a scalar operand, made here."""
        index = as_expr(value)
        if index is not None:
            text = ("full", "value") if index.is_const else ("index", "expr")
            value = Number(text[0], text[1], str(index), "i32")
        if isinstance(value, Number):
            name = self.assembler.scalar(value.dtype)
            raw = RawInstr(value.op, [], [ScalarUse(name)], self.here, op.line, "S", {value.attribute: value.value})
        else:
            name = self.assembler.scalar(type_text if type_text in ("f32", "f16", "bf16", "i32", "i8") else "f32")
            raw = RawInstr("an unresolved scalar", [], [ScalarUse(name)], self.here, op.line, "S")
        self.add(raw)
        return ScalarUse(name)
