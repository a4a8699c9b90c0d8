"""Rules that need a proof: R09 to R13 and R21, each held and each broken, some by text that no kernel lowers to."""

from __future__ import annotations

import pytest
from ir_text import FASTNORM, functions, read

from tilebuild.ir.dialect import LoadOp, StoreOp
from tilebuild.ir.facts import facts_to_ranges, simplify
from tilebuild.ir.verifier import verify
from tilebuild.plan.bounds import Range
from tilebuild.plan.expr import const, parse, sym

HEAD = """"tile.func"() <{{sym_name = "k", variant = "k", params = ["x", "y", "z", "q"], dims = ["M", "N", "K"],
    consts = {{}}, requires = [{requires}], file = "k.py"}}> ({{
^bb0(%x: !X, %y: !Y, %z: !Z, %q: !Q):
  "tile.program"() <{{ids = ["i", "j"], extents = ["(M + 3) // 4", "(N + 7) // 8"], order = "row"}}> : () -> ()
  %f = "tile.constant"() <{{value = "1.0"}}> : () -> f32
  %t = "tile.full"(%f) : (f32) -> !T
{lines}
}}) : () -> ()
"""
TYPES = {
    "X": '!tile.view<f32, "in", ["M", "N"], ["x__s0", "1"], "0">',
    "Y": '!tile.view<f32, "out", ["M", "N"], ["y__s0", "1"], "0">',
    "Z": '!tile.view<f32, "inout", ["M", "M"], ["z__s0", "1"], "0">',
    "W": '!tile.view<f32, "inout", ["M", "M"], ["1", "z__s0"], "0">',
    "Q": '!tile.view<f32, "out", ["K", "N", "M"], ["q__s0", "q__s1", "1"], "0">',
    "T": '!tile.tile<4x8xf32, "4", "8">',
    "S": '!tile.tile<4x4xf32, "4", "4">',
    "C": '!tile.tile<4x8xf32, "min(4, M - 4*i)", "min(8, N - 8*j)">',
    "D": '!tile.tile<4x4xf32, "min(4, M - 4*i)", "min(4, M - 4*j)">',
}


def codes(lines: str, requires: str = "") -> list[str]:
    text = HEAD.format(lines=lines, requires=requires)
    for name, full in TYPES.items():
        text = text.replace(f"!{name}", full)
    func = read(text)
    func.verify()
    return [d.code for d in verify(func)]


def store(row: str = "4*i", col: str = "8*j", value: str = "%t", view: str = "%y", types: str = "!T, !Y") -> str:
    return f'  "tile.store"({value}, {view}) <{{row = "{row}", col = "{col}"}}> : ({types}) -> ()\n'


def load(result: str, row: str, col: str, view: str = "%x", types: str = "(!X) -> !C") -> str:
    return f'  {result} = "tile.load"({view}) <{{row = "{row}", col = "{col}"}}> : {types}\n'


def loop(body: str, lower: str = "0", upper: str = "K", name: str = "k") -> str:
    head = f'  "tile.for"() <{{id = "{name}", lower = "{lower}", upper = "{upper}", stages = 1 : i64}}> ({{\n^bb1:\n'
    return f'{head}{body}  "tile.yield"() : () -> ()\n}}) : () -> ()\n'


PLANE = '!tile.view<f32, "out", ["N", "M"], ["q__s1", "1"], "k*q__s0">'
Q = f'  %a = "tile.view_index"(%q) <{{indices = ["k"]}}> : (!Q) -> {PLANE}\n'


