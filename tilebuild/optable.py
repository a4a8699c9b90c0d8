"""The operation table: what each operation takes, gives and means, and which targets have it.

The front end, the verifier, the reference path, the emitters, docs/operations.md and the tests read this one table.
Structural operations (load, store, dot, ...) are operations of the dialect itself; composites are written in the
language (`tilebuild/lang/library.py`), which states what they mean and how exact they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

FLOATS = ("f32",)
NUMBERS = ("f32", "i32", "u32")
INTEGERS = ("i32", "u32")
BITS = ("i32", "u32", "bool")
# Only these dtypes have arithmetic; the others are storage: load, `.to(...)`, dot operand, store.
STORAGE = ("f16", "bf16", "i8", "u8")

# These have every operation for every dtype, except where an entry says otherwise.
_GENERAL = ("cpu", "gpu", "spirv")
_NONE: Mapping[str, tuple[str, ...]] = {}
# What the vector units of Ascend parts of both generations compute with.
_PTO = {"pto": ("f32", "i32")}
_PTO_F32 = {"pto": ("f32",)}


@dataclass(frozen=True)
class Op:
    """One operation. `kind`: unary, binary, compare, reduce or scan. `numpy` names the NumPy function that defines it
    on the reference path, applied in the operand's dtype. `accuracy`: "exact", "rounded" (correctly rounded once) or
    "ulp" (within the few units in the last place that the target states). `meaning` is one line for the reference
    page, `instead` what to write on a target that lacks it. `targets` are the exceptions to "for every dtype on cpu,
    gpu and spirv, for none elsewhere", by target or, where it matters, by `target:architecture`."""

    name: str
    kind: str
    dtypes: tuple[str, ...]
    numpy: str
    accuracy: str = "exact"
    result: str = "same"
    meaning: str = ""
    instead: str = ""
    targets: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _NONE)

    def on(self, target: str, arch: str = "") -> tuple[str, ...]:
        """The dtypes for which a target, or one architecture of it, has the operation."""
        general = self.dtypes if target in _GENERAL else ()
        return self.targets.get(f"{target}:{arch}", self.targets.get(target, general))


# How the valid region of a result follows from those of the operands, by kind.
VALID: Mapping[str, str] = {
    "unary": "that of the operand",
    "binary": "the lesser of both on each axis; an extent of 1 repeats",
    "compare": "the lesser of both on each axis; an extent of 1 repeats",
    "reduce": "over valid lanes only; the axis stays with extent 1, the other one stays as valid as it was",
    "scan": "that of the operand; only valid lanes are seen",
}
# What an accuracy class says of f32; integers are exact.
ACCURACY: Mapping[str, str] = {"exact": "exact", "rounded": "rounded once", "ulp": "a few ulp, as accuracy.md says"}


def _table(*ops: Op) -> Mapping[str, Op]:
    return {op.name: op for op in ops}


_COMPARED = "tb.maximum and tb.minimum, where they say the same"
_CONVERTED = "a conversion to i32 and back, for values in its range"

