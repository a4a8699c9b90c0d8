"""Accesses, shapes, dtypes, nests and fused tiles."""

from __future__ import annotations

from dataclasses import replace

import plans
import pytest

from tilebuild.oracle import Finding, judge
from tilebuild.plan.model import Plan, Symbol


def findings(build: plans.Build | Plan) -> list[Finding]:
    plan = build if isinstance(build, Plan) else build.plan()
    return [f for f in judge(plan).findings if f.check == "operands"]


def outcomes(build: plans.Build | Plan) -> list[tuple[str, str]]:
    return [(f.code, f.outcome) for f in findings(build)]


def tiles(**shapes: tuple[int, int, str]) -> plans.Build:
    b = plans.Build()
    for k, (name, (rows, cols, dtype)) in enumerate(shapes.items()):
        b.tile(name, rows, cols, 256 * k, dtype=dtype)
    return b


F32 = (4, 16, "f32")


def test_an_unknown_operation_proves_nothing() -> None:
    b = tiles(a=F32, c=F32)
    b.op("tanh", "a", "c")
    (found,) = findings(b)
    assert (found.code, found.outcome) == ("O-OPER-01", "unknown")
    assert found.message.startswith("instruction 0 (tanh, line 10) is an operation that the oracle does not know")


@pytest.mark.parametrize(
    ("op", "reads", "attrs", "text"),
    [
        ("add", "a", {}, "reads 1 and writes 1 boxes, not 2 and 1"),
        ("full", "", {}, 'lacks the attribute "value"'),
        ("full", "", {"value": "one"}, "has the value 'one', which is no number"),
        ("param", "", {"name": "q"}, "takes 'q', which is no scalar parameter"),
        ("index", "", {"expr": "i +"}, "has the expression 'i +', which is none"),
        ("index", "", {"expr": "q + 1"}, "uses q, which no symbol and no enclosing loop declares"),
        ("iota", "", {"axis": 2}, "has an attribute axis that is neither 0 nor 1"),
        ("sum", "a", {"axis": 2}, "has an attribute axis that is neither 0 nor 1"),
    ],
)
def test_operands_and_attributes(op: str, reads: str, attrs: dict[str, int | str], text: str) -> None:
    b = tiles(a=F32, c=F32)
    b.op(op, reads, "c", **attrs)
    (found,) = findings(b)
    assert (found.code, found.outcome) == ("O-OPER-02", "violated")
    assert text in found.message


@pytest.mark.parametrize("value", ["0.0", "-inf", "nan", "1e-6", "true", 3])
def test_values_of_constants(value: int | str) -> None:
    b = tiles(c=F32)
    b.op("full", "", "c", value=value)
    assert outcomes(b) == []


def test_a_box_outside_its_tile() -> None:
    b = tiles(a=F32, c=F32)
    b.op("exp", [b.box("a", (1, 4))], "c")
    b.op("exp", [b.box("a", (-1, 4))], "c")
    b.op("exp", [b.box("a", (0, 4), (0, 16, 2))], "c")
    assert outcomes(b) == [("O-OPER-03", "violated")] * 3
    assert findings(b)[0].message.endswith("touches rows 1..5 of 4: tile a [arena, 0..256)")
    assert findings(b)[1].message.endswith("touches rows -1..3 of 4: tile a [arena, 0..256)")
    assert findings(b)[2].message.endswith("touches columns 0..31 of 16: tile a [arena, 0..256)")


def test_valid_lanes_outside_their_box() -> None:
    b = tiles(a=F32, c=F32)
    b.op("exp", [b.box("a", valid=(5, 16))], "c")
    b.op("exp", "a", b.box("c", valid=("4 - M", 16)))
    assert outcomes(b) == [("O-OPER-04", "violated"), ("O-OPER-04", "violated")]
    assert "has 5 valid rows in a box of 4: tile a" in findings(b)[0].message
    b = tiles(a=F32, c=F32)
    b.op("exp", "a", b.box("c", valid=("100 - M", 16)))
    assert ("O-OPER-04", "unknown") in outcomes(b)


def test_an_access_outside_its_array() -> None:
    b = tiles(a=F32)
    b.program("i", "cdiv(M, 4)")
    b.op("load", [b.box("x", ("4*i", 4), (0, 16))], "a")
    (found,) = findings(b)
    assert (found.code, found.outcome) == ("O-OPER-05", "unknown")
    assert found.message.endswith("is not proved to stay inside: it touches rows 4*i..4*i + 4 of M: view x of x")
    b = tiles(a=F32)
    b.op("load", [b.box("x", ("M - 3", 4), (0, 16))], "a")
    assert outcomes(b) == [("O-OPER-05", "violated")]
    b = tiles(a=F32)
    b.op("load", [b.box("x", (0, 4, 21), (0, 16))], "a")
    assert outcomes(b) == []  # rows 0, 21, 42, 63 of at least 64
    b.op("load", [b.box("x", (0, 4, 22), (0, 16))], "a")
    assert outcomes(b) == [("O-OPER-05", "unknown")]


