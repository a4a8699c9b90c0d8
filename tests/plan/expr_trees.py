"""Random integer expressions, as trees that both `Expr` and plain Python can evaluate."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from tilebuild.plan.expr import Expr, build, const, sym

NAMES = ("M", "N", "i", "k")
PYTHON: Mapping[str, Any] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "//": operator.floordiv, "%": operator.mod,
    "min": min, "max": max,
}  # fmt: skip
Tree = Any  # an int, a name, or (operator, tree, tree)


def trees(names: tuple[str, ...] = NAMES, small: int = 9, leaves: int = 8) -> st.SearchStrategy[Tree]:
    leaf = st.one_of(st.integers(-small, small), st.sampled_from(names))
    return st.recursive(leaf, lambda t: st.tuples(st.sampled_from(sorted(PYTHON)), t, t), max_leaves=leaves)


def build_tree(tree: Tree) -> Expr:
    """The expression; raises `ExprError` for a constant division by zero."""
    if isinstance(tree, tuple):
        return build(tree[0], [build_tree(tree[1]), build_tree(tree[2])])
    return sym(tree) if isinstance(tree, str) else const(tree)


def evaluate(tree: Tree, values: Mapping[str, int]) -> int:
    """Python's own result; raises ZeroDivisionError."""
    if isinstance(tree, tuple):
        result: int = PYTHON[tree[0]](evaluate(tree[1], values), evaluate(tree[2], values))
        return result
    return values[tree] if isinstance(tree, str) else int(tree)


def text(tree: Tree) -> str:
    """The tree as Python writes it, with all brackets."""
    if not isinstance(tree, tuple):
        return f"({tree})"
    op, a, b = tree
    return f"{op}({text(a)}, {text(b)})" if op in ("min", "max") else f"({text(a)} {op} {text(b)})"
