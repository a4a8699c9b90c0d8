"""What a file declares: which functions are kernels, what their signatures say, and every mistake in them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from kernel_source import FILE, findings, in_file, lowered, marked, only_finding, write

from tilebuild.diagnostics import TilebuildError
from tilebuild.frontend.discover import discover

HEAD = "@tb.kernel\ndef k(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N], *, BM: tb.Const = 4):\n"
BODY = "    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, 8))\n    y.tiles(BM, 8)[i, j] = {} * x.tiles(BM, 8)[i, j]\n"
GOOD = in_file(HEAD + BODY.format("2.0"))


class Case(NamedTuple):
    """`text` has the place of the error «marked»."""

    name: str
    text: str
    code: str
    message: str
    fix: str = ""


def edited(old: str, new: str) -> str:
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


DIM = edited('tb.dims("M N K")\n', 'tb.dims("M N K")\nD = «tb.dim({})»\n')
NO_PLACE = "move it to the left margin of the file"
INSIDE = "the kernel k is not at module level: it stands in a function, class or branch"
INDENTED = "    @tb.kernel\n    «def k»(y: tb.Out[tb.f32, M]):\n        pass\n"
CASES = [
    Case("not Python", "import tilebuild as tb\nx = «)»\n", "E100", "not valid Python: unmatched ')'"),
    Case("columns after other letters", "import tilebuild\né = 'é'; é «)»\n", "E100",
         "not valid Python: unmatched ')'"),
    Case("a parameter twice", edited("y: tb.Out[tb.f32, M, N]", "«x: tb.Out[tb.f32, M, N]»"), "E100",
         "not valid Python: duplicate argument 'x' in function definition"),
    Case("dims of a name", edited('tb.dims("M N K")', "«tb.dims(NAMES)»"), "E102", "tb.dims takes one string literal",
         'M, N = tb.dims("M N")'),
    Case("dims of another number", edited('tb.dims("M N K")', '«tb.dims("M N")»'), "E102",
         "tb.dims('M N') names 2 dimension(s) for 3 name(s)", 'M, N = tb.dims("M N")'),
    Case("a dimension twice", edited('tb.dims("M N K")', '«tb.dims("M N M")»'), "E102",
         "tb.dims('M N M') names a dimension twice", 'M, N = tb.dims("M N")'),
    Case("a keyword as dimension", edited('tb.dims("M N K")', '«tb.dims("M N if")»'), "E102",
         "tb.dims('M N if'): if is not an identifier", 'M, N = tb.dims("M N")'),
    Case("a reserved dimension", edited('tb.dims("M N K")', '«tb.dims("M N x__s0")»'), "E102",
         "tb.dims('M N x__s0'): x__s0: names with a double underscore are reserved", 'M, N = tb.dims("M N")'),
    Case("static sizes that are none", DIM.format('"D", static=(8, 0)'),
         "E102", "tb.dim: static= is a tuple of different positive integers", 'D = tb.dim("D", static=(64, 128))'),
    Case("a dimension without a name", DIM.format("static=(8,)"),
         "E102", "tb.dim: it takes one string literal", 'D = tb.dim("D", static=(64, 128))'),
    Case("no static sizes", DIM.format('"D", static=()'),
         "E102", "tb.dim: static= has no value", 'D = tb.dim("D", static=(64, 128))'),
    Case("too many builds", edited("def k", "«def k»").replace("= 4", f"= 4, a: tb.Static = {(*range(65),)}"), "E107",
         "k has 65 builds, of 1 variant(s) and 65 choices of static values: more than 64", "build for fewer values"),
    Case("unknown dimension", edited("tb.Out[tb.f32, M, N]", "tb.Out[tb.f32, M, «NN»]"), "E102",
         'NN is no dimension (not declared) (did you mean "N"?)', 'NN = tb.dims("NN") at module level'),
    Case("an extent that is none", edited("tb.In[tb.f32, M, N]", "tb.In[tb.f32, M, «1.5»]"), "E102",
         "1.5 is not an extent", "a dimension, a positive integer, or + - * // % of them"),
    Case("an extent of zero", edited("tb.In[tb.f32, M, N]", "tb.In[tb.f32, M, «0 * N»]"), "E102",
         "the extent 0 * N is not positive"),
    Case("an extent divided by zero", edited("tb.In[tb.f32, M, N]", "tb.In[tb.f32, M, «N // 0»]"), "E102",
         "N // 0 is not an extent: division by zero in (N) // 0"),
    Case("an extent that no array has", edited("x: tb.In[tb.f32, M, N]", "«x: tb.In[tb.f32, M, N + K]»"), "E102",
         "no array has the extent K: its value cannot be found from K + N",
         "give another array the extent K, or name K + N as a dimension of its own"),
    Case("a dimension without a parameter", edited("tb.cdiv(N, 8)", "tb.cdiv(«K», 8)"), "E102",
         "K is a dimension that no parameter of the kernel has",
         "use it in a parameter's annotation: its value comes from the arrays"),
    Case("in a class", in_file("class A:\n" + INDENTED), "E104", INSIDE, NO_PLACE),
    Case("in a function", in_file("def f():\n" + INDENTED), "E104", INSIDE, NO_PLACE),
    Case("in a branch", in_file("if True:\n" + INDENTED), "E104", INSIDE, NO_PLACE),
    Case("behind an import of its own", "def f():\n    import tilebuild as tb\n" + INDENTED, "E104", INSIDE, NO_PLACE),
    Case("async", in_file("@tb.kernel\n«async def k»(y: tb.Out[tb.f32, M]):\n    pass\n"), "E104",
         "the kernel k is async", "write `def`"),
    Case("twice", GOOD.replace("def k", "«def k»") + "\n\n" + HEAD + BODY.format("3.0"), "E104",
         "k is defined again later in the file: this kernel could not be called", "give each kernel a name of its own"),
    Case("hidden by a value", GOOD.replace("def k", "«def k»") + "\n\nk = 3\n", "E104",
         "k is defined again later in the file: this kernel could not be called", "give each kernel a name of its own"),
    Case("further decorators", edited("@tb.kernel", "@«print»\n@tb.kernel"), "E104", "k has further decorators",
         "keep only @tb.kernel"),
    Case("non-ASCII name", edited("def k", "«def ké»"), "E104",
         "ké has letters that are not ASCII: names of a kernel become names in C", "rename the kernel"),
    Case("variable parameters", edited("*, BM", "*«args», BM"), "E104",
         "a kernel has ordinary parameters and keyword-only constants"),
    Case("default of an array", edited("tb.Out[tb.f32, M, N]", "tb.Out[tb.f32, M, N] = «None»"), "E104",
         "an array or scalar parameter has no default"),
    Case("no output", edited("tb.Out", "tb.In").replace("def k", "«def k»"), "E104", "k has no output",
         "declare one parameter as tb.Out[...] or tb.InOut[...]"),
    Case("argument of the decorator", edited("@tb.kernel", "@tb.kernel(«fast=True»)"), "E104",
         "@tb.kernel does not take fast=True", '@tb.kernel(variants=[tb.V(...)], otherwise="name")'),
    Case("positional argument of the decorator", edited("@tb.kernel", "@tb.kernel(«[tb.V()]»)"), "E104",
         "@tb.kernel takes keyword arguments only", '@tb.kernel(variants=[tb.V(...)], otherwise="name")'),
    Case("star import", "«from tilebuild import *»\n", "E104", "a star import hides which names are tilebuild's",
         "import tilebuild as tb"),
    Case("no annotation", edited("x: tb.In[tb.f32, M, N]", "«x»"), "E105", "parameter x has no annotation",
         "x: tb.In[tb.f32, M, N]"),
    Case("annotation of another language", edited("x: tb.In[tb.f32, M, N]", "x: «list[int]»"), "E105",
         "parameter x: not an annotation of the language",
         "tb.In[tb.f32, M, N], tb.Out[...], tb.InOut[...] or a scalar's dtype such as tb.f32"),
    Case("quoted annotation cut off", edited("x: tb.In[tb.f32, M, N]", "x: «'tb.In[tb.f32, M'»"), "E105",
         "the annotation 'tb.In[tb.f32, M' is not an expression"),
    Case("unknown dtype", edited("tb.In[tb.f32", "tb.In[«tb.f23»"), "E105",
         'tb.f23 is not a dtype (did you mean "f32"?)',
         "one of tb.bool, tb.i8, tb.u8, tb.i32, tb.u32, tb.f16, tb.bf16, tb.f32"),
    Case("reserved parameter", edited("x: tb.In[tb.f32, M, N]", "«x__y: tb.In[tb.f32, M, N]»"), "E105",
         "x__y: names with a double underscore are reserved", "rename the parameter"),
    Case("non-ASCII parameter", edited("x: tb.In[tb.f32, M, N]", "«ö: tb.In[tb.f32, M, N]»"), "E105",
         "ö has letters that are not ASCII: names of a kernel become names in C", "rename the parameter"),
    Case("constant among the arrays", edited("x: tb.In[tb.f32, M, N]", "«x: tb.Const»"), "E105",
         "tb.Const x stands among the arrays", "put it after a bare `*`"),
    Case("keyword-only array", edited("BM: tb.Const", "«BM: tb.f32»"), "E105", "keyword-only BM is not a tb.Const",
         "BM: tb.Const = 4, or tb.Static = (True, False)"),
    Case("static without values", edited("BM: tb.Const = 4", "«BM: tb.Static»"), "E105",
         "tb.Static BM needs the values to build, different booleans or integers", "BM: tb.Static = (True, False)"),
    Case("static of a float", edited("BM: tb.Const = 4", "BM: tb.Static = «(1, 2.0)»"), "E105",
         "tb.Static BM needs the values to build, different booleans or integers", "BM: tb.Static = (True, False)"),
    Case("static twice the same", edited("BM: tb.Const = 4", "BM: tb.Static = «(1, True)»"), "E105",
         "tb.Static BM needs the values to build, different booleans or integers", "BM: tb.Static = (True, False)"),
    Case("default that is no integer", edited("tb.Const = 4", "tb.Const = «4.0»"), "E105",
         "the default of BM is not an integer literal of 64 bits"),
    Case("otherwise that is not there", edited("@tb.kernel\ndef k", "@tb.kernel(otherwise='kk')\n«def k»"), "E106",
         f"otherwise='kk' names no kernel of {FILE} (did you mean \"k\"?)"),
    Case("otherwise itself", edited("@tb.kernel\ndef k", "@tb.kernel(otherwise='k')\n«def k»"), "E106",
         "otherwise= leads in a circle: k -> k"),
    Case("otherwise with other parameters",
         edited("@tb.kernel\ndef k", "@tb.kernel(otherwise='l')\n«def k»") + "\n\n"
         + HEAD.replace("def k(x: tb.In[tb.f32, M, N]", "def l(x: tb.In[tb.f32, N, M]")
         + BODY.format("3.0").replace("x.t", "x.T.t"),
         "E106", "k and its otherwise='l' do not have the same parameters",
         "give both the same arrays, scalars and tb.Static values, in the same order"),
    Case("only guarded variants", edited("@tb.kernel", "@tb.kernel(variants=[«tb.V(when='N<=8')»])"), "E107",
         "the last variant of k is guarded by 'N <= 8': some shapes have no kernel",
         'leave the last one without `when`, or name a kernel: otherwise="..."'),
    Case("a constant without a value", edited("BM: tb.Const = 4", "«BM: tb.Const»"), "E107", "BM of k has no value",
         "BM: tb.Const = 4, or variants=[tb.V(BM=4)]"),
    Case("a variant without a value", edited("tb.Const = 4", "tb.Const").replace("nel\n", "nel(variants=[«tb.V()»])\n"),
         "E107", "the variant gives no BM", "tb.V(BM=4)"),
    Case("what is no variant", edited("@tb.kernel", "@tb.kernel(variants=[«3»])"), "E107",
         "a variant is tb.V(NAME=value, ..., when=..., target=...)"),
    Case("an unknown constant", edited("@tb.kernel", "@tb.kernel(variants=[tb.V(«BMM=3»)])"), "E107",
         'tb.V does not take BMM=3 (did you mean "BM"?)',
         "a variant gives integer literals to tb.Const parameters, and text to when= and target="),
    Case("a guard that is none", edited("@tb.kernel", "@tb.kernel(variants=[tb.V(when=«'N'»), tb.V()])"), "E107",
         "'N' is not a condition: N is no comparison (== != < <= > >=, joined by `and`)",
         'when="N <= 1024 and N % 8 == 0"'),
    Case("a guard on another dimension", edited("@tb.kernel", "@tb.kernel(variants=[tb.V(when=«'MM < 3'»), tb.V()])"),
         "E107", "MM in 'MM < 3' is no dimension of k (did you mean \"M\"?)"),
    Case("no grid", in_file(HEAD.replace("def k", "«def k»") + "    '''nothing'''\n"), "E111",
         "k has no `tb.program(...)`", "i = tb.program(tb.cdiv(M, BM))"),
    Case("a grid that may be empty", edited("tb.cdiv(N, 8))", "N // 8)").replace("tb.program(tb.cdiv(M, BM), N // 8)",
         "«tb.program(tb.cdiv(M, BM), N // 8)»"), "E111", "the extent N // 8 is not proved to be at least 1",
         "divide by rounding up, tb.cdiv(M, BM), or add tb.require(...) before"),
    Case("nested too deeply", edited("def k", "«def k»").replace("2.0 *", "2.0 *" + " 1.0 *" * 900), "E119",
         "k is nested too deeply", "give parts of the expression names"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_message(case: Case, tmp_path: Path) -> None:
    found = only_finding(tmp_path, case.text)
    assert (found.code, found.message, found.fix) == (case.code, case.message, case.fix)
    assert str(found.span) in found.render(tmp_path)
    assert found.span is not None
    line = marked(case.text)[0].splitlines()[found.span.line - 1]
    assert f"  {found.span.line} | {line}" in found.render(tmp_path).splitlines()


def test_the_file_that_these_break_is_fine(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    assert findings(tmp_path) == []


def test_all_errors_at_once(tmp_path: Path) -> None:
    """Every kernel's first mistake, and what is wrong with one is not said again of those that name it."""
    second = HEAD.replace("def k", "def l").replace("tb.In", "tb.Inn") + BODY.format("2.0")
    third = HEAD.replace("@tb.kernel\ndef k", "@tb.kernel(otherwise='l')\ndef m") + BODY.format("2.0")
    write(
        tmp_path, in_file(HEAD.replace("BM: tb.Const = 4", "BM: tb.Const") + "    pass\n") + f"\n\n{second}\n\n{third}"
    )
    assert [d.code for d in findings(tmp_path)] == ["E107", "E105"]


