"""What becomes of plans: modules are accepted, the same twice, know their Python lines; what cannot fit is refused."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from spirv_package import (
    ARCH,
    FASTNORM,
    ROOT,
    SMALL,
    Package,
    build,
    kernels,
    needs_validator,
    plans,
    run_outside,
    validator,
    write,
)
from test_spirv_check import SOFTMAX

from tilebuild.diagnostics import TilebuildError
from tilebuild.targets.api import Job
from tilebuild.targets.spirv import scalars, text
from tilebuild.targets.spirv.check import Limits, check
from tilebuild.targets.spirv.emit import emit
from tilebuild.targets.spirv.module import Module, decode, encode
from tilebuild.targets.spirv.pack import written
from tilebuild.targets.spirv.target import TARGET, Spirv, SpirvOptions

GOLDEN = Path(__file__).parent / "golden" / "softmax.spvasm"
LIMITS = Limits(128, 16384)


def first_plan(folder: Path, source: str, options: SpirvOptions = SMALL):  # type: ignore[no-untyped-def]
    (kernel,) = kernels(write(folder / "p", "one", source), "src/one")
    return next(plans(kernel, Spirv().with_options(options)))[1]


def error(folder: Path, source: str, options: SpirvOptions = SMALL) -> TilebuildError:
    with pytest.raises(TilebuildError) as caught:
        emit(first_plan(folder, source, options), keep_nan=True)
    return caught.value


def test_every_kernel_of_fastnorm_is_accepted_and_the_same_twice() -> None:
    target = Spirv()
    for kernel in kernels(FASTNORM):
        found = [p for _, p in plans(kernel, target)]
        assert found
        for plan in found:
            module, spans = emit(plan, keep_nan=True)
            assert check(module, LIMITS) == []
            assert encode(module) == encode(emit(plan, keep_nan=True)[0])
            source = target.emit([plan])[f"_{plan.variant.rpartition('_')[2]}.spvasm"]
            assert text.parse(source.text) == module
            assert len(source.spans) == source.text.count("\n")
            lined = [s for i, s in zip(module.instructions, spans) if i.op in ("FAdd", "FMul", "Load", "Store") and s]
            assert {s.file for s in lined} == {kernel.file}
            assert all(s.line >= kernel.span.line for s in lined if "library" not in s.file)


@needs_validator
def test_spirv_val_accepts_every_module(fastnorm: Package, operations: Package, tmp_path: Path) -> None:
    for package in (fastnorm, operations):
        (library,) = (package.site / package.name / "_kernels").rglob("*.zip")
        shutil.unpack_archive(library, tmp_path / package.name, "zip")
        modules = sorted((tmp_path / package.name).glob("*.spv"))
        assert modules
        for module in modules:
            command = [str(validator()), "--target-env", ARCH, str(module)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{module.name}: {done.stdout}{done.stderr}"


def test_the_listing_of_softmax(tmp_path: Path) -> None:
    module, _ = emit(first_plan(tmp_path, SOFTMAX), keep_nan=True)
    found = text.join(text.listing(module))
    assert found == GOLDEN.read_text(encoding="utf-8"), f"where this is wanted, write it to {GOLDEN.relative_to(ROOT)}"


def test_only_what_is_used_is_declared(tmp_path: Path) -> None:
    plan = first_plan(tmp_path, SOFTMAX)

    def capabilities(module: Module) -> list[object]:
        return [i.operands[0] for i in module.instructions if i.op == "Capability"]

    assert capabilities(emit(plan, keep_nan=True)[0]) == ["Shader", "SignedZeroInfNanPreserve"]
    assert capabilities(emit(plan, keep_nan=False)[0]) == ["Shader"]
    assert "GroupNonUniform" not in text.join(text.listing(emit(plan, keep_nan=True)[0]))


def test_coefficients_are_those_of_the_cpu_target() -> None:
    prelude = (ROOT / "tilebuild/targets/cpu/prelude.h").read_text(encoding="utf-8")
    for name in ("EXP", "EXP2", "LOG", "LOG2"):
        theirs = re.findall(rf"#define TB_{name}_\d+ (\S+)f\n", prelude)
        assert [float(t) for t in theirs] == list(getattr(scalars, name))
    for name in ("LN2_HI", "LN2_LO"):
        (value,) = re.findall(rf"#define TB_{name} (\S+)f\n", prelude)
        assert float(value) == getattr(scalars, name)


def test_too_many_push_constants(tmp_path: Path) -> None:
    arrays = ", ".join(f"x{n}: tb.In[tb.f32, B, M, N]" for n in range(15))
    source = f"""
B, M, N = tb.dims("B M N")
@tb.kernel
def much({arrays}, y: tb.Out[tb.f32, B, M, N], s: tb.f32, *, BN: tb.Const = 32):
    b, i, j = tb.program(B, M, tb.cdiv(N, BN))
    y[b].tiles(1, BN)[i, j] = {" + ".join(f"x{n}[b].tiles(1, BN)[i, j]" for n in range(15))} + s
"""
    (found,) = error(tmp_path, source).diagnostics
    assert found.code == "E411"
    assert "144 bytes of push constants (3 dimensions, 32 strides and 1 scalars" in found.message
    assert "has 128" in found.message


def test_an_index_that_may_not_fit_into_32_bits(tmp_path: Path) -> None:
    source = """
M, N, K = tb.dims("M N K")
@tb.kernel
def wide(x: tb.In[tb.f32, M, N, K], y: tb.Out[tb.f32, N], *, BN: tb.Const = 32):
    j = tb.program(tb.cdiv(N, BN))
    y.tiles(BN)[j] = tb.zeros((1, BN)) + (M * N * K) % 7
