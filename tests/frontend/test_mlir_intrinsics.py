"""Kernels that call tile intrinsics: what is read, and what is refused, at the place in the text."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlir_source import FILE, findings, first_finding, lowered, write

from tilebuild.diagnostics import TilebuildError
from tilebuild.frontend.discover import discover
from tilebuild.frontend.intrinsics_table import DTYPES, INTRINSICS, named, spellings

SOFTMAX = """\
module {
  llvm.func @softmax(%arg0: !llvm.ptr<1>, %arg1: !llvm.ptr<1>) attributes {hacc.entry} {
    ^bb0:
    %1 = llvm.mlir.constant(4 : i32) : i32
    %2 = llvm.mlir.constant(100 : i32) : i32
    %3 = llvm.call @ascend_tile_load_f32(%arg0, %1, %2) : (!llvm.ptr<1>, i32, i32) -> i32
    %4 = llvm.call @ascend_tile_softmax_f32(%3, %3, %1, %2) : (i32, i32, i32, i32) -> i32
    llvm.call @ascend_tile_store_f32(%arg1, %4, %1, %2) : (!llvm.ptr<1>, i32, i32, i32) -> ()
    llvm.return
  }
}
"""
HEAD = """\
llvm.func @k(%x: !llvm.ptr<1>, %y: !llvm.ptr<1>, %s: f32, %n: i32) attributes {hacc.entry} {
  %z = llvm.mlir.constant(0 : i32) : i32
  %r = llvm.mlir.constant(4 : i32) : i32
  %c = llvm.mlir.constant(8 : i32) : i32
  %half = llvm.mlir.constant(5.0e-1 : f32) : f32
  %t = llvm.call @__tile_load_f32(%x, %r, %c) : (!llvm.ptr<1>, i32, i32) -> i32
"""
STORE = """\
  llvm.call @__tile_store_f32(%y, %t, %r, %c) : (!llvm.ptr<1>, i32, i32, i32) -> ()
  llvm.return
}
"""


def kernel(lines: str) -> str:
    """A kernel with a tile %t of 4 by 8 elements of x, a number %half, a scalar %s, and a store of %t to y."""
    return HEAD + "".join(f"  {line}\n" for line in lines.splitlines()) + STORE


def test_as_the_generators_print_it(tmp_path: Path) -> None:
    """With a label on the entry block, which MLIR does not allow; with each of the prefixes; in the generic form."""
    assert findings(tmp_path, SOFTMAX) == []
    (found,) = discover(tmp_path)
    assert (found.module, found.name) == ("pkg.made", "softmax")
    assert [(p.name, p.mode, list(map(str, p.dims))) for p in found.parameters] == [
        ("arg0", "in", ["4", "100"]),
        ("arg1", "out", ["4", "100"]),
    ]
    text = str(lowered(tmp_path)[0])
    write(tmp_path, SOFTMAX.replace("ascend_tile_", "__tile_").replace("    ^bb0:\n", "    //\n"))
    assert "span" in text
    assert [op.name for op in lowered(tmp_path)[0].walk()].count("tile.reduce") == 2
    generic = """\
