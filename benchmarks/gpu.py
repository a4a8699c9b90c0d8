"""Checks fastnorm's kernels on a GPU against float64, and times them against torch: `python benchmarks/gpu.py`.

Needs numpy, torch with CUDA, and fastnorm built for the device's architecture: installed, or its sources and `_kernels`
in the directories of `--site`, which are put before `sys.path` (as are tilebuild's own sources, where they are given).
Times are medians over CUDA events, each around as many launches as make one sample long enough to measure; inputs are
larger than the device's caches. Prints one table; the exit code is 0 where every kernel is right, 1 where one is
wrong, 2 where there is no device.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

SAMPLE_MS = 2.0
SAMPLES = 25
SMALL = 0.25


@dataclass(frozen=True)
class Case:
    """One kernel: its inputs for a shape, the exact result from float64 inputs, and what torch offers for it.

    `bound` is the largest error allowed, relative to the largest result of a row, or to SMALL where that is less;
    `traffic` the arrays of the shape's size that are read or written, 0 for a matrix product, of shape (M, N, K).
    """

    name: str
    inputs: Callable[[Any, Sequence[int]], tuple[Any, ...]]
    exact: Callable[..., Any]
    torch: Callable[..., Any]
    bound: float
    output: str = "y"
    traffic: int = 2
    ragged: tuple[tuple[int, ...], ...] = ((1, 1), (37, 1000), (5, 1025), (3, 8191), (513, 77))
    timed: tuple[tuple[int, ...], ...] = ((16384, 1024), (8192, 8192))


def cases(torch: Any) -> list[Case]:
    nn = torch.nn.functional

    def row(m: Any, shape: Sequence[int]) -> Any:
        return m(shape[1])

    def mean_square(x: Any) -> Any:
        return (x * x).mean(1, keepdim=True)

    return [
        Case(
            "add", lambda m, s: (m(*s), m(*s)), lambda x, y: x + y,
            lambda o, x, y: torch.add(x, y, out=o), 1e-7, "z", 3,
        ),
        Case("scale", lambda m, s: (m(*s), 0.375), lambda x, a: x * a, lambda o, x, a: torch.mul(x, a, out=o), 1e-7),
        Case("gelu", lambda m, s: (m(*s),), nn.gelu, lambda o, x: nn.gelu(x), 2e-6),
        Case(
            "bias_gelu_residual", lambda m, s: (m(*s), row(m, s), m(*s)),
            lambda x, b, r: nn.gelu(x + b, approximate="tanh") + r,
            lambda o, x, b, r: nn.gelu(x + b, approximate="tanh") + r, 2e-6, "y", 3,
        ),
        Case(
            "softmax", lambda m, s: (m(*s),), lambda x: torch.softmax(x, 1),
            lambda o, x: torch.softmax(x, 1, out=o), 2e-6,
        ),
        Case(
            "softmax_online", lambda m, s: (m(*s),), lambda x: torch.softmax(x, 1),
            lambda o, x: torch.softmax(x, 1, out=o), 2e-6, timed=((8192, 8192), (1024, 100000)),
        ),
        Case(
            "layernorm", lambda m, s: (m(*s), row(m, s), row(m, s), 1e-5),
            lambda x, w, b, e: nn.layer_norm(x, x.shape[1:], w, b, e),
            lambda o, x, w, b, e: nn.layer_norm(x, x.shape[1:], w, b, e), 4e-6,
        ),
        Case(
            "rmsnorm", lambda m, s: (m(*s), row(m, s), 1e-5),
            lambda x, w, e: x / torch.sqrt(mean_square(x) + e) * w,
            lambda o, x, w, e: nn.rms_norm(x, x.shape[1:], w, e), 4e-6,
        ),
        Case(
            "matmul", lambda m, s: (m(s[0], s[2]), m(s[2], s[1])), lambda a, b: a @ b,
            lambda o, a, b: torch.mm(a, b, out=o), 2e-5, "c", 0,
            ((1, 1, 1), (37, 41, 29), (129, 300, 511)), ((1024, 1024, 1024), (4096, 4096, 4096)),
        ),
    ]  # fmt: skip


class Bench:
    """The kernels of the package's module on one device."""

    def __init__(self, torch: Any, module: Any) -> None:
        self.torch, self.module = torch, module
        self.generator = torch.Generator("cuda").manual_seed(20261122)

    def normal(self, *shape: int) -> Any:
        return self.torch.randn(shape, device="cuda", generator=self.generator)

    def result(self, case: Case, shape: Sequence[int]) -> Any:
        return self.torch.full(tuple(shape[:2]), float("nan"), device="cuda")

    def call(self, case: Case, given: Sequence[Any], out: Any) -> None:
        getattr(self.module, case.name)(*given, **{case.output: out}, target="gpu")

    def error(self, case: Case, shape: Sequence[int]) -> float:
        """The largest error of a call, relative to the row's largest exact result; infinite where one is no number."""
        torch = self.torch
        given, out = case.inputs(self.normal, shape), self.result(case, shape)
        self.call(case, given, out)
        wide = [g.double() if hasattr(g, "double") else g for g in given]
        exact = case.exact(*wide)
        relative = (out.double() - exact).abs() / exact.abs().amax(1, keepdim=True).clamp_min(SMALL)
        return float(relative.max()) if bool(torch.isfinite(relative).all()) else float("inf")

    def milliseconds(self, launch: Callable[[], object]) -> float:
        """The median over samples of one launch's time on the device."""
        torch = self.torch

        def sample(count: int) -> float:
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            for _ in range(count):
                launch()
            end.record()
            end.synchronize()
            return float(start.elapsed_time(end)) / count

        sample(3)
        count = max(1, round(SAMPLE_MS / max(sample(3), 1e-3)))
        return statistics.median(sample(count) for _ in range(SAMPLES))

    def times(self, case: Case, shape: Sequence[int]) -> tuple[float, float]:
        """Milliseconds of ours and of torch's."""
        given, out = case.inputs(self.normal, shape), self.result(case, shape)
        ours = self.milliseconds(lambda: self.call(case, given, out))
        return ours, self.milliseconds(lambda: case.torch(out, *given))


