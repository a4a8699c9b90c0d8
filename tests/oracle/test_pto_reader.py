"""The PTO reader: text from anywhere to plans; what is proved, what is caught with its line, what stays unknown."""

from __future__ import annotations

import pytest

from tilebuild.oracle import Report, judge
from tilebuild.oracle.readers.pto import read
from tilebuild.oracle.readers.pto_text import SyntaxProblem, parse
from tilebuild.oracle.readers.pto_types import TypeProblem, tile_type
from tilebuild.plan.model import Plan


def tile(loc: str, shape: tuple[int, int], layout: str, dtype: str = "f32", fractal: int = 512) -> str:
    """A fully valid tile's type; `layout` is blayout/slayout."""
    (rows, cols), (block, box) = shape, layout.split("/")
    return (
        f"!pto.tile_buf<loc={loc}, dtype={dtype}, rows={rows}, cols={cols}, v_row={rows}, v_col={cols}, "
        f"blayout={block}, slayout={box}, fractal={fractal}, pad=0>"
    )


TILE = tile("vec", (16, 64), "row_major/none_box")
COLUMN = tile("vec", (16, 1), "col_major/none_box")
ROW = tile("vec", (1, 16), "row_major/none_box")
ALIASES = f"!t = {TILE}\n!c = {COLUMN}\n!r = {ROW}\n"


def module(body: str, arguments: str = "%x: !pto.ptr<f32>, %y: !pto.ptr<f32>", arch: str = "a3") -> str:
    """A function whose body starts with the views %vx and %vy of 128 x 64 arrays and some constants."""
    constants = "".join(f"%c{n} = arith.constant {n} : index\n" for n in (0, 1, 2, 16, 32, 64, 128))
    addresses = "".join(f"%a{n} = arith.constant {n} : i64\n" for n in (0, 2048, 4096, 8192, 12288, 12352, 194560))
    view = ", shape = [%c128, %c64], strides = [%c64, %c1] : !pto.tensor_view<128x64xf32>\n"
    views = "".join(f"%v{p} = pto.make_tensor_view %{p}{view}" for p in "xy" if f"%{p}:" in arguments)
    text = f'module attributes {{"pto.target_arch" = "{arch}"}} {{\nfunc.func @k({arguments}) {{\n'
    return f"{ALIASES}{text}{constants}{addresses}{views}{body}\nreturn\n}}\n}}\n"


def part(view: str, row: str = "%c0") -> str:
    name = f"%p{view}"
    return (
        f"{name} = pto.partition_view %v{view}, offsets = [{row}, %c0], sizes = [%c16, %c64] : "
        "!pto.tensor_view<128x64xf32> -> !pto.partition_tensor_view<16x64xf32>\n"
    )


def alloc(name: str, address: str, kind: str = "!t") -> str:
    return f"%{name} = pto.alloc_tile addr = %{address} : {kind}\n"


def load(name: str) -> str:
    return f"pto.tload ins(%px : !pto.partition_tensor_view<16x64xf32>) outs(%{name} : !t)\n"


def store(name: str) -> str:
    return f"pto.tstore ins(%{name} : !t) outs(%py : !pto.partition_tensor_view<16x64xf32>)\n"


def unary(op: str, source: str, target: str) -> str:
    return f"pto.{op} ins(%{source} : !t) outs(%{target} : !t)\n"


def one(text: str) -> Plan:
    (plan,) = read(text, "k.pto")
    return plan


def judged(text: str) -> Report:
    return judge(one(text))


def line_of(text: str, fragment: str, which: int = 0) -> int:
    return [i for i, line in enumerate(text.splitlines(), 1) if fragment in line][which]


CHAIN = part("x") + part("y") + alloc("a", "a0") + alloc("b", "a4096") + alloc("c", "a8192")
CHAIN += load("a") + unary("texp", "a", "b")
CHAIN += "pto.tadd ins(%a, %b : !t, !t) outs(%c : !t)\n" + store("c")


