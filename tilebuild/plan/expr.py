"""Integer expressions over named symbols, kept in one canonical form.

An `Expr` is a polynomial with integer coefficients over atoms; an atom is a symbol or one of
`a // b`, `a % b`, `min(...)`, `max(...)` with floor division and modulo as in Python. Two expressions
that normalise to the same polynomial compare equal. The text form is Python's own expression grammar, so
that JSON, MLIR attributes, messages and generated C all show the same thing.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar, Union

ExprLike = Union["Expr", int]
_T = TypeVar("_T")


class ExprError(ValueError):
    """A text that is not an expression of this module's grammar, or a symbol without a value."""


@dataclass(frozen=True)
class Sym:
    """A named integer: a dimension, a program id, a loop id."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Call:
    """`//` and `%` take two arguments, `min` and `max` two or more."""

    op: str
    args: tuple[Expr, ...]

    def __str__(self) -> str:
        if self.op in ("min", "max"):
            return f"{self.op}({', '.join(str(a) for a in self.args)})"
        left, right = self.args
        return f"{_factor(left)} {self.op} {_factor(right)}"


Atom = Union[Sym, Call]
Monomial = tuple[Atom, ...]


def _factor(e: Expr) -> str:
    text = str(e)
    simple = (e.is_const and e.value >= 0) or (len(e.terms) == 1 and _is_bare(e.terms[0]))
    return text if simple else f"({text})"


def _term(monomial: Monomial, coefficient: int) -> str:
    """One summand without its sign."""
    if coefficient == 1 and len(monomial) == 1:
        return str(monomial[0])
    factors = [_factor(_atom(a)) for a in monomial]
    return "*".join(factors if abs(coefficient) == 1 and factors else [str(abs(coefficient)), *factors])


def _is_bare(term: tuple[Monomial, int]) -> bool:
    monomial, coefficient = term
    if coefficient != 1 or len(monomial) != 1:
        return False
    atom = monomial[0]
    return isinstance(atom, Sym) or atom.op in ("min", "max")


@dataclass(frozen=True)
class Expr:
    """A canonical integer expression; build it with `sym`, `const`, `parse` and the operators."""

    terms: tuple[tuple[Monomial, int], ...]

    # -- construction ---------------------------------------------------------------------------

    @staticmethod
    def of(value: ExprLike) -> Expr:
        if isinstance(value, Expr):
            return value
        return Expr((((), int(value)),)) if value else Expr(())

    @staticmethod
    def _from(terms: Mapping[Monomial, int]) -> Expr:
        kept = [(m, c) for m, c in terms.items() if c]
        kept.sort(key=lambda t: (not t[0], [str(a) for a in t[0]]))
        return Expr(tuple(kept))

    def __add__(self, other: ExprLike) -> Expr:
        terms = dict(self.terms)
        for m, c in Expr.of(other).terms:
            terms[m] = terms.get(m, 0) + c
        return Expr._from(terms)

    __radd__ = __add__

    def __neg__(self) -> Expr:
        return Expr(tuple((m, -c) for m, c in self.terms))

    def __sub__(self, other: ExprLike) -> Expr:
        return self + (-Expr.of(other))

    def __rsub__(self, other: ExprLike) -> Expr:
        return Expr.of(other) - self

    def __mul__(self, other: ExprLike) -> Expr:
        terms: dict[Monomial, int] = {}
        for m1, c1 in self.terms:
            for m2, c2 in Expr.of(other).terms:
                m = tuple(sorted(m1 + m2, key=str))
                terms[m] = terms.get(m, 0) + c1 * c2
        return Expr._from(terms)

    __rmul__ = __mul__

    def __floordiv__(self, other: ExprLike) -> Expr:
        d = Expr.of(other)
        if d == ONE or self == ZERO:
            return self
        if not d.is_const:
            return ONE if self == d else _atom(Call("//", (self, d)))
        if d.value == 0:
            raise ExprError(f"division by zero in ({self}) // 0")
        if d.value < 0:
            return (-self) // (-d)
        whole = {m: c // d.value for m, c in self.terms if c % d.value == 0}
        rest = Expr(tuple((m, c) for m, c in self.terms if c % d.value))
        if rest.is_const:
            return Expr._from(whole) + rest.value // d.value
        # (d*q + r) // d == q + r // d for every r, so only the remainder stays under the division
        return Expr._from(whole) + _atom(Call("//", (rest, d)))

    def __rfloordiv__(self, other: ExprLike) -> Expr:
        return Expr.of(other) // self

    def __mod__(self, other: ExprLike) -> Expr:
        d = Expr.of(other)
        if not d.is_const:
            return ZERO if self in (d, ZERO) else _atom(Call("%", (self, d)))
        if d.value == 0:
            raise ExprError(f"division by zero in ({self}) % 0")
        if d.value < 0:
            return -((-self) % (-d))
        rest = Expr(tuple((m, c % d.value) for m, c in self.terms if c % d.value))
        if rest.is_const:
            return Expr.of(rest.value % d.value)
        return _atom(Call("%", (rest, d)))

    def __rmod__(self, other: ExprLike) -> Expr:
        return Expr.of(other) % self

    # -- questions ------------------------------------------------------------------------------

    @property
    def is_const(self) -> bool:
        return not self.terms or (len(self.terms) == 1 and not self.terms[0][0])

    @property
    def value(self) -> int:
        """The constant's value; raises `ExprError` for anything else."""
        if not self.is_const:
            raise ExprError(f"{self} is not a constant")
        return self.terms[0][1] if self.terms else 0

    @cached_property
    def symbols(self) -> frozenset[str]:
        found: set[str] = set()
        for monomial, _ in self.terms:
            for atom in monomial:
                if isinstance(atom, Sym):
                    found.add(atom.name)
                else:
                    for a in atom.args:
                        found |= a.symbols
        return frozenset(found)

    def substitute(self, values: Mapping[str, ExprLike]) -> Expr:
        """The expression with each named symbol replaced, normalised again."""
        if not self.symbols & set(values):
            return self
        total = ZERO
        for monomial, c in self.terms:
            product = Expr.of(c)
            for atom in monomial:
                if isinstance(atom, Sym):
                    product = product * (values[atom.name] if atom.name in values else _atom(atom))
                else:
                    product = product * build(atom.op, [a.substitute(values) for a in atom.args])
            total = total + product
        return total

    def evaluate(self, values: Mapping[str, int]) -> int:
        """The number, with every symbol given; raises `ExprError` when one is missing."""
        result = self.substitute(values)
        if not result.is_const:
            raise ExprError(f"no value for {', '.join(sorted(result.symbols))} in {self}")
        return result.value

    @cached_property
    def _text(self) -> str:
        if not self.terms:
            return "0"
        text = " ".join(f"{'-' if c < 0 else '+'} {_term(m, c)}" for m, c in self.terms)
        return text.removeprefix("+ ") if not text.startswith("- ") else f"-{text[2:]}"

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"Expr({self._text!r})"