"""
    (found,) = error(tmp_path, source).diagnostics
    assert found.code == "E412"
    assert "M*N*K" in found.message.replace("K*M*N", "M*N*K")


MATMUL = """
M, N, K = tb.dims("M N K")
@tb.kernel
def product(a: tb.In[tb.f32, M, K], b: tb.In[tb.f32, K, N], c: tb.Out[tb.f32, M, N], *, T: tb.Const = 64):
    i, j = tb.program(tb.cdiv(M, T), tb.cdiv(N, T))
    acc = tb.zeros((T, T))
    for k in tb.range(tb.cdiv(K, T)):
        acc = tb.dot(a.tiles(T, T)[i, k], b.tiles(T, T)[k, j], acc)
    c.tiles(T, T)[i, j] = acc
"""


def test_a_kernel_that_does_not_fit_and_a_device_that_has_more(tmp_path: Path) -> None:
    (found,) = error(tmp_path / "small", MATMUL).diagnostics
    assert found.code == "E401"
    assert re.search(r"needs \d{5} bytes of shared \w+ spirv:vulkan1.2, which has 16384", found.message)
    assert "smaller tile constants" in found.fix
    plan = first_plan(tmp_path / "large", MATMUL, SpirvOptions(max_invocations=256, max_shared_bytes=49152))
    module, _ = emit(plan, keep_nan=True)
    assert plan.launch.block == (16, 16)
    assert check(module, Limits(256, 49152)) == []
    assert {f.message.split(",")[1] for f in check(module, LIMITS)} == {
        " and 128 are allowed",
        " and 16384 are allowed",
    }


def test_options_below_what_every_device_has() -> None:
    with pytest.raises(TilebuildError) as caught:
        TARGET.with_options(SpirvOptions(max_invocations=64, max_shared_bytes=1024))
    assert [d.code for d in caught.value.diagnostics] == ["E604", "E604"]


def test_an_architecture_that_there_is_not() -> None:
    assert TARGET.architecture("") == ARCH
    with pytest.raises(TilebuildError, match="E403"):
        TARGET.architecture("opencl")


# -- the commands of the build graph ---------------------------------------------------------------------------------


def job(folder: Path, listing: str) -> Job:
    (folder / "spirv").mkdir(parents=True)
    (folder / "spirv" / "soft_0.spvasm").write_text(listing)
    return Job(ARCH, SMALL, (), ("soft_0.spvasm",), (), "spirv")


def test_the_commands_make_a_library(tmp_path: Path) -> None:
    (assemble, pack), artifact = TARGET.graph(job(tmp_path, GOLDEN.read_text()))
    for edge in (assemble, pack):
        done = run_outside(edge, tmp_path)
        assert done.returncode == 0, done.stderr
    module = (tmp_path / assemble.output).read_bytes()
    assert decode(module) == text.parse(GOLDEN.read_text())
    assert written(module) == [1]
    first = (tmp_path / artifact.output).read_bytes()
    run_outside(pack, tmp_path)
    assert (tmp_path / artifact.output).read_bytes() == first


def test_a_faulty_listing_is_refused_with_its_line(tmp_path: Path) -> None:
    listing = GOLDEN.read_text().replace("OpDecorate %2 ArrayStride 4", "OpDecorate %2 ArrayStride 8")
    (assemble, _), _ = TARGET.graph(job(tmp_path, listing))
    (tmp_path / assemble.output).write_bytes(b"of an earlier build")
    done = run_outside(assemble, tmp_path)
    line = next(n for n, t in enumerate(listing.splitlines(), 1) if t.startswith("%2 = "))
    assert done.returncode == 1
    assert (
        f"spirv/soft_0.spvasm:{line}:1: error: the array %2 of 4-byte elements has the ArrayStride [8]" in done.stderr
    )
    assert not (tmp_path / assemble.output).exists()


def test_what_a_validator_says_fails_the_build(tmp_path: Path) -> None:
    from dataclasses import replace

    (assemble, _), _ = TARGET.graph(job(tmp_path, GOLDEN.read_text()))
    picky = ("{python}", "-c", "import sys; print('not to my liking'); sys.exit(3)")
    done = run_outside(replace(assemble, command=(*assemble.command, "--", *picky)), tmp_path)
    assert done.returncode == 1
    assert "exit code 3" in done.stderr
    assert "not to my liking" in done.stderr
    assert not (tmp_path / assemble.output).exists()


def test_the_manifest_says_what_a_device_must_have(fastnorm: Package) -> None:
    (product,) = (k for k in fastnorm.manifest["kernels"] if k["name"] == "matmul")
    (entry,) = (b for v in product["variants"] for b in v["builds"])
    resources = entry["resources"]
    assert resources["invocations"] <= 128
    assert 0 < resources["workgroup_bytes"] <= 16384
    assert resources["push_constant_bytes"] == 4 * (len(entry["slots"]) - resources["storage_buffers"])
    assert resources["storage_buffers"] == 3


def test_a_build_is_the_same_in_two_folders(tmp_path: Path) -> None:
    made = []
    for name in ("a", "b"):
        package = build(write(tmp_path / name / "project", "soft", SOFTMAX), tmp_path / name / "site", "soft")
        (library,) = (package.site / "soft" / "_kernels").rglob("*.zip")
        made.append(library.read_bytes())
    assert made[0] == made[1]
