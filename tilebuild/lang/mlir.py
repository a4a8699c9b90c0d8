"""`tb.mlir_kernel`: a kernel whose source is a `.mlir` file of the package."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class MlirKernel:
    """A kernel written in MLIR: calling it launches the built library, as for a `Kernel`.

    It has no Python body: `reference` raises `TilebuildError` E338.
    """

    def __init__(self, module: str, name: str, file: str) -> None:
        self.__module__ = module
        self.__name__ = self.__qualname__ = name
        self.__doc__ = f"The kernel {name} of {file}."
        self._launch: Callable[..., Any] | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._launch is None:
            from tilebuild.runtime import find

            self._launch = find(self.__module__, self.__name__)
        return self._launch(*args, **kwargs)

    def reference(self, *args: Any, **kwargs: Any) -> Any:
        """Raises `TilebuildError` E338: there is no Python body to execute."""
        from tilebuild.diagnostics import Diagnostic, TilebuildError

        what = f"{self.__module__}.{self.__name__} is written in MLIR: it has no Python body to execute"
        raise TilebuildError(
            Diagnostic("E338", what, fix="call the kernel itself, with target='cpu' where it was built")
        )

    def __repr__(self) -> str:
        return f"<tilebuild kernel {self.__module__}.{self.__qualname__} in MLIR>"


def mlir_kernel(file: str, name: str = "") -> MlirKernel:
    """The kernel `name` (the file's own name, where there is none given) of a `.mlir` file beside the module that
    calls this: `softmax = tb.mlir_kernel("softmax.mlir")`.

    The file is read when the package is built, not here. Raises `ValueError` for a path that is not a `.mlir` file in
    the same folder or below it.
    """
    parts = file.split("/")
    stem, dot, ending = parts[-1].rpartition(".")
    folders = parts[:-1]
    if (dot, ending) != (".", "mlir") or not all(part.isidentifier() for part in (*folders, stem)):
        raise ValueError(f"mlir_kernel takes the path of a .mlir file below this one's folder, not {file!r}")
    package = sys._getframe(1).f_globals.get("__package__") or ""
    module = ".".join([*([package] if package else []), *folders, stem])
    return MlirKernel(module, name or stem, file)
