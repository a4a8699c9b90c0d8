"""examples/fastnorm as its users meet it: built in isolation, installed, run, looked into."""

from __future__ import annotations

import base64
import csv
import gzip
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable
from email.parser import BytesParser
from pathlib import Path

import pytest
from environments import ROOT, Environment, has_compiler
from tiny_package import Tiny

pytestmark = [pytest.mark.integration, pytest.mark.slow]

COMPARE = ROOT / "scripts" / "compare.py"
SHAPES = ("1x1", "37x1000", "513x8191")
KERNELS = {"add", "bias_gelu_residual", "gelu", "layernorm", "matmul", "rmsnorm", "scale", "softmax", "softmax_online"}


def manifest_of(wheel: Path) -> dict[str, object]:
    with zipfile.ZipFile(wheel) as archive:
        found: dict[str, object] = json.loads(archive.read("fastnorm/_kernels/manifest.json"))
    return found


def test_every_kernel_is_right_at_ragged_sizes(installed: Environment) -> None:
    shapes = [part for shape in SHAPES for part in ("--shape", shape)]
    said = installed.must("python", COMPARE, *shapes)
    lines = [line.split() for line in said.splitlines() if "ok" in line]
    assert {words[0] for words in lines} == KERNELS
    assert len(lines) == len(KERNELS) * len(SHAPES)


def test_kernels_allocate_write_in_place_and_run_as_python(installed: Environment) -> None:
    script = """
import numpy as np
from fastnorm.kernels import softmax
x = np.random.default_rng(0).standard_normal((37, 1000), np.float32)
y = np.full_like(x, 9)
assert softmax(x, y) is None or softmax(x, y) is y
assert np.array_equal(softmax(x), y) and (softmax(x, target="cpu") == y).all()
z = np.empty((5, 30), np.float32)
softmax.reference(x[:5, :30], z)
assert np.allclose(softmax(x[:5, :30]), z, rtol=1e-6, atol=0)
print("as it should be")
"""
    assert installed.must("python", "-c", script) == "as it should be\n"


THREADS = """
import hashlib, threading
import numpy as np
from fastnorm.kernels import matmul, softmax
x = np.random.default_rng(0).standard_normal((513, 1000), np.float32)
results = [None] * 3
def work(i):
    for _ in range(5):
        results[i] = softmax(x).tobytes() + matmul(x, x.T.copy()).tobytes()
at_once = [threading.Thread(target=work, args=(i,)) for i in range(3)]
for t in at_once: t.start()
for t in at_once: t.join()
assert len(set(results)) == 1
print(hashlib.sha256(results[0]).hexdigest())
"""


def test_the_number_of_threads_changes_nothing(installed: Environment) -> None:
    said = {installed.must("python", "-c", THREADS, TILEBUILD_NUM_THREADS=n) for n in ("1", "2", "7", "")}
    assert len(said) == 1
    wrong = installed.run("python", "-c", THREADS, TILEBUILD_NUM_THREADS="all")
    assert 'error[E807]: TILEBUILD_NUM_THREADS is "all"' in wrong.stdout


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("softmax(x.astype(np.float64), x)", ["f64", "f32"]),
        ("softmax(x[0], x)", ["x"]),
        ("softmax(x, frozen)", ["read-only"]),
        ("softmax(x, y[:3])", ["M"]),
        ("matmul(x, x)", ["K"]),
        ("softmax(x, target='gpu')", ["gpu", "cpu"]),
    ],
)
def test_wrong_arguments_are_explained(installed: Environment, call: str, words: list[str]) -> None:
    script = f"""
import numpy as np
from fastnorm.kernels import matmul, softmax
from tilebuild.diagnostics import TilebuildError
x = np.ones((4, 6), np.float32)
y, frozen = np.ones_like(x), np.ones_like(x)
frozen.flags.writeable = False
try:
    {call}
except TilebuildError as e:
    print(e)
"""
    said = installed.must("python", "-c", script)
    assert re.search(r"error\[E8\d\d\]", said)
    assert "fix: " in said
    assert [w for w in words if w not in said] == []


def test_the_wheel_is_for_any_python_and_one_platform(wheel: Path) -> None:
    assert re.fullmatch(r"fastnorm-0\.1\.0-py3-none-(?!any)\w+\.whl", wheel.name)
    with zipfile.ZipFile(wheel) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    tags = BytesParser().parsebytes(contents["fastnorm-0.1.0.dist-info/WHEEL"])
    assert tags["Root-Is-Purelib"] == "false"
    rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(contents["fastnorm-0.1.0.dist-info/RECORD"].decode()))}
    assert rows.keys() == contents.keys()
    for name, (digest, size) in rows.items():
        if not name.endswith("/RECORD"):
            expected = base64.urlsafe_b64encode(hashlib.sha256(contents[name]).digest()).decode().rstrip("=")
            assert (digest, size) == (f"sha256={expected}", str(len(contents[name])))


