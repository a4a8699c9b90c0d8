"""What the plan simulator computes: elementwise operations and reductions on NumPy arrays."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping

import numpy as np

from tilebuild.plan.expr import Expr, Sym
from tilebuild.testing.plan_memory import Array

ELEMENTWISE: Mapping[str, Callable[..., Array]] = {
    "copy": lambda a: a,
    "load": lambda a: a,
    "store": lambda a: a,
    "stage": lambda a: a,
    "pack": lambda a: a,
    "cast": lambda a: a,
    "neg": np.negative,
    "abs": np.abs,
    "exp": np.exp,
    "exp2": np.exp2,
    "log": np.log,
    "log2": np.log2,
    "sqrt": np.sqrt,
    "rsqrt": lambda a: 1 / np.sqrt(a),
    "recip": lambda a: 1 / a,
    "floor": np.floor,
    "ceil": np.ceil,
    "not": np.invert,
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
    "select": np.where,
}
MOVES = ("copy", "load", "store", "stage", "pack")
REDUCTIONS: Mapping[str, np.ufunc] = {"sum": np.add, "max": np.maximum, "min": np.minimum}
_FLOATS = ("f16", "bf16", "f32")


def working(values: Array, dtype: str) -> Array:
    """Values in the width that reductions are made in."""
    return np.asarray(values, dtype=np.float64 if dtype in _FLOATS else np.int64)


def identity(op: str, dtype: str) -> float | int:
    """What a reduction begins with."""
    if op == "sum":
        return 0
    if dtype in _FLOATS:
        return -np.inf if op == "max" else np.inf
    return int(np.iinfo(np.int64).min if op == "max" else np.iinfo(np.int64).max)


def literal(text: object, dtype: str) -> float | int | bool:
    """The number of a `full`; its text is Python's."""
    if dtype in _FLOATS:
        return float(str(text))
    value = str(text)
    return value == "True" if value in ("True", "False") else int(float(value))


def number(e: Expr, values: Mapping[str, int]) -> int:
    """The value of an expression; raises KeyError for a symbol without one, ZeroDivisionError."""
    total = 0
    for monomial, coefficient in e.terms:
        product = coefficient
        for atom in monomial:
            if isinstance(atom, Sym):
                product *= values[atom.name]
            else:
                product *= _CALLS[atom.op](*(number(argument, values) for argument in atom.args))
        total += product
    return total


_CALLS: Mapping[str, Callable[..., int]] = {"//": operator.floordiv, "%": operator.mod, "min": min, "max": max}
