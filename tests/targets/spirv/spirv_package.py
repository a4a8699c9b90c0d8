"""A package of kernels built for spirv alone, and runs of it in a child process: a bad driver or module may crash."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tilebuild.diagnostics import TilebuildError
from tilebuild.frontend.discover import KernelDef, discover
from tilebuild.frontend.library import library
from tilebuild.frontend.python import lower_kernel
from tilebuild.ir.verifier import verify
from tilebuild.plan.model import Plan
from tilebuild.plan.slots import slots
from tilebuild.targets.api import Edge, Job
from tilebuild.targets.spirv import assemble, pack
from tilebuild.targets.spirv.target import Spirv, SpirvOptions

ROOT = Path(__file__).parents[3]
FASTNORM = ROOT / "examples" / "fastnorm"
ARCH = "vulkan1.2"
SMALL = SpirvOptions()


def kernels(project: Path, folder: str = "src/fastnorm/kernels") -> list[KernelDef]:
    return list(discover(project, (folder,)))


def plans(kernel: KernelDef, target: Spirv) -> Iterator[tuple[int, Plan]]:
    """The placed plan of every variant that is for this target, with its number; raises `TilebuildError`."""
    for number, variant in enumerate(kernel.variants):
        if variant.target in ("", "spirv", f"spirv:{ARCH}"):
            func = lower_kernel(kernel, variant, f"{kernel.name}_{number}", library())
            errors = [d for d in verify(func) if d.severity == "error"]
            if errors:
                raise TilebuildError(errors, FASTNORM)
            yield number, target.place(target.lower(func, ARCH))


def validator() -> str | None:
    """spirv-val, where it is installed."""
    from shutil import which

    return which("spirv-val")


needs_validator = pytest.mark.skipif(
    validator() is None, reason="spirv-val is not installed; Debian, Ubuntu: apt-get install spirv-tools"
)


def vulkan_problem() -> str:
    """Why nothing can run here, found out in a child process; empty where something can."""
    if os.environ.get("TILEBUILD_VULKAN_DEVICE") == "none":
        return "TILEBUILD_VULKAN_DEVICE is none"
    code = (
        "from tilebuild.runtime.devices import spirv; import sys;"
        "d = spirv._state.look(); print(spirv._state.reason); sys.exit(d is None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    return "" if done.returncode == 0 else (done.stdout + done.stderr).strip() or f"exit code {done.returncode}"


@dataclass(frozen=True)
class Package:
    """`site` is for sys.path; `name` the package's; `manifest` what was written."""

    site: Path
    name: str
    manifest: dict[str, Any]

    def run(self, code: str, timeout: float = 300, **environment: str) -> subprocess.CompletedProcess[str]:
        """Python code in a child process where the package can be imported."""
        paths = [str(self.site), str(ROOT), str(Path(__file__).parent)]
        return subprocess.run(
            [sys.executable, "-P", "-c", code] if sys.version_info >= (3, 11) else [sys.executable, "-c", code],
            cwd=self.site,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environment},
        )


def build(project: Path, site: Path, name: str, options: SpirvOptions = SMALL, validate: bool = False) -> Package:
    """Lower, emit, assemble and pack the kernels of `src/<name>`, and lay the package out as an installer would."""
    target = Spirv().with_options(options)
    work = site.parent / f"{site.name}-build"
    found = kernels(project, f"src/{name}")
    made = {k.name: list(plans(k, target)) for k in found}
    sources: list[str] = []
    (work / "spirv").mkdir(parents=True, exist_ok=True)
    for k in found:
        for suffix, source in target.emit([p for _, p in made[k.name]]).items():
            sources.append(f"{k.name}{suffix}")
            (work / "spirv" / sources[-1]).write_text(source.text, encoding="utf-8")
    tools = target.tools(options, work / "probes.json") if validate else ()
    every = tuple(p for k in found for _, p in made[k.name])
    # absolute, so that commands can run in this process: starting Python for each takes longer than they do
    job = Job(ARCH, options, tools, tuple(sources), every, str(work / "spirv"))
    edges, artifact = target.graph(job)
    for edge in edges:
        run_here(edge)
    data = (work / artifact.output).read_bytes()
    resources = target.resources(job, work)
    entry = {
        "target": "spirv", "arch": ARCH, "file": artifact.file, "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data), "levels": [], "compilers": [],
    }  # fmt: skip
    manifest = {
        "schema": 1, "tilebuild": "0", "package": name, "libraries": {"spirv": entry},
        "kernels": [_kernel(k, made[k.name], target, resources) for k in found],
    }  # fmt: skip
    home = site / name / "_kernels"
    for file in (project / "src").rglob("*.py"):
        _write(site / file.relative_to(project / "src"), file.read_bytes())
    _write(home / artifact.file, data)
    _write(home / "__init__.py", b"")
    _write(home / "manifest.json", json.dumps(manifest).encode())
    return Package(site, name, manifest)


def run_here(edge: Edge) -> None:
    """An edge whose command is one of the target's own."""
    module, *arguments = edge.command[2:]
    if module.endswith(".pack"):
        pack.pack(Path(arguments[0]), [Path(a) for a in arguments[1:]])
    else:
        assert assemble.main(arguments) == 0, edge.title


def run_outside(edge: Edge, folder: Path) -> subprocess.CompletedProcess[str]:
    """An edge as a build runs it."""
    return subprocess.run(
        [sys.executable if word == "{python}" else word for word in edge.command],
        cwd=folder, capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _kernel(
    k: KernelDef, made: Sequence[tuple[int, Plan]], target: Spirv, resources: Mapping[str, Mapping[str, int]]
) -> dict[str, Any]:
    builds = {
        n: {
            "target": "spirv", "arch": ARCH, "library": "spirv", "entry": p.variant, "slots": slots(p),
            "grid": [str(e) for e in p.launch.grid], "plan": "", "plan_sha256": "",
            "resources": dict(resources[p.variant]),
            "verdict": {"outcome": "proved", "scope": "plan", "oracle": "1", "checks": {}, "findings": []},
        }
        for n, p in made
    }  # fmt: skip
    return {
        "module": k.module, "name": k.name, "file": k.file, "line": k.span.line, "sha256": "", "dims": list(k.dims),
        "parameters": [
            {"name": p.name, "mode": p.mode, "dtype": p.dtype, "dims": [str(d) for d in p.dims]} for p in k.parameters
        ],
        "requires": [], "otherwise": k.otherwise,
        "variants": [
            {"consts": {}, "when": v.when, "target": v.target, "builds": [builds[n]] if n in builds else []}
            for n, v in enumerate(k.variants)
        ],
    }  # fmt: skip


def write(project: Path, name: str, text: str) -> Path:
    """A project whose package has one module, `kernels`."""
    source = project / "src" / name
    source.mkdir(parents=True)
    (source / "__init__.py").write_text("")
    (source / "kernels.py").write_text(f"import tilebuild as tb\n{text}", encoding="utf-8")
    return project
