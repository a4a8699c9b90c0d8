"""One wheel of fastnorm carries every target, each build judged, and the runtime takes what the machine runs."""

from __future__ import annotations

import json
import platform
import zipfile
from pathlib import Path

import pytest
from environments import Environment

pytestmark = [pytest.mark.integration, pytest.mark.slow]

CPU = {"x86_64": "x86-64", "aarch64": "aarch64"}.get(platform.machine(), "")
TARGETS = {("cpu", CPU), ("gpu", "sm_80"), ("gpu", "sm_90"), ("spirv", "vulkan1.2"), ("pto", "a2a3")}
SPIRV = """
import numpy as np
from fastnorm.kernels import softmax, matmul
x = np.random.default_rng(0).standard_normal((37, 1000), np.float32)
y = np.zeros_like(x)
softmax(x, y, target="spirv")
assert np.allclose(y, softmax(x, target="cpu"), rtol=1e-5, atol=0)
a, b = x[:, :30], x[:30]
assert np.allclose(matmul(a, b, target="spirv"), a.astype(np.float64) @ b, rtol=1e-4, atol=1e-5)
print("right")
"""
BY_ITSELF = """
import numpy as np
from fastnorm.kernels import scale
x = np.ones((3, 5), np.float32)
assert (scale(x, 2.0) == 2).all()
with open("/proc/self/maps") as f:
    print([name for name in ("libvulkan", "libcuda") if name in f.read()])
"""


@pytest.fixture(scope="module")
def manifest(wheel: Path) -> dict[str, object]:
    with zipfile.ZipFile(wheel) as archive:
        found: dict[str, object] = json.loads(archive.read("fastnorm/_kernels/manifest.json"))
    return found


def why(installed: Environment, kernel: str) -> dict[str, tuple[str, str]]:
    """Target and architecture to "yes" or "no" and the reason, for one kernel."""
    said = installed.must("python", "-m", "tilebuild", "why", "fastnorm", "--kernel", kernel)
    rows = [line.split(maxsplit=2) for line in said.splitlines()[1:]]
    return {name: (answer, reason) for answer, name, reason in rows}


def test_every_kernel_is_there_for_every_target(manifest: dict[str, object]) -> None:
    assert {(entry["target"], entry["arch"]) for entry in manifest["libraries"].values()} == TARGETS
    for kernel in manifest["kernels"]:
        builds = [b for variant in kernel["variants"] for b in variant["builds"]]
        assert {(b["target"], b["arch"]) for b in builds} == TARGETS, kernel["name"]


def test_the_oracle_has_judged_what_each_target_runs(manifest: dict[str, object]) -> None:
    scopes = {"cpu": "plan", "gpu": "artifact", "spirv": "plan", "pto": "text"}
    for kernel in manifest["kernels"]:
        for build in (b for variant in kernel["variants"] for b in variant["builds"]):
            verdict = build["verdict"]
            assert (verdict["outcome"], verdict["scope"]) == ("proved", scopes[build["target"]]), build["entry"]


def test_ptxas_says_what_each_kernel_takes(manifest: dict[str, object]) -> None:
    builds = [b for k in manifest["kernels"] for v in k["variants"] for b in v["builds"] if b["target"] == "gpu"]
    for build in builds:
        resources = build["resources"]
        assert 0 < resources["registers"] <= 255, build["entry"]
        assert resources["shared_bytes"] <= 163 * 1024
        assert resources["spill_bytes"] == 0, build["entry"]


def test_why_gives_a_reason_for_every_target(installed: Environment) -> None:
    reasons = why(installed, "softmax")
    assert reasons.keys() == {f"{name}:{arch}" for name, arch in TARGETS}
    assert reasons[f"cpu:{CPU}"][0] == "yes"
    assert reasons["pto:a2a3"][0] == "no"
    assert all(reason for _, reason in reasons.values())


def test_spirv_runs_where_a_vulkan_device_is(installed: Environment) -> None:
    answer, reason = why(installed, "softmax")["spirv:vulkan1.2"]
    if answer == "no":
        pytest.skip(f"no Vulkan device ({reason}); Debian, Ubuntu: apt-get install libvulkan1 mesa-vulkan-drivers")
    assert installed.must("python", "-c", SPIRV).splitlines()[-1] == "right"


def test_a_call_that_the_cpu_takes_opens_no_other_driver(installed: Environment) -> None:
    assert installed.must("python", "-c", BY_ITSELF) == "[]\n"
