"""Hand-written packages with built kernels, and a DLPack producer that needs nothing but ctypes."""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import json
import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ARCH = platform.machine()
OTHER_ARCH = "aarch64" if ARCH == "x86_64" else "x86_64"
_numbers = itertools.count()


def parameter(text: str) -> dict[str, Any]:
    """`x: in f32[M, N]` or `a: scalar f32` as a manifest entry."""
    name, _, rest = text.partition(": ")
    mode, _, kind = rest.partition(" ")
    dtype, _, dims = kind.rstrip("]").partition("[")
    return {
        "name": name, "mode": mode, "dtype": dtype, "dims": [d.strip() for d in dims.split(",")] if dims else []
    }  # fmt: skip


def build(entry: str, slots: str, target: str = "cpu", arch: str = ARCH, library: str = "") -> dict[str, Any]:
    """`library`: by default the one that `Site.package` makes for the target."""
    verdict = {"outcome": "proved", "scope": "plan", "oracle": "1", "checks": {}, "findings": []}
    return {
        "target": target, "arch": arch, "library": library or target, "entry": entry, "slots": slots.split(),
        "grid": [], "plan": "plans/x.json.gz", "plan_sha256": "", "resources": {}, "verdict": verdict,
    }  # fmt: skip


def variant(*builds: dict[str, Any], when: str = "", target: str = "") -> dict[str, Any]:
    return {"consts": {}, "when": when, "target": target, "builds": list(builds)}


def kernel(
    name: str, parameters: list[str], *variants: dict[str, Any], requires: tuple[str, ...] = (), otherwise: str = ""
) -> dict[str, Any]:
    return {
        "module": "", "name": name, "file": "src/pkg/kernels.py", "line": 7, "sha256": "", "dims": [],
        "parameters": [parameter(p) for p in parameters], "requires": list(requires), "otherwise": otherwise,
        "variants": list(variants),
    }  # fmt: skip


SCALE = kernel(
    "scale",
    ["x: in f32[M, N]", "y: out f32[M, N]", "a: scalar f32"],
    variant(build("scale", "ptr:x ptr:y dim:M dim:N stride:x:0 stride:y:0 scalar:a")),
)
RUNNING_SUM = kernel(
    "running_sum", ["x: in f32[N]", "y: out f32[N + 1]"], variant(build("running_sum", "ptr:x ptr:y dim:N"))
)
TOTALS = kernel(
    "totals",
    ["x: in f32[N]", "total: out f32[1]", "largest: out f32[1]"],
    variant(build("total_and_largest", "ptr:x ptr:total ptr:largest dim:N")),
)
INCREMENT = kernel("increment", ["x: inout i32[N]"], variant(build("increment", "ptr:x dim:N")))


def mark(name: str, value: int, when: str = "", **more: Any) -> dict[str, Any]:
    """A kernel that fills y: i32[N] with `value`."""
    return kernel(name, ["y: out i32[N]"], variant(build(f"mark_{value}", "ptr:y dim:N"), when=when), **more)


@dataclass
class Site:
    """A directory on sys.path for made-up packages; `libraries` are the compiled files by name."""

    root: Path
    libraries: dict[str, Path]

    def package(
        self, *kernels: dict[str, Any], levels: tuple[str, ...] = (), library: str = "main", **manifest: Any
    ) -> str:
        """Install a package with these kernels; returns the name of its kernels' module."""
        name = f"made_up_{next(_numbers)}"
        home = self.root / name / "_kernels" / "cpu"
        home.mkdir(parents=True)
        for place in (self.root / name, home.parent):
            (place / "__init__.py").write_text("")
        (self.root / name / "kernels.py").write_text("")
        data = self.libraries[library].read_bytes()
        (home / "main.so").write_bytes(data)
        entry = {
            "target": "cpu", "arch": ARCH, "file": "cpu/main.so", "sha256": hashlib.sha256(data).hexdigest(),
            "bytes": len(data), "levels": list(levels), "compilers": [],
        }  # fmt: skip
        targets = {b["target"] for k in kernels for v in k["variants"] for b in v["builds"]} | {"cpu"}
        module = f"{name}.kernels"
        contents = {
            "schema": 1, "tilebuild": "0", "package": name, "kernels": [{**k, "module": module} for k in kernels],
            "libraries": {target: {**entry, "target": target} for target in targets}, **manifest,
        }  # fmt: skip
        (home.parent / "manifest.json").write_text(json.dumps(contents))
        return module

    def manifest(self, module: str) -> Path:
        return self.root / module.partition(".")[0] / "_kernels" / "manifest.json"

    def edit(self, module: str, change: Callable[[dict[str, Any]], object], directory: Path | None = None) -> None:
        """Change a manifest in place; `directory` is where it lies, if not in the top package."""
        path = directory / "manifest.json" if directory else self.manifest(module)
        contents = json.loads(path.read_text())
        change(contents)
        path.write_text(json.dumps(contents))


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p), ("device", ctypes.c_int32), ("device_id", ctypes.c_int32), ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]  # fmt: skip


class _Managed(ctypes.Structure):
    _fields_ = [("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p)]


class _Versioned(ctypes.Structure):
    _fields_ = [
        ("major", ctypes.c_uint32), ("minor", ctypes.c_uint32), ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p), ("flags", ctypes.c_uint64), ("tensor", _Tensor),
    ]  # fmt: skip


_new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(
    ("PyCapsule_New", ctypes.pythonapi)
)


@dataclass
class Producer:
    """An array library of one class: f32 elements in `values`, exported as the fields say."""

    shape: tuple[int, ...]
    values: Any = None  # a ctypes array of the elements
    strides: tuple[int, ...] | None = None
    device: int = 1
    flags: int = 0
    major: int = 1
    versioned: bool = True
    byte_offset: int = 0
    dtype: tuple[int, int, int] = (2, 32, 1)
    name: bytes = b""
    _alive: list[Any] = field(default_factory=list)

    def __dlpack__(self, **options: Any) -> object:
        if options and not self.versioned:
            raise TypeError("__dlpack__() got an unexpected keyword argument 'max_version'")
        n = len(self.shape)
        shape = (ctypes.c_int64 * n)(*self.shape)
        strides = None if self.strides is None else (ctypes.c_int64 * n)(*self.strides)
        address = ctypes.addressof(self.values) - self.byte_offset if self.values else None
        tensor = _Tensor(
            address, self.device, 0, n, *self.dtype, shape, strides,
            self.byte_offset,
        )  # fmt: skip
        managed: ctypes.Structure
        if self.versioned:
            managed = _Versioned(self.major, 1, None, None, self.flags, tensor)
        else:
            managed = _Managed(tensor, None, None)
        name = self.name or (b"dltensor_versioned" if self.versioned else b"dltensor")
        self._alive += [shape, strides, managed, name]
        return _new(ctypes.addressof(managed), name, None)


class OldProducer(Producer):
    """A producer from before DLPack 1.0."""

    def __init__(self, *args: Any, **fields: Any) -> None:
        super().__init__(*args, versioned=False, **fields)


def floats(*values: float) -> Any:
    return (ctypes.c_float * len(values))(*values)