def test_a_circle_is_told_once(tmp_path: Path) -> None:
    def kernel(name: str, otherwise: str) -> str:
        return HEAD.replace("@tb.kernel\ndef k", f"@tb.kernel(otherwise='{otherwise}')\ndef {name}") + BODY.format(
            "2.0"
        )

    write(tmp_path, in_file("\n\n".join([kernel("a", "b"), kernel("b", "c"), kernel("c", "a"), kernel("d", "a")])))
    (found,) = findings(tmp_path)
    assert found.message == "otherwise= leads in a circle: a -> b -> c -> a"


def test_folders_that_are_configured(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    with pytest.raises(TilebuildError) as caught:
        discover(tmp_path, ["src/other"])
    (found,) = caught.value.diagnostics
    assert (found.code, found.message) == (
        "E103",
        "tool.tilebuild.kernels names 'src/other', which is not in the project",
    )
    assert found.fix == "name files or folders relative to pyproject.toml"
    assert [k.name for k in discover(tmp_path, ["src/pkg/kernels.py"])] == ["k"]


def test_which_files_are_read(tmp_path: Path) -> None:
    """All of a package, private parts too; not what only lies beside packages."""
    write(tmp_path, GOOD)
    for folder in ("src/pkg/_private", "src/pkg/build", "src/tests", "src/.hidden", "src/pkg/__pycache__"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "more.py").write_text(GOOD.replace("def k", "def more"))
        if folder.startswith("src/pkg"):
            (tmp_path / folder / "__init__.py").touch()
    (tmp_path / "src/pkg/loop").symlink_to(tmp_path / "src/pkg")
    assert [f"{k.module}.{k.name}" for k in discover(tmp_path)] == [
        "pkg._private.more.more", "pkg.build.more.more", "pkg.kernels.k",
    ]  # fmt: skip


def test_what_a_signature_says(tmp_path: Path) -> None:
    write(
        tmp_path,
        in_file(
            '@tb.kernel(variants=[tb.V(BM=8, when="8 <= N", target="gpu"), tb.V()], otherwise="k2")\n'
            'def k(x: tb.In[tb.bf16, M, N * 2], y: "tb.InOut[tb.i32, N, 4]", s: tb.u32, *, BM: tb.Const = 4): pass\n'
            "@tb.kernel\ndef k2(x: tb.In[tb.bf16, M, 2 * N], y: tb.InOut[tb.i32, N, 4], s: tb.u32): pass\n"
        ),
    )
    k, k2 = discover(tmp_path)
    assert (k.module, k.name, k.file, k.dims, k.otherwise) == ("pkg.kernels", "k", FILE, ("M", "N"), "k2")
    assert [(p.name, p.mode, p.dtype, tuple(map(str, p.dims))) for p in k.parameters] == [
        ("x", "in", "bf16", ("M", "2*N")), ("y", "inout", "i32", ("N", "4")), ("s", "scalar", "u32", ()),
    ]  # fmt: skip
    assert [(v.consts, v.when, v.target) for v in k.variants] == [
        ((("BM", 8),), "8 <= N", "gpu"),
        ((("BM", 4),), "", ""),
    ]
    assert k.digest == k2.digest


def test_a_digest_follows_every_file_it_depends_on(tmp_path: Path) -> None:
    text = in_file("from .helpers import f\n\n\n" + HEAD + BODY.format("f(2.0)"))
    helper = "import tilebuild as tb\nfrom pkg.deep import A\n@tb.fn\ndef f(t):\n    return t * A\n"

    def digest(**others: str) -> str:
        write(tmp_path, text, **others)
        return discover(tmp_path)[0].digest

    first = digest(helpers=helper, deep="A = 2.0\n", other="B = 1\n")
    assert digest(other="B = 2\n") == first
    assert digest(deep="A = 3.0\n") != first
    assert lowered(tmp_path)