def test_a_chain_is_proved_with_the_lines_of_the_text() -> None:
    text = module(CHAIN)
    plan = one(text)
    assert judge(plan).outcome == "proved"
    assert (plan.target, plan.arch, plan.kernel) == ("pto", "a2a3", "k")
    assert [i.op for i in plan.instructions] == ["load", "exp", "add", "store"]
    assert [i.span.line for i in plan.instructions if i.span] == [
        line_of(text, f"pto.{op} ") for op in ("tload", "texp", "tadd", "tstore")
    ]


def test_two_live_tiles_that_overlap_are_caught_with_the_line() -> None:
    text = module(CHAIN.replace(alloc("b", "a4096"), alloc("b", "a2048")))
    found = [f for f in judged(text).findings if f.check == "aliasing"]
    assert found[0].outcome == "violated"
    assert found[0].span is not None
    assert found[0].span.line == line_of(text, "pto.texp ")
    assert "[vec, 0..4096)" in found[0].message
    assert "[vec, 2048..6144)" in found[0].message


def test_two_live_tiles_at_one_address_are_caught() -> None:
    found = judged(module(CHAIN.replace(alloc("b", "a4096"), alloc("b", "a0"))))
    assert found.verdicts["aliasing"] == "violated"


def test_a_tile_beyond_its_space_is_caught_with_the_line() -> None:
    text = module(CHAIN.replace(alloc("b", "a4096"), alloc("b", "a194560")))
    (found,) = [f for f in judged(text).findings if f.check == "capacity"]
    assert found.code == "O-CAP-01"
    assert "198656" in found.message
    assert "196608" in found.message
    assert found.span is not None
    assert found.span.line == line_of(text, "%b = ")


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (lambda s: s.replace(load("a"), ""), "linear-use"),
        (lambda s: s.replace(store("c"), store("a")), "dead-writes"),
        (lambda s: s.replace("offsets = [%c0, %c0], sizes", "offsets = [%c0, %c16], sizes", 1), "operands"),
        (lambda s: s.replace("%a4096", "%odd").replace("%c = ", "%c =  ") + "", "capacity"),
    ],
    ids=["read of nothing", "unread write", "outside of the array", "misaligned"],
)
def test_other_faults(change: object, check: str) -> None:
    body = "%odd = arith.constant 4100 : i64\n" + change(CHAIN)  # type: ignore[operator]
    assert judged(module(body)).verdicts[check] == "violated"


def test_what_is_not_known_is_unknown() -> None:
    for text in (
        module(CHAIN.replace("texp", "ttanhish")),
        module(CHAIN.replace(" addr = %a4096", "")),
        module(CHAIN.replace("addr = %a4096", "addr = %where"), "%x: !pto.ptr<f32>, %y: !pto.ptr<f32>, %where: i64"),
        module(part("x", "%row") + CHAIN.removeprefix(part("x")), "%x: !pto.ptr<f32>, %y: !pto.ptr<f32>, %row: index"),
    ):
        report = judged(text)
        assert report.outcome == "unknown", [f.message for f in report.findings]
        assert report.verdicts["operands"] == "unknown"


def test_a_column_is_seen_as_a_row() -> None:
    body = (
        part("x")
        + part("y")
        + alloc("a", "a0")
        + alloc("t", "a4096")
        + alloc("m", "a12288", "!c")
        + alloc("o", "a8192")
    )
    body += alloc("s", "a12352", "!r") + load("a")
    body += "pto.trowmax ins(%a, %t : !t, !t) outs(%m : !c)\n"
    body += alloc("mr", "a12288", "!r")
    body += "%two = arith.constant 2.0 : f32\n"
    body += "pto.tmuls ins(%mr, %two : !r, f32) outs(%s : !r)\n"
    body += alloc("sc", "a12352", "!c")
    body += "pto.trowexpandsub ins(%a, %sc : !t, !c) outs(%o : !t)\n" + store("o")
    assert judged(module(body)).outcome == "proved"
    plan = one(module(body))
    columns = {b.id: (b.rows.value, b.cols.value) for b in plan.buffers if b.id in ("m", "s")}
    assert columns == {"m": (16, 1), "s": (16, 1)}
    assert [i.op for i in plan.instructions] == ["load", "copy", "max", "full", "mul", "sub", "store"]


