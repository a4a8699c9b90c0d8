"""`Expr` is Python's integer arithmetic, in one canonical form that reads back as what it was."""

from __future__ import annotations

from contextlib import suppress

import pytest
from expr_trees import NAMES, Tree, build_tree, evaluate, text, trees
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tilebuild.plan.expr import (
    LARGEST,
    Expr,
    ExprError,
    build_bounded,
    cdiv,
    const,
    emax,
    emin,
    parse,
    parse_predicates,
    sym,
)

VALUES = st.fixed_dictionaries({n: st.integers(-20, 20) for n in NAMES})
M, N = sym("M"), sym("N")


def built(tree: Tree) -> Expr:
    try:
        return build_tree(tree)
    except ExprError:  # a constant division by zero
        assume(False)
        raise


@given(trees(), VALUES)
@example(("%", 7, -3), dict.fromkeys(NAMES, 0))
@example(("%", "M", ("-", 0, 3)), dict.fromkeys(NAMES, -7))
@example(("//", "M", -3), dict.fromkeys(NAMES, 7))
@example(("//", ("*", 6, "M"), 4), dict.fromkeys(NAMES, -3))
def test_it_is_python_arithmetic(tree: Tree, values: dict[str, int]) -> None:
    e = built(tree)
    try:
        expected = evaluate(tree, values)
    except ZeroDivisionError:
        return  # the canonical form may have lost the division: M - M over anything
    assert e.evaluate(values) == expected


@given(trees())
def test_the_text_reads_back(tree: Tree) -> None:
    e = built(tree)
    assert parse(str(e)) == e
    assert parse(text(tree)) == e  # Python's grammar, whatever the brackets


@given(trees(leaves=5), trees(leaves=5), trees(leaves=5))
def test_equal_polynomials_are_equal(x: Tree, y: Tree, z: Tree) -> None:
    a, b, c = built(x), built(y), built(z)
    assert a + b == b + a
    assert a * b == b * a
    assert (a + b) + c == a + (b + c)
    assert a * (b + c) == a * b + a * c
    assert a - a == const(0)
    assert emin(a, b, c) == emin(emin(c, b), a)
    assert emax(a, a) == a
    assert hash(a + b) == hash(b + a)


@given(trees(), trees(leaves=4), VALUES)
def test_substitution_is_evaluation_in_two_steps(tree: Tree, inner: Tree, values: dict[str, int]) -> None:
    e, replacement = built(tree), built(inner)
    try:
        values_of_all = {**values, "i": evaluate(inner, values)}
        expected = evaluate(tree, values_of_all)
    except ZeroDivisionError:
        return
    try:
        substituted = e.substitute({"i": replacement})
    except ExprError:
        assume(False)  # a division by a constant zero appeared
        raise
    assert substituted.evaluate(values) == expected
    assert substituted.symbols <= (e.symbols - {"i"}) | replacement.symbols


def test_evaluate_names_what_is_missing() -> None:
    with pytest.raises(ExprError, match=r"no value for M, N in M \+ N"):
        (M + N).evaluate({})
    with pytest.raises(ExprError, match="is not a constant"):
        M.value  # noqa: B018


@pytest.mark.parametrize(
    ("e", "shown"),
    [
        (M * 0, "0"), (-M, "-M"), (3 - M, "-M + 3"), (2 * M * N - 4, "2*M*N - 4"), (M % M, "0"),
        (M // 4 - N % 8, "M // 4 - (N % 8)"), (-(M // 4), "-(M // 4)"), (2 * (M // 4), "2*(M // 4)"),
        (M * (N // 4), "M*(N // 4)"), ((M + 1) // 4, "(M + 1) // 4"), ((4 * M + 5) // 4, "M + 1"),
        (cdiv(M, 4), "(M + 3) // 4"), (emin(M, 4) * N, "N*min(4, M)"),
        (M // (N + 1), "M // (N + 1)"), ((M // 2) // 3, "(M // 2) // 3"), (emin(M, N, M + 1), "min(M, N)"),
    ],
)  # fmt: skip
def test_text(e: Expr, shown: str) -> None:
    assert str(e) == shown


@pytest.mark.parametrize(
    "wrong",
    ["", "M N", "M.x", "M[0]", "f(M)", "min(M)", "1.5", "'a'", "M if N else 3", "M ** 2", "M / 2", "M < N", "lambda: 0",
     "M @ N", "True", "M // 0", "M % 0", "9" * 5000, "0x" + "f" * 4000, "(" * 500, "-" * 3000 + "M",
     "M + " * 1500 + "M",
     "M" * 5000, "*".join(["(M + N + i + k + 1)"] * 40), "*".join([str(LARGEST)] * 3), "min(M, key=N)", "min(*M)",
     "\0", "M\n+", " M", "\udc80"],
    ids=lambda t: ascii(t[:20]),
)  # fmt: skip
def test_what_is_no_expression(wrong: str) -> None:
    with pytest.raises(ExprError) as caught:
        parse(wrong)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "wrong", ["M", "M < 'a'", "M in N", "M < N or N < M", "not M < N", "M is N", "M < 1.5", "M := 3", ""]
)
def test_what_is_no_condition(wrong: str) -> None:
    with pytest.raises(ExprError):
        parse_predicates(wrong)


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(noise: str) -> None:
    for read in (parse, parse_predicates):
        with suppress(ExprError):
            read(noise)


@given(VALUES, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), trees(leaves=3), trees(leaves=3))
def test_conditions_hold_as_in_python(values: dict[str, int], op: str, x: Tree, y: Tree) -> None:
    built(x), built(y)
    (p,) = parse_predicates(f"{text(x)} {op} {text(y)}")
    assert parse_predicates(str(p)) == (p,)
    try:
        expected = eval(f"{text(x)} {op} {text(y)}", {"min": min, "max": max}, dict(values))
    except ZeroDivisionError:
        return
    assert p.holds(values) is expected


def test_conditions_are_conjunctions() -> None:
    found = parse_predicates("1 <= M < N and N % 8 == 0")
    assert list(map(str, found)) == ["1 <= M", "M < N", "N % 8 == 0"]


def test_bounded_arithmetic() -> None:
    many = sum((sym(f"x{i}") for i in range(40)), start=const(0))
    with pytest.raises(ExprError, match="1024 terms"):
        build_bounded("*", [many, many])
    with pytest.raises(ExprError, match="64 bits"):
        build_bounded("*", [const(LARGEST) * M, const(2)])
    assert build_bounded("-", [const(-LARGEST), const(1)]).value == -LARGEST - 1
    long = M
    for _ in range(8):
        long = long // M + long // N
    with pytest.raises(ExprError, match="characters"):
        build_bounded("+", [long // M, long // N])
