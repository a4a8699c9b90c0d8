"""The structural check accepts what is emitted, and names every fault that is planted."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from spirv_package import kernels, needs_validator, plans, validator, write

from tilebuild.targets.spirv.check import Limits, check
from tilebuild.targets.spirv.emit import emit
from tilebuild.targets.spirv.module import Instruction, Module, encode
from tilebuild.targets.spirv.target import Spirv

LIMITS = Limits(128, 16384)
SOFTMAX = """
M, N = tb.dims("M N")

@tb.kernel
def softmax(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N], *, BM: tb.Const = 1, BN: tb.Const = 64):
    i = tb.program(tb.cdiv(M, BM))
    m, s = tb.full((BM, 1), -tb.inf), tb.zeros((BM, 1))
    for j in tb.pipeline(tb.cdiv(N, BN)):
        t = x.tiles(BM, BN)[i, j]
        m2 = tb.maximum(m, t.max(1))
        s = s * tb.exp(m - m2) + tb.exp(t - m2).sum(1)
        m = m2
    for j in tb.pipeline(tb.cdiv(N, BN)):
        y.tiles(BM, BN)[i, j] = tb.exp(x.tiles(BM, BN)[i, j] - m) / s
"""


@cache
def _module(folder: Path) -> Module:
    (kernel,) = kernels(write(folder / "p", "soft", SOFTMAX), "src/soft")
    _, plan = next(plans(kernel, Spirv()))
    return emit(plan, keep_nan=True)[0]


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Module:
    return _module(tmp_path_factory.mktemp("soft"))


def index(m: Module, op: str, *operands: int | str | None, number: int = 0) -> int:
    """Where the instruction is with this opcode and these first operands (None: any)."""
    found = [
        n for n, i in enumerate(m.instructions)
        if i.op == op and all(w is None or w == o for w, o in zip(operands, i.operands))
    ]  # fmt: skip
    return found[number]


def drop(m: Module, n: int) -> Module:
    return replace(m, instructions=(*m.instructions[:n], *m.instructions[n + 1 :]))


def put(m: Module, n: int, i: Instruction) -> Module:
    return replace(m, instructions=(*m.instructions[:n], i, *m.instructions[n:]))


def change(m: Module, n: int, **fields: object) -> Module:
    changed = replace(m.instructions[n], **fields)  # type: ignore[arg-type]
    return replace(m, instructions=(*m.instructions[:n], changed, *m.instructions[n + 1 :]))


def operand(m: Module, n: int, at: int, value: int | str) -> Module:
    operands = list(m.instructions[n].operands)
    operands[at] = value
    return change(m, n, operands=tuple(operands))


def _second_label(m: Module) -> int:
    return index(m, "Label", number=1)


def _later_value(m: Module) -> Module:
    """The last product reads the last quotient, which is made after it."""
    products = [n for n, i in enumerate(m.instructions) if i.op == "FMul"]
    quotients = [i.result for i in m.instructions if i.op == "FDiv"]
    return operand(m, products[-1], 0, quotients[-1])


def _read_only(m: Module) -> Module:
    """The second buffer, which is written, is said not to be."""
    n = index(m, "MemberDecorate", None, 0, "Offset", number=1)
    return put(m, n, Instruction("MemberDecorate", (m.instructions[n].operands[0], 0, "NonWritable")))


def _lonely_block(m: Module) -> Module:
    end = index(m, "FunctionEnd")
    more = put(replace(m, bound=m.bound + 1), end, Instruction("Return"))
    return put(more, end, Instruction("Label", (), 0, m.bound))


def value(m: Module, op: str) -> int:
    """What the first instruction with this opcode makes, or its first operand where it makes nothing."""
    i = m.instructions[index(m, op)]
    return i.result or int(i.operands[0])


def merge(m: Module) -> int:
    """The merge block of the first loop."""
    return value(m, "LoopMerge")


def size(m: Module) -> int:
    return index(m, "ExecutionMode", None, "LocalSize")


Mutant = Callable[[Module], Module]
MUTANTS: dict[str, tuple[Mutant, str]] = {
    "newer version": (lambda m: replace(m, version=(1, 6)), r"version 1\.6 is not"),
    "bound too small": (lambda m: replace(m, bound=m.bound - 1), "not below the bound"),
    "id defined twice": (lambda m: put(m, index(m, "FAdd"), m.instructions[index(m, "FAdd")]), "a second time"),
    "id never defined": (
        lambda m: operand(replace(m, bound=m.bound + 1), index(m, "FMul"), 0, m.bound),
        "never defined",
    ),
    "type used before it is made": (
        lambda m: put(drop(m, index(m, "TypeFloat")), index(m, "Function"), m.instructions[index(m, "TypeFloat")]),
        "used before it is defined",
    ),
    "sections out of order": (
        lambda m: put(m, index(m, "Label"), Instruction("Capability", ("Shader",))),
        "belongs to",
    ),
    "no end of the function": (lambda m: drop(m, index(m, "FunctionEnd")), "no OpFunctionEnd"),
    "one type twice": (
        lambda m: put(replace(m, bound=m.bound + 1), index(m, "TypeBool"), Instruction("TypeFloat", (32,), 0, m.bound)),
        "same OpTypeFloat",
    ),
    "wrong number of operands": (lambda m: change(m, index(m, "FMul"), operands=(1,)), "1 operands, and takes 2"),
    "float operation on integers": (lambda m: change(m, index(m, "IAdd"), op="FAdd"), "not f32"),
    "integer operation on floats": (lambda m: change(m, index(m, "FAdd"), op="IAdd"), "not int"),
    "comparison that gives a float": (
        lambda m: change(m, index(m, "SLessThan"), type=value(m, "TypeFloat")),
        "not bool",
    ),
    "select of two types": (lambda m: operand(m, index(m, "Select"), 1, value(m, "SLessThan")), "not of one type"),
    "load of another type": (lambda m: change(m, index(m, "Load"), type=value(m, "TypeFloat")), "type differ"),
    "store to an input": (
        lambda m: operand(
            m,
            index(m, "Store"),
            0,
            next(i.result for i in m.instructions if i.op == "Variable" and i.operands == ("Input",)),
        ),
        "not written",
    ),
    "store to a buffer that is not written": (_read_only, "NonWritable"),
    "access past the members": (
        lambda m: operand(
            m,
            index(m, "AccessChain"),
            1,
            next(i.result for i in m.instructions if i.op == "Constant" and i.operands == (23,)),
        ),
        "no member",
    ),
    "component past the vector": (lambda m: operand(m, index(m, "CompositeExtract"), 1, 3), "component 3 of 3"),
    "barrier that orders nothing": (
        lambda m: operand(m, index(m, "ControlBarrier"), 2, value(m, "ControlBarrier")),
        "workgroup memory is not ordered",
    ),
    "branch to a value": (lambda m: operand(m, index(m, "Branch"), 0, value(m, "FAdd")), "which is no block"),
    "branch on a number": (lambda m: operand(m, index(m, "BranchConditional"), 0, value(m, "IMul")), "not bool"),
    "no merge of a selection": (lambda m: drop(m, index(m, "SelectionMerge")), "no merge block"),
    "no merge of a loop": (lambda m: drop(m, index(m, "LoopMerge")), "has no OpLoopMerge"),
    "merge at the wrong block": (
        lambda m: operand(m, index(m, "LoopMerge"), 0, m.instructions[_second_label(m)].result),
        "dominate|way out|already",
    ),
    "continue target outside": (
        lambda m: operand(m, index(m, "LoopMerge"), 1, merge(m)),
        "continue",
    ),
    "two loops with one merge": (
        lambda m: operand(m, index(m, "LoopMerge", number=1), 0, merge(m)),
        "merge",
    ),
    "block without an end": (lambda m: drop(m, index(m, "Branch")), "no branch at its end"),
    "instruction between merge and branch": (
        lambda m: put(
            m, index(m, "SelectionMerge") + 1, Instruction("Line", m.instructions[index(m, "Line")].operands)
        ),
        "not followed",
    ),
    "code without a block": (
        lambda m: put(m, index(m, "FunctionEnd"), m.instructions[index(m, "Line")]),
        "outside a block",
    ),
    "block that nothing leads to": (_lonely_block, "nothing leads"),
    "use that is not dominated": (_later_value, "not always defined"),
    "variable in the middle": (
        lambda m: put(
            drop(m, index(m, "Variable", "Function")),
            index(m, "CompositeExtract"),
            m.instructions[index(m, "Variable", "Function")],
        ),
        "start of its first block",
    ),
    "variable that the entry point does not list": (
        lambda m: change(m, index(m, "EntryPoint"), operands=m.instructions[index(m, "EntryPoint")].operands[:-1]),
        "does not list",
    ),
    "two entry points": (
        lambda m: put(m, index(m, "EntryPoint"), m.instructions[index(m, "EntryPoint")]),
        "2 entry points",
    ),
    "no size of the workgroup": (lambda m: drop(m, size(m)), "0 LocalSize"),
    "workgroup too large": (lambda m: operand(m, size(m), 2, 256), "256 invocations"),
    "empty workgroup": (lambda m: operand(m, size(m), 2, 0), "three positive"),
    "too much workgroup memory": (
        lambda m: operand(m, _length(m), 0, 5000),
        "20000 bytes",
    ),
    "no capability": (lambda m: drop(m, index(m, "Capability")), "Shader is used and not declared"),
    "capability that is not used": (
        lambda m: drop(m, index(m, "ExecutionMode", None, "SignedZeroInfNanPreserve")),
        "declared and not used",
    ),
    "no binding": (lambda m: drop(m, index(m, "Decorate", None, "Binding")), "one DescriptorSet and one Binding"),
    "one binding twice": (lambda m: operand(m, index(m, "Decorate", None, "Binding", 1), 2, 0), "same set and binding"),
    "no block": (lambda m: drop(m, index(m, "Decorate", None, "Block")), "needs the decoration Block"),
    "no stride": (lambda m: drop(m, index(m, "Decorate", None, "ArrayStride")), r"ArrayStride \[\]"),
    "wrong stride": (lambda m: operand(m, index(m, "Decorate", None, "ArrayStride"), 2, 8), r"ArrayStride \[8\]"),
    "no offset": (lambda m: drop(m, index(m, "MemberDecorate", None, 1, "Offset")), "no Offset"),
    "push constants that overlap": (lambda m: operand(m, index(m, "MemberDecorate", None, 1, "Offset"), 3, 0), "not 4"),
    "input that is no builtin": (lambda m: drop(m, index(m, "Decorate", None, "BuiltIn")), "decoration BuiltIn"),
    "decoration of the wrong thing": (
        lambda m: operand(m, index(m, "Decorate", None, "NoContraction"), 0, value(m, "IAdd")),
        "NoContraction of",
    ),
    "decoration of no member": (
        lambda m: operand(m, index(m, "MemberDecorate", None, None, "NonWritable"), 1, 9),
        "no member 9",
    ),
}


def _length(m: Module) -> int:
    length = m.instructions[index(m, "TypeArray")].operands[1]
    return next(n for n, i in enumerate(m.instructions) if i.result == length)


def test_what_is_emitted_is_accepted(module: Module) -> None:
    assert check(module, LIMITS) == []


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_fault_is_named(module: Module, name: str) -> None:
    mutate, message = MUTANTS[name]
    mutant = mutate(module)
    assert mutant != module
    found = check(mutant, LIMITS)
    assert any(re.search(message, f.message) for f in found), found


def test_push_constants_beyond_what_every_device_has(module: Module) -> None:
    (finding,) = check(module, Limits(128, 16384, push_constant_bytes=12))
    assert finding.message == "16 bytes of push constants, and 12 are allowed"


@needs_validator
def test_nothing_is_accepted_that_spirv_val_refuses(module: Module, tmp_path: Path) -> None:
    """Random faults, with the validator's own judgement as the second opinion."""
    import subprocess

    rng = random.Random(20261122)
    ids = [i.result for i in module.instructions if i.result]
    accepted = 0
    for _ in range(400):
        n = rng.randrange(len(module.instructions))
        i = module.instructions[n]
        places = [k for k, kind in enumerate(i.kinds()) if kind in ("id", "int")]
        kind = rng.choice(("drop", "repeat", "operand", "operand"))
        if kind == "drop":
            mutant = drop(module, n)
        elif kind == "repeat" or not places:
            mutant = put(module, n, i)
        else:
            mutant = operand(module, n, rng.choice(places), rng.choice(ids))
        if check(mutant, LIMITS):
            continue
        accepted += 1
        (tmp_path / "m.spv").write_bytes(encode(mutant))
        command = [str(validator()), "--target-env", "vulkan1.2", str(tmp_path / "m.spv")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{kind} of {i}: {done.stdout}{done.stderr}"
    assert accepted