def rate(case: Case, shape: Sequence[int], milliseconds: float) -> str:
    """Bytes moved, or operations done, in a second."""
    if case.traffic:
        return f"{case.traffic * 4 * shape[0] * shape[1] / milliseconds / 1e9:.2f} TB/s"
    m, n, k = shape
    return f"{2 * m * n * k / milliseconds / 1e9:.1f} TFLOP/s"


def report(bench: Bench, chosen: Sequence[Case], *, timed: bool) -> list[dict[str, Any]]:
    """A line a kernel and shape; prints each as it is measured."""
    found: list[dict[str, Any]] = []
    print(f"{'kernel':<19}{'shape':<18}{'error':>9}{'bound':>9}  {'ours ms':>9}{'torch ms':>9}{'ratio':>7}  rate")
    for case in chosen:
        for shape in (*case.ragged, *case.timed):
            error = bench.error(case, shape)
            line: dict[str, Any] = {
                "kernel": case.name,
                "shape": list(shape),
                "error": error,
                "right": error <= case.bound,
            }
            text = f"{case.name:<19}{'x'.join(map(str, shape)):<18}{error:>9.1e}{case.bound:>9.0e}"
            if timed and shape in case.timed:
                ours, theirs = bench.times(case, shape)
                line |= {"ours_ms": ours, "torch_ms": theirs}
                text += f"  {ours:>9.4f}{theirs:>9.4f}{theirs / ours:>7.2f}  {rate(case, shape, ours)}"
            print(text + ("" if line["right"] else "  WRONG"), flush=True)
            found.append(line)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--site", action="append", default=[], help="a directory to put before sys.path")
    parser.add_argument("--only", default="", help="kernels, separated by commas")
    parser.add_argument("--check", action="store_true", help="check only, time nothing")
    parser.add_argument("--json", default="", help="write the table to this file too")
    options = parser.parse_args(arguments)
    sys.path[:0] = options.site
    torch = importlib.import_module("torch")
    if not torch.cuda.is_available():
        print("no CUDA device that torch can use: nothing was run", file=sys.stderr)
        return 2
    torch.backends.cuda.matmul.allow_tf32 = False
    name = torch.cuda.get_device_name()
    print(f"{name}, compute capability {torch.cuda.get_device_capability()}, torch {torch.__version__}")
    wanted = [c for c in cases(torch) if not options.only or c.name in options.only.split(",")]
    lines = report(Bench(torch, importlib.import_module("fastnorm.kernels")), wanted, timed=not options.check)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"device": name, "torch": torch.__version__, "lines": lines}, file, indent=1)
    wrong = [line for line in lines if not line["right"]]
    print(f"{len(lines) - len(wrong)} of {len(lines)} right; ratio: torch's time over ours, above 1 ours is faster")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
