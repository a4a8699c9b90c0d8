"""The commands of a gpu build's edges: `python -m tilebuild.targets.gpu.step STEP ARGUMENT...`.

    compile COMPILER ARCH SOURCE PTX    CUDA C++ to PTX
    join PTX INPUT...                   several PTX files to one
    assemble ARCH PTX CUBIN LOG         PTX to machine code; what ptxas reports goes to LOG
    merge ARCH FATBIN CUBIN [PTX]       machine code, and the PTX for newer architectures, to one file

The tools are looked for here, so that a command line stays the same where they lie in another build environment.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tilebuild import toolchain
from tilebuild.diagnostics import TilebuildError
from tilebuild.targets.gpu import ptx
from tilebuild.targets.gpu.limits import ptx_version
from tilebuild.targets.gpu.roles import ASSEMBLER, COMPILER, LINKER

_PROBES = "probes.json"  # beside the output: the answers of version probes


def compile_(compiler: str, arch: str, source: str, output: str) -> int:
    tool = toolchain.find(COMPILER, compiler, cache=Path(output).with_name(_PROBES))
    command = tool.fill("compile", {"out": output}, {"in": (source,)}, arch)
    if tool.description.module:  # what `python -m` would run, without another process
        module = importlib.import_module(tool.description.module)
        code: int = module.main(command[command.index(tool.description.module) + 1 :])
    else:
        code = subprocess.run(command, check=False).returncode
    if code == 0:
        file = Path(output)
        file.write_text(ptx.lowered(file.read_text(encoding="utf-8"), ptx_version(arch)), encoding="utf-8")
    return code


def join(output: str, *inputs: str) -> int:
    Path(output).write_text(ptx.joined(Path(i).read_text(encoding="utf-8") for i in inputs), encoding="utf-8")
    return 0


def assemble(arch: str, source: str, output: str, log: str) -> int:
    tool = toolchain.find(ASSEMBLER, cache=Path(output).with_name(_PROBES))
    command = tool.fill("assemble", {"out": output}, {"in": (source,)}, arch)
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    Path(log).write_text(done.stdout, encoding="utf-8")
    said = [line for line in done.stdout.splitlines() if done.returncode or "warning" in line]
    if said:
        print("\n".join(said), file=sys.stderr)
    return done.returncode


def merge(arch: str, output: str, cubin: str, *texts: str) -> int:
    tool = toolchain.find(LINKER, cache=Path(output).with_name(_PROBES))
    number = arch.removeprefix("sm_")
    files = [("elf", cubin), *(("ptx", text) for text in texts)]
    images = [f"kind={kind},sm={number},file={file}" for kind, file in files]
    return subprocess.run(tool.fill("merge", {"out": output}, {"in": images}), check=False).returncode


def main(arguments: Sequence[str]) -> int:
    """The command; raises KeyError for a step that there is not."""
    steps: dict[str, Callable[..., int]] = {"compile": compile_, "join": join, "assemble": assemble, "merge": merge}
    try:
        return steps[arguments[0]](*arguments[1:])
    except TilebuildError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
