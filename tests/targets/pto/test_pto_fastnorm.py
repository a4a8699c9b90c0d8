"""Every kernel of fastnorm on every architecture: text that two independent readers accept, and mutants they do not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pto_kernels as kernels
import pto_references as references
import pytest
from pto_kernels import Built

from tilebuild.oracle import judge
from tilebuild.oracle.readers.pto import read
from tilebuild.oracle.readers.pto_text import SyntaxProblem
from tilebuild.plan.model import Placed
from tilebuild.targets.pto.emit import emit
from tilebuild.targets.pto.verify import verify

GOLDEN = Path(__file__).parent / "golden"
NAMES = ("add", "scale", "gelu", "bias_gelu_residual", "matmul", "softmax", "softmax_online", "layernorm", "rmsnorm")
ALL = [(n, a) for a in kernels.ARCHITECTURES for n in NAMES]
_ALLOC = re.compile(r"^ *(%\d+) = pto\.alloc_tile addr = (%a\d+)(.*)$", re.MULTILINE)
_TYPE = re.compile(r"!(\w+)_(?:f32|i32)_")


def test_these_are_all_kernels() -> None:
    assert set(NAMES) == set(kernels.fastnorm("a2a3"))


@pytest.mark.parametrize(("name", "arch"), ALL)
def test_plans_and_text_are_proved(name: str, arch: str) -> None:
    built = kernels.fastnorm(arch)[name]
    assert verify(built.text, arch) == []
    for plan in (*built.plans, *read(built.text, f"{name}.pto")):
        report = judge(plan)
        assert report.outcome == "proved", [f.message for f in report.findings]


@pytest.mark.parametrize(("name", "arch"), ALL)
def test_the_reader_finds_what_the_plan_says(name: str, arch: str) -> None:
    """Instruction by instruction: operations, engines, places, and how often the grid is visited."""
    built = kernels.fastnorm(arch)[name]
    for plan, found in zip(built.plans, read(built.text, "k.pto")):
        assert [(i.op, i.engine) for i in found.instructions] == [(i.op, i.engine) for i in plan.instructions]
        places = [{b.id: b.storage for b in p.buffers if isinstance(b.storage, Placed)} for p in (plan, found)]
        for mine, theirs in zip(plan.instructions, found.instructions):
            for a, b in zip((*mine.reads, *mine.writes), (*theirs.reads, *theirs.writes)):
                assert places[0].get(a.buffer) == places[1].get(b.buffer)
        dims = {"M": 37, "N": 5000, "K": 300}
        sizes = [[e.evaluate(dims) for e in p.launch.grid] for p in (plan, found)]
        assert sizes[0] == sizes[1]


@pytest.mark.parametrize("name", ["softmax", "matmul"])
def test_golden(name: str) -> None:
    assert kernels.fastnorm("a2a3")[name].text == (GOLDEN / f"{name}.pto").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_emission_is_deterministic_and_lines_have_spans(name: str) -> None:
    built = kernels.fastnorm("a5")[name]
    assert emit(built.plans) == built.source
    lines = built.text.splitlines()
    assert len(lines) == len(built.source.spans)
    for line, span in zip(lines, built.source.spans):
        if line.lstrip().startswith("pto.t"):
            assert span is not None
            assert span.file.startswith("src/fastnorm/kernels/")


@pytest.mark.parametrize(("name", "arch"), ALL)
def test_tiles_share_bytes_only_as_whole_slots_of_the_vector_pipe(name: str, arch: str) -> None:
    for plan in kernels.fastnorm(arch)[name].plans:
        placed = {b.id: b.storage for b in plan.buffers if isinstance(b.storage, Placed)}
        engines: dict[str, set[str]] = {b: set() for b in placed}
        for instr in plan.instructions:
            for access in (*instr.reads, *instr.writes):
                if access.buffer in placed:
                    engines[access.buffer].add(instr.engine)
        for a, x in placed.items():
            for b, y in placed.items():
                meet = x.space == y.space and x.offset < y.offset + y.bytes and y.offset < x.offset + x.bytes
                if a < b and meet:
                    assert x.offset == y.offset
                    assert engines[a] == engines[b] == {"V"}


def test_gelu_would_not_fit_without_sharing() -> None:
    (plan,) = kernels.fastnorm("a2a3")["gelu"].plans
    assert sum(b.storage.bytes for b in plan.buffers if isinstance(b.storage, Placed)) > 2 * plan.spaces[0].capacity


# -- mutants ----------------------------------------------------------------------------------------


def rejected(text: str, arch: str) -> bool:
    """True if the verifier or the oracle has something against the text."""
    if verify(text, arch):
        return True
    try:
        return any(judge(plan).outcome != "proved" for plan in read(text, "mutant.pto"))
    except SyntaxProblem:
        return True


def primaries(text: str) -> list[re.Match[str]]:
    """The allocations of tiles that are written through them."""
    written = set(re.findall(r"outs\((%\d+) ", text))
    return [m for m in _ALLOC.finditer(text) if m[1] in written]


def moved_onto_another(text: str) -> Iterator[str]:
    """A tile at the address of another operand of an instruction that takes both."""
    parts = re.split(r"(?m)^(?=  func\.func)", text)
    for i, part in enumerate(parts):
        for mutant in _moved(part):
            yield "".join([*parts[:i], mutant, *parts[i + 1 :]])


def _moved(text: str) -> Iterator[str]:
    allocs = {m[1]: m for m in primaries(text)}
    for ins, out in re.findall(r"pto\.t\S+ ins\(([^:]*) :.*outs\((%\d+) ", text):
        for other in re.findall(r"%\d+", ins):
            a, b = allocs.get(out), allocs.get(other)
            if a and b and a[2] != b[2] and _TYPE.search(a[3])[1] == _TYPE.search(b[3])[1]:  # type: ignore[index]
                yield text[: a.start(2)] + b[2] + text[a.end(2) :]


def shifted(text: str, by: int) -> Iterator[str]:
    for m in primaries(text):
        address = int(m[2][2:])
        wanted = max(0, address + by) if address + by != address else address
        constant = f"    %shifted = arith.constant {wanted} : i64\n"
        at = text.index("    %c")
        changed = text[: m.start(2)] + "%shifted" + text[m.end(2) :]
        yield changed[:at] + constant + changed[at:]


def without_a_write(text: str) -> Iterator[str]:
    """A tile's first write dropped."""
    seen: set[str] = set()
    for m in re.finditer(r"^ *pto\.t(?!store)\S+ ins\(.*outs\((%\d+) .*\n", text, re.MULTILINE):
        if m[1] not in seen and "matmul" not in m[0]:
            yield text[: m.start()] + text[m.end() :]
        seen.add(m[1])