def test_the_manifest_describes_the_files_that_are_there(wheel: Path) -> None:
    manifest = manifest_of(wheel)
    with zipfile.ZipFile(wheel) as archive:
        contents = {n.removeprefix("fastnorm/_kernels/"): archive.read(n) for n in archive.namelist()}
    assert {k["name"] for k in manifest["kernels"]} == KERNELS
    for library in manifest["libraries"].values():
        data = contents[library["file"]]
        assert (library["sha256"], library["bytes"]) == (hashlib.sha256(data).hexdigest(), len(data))
        assert library["compilers"] or library["target"] in ("spirv", "pto"), "these need none"
        assert all(c["version"] and c["flags"] for c in library["compilers"])
    for kernel in manifest["kernels"]:
        for variant in kernel["variants"]:
            for build in variant["builds"]:
                plan = gzip.decompress(contents[build["plan"]])
                assert build["plan_sha256"] == hashlib.sha256(plan).hexdigest()
                assert build["verdict"]["outcome"] == "proved", kernel["name"]
                assert build["library"] in manifest["libraries"]


def test_nothing_in_the_wheel_names_the_build_machine(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            data = archive.read(name)
            for place in (str(wheel.parents[1]), str(ROOT), "pip-build-env", "/build-env-", "/tmp/"):
                assert place.encode() not in data, f"{name} contains {place}"


def test_the_command_line_reads_the_wheel_without_installing_it(prepared: Environment, wheel: Path) -> None:
    shown = prepared.must("tilebuild", "plan", wheel, "--kernel", "softmax")
    assert "softmax" in shown
    assert "t = x.tiles(BM, BN)[i, 0]" in shown, "the Python lines stand beside the instructions"
    assert "layernorm" not in shown
    everything = prepared.must("tilebuild", "plan", wheel)
    assert all(name in everything for name in KERNELS)
    checked = prepared.must("tilebuild", "check", wheel)
    assert all(name in checked for name in KERNELS)


def test_the_command_line_reads_the_installed_package(installed: Environment) -> None:
    assert "softmax" in installed.must("tilebuild", "plan", "fastnorm", "--kernel", "softmax")
    assert installed.must("tilebuild", "check", "fastnorm")
    doctor = installed.run("tilebuild", "doctor")
    assert doctor.returncode == (0 if has_compiler() else 1)
    assert all(name in doctor.stdout for name in ("gcc", "clang", "zig"))


def test_a_compiler_comes_from_the_index_where_there_is_none(
    new_environment: Callable[..., Environment], example: Path, bare_path: str
) -> None:
    environment = new_environment(TILEBUILD_TARGETS="cpu")
    environment.must("pip", "install", "numpy", example, PATH=bare_path)
    said = environment.must("python", COMPARE, "--shape", "37x1000", PATH=bare_path)
    assert said.count("ok") == len(KERNELS)
    (path,) = environment.python.parents[1].glob("lib/*/site-packages/fastnorm/_kernels/manifest.json")
    manifest = json.loads(path.read_text())
    assert {c["name"] for library in manifest["libraries"].values() for c in library["compilers"]} == {"zig"}


def test_the_same_sources_give_the_same_wheel_in_two_directories(prepared: Environment, tmp_path: Path) -> None:
    digests = set()
    for place in ("one", "two/and/deeper"):
        tiny = Tiny(tmp_path / place)
        command = ("python", "-m", "build", "--wheel", "--no-isolation", tiny.root)
        prepared.must(*command, SOURCE_DATE_EPOCH="1700000000")
        (wheel,) = (tiny.root / "dist").glob("*.whl")
        digests.add(hashlib.sha256(wheel.read_bytes()).hexdigest())
    assert len(digests) == 1


def test_an_editable_install_uses_live_sources_and_built_kernels(prepared: Environment, tiny: Tiny) -> None:
    prepared.must("pip", "install", "--no-build-isolation", "--no-deps", "-e", tiny.root)
    script = """
import numpy as np
from tiny import kernels
x = np.random.default_rng(0).standard_normal((37, 1000), np.float32)
assert (kernels.k(x) == x * 2).all()
print(kernels.__file__)
"""
    try:
        assert prepared.must("python", "-c", script).strip() == str(tiny.source)
    finally:
        prepared.must("pip", "uninstall", "-y", "tiny")
