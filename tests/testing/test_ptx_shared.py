"""The oracle's own examples of accesses to shared memory, executed: those that it calls right run, in optimised code
and in code for a debugger; those that it calls wrong are stopped."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tilebuild.diagnostics import TilebuildError
from tilebuild.testing.ptx import emulate

FOLDER = Path(__file__).parents[1] / "oracle" / "ptx"
SOURCE = (FOLDER / "shared.cu").read_text(encoding="utf-8")
KERNELS = {
    name: ((int(x), int(y)), parameters.split(","))
    for name, x, y, parameters in re.findall(r"^KERNEL\((\w+), (\d+), (\d+)\)\((.*)\)$", SOURCE, re.MULTILINE)
}


def run(file: str, name: str) -> str:
    """The code of the fault that stops a kernel, or an empty string."""
    block, parameters = KERNELS[name]
    arguments = [
        200 if "*" not in p else np.arange(8192, dtype=np.int32) if "int" in p else np.ones(8192, np.float32)
        for p in parameters
    ]
    size = 256 if name == "ok_dynamic" else 0
    try:
        text = (FOLDER / file).read_text(encoding="utf-8")
        emulate(text, name, 1, block, arguments, shared_bytes=size, name=file)
    except TilebuildError as error:
        return error.diagnostics[0].code
    return ""


@pytest.mark.parametrize("file", ["shared.ptx", "debug.ptx"])
@pytest.mark.parametrize("name", [n for n in KERNELS if n.startswith(("ok_", "bad_", "hard_"))])
def test_accesses(file: str, name: str) -> None:
    found = run(file, name)
    if name.startswith("bad_"):
        assert found in ("EMU-04", "EMU-05")
    else:
        assert found == ""
