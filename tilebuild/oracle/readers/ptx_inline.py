"""Puts the bodies of called functions in the places of their calls, so that a kernel can be followed as one function.

Arguments travel through variables of the parameter space; where each load of one has the offset and the size of a
store, they become registers. What cannot be put in place stays a call: recursion, calls through a register, functions
that the file only declares, and what would make the kernel too large.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from tilebuild.oracle.readers.ptx_state import kind_of
from tilebuild.oracle.readers.ptx_text import (
    Address,
    Function,
    Group,
    Instruction,
    Module,
    Name,
    Operand,
    Register,
    Variable,
)

_LARGEST, _DEEPEST = 200_000, 24  # instructions of a kernel, and calls inside one another


def inlined(module: Module, entry: Function) -> Function:
    """The kernel with all calls put in place that can be; itself where there are none."""
    if not any(i.op == "call" for i in entry.body):
        return entry
    functions = {f.name: f for f in module.functions if f.defined and not f.entry}
    made = _Inliner(functions, entry).run()
    _Slots(made).to_registers()
    return made


@dataclass
class _Names:
    """What the names of one copy of a function become."""

    function: Function
    number: int
    registers: dict[str, str] = field(default_factory=dict)
    slots: dict[str, str] = field(default_factory=dict)


class _Inliner:
    def __init__(self, functions: Mapping[str, Function], entry: Function) -> None:
        self.functions, self.entry = functions, entry
        self.made = replace(
            entry, body=[], labels={}, tables={}, variables=list(entry.variables), widths=dict(entry.widths)
        )
        self.count = 0
        self.seen: set[str] = set()

    def run(self) -> Function:
        self._copy(_Names(self.entry, 0), (), None)
        return self.made

    def _copy(self, names: _Names, inside: tuple[str, ...], end: str | None) -> None:
        """Append a function's body; its returns go to the label `end`."""
        function, body = names.function, self.made.body
        labels: dict[int, list[str]] = {}
        for label, at in function.labels.items():
            labels.setdefault(at, []).append(label)
        for label, targets in function.tables.items():
            self.made.tables[self._label(label, names)] = tuple(self._label(t, names) for t in targets)
        for at, i in enumerate(function.body):
            for label in labels.get(at, ()):
                self.made.labels[self._label(label, names)] = len(body)
            callee = self._callee(i, inside)
            if callee is not None:
                self._call(i, callee, names, inside)
            elif i.op == "ret" and end is not None:
                guard = self._guard(i, names)
                body.append(replace(i, parts=("bra",), operands=(Name(end),), guard=guard))
            else:
                operands = tuple(self._operand(o, names) for o in i.operands)
                body.append(replace(i, operands=operands, guard=self._guard(i, names)))
        for label in labels.get(len(function.body), ()):
            self.made.labels[self._label(label, names)] = len(body)

    def _callee(self, i: Instruction, inside: tuple[str, ...]) -> Function | None:
        if i.op != "call" or len(self.made.body) > _LARGEST or len(inside) > _DEEPEST:
            return None
        named = [o.name for o in i.operands[:2] if isinstance(o, Name)]
        callee = self.functions.get(named[0]) if named else None
        if callee is None or callee.name in inside:
            return None
        groups = [o.items for o in i.operands if isinstance(o, Group)]
        given = sum(len(items) for items in groups)
        formal = (*callee.returns, *callee.params)
        plain = all(v.space == "param" for v in formal) and all(isinstance(o, Name) for items in groups for o in items)
        return callee if plain and given == len(formal) else None

    def _call(self, i: Instruction, callee: Function, names: _Names, inside: tuple[str, ...]) -> None:
        self.count += 1
        inner = _Names(callee, self.count)
        actual = [o.name for g in i.operands if isinstance(g, Group) for o in g.items if isinstance(o, Name)]
        for formal, slot in zip((*callee.returns, *callee.params), actual):
            inner.slots[formal.name] = self._slot(slot, names)
        end = f"{callee.name}#{self.count} end"
        if i.guard is not None:
            register, negated = self._guard(i, names) or i.guard
            self.made.body.append(replace(i, parts=("bra",), operands=(Name(end),), guard=(register, not negated)))
        if callee.name not in self.seen:
            self.seen.add(callee.name)
            self.made.variables += [replace(v, name=self._variable(v, callee)) for v in callee.variables]
        self._copy(inner, (*inside, callee.name), end)
        self.made.labels[end] = len(self.made.body)

    # -- names ------------------------------------------------------------------------------------

    @staticmethod
    def _label(label: str, names: _Names) -> str:
        return f"{label}#{names.number}" if names.number else label

    @staticmethod
    def _variable(variable: Variable, function: Function) -> str:
        return variable.name if variable.space == "shared" else f"{variable.name}#{function.name}"

    def _slot(self, name: str, names: _Names) -> str:
        found = names.slots.get(name)
        return found or (f"{name}#{names.number}" if names.number else name)

    def _register(self, name: str, names: _Names) -> str:
        if not names.number:
            return name
        found = names.registers.get(name)
        if found is None:
            declared = name in names.function.widths or f"{name.rstrip('0123456789')}<" in names.function.widths
            found = names.registers[name] = f"{name}#{names.number}" if declared else name
            if declared:
                self.made.widths[found] = names.function.width(name)
        return found

    def _guard(self, i: Instruction, names: _Names) -> tuple[str, bool] | None:
        return None if i.guard is None else (self._register(i.guard[0], names), i.guard[1])

    def _operand(self, operand: Operand, names: _Names) -> Operand:
        if isinstance(operand, Register):
            return Register(self._register(operand.name, names))
        if isinstance(operand, Name):
            return replace(operand, name=self._named(operand.name, names))
        if isinstance(operand, Address) and operand.base is not None:
            base = self._operand(operand.base, names)
            return replace(operand, base=base if isinstance(base, (Register, Name)) else operand.base)
        if isinstance(operand, Group):
            return Group(tuple(self._operand(o, names) for o in operand.items))
        return operand

    def _named(self, name: str, names: _Names) -> str:
        if not names.number:
            return name
        if name in names.function.labels or name in names.function.tables:
            return self._label(name, names)
        variable = next((v for v in names.function.variables if v.name == name), None)
        if variable is not None:
            return self._variable(variable, names.function)
        known = name in names.slots or name in names.function.slots
        return self._slot(name, names) if known else name


