"""The gpu device against a driver of our own (fake_cuda.c), which runs nothing and remembers what it was asked."""

from __future__ import annotations

import ctypes
import gzip
import hashlib
import json
import shutil
import struct
import subprocess
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tilebuild.runtime.arrays import CPU, View
from tilebuild.runtime.devices import DeviceError, gpu
from tilebuild.runtime.errors import LaunchError

IMAGE = b"image of machine code"


class _Last(ctypes.Structure):
    _fields_ = [
        ("sizes", ctypes.c_uint * 7), ("stream", ctypes.c_void_p), ("context", ctypes.c_long),
        ("bytes", ctypes.c_size_t), ("data", ctypes.c_ubyte * 256),
    ]  # fmt: skip


@dataclass
class Driver:
    """The fake driver's switches."""

    handle: ctypes.CDLL

    def __getitem__(self, name: str) -> int:
        return ctypes.c_int.in_dll(self.handle, f"fake_{name}").value

    def __setitem__(self, name: str, value: int) -> None:
        ctypes.c_int.in_dll(self.handle, f"fake_{name}").value = value

    @property
    def current(self) -> ctypes.c_long:
        return ctypes.c_long.in_dll(self.handle, "fake_current")

    @property
    def last(self) -> _Last:
        return _Last.in_dll(self.handle, "fake_last")


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    compiler = shutil.which("gcc") or shutil.which("clang") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler: gcc, clang or cc")
    library = tmp_path / "libfake.so"  # a path of its own each time, so that no state is left in it
    source = Path(__file__).with_name("fake_cuda.c")
    subprocess.run([compiler, "-O0", "-fPIC", "-shared", "-w", "-o", library, source], check=True)
    monkeypatch.setattr(gpu, "_NAMES", (str(library), "nvcuda.dll"))
    gpu._state.cache_clear()
    yield Driver(ctypes.CDLL(str(library)))
    gpu._state.cache_clear()


def entry(arch: str = "sm_90", *, ptx: bool = True) -> Any:
    flags = ["kind=elf", *(["kind=ptx"] if ptx else [])]
    return {
        "target": "gpu", "arch": arch, "file": f"gpu/{arch}/kernels.fatbin", "sha256": "", "bytes": 0, "levels": [],
        "compilers": [{"name": "fatbinary", "version": "13.5", "flags": flags}],
    }  # fmt: skip


def build(root: Path, **launch: Any) -> Any:
    """`scale(x, y, M, N, a)` with its plan on disk."""
    text = json.dumps({"launch": {"block": [32, 4], **launch}}).encode()
    (root / "plans").mkdir(exist_ok=True)
    (root / "plans" / "scale.json.gz").write_bytes(gzip.compress(text, mtime=0))
    return {
        "target": "gpu", "arch": "sm_90", "library": "gpu:sm_90", "entry": "scale",
        "slots": ["ptr:x", "ptr:y", "stride:x:0", "dim:M", "dim:N", "scalar:a"],
        "grid": ["(M + 3) // 4", "(N + 1023) // 1024"], "plan": "plans/scale.json.gz",
        "plan_sha256": hashlib.sha256(text).hexdigest(), "resources": {}, "verdict": {},
    }  # fmt: skip


def load(root: Path, arch: str = "sm_90") -> gpu.GpuLibrary:
    path = root / "gpu" / arch / "kernels.fatbin"
    path.parent.mkdir(parents=True)
    path.write_bytes(IMAGE)
    return gpu.load(str(path), entry(arch))


def views(*devices: int) -> list[View]:
    return [View(0, None, (1,), (1,), 0, 2, d, 0) for d in devices]


SLOTS = (0x7F0000001000, 0x7F0000002000, 4096, 9, 2000, struct.unpack("<i", struct.pack("<f", -0.5))[0])


def test_a_launch(driver: Driver, tmp_path: Path) -> None:
    launch = load(tmp_path).function(build(tmp_path))
    before = driver.current.value = 0x77  # a framework's context
    launch(SLOTS, views(0, 0), 0)
    last = driver.last
    assert list(last.sizes) == [3 * 2, 1, 1, 32, 4, 1, 0]
    assert last.stream is None
    assert last.context == 0x1000
    assert bytes(last.data[: last.bytes]) == struct.pack("<QQqqqf", *SLOTS[:5], -0.5)
    assert (driver.current.value, driver["depth"]) == (before, 0)


def test_a_context_that_is_current_is_left_alone(driver: Driver, tmp_path: Path) -> None:
    launch = load(tmp_path).function(build(tmp_path))
    driver.current.value = 0x1000
    launch(SLOTS, views(0, 0), 0)
    assert driver.last.context == driver.current.value == 0x1000


def test_each_device_has_its_own_module(driver: Driver, tmp_path: Path) -> None:
    driver["devices"] = 2
    launch = load(tmp_path).function(build(tmp_path))
    for device, context in ((1, 0x2000), (0, 0x1000), (1, 0x2000)):
        launch(SLOTS, views(device, device), 0)
        assert driver.last.context == context
    assert driver["loads"] == 2
    with pytest.raises(LaunchError, match="on the devices 0, 1") as caught:
        launch(SLOTS, views(0, 1), 0)
    assert caught.value.code == "E831"


