"""The spirv device: choice, limits, copies and errors. What needs Vulkan runs in child processes."""

from __future__ import annotations

import ctypes
import io
import os
import subprocess
import sys
import textwrap
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tilebuild.runtime.arrays import View
from tilebuild.runtime.devices import DeviceError, device, spirv
from tilebuild.runtime.devices.vulkan import PhysicalDevice
from tilebuild.runtime.errors import LaunchError

ROOT = Path(__file__).parents[2]
SMALLEST = PhysicalDevice(
    handle=1, name="Least GPU", kind="integrated", api=(1, 2), family=0, invocations=128, group_size=(128, 128, 64),
    groups=(65535, 65535, 65535), shared_bytes=16384, push_constants=128, storage_range=1 << 27, storage_buffers=4,
    keep_nan=True,
)  # fmt: skip
RESOURCES = {
    "invocations": 128, "workgroup_bytes": 16384, "push_constant_bytes": 128, "storage_buffers": 4, "keep_nan": 1,
}  # fmt: skip


def entry(arch: str = "vulkan1.2", slots: str = "ptr:x ptr:y stride:x:0 dim:M dim:N", **more: Any) -> Any:
    return {
        "target": "spirv", "arch": arch, "library": "spirv", "entry": "e", "slots": slots.split(), "grid": ["M"],
        "resources": RESOURCES, **more,
    }  # fmt: skip


def test_the_device_is_found_by_its_targets_name() -> None:
    found = device("spirv")
    assert found.rank > device("cpu").rank  # arrays of the CPU go to the cpu where there is a build for it
    assert 1 in found.memory


def test_what_every_device_has_is_enough() -> None:
    assert list(spirv._shortcomings(SMALLEST, entry())) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"invocations": 64}, "128 invocations of a workgroup are needed, and it has 64"),
        ({"group_size": (32, 32, 32)}, "128 invocations of a workgroup are needed, and it has 32"),
        ({"shared_bytes": 1024}, "16384 bytes of workgroup memory are needed, and it has 1024"),
        ({"push_constants": 64}, "128 bytes of push constants are needed, and it has 64"),
        ({"storage_buffers": 2}, "4 storage buffers are needed, and it has 2"),
        ({"keep_nan": False}, "keep NaN and infinities"),
        ({"family": -1}, "no queue for compute"),
        ({"api": (1, 1)}, "vulkan1.2 is needed"),
    ],
)
def test_what_a_device_lacks(change: dict[str, Any], message: str) -> None:
    (found,) = spirv._shortcomings(replace(SMALLEST, **change), entry())
    assert message in found


def test_an_architecture_of_a_later_version() -> None:
    assert list(spirv._shortcomings(SMALLEST, entry("vulkan9.9"))) == ["this tilebuild knows no vulkan9.9"]


def test_the_most_capable_kind_of_device_is_taken() -> None:
    kinds = ["cpu", "integrated", "discrete", "other"]
    found = [replace(SMALLEST, name=f"{kind} device", kind=kind) for kind in kinds]
    assert spirv._choose(found, "") == (found[2], "")
    assert spirv._choose([*found[:2], replace(found[2], api=(1, 1))], "") == (found[1], "")
    assert spirv._choose(found, "0") == (found[0], "")
    assert spirv._choose(found, "OTHER") == (found[3], "")
    chosen, reason = spirv._choose(found[:2], "discrete")
    assert chosen is None
    assert reason == (
        'TILEBUILD_VULKAN_DEVICE is "discrete", and the devices are 0: cpu device (cpu), '
        "1: integrated device (integrated)"
    )
    chosen, reason = spirv._choose([replace(SMALLEST, api=(1, 1))], "")
    assert chosen is None
    assert "no device has Vulkan 1.2" in reason


# -- copies ------------------------------------------------------------------------------------------------------------


def view(shape: tuple[int, ...], strides: tuple[int, ...], pointer: int = 0) -> View:
    return View(pointer, None, shape, strides, 0, 1, 0, 0)


@pytest.mark.parametrize(
    ("shape", "strides", "runs"),
    [
        ((3, 4), (4, 1), [(0, 0, 48)]),
        ((3, 4), (10, 1), [(0, 0, 16), (40, 16, 16), (80, 32, 16)]),
        ((2, 4), (-4, 1), [(0, 0, 16), (-16, 16, 16)]),
        ((3, 1), (5, 9), [(0, 0, 4), (20, 4, 4), (40, 8, 4)]),
        ((2, 2, 3), (50, 3, 1), [(0, 0, 24), (200, 24, 24)]),
        ((2, 3), (0, 1), [(0, 0, 12), (0, 12, 12)]),
        ((), (), [(0, 0, 4)]),
    ],
)
def test_an_array_is_copied_run_by_run(
    shape: tuple[int, ...], strides: tuple[int, ...], runs: list[tuple[int, int, int]]
) -> None:
    assert [(h - 1000, d - 9000, n) for h, d, n in spirv._pieces(view(shape, strides, 1000), 9000)] == runs


