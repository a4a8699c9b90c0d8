"""Measures the prelude's inexact operations over float32 bit patterns, against the C library's in double precision.

    python benchmarks/prelude/accuracy.py [stride]    # stride 1: every bit pattern, some minutes a level

Compiles with $CC (default gcc) for each x86-64 level that the machine runs, and prints the worst error of each
operation in units in the last place of the exact result. An infinity counts as 2**128.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

PRELUDE = Path(__file__).parents[2] / "tilebuild" / "targets" / "cpu"
SOURCE = r"""
#include "prelude.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static double reciprocal_root(double x) { return 1 / sqrt(x); }

static double ulps(double y, double exact)
{
    int exponent = exact == 0 ? -126 : ilogb(exact);
    if (fabs(exact) > 0x1p128) exact = copysign(0x1p128, exact);
    if (fabs(y) > 0x1p128) y = copysign(0x1p128, y);
    if (exponent < -126) exponent = -126;
    if (exponent > 127) exponent = 127;
    return fabs(y - exact) * ldexp(1, 23 - exponent);
}

#define MEASURE(name, exact_function)                                                                   \
    {                                                                                                   \
        double worst = 0;                                                                               \
        float at = 0;                                                                                   \
        long wrong_nan = 0;                                                                             \
        for (uint64_t bits = 0; bits < 1ull << 32; bits += VL * stride) {                               \
            float x[VL], y[VL];                                                                         \
            for (int i = 0; i < VL; i++) {                                                              \
                uint32_t pattern = (uint32_t)(bits + i * stride);                                       \
                memcpy(&x[i], &pattern, 4);                                                             \
            }                                                                                           \
            tb_store_f32(y, tb_##name##_f32(tb_load_f32(x)));                                           \
            for (int i = 0; i < VL; i++) {                                                              \
                double exact = exact_function((double)x[i]);                                            \
                if (isnan(exact) || isnan(y[i])) {                                                      \
                    wrong_nan += isnan(exact) != isnan(y[i]);                                           \
                    continue;                                                                           \
                }                                                                                       \
                double error = ulps(y[i], exact);                                                       \
                if (error > worst) worst = error, at = x[i];                                            \
            }                                                                                           \
        }                                                                                               \
        printf("%-6s %2d lanes: %.4f ulp at %a; NaN where it should not be, or not where it should: %ld\n", #name, VL, \
               worst, at, wrong_nan);                                                                   \
        fflush(stdout);                                                                                 \
    }

int main(int count, char **arguments)
{
    uint64_t stride = count > 1 ? strtoull(arguments[1], 0, 10) : 1;
    MEASURE(exp, exp)
    MEASURE(exp2, exp2)
    MEASURE(log, log)
    MEASURE(log2, log2)
    MEASURE(rsqrt, reciprocal_root)
}
"""


def levels() -> list[str]:
    """Flags for each level: those of x86-64 that this machine runs, or none."""
    if platform.machine() != "x86_64":
        return [""]
    flags = Path("/proc/cpuinfo").read_text()
    wanted = {"v2": " sse4_1 ", "v3": " avx2 ", "v4": " avx512vl "}
    return [f"-march=x86-64-{level}" for level, flag in wanted.items() if flag in flags]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "measure.c").write_text(SOURCE)
        for level in levels():
            program = Path(folder) / f"measure{level}"
            command = [os.environ.get("CC", "gcc"), "-O3", "-fno-math-errno", "-fno-trapping-math", f"-I{PRELUDE}"]
            subprocess.run(
                [*command, *filter(None, [level]), str(Path(folder) / "measure.c"), "-o", str(program), "-lm"],
                check=True,
            )
            print(level or platform.machine(), flush=True)
            subprocess.run([str(program), *sys.argv[1:2]], check=True)


if __name__ == "__main__":
    main()
