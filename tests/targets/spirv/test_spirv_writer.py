"""Modules as bytes and as text, and the builder."""

from __future__ import annotations

import math
import struct
import subprocess
from pathlib import Path
from shutil import which

import pytest
from spirv_package import FASTNORM, SMALL, kernels, plans

from tilebuild.diagnostics import Span
from tilebuild.targets.spirv import text
from tilebuild.targets.spirv.builder import Builder
from tilebuild.targets.spirv.emit import emit
from tilebuild.targets.spirv.grammar import BY_NUMBER, OPCODES
from tilebuild.targets.spirv.module import Instruction, Module, ModuleError, decode, encode
from tilebuild.targets.spirv.target import Spirv


def rmsnorm() -> Module:
    kernel = next(k for k in kernels(FASTNORM) if k.name == "rmsnorm")
    _, plan = next(plans(kernel, Spirv(SMALL)))
    return emit(plan, keep_nan=True)[0]


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


HEADER = (0x07230203, 0x00010500, 0, 10, 0)


def test_opcodes_have_numbers_of_their_own() -> None:
    assert len(BY_NUMBER) == len(OPCODES)


def test_bytes_of_known_instructions() -> None:
    module = Module(
        10,
        (
            Instruction("Capability", ("Shader",)),
            Instruction("MemoryModel", ("Logical", "GLSL450")),
            Instruction("TypeFloat", (32,), 0, 1),
            Instruction("Constant", (0x3F800000,), 1, 2),
            Instruction("Name", (2, "one")),
            Instruction("FAdd", (2, 2), 1, 3),
        ),
    )
    # the numbers are those of the specification's tables
    body = (
        0x20011,
        1,
        0x3000E,
        0,
        1,
        0x30016,
        1,
        32,
        0x4002B,
        1,
        2,
        0x3F800000,
        0x30005,
        2,
        0x00656E6F,
        0x50081,
        1,
        3,
        2,
        2,
    )
    assert encode(module) == words(*HEADER, *body)


def test_a_module_survives_bytes_and_text() -> None:
    module = rmsnorm()
    assert decode(encode(module)) == module
    assert text.parse(text.join(text.listing(module))) == module


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "0 bytes"),
        (words(*HEADER)[:-1], "19 bytes"),
        (words(1, *HEADER[1:]), "first word"),
        (words(*HEADER[:4], 1), "schema"),
        (words(*HEADER, 0x00000011), "0 words"),
        (words(*HEADER, 0x00030011, 1), "3 words in a module of 7"),
        (words(*HEADER, 0x0001FFFF), "opcode 65535"),
        (words(*HEADER, 0x00020011, 9), "no known Capability"),
        (words(*HEADER, 0x00010011), "too short"),
        (words(*HEADER, 0x00030011, 1, 1), "1 words too many"),
        (words(*HEADER, 0x0003000B, 1, 0x41414141), "without an end"),
        (words(*HEADER, 0x0003000B, 1, 0x000000FF), "not UTF-8"),
    ],
)
def test_bytes_that_are_no_module(data: bytes, message: str) -> None:
    with pytest.raises(ModuleError, match=message):
        decode(data)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("OpNothing", "no known instruction"),
        ("%1 = OpReturn", "has no result"),
        ("OpTypeVoid", "needs result"),
        ("OpCapability Kernel", "no known Capability"),
        ("OpBranch 5", "5 is no id"),
        ("OpBranch %5 %6", "2 operands, and takes 1"),
        ("OpDecorate %5 Binding", "2 operands, and takes 3"),
        ('%1 = OpString "a" "b"', "2 operands"),
    ],
)
def test_lines_that_are_no_instruction(line: str, message: str) -> None:
    with pytest.raises(ModuleError, match=f"line 2: .*{message}"):
        text.parse(f"; SPIR-V\n{line}\n")


@pytest.mark.parametrize("value", [0.0, -0.0, 1.5, -1e-45, 3.4e38, math.inf, -math.inf, math.pi])
def test_floats_in_text_are_exact(value: float) -> None:
    bits = text.float_word(value)
    assert text.float_bits(text.float_text(bits)) == bits


def test_a_nan_keeps_its_bits_and_too_large_a_number_is_infinite() -> None:
    assert text.float_bits(text.float_text(0x7FC12345)) == 0x7FC12344 | 1
    assert text.float_word(1e39) == 0x7F800000
    assert text.float_word(-1e39) == 0xFF800000


def test_strings_with_quotes_survive() -> None:
    module = Module(2, (Instruction("String", ('a "b" \\ c',), 0, 1),))
    assert text.parse(text.join(text.listing(module))) == module


def test_types_and_constants_are_made_once() -> None:
    b = Builder()
    assert b.f(1.0) == b.f(1.0) != b.f(2.0)
    assert b.i(1) != b.constant(b.uint_t(), 1)
    assert b.i(-1) == b.constant(b.int_t(), 0xFFFFFFFF)
    assert b.struct(b.int_t()) != b.struct(b.int_t())


def test_every_instruction_knows_its_line() -> None:
    b = Builder()
    first, second = Span("a.py", 3, 4), Span("b.py", 9, 0)
    with b.function():
        b.place(first)
        x = b.exact("FAdd", b.f(1.0), b.f(2.0))
        with b.when(b.boolean(True)):
            b.exact("FMul", x, x)
        b.place(second)
        b.exact("FSub", x, x)
    module, spans = b.finish()
    lines = [i.operands[1:] for i in module.instructions if i.op == "Line"]
    # one for the first line, again in each block, then the second line
    assert lines == [(3, 5), (3, 5), (9, 1)]
    found = {i.op: s for i, s in zip(module.instructions, spans) if i.op in ("FAdd", "FMul", "FSub")}
    assert found == {"FAdd": first, "FMul": first, "FSub": second}
    assert len(spans) == len(module.instructions)


@pytest.mark.skipif(
    which("spirv-as") is None, reason="spirv-as is not installed; Debian, Ubuntu: apt-get install spirv-tools"
)
def test_spirv_as_makes_the_same_words_of_the_listing(tmp_path: Path) -> None:
    module = rmsnorm()
    (tmp_path / "m.spvasm").write_text(text.join(text.listing(module)))
    subprocess.run(
        ["spirv-as", "--target-env", "spv1.5", "--preserve-numeric-ids", "m.spvasm", "-o", "m.spv"],
        cwd=tmp_path,
        check=True,
    )
    theirs, ours = (tmp_path / "m.spv").read_bytes(), encode(module)
    assert theirs[:8] + theirs[12:] == ours[:8] + ours[12:]  # the third word is the generator's number