def test_a_second_allocation_after_a_write_is_another_sight_of_the_tile() -> None:
    again = CHAIN.replace(unary("texp", "a", "b"), alloc("a2", "a0") + unary("texp", "a2", "b"))
    assert judged(module(again)).outcome == "proved"
    # one that was there before is a tile of its own, and nothing has written it
    before = CHAIN.replace(load("a"), alloc("a2", "a0") + load("a")).replace(
        "ins(%a : !t) outs(%b", "ins(%a2 : !t) outs(%b"
    )
    assert judged(module(before)).verdicts["linear-use"] == "violated"


def test_a_grid_over_the_cores() -> None:
    dims = "%x: !pto.ptr<f32>, %y: !pto.ptr<f32>, %m: i32"
    body = """
%mi = arith.index_cast %m : i32 to index
%wx = pto.make_tensor_view %x, shape = [%mi, %c64], strides = [%c64, %c1] : !pto.tensor_view<?x64xf32>
%b64 = pto.get_block_idx
%n64 = pto.get_block_num
%b = arith.index_cast %b64 : i64 to index
%n = arith.index_cast %n64 : i64 to index
%start = arith.muli %b, %c16 : index
%step = arith.muli %n, %c16 : index
scf.for %i = %start to %mi step %step {
  %left = arith.subi %mi, %i : index
  %rows = arith.minsi %left, %c16 : index
  %t = pto.alloc_tile addr = %a0 valid_row = %rows valid_col = %c64 : !pto.tile_buf<vec, 16x64xf32, valid=?x?>
  %p = pto.partition_view %wx, offsets = [%i, %c0], sizes = [%rows, %c64]
    : !pto.tensor_view<?x64xf32> -> !pto.partition_tensor_view<?x64xf32>
  pto.tload ins(%p : !pto.partition_tensor_view<?x64xf32>) outs(%t : !pto.tile_buf<vec, 16x64xf32, valid=?x?>)
  pto.tstore ins(%t : !pto.tile_buf<vec, 16x64xf32, valid=?x?>) outs(%p : !pto.partition_tensor_view<?x64xf32>)
}
"""
    plan = one(module(body, dims))
    assert judge(plan).outcome == "proved"
    assert [str(e) for e in plan.launch.grid] == ["(m + 15) // 16"]
    (parameter,) = [p for p in plan.contract.parameters if str(p.dims[0]) == "m"]
    assert parameter.mode == "inout"
    unclipped = body.replace("arith.minsi %left, %c16", "arith.maxsi %c16, %c16")
    assert judge(one(module(unclipped, dims))).outcome != "proved"


def test_a_strided_loop_knows_its_multiples() -> None:
    body = "scf.for %i = %c0 to %c128 step %c16 {\n" + CHAIN.replace("[%c0, %c0]", "[%i, %c0]") + "}\n"
    assert judged(module(body)).outcome == "proved"
    assert judged(module(body.replace("step %c16", "step %c2"))).outcome == "unknown"


