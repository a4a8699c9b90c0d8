"""What a second build does again, and what it leaves alone."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import small_project
from small_project import ADD, Project

from tilebuild.build import configure, driver
from tilebuild.diagnostics import TilebuildError

ALL = ["arena.o", "dispatch.o", "kernels.so", "kernels_adding_add_v2.o", "kernels_summing_half_v2.o",
       "kernels_summing_total_v2.o"]  # fmt: skip


def contents(build: dict[str, Path]) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in build.items()}


def test_a_first_build_compiles_everything_once(project: Project) -> None:
    project.build()
    assert project.compiled() == ALL


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="names the level v2")
def test_a_second_build_starts_no_compiler_and_imports_no_ir_library(built: Project) -> None:
    child = built.start()
    output, errors = child.communicate()
    assert child.returncode == 0, errors
    modules = output.splitlines()[-1].split()
    assert "tilebuild.build.driver" in modules
    assert [m for m in modules if m.split(".")[0] in ("xdsl", "numpy")] == []
    assert [m for m in modules if m.startswith(("tilebuild.ir", "tilebuild.oracle.checks"))] == []
    assert "up to date" in output
    assert built.compiled() == []


def test_an_edited_kernel_recompiles_the_kernels_of_its_file(built: Project) -> None:
    text = small_project.SUM.replace("* 0.5", "* 0.25").replace("s += x", "s += 2.0 * x")
    (built.kernels / "summing.py").write_text(text)
    built.build()
    assert built.compiled() == ["kernels.so", "kernels_summing_half_v2.o", "kernels_summing_total_v2.o"]


def test_of_a_file_only_the_kernel_that_changed_is_compiled(built: Project) -> None:
    (built.kernels / "summing.py").write_text(small_project.SUM.replace("* 0.5", "* 0.25"))
    built.build()
    assert built.compiled() == ["kernels.so", "kernels_summing_half_v2.o"]


def test_a_comment_moves_lines_and_compiles_nothing(built: Project) -> None:
    (built.kernels / "adding.py").write_text("# a comment\n\n" + ADD)
    again = built.build()
    assert built.compiled() == []
    (kernel,) = [k for k in again.manifest["kernels"] if k["name"] == "add"]
    assert kernel["line"] == 9
    plan = next(p for n, p in again.files.items() if "adding_add" in n)
    assert "adding.py" in gzip.decompress(plan.read_bytes()).decode()


def test_a_removed_kernel_leaves_the_wheel(built: Project) -> None:
    (built.kernels / "adding.py").unlink()
    again = built.build()
    assert [k["name"] for k in again.manifest["kernels"]] == ["total", "half"]
    assert not [name for name in again.files if "adding" in name]


def test_a_changed_option_is_seen(built: Project) -> None:
    path = built.root / "pyproject.toml"
    path.write_text(path.read_text().replace('["v2"]', '["v2", "v3"]'))
    built.build()
    assert "kernels_adding_add_v3.o" in built.compiled()


def test_a_kept_build_serves_where_its_compiler_is_not(built: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an isolated build, whose compiler comes from the package index: what has nothing to do downloads none."""
    want = contents(dict(built.build().files))
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr("tilebuild.toolchain.search.importlib.util.find_spec", lambda name: None)
    assert driver.requirements(built.root, configure(built.root)) == []
    assert contents(dict(built.build().files)) == want
    (built.kernels / "adding.py").write_text(ADD.replace("1.0", "2.0"))
    assert driver.requirements(built.root, configure(built.root)) != []
    with pytest.raises(TilebuildError, match="E501"):
        built.build()


def test_an_upgraded_compiler_recompiles_everything(built: Project) -> None:
    time.sleep(0.01)
    built.compiler("# a new version")
    built.build()
    assert built.compiled() == ALL


@pytest.mark.parametrize("damage", [b"", b"{", b"\0" * 100, None], ids=["emptied", "cut off", "zeroed", "one byte"])
@pytest.mark.parametrize("name", ["complete.json", "made.json", "records/cpu-*/kernels_adding_add.json"])
def test_a_damaged_record_is_made_again(built: Project, name: str, damage: bytes | None) -> None:
    want = contents(dict(built.build().files))
    (path,) = built.folder.glob(name)
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data) if damage is None else damage)
    if name != "complete.json":
        (built.folder / "complete.json").unlink()
    assert contents(dict(built.build().files)) == want
    assert path.read_bytes() not in (damage, bytes(data))


@pytest.mark.parametrize("name", ["kernels_adding_add_v2.o", "kernels.so"])
@pytest.mark.parametrize("keep_time", [True, False], ids=["same time", "newer"])
def test_a_damaged_output_is_made_again(built: Project, name: str, keep_time: bool) -> None:
    want = contents(dict(built.build().files))
    (path,) = built.folder.glob(f"cpu-*/{name}")
    times = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    if keep_time:
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    (built.folder / "complete.json").unlink()
    assert contents(dict(built.build().files)) == want
    assert name in built.compiled()


def test_a_damaged_staged_file_is_staged_again(built: Project) -> None:
    first = built.build()
    want = contents(dict(first.files))
    for path in first.files.values():
        path.write_bytes(b"damaged")
    assert contents(dict(built.build().files)) == want
    assert built.compiled() == []


def test_a_killed_build_resumes(project: Project) -> None:
    """Killed while the second compiler runs, with everything that it started."""
    started = project.bin / "started"
    project.compiler(f"echo >> '{started}'; if [ $(wc -l < '{started}') -gt 2 ]; then sleep 60; fi")
    child = subprocess.Popen(project.command(), stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (started.exists() and len(started.read_text()) > 3):
        time.sleep(0.05)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    assert not (project.folder / "complete.json").exists()
    project.compiled()
    project.compiler("")
    (cut_off,) = project.folder.glob("cpu-*/kernels_adding_add.c")
    cut_off.write_text("half a fi")
    want = contents(dict(small_project.make(project.root.parent / "other").build().files))
    assert contents(dict(project.build().files)) == want


def test_two_builds_at_once(project: Project) -> None:
    children = [project.start() for _ in range(2)]
    for child in children:
        _, errors = child.communicate()
        assert child.returncode == 0, errors
    assert project.compiled() == ALL  # the second one waited, and had nothing to do