class Recorder:
    """Stands for an opened device: takes launches down, and gives memory of this process."""

    def __init__(self, physical: PhysicalDevice = SMALLEST) -> None:
        import threading

        self.physical, self.lock = physical, threading.RLock()
        self.launches: list[Any] = []
        self.given = 0

    def pipeline(self, code: bytes, name: str, buffers: int, push_bytes: int) -> Any:
        return code, name, buffers, push_bytes

    def take(self, size: int) -> Any:
        from tilebuild.runtime.devices.vulkan_compute import Buffer

        memory = ctypes.create_string_buffer(size)
        self.launches.append(memory)
        return Buffer(1, 1, ctypes.addressof(memory), size)

    def give(self, buffer: object) -> None:
        self.given += 1

    def run(self, pipeline: Any, buffers: Any, push: bytes, groups: tuple[int, int], seconds: float) -> None:
        self.launches.append((pipeline, [size for _, size in buffers], push, groups))
        ctypes.memmove(buffers[1][0].pointer, buffers[0][0].pointer, buffers[0][1])


def kernel(recorder: Any, **more: Any) -> Any:
    return spirv._Kernel(recorder, b"code", entry(**more), frozenset({1}))


def test_a_launch_sees_dense_arrays_and_their_strides() -> None:
    source = (ctypes.c_float * 20)(*range(20))
    target = (ctypes.c_float * 6)()
    x = view((2, 3), (10, 1), ctypes.addressof(source))
    y = view((2, 3), (3, 1), ctypes.addressof(target))
    recorder = Recorder()
    kernel(recorder)([x.pointer, y.pointer, 10, 2, 3], [x, y], 84)
    pipeline, sizes, push, groups = recorder.launches[-1]
    assert pipeline == (b"code", "e", 2, 12)
    assert sizes == [24, 24]
    assert list(ctypes.c_uint32.__mul__(3).from_buffer_copy(push)) == [3, 2, 3]  # the dense stride, M, N
    assert groups == (2, 1)
    assert list(target) == [0, 1, 2, 10, 11, 12]
    assert recorder.given == 2


def test_a_grid_is_laid_out_in_rows() -> None:
    recorder = Recorder(replace(SMALLEST, groups=(100, 10, 1)))
    k = kernel(recorder)
    assert k._groups([0, 0, 0, 99, 1], []) == (99, 1)
    assert k._groups([0, 0, 0, 101, 1], []) == (100, 2)
    with pytest.raises(LaunchError, match=r"rows of workgroups is 11 .* takes 10"):
        k._groups([0, 0, 0, 1001, 1], [])


@pytest.mark.parametrize(
    ("dims", "shape", "message"),
    [
        ((1 << 31, 1), (1, 1), "the dimension M is 2147483648"),
        ((1, 1), (1 << 15, 1 << 16), "the number of elements of x is 2147483648"),
        ((1, 1), (1 << 13, 1 << 13), "the number of bytes of x is 268435456 .* takes 134217728"),
    ],
)
def test_what_32_bit_indices_cannot_reach_is_refused(
    dims: tuple[int, int], shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(LaunchError, match=message) as caught:
        kernel(Recorder())._groups([0, 0, 0, *dims], [view(shape, (shape[1], 1)), view((1, 1), (1, 1))])
    assert caught.value.code == "E841"


def test_a_file_that_is_no_library(tmp_path: Path) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as z:
        z.writestr("index.json", '{"a": {"writes": []}}')
    for data in (b"", b"no archive at all", archive.getvalue()):
        (tmp_path / "kernels").write_bytes(data)
        with pytest.raises(DeviceError, match="no library of SPIR-V modules"):
            spirv.load(str(tmp_path / "kernels"), {})  # type: ignore[typeddict-item]


# -- in child processes ------------------------------------------------------------------------------------------------

SCALE = """
import tilebuild as tb
M, N = tb.dims("M N")

@tb.kernel
def scale(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N], s: tb.f32, *, BM: tb.Const = 2, BN: tb.Const = 64):
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    y.tiles(BM, BN)[i, j] = x.tiles(BM, BN)[i, j] * s
"""


def child(code: str, *paths: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    found = os.pathsep.join(map(str, (*paths, ROOT)))
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "PYTHONPATH": found, **environment}, cwd=paths[0] if paths else ROOT,
    )  # fmt: skip


