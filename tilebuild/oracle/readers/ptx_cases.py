"""All that a value may be, one by one: exact where ranges are not, and the witness where it leaves an array."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from itertools import product

from tilebuild.oracle.readers.ptx_unknowns import Env, Unknown, Unknowns
from tilebuild.oracle.readers.ptx_values import Value

_FUNCTIONS: Mapping[str, Callable[[int, int], int]] = {
    "and": operator.and_, "or": operator.or_, "xor": operator.xor, "mul": operator.mul, "min": min, "max": max,
    "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge, "eq": operator.eq, "ne": operator.ne,
}  # fmt: skip


class Cases:
    """The positions of threads and numbers of iterations that a value depends on, with all that they may be."""

    def __init__(self, unknowns: Unknowns, value: Value, env: Env) -> None:
        self._unknowns, self._value, self._env = unknowns, value, env
        self._roots = sorted(unknowns.roots(value))
        self._ranges: list[range] = []
        self.count: int | None = 1  # None where the value depends on anything else
        for root in self._roots:
            known = unknowns.range_of_one(root, env)
            counts = unknowns.all[root].kind in ("thread", "turn")
            if self.count is None or not counts or known.lo is None or known.hi is None:
                self.count = None
                return
            self._ranges.append(range(known.lo, known.hi + 1))
            self.count *= len(self._ranges[-1])

    def __iter__(self) -> Iterator[tuple[int, dict[int, int]]]:
        """Each value with what the unknowns are, by number."""
        facts = [(f, most) for f, most in self._env.facts if self._unknowns.roots(f) <= set(self._roots)]
        for numbers in product(*self._ranges):
            given = dict(zip(self._roots, numbers))
            memo = dict(given)
            number = self._evaluate(self._value, memo)
            if all(self._evaluate(f, memo) <= most for f, most in facts) and all(map(self._holds, memo.items())):
                yield number, given

    def _holds(self, item: tuple[int, int]) -> bool:
        known = self._env.get(item[0])
        return known is None or (
            (known.lo is None or known.lo <= item[1]) and (known.hi is None or item[1] <= known.hi)
        )

    def _evaluate(self, value: Value, memo: dict[int, int]) -> int:
        total = value.const
        for number, c in value.terms:
            if number not in memo:
                memo[number] = self._compute(self._unknowns.all[number], memo)
            total += c * memo[number]
        return total

    def _compute(self, unknown: Unknown, memo: dict[int, int]) -> int:
        if unknown.pair is not None:
            return _FUNCTIONS[unknown.kind](*(self._evaluate(v, memo) for v in unknown.pair))
        inner = self._evaluate(unknown.of or Value(()), memo)
        if unknown.kind == "div":
            return inner // unknown.by
        if unknown.kind == "rem":
            return inner % unknown.by
        lowest = unknown.range.lo or 0  # a view
        return lowest + (inner - lowest) % (1 << unknown.by)
