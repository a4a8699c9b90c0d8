"""Builds where things go wrong around them: compilers that move, clocks, kills, disks, damaged caches."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import small_project
from small_project import Project

from tilebuild.build import configure, ninja
from tilebuild.build.driver import build_kernels
from tilebuild.diagnostics import TilebuildError, no_room


def contents(project: Project) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in project.build().files.items()}


@pytest.fixture
def expected(project: Project, tmp_path: Path) -> dict[str, bytes]:
    """What a build that nothing disturbs makes of the same sources."""
    found = contents(small_project.make(tmp_path / "undisturbed"))
    project.compiled()
    return found


def test_a_compiler_at_another_place_compiles_nothing_again(
    built: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in isolated builds, where the compiler from the package index has another path each time."""
    moved = tmp_path / "nib"  # a name as long as the other: a script has its size and time for identity
    built.bin.rename(moved)
    monkeypatch.setenv("PATH", f"{moved}{os.pathsep}{os.environ['PATH']}")
    there = Project(built.root, moved)
    script = (moved / "gcc").read_text()
    (built.kernels / "summing.py").write_text(small_project.SUM.replace("* 0.5", "* 0.25"))
    stamp = (moved / "gcc").stat()
    (moved / "gcc").write_text(script.replace(str(built.bin), str(moved)))
    os.utime(moved / "gcc", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    there.build()
    assert there.compiled() == ["kernels.so", "kernels_summing_half_v2.o"]
    assert str(built.bin) not in (built.folder / "build.ninja").read_text()


def test_another_ninja_in_turn_compiles_only_what_changed(
    built: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each version has its own records; a Ninja throws away those in a format that it does not know."""
    other = tmp_path / "other"
    other.mkdir()
    script = f'#!/bin/sh\nif [ "$1" = --version ]; then echo 9.9.1; else exec {ninja.executable()} "$@"; fi\n'
    (other / "ninja").write_text(script)
    (other / "ninja").chmod(0o755)
    path = os.environ["PATH"]
    monkeypatch.setenv("PATH", f"{other}{os.pathsep}{path}")
    (built.folder / "complete.json").unlink()
    built.build()  # the first time, it knows nothing
    built.compiled()
    (built.kernels / "summing.py").write_text(small_project.SUM.replace("* 0.5", "* 0.25"))
    built.build()
    assert built.compiled() == ["kernels.so", "kernels_summing_half_v2.o"]
    monkeypatch.setenv("PATH", path)
    (built.folder / "complete.json").unlink()
    built.build()
    assert set(built.compiled()) <= {"kernels.so", "kernels_summing_half_v2.o"}
    assert sorted(p.name for p in built.folder.glob("ninja-*"))[-1] == "ninja-9.9"


def test_a_clock_set_back_serves_nothing_stale(built: Project) -> None:
    """The edit is older, by its time stamp, than everything that was built before it."""
    future = time.time() + 86400
    for path in built.folder.rglob("*"):
        if path.is_file():
            os.utime(path, (future, future))
    (built.kernels / "summing.py").write_text(small_project.SUM.replace("* 0.5", "* 0.25"))
    changed = contents(built)
    fresh = small_project.make(built.root.parent / "fresh")
    (fresh.kernels / "summing.py").write_text(small_project.SUM.replace("* 0.5", "* 0.25"))
    assert changed == contents(fresh)


def test_a_build_killed_between_compiling_and_linking_links_whatever_the_clock_says(
    built: Project, expected: dict[str, bytes]
) -> None:
    text = small_project.SUM
    (built.kernels / "summing.py").write_text(text.replace("* 0.5", "* 0.25"))
    built.compiler('case "$name" in *.so) exit 9;; esac')
    with pytest.raises(TilebuildError):
        built.build()
    (library,) = built.folder.glob("cpu-*/kernels.so")
    future = time.time() + 86400
    os.utime(library, (future, future))
    built.compiler("")
    built.compiled()
    built.build()
    assert "kernels.so" in built.compiled()
    (built.kernels / "summing.py").write_text(text)
    assert contents(built) == expected


@pytest.mark.slow
def test_a_build_killed_at_any_moment_is_whole_after_the_next(project: Project, expected: dict[str, bytes]) -> None:
    """Killed with everything that it started, at random moments of a build and of those that resume it."""
    start = time.monotonic()
    subprocess.run(project.command(), stdout=subprocess.DEVNULL, check=True)
    whole = time.monotonic() - start
    moments = random.Random(7)
    for _ in range(12):
        if moments.random() < 0.5:
            shutil.rmtree(project.folder)
        child = subprocess.Popen(project.command(), stdout=subprocess.DEVNULL, start_new_session=True)
        time.sleep(moments.uniform(0, whole))
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        if moments.random() < 0.5:
            assert contents(project) == expected
    assert contents(project) == expected


LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
import os
os.chdir(sys.argv[2])
from pathlib import Path
from tilebuild.build import configure, ninja
from tilebuild.build.driver import build_kernels
from tilebuild.diagnostics import TilebuildError, no_room
try:
    build_kernels(Path.cwd(), configure(Path.cwd()), log=lambda line: None)
except TilebuildError as error:
    sys.exit(str(error))
except OSError as error:
    sys.exit(str(no_room(error)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("room", [0, 100, 2_000, 8_000])
def test_no_room_to_write_is_said_and_leaves_nothing_half_written(
    project: Project, expected: dict[str, bytes], room: int
) -> None:
    """Files may have `room` bytes: sooner or later every kind of file that a build writes does not fit."""
    command = [sys.executable, "-c", LIMITED, str(room), str(project.root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "error[E7" in done.stderr
    assert "too large" in done.stderr.lower() or "E720" in done.stderr
    assert contents(project) == expected


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="needs root and mount, for a small tmpfs")
def test_a_disk_that_is_full(project: Project, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    project.folder.mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24k", "tmpfs", project.folder], check=False).returncode:
        pytest.skip("may not mount a tmpfs here")
    try:
        with pytest.raises((TilebuildError, OSError)) as caught:
            project.build()
        told = caught.value if isinstance(caught.value, TilebuildError) else no_room(caught.value)
        assert told is not None
        assert "No space left on device" in str(told)
        assert "free some space" in str(told)
        subprocess.run(["mount", "-o", "remount,size=64m", project.folder], check=True)
        assert contents(project) == expected
    finally:
        subprocess.run(["umount", project.folder], check=True)


@pytest.mark.slow
def test_any_file_of_a_kept_build_may_lose_bits(built: Project, expected: dict[str, bytes]) -> None:
    """One bit of every file in turn; the times stay. What is damaged is made again or was of no consequence."""
    files = sorted(p for p in built.folder.rglob("*") if p.is_file() and p.stat().st_size)
    bits = random.Random(11)
    for number, path in enumerate(files):
        if not path.is_file():  # a record that was replaced by one of another name
            continue
        times = path.stat()
        data = bytearray(path.read_bytes())
        data[bits.randrange(len(data))] ^= 1 << bits.randrange(8)
        path.write_bytes(bytes(data))
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        if number % 2:
            (built.folder / "complete.json").unlink(missing_ok=True)
        assert contents(built) == expected, path


def test_a_source_tree_that_cannot_be_written_to(project: Project, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere: run as another user")
    project.root.chmod(0o555)
    try:
        with pytest.raises(OSError, match="Permission denied") as caught:
            project.build()
        assert "build-dir" in str(no_room(caught.value))
        elsewhere = configure(project.root, {"tilebuild.build-dir": str(tmp_path / "builds")})
        assert build_kernels(project.root, elsewhere, log=lambda _: None).files
    finally:
        project.root.chmod(0o755)
