"""prelude.h, compiled by every compiler and for every level that this machine has, against NumPy."""

from __future__ import annotations

import ast
import ctypes
import importlib.util
import math
import platform
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilebuild.lang import functions, library
from tilebuild.optable import OPS
from tilebuild.targets.cpu import fit

HERE = Path(fit.__file__).parent
FLAGS = [
    "-std=gnu11", "-O3", "-fPIC", "-shared", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden",
    "-Wall", "-Wextra", "-Werror",
]  # fmt: skip
# Stated bounds, in units in the last place, of the operations that are not exact or rounded once (docs/accuracy.md).
ULP = {"exp": 1.5, "exp2": 1.5, "log": 1.5, "log2": 2.0, "rsqrt": 2.0}
NUMPY = {"f32": np.float32, "i32": np.int32, "u32": np.uint32, "bool": np.int32}


# -- the library under test ----------------------------------------------------------------------------------------


def elementwise(name: str, args: str, expression: str, out: str) -> str:
    """A C function that applies an expression to whole arrays; `args` has one of f (f32) and i (i32) an operand."""
    types = {"f": ("float", "f32"), "i": ("int32_t", "i32")}
    parameters = ", ".join(f"const {types[t][0]} *x{n}" for n, t in enumerate(args))

    def loads(suffix: str, rest: str) -> str:
        return " ".join(
            f"tb_{types[t][1]}v v{n} = tb_load{suffix}_{types[t][1]}(x{n} + i{rest});" for n, t in enumerate(args)
        )

    result_type, result = types[out]
    return f"""
EXPORT void {name}({parameters}, {result_type} *y, int64_t n)
{{
    int64_t i = 0;
    for (; i + VL <= n; i += VL) {{ {loads("", "")} tb_store_{result}(y + i, {expression}); }}
    if (i < n) {{ {loads("_n", ", n - i")} tb_store_n_{result}(y + i, n - i, {expression}); }}
}}"""


def function_of(op: str, dtype: str) -> str:
    """The prelude's name of an operation: u32 and bool share those of i32 where the bits come out the same."""
    own = dtype == "f32" or op in (
        "abs", "maximum", "minimum", "floordiv", "mod", "shr", "lt", "le", "gt", "ge", "max", "min",
    )  # fmt: skip
    return f"tb_{op}_{dtype if own and dtype != 'bool' else 'i32'}"


def operations() -> Iterator[tuple[str, str]]:
    for op in OPS.values():
        for dtype in op.dtypes:
            yield op.name, dtype