LOOK = """
from tilebuild.runtime.devices import spirv, vulkan
{}
print(spirv.available({{"arch": "vulkan1.2", "resources": {{}}}}, {{}}))
"""


def test_no_loader() -> None:
    done = child(LOOK.format('import sys; vulkan.LIBRARIES = {sys.platform: ("libnothing_of_that_name.so",)}'))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("(False, 'there is no Vulkan loader (libnothing_of_that_name.so")


def test_vulkan_can_be_kept_out() -> None:
    done = child(LOOK.format("import sys"), TILEBUILD_VULKAN_DEVICE="none")
    assert done.stdout == "(False, 'TILEBUILD_VULKAN_DEVICE is none')\n", done.stderr


def test_importing_the_device_loads_no_vulkan() -> None:
    done = child("from tilebuild.runtime.devices import spirv; print('vulkan' in open('/proc/self/maps').read())")
    if not Path("/proc/self/maps").exists():
        pytest.skip("this system does not list what a process has loaded")
    assert done.stdout == "False\n", done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package with one kernel, on a machine with a Vulkan device."""
    sys.path.insert(0, str(ROOT / "tests/targets/spirv"))
    try:
        import spirv_package
    finally:
        sys.path.pop(0)
    problem = spirv_package.vulkan_problem()
    if problem:
        pytest.skip(f"{problem} (Debian, Ubuntu: apt-get install libvulkan1 mesa-vulkan-drivers)")
    root = tmp_path_factory.mktemp("scaled")
    source = root / "project/src/scaled"
    source.mkdir(parents=True)
    (source / "__init__.py").write_text("")
    (source / "kernels.py").write_text(SCALE)
    return spirv_package.build(root / "project", root / "site", "scaled").site


def ok(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_threads_and_repeated_calls_share_buffers(site: Path) -> None:
    code = """
    import threading
    import numpy as np
    from scaled.kernels import scale
    from tilebuild.runtime.devices import spirv
    wrong = []
    def work(seed):
        for n in range(25):
            x = np.random.default_rng(seed * 100 + n).standard_normal((seed + 1, 70), dtype=np.float32)
            if not np.array_equal(scale(x, 2.0, target="spirv"), x * 2):
                wrong.append((seed, n))
    threads = [threading.Thread(target=work, args=(s,)) for s in range(4)]
    [t.start() for t in threads]; [t.join() for t in threads]
    compute = spirv._state.compute
    kept = sum(len(b) for b in compute._free.values())
    print(wrong, kept, compute._kept == sum(s * len(b) for s, b in compute._free.items()), len(compute._pipelines))
    compute.trim(0)
    print(compute._kept, any(compute._free.values()))
    """
    assert ok(child(code, site)).splitlines() == ["[] 2 True 1", "0 False"]


def test_a_launch_that_takes_too_long(site: Path) -> None:
    code = """
    import numpy as np
    from scaled.kernels import scale
    x, y = np.ones((4000, 640), np.float32), np.full((4000, 640), 5, np.float32)
    for _ in range(2):
        try:
            scale(x, y, 2.0, target="spirv")
        except Exception as e:
            print(e.code, (y == 5).all())
    """
    # the process ends by itself, with nothing freed that the device may still use
    assert ok(child(code, site, TILEBUILD_VULKAN_TIMEOUT="0")) == "E842 True\nE842 True\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_is_told_so(site: Path) -> None:
    code = """
    import os
    import numpy as np
    from scaled.kernels import scale
    from tilebuild.runtime.devices import spirv
    x = np.ones((2, 3), np.float32)
    scale(x, 2.0, target="spirv")
    child = os.fork()
    if not child:
        print(spirv.available({"arch": "vulkan1.2", "resources": {}}, {}), flush=True)
        try:
            scale(x, 2.0, target="spirv")
        except Exception as e:
            print(e.code, flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    print(scale(x, 3.0, target="spirv").sum())
    """
    lines = ok(child(code, site)).splitlines()
    assert "was forked from one that used Vulkan" in lines[0]
    assert lines[1:] == ["E844", "18.0"]


def test_the_device_is_named_in_the_trace(site: Path) -> None:
    code = """
    from tilebuild.runtime.launcher import find
    import scaled.kernels
    print(find("scaled.kernels", "scale").trace)
    """
    assert "accepted=True" in ok(child(code, site))
    unknown = ok(child(code, site, TILEBUILD_VULKAN_DEVICE="no such device"))
    assert "accepted=False" in unknown
    assert 'TILEBUILD_VULKAN_DEVICE is "no such device", and the devices are 0: ' in unknown
