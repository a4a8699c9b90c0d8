"""Times the prelude's packed matrix product, called tile by tile as a generated kernel does, against NumPy.

    python benchmarks/prelude/matmul.py [BM,BN,BK ...]    # one thread, 1024 x 1024 x 1024, f32

The two run in turns; the ratio is the median over the rounds of NumPy's time by ours, above 1 where ours is faster.
OPENBLAS_CORETYPE=Haswell holds an OpenBLAS behind NumPy to AVX2, for a like comparison at x86-64-v3.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np

PRELUDE = Path(__file__).parents[2] / "tilebuild" / "targets" / "cpu"
SIZE = 1024
ROUNDS = 15
TILES = ["96,256,256", "192,256,256", "384,256,128", "192,512,128"]
SOURCE = r"""
#include "prelude.h"

/* the scratch arena of one thread, planned as accumulator, tile of A, packed tile of B */
static float arena[BM * BN + BM * BK + BK * BN] __attribute__((aligned(64)));

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static void copy(float *to, int64_t to_stride, const float *from, int64_t from_stride, int64_t rows, int64_t cols)
{
    for (int64_t r = 0; r < rows; r++) {
        int64_t c = 0;
        for (; c + VL <= cols; c += VL) tb_store_f32(to + r * to_stride + c, tb_load_f32(from + r * from_stride + c));
        if (c < cols)
            tb_store_n_f32(to + r * to_stride + c, cols - c, tb_load_n_f32(from + r * from_stride + c, cols - c));
    }
}

__attribute__((visibility("default"))) void matmul(const float *a, const float *b, float *c, int64_t size)
{
    float *acc = arena, *tile_a = acc + BM * BN, *tile_b = tile_a + BM * BK;
    for (int64_t i = 0; i < size; i += BM)
        for (int64_t j = 0; j < size; j += BN) {
            int64_t m = least(BM, size - i), n = least(BN, size - j);
            memset(acc, 0, sizeof(float) * BM * BN);
            for (int64_t p = 0; p < size; p += BK) {
                int64_t k = least(BK, size - p);
                tb_pack_panels32_f32(tile_b, BK, b + p * size + j, size, 1, k, n);
                copy(tile_a, BK, a + i * size + p, size, m, k);
                tb_dot_f32(m, n, k, tile_a, BK, tile_b, BK, acc, BN);
            }
            copy(c + i * size + j, size, acc, BN, m, n);
        }
}
"""


def build(folder: Path, level: str, tile: str) -> ctypes.CDLL:
    macros = [f"-D{name}={value}" for name, value in zip(("BM", "BN", "BK"), tile.split(","))]
    library = folder / f"{level}-{tile}.so"
    flags = ["-O3", "-fPIC", "-shared", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden", f"-I{PRELUDE}"]
    (folder / "m.c").write_text(SOURCE)
    compiler = os.environ.get("CC", "gcc")
    subprocess.run(
        [compiler, *flags, f"-march=x86-64-{level}", *macros, str(folder / "m.c"), "-o", str(library)], check=True
    )
    return ctypes.CDLL(str(library))


def main() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((SIZE, SIZE), dtype=np.float32) for _ in range(2))
    ours, theirs = np.empty_like(a), np.empty_like(a)
    pointers = [ctypes.c_void_p(x.ctypes.data) for x in (a, b, ours)]
    with tempfile.TemporaryDirectory() as folder:
        for level in ("v2", "v3", "v4"):
            for tile in sys.argv[1:] or TILES:
                library = build(Path(folder), level, tile)
                times: list[tuple[float, float]] = []
                for _ in range(ROUNDS):
                    start = time.perf_counter()
                    library.matmul(*pointers, ctypes.c_int64(SIZE))
                    middle = time.perf_counter()
                    np.matmul(a, b, out=theirs)
                    times.append((middle - start, time.perf_counter() - middle))
                assert np.allclose(ours, theirs, atol=1e-3)
                ratio = median(t / o for o, t in times)
                best = [min(t) * 1e3 for t in zip(*times)]
                print(
                    f"{level} {tile:>12}: ratio {ratio:.2f}, best {best[0]:.1f} ms, NumPy {best[1]:.1f} ms", flush=True
                )


if __name__ == "__main__":
    main()
