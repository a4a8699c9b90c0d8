"""Which addresses of shared memory a PTX instruction touches, and where addresses go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tilebuild.oracle.readers.ptx_flow import registers, results
from tilebuild.oracle.readers.ptx_state import kind_of
from tilebuild.oracle.readers.ptx_text import Address, Function, Group, Instruction, Name, Number, Operand, Register

_MOVES = ("ld", "ldu", "st", "atom", "red")
_ELSEWHERE = ("global", "local", "const", "param")
# instructions that name the shared window without touching it
_HARMLESS = frozenset(
    ("cvta", "isspacep", "fence", "membar", "mapa", "getctarank", "mov", "prefetch", "barrier", "bar", "elect")
)
_NOT_FOLLOWED = ("wgmma", "tcgen05", "multimem", "wmma")
_KEEPS_NO_ADDRESS = frozenset(
    (
        "mma",
        "wmma",
        "wgmma",
        "ldmatrix",
        "redux",
        "vote",
        "match",
        "activemask",
        "fma",
        "ex2",
        "lg2",
        "sin",
        "cos",
        "sqrt",
        "rsqrt",
        "rcp",
        "tanh",
        "ld",
        "ldu",
        "atom",
        "setp",
        "call",
        "isspacep",
        "popc",
        "clz",
        "tex",
    )
)


@dataclass(frozen=True)
class Touch:
    """`bytes` at an address, which is a multiple of them. `generic`: of any memory. `all_threads`: no thread's address
    is ignored."""

    address: Address
    bytes: int
    write: bool
    generic: bool
    all_threads: bool = True


def touches(i: Instruction) -> tuple[Touch, ...] | None:
    """What an instruction touches in shared memory, or may touch; None where it does in a way that is not known."""
    shared = any(part.startswith("shared") for part in i.parts)
    addresses = [o for o in i.operands if isinstance(o, Address)]
    if i.op in _MOVES and "async" not in i.parts and "bulk" not in i.parts:
        if not shared and any(part.split("::")[0] in _ELSEWHERE for part in i.parts):
            return ()
        if len(addresses) != 1:
            return None
        lanes = next((int(p[1:]) for p in i.parts if p in ("v2", "v4", "v8")), 1)
        return (Touch(addresses[0], lanes * kind_of(i.parts)[0] // 8, i.op not in ("ld", "ldu"), not shared),)
    if i.op in ("ldmatrix", "stmatrix") and addresses:
        return (Touch(addresses[0], 16, i.op == "stmatrix", not shared, "x4" in i.parts),)
    if i.op == "mbarrier" and addresses and "shared::cluster" not in i.parts:
        return (Touch(addresses[0], 8, True, not shared),)
    if i.text.startswith("cp.async") and "bulk" not in i.parts:
        if "mbarrier" in i.parts and addresses:
            return (Touch(addresses[0], 8, True, not shared),)
        if not shared:
            return ()
        size = i.operands[2] if len(i.operands) > 2 else None
        if isinstance(size, Number) and addresses and size.value in (4, 8, 16):
            return (Touch(addresses[0], size.value, True, False),)
        return None
    if i.op in _HARMLESS:
        return ()
    if shared or (
        i.op in _NOT_FOLLOWED and any(p.startswith(("mma", "ld", "st", "cp", "load", "store")) for p in i.parts)
    ):
        return None
    return ()


def carriers(function: Function, arrays: Mapping[str, object]) -> set[str]:
    """The registers that an array's address may have come into, other than through memory."""
    found: set[str] = set()
    while True:
        before = len(found)
        for i in function.body:
            if i.op not in _KEEPS_NO_ADDRESS and any(_mentions(o, found, arrays) for o in i.operands[1:]):
                found.update(results(i))
        if len(found) == before:
            return found


def _mentions(operand: Operand, carrying: set[str], arrays: Mapping[str, object]) -> bool:
    if isinstance(operand, Name):
        return operand.name in arrays
    if isinstance(operand, Group):
        return any(_mentions(o, carrying, arrays) for o in operand.items)
    return isinstance(operand, Register) and operand.name in carrying


def escapes(function: Function, carrying: set[str], arrays: Mapping[str, object]) -> Iterator[Instruction]:
    """The instructions that put an array's address into memory, or give it to something that is not followed."""
    for i in function.body:
        given: tuple[Operand, ...] = ()
        if i.op in ("st", "red", "atom"):
            given = tuple(o for o in i.operands if not isinstance(o, Address))[i.op == "atom" :]
        elif i.op == "call":
            given = i.operands
        if any(_mentions(o, carrying, arrays) for o in given):
            yield i


def asked(i: Instruction, carrying: set[str]) -> list[str]:
    """The registers whose values decide whether an instruction stays inside an array."""
    found = touches(i)
    names = [
        name for touch in found or () for name in registers(touch.address) if not touch.generic or name in carrying
    ]
    return [*names, i.guard[0]] if names and i.guard is not None else names
