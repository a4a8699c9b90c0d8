"""The size budget of a wheel, and what takes how much of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import NoReturn

from tilebuild.build import made
from tilebuild.build.config import Size
from tilebuild.build.driver import KernelBuild
from tilebuild.diagnostics import Diagnostic, TilebuildError
from tilebuild.package.read import builds
from tilebuild.package.show import table

Row = tuple[str, str, int, int, int]
"""Kernel, library, and bytes: of its own compiled files, its share of the library by those, its plans."""


def refuse(wheel: Path, budget: Size, kernels: KernelBuild, folder: Path) -> NoReturn:
    """Removes a wheel that is larger than its budget and raises `TilebuildError` (E731) with a table of the kernels.
    `folder` is the build directory."""
    size = wheel.stat().st_size
    wheel.unlink()
    rows = sorted(per_kernel(kernels, folder), key=lambda row: -row[3] - row[4])
    head = ("kernel", "library", "compiled", "in the library", "plans")
    lines = table(head, [(kernel, library, *(f"{n:,}" for n in sizes)) for kernel, library, *sizes in rows])
    libraries = sum(entry["bytes"] for entry in kernels.manifest["libraries"].values())
    raise TilebuildError(
        Diagnostic(
            "E731",
            f"the wheel {wheel.name} takes {size:,} bytes, and its budget is {budget}",
            notes=(
                (None, "bytes by kernel, before the wheel's compression:\n    " + "\n    ".join(lines)),
                (None, f"all kernel libraries take {libraries:,} bytes"),
            ),
            fix="build fewer variants, architectures or levels, or raise `size-budget` in [tool.tilebuild]",
        )
    )


def per_kernel(kernels: KernelBuild, folder: Path) -> list[Row]:
    """A row for each kernel and library. Compilers make some files for one kernel alone; a library's bytes are shared
    out in proportion to these."""
    outputs = made.outputs(folder)
    inside = f"{kernels.package.replace('.', '/')}/_kernels/"
    plans: dict[tuple[str, str], int] = {}
    stems: dict[tuple[str, str], str] = {}
    for kernel, _, build in builds(kernels.manifest):
        key = (f"{kernel['module']}.{kernel['name']}", build["library"])
        plans[key] = plans.get(key, 0) + kernels.files[inside + build["plan"]].stat().st_size
        stems[key] = build["entry"].rpartition("_")[0]
    rows: list[Row] = []
    for library, entry in kernels.manifest["libraries"].items():
        here = {name: stem for (name, of), stem in stems.items() if of == library}
        where = library.replace(":", "-")
        files = [folder / o for o in outputs if PurePosixPath(o).parts[0] == where]
        own = dict.fromkeys(here, 0)
        for file in files:
            owner = _owner(file.name, here.items())
            if owner:
                own[owner] += file.stat().st_size
        whole = sum(own.values())
        for name, compiled in own.items():
            share = entry["bytes"] * compiled // whole if whole else 0
            rows.append((name, library, compiled, share, plans[name, library]))
    return rows


def _owner(name: str, stems: Iterable[tuple[str, str]]) -> str:
    """The kernel whose stem a file's name begins with; of several, the one with the longest."""
    fitting: Sequence[tuple[int, str]] = [
        (len(stem), kernel) for kernel, stem in stems if name.startswith((f"{stem}.", f"{stem}_"))
    ]
    return max(fitting)[1] if fitting else ""
