"""Times the cpu kernels of examples/fastnorm against torch and NumPy, with a copy of the same bytes as the limit.

    python benchmarks/cpu.py [--rounds 15] [--sizes small,large] [--only softmax,gelu] [--level v3] [--append]

Needs tilebuild with its test and bench extras. One thread each. The kernels are built beside this file, in
`build/benchmarks`, and called through the runtime, as an installed package calls them. Each ratio is the median over
interleaved rounds with its quartiles; above 1, ours is the faster.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402
import torch  # noqa: E402
from report import interleaved, publish, ratio, table  # noqa: E402

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "benchmarks"
LEVELS = {"v2": "default", "v3": "avx2", "v4": "avx512"}  # what torch calls them
EPS = 1e-5
Array = Any
ENOUGH = 0.02  # seconds: shorter actions are repeated within a round

# rows and columns: in the first cache, in the second or third, in memory
SIZES = {"tiny": (16, 256), "small": (256, 512), "large": (4096, 1024), "wide": (512, 8191)}
PRODUCTS = {"tiny": (64, 64, 64), "small": (256, 256, 256), "large": (1024, 1024, 1024), "wide": (513, 700, 333)}


@dataclass(frozen=True)
class Case:
    """A kernel at one size: ours, the same in torch and NumPy, and the arrays that it must read and write."""

    name: str
    size: str
    ours: Callable[[], Array]
    torch: Callable[[], Any]
    numpy: Callable[[], Array]
    arrays: Sequence[Array]


def build() -> None:
    """Build the example's kernels and put the package on `sys.path`."""
    from tilebuild.build import configure
    from tilebuild.build.driver import build_kernels

    project, site = BUILD / "fastnorm", BUILD / "site"
    source = ROOT / "examples" / "fastnorm"
    files = {
        p.relative_to(source): p.read_bytes() for p in [source / "pyproject.toml", *(source / "src").rglob("*.py")]
    }
    for name, data in files.items():
        _write(project / name, data)
        if name.parts[0] == "src":
            _write(site / Path(*name.parts[1:]), data)
    built = build_kernels(project, configure(project), log=lambda line: print(line, file=sys.stderr))
    for name, path in built.files.items():
        _write(site / name, path.read_bytes())
    sys.path.insert(0, str(site))


def _write(path: Path, data: bytes) -> None:
    if not path.is_file() or path.read_bytes() != data:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def cases(sizes: Sequence[str], only: Sequence[str]) -> list[Case]:
    from fastnorm import kernels

    functional, rng = torch.nn.functional, np.random.default_rng(0)
    found = []
    for size in sizes:
        m, n = SIZES[size]
        x, r, y = (rng.standard_normal((m, n), np.float32) for _ in range(3))
        w, b = (rng.standard_normal(n, np.float32) for _ in range(2))
        tx, tr, tw, tb = (torch.from_numpy(a) for a in (x, r, w, b))

        def numpy_softmax(x: Array = x) -> Array:
            e = np.exp(x - x.max(1, keepdims=True))
            return e / e.sum(1, keepdims=True)

        def numpy_layernorm(x: Array = x, w: Array = w, b: Array = b) -> Array:
            d = x - x.mean(1, keepdims=True)
            return d / np.sqrt((d * d).mean(1, keepdims=True) + EPS) * w + b

        def numpy_gelu(t: Array = x) -> Array:  # NumPy has no erf: the tanh form
            return 0.5 * t * (1 + np.tanh(0.7978845608 * (t + 0.044715 * t * t * t)))

        def fused(k: Any = kernels, x: Array = x, b: Array = b, r: Array = r, y: Array = y) -> Array:
            return k.bias_gelu_residual(x, b, r, y)

        found += [
            Case(
                "softmax", size, lambda x=x, y=y: kernels.softmax(x, y), lambda t=tx: torch.softmax(t, 1),
                numpy_softmax, (x,),
            ),
            Case(
                "layernorm", size, lambda x=x, w=w, b=b, y=y: kernels.layernorm(x, w, b, y, EPS),
                lambda t=tx, w=tw, b=tb: functional.layer_norm(t, (t.shape[1],), w, b, EPS), numpy_layernorm, (x,),
            ),
            Case("gelu", size, lambda x=x, y=y: kernels.gelu(x, y), lambda t=tx: functional.gelu(t), numpy_gelu, (x,)),
            Case(
                "bias+gelu+residual", size, fused,
                lambda t=tx, b=tb, r=tr: functional.gelu(t + b, approximate="tanh") + r,
                lambda x=x, b=b, r=r: numpy_gelu(x + b) + r, (x, r),
            ),
        ]  # fmt: skip
        p, q, k = PRODUCTS[size]
        a, c, z = (
            rng.standard_normal((p, k), np.float32),
            rng.standard_normal((k, q), np.float32),
            np.empty((p, q), np.float32),
        )
        ta, tc = torch.from_numpy(a), torch.from_numpy(c)
        found.append(
            Case(
                f"matmul {p}x{q}x{k}", size, lambda a=a, c=c, z=z: kernels.matmul(a, c, z),
                lambda a=ta, c=tc: a @ c, lambda a=a, c=c: a @ c, (a, c),
            )
        )  # fmt: skip
    return [case for case in found if not only or case.name.split()[0] in only]


