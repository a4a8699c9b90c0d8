"""`.mlir` files of the tile dialect: read as kernels, and refused, at the place, where they break a rule."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlir_source import FILE, findings, first_finding, lowered, write

from tilebuild.diagnostics import TilebuildError
from tilebuild.frontend.discover import discover, find_modules, find_texts

VIEW = '!tile.view<f32, "{}", ["M", "N"], ["{}__s0", "1"], "0">'
IN, OUT = VIEW.format("in", "x"), VIEW.format("out", "y")
TILE = '!tile.tile<4x8xf32, "min(4, M - 4*i)", "min(8, N - 8*j)">'
KERNEL = f"""\
// exp of a matrix, tile by tile
"tile.func"() <{{sym_name = "exponential", params = ["x", "y"], dims = ["M", "N"], consts = {{BM = 4 : i64}}}}> ({{
^bb0(%x: {IN}, %y: {OUT}):
  "tile.program"() <{{ids = ["i", "j"], extents = ["(M + 3) // 4", "(N + 7) // 8"], order = "row"}}> : () -> ()
  %t = "tile.load"(%x) <{{row = "4*i", col = "8*j"}}> : ({IN}) -> {TILE}  // a comment
  %u = "tile.unary"(%t) <{{op = "exp"}}> : ({TILE}) -> {TILE}
  "tile.store"(%u, %y) <{{row = "4*i", col = "8*j"}}> : ({TILE}, {OUT}) -> ()
}}) : () -> ()
"""


def changed(*pairs: tuple[str, str]) -> str:
    text = KERNEL
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text


def test_a_kernel(tmp_path: Path) -> None:
    assert findings(tmp_path, KERNEL) == []
    (kernel,) = discover(tmp_path)
    assert (kernel.module, kernel.name, kernel.file, kernel.dims) == ("pkg.made", "exponential", FILE, ("M", "N"))
    assert [(p.name, p.mode, p.dtype, list(map(str, p.dims))) for p in kernel.parameters] == [
        ("x", "in", "f32", ["M", "N"]),
        ("y", "out", "f32", ["M", "N"]),
    ]
    assert kernel.variants[0].consts == (("BM", 4),)
    assert (kernel.span.line, kernel.span.column) == (2, 0)


def test_operations_stand_where_the_text_has_them(tmp_path: Path) -> None:
    write(tmp_path, KERNEL)
    (func,) = lowered(tmp_path)
    lines = KERNEL.split("\n")
    for line, op in zip((4, 5, 6, 7), func.body.block.ops):
        code = lines[line - 1].split("  //")[0]
        assert op.properties["span"].data == f"{line}:2-{line}:{len(code)}"  # type: ignore[attr-defined]


def test_a_module_around_it_and_type_aliases(tmp_path: Path) -> None:
    inside = KERNEL.replace(TILE, "!T").replace(IN, "!In")
    assert findings(tmp_path, f"!T = {TILE}\n!In = {IN}\nmodule {{\n{inside}}}\n") == []


def test_variants_of_one_kernel(tmp_path: Path) -> None:
    first = changed(('sym_name = "exponential"', 'sym_name = "a", variant = "e", when = "N <= 64", target = "cpu"'))
    second = changed(('sym_name = "exponential"', 'sym_name = "b", variant = "e"'))
    assert findings(tmp_path, first + second) == []
    (kernel,) = discover(tmp_path)
    assert [(v.when, v.target) for v in kernel.variants] == [("N <= 64", "cpu"), ("", "")]
    assert [f.sym_name.data for f in lowered(tmp_path)] == ["e_0", "e_1"]
    assert [r.data for r in lowered(tmp_path)[0].requires] == ["N <= 64"]


def test_otherwise_and_guards(tmp_path: Path) -> None:
    guarded = changed(('sym_name = "exponential"', 'sym_name = "exponential", when = "N <= 64"'))
    assert first_finding(tmp_path, guarded).code == "E107"
    rest = changed(('"exponential"', '"rest"'))
    named = guarded.replace('when = "N <= 64"', 'when = "N <= 64", otherwise = "rest"')
    assert findings(tmp_path, named + rest) == []
    assert first_finding(tmp_path, named).code == "E106"


WRONG = {
    "not MLIR": (
        changed(('"tile.load"(%x)', '"tile.load"(«%z»)'), ("%x: ", "%q: "), ("«", ""), ("»", "")),
        "E130",
        "values used but not defined",
    ),
    "a quote that is missing": (
        changed(('op = "exp"', 'op = "exp'), ('8*j)">\n  "tile.store', '8*j)«"»>\n  "tile.store')),
        "E130",
        "a string that does not end",
    ),
    "a type for which there is no memory": (
        changed(("4 : i64", "4 : «i34294967296»")),
        "E130",
        "the type i34294967296 is wider than any number",
    ),
    "a brace that is missing": (changed(('<{op = "exp"}>', '<{op = "exp"«>»')), "E130", "'}' expected"),
    "a broken type": (
        changed(('!tile.tile<4x8xf32, "min(4, M - 4*i)"', '!tile.tile<0x8xf32, "1"')),
        "E203",
        "at least 1",
    ),
    "a rule of an operation": (
        changed(
            (
                '%u = "tile.unary"(%t) <{op = "exp"}> : (' + TILE + ") -> " + TILE,
                '«%u = "tile.unary"(%t) <{op = "exq"}> : (' + TILE + ") -> " + TILE + "»",
            )
        ),
        "E204",
        "exq is no operation on 1 operand(s)",
    ),
    "a missing property": (
        changed(('"tile.load"(%x) <{row = "4*i", col = "8*j"}>', '"tile.load"(%x) <{row = "4*i"}>')),
        "E130",
        "property 'col'",
    ),
    "an operation of another dialect": (
        changed(('  "tile.store"', '  «"test.op"() : () -> ()»\n  "tile.store"')),
        "E132",
        "test.op has no meaning in a kernel",
    ),
    "no kernel": ('module {\n  "test.tile.func"() : () -> ()\n}', "E132", "test.tile.func is neither a kernel nor"),
    "an empty module": ("module {}  // tile.func", "E133", "the file holds no kernel"),
    "a bad name": (changed(('"exponential"', '«"a b"»')), "E133", "a b is not an identifier"),
    "one name twice": (
        changed(('ids = ["i", "j"]', 'ids = ["i", "i"]'), ("8*j", "8*i")),
        "E133",
        "i is a program id and",
    ),
    "a dimension as an id": (
        changed(('ids = ["i", "j"]', 'ids = ["i", «"N"»]'), ("8*j", "8*N"), ("N - 8*N", "-7*N")),
        "E133",
        "N is a dimension and a program id",
    ),
    "other strides": (
        changed(('"x__s0", "1"', '"N", "1"')),
        "E133",
        "does not have the strides and offset of an argument",
    ),
    "an offset": (changed(('["x__s0", "1"], "0"', '["x__s0", "1"], "4"')), "E133", 'are ["x__s0", "1"], "0"'),
    "an extent that nobody declares": (
        changed(('dims = ["M", "N"]', 'dims = ["M"]')),
        "E102",
        "the extents of x use N",
    ),
    "a dimension without an array": (
        changed(('dims = ["M", "N"]', 'dims = ["M", "N", «"K"»]')),
        "E102",
        "no array has the extent K",
    ),
    "an output that is none": (
        changed(('"out"', '"in"'), ('  "tile.store"', '  // "tile.store"')),
        "E104",
        "exponential has no output",
    ),
    "a condition on an id": (
        changed(("consts", '«requires» = ["i < 4"], consts')),
        "E117",
        "'i < 4' is no condition on the dimensions",
    ),
    "no condition": (
        changed(('"tile.func"', '«"tile.func"»'), ("consts", 'requires = ["M +"], consts')),
        "E210",
        "'M +' is not a condition",
    ),
    "a guard on an id": (changed(("consts", '«when» = "i < 4", consts')), "E117", "when: 'i < 4'"),
    "an order": (changed(('order = "row"', '«order» = "spiral"')), "E116", "row or grouped:<n>, not 'spiral'"),
    "a grid that may be empty": (
        changed(('"(M + 3) // 4"', '"M // 4"')),
        "E111",
        "M // 4 is not proved to be at least 1",
    ),
    "a grid over an id": (changed(('"(N + 7) // 8"', '"i + 1"')), "E111", "i + 1 is no expression over the dimensions"),
    "an inexact index": (
        changed(('  "tile.store"', '  «%n = "tile.index"() <{expr = "M"}> : () -> f32»\n  "tile.store"')),
        "E210",
        "the integer M is not proved to be exact as f32",
    ),
    "a tile outside": (
        changed(
            (
                '%t = "tile.load"(%x) <{row = "4*i", col = "8*j"}> : (' + IN + ") -> " + TILE,
                '«%t = "tile.load"(%x) <{row = "4*i + 4", col = "8*j"}> : (' + IN + ") -> " + TILE + "»",
            )
        ),
        "E301",
        "the row index i + 1 of x is not proved inside",
    ),
    "a valid region that is not": (
        changed((TILE, '!tile.tile<4x8xf32, "4", "8">')),
        "E208",
        "the load of x claims 4 valid lanes",
    ),
    "a column for all programs": (
        changed(
            ('"tile.store"(%u, %y) <{row = "4*i", col = "8*j"}>', '"tile.store"(%u, %y) <{row = "4*i", col = "0"}>')
        ),
        "E302",
        "programs that differ in j are not proved to write different elements",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong(name: str, tmp_path: Path) -> None:
    text, code, message = WRONG[name]
    found = first_finding(tmp_path, text)
    assert found.code == code, found.render(tmp_path)
    assert message in found.message + found.fix
    assert found.span is not None
    assert found.span.file == FILE


def test_an_index_is_exact_where_a_fact_says_so(tmp_path: Path) -> None:
    index = ('  "tile.store"', '  %n = "tile.index"() <{expr = "M"}> : () -> f32\n  "tile.store"')
    assert findings(tmp_path, changed(index, ("consts", 'requires = ["M <= 65536"], consts'))) == []


def test_two_variants_that_differ(tmp_path: Path) -> None:
    first = changed(('sym_name = "exponential"', 'sym_name = "a", variant = "e"'))
    second = changed(
        ('"tile.func"() <{sym_name = "exponential"', '«"tile.func"»() <{sym_name = "b", variant = "e"'),
        ('params = ["x", "y"]', 'params = ["z", "y"]'), ("x__s0", "z__s0"),
    )  # fmt: skip
    found = first_finding(tmp_path, first + second)
    assert (found.code, found.message) == ("E133", "two variants of e do not have the same parameters")


def test_a_kernel_of_the_same_name_beside_it(tmp_path: Path) -> None:
    write(tmp_path, KERNEL)
    (tmp_path / "src/pkg/made.py").write_text(
        'import tilebuild as tb\n\nN = tb.dims("N")\n\n\n@tb.kernel\ndef exponential(y: tb.Out[tb.f32, N]):\n'
        "    i = tb.program(N)\n    y.tiles(1)[i] = tb.zeros((1, 1))\n"
    )
    with pytest.raises(TilebuildError) as caught:
        discover(tmp_path)
    (found,) = caught.value.diagnostics
    assert found.code == "E104"
    assert "exponential is a kernel of src/pkg/made.py too" in found.message


def test_unreadable_files(tmp_path: Path) -> None:
    (found,) = findings(tmp_path, b'"tile.func"() \xff')
    assert (found.code, found.span.line if found.span else 0) == ("E100", 1)


def test_files_that_have_nothing_to_do_with_tiles(tmp_path: Path) -> None:
    assert findings(tmp_path, "module { this is not MLIR") == []


def test_columns_count_bytes(tmp_path: Path) -> None:
    comment = changed(('  %u = "tile.unary"', '  /*é*/ %u = "tile.unary"'))
    assert findings(tmp_path, comment)[0].code == "E130"  # MLIR has no such comments
    bad = changed(('sym_name = "exponential"', 'sym_name = "é", file = "ü"')).replace('"é"', '«"é"»')
    assert first_finding(tmp_path, bad).code == "E133"


def test_where_files_are_looked_for(tmp_path: Path) -> None:
    write(tmp_path, KERNEL)
    (tmp_path / "src/pkg/other.py").touch()
    assert list(find_texts(tmp_path, [])) == ["pkg.made"]
    assert list(find_texts(tmp_path, [FILE])) == ["pkg.made"]
    assert list(find_texts(tmp_path, ["src/pkg/other.py"])) == []
    assert list(find_modules(tmp_path, [FILE])) == []
    assert list(find_modules(tmp_path, [])) == ["pkg", "pkg.other"]
