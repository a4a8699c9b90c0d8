"""tilebuild builds tile kernels, written in Python, ahead of time for several machines. `import tilebuild as tb`.

This module is what a kernel author imports. It loads nothing until a name is used: a build backend, a loader and a
kernel package all import it, and none of them should pay for the others. Type checkers read `__init__.pyi`.
"""

from __future__ import annotations

# Where each name of the language lives, under tilebuild.lang.
_HOMES = {
    "types": ("f32", "f16", "bf16", "i8", "u8", "i32", "u32", "bool", "In", "Out", "InOut", "Const", "Static", "Tile",
              "dim", "dims", "inf", "nan"),
    "kernel": ("Kernel", "V", "fn", "kernel"),
    "mlir": ("mlir_kernel",),
    "control": ("cdiv", "pipeline", "range", "unroll"),
    "operations": ("abs", "assume", "atomic_add", "ceil", "concat", "dot", "exp", "exp2", "floor", "full", "gather",
                   "gather_rows", "interleave", "iota", "log", "log2", "max", "maximum", "min", "minimum", "neg",
                   "prod", "program", "recip", "require", "reshape", "round", "rsqrt", "scatter", "scatter_rows",
                   "slice", "sqrt", "sum", "trunc", "where", "zeros"),
    "functions": ("all", "any", "argmax", "argmin", "atan2", "clamp", "cos", "fma", "isinf", "isnan", "log1p", "pow",
                  "sign", "sin"),
    "library": ("cross_entropy", "elu", "erf", "expm1", "gelu", "gelu_tanh", "hardsigmoid", "hardswish", "hardtanh",
                "layernorm", "leaky_relu", "log_softmax", "logsumexp", "mish", "relu", "rmsnorm", "rope", "scale",
                "selu", "sigmoid", "silu", "softmax", "softplus", "softsign", "square", "tanh"),
}  # fmt: skip
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = list(_HOME)


def __getattr__(name: str) -> object:
    if name == "__version__":
        value: object = _version()
    elif name == "rebuild":
        from tilebuild.package.editable import rebuild as value
    elif name in _HOME:
        from importlib import import_module

        value = getattr(import_module(f"tilebuild.lang.{_HOME[name]}"), name)
    else:
        import sys

        # with `name` and `obj`, Python's traceback adds "Did you mean: ...?" by itself
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message, name=name, obj=sys.modules[__name__])
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, "__version__", "rebuild"})


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version(__name__)
    except metadata.PackageNotFoundError:  # a source tree that is not installed: pyproject.toml lies beside it
        from pathlib import Path

        lines = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8").splitlines()
        return next(line.split('"')[1] for line in lines if line.startswith("version = "))