def copy_of(arrays: Sequence[Array]) -> Callable[[], None]:
    """Moves the bytes that an elementwise kernel cannot but read and write once."""
    targets = [np.empty_like(a) for a in arrays]

    def run() -> None:
        for source, target in zip(arrays, targets):
            np.copyto(target, source)

    return run


def row(case: Case, rounds: int) -> tuple[object, ...]:
    got, want = case.ours(), case.torch().numpy()
    error = float(np.abs(got - want).max() / (np.abs(want).max() + 1e-30))
    if not error < 1e-4:
        sys.exit(f"{case.name} at {case.size} differs from torch by {error}")
    start = time.perf_counter()
    case.ours()
    inner = max(1, int(ENOUGH / (time.perf_counter() - start)))
    actions = {"ours": case.ours, "torch": case.torch, "numpy": case.numpy, "copy": copy_of(case.arrays)}
    times = interleaved(actions, rounds, inner)
    per_call = sorted(times["ours"])[rounds // 2] * 1e6
    shape = "x".join(map(str, got.shape))
    limit = "" if case.name.startswith("matmul") else ratio(times["copy"], times["ours"])
    return (
        case.name,
        shape,
        f"{per_call:.1f}",
        ratio(times["torch"], times["ours"]),
        ratio(times["numpy"], times["ours"]),
        limit,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--sizes", default=",".join(SIZES), help=f"of {', '.join(SIZES)}")
    parser.add_argument("--only", default="", help="kernels, by the first word of their name")
    parser.add_argument("--level", choices=list(LEVELS), help="hold ours and torch to one instruction set")
    parser.add_argument("--append", action="store_true", help="add the table to RESULTS.md")
    options = parser.parse_args()
    if options.level and os.environ.get("ATEN_CPU_CAPABILITY") != LEVELS[options.level]:
        # torch reads it when it is loaded
        os.execve(
            sys.executable, [sys.executable, *sys.argv], {**os.environ, "ATEN_CPU_CAPABILITY": LEVELS[options.level]}
        )
    torch.set_num_threads(1)
    build()
    if options.level:
        hold_to(options.level)
    chosen = cases(options.sizes.split(","), [n for n in options.only.split(",") if n])
    rows = [row(case, options.rounds) for case in chosen]
    head = ("kernel", "shape", "us", "torch / ours", "NumPy / ours", "copy / ours")
    more = f"one thread, {options.rounds} rounds{f', held to {options.level}' if options.level else ''}"
    publish("cpu kernels", table(head, rows), more, options.append)


def hold_to(level: str) -> None:
    """Let the runtime take this level of every library."""
    from tilebuild.runtime.devices import cpu

    class Held(cpu.CpuLibrary):
        def __init__(self, handle: Any, _: str) -> None:
            super().__init__(handle, level)

    cpu.CpuLibrary = Held  # type: ignore[misc]


if __name__ == "__main__":
    main()
