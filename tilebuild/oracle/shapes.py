"""How the boxes, valid regions and dtypes of one instruction must agree, by the kind of its operation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tilebuild.oracle.findings import UNKNOWN, VIOLATED
from tilebuild.oracle.ops import DOT_DTYPES, Rule
from tilebuild.oracle.program import Axis, Touch
from tilebuild.oracle.scopes import Scope, constant
from tilebuild.plan.expr import ONE, Expr, ExprError, parse
from tilebuild.plan.model import Instr

_AXES = ("rows", "columns")


@dataclass(frozen=True)
class Problem:
    """Something that an instruction does wrong, or is not proved to do right."""

    code: str
    outcome: str
    what: str
    fix: str


@dataclass(frozen=True)
class Operation:
    """An instruction with the right number of reads and writes, and the scope it stands in."""

    instr: Instr
    rule: Rule
    reads: tuple[Touch, ...]
    result: Touch
    scope: Scope


def problems(op: Operation) -> Iterator[Problem]:
    """All that is wrong with the shapes, valid regions and dtypes of an instruction."""
    yield from _KINDS[op.rule.kind](op)


def reduced_axis(instr: Instr) -> int | None:
    """The axis attribute of a reduction or an iota, or None where it is neither 0 nor 1."""
    axis = dict(instr.attrs).get("axis")
    return {0: 0, 1: 1, "0": 0, "1": 1}.get(axis) if axis is not None else None


def _move(op: Operation) -> Iterator[Problem]:
    yield from _lanes(op, op.reads[0], "its operand", broadcast=False)
    yield from _dtypes(op, op.reads)


def _elementwise(op: Operation) -> Iterator[Problem]:
    for k, operand in enumerate(op.reads):
        yield from _lanes(op, operand, f"operand {k}", broadcast=True)
    yield from _dtypes(op, op.reads)


def _select(op: Operation) -> Iterator[Problem]:
    for k, operand in enumerate(op.reads):
        yield from _lanes(op, operand, f"operand {k}", broadcast=True)
    condition = op.reads[0].buffer.dtype
    if condition != "bool":
        yield _dtype(f"has a condition of dtype {condition}, not bool")
    yield from _dtypes(op, op.reads[1:])


def _constant(op: Operation) -> Iterator[Problem]:
    dtype = op.result.buffer.dtype
    if op.rule.dtypes and dtype not in op.rule.dtypes:
        yield _dtype(f"gives {dtype}, not one of {', '.join(op.rule.dtypes)}")


def _fill(op: Operation) -> Iterator[Problem]:
    # the lanes that its operand does not have are what it writes: only the boxes must agree
    for name, operand, result in zip(_AXES, op.reads[0].lanes.axes, op.result.lanes.axes):
        yield from _sizes(op, operand.size, result.size, f"its operand has {operand.size} {name}")
    yield from _dtypes(op, op.reads)


def _window(op: Operation) -> Iterator[Problem]:
    """Its operand's lanes go to the result's from lane (row, col) on; the other lanes are filled."""
    for name, key, operand, result in zip(_AXES, ("row", "col"), op.reads[0].lanes.axes, op.result.lanes.axes):
        yield from _sizes(op, operand.size, result.size, f"its operand has {operand.size} {name}")
        try:
            first = parse(str(op.instr.attr(key)))
        except (ExprError, KeyError):
            yield Problem("O-OPER-02", VIOLATED, f"has no expression as its attribute {key}", "name the first lane")
            continue
        if not op.scope.nonnegative(first):
            what = f"is not proved to begin inside its result: its {name} begin at {first}"
            yield Problem("O-OPER-04", UNKNOWN, what, "begin at lane 0 or later")
        yield from _valid(op, result.size, first + operand.valid, f"{result.size} {name}")
    yield from _dtypes(op, op.reads)


def _named(op: Operation, idx: Touch, array: Touch, tile: Touch) -> Iterator[Problem]:
    """Lanes of a tile against what indices may name: the whole of a vector, or columns of all rows of an array."""
    attributes = dict(op.instr.attrs)
    if attributes["by"] not in ("row", "element"):
        yield Problem("O-OPER-02", VIOLATED, f"goes by {attributes['by']!r:.40}, not row or element", "name one")
        return
    if idx.buffer.dtype != "i32":
        yield _dtype(f"has indices of dtype {idx.buffer.dtype}, not i32")
    if array.buffer.dtype != tile.buffer.dtype:
        yield _dtype(f"moves {tile.buffer.dtype} and an array of {array.buffer.dtype}")
    for name, operand, lanes in zip(_AXES, idx.lanes.axes, tile.lanes.axes):
        if not (attributes["by"] == "row" and name == "columns" and operand.size == ONE):
            yield from _agree(op, operand, lanes, f"its index has {operand.size} {name}", f"{name} of its index")
    if attributes["by"] == "row":
        columns = array.lanes.cols
        yield from _agree(op, columns, tile.lanes.cols, f"its array has {columns.size} columns", "columns of its array")


def _gather(op: Operation) -> Iterator[Problem]:
    idx, array = op.reads
    yield from _named(op, idx, array, op.result)
    if op.instr.attr("oob") not in ("zero", "clamp"):
        what = f"has no policy for indices outside: {op.instr.attr('oob')!r:.40}"
        yield Problem("O-OPER-02", VIOLATED, what, "zero or clamp")


def _scatter(op: Operation) -> Iterator[Problem]:
    tile, idx = op.reads
    yield from _named(op, idx, op.result, tile)
    if op.instr.attr("mode") not in ("set", "add", "max"):
        what = f"has no way for values to meet: {op.instr.attr('mode')!r:.40}"
        yield Problem("O-OPER-02", VIOLATED, what, "set, add or max")


def _transpose(op: Operation) -> Iterator[Problem]:
    operand = op.reads[0].lanes
    for name, axis, result in zip(_AXES, (operand.cols, operand.rows), op.result.lanes.axes):
        what = f"its transposed operand has {axis.size} {name}"
        yield from _agree(op, axis, result, what, f"{name} of its transposed operand")
    yield from _dtypes(op, op.reads)


def _reduce(op: Operation) -> Iterator[Problem]:
    axis = reduced_axis(op.instr)
    if axis is None:
        yield Problem("O-OPER-02", VIOLATED, "has an attribute axis that is neither 0 nor 1", "reduce over axis 0 or 1")
        return
    kept = 1 - axis
    operand, result, name = op.reads[0].lanes.axes[kept], op.result.lanes.axes, _AXES[kept]
    yield from _sizes(op, ONE, result[axis].size, f"a reduction over axis {axis} gives 1 {_AXES[axis][:-1]}")
    yield from _agree(op, operand, result[kept], f"its operand has {operand.size} {name}", f"{name} of its operand")
    yield from _dtypes(op, op.reads)


def _put(op: Operation) -> Iterator[Problem]:
    operand, result = op.reads[0].lanes, op.result.lanes
    yield from _agree(op, operand.rows, result.rows, f"its operand has {operand.rows.size} rows", "rows of its operand")
    for what, size, wanted in (
        ("its operand has {} columns, and a part is one", operand.cols.size, 1),
        ("its result has {} columns, and its attribute parts is {}", result.cols.size, _integer(op.instr, "parts")),
    ):
        if constant(size) != wanted:
            text = f"disagrees in its extents: {what.format(size, wanted)}"
            yield Problem("O-OPER-07", VIOLATED, text, "a put takes [rows, 1] and gives [rows, parts]")
    yield from _dtypes(op, op.reads)


def _integer(instr: Instr, name: str) -> int | None:
    value = dict(instr.attrs).get(name)
    return value if isinstance(value, int) else None


def _dot(op: Operation) -> Iterator[Problem]:
    a, b, acc = (t.lanes for t in op.reads)
    result = op.result.lanes
    for left, right, what in (
        (a.cols.size, b.rows.size, "columns of a, rows of b"),
        (a.rows.size, acc.rows.size, "rows of a, rows of the accumulator"),
        (b.cols.size, acc.cols.size, "columns of b, columns of the accumulator"),
        (acc.rows.size, result.rows.size, "rows of the accumulator, rows of the result"),
        (acc.cols.size, result.cols.size, "columns of the accumulator, columns of the result"),
    ):
        if left != right:
            fix = "a dot takes (m, k) and (k, n), and an accumulator (m, n)"
            yield Problem("O-OPER-07", _differ(left, right), f"disagrees in its extents {what}: {left}, {right}", fix)
    for source, target, what in (
        (a.rows, result.rows, "rows of a"),
        (acc.rows, result.rows, "rows of the accumulator"),
        (b.cols, result.cols, "columns of b"),
        (acc.cols, result.cols, "columns of the accumulator"),
    ):
        yield from _valid(op, source.valid, target.valid, f"{source.valid} {what}")
    if op.reads[2].buffer.id != op.result.buffer.id or (acc.rows.start, acc.cols.start) != (
        result.rows.start,
        result.cols.start,
    ):
        what = f"reads its accumulator from tile {op.reads[2].buffer.id} and writes it to tile {op.result.buffer.id}"
        yield Problem("O-OPER-07", VIOLATED, what, "accumulate in place: read and write one box of one tile")
    kinds = tuple(t.buffer.dtype for t in (*op.reads, op.result))
    if kinds[0] != kinds[1] or kinds[2] != kinds[3] or (kinds[0], kinds[2]) not in DOT_DTYPES:
        yield _dtype(f"has operands of dtypes {kinds[0]}, {kinds[1]} and an accumulator of {kinds[2]}, {kinds[3]}")


def _interleave(op: Operation) -> Iterator[Problem]:
    """Two operands by turns of columns: the result has those of both."""
    (rows, columns) = op.result.lanes.axes
    for k, operand in enumerate(op.reads):
        yield from _agree(op, operand.lanes.axes[0], rows, f"operand {k} has other rows", f"rows of operand {k}")
        given = operand.lanes.axes[1]
        if given.size * 2 != columns.size:
            yield from _sizes(op, given.size * 2, columns.size, f"twice operand {k} is {given.size * 2} columns")
        else:
            yield from _valid(op, given.valid * 2, columns.valid, f"{given.valid} columns of operand {k}")
    yield from _dtypes(op, op.reads)


def _reshape(op: Operation) -> Iterator[Problem]:
    """As many lanes, all of them valid on both sides: where a lane goes depends on how long rows are."""
    (rows, columns), (new_rows, new_columns) = op.reads[0].lanes.axes, op.result.lanes.axes
    yield from _sizes(op, rows.size * columns.size, new_rows.size * new_columns.size, "its operand has other lanes")
    for name, axis in zip(_AXES, (rows, columns)):
        yield from _valid(op, axis.valid, axis.size, f"{axis.valid} {name}")
    yield from _dtypes(op, op.reads)


_KINDS: Mapping[str, Callable[[Operation], Iterator[Problem]]] = {
    "move": _move,
    "elementwise": _elementwise,
    "select": _select,
    "constant": _constant,
    "fill": _fill,
    "window": _window,
    "gather": _gather,
    "scatter": _scatter,
    "transpose": _transpose,
    "interleave": _interleave,
    "reshape": _reshape,
    "reduce": _reduce,
    "put": _put,
    "dot": _dot,
}


def _lanes(op: Operation, operand: Touch, name: str, *, broadcast: bool) -> Iterator[Problem]:
    for axis, source, result in zip(_AXES, operand.lanes.axes, op.result.lanes.axes):
        if broadcast and constant(source.size) == 1 and constant(result.size) != 1:
            if not op.scope.at_most(ONE, source.valid):
                yield from _valid(op, source.valid, result.valid, f"{source.valid} {axis} of {name}")
            continue
        yield from _agree(op, source, result, f"{name} has {source.size} {axis}", f"{axis} of {name}")


def _agree(op: Operation, given: Axis, result: Axis, size: str, valid: str) -> Iterator[Problem]:
    """Equal sizes, and then no more valid lanes in the result than are given."""
    if given.size != result.size:
        yield from _sizes(op, given.size, result.size, size)
    else:
        yield from _valid(op, given.valid, result.valid, f"{given.valid} {valid}")


def _sizes(op: Operation, given: Expr, size: Expr, what: str) -> Iterator[Problem]:
    if given != size:
        text = f"disagrees in its extents: {what}, its result has {size}"
        fix = "let the boxes agree; only an extent of 1 is repeated, and only by elementwise operations"
        yield Problem("O-OPER-07", _differ(given, size), text, fix)


def _differ(a: Expr, b: Expr) -> str:
    return VIOLATED if constant(a - b) is not None else UNKNOWN


def _valid(op: Operation, available: Expr, claimed: Expr, what: str) -> Iterator[Problem]:
    if op.scope.at_most(claimed, available):
        return
    outcome = VIOLATED if op.scope.below(available, claimed) else UNKNOWN
    verb = "writes" if outcome == VIOLATED else "is not proved to write no more than it has: it writes"
    fix = "narrow what is written to the smallest of its operands' valid regions"
    yield Problem("O-OPER-09", outcome, f"{verb} {claimed} where only {what} are valid", fix)


def _dtypes(op: Operation, operands: tuple[Touch, ...]) -> Iterator[Problem]:
    dtypes = [t.buffer.dtype for t in operands]
    first, result = dtypes[0], op.result.buffer.dtype
    wanted = {"same": first, "any": result}.get(op.rule.result, op.rule.result)
    if any(d != first for d in dtypes):
        yield _dtype(f"has operands of different dtypes: {', '.join(dtypes)}")
    elif op.rule.dtypes and first not in op.rule.dtypes:
        yield _dtype(f"has operands of dtype {first}, not one of {', '.join(op.rule.dtypes)}")
    if result != wanted:
        yield _dtype(f"gives {wanted} and writes it to a tile of {result}")


def _dtype(what: str) -> Problem:
    return Problem("O-OPER-08", VIOLATED, what, "convert with a cast first")


def box_problems(scope: Scope, axis: Axis, name: str, extent: Expr, clipped: bool) -> Iterator[Problem]:
    """What is wrong with one direction of an access to `extent` positions; a `clipped` one, of a view of an array,
    may have a box that ends outside, as long as its valid part does not."""
    zero = Expr.of(0)
    whole = axis.end if clipped else axis.start + (axis.size - 1) * axis.step + 1
    code = "O-OPER-05" if clipped else "O-OPER-03"
    fix = "clip the access to the array" if clipped else "let the box end inside the tile"
    for low, high in ((zero, axis.start), (whole, extent)):
        if not scope.at_most(low, high):
            outcome = VIOLATED if scope.below(high, low) else UNKNOWN
            verb = "touches" if outcome == VIOLATED else "is not proved to stay inside: it touches"
            text = f"{verb} {name} {axis.start}..{whole} of {extent}"
            yield Problem(code, outcome, text, fix)
            break
    for low, high in ((zero, axis.valid), (axis.valid, axis.size)):
        if not scope.at_most(low, high):
            outcome = VIOLATED if scope.below(high, low) else UNKNOWN
            verb = "has" if outcome == VIOLATED else "is not proved to be right: it has"
            text = f"{verb} {axis.valid} valid {name} in a box of {axis.size}"
            yield Problem("O-OPER-04", outcome, text, "keep the valid region between 0 and the size of the box")
            break