def test_the_current_stream_of_a_framework(driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launch = load(tmp_path).function(build(tmp_path))
    stream = types.SimpleNamespace(cuda_stream=0xABC)
    cuda = types.SimpleNamespace(is_initialized=lambda: True, current_stream=lambda device: stream)
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda))  # type: ignore[arg-type]
    launch(SLOTS, views(0, 0), 0)
    assert driver.last.stream == 0xABC
    monkeypatch.setitem(sys.modules, "torch", None)  # type: ignore[arg-type]
    pointer = types.SimpleNamespace(get_current_stream=lambda: types.SimpleNamespace(ptr=0xDEF))
    monkeypatch.setitem(sys.modules, "cupy", types.SimpleNamespace(cuda=pointer))  # type: ignore[arg-type]
    launch(SLOTS, views(0, 0), 0)
    assert driver.last.stream == 0xDEF


def test_much_shared_memory_is_asked_for(driver: Driver, tmp_path: Path) -> None:
    library = load(tmp_path)
    library.function(build(tmp_path, shared_dynamic=100_000))(SLOTS, views(0, 0), 0)
    assert driver["dynamic"] == driver.last.sizes[6] == 100_000
    driver["optin"] = 101_376
    with pytest.raises(DeviceError, match="takes 150000 bytes of shared memory, and a block has 101376"):
        library.function(build(tmp_path, shared_dynamic=150_000))


def test_failures_are_exceptions_with_the_drivers_words(driver: Driver, tmp_path: Path) -> None:
    library = load(tmp_path)
    launch = library.function(build(tmp_path))
    driver["launch"] = 700
    with pytest.raises(LaunchError, match=r"CUDA_ERROR_ILLEGAL_ADDRESS \(an illegal memory access\)") as caught:
        launch(SLOTS, views(0, 0), 0)
    assert caught.value.code == "E830"
    with pytest.raises(LaunchError, match="has at most") as caught:
        launch((*SLOTS[:3], 1 << 40, 1, 0), views(0, 0), 0)
    assert caught.value.code == "E832"
    with pytest.raises(DeviceError, match="finding other in it failed"):
        library.function({**build(tmp_path), "entry": "other"})
    with pytest.raises(DeviceError, match="was altered"):
        library.function({**build(tmp_path), "plan_sha256": "0" * 64})
    (tmp_path / "plans" / "scale.json.gz").unlink()
    with pytest.raises(DeviceError, match="cannot be read"):
        library.function({**library_build(tmp_path)})


def library_build(root: Path) -> Any:
    made = build(root)
    (root / "plans" / "scale.json.gz").unlink()
    return made


def test_an_image_that_the_driver_refuses(driver: Driver, tmp_path: Path) -> None:
    driver["image"] = 209
    with pytest.raises(DeviceError, match="finds no code for device 0"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("image", "capability", "accepted", "words"),
    [
        (entry("sm_90", ptx=True), 90, True, "compute capability 9.0"),
        (entry("sm_80", ptx=False), 86, True, "compute capability 8.6"),  # a later minor version runs the machine code
        (entry("sm_80", ptx=True), 90, True, "the driver compiles the PTX of sm_80"),
        (entry("sm_80", ptx=False), 90, False, "machine code for sm_80 alone"),
        (entry("sm_90", ptx=True), 80, False, "less than the 9.0 of sm_90"),
        (entry("sm_120", ptx=True), 103, False, "less than the 12.0 of sm_120"),
        (entry("sm_86", ptx=True), 80, False, "less than the 8.6 of sm_86"),
    ],
)
def test_what_a_device_covers(driver: Driver, image: Any, capability: int, accepted: bool, words: str) -> None:
    driver["capability"] = capability
    found, reason = gpu.available({}, image)  # type: ignore[typeddict-item]
    assert found is accepted
    assert words in reason


def test_machine_code_is_preferred_to_ptx(driver: Driver) -> None:
    order = sorted(("sm_80", "sm_90", "sm_86"), key=lambda a: -gpu.preference({}, entry(a)))  # type: ignore[typeddict-item]
    assert order == ["sm_90", "sm_86", "sm_80"]


def test_no_device_and_a_driver_that_does_not_start(driver: Driver) -> None:
    driver["devices"] = 0
    assert gpu.available({}, entry()) == (  # type: ignore[typeddict-item]
        False, "the NVIDIA driver shows no device (CUDA_VISIBLE_DEVICES hides them, or there is none)",
    )  # fmt: skip
    gpu._state.cache_clear()
    driver["init"] = 999
    accepted, reason = gpu.available({}, entry())  # type: ignore[typeddict-item]
    assert not accepted
    assert reason.startswith("the NVIDIA driver does not start")


def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "_NAMES", ("libno-such-driver.so.1", "no-such-driver.dll"))
    gpu._state.cache_clear()
    accepted, reason = gpu.available({}, entry())  # type: ignore[typeddict-item]
    gpu._state.cache_clear()
    assert not accepted
    assert reason.startswith("there is no NVIDIA driver (")


def test_it_reads_device_memory_only() -> None:
    assert gpu.memory == {2}
    assert CPU not in gpu.memory
