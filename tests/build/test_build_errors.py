"""What a build says when it fails: the code, the Python line, the compiler's or the oracle's own words."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
import small_project
from small_project import ADD, Project

from tilebuild.build import configure, driver
from tilebuild.diagnostics import TilebuildError
from tilebuild.plan.model import Access, Buffer, Instr, Placed, Plan
from tilebuild.targets import api
from tilebuild.targets.api import Source
from tilebuild.targets.cpu.target import Cpu

TWO = """import tilebuild as tb

M, N = tb.dims("M N")


@tb.kernel
def normalised(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N], *, BM: tb.Const = 4, BN: tb.Const = 64):
    tb.require(N <= 64)
    i = tb.program(tb.cdiv(M, BM))
    e = tb.exp(x.tiles(BM, BN)[i, 0])
    total = e.sum(1)
    y.tiles(BM, BN)[i, 0] = e / total
"""


def failure(project: Project) -> TilebuildError:
    with pytest.raises(TilebuildError) as caught:
        project.build()
    return caught.value


def codes(error: TilebuildError) -> set[str]:
    return {d.code for d in error.diagnostics}


@pytest.fixture
def project_of(tmp_path: Path, gcc: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Project]:
    def make(files: Mapping[str, str], options: Mapping[str, object] | None = None) -> Project:
        made = small_project.make(tmp_path, files, options)
        monkeypatch.setenv("PATH", f"{made.bin}{os.pathsep}{os.environ['PATH']}")
        return made

    return make


# -- packages ---------------------------------------------------------------------------------------------------------


def test_no_kernel(project_of: Callable[..., Project]) -> None:
    error = failure(project_of({"plain.py": "answer = 42\n"}))
    assert codes(error) == {"E710"}
    assert "[tool.tilebuild]" in str(error)


def test_two_packages(project_of: Callable[..., Project]) -> None:
    project = project_of({"adding.py": ADD})
    other = project.root / "src" / "other"
    other.mkdir()
    (other / "__init__.py").write_text(ADD)
    error = failure(project)
    assert codes(error) == {"E711"}
    assert "other, pkg" in str(error)


def test_a_module_outside_any_package(project_of: Callable[..., Project]) -> None:
    project = project_of({})
    (project.root / "src" / "loose.py").write_text(ADD)
    error = failure(project)
    assert codes(error) == {"E712"}
    assert error.diagnostics[0].span is not None
    assert error.diagnostics[0].span.file == "src/loose.py"


def test_names_that_would_collide_do_not(project_of: Callable[..., Project]) -> None:
    """`a_b.c` and `a.b_c`; `Add` and `add` where a file system ignores case; kernels called like support files."""
    files = {
        "a_b.py": ADD.replace("def add", "def c"),
        "a.py": ADD.replace("def add", "def b_c").replace("+ 1.0", "+ 2.0"),
        "cases.py": ADD + ADD[ADD.index("@tb") :].replace("def add", "def Add"),
    }
    project = project_of(files)
    package = project.root / "src" / "pkg" / "__init__.py"
    package.write_text(ADD.replace("def add", "def arena") + ADD[ADD.index("@tb") :].replace("def add", "def dispatch"))
    built = project.build()
    entries = [b["entry"] for k in built.manifest["kernels"] for v in k["variants"] for b in v["builds"]]
    assert len({e.casefold() for e in entries}) == len(entries) == 6


# -- targets ----------------------------------------------------------------------------------------------------------


def test_a_dtype_that_the_target_lacks(project_of: Callable[..., Project]) -> None:
    text = ADD.replace("y: tb.Out[tb.f32, N]", "y: tb.Out[tb.f32, N], s: tb.f16").replace("+ 1.0", "+ s.to(tb.f32)")
    error = failure(project_of({"adding.py": text}))
    assert codes(error) == {"E402"}
    assert "f32, i32, u32" in str(error)


def test_another_architecture(project_of: Callable[..., Project]) -> None:
    other = "aarch64" if os.uname().machine == "x86_64" else "x86-64"
    error = failure(project_of({"adding.py": ADD}, {"targets": [f"cpu:{other}"]}))
    assert codes(error) == {"E502"}  # the project asks for gcc
    assert "makes code for the machine that it runs on" in str(error)


def test_no_variant_for_the_target(project_of: Callable[..., Project]) -> None:
    text = ADD.replace("@tb.kernel", '@tb.kernel(variants=[tb.V(BN=64, target="gpu:sm_80")])')
    error = failure(project_of({"adding.py": text}))
    assert codes(error) == {"E404"}
    assert "adding.py:7" in str(error)


def test_too_large_a_tile(project_of: Callable[..., Project]) -> None:
    error = failure(
        project_of({"two.py": TWO.replace("BM: tb.Const = 4", "BM: tb.Const = 4096").replace("= 64)", "= 512)")})
    )
    assert codes(error) == {"E401"}
    assert "1048576" in str(error)


# -- compilers --------------------------------------------------------------------------------------------------------


def test_a_failing_compiler(project: Project) -> None:
    """Its own words, and the Python line that a line of the generated text stands for."""
    project.build()
    (generated,) = project.folder.glob("cpu-*/kernels_adding_add.c")
    number = next(n for n, line in enumerate(generated.read_text().splitlines(), 1) if "tb_add_f32" in line)
    words = f"cpu-x86-64/kernels_adding_add.c:{number}:5: error: no adder today"
    project.compiler(f"case \"$*\" in *adding_add_v2.o*) echo '{words}' >&2; exit 3;; esac")
    (project.folder / "complete.json").unlink()
    shutil.rmtree(generated.parent)
    error = failure(project)
    (diagnostic,) = error.diagnostics
    assert diagnostic.code == "E720"
    assert "no adder today" in str(error)
    assert "adding.py:9" in str(error)
    assert "x.tiles(BN)[j] + 1.0" in str(error)
    assert "command: " in str(error)
    # the others were compiled, and the next build does the rest
    assert "kernels_summing_half_v2.o" in project.compiled()
    project.compiler("")
    project.build()
    assert "kernels.so" in project.compiled()


class BadC(Cpu):
    """A bug between plan and C: one line that does not compile."""

    def emit(self, plans: Sequence[Plan]) -> Mapping[str, Source]:
        source = super().emit(plans)[".c"]
        lines = source.text.splitlines()
        at = next(n for n, line in enumerate(lines) if "tb_store" in line)
        lines[at] = lines[at].replace("tb_store", "no_such_type no_such_store")
        return {".c": Source("\n".join(lines) + "\n", source.spans)}


@pytest.fixture
def with_target(monkeypatch: pytest.MonkeyPatch) -> Callable[[Cpu], None]:
    def use(target: Cpu) -> None:
        monkeypatch.setattr(api, "installed", lambda: {"cpu": target})

    return use


def test_generated_text_that_does_not_compile(
    project_of: Callable[..., Project], with_target: Callable[[Cpu], None]
) -> None:
    project = project_of({"adding.py": ADD})
    with_target(BadC())
    error = failure(project)
    assert codes(error) == {"E720"}
    assert "no_such_store" in str(error)
    assert "adding.py:9" in str(error)


def test_no_ninja(project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = shutil.which("gcc", path="/usr/bin:/usr/local/bin")
    if real is None:
        pytest.skip("gcc is not in a usual place")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "basename", "as", "ld", "uname"):
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    monkeypatch.setenv("PATH", f"{project.bin}{os.pathsep}{tools}")
    monkeypatch.setattr("sys.executable", str(tmp_path / "elsewhere" / "python"))
    error = failure(project)
    assert codes(error) == {"E721"}
    assert "pip install ninja" in str(error)
    assert any(r.startswith("ninja") for r in driver.requirements(project.root, driver_config(project)))


def driver_config(project: Project) -> object:
    from tilebuild.build import configure

    return configure(project.root)


# -- a planner that is wrong ------------------------------------------------------------------------------------------


class Faulty(Cpu):
    """The cpu target with a fault between planner and oracle."""

    def __init__(self, fault: Callable[[Plan], Plan]) -> None:
        self.fault = fault

    def place(self, plan: Plan) -> Plan:
        return self.fault(super().place(plan))


def _moved(plan: Plan, storage: Callable[[Placed], Placed]) -> Plan:
    """Every buffer in the arena put elsewhere."""

    def move(b: Buffer) -> Buffer:
        return dataclasses.replace(b, storage=storage(b.storage)) if isinstance(b.storage, Placed) else b

    return dataclasses.replace(plan, buffers=tuple(map(move, plan.buffers)))


def overlapping(plan: Plan) -> Plan:
    return _moved(plan, lambda s: dataclasses.replace(s, offset=0))


def overflowing(plan: Plan) -> Plan:
    return _moved(plan, lambda s: dataclasses.replace(s, offset=s.offset + (1 << 20)))


def unwritten(plan: Plan) -> Plan:
    """The instruction that writes the row sums is lost."""
    kept = [i for i in plan.instructions if i.op != "sum"]
    return dataclasses.replace(plan, instructions=tuple(dataclasses.replace(i, id=n) for n, i in enumerate(kept)))


def too_wide(plan: Plan) -> Plan:
    """The store no longer ends where the array ends."""

    def widen(i: Instr) -> Instr:
        if i.op != "store":
            return i
        (a,) = i.writes
        return dataclasses.replace(i, writes=(Access(a.buffer, a.rows, a.cols, (a.rows.size, a.cols.size)),))

    return dataclasses.replace(plan, instructions=tuple(map(widen, plan.instructions)))


@pytest.mark.parametrize(
    ("fault", "family", "words"),
    [
        (overlapping, "O-ALIAS", "is live"),
        (overflowing, "O-CAP", "1048576"),
        (unwritten, "O-USE", "nothing"),
        (too_wide, "O-OPER", "of M"),
    ],
)
def test_a_planted_fault_fails_the_build(
    project_of: Callable[..., Project], with_target: Callable[[Cpu], None],
    fault: Callable[[Plan], Plan], family: str, words: str,
) -> None:  # fmt: skip
    project = project_of({"two.py": TWO})
    with_target(Faulty(fault))
    error = failure(project)
    found = [d for d in error.diagnostics if d.code.startswith(family)]
    assert found, str(error)
    assert any(words in d.message for d in found), str(error)
    assert any(d.span is not None and d.span.file.endswith("two.py") and d.fix for d in found), str(error)
    assert error.exit_code == 1
    assert project.compiled() == []  # judged before any compiler runs
    with_target(Cpu())
    project.build()  # nothing of the faulty build is kept as good
    assert "kernels.so" in project.compiled()


def test_a_waived_fault_is_printed_until_its_waiver_ends(
    project_of: Callable[..., Project], with_target: Callable[[Cpu], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = project_of({"two.py": TWO})
    file = project.root / "pyproject.toml"
    waiver = '[[tool.tilebuild.oracle.waivers]]\nfinding = "{}"\nreason = "{}"\nexpires = 2026-05-01\n'
    waivers = waiver.format("O-CAP-01", "larger caches are coming") + waiver.format("O-SYNC-09", "never found")
    file.write_text(file.read_text() + waivers)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1777593600")  # 2026-05-01
    with_target(Faulty(overflowing))
    lines: list[str] = []
    built = driver.build_kernels(project.root, configure(project.root), log=lines.append)
    said = "\n".join(lines)
    assert "waived[O-CAP-01]" in said
    assert "waived until 2026-05-01: larger caches are coming" in said
    assert 'warning[E607]: the waiver of O-SYNC-09 ("never found", until 2026-05-01) is not used' in said
    assert "the waiver of O-CAP-01" not in said
    verdicts = [b["verdict"] for k in built.manifest["kernels"] for v in k["variants"] for b in v["builds"]]
    assert "violated" in {v["outcome"] for v in verdicts}  # a waiver changes no verdict
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1777680000")  # the day after: what is kept does not count
    assert 'the waiver of O-CAP-01 ("larger caches are coming", until 2026-05-01) has expired' in str(failure(project))