def test_declared_ranges_of_ids_are_not_taken_on_trust() -> None:
    """The plan claims that the program id is always 0; the launch grid says otherwise."""
    b = tiles(a=F32)
    b.program("i", "cdiv(M, 4)")
    b.op("load", [b.box("x", ("4*i", 4), (0, 16))], "a")
    claimed = tuple(
        Symbol("i", "program", plans.expr(0), plans.expr(0)) if s.name == "i" else s for s in b.plan().symbols
    )
    assert outcomes(replace(b.plan(), symbols=claimed)) == [("O-OPER-05", "unknown")]
    wide = tuple(Symbol("N", "dim", plans.expr(4096)) if s.name == "N" else s for s in b.plan().symbols)
    b = tiles(a=(4, 65, "f32"))
    b.op("load", [b.box("x", (0, 4), (0, 65))], "a")
    assert outcomes(replace(b.plan(), symbols=tuple(s for s in wide if s.name != "i"))) == [("O-OPER-05", "unknown")]


@pytest.mark.parametrize(
    ("rows", "cols", "strides", "offset", "text"),
    [
        ("M", "N", ("x__s0", 1), 0, ""),
        ("N", "M", (1, "x__s0"), 0, ""),
        (1, "N", (0, 1), "3*x__s0", ""),
        ("M - 1", "N - 2", ("x__s0", 1), "x__s0 + 2", ""),
        ("M + 1", "N", ("x__s0", 1), 0, "it reaches index M of axis 0, which has M positions"),
        ("M", "N", ("x__s0", 1), 1, "it reaches index N of axis 1, which has N positions"),
        ("M", "N", ("x__s0", 1), -1, "it begins at index -1 of axis 1"),
        ("M", "N", ("-x__s0", 1), 0, "it runs backwards along axis 0"),
        ("M", "N", ("x__s0", 2), 0, "it reaches index 2*N - 2 of axis 1"),
        ("M", "N", ("x__s0*x__s0", 1), 0, "not a sum of an index times a stride for each axis"),
    ],
)
def test_a_view_lies_inside_its_array(rows: str, cols: str, strides: tuple[str, int], offset: str, text: str) -> None:
    b = tiles(a=(1, 16, "f32"))
    b.view("w", "x", rows, cols, strides, offset=offset)
    b.op("load", [b.box("w", (0, 1), (0, 16))], "a")
    found = findings(b)
    assert [(f.code, f.outcome) for f in found] == ([("O-OPER-06", "unknown")] if text else [])
    assert all(text in f.message for f in found)


