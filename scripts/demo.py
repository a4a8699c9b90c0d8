"""The main job, from nothing: build examples/fastnorm for all its targets into one wheel, install it, run its kernels
on this machine, compare with NumPy.

    python3 scripts/demo.py

Needs Python 3.10 or newer and a package index, from which the CUDA compilers come (250 MB); a C compiler is used where
there is one. TILEBUILD_TARGETS=cpu builds for the cpu alone. Everything is written to build/demo. Standard library
only: it makes its own environments.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import wheelhouse

PLACE = wheelhouse.ROOT / "build" / "demo"


def main() -> None:
    """Exits with 1 where any step fails or a kernel's result is out of its bound."""
    if sys.version_info < (3, 10):  # noqa: UP036
        sys.exit(f"tilebuild needs Python 3.10 or newer, and this is {sys.version.split()[0]}")
    wheels = PLACE / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)

    step("wheelhouse: tilebuild from this tree, and what the build asks for")
    house = wheelhouse.fill(PLACE / "wheelhouse", ["numpy>=1.26"])
    offline = wheelhouse.offline(house)

    step("pip wheel examples/fastnorm: an ordinary isolated build, of a copy")
    source = wheelhouse.copy_example(PLACE / "fastnorm")
    run([sys.executable, "-m", "pip", "wheel", "-v", "--no-deps", "-w", wheels, source], offline, _is_ours)
    (wheel,) = wheels.glob("fastnorm-*.whl")

    step("pip install the wheel into a scratch environment")
    python = wheelhouse.environment(PLACE / "env")
    run([python, "-m", "pip", "install", "--quiet", wheel, "numpy"], offline)

    step("run the kernels on real data, against NumPy in float64")
    script = Path(__file__).with_name("compare.py")
    run([python, script], dict(os.environ), cwd=PLACE)

    step("which of its builds this machine runs, and why not the others (python -m tilebuild why)")
    run([python, "-m", "tilebuild", "why", "fastnorm", "--kernel", "softmax"], dict(os.environ), cwd=PLACE)

    step("what the oracle says of the wheel (tilebuild check)")
    tilebuild = python.with_name("tilebuild")
    run([tilebuild, "check", wheel], dict(os.environ))

    step("where the files lie")
    print(f"wheel        {wheel}")
    with zipfile.ZipFile(wheel) as archive:
        manifest = json.loads(archive.read("fastnorm/_kernels/manifest.json"))
    for library in manifest["libraries"].values():
        made_by = ", ".join(f"{c['name']} {c['version']}" for c in library["compilers"]) or "tilebuild itself"
        levels = f" for {', '.join(library['levels'])}" if library["levels"] else ""
        print(f"library      fastnorm/_kernels/{library['file']}, {library['bytes']:,} bytes, by {made_by}{levels}")
    print(f"installed in {python.parent.parent}")
    print(f"look inside  {tilebuild} plan {wheel}")


def step(title: str) -> None:
    print(f"\n== {title}", flush=True)


def _is_ours(line: str) -> bool:
    return line.lstrip().startswith("tilebuild:")


def run(command: list[object], environ: dict[str, str], keep=lambda _: True, cwd: Path | None = None) -> None:
    """Runs a command and shows the lines that `keep` keeps; all of them, and an exit, where it fails."""
    start = time.monotonic()
    lines = []
    with subprocess.Popen(
        [str(c) for c in command], env=environ, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout:
            lines.append(line)
            if keep(line):
                print(line, end="", flush=True)
    if process.returncode:
        sys.exit(f"{''.join(lines)}\n{' '.join(map(str, command))}\nfailed with exit code {process.returncode}")
    print(f"({time.monotonic() - start:.1f} s)", flush=True)


if __name__ == "__main__":
    main()
