"""What `pip install` says about a package with a mistake in it: exit code 1, the place, the fix, and no residue."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from environments import Environment
from tiny_package import Tiny

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def refused(tiny: Tiny, environment: Environment, **variables: str) -> str:
    """What pip prints, once it has been found to fail as it should."""
    before = tiny.files()
    done = environment.run("pip", "install", "--no-build-isolation", "--no-deps", tiny.root, **variables)
    assert done.returncode == 1, done.stdout
    assert "exit code: 1" in done.stdout, done.stdout  # the hook's, as pip reports it
    assert "Traceback" not in done.stdout, done.stdout
    assert tiny.files() == before
    # pip indents what a hook printed
    return re.sub(r"(?m)^ {6}", "", done.stdout)


def assert_points_at(said: str, code: str, line: int, text: str) -> None:
    """The message has the code, file and line, then the source line, then a caret under a part of it."""
    head = re.search(rf"src/tiny/kernels\.py:{line}:(\d+): error\[{code}\]: .+\n((?:.*\n){{2}})", said)
    assert head, said
    source, caret = head[2].splitlines()
    assert source == f"  {line} | {text}"
    assert re.fullmatch(r" +\| +\^+", caret)
    assert caret.index("^") - len(f"  {line} | ") == int(head[1]) - 1
    assert "\n  fix: " in said[head.start() :]


def test_the_package_without_a_mistake_installs(prepared: Environment, tiny: Tiny) -> None:
    before = tiny.files()
    prepared.must("pip", "install", "--no-build-isolation", "--no-deps", tiny.root)
    prepared.must("pip", "uninstall", "-y", "tiny")
    assert tiny.files() == before


def test_an_unknown_name(prepared: Environment, tiny: Tiny) -> None:
    tiny.edit("src/tiny/kernels.py", "* 2.0", "* two")
    assert_points_at(refused(tiny, prepared), "E1..", 11, "        Y[i, j] = X[i, j] * two")


def test_shapes_that_do_not_fit(prepared: Environment, tiny: Tiny) -> None:
    tiny.edit("src/tiny/kernels.py", "* 2.0", "+ tb.zeros((BM, 3))")
    assert_points_at(refused(tiny, prepared), "E2..", 11, "        Y[i, j] = X[i, j] + tb.zeros((BM, 3))")


def test_an_accumulator_that_would_lose_lanes(prepared: Environment, tiny: Tiny) -> None:
    tiny.edit("src/tiny/kernels.py", "    for j", "    acc = tb.zeros((BM, BN))\n    for j")
    tiny.edit("src/tiny/kernels.py", "Y[i, j] = X[i, j] * 2.0", "acc += X[i, j]\n    Y[i, 0] = acc")
    said = refused(tiny, prepared)
    assert_points_at(said, "E3..", 12, "        acc += X[i, j]")
    assert ".fill(0.0)" in said


def test_mistakes_in_the_configuration_are_reported_together(prepared: Environment, tiny: Tiny) -> None:
    tiny.edit("pyproject.toml", 'targets = ["cpu"]', 'targets = ["cpu", "cpv"]\ninner-backnd = "scikit-build-core"')
    said = refused(tiny, prepared)
    assert re.search(r'tool\.tilebuild\.targets\[1\].*"cpv".*did you mean "cpu"', said)
    assert re.search(r'tool\.tilebuild.*"?inner-backnd"?.*did you mean "inner-backend"', said)
    assert len(re.findall(r"error\[E6\d\d\]", said)) == 2


def test_no_compiler(without_compiler: Environment, tiny: Tiny, bare_path: str) -> None:
    said = refused(tiny, without_compiler, PATH=bare_path)
    assert "error[E501]: no C compiler" in said
    assert "the cpu target compiles the C code that it generates" in said
    assert "apt-get install gcc" in said
    assert "ziglang" in said


GCC = """\
#!/bin/sh
if [ "$1" = --version ]; then echo "gcc (Test) 13.2.0"; echo "Free Software Foundation, Inc."; exit 0; fi
for file; do case "$file" in *kernels_k.c)
  line=$(grep -n tb_mul_f32 "$file" | head -n 1 | cut -d : -f 1)
  echo "$file:$line:5: error: the moon is in the wrong phase" >&2
esac; done
exit 4
"""


def test_a_compiler_that_fails(prepared: Environment, tiny: Tiny, tmp_path: Path) -> None:
    compiler = tmp_path / "bin" / "gcc"
    compiler.parent.mkdir()
    compiler.write_text(GCC)
    compiler.chmod(0o755)
    said = refused(tiny, prepared, PATH=os.pathsep.join([str(compiler.parent), os.environ["PATH"]]))
    assert "error: the moon is in the wrong phase" in said
    assert_points_at(said, "E720", 11, "        Y[i, j] = X[i, j] * 2.0")


SOFTMAX = """
    tb.require(N <= 64)
    i = tb.program(tb.cdiv(M, BM))
    t = x.tiles(BM, BN)[i, 0]
    e = tb.exp(t - t.max(1))
    y.tiles(BM, BN)[i, 0] = e / e.sum(1)
"""


@pytest.mark.parametrize(
    ("target", "finding", "words"),
    [
        ("faulty-overlap", "O-ALIAS-01", "while"),
        ("faulty-overflow", "O-CAP-0", "holds"),
        ("faulty-unwritten", "O-USE-0", "wr[io]t"),
    ],
)
def test_a_plan_with_a_fault_in_it_never_becomes_a_wheel(
    faulty: Environment, tiny: Tiny, target: str, finding: str, words: str
) -> None:
    tiny.edit("pyproject.toml", 'targets = ["cpu"]', f'targets = ["{target}"]')
    head = tiny.source.read_text().partition("    i = tb.program")[0]
    tiny.source.write_text(head.rstrip() + SOFTMAX)
    said = refused(tiny, faulty)
    found = re.search(rf"src/tiny/kernels\.py:(\d+):\d+: error\[{finding}\d*\]: (.+)\n", said)
    assert found, said
    assert re.search(words, found[2])
    assert tiny.source.read_text().splitlines()[int(found[1]) - 1] in said[found.end() :]
    assert "\n  fix: " in said[found.end() :]