def source() -> str:
    parts = ['#include "prelude.h"', '#define EXPORT __attribute__((visibility("default")))',
             "EXPORT int64_t lanes(void) { return VL; }"]  # fmt: skip
    for op, dtype in operations():
        kind, t, name = OPS[op].kind, "f" if dtype == "f32" else "i", function_of(op, dtype)
        if kind == "reduce":
            c = {"f32": "float", "i32": "int32_t", "u32": "uint32_t"}[dtype]
            parts.append(f"EXPORT {c} {op}_{dtype}(const void *p) {{ return tb_{op}_{dtype}(tb_load_{t}32(p)); }}")
        else:
            operands = t * (1 if kind == "unary" else 2)
            arguments = ", ".join(f"v{n}" for n in range(len(operands)))
            parts.append(
                elementwise(f"{op}_{dtype}", operands, f"{name}({arguments})", "i" if kind == "compare" else t)
            )
    for bound in ("maximum", "minimum"):
        parts.append(elementwise(f"{bound}_number", "ff", f"tb_{bound}_number_f32(v0, v1)", "f"))
    for to, of in (("f32", "i32"), ("i32", "f32"), ("f32", "u32"), ("u32", "f32"), ("f32", "bool"), ("i32", "bool"),
                   ("bool", "i32"), ("bool", "f32")):  # fmt: skip
        codes = ["f" if t == "f32" else "i" for t in (of, to)]
        parts.append(elementwise(f"{to}_from_{of}", codes[0], f"tb_{to}_from_{of}(v0)", codes[1]))
    for t in "fi":
        parts.append(elementwise(f"select_{t}32", f"i{t}{t}", f"tb_select_{t}32(v0, v1, v2)", t))
    for c, t in (("float", "f32"), ("int32_t", "i32")):
        parts.append(f"""
EXPORT void load_n_{t}(const {c} *p, int64_t n, {c} *y) {{ tb_store_{t}(y, tb_load_n_{t}(p, n)); }}
EXPORT void store_n_{t}({c} *p, int64_t n, const {c} *x) {{ tb_store_n_{t}(p, n, tb_load_{t}(x)); }}
EXPORT void load_strided_{t}(const {c} *p, int64_t s, int64_t n, {c} *y)
{{ tb_store_{t}(y, tb_load_strided_{t}(p, s, n)); }}
EXPORT void store_strided_{t}({c} *p, int64_t s, int64_t n, const {c} *x)
{{ tb_store_strided_{t}(p, s, n, tb_load_{t}(x)); }}
EXPORT void splat_{t}({c} s, {c} *y) {{ tb_store_{t}(y, tb_splat_{t}(s)); }}""")
    parts.append("""
EXPORT void mask_n(int64_t n, int32_t *y) { tb_store_i32(y, tb_mask_n(n)); }
EXPORT void iota(int32_t *y) { tb_store_i32(y, tb_iota_i32()); }
EXPORT void pack(float *dst, int64_t kb, const float *src, int64_t rs, int64_t cs, int64_t k, int64_t n)
{ tb_pack_panels32_f32(dst, kb, src, rs, cs, k, n); }
EXPORT void dot(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b, int64_t kb, float *c,
                int64_t ldc)
{ tb_dot_f32(m, n, k, a, lda, b, kb, c, ldc); }
""")
    return "\n".join(parts)


def compilers() -> dict[str, list[str]]:
    found = {name: [path] for name in ("gcc", "clang") if (path := shutil.which(name))}
    if importlib.util.find_spec("ziglang"):
        found["zig"] = [sys.executable, "-m", "ziglang", "cc"]
    return found


def machine_level() -> int:
    """2 to 4 on x86-64, by what the kernel says of the processor; 0 elsewhere."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return 0
    flags = set(re.findall(r"\S+", Path("/proc/cpuinfo").read_text().split("flags")[1].split("\n")[0]))
    needs = {2: "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3", 3: "avx avx2 bmi1 bmi2 f16c fma abm movbe xsave",
             4: "avx512f avx512bw avx512cd avx512dq avx512vl"}  # fmt: skip
    level = 1
    while level < 4 and set(needs[level + 1].split()) <= flags:
        level += 1
    return level


def configurations() -> list[tuple[str, int]]:
    """The first compiler at every level, the others at the best one."""
    best = machine_level()
    levels = range(2, best + 1) if best else [0]
    first = next(iter(compilers()), "")
    return [(c, level) for c in compilers() for level in levels if c == first or level == best]


class Library:
    """The compiled functions; arrays are passed as they are and must be contiguous."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.dll = ctypes.CDLL(str(path))
        self.dll.lanes.restype = ctypes.c_int64
        self.lanes = int(self.dll.lanes())

    def call(self, name: str, *args: object, result: object = None) -> object:
        function = getattr(self.dll, name)
        function.restype = result
        return function(*(self._argument(a) for a in args))

    @staticmethod
    def _argument(value: object) -> object:
        if isinstance(value, np.ndarray):
            return ctypes.c_void_p(value.ctypes.data)
        return ctypes.c_float(value) if isinstance(value, float) else ctypes.c_int64(value)  # type: ignore[arg-type]

    def map(self, name: str, *arrays: np.ndarray, out: type = np.float32) -> np.ndarray:
        result = np.empty(arrays[0].shape, out)
        self.call(name, *arrays, result, len(result))
        return result