@pytest.mark.parametrize(
    ("op", "shapes", "code", "text"),
    [
        ("add", [(4, 16, "f32"), (1, 16, "f32"), (4, 16, "f32")], "", ""),
        ("add", [(4, 1, "f32"), (1, 1, "f32"), (4, 16, "f32")], "", ""),
        (
            "add",
            [(2, 16, "f32"), (4, 16, "f32"), (4, 16, "f32")],
            "O-OPER-07",
            "operand 0 has 2 rows, its result has 4",
        ),
        ("exp", [(4, 16, "f32"), (4, 1, "f32")], "O-OPER-07", "operand 0 has 16 columns, its result has 1"),
        ("add", [(4, 16, "f32"), (4, 16, "i32"), (4, 16, "f32")], "O-OPER-08", "different dtypes: f32, i32"),
        ("exp", [(4, 16, "i32"), (4, 16, "i32")], "O-OPER-08", "operands of dtype i32, not one of f32"),
        ("exp", [(4, 16, "f32"), (4, 16, "i32")], "O-OPER-08", "gives f32 and writes it to a tile of i32"),
        (
            "lt",
            [(4, 16, "f32"), (4, 16, "f32"), (4, 16, "f32")],
            "O-OPER-08",
            "gives bool and writes it to a tile of f32",
        ),
        ("lt", [(4, 16, "f32"), (4, 16, "f32"), (4, 16, "bool")], "", ""),
        ("cast", [(4, 16, "f32"), (4, 16, "i32")], "", ""),
        ("fill", [(4, 16, "f32"), (4, 16, "f32")], "", ""),
        ("fill", [(1, 16, "f32"), (4, 16, "f32")], "O-OPER-07", "its operand has 1 rows, its result has 4"),
        ("select", [(4, 16, "bool"), (1, 16, "f32"), (4, 1, "f32"), (4, 16, "f32")], "", ""),
        (
            "select",
            [(4, 16, "i32"), (4, 16, "f32"), (4, 16, "f32"), (4, 16, "f32")],
            "O-OPER-08",
            "condition of dtype i32",
        ),
        ("transpose", [(4, 16, "f32"), (16, 4, "f32")], "", ""),
        (
            "transpose",
            [(4, 16, "f32"), (16, 2, "f32")],
            "O-OPER-07",
            "transposed operand has 4 columns, its result has 2",
        ),
        ("sum", [(4, 16, "f32"), (4, 1, "f32")], "", ""),
        ("sum", [(4, 16, "f32"), (4, 16, "f32")], "O-OPER-07", "over axis 1 gives 1 column, its result has 16"),
        ("sum", [(4, 16, "f32"), (2, 1, "f32")], "O-OPER-07", "its operand has 4 rows, its result has 2"),
        ("index", [(1, 1, "i32")], "", ""),
        ("index", [(1, 1, "bool")], "O-OPER-08", "gives bool, not one of f32, i32, u32"),
        ("param", [(1, 1, "i32")], "O-OPER-02", "takes s, which is f32, into a tile of i32"),
    ],
)
def test_shapes_and_dtypes(op: str, shapes: list[tuple[int, int, str]], code: str, text: str) -> None:
    names = [f"t{k}" for k in range(len(shapes))]
    b = tiles(**dict(zip(names, shapes)))
    attrs: dict[str, dict[str, int | str]] = {
        "sum": {"axis": 1}, "fill": {"value": "0"}, "index": {"expr": "M - 1"}, "param": {"name": "s"},
    }  # fmt: skip
    b.op(op, " ".join(names[:-1]), names[-1], **attrs.get(op, {}))
    found = findings(b)
    assert [f.code for f in found] == ([code] if code else [])
    assert all(text in f.message and f.outcome == "violated" for f in found)


@pytest.mark.parametrize(
    ("a", "w", "acc", "code", "text"),
    [
        ((4, 8, "f32"), (8, 16, "f32"), (4, 16, "f32"), "", ""),
        ((4, 8, "bf16"), (8, 16, "bf16"), (4, 16, "f32"), "", ""),
        ((4, 8, "i8"), (8, 16, "i8"), (4, 16, "i32"), "", ""),
        ((4, 9, "f32"), (8, 16, "f32"), (4, 16, "f32"), "O-OPER-07", "extents columns of a, rows of b: 9, 8"),
        ((4, 8, "f32"), (8, 12, "f32"), (4, 16, "f32"), "O-OPER-07", "columns of the accumulator: 12, 16"),
        (
            (4, 8, "f16"),
            (8, 16, "bf16"),
            (4, 16, "f32"),
            "O-OPER-08",
            "dtypes f16, bf16 and an accumulator of f32, f32",
        ),
        ((4, 8, "f16"), (8, 16, "f16"), (4, 16, "f16"), "O-OPER-08", "dtypes f16, f16 and an accumulator of f16, f16"),
    ],
)
def test_products(
    a: tuple[int, int, str], w: tuple[int, int, str], acc: tuple[int, int, str], code: str, text: str
) -> None:
    b = tiles(a=a, w=w, acc=acc)
    b.op("dot", "a w acc", "acc")
    found = findings(b)
    assert [f.code for f in found if f.code != "O-OPER-09"] == ([code] if code else [])
    assert text in found[0].message if code else not found


def test_a_product_accumulates_in_place() -> None:
    b = tiles(a=(4, 8, "f32"), w=(8, 16, "f32"), acc=F32, c=F32)
    b.op("dot", "a w acc", "c")
    (found,) = findings(b)
    assert "reads its accumulator from tile acc and writes it to tile c" in found.message


def test_a_result_has_no_lanes_that_its_operands_lack() -> None:
    b = tiles(a=F32, c=F32, m=(4, 1, "f32"))
    b.op("exp", [b.box("a", valid=(3, 16))], "c")
    b.op("add", ["a", b.box("m", valid=(4, 0))], "c")
    b.op("max", [b.box("a", valid=(2, 16))], "m", axis=1)
    assert outcomes(b) == [("O-OPER-09", "violated")] * 3
    assert "writes 4 where only 3 rows of operand 0 are valid" in findings(b)[0].message
    assert "writes 16 where only 0 columns of operand 1 are valid" in findings(b)[1].message
    b = tiles(a=F32, c=F32)
    b.op("exp", [b.box("a", valid=("min(4, M - 62)", 16))], "c")
    assert ("O-OPER-09", "unknown") in outcomes(b)