def test_fastnorm_is_proved() -> None:
    """R09 to R12 of every access of every kernel."""
    found = functions(FASTNORM)
    assert sum(isinstance(op, (LoadOp, StoreOp)) for f in found for op in f.body.walk()) > 20
    assert [d for f in found for d in verify(f)] == []


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param(store(), ["W311"], id="held: only q stays unwritten"),
        pytest.param(store("4*i", "8*j + 8"), ["E301"], id="R09: past the end"),
        pytest.param(store("4*i - 1"), ["E301"], id="R09: before the start"),
        pytest.param(load("%a", "4*i", "8*j + 1"), ["E301"], id="R09: no whole tile"),
        pytest.param(store("4*i", "8*k"), ["E310"], id="R09: an id that is not there"),
        pytest.param(loop("") + store("4*k"), ["E310"], id="R09: an id after its loop"),
        pytest.param(loop("", "0", "n"), ["E310"], id="a loop's end that is not there"),
        pytest.param('  %a = "tile.index"() <{expr = "n"}> : () -> i32', ["E310"], id="an integer that is not there"),
        pytest.param(
            load("%a", "4*i", "8*j", types="(!X) -> !T"), ["E208", "E208"], id="R13: lanes that are not there"
        ),
        pytest.param(
            '  %a = "tile.narrow"(%t) : (!T) -> !C\n  %b = "tile.narrow"(%a) : (!C) -> !T', ["E208"], id="R13: wider"
        ),
        pytest.param(store("4*i", "0"), ["E302"], id="R10: an id that is missing"),
        pytest.param(store("4*i", "8*((N + 7) // 8) - 8 - 8*j"), ["W311", "W311"], id="R10 held: from the end"),
        pytest.param(store("4*i", "8*(j // 2)"), ["E302"], id="R10: two programs, one tile"),
        pytest.param(store("2*i", "8*j"), ["E302"], id="R10: tiles that overlap"),
        pytest.param(store("4*i", "8*j") + store("4*i", "0"), ["E302"], id="R10: a second store elsewhere"),
        pytest.param(
            '  %w = "tile.view_transpose"(%z) : (!Z) -> !W\n  %s = "tile.full"(%f) : (f32) -> !S\n'
            + store("4*i", "0", "%s", "%z", "!S, !Z")
            + store("4*i", "0", "%s", "%w", "!S, !W"),
            ["E302", "E302"],
            id="R10: transposed",
        ),
        pytest.param(
            loop(
                load("%a", "4*i", "4*k", "%z", '(!Z) -> !tile.tile<4x4xf32, "min(4, M - 4*i)", "min(4, M - 4*k)">')
                + store("4*i", "4*k", "%a", "%z", '!tile.tile<4x4xf32, "min(4, M - 4*i)", "min(4, M - 4*k)">, !Z'),
                upper="(M + 3) // 4",
            ),
            ["E302"],
            id="R10: j is missing",
        ),
        pytest.param(
            store(value="%c").replace("  ", '  %c = "tile.narrow"(%t) : (!T) -> !C\n  ', 1).replace("!T, !Y", "!C, !Y"),
            ["W311"],
            id="R11: clipped as the array is",
        ),
        pytest.param("", ["W311", "W311"], id="R11: no store"),
        pytest.param(loop(Q, upper="K"), ["W311", "W311"], id="R11: a view is no store"),
        pytest.param(loop(store(), upper="K - 1"), ["W311", "W311"], id="R11: a loop that may not run"),
        pytest.param(loop(Q, upper="K + 1") + "", ["W311", "W311"], id="an index that nothing reads"),
        pytest.param(
            loop(
                Q + store("8*j", "0", "%t", "%a", '!T, !tile.view<f32, "out", ["N", "M"], ["q__s1", "1"], "k*q__s0">'),
                upper="K + 1",
            ),
            ["E301"],
            id="R09: a leading index past the end",
        ),
    ],
)
def test_rules(lines: str, expected: list[str]) -> None:
    assert codes(lines) == expected


def test_a_diagonal_does_not_cover() -> None:
    """R11: each axis needs an id of its own."""
    square = TYPES["Y"].replace('"N"', '"M"')
    lines = store("4*i", "4*i", "%s", "%z", "!S, !Z").replace("  ", '  %s = "tile.full"(%f) : (f32) -> !S\n  ', 1)
    text = HEAD.format(lines=lines, requires='"N <= 8"')
    for name, full in {**TYPES, "Z": square}.items():
        text = text.replace(f"!{name}", full)
    func = read(text.replace('"out", ["K"', '"in", ["K"').replace(f"%y: {TYPES['Y']}", f"%y: {TYPES['X']}"))
    assert [d.code for d in verify(func)] == ["W311"]