"builtin.module"() ({
  "llvm.func"() <{CConv = #llvm.cconv<ccc>, function_type = !llvm.func<void (ptr<1>, ptr<1>)>,
      linkage = #llvm.linkage<external>, sym_name = "neg", unnamed_addr = 0 : i64, visibility_ = 0 : i64}> ({
  ^bb0(%a: !llvm.ptr<1>, %b: !llvm.ptr<1>):
    %r = "llvm.mlir.constant"() <{value = 4 : i32}> : () -> i32
    %t = "llvm.call"(%a, %r, %r) <{callee = @__tile_load_f32}> : (!llvm.ptr<1>, i32, i32) -> i32
    %u = "llvm.call"(%r, %t, %r, %r) <{callee = @__tile_neg_f32}> : (i32, i32, i32, i32) -> i32
    "llvm.call"(%b, %u, %r, %r) <{callee = @__tile_store_f32}> : (!llvm.ptr<1>, i32, i32, i32) -> ()
    "llvm.return"() : () -> ()
  }) {hacc.entry} : () -> ()
}) : () -> ()
"""
    assert findings(tmp_path, generic) == []
    assert [p.name for p in discover(tmp_path)[0].parameters] == ["a", "b"]


def test_locations_and_declarations_and_functions_that_are_no_entry(tmp_path: Path) -> None:
    text = SOFTMAX.replace(
        "module {\n",
        "module {\n  llvm.func @__tile_load_f32(!llvm.ptr<1>, i32, i32) -> i32\n"
        "  llvm.func @helper(%a: i32) -> i32 {\n    llvm.return %a : i32\n  }\n",
    ).replace("    llvm.return\n", "    llvm.return loc(#loc1)\n")
    assert findings(tmp_path, text + '#loc1 = loc("kernel.rs":3:4)\n') == []
    assert [k.name for k in discover(tmp_path)] == ["softmax"]


def test_operations_stand_at_their_calls(tmp_path: Path) -> None:
    write(tmp_path, SOFTMAX)
    (func,) = lowered(tmp_path)
    lines = SOFTMAX.split("\n")
    for op in func.body.block.ops:
        line, column = map(int, op.properties["span"].data.split("-")[0].split(":"))  # type: ignore[attr-defined]
        assert lines[line - 1][column] == "@"


def test_scalars_are_parameters(tmp_path: Path) -> None:
    call = "%u = llvm.call @__tile_scale_f32(%z, %t, %s, %r, %c) : (i32, i32, f32, i32, i32) -> i32"
    assert findings(tmp_path, kernel(call).replace("(%y, %t", "(%y, %u")) == []
    assert [(p.name, p.mode, p.dtype) for p in discover(tmp_path)[0].parameters][2:] == [
        ("s", "scalar", "f32"),
        ("n", "scalar", "i32"),
    ]


def test_half_precision_is_computed_in_single(tmp_path: Path) -> None:
    text = SOFTMAX.replace("_f32", "_bf16")
    assert findings(tmp_path, text) == []
    casts = [op for op in lowered(tmp_path)[0].walk() if op.name == "tile.cast"]
    assert [str(op.results[0].type).split("x")[2][:3] for op in casts] == ["f32", "bf1"]
    dtypes = {p.dtype for p in discover(tmp_path)[0].parameters}
    assert dtypes == {"bf16"}


def one(call: str, results: str = "%u = ") -> str:
    return kernel(f"{results}llvm.call {call}")


I4, I5 = "(i32, i32, i32, i32) -> i32", "(i32, i32, i32, i32, i32) -> i32"
WRONG = {
    "an unknown intrinsic": (
        one(f"«@__tile_softmacks_f32»(%z, %t, %r, %c) : {I4}"),
        "E131",
        '__tile_softmacks_f32 is no tile intrinsic that tilebuild knows (did you mean "__tile_softmax_f32"?)',
    ),
    "of the other prefix": (
        one(f"«@ascend_tile_ad_f32»(%z, %t, %t, %r, %c) : {I5}"),
        "E131",
        '(did you mean "ascend_tile_add_f32"?)',
    ),
    "an unknown dtype": (one(f"«@__tile_exp_f64»(%z, %t, %r, %c) : {I4}"), "E131", "__tile_exp_f64 is no"),
    "a cast of no dtype": (one(f"«@__tile_cast_f32»(%z, %t, %r, %c) : {I4}"), "E131", "__tile_cast_f32 is no"),
    "one of the many that are not read": (
        one(f"«@__tile_attention_f32»(%z, %t, %t, %t, %r) : {I5}"),
        "E131",
        "__tile_attention_f32 is no tile intrinsic",
    ),
    "another function": (one("«@get_block_idx»() : () -> i32"), "E131", "get_block_idx is no tile intrinsic"),
    "too few arguments": (one("«@__tile_exp_f32»(%z, %t, %r) : (i32, i32, i32) -> i32"), "E116", "takes 4 arguments"),
    "a result that is not used": (
        one(f"«@__tile_exp_f32»(%z, %t, %r, %c) : {I4.replace('-> i32', '-> ()')}", ""),
        "E116",
        "gives a tile",
    ),
    "a result that is none": (
        one("«@__tile_store_f32»(%y, %t, %r, %c) : (!llvm.ptr<1>, i32, i32, i32) -> i32"),
        "E116",
        "gives nothing",
    ),
    "rows that are no constant": (
        one(f"@__tile_exp_f32(%z, %t, «%n», %c) : {I4}"),
        "E134",
        "rows of __tile_exp_f32 is",
    ),
    "rows that are a float": (
        one("@__tile_exp_f32(%z, %t, «%half», %c) : (i32, i32, f32, i32) -> i32"),
        "E134",
        "is 0.5, not an integer",
    ),
    "no rows": (one(f"@__tile_exp_f32(%z, %t, «%z», %c) : {I4}"), "E203", "rows of __tile_exp_f32 is 0"),
    "a shape that the tile has not": (
        one(f"@__tile_exp_f32(%z, «%t», %c, %r) : {I4}"),
        "E201",
        "is a tile [4, 8] where the call says [8, 4]",
    ),
    "a number in place of a tile": (
        one(f"@__tile_exp_f32(%z, «%r», %r, %c) : {I4}"),
        "E205",
        "is a number, not a tile",
    ),
    "an array in place of a tile": (
        one("@__tile_exp_f32(%z, «%x», %r, %c) : (i32, !llvm.ptr<1>, i32, i32) -> i32"),
        "E205",
        "is an array, not a",
    ),
    "a tile in place of an array": (
        one("@__tile_load_f32(«%t», %r, %c) : (i32, i32, i32) -> i32"),
        "E205",
        "is no array",
    ),
    "a tile in place of a number": (one(f"@__tile_scale_f32(%z, %t, «%t», %r, %c) : {I5}"), "E202", "is no f32 number"),
    "a tile of another dtype": (
        one(f"@__tile_add_i32(%z, «%t», %t, %r, %c) : {I5}"),
        "E202",
        "a tile of f32, not of i32",
    ),
    "a product of integers": (
        kernel("")
        .replace("%t = llvm.call @__tile_load_f32(%x, %r, %c)", "%t = llvm.call @__tile_load_i32(%x, %r, %r)")
        .replace(
            STORE,
            "  %u = llvm.call «@__tile_matmul_i32»(%z, %t, %t, %r, %r, %r) : (i32, i32, i32, i32, i32, i32)"
            " -> i32\n" + STORE.replace("store_f32(%y, %t, %r, %c", "store_i32(%y, %u, %r, %r"),
        ),
        "E204",
        "dot of (i32, i32) into i32 is not defined",
    ),
    "an accumulating product": (
        one("@__tile_matmul_f32(«%r», %t, %t, %r, %c, %r) : (i32, i32, i32, i32, i32, i32) -> i32"),
        "E134",
        "mode 4",
    ),
    "a slice past the end": (
        one("@__tile_slice_f32(%z, %t, %z, «%r», %r, %c, %r, %c) : (i32, i32, i32, i32, i32, i32, i32, i32) -> i32"),
        "E201",
        "takes cols 4 to 11 of a tile that has 8",
    ),
    "what was overwritten": (
        kernel(f"%u = llvm.call @__tile_exp_f32(%t, %t, %r, %c) : {I4}").replace("(%y, %t,", "(%y, «%t»,"),
        "E135",
        "was the destination of a call before",
    ),
    "an array of two shapes": (
        one("«@__tile_load_f32»(%x, %c, %r) : (!llvm.ptr<1>, i32, i32) -> i32"),
        "E133",
        "the array x is f32 [8, 4] in this call and f32 [4, 8] in another",
    ),
    "a load after a store": (
        kernel(
            "llvm.call @__tile_store_f32(%x, %t, %r, %c) : (!llvm.ptr<1>, i32, i32, i32) -> ()\n"
            "%u = llvm.call «@__tile_load_f32»(%x, %r, %c) : (!llvm.ptr<1>, i32, i32) -> i32"
        ),
        "E306",
        "this load of x may read what a store of the kernel wrote",
    ),
    "an array that is not used": (
        kernel("").replace("(%y, %t", "(%x, %t").replace("@k(", "«@k»("),
        "E133",
        "the array y is neither loaded nor stored",
    ),
    "no store": (
        HEAD.replace("@k", "«@k»").replace("%y: !llvm.ptr<1>, ", "") + "  llvm.return\n}\n",
        "E104",
        "stores nothing",
    ),
    "a parameter of another type": (
        kernel("").replace("@k(", "«@k»(").replace("%n: i32", "%n: i64"),
        "E133",
        "n is i64",
    ),
    "a pointer that moves": (
        kernel("«%p = llvm.getelementptr %x[1] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32»"),
        "E132",
        "llvm.getelementptr cannot be read in a kernel of tile intrinsics",
    ),
    "control flow": (kernel("«llvm.br ^bb1»\n^bb1:"), "E132", "llvm.br cannot be read"),
    "an operation that nobody knows": (kernel('«%q = "scf.while"() : () -> i32»'), "E132", "scf.while cannot be read"),
    "a name that C lacks": (kernel("").replace("@k(", '@"a b"('), "E133", "a b is not an identifier"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong(name: str, tmp_path: Path) -> None:
    text, code, message = WRONG[name]
    found = first_finding(tmp_path, text)
    assert found.code == code, found.render(tmp_path)
    assert message in found.message, found.render(tmp_path)
    assert found.span is not None
    assert found.span.file == FILE


@pytest.mark.parametrize("prefix", ["__tile_", "ascend_tile_"])
def test_names(prefix: str) -> None:
    for name in INTRINSICS:
        for dtype in DTYPES:
            if name != "cast":
                found = named(f"{prefix}{name}_{dtype}")
                assert found is not None
                assert (found.intrinsic.name, found.dtype, found.result) == (name, dtype, dtype)
    cast = named(f"{prefix}cast_f32_bf16")
    assert cast is not None
    assert (cast.dtype, cast.result) == ("f32", "bf16")
    assert all(named(word) is not None for word in spellings(f"{prefix}ad_f16"))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_damaged_text_is_refused_never_a_crash(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    text = data.draw(st.sampled_from([SOFTMAX, kernel("")]))
    start = data.draw(st.integers(0, len(text) - 1))
    length = data.draw(st.integers(1, 12))
    inside = data.draw(
        st.sampled_from(["", "%", "(", ")", '"', "-1", "llvm.", "@", "{", "}", "i32", "4294967296", "\u00e9"])
    )
    root = tmp_path_factory.mktemp("damaged")
    write(root, text[:start] + inside + text[start + length :])
    try:
        lowered(root)
    except TilebuildError as e:
        for d in e.diagnostics:
            assert d.span is not None
            assert d.render(root)
