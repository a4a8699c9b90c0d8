"""The thread pool of kernel libraries: every part once, whoever calls it, and after a fork; the sanitizer agrees."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from tilebuild.targets.cpu import fit

POOL = Path(fit.__file__).with_name("pool.c")
ENTRY = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
# parts of very different length, from several threads of the program at once
RACES = r"""
#include <stdatomic.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include "pool.c"

static void entry(const int64_t *slots, int64_t part, int64_t parts)
{
    int64_t *counts = (int64_t *)slots[0];
    volatile int64_t spin = part % 7 == 0 ? 20000 : 10;
    while (spin-- > 0) { }
    for (int64_t i = 100 * part / parts; i < 100 * (part + 1) / parts; i++) counts[i]++;
}

static void *calls(void *unused)
{
    int64_t counts[100] = {0}, slots[1] = {(int64_t)counts};
    for (int i = 0; i < 200; i++) tilebuild_run(entry, slots, 32, 1 + i % 5);
    for (int i = 0; i < 100; i++) if (counts[i] != 200) { printf("%d: %ld\n", i, (long)counts[i]); exit(1); }
    return unused;
}

int main(void)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], 0, calls, 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], 0);
    puts("as it should be");
    return 0;
}
"""


def compiler() -> str:
    path = shutil.which("gcc") or shutil.which("clang")
    if path is None:
        pytest.skip("there is no C compiler; Debian, Ubuntu: apt-get install gcc libc6-dev")
    return path


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("pool") / "pool.so"
    flags = ("-std=c11", "-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror", "-pthread")
    subprocess.run([compiler(), *flags, str(POOL), "-o", str(library)], check=True)
    return library


def parts_of(library: Path, parts: int, threads: int) -> Counter[tuple[int, int]]:
    """How often each (part, parts) ran in one launch."""
    ran: Counter[tuple[int, int]] = Counter()
    lock = threading.Lock()

    @ENTRY
    def entry(slots: int, part: int, parts: int) -> None:
        with lock:
            ran[part, parts] += 1

    run = ctypes.CDLL(str(library)).tilebuild_run
    run.restype, run.argtypes = None, [ENTRY, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32]
    run(entry, None, parts, threads)
    return ran


@pytest.mark.parametrize(("parts", "threads"), [(2, 2), (64, 2), (3, 8), (1000, 5)])
def test_every_part_runs_once(pool: Path, parts: int, threads: int) -> None:
    for _ in range(20):
        assert parts_of(pool, parts, threads) == Counter({(part, parts): 1 for part in range(parts)})


@pytest.mark.parametrize(("parts", "threads"), [(1, 4), (8, 1), (8, 0)])
def test_one_part_or_thread_is_the_caller_alone(pool: Path, parts: int, threads: int) -> None:
    assert parts_of(pool, parts, threads) == Counter({(0, 1): 1})


def test_a_forked_child_makes_threads_of_its_own(pool: Path) -> None:
    code = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_pool import parts_of
assert len(parts_of({str(pool)!r}, 64, 4)) == 64
child = os.fork()
if child == 0:
    os._exit(0 if len(parts_of({str(pool)!r}, 64, 4)) == 64 else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert len(parts_of({str(pool)!r}, 64, 4)) == 64
print("as it should be")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("as it should be\n", 0), done.stderr


@pytest.mark.parametrize("sanitizer", ["thread", "address,undefined"])
def test_the_sanitizers_find_nothing(tmp_path: Path, sanitizer: str) -> None:
    source, program = tmp_path / "races.c", tmp_path / "races"
    source.write_text(RACES)
    flags = ("-std=c11", "-O1", "-g", f"-fsanitize={sanitizer}", f"-I{POOL.parent}", "-pthread")
    built = subprocess.run([compiler(), *flags, str(source), "-o", str(program)], capture_output=True, check=False)
    if built.returncode:
        pytest.skip(f"the compiler has no -fsanitize={sanitizer}; Debian, Ubuntu: apt-get install libtsan2 libasan8")
    done = subprocess.run([str(program)], capture_output=True, text=True, timeout=120, check=False)
    if "unexpected memory mapping" in done.stderr:
        pytest.skip(
            "the thread sanitizer does not stand how this kernel lays out addresses; sysctl vm.mmap_rnd_bits=28"
        )
    assert (done.returncode, done.stdout) == (0, "as it should be\n"), done.stderr
