"""A package of small kernels for tests: written, built once, called through the runtime and at each instruction level.

Arrays that a kernel gets lie inside larger ones: rows are further apart than they are long, the first element is not
aligned, and what surrounds them is a NaN (or a large integer) that no kernel may read and a canary that none may write.
"""

from __future__ import annotations

import ctypes
import importlib
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tilebuild.build import configure
from tilebuild.build.driver import KernelBuild, build_kernels
from tilebuild.manifest import KernelEntry, ParameterEntry
from tilebuild.plan.expr import parse, parse_predicates

Array = Any
NUMPY: dict[str, Any] = {
    "f32": np.float32, "i32": np.int32, "u32": np.uint32, "f16": np.float16, "i8": np.int8, "u8": np.uint8,
    "bool": np.bool_, "bf16": np.uint16,
}  # fmt: skip
_AROUND: dict[str, Any] = {
    "f32": np.float32(np.nan), "i32": np.int32(-0x35014542), "u32": np.uint32(0xCAFEBABE), "f16": np.float16(np.nan),
    "i8": np.int8(-0x35), "u8": np.uint8(0xCA), "bool": np.bool_(True), "bf16": np.uint16(0x7FC1),
}  # fmt: skip
_HEAD = "import tilebuild as tb\n"


def write(project: Path, package: str, files: Mapping[str, str], options: str = "") -> Path:
    """A project whose package holds these modules, each of which starts by importing tilebuild as tb."""
    source = project / "src" / package
    source.mkdir(parents=True, exist_ok=True)
    (source / "__init__.py").write_text("")
    for name, text in files.items():
        (source / f"{name}.py").write_text(_HEAD + text, encoding="utf-8")
    (project / "pyproject.toml").write_text(
        f'[project]\nname = "{package}"\nversion = "1"\n[tool.tilebuild]\ntargets = ["cpu"]\n{options}',
        encoding="utf-8",
    )
    return project


def stage(built: KernelBuild, project: Path, site: Path) -> None:
    """The package as an installer would leave it: sources and kernels together in a directory for sys.path."""
    for file in (project / "src").rglob("*.py"):
        _copy(file, site / file.relative_to(project / "src"))
    for name, path in built.files.items():
        _copy(path, site / name)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes())


@contextmanager
def on_path(site: Path) -> Iterator[None]:
    sys.path.insert(0, str(site))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(site))


@dataclass
class Surrounded:
    """An array inside a larger one; `intact` tells whether everything around it still has its first value."""

    array: Array
    _base: Array
    _before: bytes = field(default=b"", init=False)

    def __post_init__(self) -> None:
        self._before = self._around()

    def _around(self) -> bytes:
        if self._base.shape == self.array.shape:
            return b""
        copy = self._base.copy()
        _inner(copy, self.array.shape)[...] = 0
        return copy.tobytes()

    @property
    def intact(self) -> bool:
        return self._around() == self._before


def _inner(base: Array, shape: Sequence[int]) -> Array:
    return base[tuple(slice(1, 1 + n) for n in shape)]


def surround(values: Array) -> Surrounded:
    """A copy of the values with a margin of 1 before and 1 or 3 after, along every axis."""
    values = np.asarray(values)
    dtype = {v: k for k, v in NUMPY.items()}[values.dtype.type]
    extra = [2] * (values.ndim - 1) + [4]
    base = np.full([n + e for n, e in zip(values.shape, extra)], _AROUND[dtype])
    inner = _inner(base, values.shape)
    inner[...] = values
    return Surrounded(inner, base)


