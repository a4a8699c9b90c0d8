"""Writes tests/testing/foreign/: PTX that compilers other than tilebuild's make of kernels of ours, with launch facts.

    pip install triton==3.9.0 "cuda-toolkit[nvcc]==13.5.0"      # neither needs a GPU; nvcc needs a host g++
    python scripts/make_foreign_ptx.py [triton] [nvcc]

Needs the versions above for the same bytes. Each `NAME.ptx` is a compiler's output with debug lines left out;
`launch.json` holds what a launch needs to know of each entry (see tests/testing/foreign/README.md). The kernels of nvcc
are in `kernels.cu` there.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "testing" / "foreign"
NVCC = "13.5"
NVCC_FLAGS: Mapping[str, tuple[str, ...]] = {
    "nvcc_o3": ("-O3",),
    "nvcc_o0": ("-Xcicc", "-O0"),
    "nvcc_debug": ("-G",),
}


def plain(text: str) -> str:
    """The PTX without debug sections, line directives and comments, which take most of the bytes and hold paths."""
    text = re.sub(r"^\s*\.section\s+\.debug\w*\s*\{.*?^\s*\}\s*$", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^\s*\.(?:loc|file)\b.*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"//.*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"^\.target (\S+), debug", r".target \1", text, flags=re.MULTILINE)
    return "\n".join(line.rstrip() for line in text.splitlines() if line.strip()) + "\n"


def save(entries: Mapping[str, Any]) -> None:
    """Put entries into launch.json, beside those that are there."""
    file = FOLDER / "launch.json"
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    known.update(entries)
    lines = [f" {json.dumps(name)}: {json.dumps(facts)}" for name, facts in sorted(known.items())]
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def triton_kernels() -> Mapping[str, tuple[Callable[..., None], Mapping[str, str], Mapping[str, Any], int, Any]]:
    """name -> (kernel, types of its arguments, constants, warps, launch facts)"""
    from foreign_triton import KERNELS

    return KERNELS


def with_triton() -> None:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    entries = {}
    for name, (kernel, signature, constants, warps, facts) in triton_kernels().items():
        types = {n: t.partition(":")[0] for n, t in signature.items()} | dict.fromkeys(constants, "constexpr")
        multiples = [n for n, t in enumerate(signature.values()) if t.startswith("*") or t.endswith(":16")]
        attributes = {(n,): [["tt.divisibility", 16]] for n in multiples}
        source = ASTSource(fn=kernel, signature=types, constexprs=dict(constants), attrs=attributes)
        made = triton.compile(source, target=GPUTarget("cuda", 80, 32), options={"num_warps": warps})
        (FOLDER / f"{name}.ptx").write_text(plain(made.asm["ptx"]), encoding="utf-8")
        entries[name] = {
            "compiler": f"triton {triton.__version__}",
            "file": f"{name}.ptx",
            "entry": made.metadata.name,
            "block": [32 * warps, 1, 1],
            "shared_bytes": made.metadata.shared,
            # Triton's last two parameters are scratch memory, which these kernels do not use
            "arguments": [*signature, None, None],
            "constants": dict(constants),
            **facts,
        }
    save(entries)


def with_nvcc(nvcc: str, version: str) -> None:
    from foreign_cuda import FACTS

    entries = {}
    for suffix, flags in NVCC_FLAGS.items():
        output = FOLDER / f"{suffix}.ptx"
        # from there: names of internal functions hold a digest of the path as it is given
        subprocess.run([nvcc, "-ptx", "-arch=sm_80", *flags, "kernels.cu", "-o", output.name], check=True, cwd=FOLDER)
        output.write_text(plain(output.read_text(encoding="utf-8")), encoding="utf-8")
        for entry, facts in FACTS.items():
            entries[f"{suffix}/{entry}"] = {
                "compiler": f"nvcc {version} {' '.join(flags)}",
                "file": output.name,
                "entry": entry,
                **facts,
            }
    save(entries)


def main(parts: Sequence[str]) -> int:
    sys.path.insert(0, str(FOLDER))
    FOLDER.mkdir(parents=True, exist_ok=True)
    if not parts or "triton" in parts:
        with_triton()
    if not parts or "nvcc" in parts:
        nvcc = shutil.which("nvcc") or ""
        said = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout if nvcc else ""
        version = "".join(re.findall(r"V([\d.]+)", said)[:1])
        if not version.startswith(NVCC):
            what = f"the nvcc on PATH is {version}, not {NVCC}" if version else "no nvcc on PATH"
            print(f'{what}; get it: pip install "cuda-toolkit[nvcc]=={NVCC}.0"', file=sys.stderr)
            return 1
        with_nvcc(nvcc, version)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