def _atom(atom: Atom) -> Expr:
    return Expr((((atom,), 1),))


ZERO = Expr(())
ONE = Expr((((), 1),))


def sym(name: str) -> Expr:
    return _atom(Sym(name))


def const(value: int) -> Expr:
    return Expr.of(value)


def cdiv(a: ExprLike, b: ExprLike) -> Expr:
    """`a / b` rounded up, for b >= 1."""
    return (Expr.of(a) + Expr.of(b) - 1) // Expr.of(b)


def _extreme(op: str, args: Iterable[ExprLike]) -> Expr:
    precedes = operator.le if op == "min" else operator.ge
    kept: list[Expr] = []
    for arg in map(Expr.of, args):
        nested = arg.terms[0][0][0] if len(arg.terms) == 1 and _is_bare(arg.terms[0]) else None
        parts = nested.args if isinstance(nested, Call) and nested.op == op else (arg,)
        for e in parts:
            for i, k in enumerate(kept):
                difference = k - e
                if difference.is_const:  # comparable whatever the symbols are
                    kept[i] = k if precedes(difference.value, 0) else e
                    break
            else:
                kept.append(e)
    if len(kept) == 1:
        return kept[0]
    return _atom(Call(op, tuple(sorted(set(kept), key=lambda e: (not e.is_const, str(e))))))


def emin(*args: ExprLike) -> Expr:
    return _extreme("min", args)


