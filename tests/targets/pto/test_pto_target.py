"""The plug-in: tools that may be missing, build edges, and a build of a package with and without an assembler."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pto_kernels as kernels
import pytest

from tilebuild.diagnostics import TilebuildError
from tilebuild.oracle import judge
from tilebuild.oracle.readers.pto import read
from tilebuild.targets import api
from tilebuild.targets.api import Job
from tilebuild.targets.pto.merge import merge
from tilebuild.targets.pto.target import TARGET, PtoOptions
from tilebuild.targets.pto.verify import verify

CACHE = Path(tempfile.mkdtemp()) / "probes.json"
FAKE = """#!{python}
import sys
if "--version" in sys.argv:
    print("{version}")
    sys.exit()
text = open(next(a for a in sys.argv[1:] if a.endswith(".pto"))).read()
print("end PTO plan Mem!", file=sys.stderr)
if "func.func" not in text:
    sys.exit("k.pto:1:1: error: no function")
assert "--pto-level=level3" in sys.argv and "--enable-insert-sync" in sys.argv
open(sys.argv[sys.argv.index("-o") + 1], "w").write("// " + " ".join(a for a in sys.argv if "arch" in a))
"""


def tool(folder: Path, name: str, version: str) -> Path:
    path = folder / name
    path.write_text(FAKE.format(python=sys.executable, version=version))
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def no_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PTOAS", "TILEBUILD_BISHENG", "PTO_ISA_ROOT", "ASCEND_HOME_PATH"):
        monkeypatch.delenv(name, raising=False)


def job(options: PtoOptions, arch: str = "a2a3") -> Job:
    plans = tuple(p for name in ("add", "softmax") for p in kernels.fastnorm(arch)[name].plans)
    return Job(arch, options, TARGET.tools(options, CACHE), ("add.pto", "softmax.pto"), plans, f"pto-{arch}")


def test_it_is_installed_as_a_plug_in() -> None:
    assert api.installed()["pto"] is TARGET


def test_without_an_assembler_the_text_is_the_artifact() -> None:
    (edge,), artifact = TARGET.graph(job(PtoOptions(assembler="none")))
    assert edge.command[:3] == ("{python}", "-m", "tilebuild.targets.pto.merge")
    assert edge.inputs == ("pto-a2a3/add.pto", "pto-a2a3/softmax.pto")
    assert (artifact.output, artifact.file, artifact.flags) == ("pto-a2a3/kernels.pto", "pto/a2a3/kernels.pto", {})


def test_texts_name_the_file_of_every_entry() -> None:
    found = TARGET.texts(job(PtoOptions(assembler="none")))
    assert found == {
        "add_0": "pto-a2a3/add.pto",
        "softmax_0": "pto-a2a3/softmax.pto",
        "softmax_1": "pto-a2a3/softmax.pto",
    }


def test_an_assembler_that_is_there_checks_every_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PTOAS", str(tool(tmp_path, "ptoas", "ptoas 0.27")))
    edges, artifact = TARGET.graph(job(PtoOptions(), "a5"))
    assert [e.output for e in edges] == ["pto-a5/add.cpp", "pto-a5/softmax.cpp", "pto-a5/kernels.pto"]
    assert {"--pto-arch=a5", "--pto-level=level3", "--enable-insert-sync"} <= set(edges[0].command)
    assert set(edges[2].inputs) >= {"pto-a5/add.cpp", "pto-a5/softmax.cpp"}
    assert artifact.flags == {"ptoas 0.27": ("--pto-level=level3", "--enable-insert-sync", "--pto-arch=a5")}


@pytest.mark.parametrize(
    ("style", "flag"), [("npu-arch", "--npu-arch=dav-2201"), ("aicore-arch", "--cce-aicore-arch=dav-c220")]
)
def test_a_compiler_makes_a_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, style: str, flag: str) -> None:
    monkeypatch.setenv("PTOAS", str(tool(tmp_path, "ptoas", "ptoas 0.27")))
    monkeypatch.setenv("TILEBUILD_BISHENG", str(tool(tmp_path, "bisheng", "clang version 15.0.5")))
    auto = PtoOptions(compiler="auto")
    assert [t.name for t in TARGET.tools(auto, CACHE)] == ["ptoas"], "no headers"
    monkeypatch.setenv("PTO_ISA_ROOT", str(tmp_path))
    edges, artifact = TARGET.graph(job(PtoOptions(compiler="auto", compiler_flags=style)))  # type: ignore[arg-type]
    assert flag in edges[-1].command
    assert f"-I{tmp_path}/include" in edges[-1].command
    assert artifact.file == "pto/a2a3/kernels.so"
    assert not any(str(tmp_path) in f for flags in artifact.flags.values() for f in flags)


def test_an_assembler_that_does_not_fit_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PTOAS", str(tool(tmp_path, "ptoas", "ptoas 0.1.1")))
    with pytest.raises(TilebuildError) as caught:
        TARGET.tools(PtoOptions(), CACHE)
    assert caught.value.diagnostics[0].code == "E502"


def test_an_assembler_that_is_asked_for_and_missing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.defpath)
    with pytest.raises(TilebuildError) as caught:
        TARGET.tools(PtoOptions(assembler="ptoas"), CACHE)
    assert caught.value.diagnostics[0].code == "E501"
    assert TARGET.tools(PtoOptions(), CACHE) == ()


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_assembling_never_leaves_an_older_output(tmp_path: Path) -> None:
    program, out = str(tool(tmp_path, "ptoas", "ptoas 0.27")), tmp_path / "k.cpp"
    good, bad = tmp_path / "good.pto", tmp_path / "bad.pto"
    good.write_text("func.func")
    bad.write_text("nothing")
    flags = ["--pto-level=level3", "--enable-insert-sync", "--pto-arch=a3", "-o", str(out)]
    done = run("tilebuild.targets.pto.assemble", str(out), program, str(good), *flags)
    assert (done.returncode, done.stderr, out.read_text()) == (0, "", "// --pto-arch=a3")
    done = run("tilebuild.targets.pto.assemble", str(out), program, str(bad), *flags)
    assert done.returncode == 1
    assert "k.pto:1:1: error: no function" in done.stderr
    assert not out.exists()
    done = run("tilebuild.targets.pto.assemble", str(out), sys.executable, "-c", "pass")
    assert done.returncode == 1
    assert "wrote no" in done.stderr


def test_merged_text_is_one_module_that_is_proved(tmp_path: Path) -> None:
    texts = [kernels.fastnorm("a2a3")[name].text for name in ("softmax", "matmul", "layernorm")]
    for i, text in enumerate(texts):
        (tmp_path / f"{i}.pto").write_text(text)
    out = tmp_path / "all.pto"
    done = run("tilebuild.targets.pto.merge", str(out), *(str(tmp_path / f"{i}.pto") for i in range(3)))
    assert done.returncode == 0, done.stderr
    assert out.read_text() == merge(texts)
    assert verify(merge(texts), "a2a3") == []
    assert [judge(p).outcome for p in read(merge(texts), "all.pto")] == ["proved"] * 4
    with pytest.raises(ValueError, match="architectures"):
        merge([texts[0], kernels.fastnorm("a5")["add"].text])


def test_emission_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    from tilebuild.targets.pto import emit as module

    plans = kernels.fastnorm("a2a3")["add"].plans
    source = TARGET.emit(plans)[".pto"]
    broken = SimpleNamespace(text=source.text.replace("rows=4, cols=1024", "rows=4, cols=1022"), spans=source.spans)
    monkeypatch.setattr(module, "emit", lambda _: broken)
    with pytest.raises(TilebuildError) as caught:
        TARGET.emit(plans)
    assert {d.code for d in caught.value.diagnostics} == {"E405"}