def test_an_inout_is_loaded_before_it_is_stored() -> None:
    """R12 and R21, in the tile that the program itself stores."""
    first, second = load("%a", "4*i", "4*j", "%z", "(!Z) -> !D"), store("4*i", "4*j", "%a", "%z", "!D, !Z")
    again = load("%b", "4*i", "4*j", "%z", "(!Z) -> !D")
    other = load("%b", "4*j", "4*i", "%z", '(!Z) -> !tile.tile<4x4xf32, "min(4, M - 4*j)", "min(4, M - 4*i)">')
    turned = '  %w = "tile.view_transpose"(%z) : (!Z) -> !W\n' + load("%b", "4*i", "4*j", "%w", "(!W) -> !D")
    square = '"N == M", "M <= 4096"'

    def found(lines: str) -> list[str]:
        text = HEAD.format(lines=lines, requires=square).replace("(N + 7) // 8", "(M + 3) // 4")
        for name, full in TYPES.items():
            text = text.replace(f"!{name}", full)
        return [d.code for d in verify(read(text)) if d.severity == "error"]

    assert found(first + second) == []
    assert found(first + second + again) == ["E306"]
    assert found(other + first + second) == ["E306"]
    assert found(turned + first + second) == ["E306"]
    assert found(loop(first + second, upper="3")) == ["E306"]


@pytest.mark.parametrize(
    ("fact", "lo", "hi"),
    [
        ("N <= 8", "1", "8"),
        ("N < 8", "1", "7"),
        ("8 >= N", "1", "8"),
        ("8 > N", "1", "7"),
        ("N >= 4", "4", None),
        ("N > 4", "5", None),
        ("4 <= N", "4", None),
        ("N == 8", "8", "8"),
        ("8 == N", "8", "8"),
        ("N - 4 <= 8", "1", "12"),
        ("N <= M", "1", None),
        ("2*N <= 8", "1", None),
        ("N != 3", "1", None),
        ("0 <= N", "1", None),
        ("4 <= N <= 8", "4", "8"),
        ("N <= 8 and N <= 6", "1", "min(6, 8)"),
        ("K <= 8", "1", None),
        ("N % M == 0", "1", None),
    ],
)
def test_facts(fact: str, lo: str, hi: str | None) -> None:
    ranges = {"N": Range(const(1))}
    facts_to_ranges([fact], ranges)
    assert ranges == {"N": Range(parse(lo), None if hi is None else parse(hi))}


@pytest.mark.parametrize(("requires", "expected"), [("", ["E312"]), ("(M + 3) // 4 - N + 1 <= 0", [])])
def test_an_assumption_needs_its_guard(requires: str, expected: list[str]) -> None:
    line = '  "tile.assume"() <{facts = ["i + 1 < N"]}> : () -> ()\n'
    assert [c for c in codes(line + store(), requires and f'"{requires}"') if c == "E312"] == expected


@pytest.mark.parametrize(
    ("fact", "expected"),
    [
        ("N % 8 == 0", {"N": Range(const(8), None, const(8))}),
        ("H % G == 0", {"H": Range(sym("G"), None, sym("G"))}),
        ("T >= S", {"T": Range(sym("S"))}),
        ("S + 2 < T", {"T": Range(sym("S") + 3)}),
        ("2*S <= T", {"T": Range(2 * sym("S"))}),
        ("S <= 2*T", {"S": Range(const(1), 2 * sym("T"))}),
        ("(N + 1) % 8 == 0", {}),
        ("N % 8 == 1", {}),
        ("H % H == 0", {}),
    ],
)
def test_facts_of_several_dimensions(fact: str, expected: dict[str, Range]) -> None:
    before = {name: Range(const(1)) for name in ("H", "G", "N", "S", "T")}
    ranges = dict(before)
    facts_to_ranges([fact], ranges)
    assert ranges == before | expected


def test_simplify() -> None:
    ranges = {"N": Range(const(1), const(8)), "M": Range(const(1)), "i": Range(const(0), parse("M - 1"))}
    assert simplify(parse("min(8, N)"), ranges) == parse("N")
    assert simplify(parse("min(1, M - i)"), ranges) == const(1)
    assert simplify(parse("min(9, M, N)"), ranges) == parse("min(M, N)")
    assert simplify(parse("min(M, N)"), ranges) == parse("min(M, N)")
    assert simplify(parse("min(8, N) + 1"), ranges) == parse("min(8, N) + 1")