def emax(*args: ExprLike) -> Expr:
    return _extreme("max", args)


def build(op: str, args: list[Expr]) -> Expr:
    """The normalised expression for an operator's text (`+ - * // % min max`) and its arguments."""
    if op in ("min", "max"):
        return _extreme(op, args)
    return _BINARY[op](args[0], args[1])


def build_bounded(op: str, args: list[Expr]) -> Expr:
    """`build` for expressions that somebody wrote; raises `ExprError` for what no index arithmetic needs and no
    machine integer holds: it would otherwise take its time and fail much later."""
    terms = math.prod(len(a.terms) for a in args) if op == "*" else sum(len(a.terms) for a in args)
    if terms > _MOST_TERMS:
        raise ExprError(f"an expression of more than {_MOST_TERMS} terms")
    found = build(op, args)
    if any(not -LARGEST - 1 <= c <= LARGEST for _, c in found.terms):
        raise ExprError("a constant does not fit into 64 bits")
    if len(str(found)) > _LONGEST:
        raise ExprError(f"an expression of more than {_LONGEST} characters")
    return found


LARGEST = 2**63 - 1
_MOST_TERMS = 1024
_LONGEST = 4096
_BINARY: dict[str, Callable[[Expr, Expr], Expr]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "//": operator.floordiv,
    "%": operator.mod,
}
_AST_OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.FloorDiv: "//", ast.Mod: "%"}
_AST_COMPARISONS = {ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}


def _from_ast(node: ast.expr) -> Expr:
    if isinstance(node, ast.Constant) and type(node.value) is int and node.value <= LARGEST:
        return const(node.value)
    if isinstance(node, ast.Name):
        return sym(node.id)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_from_ast(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in _AST_OPERATORS:
        return build_bounded(_AST_OPERATORS[type(node.op)], [_from_ast(node.left), _from_ast(node.right)])
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords and len(node.args) >= 2:
        args = [_from_ast(a) for a in node.args]
        if node.func.id in ("min", "max"):
            return build_bounded(node.func.id, args)
        if node.func.id == "cdiv" and len(args) == 2:
            return build_bounded("//", [args[0] + args[1] - 1, args[1]])
    raise ExprError(
        f"{ast.unparse(node):.40} is not an integer expression of names, 64-bit integers, + - * // %, min, max and cdiv"
    )


def _predicates(node: ast.expr) -> tuple[Predicate, ...]:
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And):
        return tuple(p for v in node.values for p in _predicates(v))
    if isinstance(node, ast.Compare) and all(type(op) in _AST_COMPARISONS for op in node.ops):
        operands = [_from_ast(e) for e in (node.left, *node.comparators)]
        return tuple(
            Predicate(_AST_COMPARISONS[type(op)], left, right)
            for left, op, right in zip(operands, node.ops, operands[1:])
        )
    raise ExprError(f"{ast.unparse(node):.40} is no comparison (== != < <= > >=, joined by `and`)")


def _read(text: str, what: str, reader: Callable[[ast.expr], _T]) -> _T:
    try:
        if len(text) > _LONGEST:
            raise ExprError(f"it has more than {_LONGEST} characters")
        return reader(ast.parse(text, mode="eval").body)
    except (ValueError, SyntaxError, RecursionError, MemoryError) as e:
        raise ExprError(f"{text!r:.80} is not {what}: {getattr(e, 'msg', e)}") from None


def parse(text: str) -> Expr:
    """Read an expression; raises `ExprError`."""
    return _read(text, "an expression", _from_ast)


@dataclass(frozen=True)
class Predicate:
    """One comparison, `left op right`; a guard or a `require` is a conjunction (tuple) of them."""

    op: str
    left: Expr
    right: Expr

    def __str__(self) -> str:
        return f"{self.left} {self.op} {self.right}"

    def holds(self, values: Mapping[str, int]) -> bool:
        a, b = self.left.evaluate(values), self.right.evaluate(values)
        return {"==": a == b, "!=": a != b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[self.op]


def parse_predicates(text: str) -> tuple[Predicate, ...]:
    """Read `N % 8 == 0 and N <= 1024`; raises `ExprError`."""
    return _read(text, "a condition", _predicates)