@pytest.mark.parametrize(
    ("op", "read", "write", "text"),
    [
        ("exp", "x", "a", "reads view x of x, and takes tiles only"),
        ("exp", "a", "y", "writes view y of y, and gives tiles only"),
        ("load", "a", "c", "reads tile a [arena, 0..256), and takes views of arrays only"),
        ("store", "a", "c", "writes tile c [arena, 256..512), and gives arrays only"),
        ("pack", "a", "c", "of layout row_major, and gives placed tiles of layout panels32 only"),
    ],
)
def test_kinds_of_storage(op: str, read: str, write: str, text: str) -> None:
    b = tiles(a=F32, c=F32)
    b.op(op, [b.box(read, (0, 4), (0, 16))], b.box(write, (0, 4), (0, 16)))
    (found,) = findings(b)
    assert (found.code, found.outcome) == ("O-OPER-10", "violated")
    assert text in found.message


def test_a_nest_reads_its_own_lanes_only() -> None:
    b = tiles(a=F32, r=(1, 16, "f32"), c=F32)
    with b.nest():
        b.op("exp", "a", "c")
        b.op("neg", [b.box("c", (0, 1))], "r")
    (found,) = findings(b)
    assert (found.code, found.outcome) == ("O-OPER-11", "violated")
    assert "reads rows 0..1, columns 0..16 of tile c" in found.message
    assert "instruction 0 (exp, line 10) of the same nest writes rows 0..4, columns 0..16" in found.message


def test_a_nest_may_not_overwrite_what_other_lanes_still_read() -> None:
    b = tiles(a=F32, m=(4, 1, "f32"))
    with b.nest():
        b.op("sub", "a m", "a")
        b.op("exp", "a", "a")
    assert outcomes(b) == []
    with b.nest():
        b.op("sub", ["a", b.box("a", (), (0, 1))], "a")
    assert outcomes(b) == [("O-OPER-11", "violated")]


def test_a_nest_may_not_use_the_result_of_its_own_reduction() -> None:
    b = tiles(a=F32, m=(4, 1, "f32"), c=F32)
    with b.nest():
        b.op("max", "a", "m", axis=1)
        b.op("sub", "a m", "c")
    (found,) = findings(b)
    assert (found.code, found.outcome) == ("O-OPER-12", "violated")
    assert "reads tile m, which instruction 0 (max, line 10) of the same nest reduces into" in found.message


def test_two_views_of_one_array_in_a_nest_are_not_taken_apart() -> None:
    b = tiles()
    b.fused("v")
    b.view("w", "z", "M - 1", "N", ("z__s0", 1), offset="z__s0")
    with b.nest():
        b.op("load", [b.box("z", (0, 4), (0, 16))], "v")
        b.op("store", "v", b.box("z", (0, 4), (0, 16)))
    assert outcomes(b) == []
    with b.nest():
        b.fused("u")
        b.op("load", [b.box("w", (0, 4), (0, 16))], "u")
        b.op("store", "u", b.box("z", (0, 4), (0, 16)))
    assert outcomes(b) == [("O-OPER-11", "unknown")]


def test_fused_tiles_stay_in_one_nest() -> None:
    b = tiles(a=F32)
    b.fused("v")
    with b.nest():
        b.op("exp", "a", "v")
    with b.nest():
        b.op("exp", "v", "a")
    (found,) = findings(b)
    assert (found.code, found.outcome) == ("O-OPER-13", "violated")
    assert "reads tile v [fused], first touched by instruction 0 (exp, line 10)" in found.message
    b = tiles(a=F32)
    b.fused("v")
    b.op("exp", "a", "v")
    assert "writes tile v [fused], outside of any nest" in findings(b)[0].message


def test_whole_tile_operations_do_not_run_lane_by_lane() -> None:
    b = tiles(a=F32, c=(16, 4, "f32"))
    with b.nest(16, 4):
        b.op("transpose", "a", "c")
    assert outcomes(b) == [("O-OPER-14", "violated")]


def test_a_nest_visits_all_valid_lanes() -> None:
    b = tiles(a=F32, c=F32, m=(4, 1, "f32"))
    with b.nest(4, 15):
        b.op("exp", "a", "c")
        b.op("sum", "a", "m", axis=1)
    assert outcomes(b) == [("O-OPER-15", "violated")] * 2
    assert "writes 16 columns in a nest that visits 15" in findings(b)[0].message
    assert "reduces 16 columns in a nest that visits 15" in findings(b)[1].message