OPS: Mapping[str, Op] = _table(
    Op("neg", "unary", NUMBERS, "negative", meaning="-x; integers wrap", targets=_PTO),
    Op("abs", "unary", NUMBERS, "abs", meaning="|x|; the most negative i32 stays itself", targets=_PTO_F32),
    Op("exp", "unary", FLOATS, "exp", "ulp", meaning="e to the x", targets=_PTO_F32),
    Op(
        "exp2", "unary", FLOATS, "exp2", "ulp", meaning="2 to the x",
        instead="tb.exp(x * 0.6931471805599453)",
    ),
    Op("log", "unary", FLOATS, "log", "ulp", meaning="natural logarithm; -inf at 0, NaN below", targets=_PTO_F32),
    Op(
        "log2", "unary", FLOATS, "log2", "ulp", meaning="logarithm to base 2; -inf at 0, NaN below",
        instead="tb.log(x) * 1.4426950408889634",
    ),
    Op("sqrt", "unary", FLOATS, "sqrt", "rounded", meaning="square root; NaN below 0", targets=_PTO_F32),
    Op("rsqrt", "unary", FLOATS, "rsqrt", "ulp", meaning="1 / sqrt(x)", targets=_PTO_F32),
    Op("recip", "unary", FLOATS, "reciprocal", "rounded", meaning="1 / x", targets=_PTO_F32),
    Op("floor", "unary", FLOATS, "floor", meaning="the largest whole number that is not above x", instead=_CONVERTED),
    Op("ceil", "unary", FLOATS, "ceil", meaning="the least whole number that is not below x", instead=_CONVERTED),
    Op(
        "round", "unary", FLOATS, "rint", meaning="the nearest whole number, of two the even one", instead=_CONVERTED
    ),
    Op("trunc", "unary", FLOATS, "trunc", meaning="the whole part of x", instead=_CONVERTED),
    Op(
        "not", "unary", BITS, "invert", meaning="every bit inverted, or the other truth value",
        instead="an i32 constant minus the value",
    ),
    Op("add", "binary", NUMBERS, "add", "rounded", meaning="a + b; integers wrap", targets=_PTO),
    Op("sub", "binary", NUMBERS, "subtract", "rounded", meaning="a - b; integers wrap", targets=_PTO),
    Op("mul", "binary", NUMBERS, "multiply", "rounded", meaning="a * b; integers wrap", targets=_PTO),
    Op("div", "binary", FLOATS, "divide", "rounded", meaning="a / b", targets=_PTO_F32),
    Op(
        "floordiv", "binary", INTEGERS, "floor_divide",
        meaning="a / b rounded down; 0 where b is 0; the most negative i32 // -1 wraps to itself",
        instead="f32 and tb.floor, or dimensions and ids, which are divided before the kernel's tiles are",
    ),
    Op(
        "mod", "binary", INTEGERS, "remainder", meaning="a - (a // b) * b, with the sign of b; 0 where b is 0",
        instead="f32 and tb.floor, or dimensions and ids, which are divided before the kernel's tiles are",
    ),
    Op("maximum", "binary", NUMBERS, "maximum", meaning="the greater one; NaN wins", targets=_PTO),
    Op("minimum", "binary", NUMBERS, "minimum", meaning="the lesser one; NaN wins", targets=_PTO),
    Op("and", "binary", BITS, "bitwise_and", meaning="bit by bit, or both", instead="tb.minimum of 0 and 1",
        targets={"pto:a5": ("i32",)},),
    Op("or", "binary", BITS, "bitwise_or", meaning="bit by bit, or either", instead="tb.maximum of 0 and 1",
        targets={"pto:a5": ("i32",)},),
    Op("xor", "binary", BITS, "bitwise_xor", meaning="bit by bit, or just one", instead="arithmetic on i32"),
    Op(
        "shl", "binary", INTEGERS, "left_shift", meaning="a shifted left by the low five bits of b",
        instead="a product with a power of two",
    ),
    Op(
        "shr", "binary", INTEGERS, "right_shift",
        meaning="a shifted right by the low five bits of b: i32 keeps its sign, u32 takes zeros",
        instead="f32 and tb.floor",
    ),
    Op("lt", "compare", NUMBERS, "less", result="bool", meaning="a < b; false with NaN", instead=_COMPARED),
    Op("le", "compare", NUMBERS, "less_equal", result="bool", meaning="a <= b; false with NaN", instead=_COMPARED),
    Op("gt", "compare", NUMBERS, "greater", result="bool", meaning="a > b; false with NaN", instead=_COMPARED),
    Op("ge", "compare", NUMBERS, "greater_equal", result="bool", meaning="a >= b; false with NaN", instead=_COMPARED),
    Op("eq", "compare", NUMBERS, "equal", result="bool", meaning="a == b; false with NaN", instead=_COMPARED),
    Op("ne", "compare", NUMBERS, "not_equal", result="bool", meaning="a != b; true with NaN", instead=_COMPARED),
    Op("sum", "reduce", NUMBERS, "sum", "ulp", meaning="0 over no lane; integers wrap", targets=_PTO),
    Op("max", "reduce", NUMBERS, "max", meaning="NaN wins; -inf over no lane", targets=_PTO),
    Op("min", "reduce", NUMBERS, "min", meaning="NaN wins; inf over no lane", targets=_PTO),
    Op(
        "prod", "reduce", NUMBERS, "prod", "ulp", meaning="1 over no lane; integers wrap",
        instead="tb.exp of a sum of tb.log, for positive numbers",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Composite:
    """What is written in the language: `targets` as in `Op`. Meaning and accuracy are its docstring's."""

    dtypes: tuple[str, ...] = FLOATS
    targets: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _NONE)

    def on(self, target: str, arch: str = "") -> tuple[str, ...]:
        """The dtypes for which a target, or one architecture of it, has everything that it is made of."""
        return self.targets.get(target, self.dtypes if target in _GENERAL else ())


_ON_PTO = Composite(targets=_PTO_F32)
COMPOSITES: Mapping[str, Composite] = {
    **dict.fromkeys(("sign",), Composite(("f32", "i32"))),
    **dict.fromkeys(("isnan", "argmax", "argmin"), Composite(NUMBERS)),
    **dict.fromkeys(("clamp", "fma"), Composite(NUMBERS, _PTO)),
    **dict.fromkeys(("any", "all"), Composite(("bool",))),
    **dict.fromkeys(
        ("isinf", "log1p", "expm1", "pow", "sin", "cos", "atan2", "leaky_relu", "elu", "selu", "logsumexp",
         "cross_entropy"),
        Composite(),
    ),
    **dict.fromkeys(
        ("tanh", "erf", "sigmoid", "silu", "relu", "gelu", "gelu_tanh", "softplus", "softsign", "mish", "hardtanh",
         "hardsigmoid", "hardswish", "square", "scale", "softmax", "log_softmax", "layernorm", "rmsnorm", "rope"),
        _ON_PTO,
    ),
}  # fmt: skip

# What each reduction starts from, by dtype: the value that changes no other one.
IDENTITY: Mapping[tuple[str, str], str] = {
    ("sum", "f32"): "0.0", ("max", "f32"): "-inf", ("min", "f32"): "inf", ("prod", "f32"): "1.0",
    ("sum", "i32"): "0", ("max", "i32"): str(-(1 << 31)), ("min", "i32"): str((1 << 31) - 1), ("prod", "i32"): "1",
    ("sum", "u32"): "0", ("max", "u32"): "0", ("min", "u32"): str((1 << 32) - 1), ("prod", "u32"): "1",
}  # fmt: skip
# The elementwise operation that joins two partial results of a reduction.
COMBINE: Mapping[str, str] = {"sum": "add", "max": "maximum", "min": "minimum", "prod": "mul"}

# Python's operators, by the name of their `ast` class.
OPERATORS: Mapping[str, str] = {
    "Add": "add", "Sub": "sub", "Mult": "mul", "Div": "div", "FloorDiv": "floordiv", "Mod": "mod",
    "LShift": "shl", "RShift": "shr", "BitAnd": "and", "BitOr": "or", "BitXor": "xor",
    "USub": "neg", "Invert": "not",
    "Lt": "lt", "LtE": "le", "Gt": "gt", "GtE": "ge", "Eq": "eq", "NotEq": "ne",
}  # fmt: skip
# Composites of the library that an operator stands for where the table has no operation for f32.
COMPOSED: Mapping[str, str] = {"floordiv": "_floordiv", "mod": "_mod"}

# What a conversion computes in: storage is widened first.
WIDE: Mapping[str, str] = {"f16": "f32", "bf16": "f32", "i8": "i32", "u8": "i32"}
ROUNDINGS: Mapping[str, str] = {"trunc": "", "nearest": "round", "floor": "floor", "ceil": "ceil"}
# Composites that bring a number into the range of a narrower dtype, by (what it is computed in, the dtype).
SATURATED: Mapping[tuple[str, str], str] = {
    ("f32", "i32"): "_f32_in_i32", ("f32", "u32"): "_f32_in_u32", ("f32", "f16"): "_in_f16",
    ("f32", "bf16"): "_in_bf16",
    ("f32", "i8"): "_in_i8", ("f32", "u8"): "_in_u8", ("i32", "i8"): "_in_i8", ("i32", "u8"): "_in_u8",
    ("i32", "u32"): "_i32_in_u32", ("u32", "i32"): "_u32_in_i32", ("u32", "i8"): "_u32_in_i8",
    ("u32", "u8"): "_u32_in_u8",
}  # fmt: skip


def conversion(source: str, dtype: str, how: str, sat: bool) -> list[tuple[str, str]]:
    """The steps of `.to(dtype, round=how, sat=sat)`, each a ("cast", dtype), ("unary", operation) or ("composite",
    name): the same on the reference path and in the compiler. Raises ValueError where there is no such conversion."""
    wide = WIDE.get(source, source)
    target = WIDE.get(dtype, dtype)
    to_integer = wide == "f32" and target in INTEGERS
    if how not in ROUNDINGS or (how != "trunc" and not to_integer):
        known = ", ".join(map(repr, ROUNDINGS))
        raise ValueError(
            f"a conversion from {source} to {dtype} does not round by {how!r} (floats to integers: {known})"
        )
    steps = [("cast", wide)]
    if ROUNDINGS[how]:
        steps.append(("unary", ROUNDINGS[how]))
    if sat and (wide, dtype) in SATURATED:
        steps.append(("composite", SATURATED[wide, dtype]))
    return [*steps, ("cast", target), ("cast", dtype)]
