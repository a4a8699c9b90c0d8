"""What one PTX instruction does to what is known of the registers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tilebuild.oracle.readers.ptx_conditions import Anything, Inverse, Joined, Predicate, Test, comparison
from tilebuild.oracle.readers.ptx_flow import results
from tilebuild.oracle.readers.ptx_state import GENERIC_WINDOW, SHARED_WINDOW, Known, Operands, State, kind_of
from tilebuild.oracle.readers.ptx_text import (
    TYPE_BYTES,
    Address,
    Group,
    Instruction,
    Name,
    Register,
)
from tilebuild.oracle.readers.ptx_values import Range, Value, typed

_NOT_INTEGERS = frozenset(
    ("f16", "f32", "f64", "bf16", "f16x2", "bf16x2", "tf32", "u16x2", "s16x2", "f32x2", "sat", "relu")
)
# operations whose result has their last type
_TYPED = frozenset(
    ("ld", "ldu", "atom", "add", "sub", "mul", "mad", "and", "or", "xor", "not", "neg", "abs", "shl", "shr", "div",
     "rem", "min", "max", "selp", "mov", "shfl", "redux", "prmt", "lop3", "bfe", "bfi", "brev")
)  # fmt: skip


class Steps(Operands):
    """Executes instructions on states."""

    # -- instructions -----------------------------------------------------------------------------

    def step(self, number: int, i: Instruction, state: State, wanted: set[str]) -> None:
        """Change the state by one instruction, number `number` of the function."""
        names = [name for name in results(i) if name in wanted]
        if not names:
            return
        env = self.guarded(i, state)
        if env is None:
            return
        inner = state if env is state.env else State(state.registers, env)
        found = self.made(number, i, inner)
        for name in names:
            new = found if name == names[0] and len(results(i)) == 1 else self.opaque((number, name), i, inner)
            if i.op == "setp":
                new = found if name == results(i)[0] else Inverse(found) if not isinstance(found, Value) else Anything()
            if i.guard is not None:
                new = self.either((number, name, "guard"), new, inner, state.registers.get(name), state)
            if isinstance(new, Value):
                new = self.unknowns.normal(new)
                if self.unknowns.too_long(new):
                    known, arrays = self.unknowns.range_of(new, state.env), self.unknowns.arrays(new)
                    new = self.unknowns.any((number, name), known, arrays, state.env)
            state.registers[name] = new

    def either(self, key: object, new: Known, there: State, old: Known | None, here: State) -> Known:
        """One of two values."""
        if new == old:
            return new
        if isinstance(new, Value) and isinstance(old, Value):
            known = self.unknowns.range_of(new, there.env).hull(self.unknowns.range_of(old, here.env))
            arrays = self.unknowns.arrays(new) | self.unknowns.arrays(old)
            return self.unknowns.any(key, known, arrays, here.env)
        if isinstance(new, Value):
            return self.unknowns.any(key, typed(64), self.unknowns.arrays(new), here.env)
        return Anything()

    def opaque(self, key: object, i: Instruction, state: State, known: Range | None = None) -> Value:
        """A result of which only the type is known, and what addresses may be in it."""
        arrays: frozenset[str] = frozenset()
        if i.op not in ("ld", "ldu", "atom", "tex"):
            for operand in i.operands[1:]:
                if isinstance(operand, (Register, Name)):
                    arrays |= self.unknowns.arrays(self.value(operand, state))
        return self.unknowns.any(key, known or self.type_range(i), arrays, state.env)

    def type_range(self, i: Instruction) -> Range:
        """The numbers that a result's type has. Those of a signed type stand for the same bits as those of an unsigned
        one, but for what is extended into a wider register."""
        if i.op not in _TYPED or "wide" in i.parts:
            return typed(64)
        bits, signed = kind_of(i.parts)
        widest = max((self.function.width(name) for name in results(i)), default=64)
        return typed(bits, signed or widest <= bits)

    def made(self, number: int, i: Instruction, state: State) -> Known:
        method = _METHODS.get(i.op)
        found: Known | None = None
        if method is not None and not _NOT_INTEGERS.intersection(i.parts):
            try:
                found = method(self, i, state)
            except (IndexError, ValueError):  # fewer operands than the instruction takes
                found = None
        if found is not None:
            return found
        return Anything() if i.op == "setp" or i.parts[-1] == "pred" else self.opaque((number, results(i)[0]), i, state)

    def _values(self, i: Instruction, state: State, count: int) -> list[Value]:
        return [self.value(o, state) for o in i.operands[1 : 1 + count]]

    def _exact(self, value: Value, i: Instruction, state: State) -> Value:
        bits, signed = kind_of(i.parts)
        return self.unknowns.exact(value, bits, signed, state.env)

    def _mov(self, i: Instruction, state: State) -> Known | None:
        source = i.operands[1]
        if i.parts[-1] == "pred":
            return self.predicate(source, state)
        return None if isinstance(source, Group) or isinstance(i.operands[0], Group) else self.value(source, state)

    def _cvta(self, i: Instruction, state: State) -> Value | None:
        value = self.value(i.operands[1], state)
        if not any(part.startswith("shared") for part in i.parts):
            return value
        to_shared = "to" in i.parts
        wanted, other = ("generic", "array") if to_shared else ("array", "generic")
        terms = Value((), value.const)
        for unknown, c in value.terms:
            u = self.unknowns.all[unknown]
            term = Value(((unknown, c),))
            if u.kind == wanted and c == 1:
                window = Range(0, SHARED_WINDOW if to_shared else GENERIC_WINDOW, self.arrays[u.name])
                term = self.unknowns.base(other, u.name, window, frozenset({u.name}))
            terms = terms.plus(term)
        return terms

    def _cvt(self, i: Instruction, state: State) -> Value | None:
        types = [part for part in i.parts if part in TYPE_BYTES]
        if len(types) != 2 or "sat" in i.parts:
            return None
        to, source = (TYPE_BYTES[t] * 8 for t in types)
        value = self.value(i.operands[1], state)
        if to < source:
            widest = max((self.function.width(name) for name in results(i)), default=64)
            return value if widest <= to else self.unknowns.exact(value, to, types[0][0] == "s", state.env)
        return self.unknowns.exact(value, source, types[1][0] == "s", state.env)

    def _add(self, i: Instruction, state: State) -> Value:
        a, b = self._values(i, state, 2)
        return a.plus(b)

    def _sub(self, i: Instruction, state: State) -> Value:
        a, b = self._values(i, state, 2)
        return a.plus(b, -1)

    def _mul(self, i: Instruction, state: State) -> Value | None:
        a, b = self._values(i, state, 2)
        if "lo" not in i.parts:
            a, b = self._exact(a, i, state), self._exact(b, i, state)
        if a.is_constant:
            a, b = b, a
        product = a.scaled(b.const) if b.is_constant else self._product(a, b, i, state)
        if product is None or "hi" not in i.parts:
            return product
        bits, _ = kind_of(i.parts)
        return self.unknowns.quotient(product, 1 << bits, state.env)

    def _product(self, a: Value, b: Value, i: Instruction, state: State) -> Value | None:
        x, y = self.unknowns.range_of(a, state.env), self.unknowns.range_of(b, state.env)
        if x.lo is None or x.hi is None or y.lo is None or y.hi is None or self.unknowns.arrays(a.plus(b)):
            return None
        ends = [p * q for p in (x.lo, x.hi) for q in (y.lo, y.hi)]
        step = (x.step or 1) * (y.step or 1) if x.rest == y.rest == 0 else 1
        return self.unknowns.function("mul", a, b, Range(min(ends), max(ends), step), state.env)

    def _mad(self, i: Instruction, state: State) -> Value | None:
        product = self._mul(i, state)
        return None if product is None else product.plus(self.value(i.operands[3], state))

    def _shl(self, i: Instruction, state: State) -> Value | None:
        a, b = self._values(i, state, 2)
        return a.scaled(1 << b.const) if b.is_constant and 0 <= b.const < kind_of(i.parts)[0] else None

    def _shr(self, i: Instruction, state: State) -> Value | None:
        a, b = self._values(i, state, 2)
        if not b.is_constant or not 0 <= b.const < kind_of(i.parts)[0]:
            return None
        return self.unknowns.quotient(self._exact(a, i, state), 1 << b.const, state.env)

    def _div(self, i: Instruction, state: State) -> Value | None:
        a, b = (self._exact(v, i, state) for v in self._values(i, state, 2))
        known = self.unknowns.range_of(a, state.env)
        if not b.is_constant or b.const <= 0 or known.lo is None or known.lo < 0:  # it truncates
            return None
        divide = self.unknowns.quotient if i.op == "div" else self.unknowns.remainder
        return divide(a, b.const, state.env)

    def _and(self, i: Instruction, state: State) -> Known | None:
        if i.parts[-1] == "pred":
            return Joined(i.op, self.predicate(i.operands[1], state), self.predicate(i.operands[2], state))
        a, b = self._values(i, state, 2)
        if a.is_constant:
            a, b = b, a
        bits = kind_of(i.parts)[0]
        mask = b.const % (1 << bits)
        if not b.is_constant or mask == 0:
            return Value(()) if b.is_constant else self._bits(i, state)
        low = (mask & -mask).bit_length() - 1
        high = mask.bit_length()
        if mask != (1 << high) - (1 << low):
            exact = self.unknowns.exact(a, bits, False, state.env)
            return self.unknowns.function("and", exact, Value((), mask), Range(0, mask), state.env)
        if high == bits and not self.unknowns.range_of(a, state.env).inside(0, (1 << bits) - 1):
            return a.plus(self.unknowns.remainder(a, 1 << low, state.env), -1)
        whole = self.unknowns.remainder(a, 1 << high, state.env)
        return self.unknowns.quotient(whole, 1 << low, state.env).scaled(1 << low)

    def _or(self, i: Instruction, state: State) -> Known | None:
        if i.parts[-1] == "pred":
            return Joined(i.op, self.predicate(i.operands[1], state), self.predicate(i.operands[2], state))
        a, b = self._values(i, state, 2)
        for x, y in ((a, b), (b, a)):  # bits that the one has are ones that the other one never has
            left, right = self.unknowns.range_of(x, state.env), self.unknowns.range_of(y, state.env)
            if right.lo is not None and right.lo >= 0 and right.hi is not None:
                unit = 1 << right.hi.bit_length()
                if left.multiple_of(unit) and right.hi < 1 << kind_of(i.parts)[0]:
                    return x.plus(y)
        return self._bits(i, state)

    def _bits(self, i: Instruction, state: State) -> Value | None:
        """A bitwise operation on numbers that are not negative gives none with more bits."""
        a, b = self._values(i, state, 2)
        x, y = self.unknowns.range_of(a, state.env), self.unknowns.range_of(b, state.env)
        bits = kind_of(i.parts)[0]
        if x.lo is None or y.lo is None or x.hi is None or y.hi is None:
            return None
        if min(x.lo, y.lo) < 0 or max(x.hi, y.hi) >> bits:
            return None
        most = min(x.hi, y.hi) if i.op == "and" else (1 << max(x.hi, y.hi).bit_length()) - 1
        units = [next(u for u in (128, 64, 32, 16, 8, 4, 2, 1) if r.multiple_of(u)) for r in (x, y)]
        step = max(units) if i.op == "and" else min(units)
        return self.unknowns.function(i.op, a, b, Range(0, most, step), state.env)

    def _xor(self, i: Instruction, state: State) -> Known | None:
        return Anything() if i.parts[-1] == "pred" else self._bits(i, state)

    def _not(self, i: Instruction, state: State) -> Known:
        if i.parts[-1] == "pred":
            return Inverse(self.predicate(i.operands[1], state))
        return self.value(i.operands[1], state).scaled(-1).shifted(-1)

    def _neg(self, i: Instruction, state: State) -> Value:
        return self.value(i.operands[1], state).scaled(-1)

    def _extreme(self, i: Instruction, state: State) -> Value | None:
        if len(i.operands) != 3:
            return None
        a, b = (self._exact(v, i, state) for v in self._values(i, state, 2))
        x, y = self.unknowns.range_of(a, state.env), self.unknowns.range_of(b, state.env)
        less = i.op == "min"
        if x.hi is not None and y.lo is not None and x.hi <= y.lo:
            return a if less else b
        if y.hi is not None and x.lo is not None and y.hi <= x.lo:
            return b if less else a
        ends: list[int | None] = []
        for p, q, both in ((x.lo, y.lo, less), (x.hi, y.hi, not less)):
            given = [e for e in (p, q) if e is not None]
            pick = min if less else max
            ends.append(None if not given or (both and len(given) < 2) else pick(given))
        known = Range(ends[0], ends[1]).meet(typed(*kind_of(i.parts)))
        return self.unknowns.function(i.op, a, b, known, state.env)

    def _selp(self, i: Instruction, state: State) -> Known | None:
        a, b = self._values(i, state, 2)
        predicate = self.predicate(i.operands[3], state)
        yes = self.narrowing.assume(state.env, predicate, True)
        no = self.narrowing.assume(state.env, predicate, False)
        if yes is None or no is None:
            return b if yes is None else a
        chosen = self._chosen(a.plus(b, -1), predicate, state)
        if chosen is not None:
            return b.plus(chosen)
        return self.either(("selp", a, b, predicate), a, State(env=yes), b, State(env=no)) if a != b else a

    def _chosen(self, difference: Value, predicate: Predicate, state: State) -> Value | None:
        """A constant where a comparison holds, and 0 where it does not."""
        if isinstance(predicate, Inverse):
            inner = self._chosen(difference, predicate.of, state)
            return None if inner is None else difference.plus(inner, -1)
        if not isinstance(predicate, Test) or not difference.is_constant:
            return None
        a, b = (self.unknowns.exact(v, predicate.bits, predicate.signed, state.env) for v in (predicate.a, predicate.b))
        return self.unknowns.function(predicate.op, a, b, Range(0, 1), state.env).scaled(difference.const)

    def _bfe(self, i: Instruction, state: State) -> Value | None:
        a, at, length = self._values(i, state, 3)
        if kind_of(i.parts)[1] or not at.is_constant or not length.is_constant:
            return None
        if not (0 <= at.const < 64 and length.const >= 0 and at.const + length.const <= kind_of(i.parts)[0]):
            return None
        whole = self.unknowns.remainder(a, 1 << at.const + length.const, state.env)
        return self.unknowns.quotient(whole, 1 << at.const, state.env)

    def _ld(self, i: Instruction, state: State) -> Value | None:
        source = i.operands[1]
        if "param" not in i.parts or not isinstance(source, Address) or not isinstance(source.base, Name):
            return None
        if isinstance(i.operands[0], Group):
            return None
        known = self.type_range(i)
        return self.unknowns.base("param", f"{source.base.name}+{source.offset} {known.lo} {known.hi}", known)

    def _setp(self, i: Instruction, state: State) -> Predicate:
        bits, signed = kind_of(i.parts)
        a, b = self._values(i, state, 2)
        found = comparison(i.parts[1], a, b, bits, signed)
        if len(i.operands) < 4:
            return found
        if i.parts[2] not in ("and", "or"):
            return Anything()
        return Joined(i.parts[2], found, self.predicate(i.operands[3], state))

    def _count(self, i: Instruction, state: State) -> Value:
        counted = self.value(i.operands[1], state)
        return self.unknowns.any((i.op, counted), Range(0, kind_of(i.parts)[0]), frozenset(), state.env)


_METHODS: Mapping[str, Callable[[Steps, Instruction, State], Known | None]] = {
    "mov": Steps._mov, "cvta": Steps._cvta, "cvt": Steps._cvt, "add": Steps._add, "sub": Steps._sub,
    "mul": Steps._mul, "mad": Steps._mad, "shl": Steps._shl,
    "shr": Steps._shr, "div": Steps._div, "rem": Steps._div, "and": Steps._and, "or": Steps._or, "xor": Steps._xor,
    "not": Steps._not, "neg": Steps._neg, "min": Steps._extreme, "max": Steps._extreme, "selp": Steps._selp,
    "bfe": Steps._bfe, "ld": Steps._ld, "setp": Steps._setp, "popc": Steps._count, "clz": Steps._count,
}  # fmt: skip