@dataclass(frozen=True)
class Package:
    """A built package on sys.path."""

    site: Path
    built: KernelBuild

    @property
    def levels(self) -> list[str]:
        """The levels of the library that this machine runs, least first."""
        levels: list[str] = self._library_entry["levels"]
        return levels[: self._handle.tilebuild_level() + 1]

    @property
    def _library_entry(self) -> Any:
        (library,) = self.built.manifest["libraries"].values()
        return library

    @property
    def _handle(self) -> ctypes.CDLL:
        return ctypes.CDLL(str(self.site / self.built.package / "_kernels" / self._library_entry["file"]))

    def entry(self, name: str) -> KernelEntry:
        return next(k for k in self.built.manifest["kernels"] if k["name"] == name)

    def kernel(self, name: str) -> Any:
        """The decorated function, imported as a user would."""
        return getattr(importlib.import_module(self.entry(name)["module"]), name)

    def run(
        self, name: str, *inputs: Any, how: str = "runtime", parts: int = 1, dims: Mapping[str, int] | None = None,
        surrounded: bool = True,
    ) -> tuple[Array, ...]:  # fmt: skip
        """The outputs, in the signature's order, of a call `how`: "runtime", "reference" or a level.

        Inputs are values for `In`, `InOut` and scalar parameters in order; they are not changed. `dims` are those
        that no input has. Fails where a kernel wrote outside of its outputs. Arrays that are not `surrounded` have
        memory of their own, for a sanitizer to watch.
        """
        entry = self.entry(name)
        given = iter(inputs)
        values = {p["name"]: next(given) for p in entry["parameters"] if p["mode"] != "out"}
        dims = {**(dims or {}), **dimensions(entry["parameters"], values)}
        wrap = surround if surrounded else lambda array: Surrounded(array.copy(), array)
        around: dict[str, Surrounded] = {}
        for p in entry["parameters"]:
            if p["mode"] == "out":
                shape = [parse(d).evaluate(dims) for d in p["dims"]]
                around[p["name"]] = wrap(np.full(shape, _AROUND[p["dtype"]]))
            elif p["mode"] != "scalar":
                around[p["name"]] = wrap(np.asarray(values[p["name"]], NUMPY[p["dtype"]]))
        before = {n: s.array.copy() for n, s in around.items()}
        arguments = {
            p["name"]: around[p["name"]].array if p["name"] in around else values[p["name"]]
            for p in entry["parameters"]
        }
        if how == "runtime":
            self.kernel(name)(**arguments)
        elif how == "reference":
            self.kernel(name).reference(**arguments)
        else:
            for part in range(parts):
                self._call(entry, how, arguments, dims, (part, parts))
        outputs = []
        for p in entry["parameters"]:
            if p["mode"] == "scalar":
                continue
            array = around[p["name"]].array
            assert around[p["name"]].intact, f"{name} ({how}) wrote outside of {p['name']}, dims {dims}"
            if p["mode"] == "in":
                assert array.tobytes() == before[p["name"]].tobytes(), f"{name} ({how}) changed its input {p['name']}"
            else:
                outputs.append(array.copy())
        return tuple(outputs)

    def _call(
        self,
        entry: KernelEntry,
        level: str,
        arguments: Mapping[str, Any],
        dims: Mapping[str, int],
        part: tuple[int, int],
    ) -> None:
        """One launch as the manifest describes it, without the runtime."""
        variant = next(
            v for v in entry["variants"] if not v["when"] or all(p.holds(dims) for p in parse_predicates(v["when"]))
        )
        (build,) = variant["builds"]
        slots = [_slot(s, arguments, dims, entry["parameters"]) for s in build["slots"]]
        function = self._handle[f"{build['entry']}_{level}"]
        function.restype = None
        function.argtypes = [ctypes.c_char_p, ctypes.c_int64, ctypes.c_int64]
        function(struct.pack(f"={len(slots)}q", *slots), *part)


def dimensions(parameters: Sequence[ParameterEntry], values: Mapping[str, Any]) -> dict[str, int]:
    return {
        d: n
        for p in parameters
        if p["name"] in values and p["dims"]
        for d, n in zip(p["dims"], np.shape(values[p["name"]]))
        if d.isidentifier()
    }


def _slot(
    slot: str, arguments: Mapping[str, Any], dims: Mapping[str, int], parameters: Sequence[ParameterEntry]
) -> int:
    kind, name, *axis = slot.split(":")
    if kind == "ptr":
        return int(arguments[name].ctypes.data)
    if kind == "stride":
        return int(arguments[name].strides[int(axis[0])] // arguments[name].itemsize)
    if kind == "dim":
        return dims[name]
    dtype = next(p["dtype"] for p in parameters if p["name"] == name)
    return int(np.asarray(arguments[name], NUMPY[dtype]).view(np.uint32))


def build(project: Path, site: Path, log: Any = lambda _: None) -> Package:
    built = build_kernels(project, configure(project), log=log)
    stage(built, project, site)
    return Package(site, built)
