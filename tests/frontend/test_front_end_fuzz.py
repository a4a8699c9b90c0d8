"""Whatever a kernel's text is: `TilebuildError` or a verified function, never another exception, and quickly."""

from __future__ import annotations

import io
import re
import tempfile
import tokenize
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from kernel_source import findings, in_kernel, write

FASTNORM = sorted((Path(__file__).parents[2] / "examples/fastnorm/src/fastnorm/kernels").glob("[a-z]*.py"))
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]


def judge(text: str | bytes) -> list[str]:
    """The codes of what is found; every finding can be shown."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(root, text)
        found = findings(root)
        assert all(re.fullmatch(r"[EW][123]\d\d", d.code) for d in found)
        assert all(d.render(root) for d in found)
        return [d.code for d in found]


_ATOMS = """i j c t u M N K BM BN X Y Z V x y v q s n tb 0 1 3 2.5 True -1 10**30 'a' None X[i,j] Z[i,j] V[j]
    X[i,c] tb.zeros((BM,BN)) tb.iota(BN) tb.full((BM,1),2.0)
    tb.f32 tb.i32 tb.f16 tb.bool tb.inf x.T v.col q[0] unknown"""
_BINARY = "+ - * / // % ** @ & | ^ << < <= == != and or is in"
_NAMES = """tb.exp tb.max tb.sum tb.where tb.dot tb.minimum tb.cdiv tb.range tb.zeros tb.full tb.gelu tb.softmax
    tb.clamp tb.require tb.program tb.unroll tb.min abs range print x.tiles X[i,j].fill X[i,j].to t.sum V tb.floor
    tb.logsumexp"""
ATOMS, BINARY, NAMES = (st.sampled_from(words.split()) for words in (_ATOMS, _BINARY, _NAMES))


def _larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("({} {} {})".format, inner, BINARY, inner),
        st.builds("{}({})".format, NAMES, inner),
        st.builds("{}({}, {})".format, NAMES, inner, inner),
        st.builds("{}({}, {}, {})".format, NAMES, inner, inner, inner),
        st.builds("{}[{}, {}]".format, inner, inner, inner),
        st.builds("{}[{}]".format, inner, inner),
        st.builds("({}, {})".format, inner, inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
        st.builds("({}).{}".format, inner, st.sampled_from(["T", "col", "tiles", "sum", "fill", "foo"])),
        st.builds("(-{})".format, inner),
        st.builds("(not {})".format, inner),
        st.builds("(~{})".format, inner),
        st.builds("[{} for c in {}]".format, inner, inner),
    )


EXPRESSIONS = st.recursive(ATOMS, _larger, max_leaves=8)
TARGETS = st.sampled_from(
    ["t", "u", "c", "i", "Y[i, j]", "Z[i, j]", "X[i, j]", "t, u", "M", "t[0]", "(t, (u, c))", "x.a", "*t"]
)
SIMPLE = st.one_of(
    st.builds("{} = {}".format, TARGETS, EXPRESSIONS),
    st.builds("{} += {}".format, TARGETS.filter(lambda t: "," not in t and "*" not in t), EXPRESSIONS),
    st.builds("t: tb.Tile = {}".format, EXPRESSIONS),
    EXPRESSIONS,
    st.sampled_from(["pass", "break", "return", "return t", "del t", "global t", "assert i", "import os"]),
)
HEADERS = st.one_of(
    st.builds("for {} in tb.range({}):".format, st.sampled_from(["c", "t", "i", "u"]), EXPRESSIONS),
    st.builds("for {} in tb.pipeline(tb.cdiv(N, BN), stages={}):".format, st.sampled_from(["c", "t"]), EXPRESSIONS),
    st.builds("for c in tb.unroll({}):".format, st.sampled_from(["0", "1", "3", "N", "5000"])),
    st.builds("if {}:".format, EXPRESSIONS),
    st.builds("while {}:".format, EXPRESSIONS),
    st.just("with t:"),
)


def _blocks(inner: st.SearchStrategy[list[str]]) -> st.SearchStrategy[list[str]]:
    def nest(header: str, body: list[str], rest: list[str]) -> list[str]:
        return [header, *(f"    {line}" for line in body), *rest]

    return st.builds(nest, HEADERS, inner, inner)


BODIES = st.recursive(st.lists(SIMPLE, min_size=1, max_size=3), _blocks, max_leaves=4)


@settings(max_examples=150, deadline=5000, suppress_health_check=SLOW)
@given(BODIES)
def test_random_bodies(body: list[str]) -> None:
    judge(in_kernel("\n".join(["t = X[i, j]", "u = tb.zeros((BM, 1))", "c = 2", *body])))


@settings(max_examples=80, deadline=5000, suppress_health_check=SLOW)
@given(st.lists(st.sampled_from(["t", "u", "w"]), min_size=2, max_size=6), st.data())
def test_random_loops(names: list[str], data: st.DataObject) -> None:
    """Assignments between carried tiles of different valid regions, two loops deep: mostly well formed."""
    value = st.sampled_from(
        ["t", "u", "w", "t + u", "X[i, j]", "X[i, j] * w", "tb.zeros((BM, BN))", "w.fill(1.0)", "X[i, c]"]
    )
    lines = [f"{name} = {data.draw(value)}" for name in names]
    half = len(lines) // 2
    judge(
        in_kernel(
            "\n".join(
                [
                    "t = X[i, j]",
                    "u = tb.zeros((BM, BN))",
                    "w = tb.full((BM, BN), 2.0)",
                    "for c in tb.range(tb.cdiv(N, BN)):",
                ]
                + [f"    {line}" for line in lines[:half]]
                + ["    for d in tb.range(3):"]
                + [f"        {line}" for line in lines[half:]]
                + ["Y[i, j] = t + u * w"]
            )
        )
    )


def _tokens(text: str) -> list[tokenize.TokenInfo]:
    return list(tokenize.generate_tokens(io.StringIO(text).readline))


@settings(max_examples=120, deadline=5000, suppress_health_check=SLOW)
@given(st.sampled_from(FASTNORM), st.data())
def test_mutated_sources(path: Path, data: st.DataObject) -> None:
    """Tokens of real kernels deleted, doubled, exchanged or replaced."""
    tokens = _tokens(path.read_text(encoding="utf-8"))
    texts = [(t.type, t.string) for t in tokens]
    places = [i for i, t in enumerate(tokens) if t.string.strip()]
    for _ in range(data.draw(st.integers(1, 3))):
        at, other = data.draw(st.sampled_from(places)), data.draw(st.sampled_from(places))
        how = data.draw(st.sampled_from(["delete", "double", "swap", "replace", "insert"]))
        if how == "delete":
            texts[at] = (texts[at][0], "")
        elif how == "double":
            texts[at] = (texts[at][0], f"{texts[at][1]} {texts[at][1]}")
        elif how == "swap":
            texts[at], texts[other] = texts[other], texts[at]
        elif how == "replace":
            texts[at] = (texts[at][0], data.draw(ATOMS))
        else:
            texts[at] = (texts[at][0], f"{texts[at][1]} {data.draw(BINARY)} {data.draw(ATOMS)}")
    judge(tokenize.untokenize(texts))


@settings(max_examples=100, deadline=5000, suppress_health_check=SLOW)
@given(st.sampled_from(FASTNORM), st.binary(min_size=1, max_size=6), st.data())
def test_mutated_bytes(path: Path, inserted: bytes, data: st.DataObject) -> None:
    text = path.read_bytes()
    at = data.draw(st.integers(0, len(text)))
    judge(text[:at] + inserted + text[at + data.draw(st.integers(0, 4)) :])


@settings(max_examples=100, deadline=5000)
@given(st.text(max_size=60))
@example("M // 0")
@example("M, M % -1")
def test_annotations_and_guards(text: str) -> None:
    """Text inside of quotes is read as well."""
    head = "import tilebuild as tb\nM, N = tb.dims('M N')\n"
    tail = "    i = tb.program(M)\n    y.tiles(1, 4)[i, 0] = x.tiles(1, 4)[i, 0]\n"
    judge(f"{head}@tb.kernel\ndef k(x: {'tb.In[tb.f32, ' + text + ']'!r}, y: tb.Out[tb.f32, M, N]):\n{tail}")
    guarded = f"{head}@tb.kernel(variants=[tb.V(when={text!r}), tb.V()])\n"
    judge(f"{guarded}def k(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):\n{tail}")
    judge(f"{head}D = tb.dims({text!r})\n")


HARD = {
    "deep sum": in_kernel("Y[i, j] = X[i, j]" + " + 1" * 3000),
    "deep brackets": in_kernel("Y[i, j] = " + "(" * 150 + "X[i, j]" + ")" * 150),
    "deep minus": in_kernel("Y[i, j] = " + "-" * 900 + "X[i, j]"),
    "deep attribute": in_kernel("Y[i, j] = X[i, j]" + ".T" * 3000),
    "deep ifs": in_kernel("\n".join(" " * d + "if True:" for d in range(90)) + "\n" + " " * 90 + "pass"),
    "long elif": in_kernel("if False:\n    pass\n" + "elif False:\n    pass\n" * 2000),
    "huge decimal": in_kernel("a = " + "9" * 5000),
    "huge hexadecimal": in_kernel("a = 0x" + "f" * 9000),
    "huge default": in_kernel("pass").replace("= 8", "= 0x" + "f" * 9000),
    "huge variant": in_kernel("pass").replace("@tb.kernel", f"@tb.kernel(variants=[tb.V(BM=0x{'f' * 9000})])"),
    "huge constant": f"import tilebuild as tb\nA = 0x{'f' * 9000}\n" + in_kernel("Y[i, j] = X[i, j] * A"),
    "huge extent": in_kernel("pass").replace("tb.In[tb.f32, N]", f"tb.In[tb.f32, 0x{'f' * 9000}]"),
    "power": in_kernel("a = 9 ** 9 ** 9"),
    "doubling text": in_kernel("a = N\n" + "a = (a // M) + (a // K)\n" * 60),
    "doubling terms": in_kernel("a = N + M\n" + "a = a * a\n" * 60),
    "many extremes": in_kernel(
        "a = N\n" + "".join(f"a = tb.min(a * {i} + M, K - a)\n" for i in range(2, 40)) + "Y[i, j] = X[i, a]"
    ),
    "hard proof": in_kernel("Y[i, j] = X[i, " + " + ".join(f"tb.min(M // {d}, N % {d})" for d in range(2, 20)) + "]"),
    "doubling helpers": in_kernel(
        "Y[i, j] = f24(X[i, j])",
        "@tb.fn\ndef f0(t):\n    return t\n\n\n"
        + "".join(f"@tb.fn\ndef f{k}(t):\n    return f{k - 1}(t) + f{k - 1}(t)\n\n\n" for k in range(1, 25)),
    ),
    "unrolled": in_kernel("for a in tb.unroll(4096):\n    for b in tb.unroll(4096):\n        pass"),
    "many carried": in_kernel(
        "".join(f"t{k} = tb.zeros((BM, BN))\n" for k in range(12))
        + "for c in tb.range(3):\n"
        + "".join(f"    t{k} = t{k + 1}\n" for k in range(11))
        + "    t11 = X[i, j]\nY[i, j] = t0"
    ),
    "tabs": in_kernel("Y[i, j] = X[i, jj]").replace("    ", "\t"),
    "carriage returns": in_kernel("Y[i, j] = X[i, jj]").replace("\n", "\r\n"),
    "old line ends": in_kernel("Y[i, j] = X[i, jj]").replace("\n", "\r"),
    "form feed": "\f" + in_kernel("Y[i, j] = X[i, jj]"),
    "byte order mark": "\ufeff" + in_kernel("Y[i, j] = X[i, jj]"),
    "not UTF-8": b"import tilebuild\n# \xff\n",
    "unknown coding": b"# coding: nonsense\nimport tilebuild\n",
    "other coding": "# coding: latin-1\nimport tilebuild as tb\nö = tb.dims('ö')\n".encode("latin-1"),
    "zero bytes": b"import tilebuild\n\0",
    "nothing but the word": "tilebuild",
    "empty": "",
}  # fmt: skip


@pytest.mark.parametrize("name", HARD)
def test_hard_texts(name: str) -> None:
    judge(HARD[name])