def product(condition: str, arch: str = "a3") -> str:
    kinds = {
        "m": tile("mat", (64, 64), "col_major/row_major", "f16"),
        "l": tile("left", (64, 64), f"{'row' if arch == 'a3' else 'col'}_major/row_major", "f16"),
        "g": tile("right", (64, 64), "row_major/col_major", "f16"),
        "z": tile("acc", (64, 64), "col_major/row_major", "f32", 1024),
    }
    aliases = "".join(f"!{k} = {v}\n" for k, v in kinds.items())
    tensor, piece = "!pto.tensor_view<64x128xf16>", "!pto.partition_tensor_view<64x64xf16>"
    out = "!pto.tensor_view<64x64xf32> -> !pto.partition_tensor_view<64x64xf32>"
    body = f"""
%w = pto.make_tensor_view %a, shape = [%c64, %c128], strides = [%c128, %c1] : {tensor}
%o = pto.make_tensor_view %y, shape = [%c64, %c64], strides = [%c64, %c1] : !pto.tensor_view<64x64xf32>
pto.section.cube {{
  %ma = pto.alloc_tile addr = %a0 : !m
  %mb = pto.alloc_tile addr = %a8192 : !m
  %la = pto.alloc_tile addr = %a0 : !l
  %rb = pto.alloc_tile addr = %a0 : !g
  %ac = pto.alloc_tile addr = %a0 : !z
  scf.for %k = %c0 to %c128 step %c64 {{
    %pa = pto.partition_view %w, offsets = [%c0, %k], sizes = [%c64, %c64] : {tensor} -> {piece}
    pto.tload ins(%pa : {piece}) outs(%ma : !m)
    pto.tload ins(%pa : {piece}) outs(%mb : !m)
    pto.tmov ins(%ma : !m) outs(%la : !l)
    pto.tmov ins(%mb : !m) outs(%rb : !g)
    %first = arith.cmpi {condition} : index
    scf.if %first {{
      pto.tmatmul ins(%la, %rb : !l, !g) outs(%ac : !z)
    }} else {{
      pto.tmatmul.acc ins(%ac, %la, %rb : !z, !l, !g) outs(%ac : !z)
    }}
  }}
  %po = pto.partition_view %o, offsets = [%c0, %c0], sizes = [%c64, %c64] : {out}
  pto.tstore ins(%ac : !z) outs(%po : !pto.partition_tensor_view<64x64xf32>)
}}
"""
    return aliases + module(body, "%a: !pto.ptr<f16>, %y: !pto.ptr<f32>", arch).replace(VIEW_OF_Y, "")


VIEW_OF_Y = (
    "%vy = pto.make_tensor_view %y, shape = [%c128, %c64], strides = [%c64, %c1] : !pto.tensor_view<128x64xf32>\n"
)


def test_a_product_that_starts_in_its_first_iteration() -> None:
    plan = one(product("eq, %k, %c0"))
    report = judge(plan)
    assert report.outcome == "proved", [f.message for f in report.findings]
    assert [i.op for i in plan.instructions] == ["full", "load", "load", "copy", "copy", "dot", "store"]


def test_a_product_that_never_starts_is_caught() -> None:
    assert judged(product("eq, %k, %c1")).verdicts["linear-use"] == "violated"


@pytest.mark.parametrize("arch", ["a3", "a5"])
def test_spaces_of_the_architecture(arch: str) -> None:
    plan = one(product("eq, %k, %c0", arch))
    spaces = {s.name: s.capacity for s in plan.spaces}
    assert spaces["acc"] == {"a3": 131072, "a5": 262144}[arch]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no function"),
        ("module { func.func @k() { return } ", "closes"),
        ("module { ; }", "no token"),
        (module(CHAIN, arch="a9"), "architecture a9"),
        (module(CHAIN).replace("dtype=f32", "dtype=i64"), "i64"),
        ("module {" + "scf.if %x {" * 80, "nested deeper"),
    ],
)  # fmt: skip
def test_what_cannot_be_read(text: str, says: str) -> None:
    with pytest.raises(SyntaxProblem, match=says) as caught:
        read(text, "k.pto")
    assert caught.value.line >= 1


def test_the_parser_keeps_lines_and_multi_line_operations() -> None:
    text = (
        "module {\nfunc.func @k(%x: !pto.ptr<f32>) {\n%v = pto.make_tensor_view %x,\n  shape = [%a], // why\n"
        "  strides = [%b]\n  : !pto.tensor_view<4xf32>\nreturn }\n}"
    )
    (function,) = parse(text).functions
    view, end = function.regions[0]
    assert (view.name, view.line, view.listed("shape"), view.listed("strides")) == (
        "pto.make_tensor_view",
        3,
        ("%a",),
        ("%b",),
    )
    assert (end.name, end.line) == ("return", 7)


def test_types() -> None:
    assert tile_type(COLUMN).is_column
    assert tile_type(ROW).is_row
    assert tile_type("!pto.tile_buf<vec, 16x32xf32, valid=?x?>").valid == (None, None)
    assert tile_type("!pto.tile_buf<vec, 16x32xf32>").valid == (16, 32)
    with pytest.raises(TypeProblem):
        tile_type("!pto.tile_buf<loc=vec, dtype=f32, rows=x>")
