"""The operation table: what each elementwise and reducing operation takes, gives and means.

The front end, the verifier, the reference path, the emitters and the tests read this one table; structural
operations (load, store, dot, ...) are operations of the dialect itself. `numpy` names the NumPy function that
defines the operation on the reference path, applied in the operand's dtype.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

FLOATS = ("f32",)
NUMBERS = ("f32", "i32", "u32")
INTEGERS = ("i32", "u32")
BITS = ("i32", "u32", "bool")
# Only these dtypes have arithmetic; the others are storage: load, `.to(...)`, dot operand, store.
STORAGE = ("f16", "bf16", "i8", "u8")


@dataclass(frozen=True)
class Op:
    """One operation. `kind`: unary, binary, compare or reduce. `accuracy`: "exact", "rounded" (correctly rounded
    once) or "ulp" (within the few units in the last place that the target states)."""

    name: str
    kind: str
    dtypes: tuple[str, ...]
    numpy: str
    accuracy: str = "exact"
    result: str = "same"


def _table(*ops: Op) -> Mapping[str, Op]:
    return {op.name: op for op in ops}


OPS: Mapping[str, Op] = _table(
    Op("neg", "unary", NUMBERS, "negative"),
    Op("abs", "unary", NUMBERS, "abs"),
    Op("exp", "unary", FLOATS, "exp", "ulp"),
    Op("exp2", "unary", FLOATS, "exp2", "ulp"),
    Op("log", "unary", FLOATS, "log", "ulp"),
    Op("log2", "unary", FLOATS, "log2", "ulp"),
    Op("sqrt", "unary", FLOATS, "sqrt", "rounded"),
    Op("rsqrt", "unary", FLOATS, "rsqrt", "ulp"),
    Op("recip", "unary", FLOATS, "reciprocal", "rounded"),
    Op("floor", "unary", FLOATS, "floor"),
    Op("ceil", "unary", FLOATS, "ceil"),
    Op("not", "unary", BITS, "invert"),
    Op("add", "binary", NUMBERS, "add", "rounded"),
    Op("sub", "binary", NUMBERS, "subtract", "rounded"),
    Op("mul", "binary", NUMBERS, "multiply", "rounded"),
    Op("div", "binary", FLOATS, "divide", "rounded"),
    Op("maximum", "binary", NUMBERS, "maximum"),
    Op("minimum", "binary", NUMBERS, "minimum"),
    Op("and", "binary", BITS, "bitwise_and"),
    Op("or", "binary", BITS, "bitwise_or"),
    Op("xor", "binary", BITS, "bitwise_xor"),
    Op("lt", "compare", NUMBERS, "less", result="bool"),
    Op("le", "compare", NUMBERS, "less_equal", result="bool"),
    Op("gt", "compare", NUMBERS, "greater", result="bool"),
    Op("ge", "compare", NUMBERS, "greater_equal", result="bool"),
    Op("eq", "compare", NUMBERS, "equal", result="bool"),
    Op("ne", "compare", NUMBERS, "not_equal", result="bool"),
    Op("sum", "reduce", NUMBERS, "sum", "ulp"),
    Op("max", "reduce", NUMBERS, "max"),
    Op("min", "reduce", NUMBERS, "min"),
)

# Python's operators, by the name of their `ast` class.
OPERATORS: Mapping[str, str] = {
    "Add": "add", "Sub": "sub", "Mult": "mul", "Div": "div", "BitAnd": "and", "BitOr": "or", "BitXor": "xor",
    "USub": "neg", "Invert": "not",
    "Lt": "lt", "LtE": "le", "Gt": "gt", "GtE": "ge", "Eq": "eq", "NotEq": "ne",
}  # fmt: skip