@pytest.fixture(scope="session", params=configurations(), ids=lambda c: f"{c[0]}-v{c[1]}")
def lib(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Library:
    compiler, level = request.param
    folder = tmp_path_factory.mktemp(f"{compiler}{level}")
    (folder / "t.c").write_text(source())
    machine = [] if level == 0 else [f"-mcpu=x86_64_v{level}" if compiler == "zig" else f"-march=x86-64-v{level}"]
    command = [*compilers()[compiler], *FLAGS, *machine, f"-I{HERE}", str(folder / "t.c"), "-o", str(folder / "t.so")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Library(folder / "t.so")


# -- samples and errors --------------------------------------------------------------------------------------------

EDGES = np.array(
    [0.0, 1e-45, 1e-40, 1.1754942e-38, 1.1754944e-38, 1.0, 0.5, 2.0, 1.5, 87.3, 88.7, 88.72284, 103.9, 104.1, 126.5,
     127.99, 128.0, 149.5, 150.5, 8388607.5, 8388608.0, 2147483648.0, 3.4e38, np.inf, np.nan],
    np.float32,
)  # fmt: skip
EDGES = np.concatenate([EDGES, -EDGES, np.nextafter(EDGES, np.float32(0)), np.nextafter(-EDGES, np.float32(-9))])


def floats() -> np.ndarray:
    """Bit patterns over all of float32, evenly in the pattern: every exponent and sign, NaNs and subnormals too."""
    return np.concatenate([np.arange(0, 1 << 32, 12289, dtype=np.uint64).astype(np.uint32).view(np.float32), EDGES])


def pairs(dtype: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    if dtype != "f32":
        extremes = np.array([0, 1, -1, 2**31 - 1, -(2**31), 65535, 65536], np.int64).astype(np.uint32)
        values = np.concatenate([rng.integers(0, 1 << 32, 50_000, dtype=np.uint32), extremes.repeat(7)])
        other = np.concatenate([rng.integers(0, 1 << 32, 50_000, dtype=np.uint32), np.tile(extremes, 7)])
        return (-(values & 1), -(other & 1)) if dtype == "bool" else (values, other)
    x = np.concatenate([rng.permutation(floats()), EDGES.repeat(len(EDGES))])
    y = np.concatenate([rng.permutation(floats()), np.tile(EDGES, len(EDGES))])
    quarter = len(y) // 4
    with np.errstate(all="ignore"):
        y[:quarter] = x[:quarter] * rng.uniform(0.5, 2, quarter).astype(np.float32)  # of like magnitude
    return x, y


def ulp_error(y: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """|y - exact| in units in the last place of `exact`; infinity stands for 2**128, the next number were there one."""
    limit = 2.0**128
    with np.errstate(all="ignore"):
        y, exact = np.clip(y.astype(np.float64), -limit, limit), np.clip(exact, -limit, limit)
        exponent = np.clip(np.frexp(exact)[1] - 1, -126, 127)
        return np.abs(y - exact) / np.ldexp(1.0, exponent - 23)


def same(y: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Equal, NaN for NaN; +0 and -0 are equal."""
    return (y == expected) | (np.isnan(y) & np.isnan(expected)) if y.dtype == np.float32 else y == expected


def numpy_result(op: str, *args: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        if op == "rsqrt":
            return 1 / np.sqrt(args[0])
        if op in ("shl", "shr"):
            args = (args[0], args[1] & args[1].dtype.type(31))
        return getattr(np, OPS[op].numpy)(*args)


# -- elementwise operations and reductions -------------------------------------------------------------------------


@pytest.mark.parametrize(("op", "dtype"), list(operations()))
def test_operation(lib: Library, op: str, dtype: str) -> None:
    kind = OPS[op].kind
    x, y = pairs(dtype)
    if kind == "reduce":
        check_reduction(lib, op, dtype)
        return
    bits = NUMPY[dtype]
    args = [
        a.view(bits) for a in ((floats(),) if kind == "unary" and dtype == "f32" else (x, y)[: 1 + (kind != "unary")])
    ]
    found = lib.map(f"{op}_{dtype}", *args, out=np.int32 if kind == "compare" else bits)
    if op in ULP:
        with np.errstate(all="ignore"):  # signalling NaNs are among the samples
            exact = numpy_result(op, args[0].astype(np.float64))
        assert (np.isnan(found) == np.isnan(exact)).all()
        error = np.where(np.isnan(exact), 0, ulp_error(found, exact))
        worst = int(np.argmax(error))
        assert error[worst] <= ULP[op], f"{op}({args[0][worst]!r}) = {found[worst]!r}: {error[worst]:.3f} ulp"
        return
    expected = numpy_result(op, *args)
    expected = -expected.astype(np.int32) if kind == "compare" else expected
    wrong = np.flatnonzero(~same(found, expected))
    assert not len(wrong), f"{op}({[a[wrong[0]] for a in args]}) = {found[wrong[0]]}, not {expected[wrong[0]]}"


def check_reduction(lib: Library, op: str, dtype: str) -> None:
    x = pairs(dtype)[0].view(NUMPY[dtype])
    result = {"f32": ctypes.c_float, "i32": ctypes.c_int32, "u32": ctypes.c_uint32}[dtype]
    for i in range(0, 400 * lib.lanes, lib.lanes):
        part = np.ascontiguousarray(x[len(x) - i - lib.lanes : len(x) - i])  # the edges come last
        found = np.array([lib.call(f"{op}_{dtype}", part, result=result)], NUMPY[dtype])[0]
        with np.errstate(all="ignore"):
            if (op, dtype) == ("prod", "f32"):
                wide = part.astype(np.float64).prod()
                if np.isfinite(wide) and 1e-30 < abs(wide) < 1e30 and np.abs(np.log2(np.abs(part))).sum() < 120:
                    assert abs(float(found) - wide) <= len(part) * 2**-24 * abs(wide)
            elif (op, dtype) == ("sum", "f32"):
                if not np.isfinite(part).all() or np.abs(part).astype(np.float64).sum() > 3e38:
                    continue
                bound = math.log2(lib.lanes) * 2**-24 * np.abs(part).sum(dtype=np.float64) + 1e-45
                assert abs(float(found) - part.sum(dtype=np.float64)) <= bound
            else:
                expected = getattr(np, op)(part) if op != "sum" else part.sum(dtype=NUMPY[dtype])
                if op == "prod":
                    expected = part.prod(dtype=NUMPY[dtype])
                assert same(found, np.asarray(expected)), (part, found, expected)


def test_sum_of_infinities_and_nan(lib: Library) -> None:
    for value, expected in ((np.inf, np.inf), (-np.inf, -np.inf), (np.nan, np.nan)):
        for lane in range(lib.lanes):
            x = np.ones(lib.lanes, np.float32)
            x[lane] = value
            np.testing.assert_equal(lib.call("sum_f32", x, result=ctypes.c_float), expected)


def test_number_bounds_keep_nan(lib: Library) -> None:
    x = floats()
    bound = np.full_like(x, 0.75)
    assert same(lib.map("maximum_number", x, bound), np.maximum(x, bound)).all()
    assert same(lib.map("minimum_number", x, bound), np.minimum(x, bound)).all()


def test_signs_of_zero(lib: Library) -> None:
    zeros = np.array([0.0, -0.0] * 8, np.float32)
    for op, expected in (("neg", -zeros), ("abs", np.abs(zeros)), ("sqrt", zeros), ("floor", zeros), ("ceil", zeros)):
        assert (lib.map(f"{op}_f32", zeros).view(np.int32) == expected.view(np.int32)).all(), op
    splat = np.empty(lib.lanes, np.float32)
    lib.call("splat_f32", -0.0, splat)
    assert np.signbit(splat).all()


def test_casts(lib: Library) -> None:
    i = pairs("i32")[0].view(np.int32)
    x = floats()
    assert (lib.map("f32_from_i32", i) == i.astype(np.float32)).all()
    assert (lib.map("f32_from_u32", i) == i.view(np.uint32).astype(np.float32)).all()
    fits = x[(x >= -(2.0**31)) & (x < 2.0**31)]
    assert (lib.map("i32_from_f32", fits, out=np.int32) == np.trunc(fits).astype(np.int32)).all()
    fits = x[(x > -1) & (x < 2.0**32)]
    assert (lib.map("u32_from_f32", fits, out=np.uint32) == np.trunc(fits).astype(np.uint32)).all()
    truth = -(i & 1)
    assert (lib.map("i32_from_bool", truth, out=np.int32) == (i & 1)).all()
    assert (lib.map("f32_from_bool", truth) == (i & 1).astype(np.float32)).all()
    assert (lib.map("bool_from_i32", i, out=np.int32) == -(i != 0).astype(np.int32)).all()
    assert (lib.map("bool_from_f32", x, out=np.int32) == -(x != 0).astype(np.int32)).all()


def test_select(lib: Library) -> None:
    x, y = pairs("f32")
    mask = -(x.view(np.int32) & 1)
    for dtype in (np.float32, np.int32):
        a, b = x.view(dtype), y.view(dtype)
        found = lib.map(f"select_{'f' if dtype is np.float32 else 'i'}32", mask, a, b, out=dtype)
        assert (found.view(np.int32) == np.where(mask != 0, a, b).view(np.int32)).all()


# -- memory --------------------------------------------------------------------------------------------------------


def test_mask_iota_and_splat(lib: Library) -> None:
    lanes = np.arange(lib.lanes)
    found = np.empty(lib.lanes, np.int32)
    for n in (-(2**40), -1, *range(lib.lanes + 2), 2**31, 2**32, 2**40):
        lib.call("mask_n", n, found)
        assert (found == np.where(lanes < n, -1, 0)).all(), n
    lib.call("iota", found)
    assert (found == lanes).all()
    lib.call("splat_i32", -7, found)
    assert (found == -7).all()


@pytest.mark.parametrize("dtype", ["f32", "i32"])
def test_partial_and_strided(lib: Library, dtype: str) -> None:
    memory = np.arange(1, 400).astype(NUMPY[dtype])
    for n in range(lib.lanes + 1):
        for stride in (1, 2, 7, 0, -3):
            found = np.full(lib.lanes, 99, NUMPY[dtype])
            start = memory[200:]
            lib.call(f"load_strided_{dtype}", start, stride, n, found)
            expected = np.zeros_like(found)
            expected[:n] = [memory[200 + i * stride] for i in range(n)]
            assert (found == expected).all()
            if stride == 0:
                continue
            values, target = memory[: lib.lanes].copy(), np.zeros(400, NUMPY[dtype])
            lib.call(f"store_strided_{dtype}", target[200:], stride, n, values)
            expected = np.zeros_like(target)
            for i in range(n):
                expected[200 + i * stride] = values[i]
            assert (target == expected).all()
        found = np.full(lib.lanes, 99, NUMPY[dtype])
        lib.call(f"load_n_{dtype}", memory[3:], n, found)
        assert (found == np.where(np.arange(lib.lanes) < n, memory[3 : 3 + lib.lanes], 0)).all()
        target = np.full(lib.lanes + 2, 55, NUMPY[dtype])
        lib.call(f"store_n_{dtype}", target[1:], n, memory[3:])
        assert (target == np.concatenate([[55], memory[3 : 3 + n], [55] * (lib.lanes + 1 - n)])).all()


# Puts every operand right before a page that may not be touched: an access past it ends this child process.
GUARD = """
import ctypes, mmap, sys
lib, libc, page = ctypes.CDLL(sys.argv[1]), ctypes.CDLL(None, use_errno=True), mmap.PAGESIZE
lib.lanes.restype = ctypes.c_int64
kept = []
def before_guard(size):
    memory = mmap.mmap(-1, 8 * page)
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    assert libc.mprotect(ctypes.c_void_p(base + 7 * page), ctypes.c_size_t(page), 0) == 0
    kept.append(memory)
    return ctypes.c_void_p(base + 7 * page - size)
i64, lanes = ctypes.c_int64, lib.lanes()
buffer = (ctypes.c_float * 64)()
for t in ("f32", "i32"):
    for n in range(lanes + 1):
        getattr(lib, "load_n_" + t)(before_guard(4 * n), i64(n), buffer)
        getattr(lib, "store_n_" + t)(before_guard(4 * n), i64(n), buffer)
    for n in range(1, lanes + 1):
        getattr(lib, "load_strided_" + t)(before_guard(4 * (5 * n - 4)), i64(5), i64(n), buffer)
        getattr(lib, "store_strided_" + t)(before_guard(4 * (5 * n - 4)), i64(5), i64(n), buffer)
        getattr(lib, "exp_f32")(before_guard(4 * (lanes + n)), before_guard(4 * (lanes + n)), i64(lanes + n))
for m in (1, 3, 5, 11, 13, 25):
    for n in (1, 4, 17, 31, 32, 33, 70):
        for k in (1, 2, 9):
            wide = -(-n // 32) * 32
            b = before_guard(4 * k * wide)
            lib.pack(b, i64(k), before_guard(4 * k * n), i64(n), i64(1), i64(k), i64(n))
            lib.pack(b, i64(k), before_guard(4 * k * n), i64(1), i64(k), i64(k), i64(n))
            lib.dot(i64(m), i64(n), i64(k), before_guard(4 * m * k), i64(k), b, i64(k), before_guard(4 * m * n), i64(n))
print("untouched")
"""


def test_nothing_past_the_end_is_touched(lib: Library) -> None:
    done = subprocess.run([sys.executable, "-c", GUARD, str(lib.path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "untouched\n"), done.stderr


def test_guard_page_catches_an_access(lib: Library) -> None:
    """The guard itself works: a full vector stored where one lane is left ends the process."""
    wrong = GUARD.replace("before_guard(4 * n), i64(n)", "before_guard(4), i64(lanes)")
    done = subprocess.run([sys.executable, "-c", wrong, str(lib.path)], capture_output=True, check=False)
    assert done.returncode < 0


# -- matrix product ------------------------------------------------------------------------------------------------

sizes = st.integers(1, 70)


def packed(lib: Library, b: np.ndarray, kb: int, transposed: bool) -> np.ndarray:
    """b[k, n] in panels, with canaries wherever packing has nothing to write."""
    k, n = b.shape
    panels = -(-n // 32)
    dst = np.full(panels * kb * 32 + 8, 77, np.float32)
    src = np.ascontiguousarray(b.T if transposed else b)
    lib.call("pack", dst, kb, src, *((1, k) if transposed else (n, 1)), k, n)
    expected = np.full((panels, kb, 32), 77, np.float32)
    wide = np.zeros((k, panels * 32), np.float32)
    wide[:, :n] = b
    expected[:, :k] = wide.reshape(k, panels, 32).transpose(1, 0, 2)
    assert (dst == np.concatenate([expected.ravel(), [77] * 8])).all()
    return dst


@settings(max_examples=60, deadline=None)
@given(m=sizes, n=sizes, k=sizes, spare=st.integers(0, 9), transposed=st.booleans(), seed=st.integers(0, 999))
def test_dot(lib: Library, *, m: int, n: int, k: int, spare: int, transposed: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = np.full((m, k + spare), np.nan, np.float32)
    a[:, :k] = rng.standard_normal((m, k))
    b = rng.standard_normal((k, n)).astype(np.float32)
    c = np.full((m + 1, n + spare), 55, np.float32)
    c[:m, :n] = start = rng.standard_normal((m, n))
    panels = packed(lib, b, k + spare, transposed)
    lib.call("dot", m, n, k, a, k + spare, panels, k + spare, c, n + spare)
    x, y = a[:, :k].astype(np.float64), b.astype(np.float64)
    exact = start.astype(np.float32) + x @ y
    bound = (k + 2) * 2**-24 * (np.abs(start) + np.abs(x) @ np.abs(y))
    assert (np.abs(c[:m, :n] - exact) <= bound).all()
    assert (c[m] == 55).all()
    assert (c[:m, n:] == 55).all()


# -- what the object code needs, and the level of the machine ------------------------------------------------------


def undefined_symbols(path: Path) -> set[str]:
    """The names that a 64-bit little-endian ELF library takes from others."""
    data = path.read_bytes()
    start, size, count = struct.unpack_from("<Q", data, 40)[0], *struct.unpack_from("<HH", data, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, start + i * size) for i in range(count)]
    names: set[str] = set()
    for kind, offset, length, link in ((s[1], s[4], s[5], s[6]) for s in sections):
        if kind != 11:  # SHT_DYNSYM
            continue
        for at in range(offset + 24, offset + length, 24):
            name, _, _, section = struct.unpack_from("<IBBH", data, at)
            if section == 0:
                begin = sections[link][4] + name
                names.add(data[begin : data.index(b"\0", begin)].decode())
    return names


@pytest.mark.skipif(sys.platform != "linux", reason="reads ELF")
def test_nothing_is_imported_but_memory_functions(lib: Library) -> None:
    start_files = {"__cxa_finalize", "__gmon_start__", "_ITM_deregisterTMCloneTable", "_ITM_registerTMCloneTable"}
    assert undefined_symbols(lib.path) - start_files <= {"memcpy", "memset"}


LEVEL_SETS = [(), (2,), (2, 3), (2, 3, 4), (3, 4), (4,)]


@pytest.mark.skipif(not machine_level(), reason="the levels are those of x86-64")
@pytest.mark.parametrize("levels", LEVEL_SETS, ids=str)
def test_dispatch(levels: tuple[int, ...], tmp_path: Path) -> None:
    compiler = next(iter(compilers().values()))
    macros = [f"-DTB_HAS_V{level}" for level in levels]
    subprocess.run([*compiler, *FLAGS, *macros, str(HERE / "dispatch.c"), "-o", str(tmp_path / "d.so")], check=True)
    assert ctypes.CDLL(str(tmp_path / "d.so")).tilebuild_level() == sum(v <= machine_level() for v in levels) - 1


# -- coefficients --------------------------------------------------------------------------------------------------


def committed(problem: fit.Problem) -> tuple[fit.Fit, float]:
    """The coefficients in prelude.h, functions.py or library.py, with the error that stands beside them."""
    in_c = problem.prefix.startswith("TB_")
    files = [HERE / "prelude.h"] if in_c else [Path(m.__file__) for m in (functions, library)]
    text = "".join(f.read_text() for f in files)
    p, q = [0.0] * (problem.degrees[0] + 1), [1.0] * (problem.degrees[1] + 1)
    for name, part, i in fit.names(problem):
        value = re.search(rf"^(?:#define )?{name}(?: =)? (\S+?)f?$", text, re.M)
        assert value, name
        (p if part == "p" else q)[i] = float(np.float32(ast.literal_eval(value[1])))
    stated = re.search(rf"{re.escape(problem.formula)} on .*: (\S+) = ", text)
    assert stated, problem.formula
    return fit.Fit(tuple(p), tuple(q), fit.maximum_error(problem, tuple(p), tuple(q))), float(stated[1])


@pytest.mark.parametrize("problem", fit.PROBLEMS, ids=lambda p: p.prefix.strip("_"))
def test_coefficients(problem: fit.Problem) -> None:
    there, stated = committed(problem)
    assert there.error <= 1.05 * stated
    assert fit.fit(problem).error <= 1.5 * there.error  # how the last bits round may differ from one LAPACK to another


def test_ln2_is_split_exactly() -> None:
    text = (HERE / "prelude.h").read_text()
    found = dict(re.findall(r"#define TB_LN2_(HI|LO) (\S+)f$", text, re.M))
    high, low = (float(np.float32(found[part])) for part in ("HI", "LO"))
    assert high == fit.LN2_HI
    assert abs(high + low - math.log(2)) < 2e-12
    assert all(np.float32(n) * np.float32(high) == n * high for n in range(-150, 151))