class _Slots:
    """The variables through which arguments and results travel."""

    def __init__(self, function: Function) -> None:
        self.function = function
        own = {p.name for p in function.params}
        self.uses: dict[str, list[tuple[Instruction, int, int, bool]]] = {}
        self.open: set[str] = set()  # that a call takes, or of which the address is taken
        for i in function.body:
            moves = i.op in ("ld", "st") and "param" in "".join(i.parts)
            for operand in i.operands:
                for name in _slot_names(operand):
                    if name in own:
                        continue
                    if moves and isinstance(operand, Address):
                        size = kind_of(i.parts)[0] // 8
                        lanes = len(_values(i))
                        for lane in range(lanes):
                            use = (i, operand.offset + lane * size, size, i.op == "st")
                            self.uses.setdefault(name, []).append(use)
                    else:
                        self.open.add(name)

    def to_registers(self) -> None:
        """Replace loads and stores of slots by moves, where that says the same."""
        good = {name for name, uses in self.uses.items() if name not in self.open and _matched(uses)}
        body, shifts = [], [0]
        for i in self.function.body:
            made = list(self._moves(i, good))
            body += made
            shifts.append(len(body))
        self.function.body[:] = body
        for label, at in self.function.labels.items():
            self.function.labels[label] = shifts[at]

    def _moves(self, i: Instruction, good: set[str]) -> Iterator[Instruction]:
        address = next((o for o in i.operands if isinstance(o, Address)), None)
        name = address.base.name if address is not None and isinstance(address.base, Name) else ""
        if name not in good or address is None or i.op not in ("ld", "st"):
            yield i
            return
        kind, size = i.parts[-1], kind_of(i.parts)[0] // 8
        for lane, value in enumerate(_values(i)):
            slot = Register(f"%param {name}+{address.offset + lane * size}")
            self.function.widths[slot.name] = size * 8
            operands = (slot, value) if i.op == "st" else (value, slot)
            yield replace(i, parts=("mov", kind), operands=operands)


def _slot_names(operand: Operand) -> Iterator[str]:
    if isinstance(operand, Name):
        yield operand.name
    elif isinstance(operand, Address) and isinstance(operand.base, Name):
        yield operand.base.name
    elif isinstance(operand, Group):
        for item in operand.items:
            yield from _slot_names(item)


def _values(i: Instruction) -> tuple[Operand, ...]:
    """What a load or store moves."""
    found = [o for o in i.operands if not isinstance(o, Address)]
    if len(found) != 1:
        return ()
    return found[0].items if isinstance(found[0], Group) else (found[0],)


def _matched(uses: list[tuple[Instruction, int, int, bool]]) -> bool:
    """True if each load has a store of its offset and size, and no two overlap otherwise."""
    stored = {(at, size) for _, at, size, store in uses if store}
    loaded = {(at, size) for _, at, size, store in uses if not store}
    spans = sorted(stored | loaded)
    apart = all(a + size <= b for (a, size), (b, _) in itertools.pairwise(spans))
    return loaded <= stored and apart
