"""A local wheelhouse: this tree's wheel of tilebuild beside the wheels of all that it and its builds need.

tilebuild is on no package index yet, and its name must never be looked for there; so whoever installs it, or builds
with it, does so with `offline()` as the environment. Standard library only.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterable, Mapping
from email.parser import BytesParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "fastnorm"
_ASK = """
import json, sys
sys.stdout = sys.stderr
from tilebuild import backend
json.dump(backend.get_requires_for_build_wheel(), sys.__stdout__)
"""


def fill(wheelhouse: Path, more: Iterable[str] = (), *, bare: bool = False) -> Path:
    """Builds tilebuild's wheel into `wheelhouse`, asks it what building the example needs, and fetches that and `more`.

    Uses whatever package index pip is configured with, for the others' names only. With `bare` the question is asked
    as on a machine that has no compiler.
    """
    wheelhouse.mkdir(parents=True, exist_ok=True)
    for old in wheelhouse.glob("tilebuild-*.whl"):
        old.unlink()
    pip(sys.executable, "wheel", "--no-deps", "-w", wheelhouse, ROOT)
    (wheel,) = wheelhouse.glob("tilebuild-*.whl")

    asker = wheelhouse / ".asker"
    python = environment(asker)
    pip(python, "wheel", "-w", wheelhouse, "--find-links", wheelhouse, *_dependencies(wheel))
    pip(python, "install", wheel, environ=offline(wheelhouse))
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | (
        {"PATH": str(python.parent)} if bare else {}
    )
    example = copy_example(asker / "example")
    answer = subprocess.run([python, "-c", _ASK], cwd=example, env=environ, stdout=subprocess.PIPE, check=True)
    needed = [*json.loads(answer.stdout), *more]
    pip(python, "wheel", "-w", wheelhouse, "--find-links", wheelhouse, *needed)
    return wheelhouse


def copy_example(to: Path) -> Path:
    """A copy of examples/fastnorm without anything that was built there; `to` is replaced."""
    shutil.rmtree(to, ignore_errors=True)
    return Path(shutil.copytree(EXAMPLE, to, ignore=shutil.ignore_patterns("build", "dist", "__pycache__")))


def environment(directory: Path) -> Path:
    """A fresh virtual environment of this Python; the path of its interpreter."""
    venv.EnvBuilder(clear=True, with_pip=True, symlinks=os.name != "nt").create(directory)
    return directory / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def offline(wheelhouse: Path, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """`base` (this process's environment by default), with pip looking nowhere but in the wheelhouse: also the pip
    that a build frontend starts for an isolated build."""
    kept = {k: v for k, v in (os.environ if base is None else base).items() if not k.startswith("PIP_")}
    quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_CONFIG_FILE": os.devnull}
    return kept | quiet | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheelhouse)}


def pip(python: Path | str, command: str, *arguments: object, environ: Mapping[str, str] | None = None) -> None:
    """Runs pip; where it fails, all that it printed and an exit."""
    line = [str(python), "-m", "pip", command, "--quiet", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(line, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(line)}\n{done.stdout}\nfailed with exit code {done.returncode}")


def _dependencies(wheel: Path) -> list[str]:
    """What the wheel requires at run time, without its extras."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        lines = BytesParser().parsebytes(archive.read(name)).get_all("Requires-Dist", [])
    return [line for line in lines if "extra ==" not in line]
