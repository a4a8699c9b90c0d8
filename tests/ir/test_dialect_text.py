"""The dialect as text: what is printed reads back as the same, and every operation refuses what its rules forbid."""

from __future__ import annotations

import pytest
from ir_text import FASTNORM, everything, functions, read
from xdsl.dialects.builtin import i64
from xdsl.utils.exceptions import ParseError, VerifyException

from tilebuild.diagnostics import Span
from tilebuild.ir.dialect import OPERATIONS
from tilebuild.ir.infer import RuleError, dtype_of
from tilebuild.ir.spans import span_of
from tilebuild.ir.types import TileType
from tilebuild.ir.verifier import verify


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(everything(tmp_path_factory.mktemp("project")))


def test_every_operation_is_in_the_text(text: str) -> None:
    missing = [op.name for op in OPERATIONS if f'"{op.name}"' not in text]
    assert missing == []


def test_round_trip(text: str) -> None:
    func = read(text)
    func.verify()
    assert str(func) == text
    assert verify(func) == []


def test_round_trip_of_fastnorm() -> None:
    for func in functions(FASTNORM):
        again = read(str(func))
        again.verify()
        assert str(again) == str(func)
        assert verify(func) == verify(again) == []


VIEW = '!tile.view<f32, "in", ["M", "N"], ["x__s0", "1"], "0">'
CLIP = '"min(4, M - 4*i)", "min(8, N - 8*j)"'
TILE = f"!tile.tile<4x8xf32, {CLIP}>"
BROKEN = {
    # operation: (what is replaced once, with what, the message)
    "func: a name too few": ('params = ["x", ', "params = [", "[E209] 6 names for 7 parameters"),
    "func: a fact that is none": ('requires = ["', 'requires = ["M", "', "[E210] 'M' is not a condition"),
    "program: an id too few": ('ids = ["i", "j"]', 'ids = ["i"]', "[E209] 1 program ids for 2 extents"),
    "program: an extent that is none": (
        'extents = ["(M + 3) // 4"',
        'extents = ["M +"',
        "[E210] 'M +' is not an expression",
    ),
    "for: an end that is none": ('lower = "0", upper', 'lower = "?", upper', "[E210] '?' is not an expression"),
    "for: no stages": ("stages = 2", "stages = 0", "[E209] a loop has at least one stage"),
    "view_index: all dimensions": ('indices = ["0"]', 'indices = ["0", "0", "0"]', "[E207] 3 indices leave nothing"),
    "view_index: an index that is none": ('indices = ["0"]', 'indices = ["0 +"]', "[E210] '0 +' is not an expression"),
    "load: a start that is none": (
        'row = "4*i", col = "8*c"',
        'row = "", col = "8*c"',
        "[E210] '' is not an expression",
    ),
    "constant: a float as i32": ('value = "0.0", span = "14', 'value = "zero", span = "14', "[E202] zero is no f32"),
    "index: an expression that is none": ('expr = "8*j"', 'expr = "8*"', "[E210] '8*' is not an expression"),
    "iota: another axis": (
        'axis = 1 : i64, span = "15',
        'axis = 2 : i64, span = "15',
        "[E206] the axis of a tile is 0 (rows)",
    ),
    "iota: as rows": ('axis = 1 : i64, span = "15', 'axis = 0 : i64, span = "15', "[E208] tile.iota has type"),
    "unary: an unknown operation": ('op = "neg"', 'op = "nag"', "[E204] nag is no operation on 1 operand(s)"),
    "unary: a binary operation": ('op = "neg"', 'op = "add"', "[E204] add is no operation on 1 operand(s)"),
    "unary: another type": ('op = "exp"', 'op = "not"', "[E204] not is not defined for f32"),
    "binary: a unary operation": ('op = "maximum"', 'op = "exp"', "[E204] exp is no operation on 2 operand(s)"),
    "binary: not what it gives": ('op = "gt"', 'op = "add"', "[E208] tile.binary has type"),
    "reduce: no reduction": ('op = "max", axis', 'op = "add", axis', "[E204] add is no reduction"),
    "reduce: another axis": ('axis = 1 : i64, span = "13', 'axis = 3 : i64, span = "13', "[E206] the axis of a tile"),
    "reduce: the other axis": (
        'axis = 1 : i64, span = "13',
        'axis = 0 : i64, span = "13',
        "[E208] tile.reduce has type",
    ),
    "tile: no rows": ("!tile.tile<1x8xi32", "!tile.tile<0x8xi32", "[E203] tile extents must be at least 1"),
    "tile: an unknown dtype": ("!tile.tile<1x8xi32", "!tile.tile<1x8xi64", "[E202] i64 is not a dtype of the language"),
    "tile: a valid region that is none": (
        '!tile.tile<1x8xi32, "1"',
        '!tile.tile<1x8xi32, "1 +"',
        "'1 +' is not an expression",
    ),
    "view: an unknown mode": (
        '!tile.view<f32, "out"',
        '!tile.view<f32, "outt"',
        "view mode 'outt' is not one of in, out, inout",
    ),
    "view: a stride too many": ('["N"], ["1"], "0"', '["N"], ["1", "1"], "0"', "a view has one stride a dimension"),
    "view: an unknown dtype": (
        '!tile.view<f32, "out"',
        '!tile.view<f64, "out"',
        "[E202] f64 is not a dtype of the language",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken(name: str, text: str) -> None:
    old, new, message = BROKEN[name]
    assert old in text
    with pytest.raises((VerifyException, ParseError)) as caught:
        read(text.replace(old, new, 1)).verify()
    assert message in str(caught.value)


HEAD = """"tile.func"() <{sym_name = "k", variant = "k", params = ["x", "f", "n", "p"], dims = ["M", "N"], consts = {},
    requires = [], file = "k.py"}> ({
^bb0(%x: !tile.view<f32, "inout", ["M", "N"], ["x__s0", "1"], "0">, %f: f32, %n: i32, %p: i1):
  "tile.program"() <{ids = ["i"], extents = ["M"], order = "row"}> : () -> ()
  %t = "tile.full"(%f) : (f32) -> !T
  %u = "tile.full"(%n) : (i32) -> !U
"""
TYPES = {
    "T": '!tile.tile<4x8xf32, "4", "8">',
    "U": '!tile.tile<4x8xi32, "4", "8">',
    "S": '!tile.tile<8x4xf32, "8", "4">',
    "V": '!tile.view<f32, "inout", ["M", "N"], ["x__s0", "1"], "0">',
}
OPERANDS = {
    "full of a tile": ('%r = "tile.full"(%t) : (!T) -> !T', "[E205] full takes one number for all lanes"),
    "full of another dtype": ('%r = "tile.full"(%f) : (f32) -> !U', "[E208] tile.full has type"),
    "cast to another shape": ('%r = "tile.cast"(%u) : (!U) -> !S', "[E208] tile.cast has type"),
    "cast to nothing": ('%r = "tile.cast"(%u) : (!U) -> f64', "[E202] f64 is not a dtype of the language"),
    "cast of an array": ('%r = "tile.cast"(%x) : (!V) -> f32', "[E205] f32 array [M, N] is not a tile"),
    "unary of an array": (
        '%r = "tile.unary"(%x) <{op = "exp"}> : (!V) -> f32',
        "[E205] f32 array [M, N] is not a tile",
    ),
    "binary of two dtypes": (
        '%r = "tile.binary"(%t, %u) <{op = "add"}> : (!T, !U) -> !T',
        "[E202] add needs one dtype",
    ),
    "binary of two shapes": (
        '%s = "tile.transpose"(%t) : (!T) -> !S\n  %r = "tile.binary"(%t, %s) <{op = "add"}> : (!T, !S) -> !T',
        "[E201] shapes do not broadcast",
    ),
    "slice past the end": (
        '%r = "tile.slice"(%s) <{row = 0 : i64, col = 1 : i64}> : (!S) -> !S',
        "[E203] a slice of columns 1 to",
    ),
    "reshape of a scalar": ('%r = "tile.reshape"(%f) : (f32) -> f32', "should be of base attribute tile.tile"),
    "transpose of a scalar": ('%r = "tile.transpose"(%f) : (f32) -> f32', "[E205] a transpose needs a tile"),
    "not transposed": ('%r = "tile.transpose"(%t) : (!T) -> !T', "[E208] tile.transpose has type"),
    "select by a float": (
        '%r = "tile.select"(%f, %t, %t) : (f32, !T, !T) -> !T',
        "[E202] where needs a bool condition",
    ),
    "select of two dtypes": ('%r = "tile.select"(%p, %t, %u) : (i1, !T, !U) -> !T', "[E202] where needs one dtype"),
    "reduce of a scalar": (
        '%r = "tile.reduce"(%f) <{op = "sum", axis = 1 : i64}> : (f32) -> f32',
        "[E205] sum over an axis",
    ),
    "dot of scalars": ('%r = "tile.dot"(%f, %f, %f) : (f32, f32, f32) -> f32', "[E205] dot(a, b, acc) needs tiles"),
    "dot of other extents": (
        '%r = "tile.dot"(%t, %t, %t) : (!T, !T, !T) -> !T',
        "[E201] dot: f32 tile [4, 8] has 8 columns",
    ),
    "fill with a tile": ('%r = "tile.fill"(%t, %t) : (!T, !T) -> !T', "[E205] fill takes one number for all lanes"),
    "fill of another dtype": (
        '%r = "tile.fill"(%t, %n) : (!T, i32) -> !T',
        "[E202] f32 tile [4, 8] is filled with a i32",
    ),
    "fill of a scalar": ('%r = "tile.fill"(%f, %f) : (f32, f32) -> f32', "[E205] fill needs a tile"),
    "store of another dtype": (
        '"tile.store"(%u, %x) <{row = "0", col = "0"}> : (!U, !V) -> ()',
        "[E202] i32 tile [4, 8] is stored into f32 array",
    ),
    "store nowhere": (
        '"tile.store"(%t, %x) <{row = "0", col = "?"}> : (!T, !V) -> ()',
        "[E210] '?' is not an expression",
    ),
    "store into a tile": ('"tile.store"(%t, %t) <{row = "0", col = "0"}> : (!T, !T) -> ()', "view"),
    "a constant that does not fit": (
        '%r = "tile.constant"() <{value = "3000000000"}> : () -> i32',
        "[E202] 3000000000 is no i32",
    ),
    "a constant tile": ('%r = "tile.constant"() <{value = "3"}> : () -> !T', "[E205] a constant takes one number"),
    "a yield outside of a loop": ('"tile.yield"() : () -> ()', "[E209] tile.yield ends the body of a tile.for"),
    "an index as a bool": (
        '%r = "tile.index"() <{expr = "M"}> : () -> i1',
        "[E202] an integer becomes an f32 or i32 scalar",
    ),
    "a narrowed tile of another shape": (
        '%r = "tile.narrow"(%t) : (!T) -> !S',
        "[E208] tile.narrow changes only the valid",
    ),
    "all dimensions indexed": (
        '%r = "tile.view_index"(%x) <{indices = ["0", "0"]}> : (!V) -> !V',
        "[E207] 2 indices leave nothing of f32 array",
    ),
    "an index that drops nothing": (
        '%r = "tile.view_index"(%x) <{indices = ["0"]}> : (!V) -> !V',
        "[E208] tile.view_index has",
    ),
    "a transposed array that is not": (
        '%r = "tile.view_transpose"(%x) : (!V) -> !V',
        "[E208] tile.view_transpose has type",
    ),
    "the column of a matrix": ('%r = "tile.view_column"(%x) : (!V) -> !V', "[E207] .col needs one dimension"),
    "a load of another dtype": (
        '%r = "tile.load"(%x) <{row = "0", col = "0"}> : (!V) -> !U',
        "[E202] a load of f32 array [M, N] gives f32, not i32",
    ),
    "two grids": (
        '"tile.program"() <{ids = ["j"], extents = ["M"], order = "row"}> : () -> ()',
        "[E111] a kernel has one tile.program, at its top",
    ),
    "a loop that changes a type": (
        '%r = "tile.for"(%t) <{id = "k", lower = "0", upper = "1", stages = 1 : i64}> ({\n^bb1(%a: !T):\n'
        '  "tile.yield"(%u) : (!U) -> ()\n}) : (!T) -> !T',
        "[E304] loop-carried values must have one type on entry, in the body and on exit",
    ),
    "a loop that carries an array": (
        '%r = "tile.for"(%x) <{id = "k", lower = "0", upper = "1", stages = 1 : i64}> ({\n^bb1(%a: !V):\n'
        '  "tile.yield"(%a) : (!V) -> ()\n}) : (!V) -> !V',
        "[E304] a loop carries tiles and scalars",
    ),
}


def in_function(lines: str) -> str:
    text = f"{HEAD}  {lines}\n}}) : () -> ()"
    for name, full in TYPES.items():
        text = text.replace(f"!{name}", full)
    return text


@pytest.mark.parametrize("name", OPERANDS)
def test_wrong_operands(name: str) -> None:
    lines, message = OPERANDS[name]
    with pytest.raises((VerifyException, ParseError)) as caught:
        read(in_function(lines)).verify()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("mode", "line", "message"),
    [
        ("out", '%r = "tile.load"(%x) <{row = "0", col = "0"}> : (!V) -> !T', "[E303] an `Out` array is read"),
        ("in", '"tile.store"(%t, %x) <{row = "0", col = "0"}> : (!T, !V) -> ()', "[E303] an `In` array is written"),
    ],
)
def test_modes(mode: str, line: str, message: str) -> None:
    with pytest.raises(VerifyException) as caught:
        read(in_function(line).replace("inout", mode)).verify()
    assert message in str(caught.value)


def test_the_function_around_them_is_fine() -> None:
    func = read(in_function('%r = "tile.unary"(%t) <{op = "exp"}> : (!T) -> !T'))
    func.verify()
    assert verify(func) == []


def test_a_parameter_of_another_dtype() -> None:
    with pytest.raises(VerifyException, match=r"\[E202\] f64 is not a dtype of the language"):
        read(in_function("").replace("%p: i1", "%p: f64")).verify()
    with pytest.raises(VerifyException, match=r"\[E209\] a parameter is an array or a scalar, found f32 tile \[4, 8\]"):
        read(in_function("").replace("%p: i1", f"%p: {TYPES['T']}")).verify()


def test_no_grid() -> None:
    text = "".join(line for line in in_function("").splitlines(True) if "tile.program" not in line)
    with pytest.raises(VerifyException, match=r"\[E111\] a kernel has one tile.program"):
        read(text).verify()
    with pytest.raises(ValueError, match="k declares no program"):
        read(text).program  # noqa: B018


def test_a_grid_inside_of_a_loop() -> None:
    lines = in_function("").splitlines(keepends=True)
    grid = next(line for line in lines if "tile.program" in line)
    lines.remove(grid)
    start = '  "tile.for"() <{id = "k", lower = "0", upper = "1", stages = 1 : i64}> ({\n^bb1:\n'
    lines[-1:] = [start, grid, '  "tile.yield"() : () -> ()\n}) : () -> ()\n', lines[-1]]
    with pytest.raises(VerifyException, match=r"\[E111\] tile.program stands inside a loop"):
        read("".join(lines)).verify()


def test_spans() -> None:
    func = read(in_function('%r = "tile.unary"(%t) <{op = "exp", span = "3:4-3:9"}> : (!T) -> !T'))
    last = func.body.block.last_op
    assert last is not None
    assert span_of(last, "k.py") == Span("k.py", 3, 4, 3, 9)
    for wrong in ("", "3", "3:4", "a:b-c:d", "1:2-3:4-5:6"):
        last.properties["span"] = type(func.file)(wrong)
        assert span_of(last, "k.py") is None


def test_types() -> None:
    assert dtype_of(TileType.of((4, 8), "bf16")) == "bf16"
    with pytest.raises(RuleError, match="i64 is not a dtype"):
        dtype_of(i64)
