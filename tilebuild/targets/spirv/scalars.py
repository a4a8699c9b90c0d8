"""What the plan's operations are on one lane: SPIR-V for each (operation, dtype), constants and conversions.

Vulkan bounds GLSL.std.450's Exp by 3 + 2|x| units in the last place and leaves the rounding mode open; exp, exp2, log
and log2 are therefore written out here, with the project's own coefficients (`python -m tilebuild.targets.cpu.fit`;
the same numbers as in the cpu target's prelude.h) and with Floor instead of any trick that rounds. docs/spirv.md states
what the results are worth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tilebuild.optable import IDENTITY
from tilebuild.targets.spirv.builder import Builder

LN2_HI, LN2_LO = 0.69317627, -2.90889711e-05  # HI has 14 bits: n * LN2_HI is exact for |n| < 1024
# exp(r) = 1 + (r + r*r * P(r)) on [-0.3467, 0.3467]: 3.1e-09 = 0.05 * 2**-24
EXP = (4.9999994e-01, 1.66665211e-01, 4.16682623e-02, 8.36867467e-03, 1.38210552e-03)
# exp2(r) = 1 + r * P(r) on [-0.5, 0.5]: 3.0e-09 = 0.05 * 2**-24
EXP2 = (6.93147182e-01, 2.40226477e-01, 5.55035993e-02, 9.61850584e-03, 1.33908063e-03, 1.53264627e-04)
# log(1 + f) = f + f*f * P(f) on [-0.3333, 0.3333]: 4.6e-09 = 0.08 * 2**-24
LOG = (
    -5.0e-01, 3.33332151e-01, -2.49998048e-01, 2.00104386e-01, -1.66802078e-01, 1.40054747e-01, -1.21877499e-01,
    1.39859751e-01, -1.28776908e-01,
)  # fmt: skip
# log2(1 + f) = f + f * P(f) on [-0.3333, 0.3333]: 7.3e-09 = 0.12 * 2**-24
LOG2 = (
    4.42695051e-01, -7.21347511e-01, 4.80894208e-01, -3.60673249e-01, 2.88799375e-01, -2.40558162e-01, 2.00424388e-01,
    -1.76896662e-01, 2.09382817e-01, -1.8162708e-01,
)  # fmt: skip
_TWO_THIRDS = 0x3F2AAAAB  # the bits of 2/3

_EXACT = {"add": "FAdd", "sub": "FSub", "mul": "FMul", "div": "FDiv", "neg": "FNegate"}
_EXTENDED = {"abs": "FAbs", "sqrt": "Sqrt", "rsqrt": "InverseSqrt", "floor": "Floor", "ceil": "Ceil",
             "round": "RoundEven", "trunc": "Trunc"}  # fmt: skip
_INTEGER = {"add": "IAdd", "sub": "ISub", "mul": "IMul", "neg": "SNegate", "not": "Not", "and": "BitwiseAnd",
            "or": "BitwiseOr", "xor": "BitwiseXor"}  # fmt: skip
_BOOL = {"not": "LogicalNot", "and": "LogicalAnd", "or": "LogicalOr", "xor": "LogicalNotEqual"}
_COMPARE: Mapping[str, Mapping[str, str]] = {
    "f32": {"lt": "FOrdLessThan", "le": "FOrdLessThanEqual", "gt": "FOrdGreaterThan", "ge": "FOrdGreaterThanEqual",
            "eq": "FOrdEqual", "ne": "FUnordNotEqual"},
    "i32": {"lt": "SLessThan", "le": "SLessThanEqual", "gt": "SGreaterThan", "ge": "SGreaterThanEqual",
            "eq": "IEqual", "ne": "INotEqual"},
    "u32": {"lt": "ULessThan", "le": "ULessThanEqual", "gt": "UGreaterThan", "ge": "UGreaterThanEqual",
            "eq": "IEqual", "ne": "INotEqual"},
}  # fmt: skip
_EXTREMES = {("maximum", "i32"): "SMax", ("minimum", "i32"): "SMin", ("maximum", "u32"): "UMax",
             ("minimum", "u32"): "UMin"}  # fmt: skip


class Scalars:
    """Operations on ids; every argument has the dtype that is named, booleans are SPIR-V's."""

    def __init__(self, builder: Builder) -> None:
        self.b = builder

    def type(self, dtype: str) -> int:
        return {"f32": self.b.float_t, "i32": self.b.int_t, "u32": self.b.uint_t, "bool": self.b.bool_t}[dtype]()

    def literal(self, text: str, dtype: str) -> int:
        """A number's text, rounded to the dtype."""
        if dtype == "f32":
            return self.b.f(float(text))
        if dtype == "bool":
            return self.b.boolean(text in ("True", "1"))
        return self.b.constant(self.type(dtype), int(text))

    def identity(self, reduction: str, dtype: str) -> int:
        return self.literal(IDENTITY[reduction, dtype], dtype)

    def bits(self, dtype: str, value: int) -> int:
        """The 32 bits of a number as another dtype."""
        return self.b.op("Bitcast", self.type(dtype), value)

    def select(self, dtype: str, condition: int, a: int, b: int) -> int:
        return self.b.op("Select", self.type(dtype), condition, a, b)

    def apply(self, op: str, dtype: str, args: Sequence[int]) -> int:
        """An operation of the table on arguments of one dtype."""
        if op in ("maximum", "minimum"):
            return self._extreme(op, dtype, args[0], args[1])
        if op in _COMPARE["f32"]:
            return self.b.op(_COMPARE[dtype][op], self.b.bool_t(), *args)
        if dtype == "bool":
            return self.b.op(_BOOL[op], self.b.bool_t(), *args)
        if dtype == "f32":
            return self._float(op, args)
        if op == "abs":
            return args[0] if dtype == "u32" else self.b.extended("SAbs", self.b.int_t(), *args)
        if op in ("floordiv", "mod"):
            return self._division(op, dtype, args[0], args[1])
        if op in ("shl", "shr"):
            return self._shift(op, dtype, args[0], args[1])
        return self.b.op(_INTEGER[op], self.type(dtype), *args)

    def _shift(self, op: str, dtype: str, a: int, by: int) -> int:
        """By the low five bits of the second operand."""
        right = "ShiftRightArithmetic" if dtype == "i32" else "ShiftRightLogical"
        low = self.apply("and", dtype, [by, self.literal("31", dtype)])
        return self.b.op("ShiftLeftLogical" if op == "shl" else right, self.type(dtype), a, low)

    def _division(self, op: str, dtype: str, a: int, b: int) -> int:
        """Rounded down, and what it leaves; 0 where b is 0. The divisor of a lane whose quotient SPIR-V does not
        define is 1: 0, and for i32 also -1, where the quotient is -a."""
        zero, one = self.literal("0", dtype), self.literal("1", dtype)
        none = self.apply("eq", dtype, [b, zero])
        if dtype == "u32":
            quotient = self.b.op("UDiv", self.type(dtype), a, self.select(dtype, none, one, b))
        else:
            minus = self.apply("eq", dtype, [b, self.literal("-1", dtype)])
            safe = self.select(dtype, self.apply("or", "bool", [none, minus]), one, b)
            towards_zero = self.b.op("SDiv", self.type(dtype), a, safe)
            rest = self.apply("sub", dtype, [a, self.apply("mul", dtype, [towards_zero, safe])])
            signs = self.apply("lt", dtype, [self.apply("xor", dtype, [a, safe]), zero])
            lower = self.apply("and", "bool", [self.apply("ne", dtype, [rest, zero]), signs])
            down = self.select(dtype, lower, self.apply("sub", dtype, [towards_zero, one]), towards_zero)
            quotient = self.select(dtype, minus, self.apply("neg", dtype, [a]), down)
        value = quotient
        if op == "mod":
            value = self.apply("sub", dtype, [a, self.apply("mul", dtype, [quotient, b])])
        return self.select(dtype, none, zero, value)

    def _float(self, op: str, args: Sequence[int]) -> int:
        if op in _EXACT:
            return self.b.exact(_EXACT[op], *args)
        if op in _EXTENDED:
            return self.b.extended(_EXTENDED[op], self.b.float_t(), *args)
        if op == "recip":
            return self.b.exact("FDiv", self.b.f(1.0), args[0])
        return {"exp": self._exp, "exp2": self._exp2, "log": self._log, "log2": self._log2}[op](args[0])

    def _extreme(self, op: str, dtype: str, a: int, b: int) -> int:
        """NaN propagates: a where it is one or the extreme, else b, which is the extreme or NaN."""
        if dtype != "f32":
            return self.b.extended(_EXTREMES[op, dtype], self.type(dtype), a, b)
        first = self.b.op("FOrdGreaterThan" if op == "maximum" else "FOrdLessThan", self.b.bool_t(), a, b)
        nan = self.b.op("FUnordNotEqual", self.b.bool_t(), a, a)
        return self.select("f32", self.b.op("LogicalOr", self.b.bool_t(), first, nan), a, b)

    def cast(self, source: str, target: str, value: int) -> int:
        """Floats to integers towards zero; what does not fit is not defined, as on the other targets."""
        if source == target:
            return value
        zero, one = self.literal("0", target), self.literal("1", target)
        if source == "bool":
            return self.select(target, value, one, zero)
        if target == "bool":
            return self.apply("ne", source, [value, self.literal("0", source)])
        convert = {
            ("f32", "i32"): "ConvertFToS", ("f32", "u32"): "ConvertFToU", ("i32", "f32"): "ConvertSToF",
            ("u32", "f32"): "ConvertUToF",
        }.get((source, target), "Bitcast")  # fmt: skip
        return self.b.op(convert, self.type(target), value)

    # -- exponentials and logarithms ----------------------------------------------------------------

    def fma(self, a: int, b: int, c: int) -> int:
        """a * b + c, rounded once or twice."""
        return self.b.extended("Fma", self.b.float_t(), a, b, c)

    def _polynomial(self, x: int, coefficients: Sequence[float]) -> int:
        result = self.b.f(coefficients[-1])
        for c in reversed(coefficients[:-1]):
            result = self.fma(result, x, self.b.f(c))
        return result

    def _clamp(self, x: int, low: float, high: float) -> int:
        for op, end in (("lt", low), ("gt", high)):  # a NaN is neither
            x = self.select("f32", self.apply(op, "f32", [x, self.b.f(end)]), self.b.f(end), x)
        return x

    def _scale(self, p: int, n: int) -> int:
        """p * 2**n for a whole n in [-152, 129], by two factors: one alone would leave the normal numbers."""
        whole = self.cast("f32", "i32", n)
        half = self.b.op("ShiftRightArithmetic", self.b.int_t(), whole, self.b.i(1))
        for part in (half, self.b.op("ISub", self.b.int_t(), whole, half)):
            biased = self.b.op("IAdd", self.b.int_t(), part, self.b.i(127))
            shifted = self.b.op("ShiftLeftLogical", self.b.int_t(), biased, self.b.i(23))
            p = self.b.exact("FMul", p, self.bits("f32", shifted))
        return p

    def _nearest(self, x: int) -> int:
        """A whole number within 1/2 of x, and a little."""
        return self.b.extended("Floor", self.b.float_t(), self.b.exact("FAdd", x, self.b.f(0.5)))

    def _exp(self, x: int) -> int:
        x = self._clamp(x, -105.0, 89.0)
        n = self._nearest(self.b.exact("FMul", x, self.b.f(1 / math.log(2.0))))
        r = x
        for part in (LN2_HI, LN2_LO):
            r = self.b.exact("FSub", r, self.b.exact("FMul", n, self.b.f(part)))
        square = self.b.exact("FMul", r, r)
        tail = self.fma(square, self._polynomial(r, EXP), r)
        return self._scale(self.b.exact("FAdd", self.b.f(1.0), tail), n)

    def _exp2(self, x: int) -> int:
        x = self._clamp(x, -151.0, 129.0)
        n = self._nearest(x)
        r = self.b.exact("FSub", x, n)
        return self._scale(self.fma(r, self._polynomial(r, EXP2), self.b.f(1.0)), n)

    def _split(self, x: int) -> tuple[int, int]:
        """(e, f) with x = 2**e * (1 + f) and -1/3 <= f < 1/3, for finite x > 0."""
        b, int_ = self.b, self.b.int_t()
        small = self.apply("lt", "f32", [x, b.f(2.0**-126)])
        normal = self.select("f32", small, b.exact("FMul", x, b.f(2.0**23)), x)
        bits = b.op("ISub", int_, self.bits("i32", normal), b.i(_TWO_THIRDS))
        exponent = self.cast("i32", "f32", b.op("ShiftRightArithmetic", int_, bits, b.i(23)))
        e = b.exact("FSub", exponent, self.select("f32", small, b.f(23.0), b.f(0.0)))
        fraction = b.op("IAdd", int_, b.op("BitwiseAnd", int_, bits, b.i(0x7FFFFF)), b.i(_TWO_THIRDS))
        return e, b.exact("FSub", self.bits("f32", fraction), b.f(1.0))

    def _edges(self, x: int, y: int) -> int:
        """The logarithm of any x, where y is right for finite x > 0."""
        b = self.b
        y = self.select("f32", self.apply("lt", "f32", [x, b.f(math.inf)]), y, x)
        y = self.select("f32", self.apply("lt", "f32", [x, b.f(0.0)]), b.f(math.nan), y)
        return self.select("f32", self.apply("eq", "f32", [x, b.f(0.0)]), b.f(-math.inf), y)

    def _sum(self, a: int, f: int) -> tuple[int, int]:
        """a + f rounded, and what the rounding lost, for |a| >= |f| or a = 0."""
        total = self.b.exact("FAdd", a, f)
        return total, self.b.exact("FSub", f, self.b.exact("FSub", total, a))

    def _log(self, x: int) -> int:
        e, f = self._split(x)
        total, lost = self._sum(self.b.exact("FMul", e, self.b.f(LN2_HI)), f)
        low = self.fma(e, self.b.f(LN2_LO), lost)
        square = self.b.exact("FMul", f, f)
        return self._edges(x, self.b.exact("FAdd", total, self.fma(square, self._polynomial(f, LOG), low)))

    def _log2(self, x: int) -> int:
        e, f = self._split(x)
        total, lost = self._sum(e, f)
        return self._edges(x, self.b.exact("FAdd", total, self.fma(self._polynomial(f, LOG2), f, lost)))