@pytest.mark.parametrize("name", [n for n in NAMES if n != "matmul"])
def test_a_tile_moved_onto_another_operand_is_rejected_or_right(name: str) -> None:
    """An update in place is a fault unless nothing reads the old value: the simulator tells."""
    text = kernels.fastnorm("a2a3")[name].text
    mutants = list(moved_onto_another(text))
    accepted = [m for m in mutants if not rejected(m, "a2a3")]
    assert len(accepted) <= len(mutants) // 3
    shape = (2, 1000) if name == "softmax" else (2, 4099)  # more than one tile, where the kernel takes it
    for mutant in accepted:
        found, expected = references.rows(mutant, f"{name}_0", name, shape)
        np.testing.assert_allclose(found, expected, rtol=3e-5, atol=3e-6)


def test_operands_of_a_product_on_one_another_are_rejected() -> None:
    text = kernels.fastnorm("a2a3")["matmul"].text
    second = next(m for m in _ALLOC.finditer(text) if m[2] == "%a65536")
    assert rejected(text[: second.start(2)] + "%a0" + text[second.end(2) :], "a2a3")


@pytest.mark.parametrize("name", NAMES)
def test_a_shifted_tile_is_rejected(name: str) -> None:
    text = kernels.fastnorm("a2a3")[name].text
    mutants = [m for by in (16, 190000 if "vec" in text else 520000) for m in shifted(text, by)]
    assert len(mutants) > 2
    assert [m for m in mutants if not rejected(m, "a2a3")] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_dropped_write_is_rejected(name: str) -> None:
    text = kernels.fastnorm("a2a3")[name].text
    mutants = list(without_a_write(text))
    assert len(mutants) > 1
    assert [m for m in mutants if not rejected(m, "a2a3")] == []


def built_text(built: Built, old: str, new: str) -> str:
    assert old in built.text
    return built.text.replace(old, new)


_ROWS = "v_row=?, v_col=?, blayout=row_major"
FAULTS = [
    ("matmul", "loc=left, dtype=f32", "loc=right, dtype=f32", "has the layout"),
    ("matmul", f"{_ROWS}, slayout=col_major", f"{_ROWS}, slayout=row_major", "layout"),
    ("matmul", "fractal=1024", "fractal=512", "layout"),
    ("matmul", f"cols=128, {_ROWS}, slayout=row_major", f"cols=120, {_ROWS}, slayout=row_major", "multiplies"),
    ("softmax", "blayout=col_major", "blayout=row_major", "no multiple of 32 bytes"),
    ("softmax", "loc=vec", "loc=mat", "layout"),
    ("softmax", "dtype=f32", "dtype=i32", "moves f32 and a tile of i32"),
    ("softmax", "pto.section.vector", "pto.section.cube", "stands in a cube section"),
    ("softmax", "pto.texp ", "pto.ttanh ", "no operation of"),
    ("softmax", "rows=4, cols=1024", "rows=64, cols=1024", "ends at byte"),
    ("softmax", ' = "a3"', ' = "a5"', 'the module is for "a5"'),
    ("softmax", "%a32768 = arith.constant 32768 : i64", "%a32768 = arith.constant -32 : i64", "ends at byte"),
    ("softmax", "    %c1 = arith.constant 1 : index\n", "", "%c1 is not defined here"),
    ("softmax", " valid_col = %8", "", "lacks valid_col"),
    ("softmax", "addr = %a0 ", "", "has no constant address"),
    ("softmax", "%9 = pto.alloc_tile", "%8 = pto.alloc_tile", "%8 is defined twice"),
    ("add", "rows=4, cols=1024", "rows=4, cols=1022", "no multiple of 32 bytes"),
    ("add", "    return", "    }", "closes nothing"),
]


@pytest.mark.parametrize(("name", "old", "new", "says"), FAULTS)
def test_what_breaks_a_rule_of_the_dialect(name: str, old: str, new: str, says: str) -> None:
    built = kernels.fastnorm("a2a3")[name]
    found = verify(built_text(built, old, new), "a2a3", "k.pto")
    assert any(says in d.message for d in found), [d.message for d in found]
    assert all(d.code == "E405" and d.span is not None and d.span.line >= 1 for d in found)


def test_a_reduction_over_its_own_operand_is_rejected() -> None:
    built = kernels.fastnorm("a2a3")["softmax"]
    allocs = {m[1]: m for m in _ALLOC.finditer(built.text)}
    m = re.search(r"pto\.trowsum ins\((%\d+), .*outs\((%\d+) ", built.text)
    assert m is not None
    target = allocs[m[2]]
    text = built.text[: target.start(2)] + allocs[m[1]][2] + built.text[target.end(2) :]
    assert any("writes over its operand 0" in d.message for d in verify(text, "a2a3"))
