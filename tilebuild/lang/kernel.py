"""The decorators: `@tb.kernel` makes a `Kernel`, which launches what was built; `@tb.fn` makes a helper."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FunctionType
    from typing import Any


class V:
    """A variant: values for the `tb.Const` parameters, taken where `when` (a condition over the dimensions) holds.

    `target` limits it to one target, such as "cpu" or "gpu:sm_90a".
    """

    __slots__ = ("consts", "target", "when")

    def __init__(self, *, when: str = "", target: str = "", **consts: int) -> None:
        self.consts = consts
        self.when = when
        self.target = target

    def __repr__(self) -> str:
        parts = [f"{k}={v}" for k, v in self.consts.items()]
        parts += [f"{k}={v!r}" for k, v in (("when", self.when), ("target", self.target)) if v]
        return f"V({', '.join(parts)})"


class _Wrapper:
    """A function by another name: its module, name, doc string and signature."""

    def __init__(self, function: FunctionType) -> None:
        self.__module__ = function.__module__
        self.__name__ = function.__name__
        self.__qualname__ = function.__qualname__
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    def __reduce__(self) -> str:
        return self.__qualname__  # pickled by reference, as functions are


class Kernel(_Wrapper):
    """A kernel: calling it launches the built library; `reference` executes its Python body on NumPy.

    `kernel(x, y)` takes anything that speaks DLPack; `y = kernel(x)` allocates the outputs. `target=` chooses one of
    the targets that were built. Raises `TilebuildError` (E8xx) for arguments that break the kernel's contract.
    """

    def __init__(self, function: FunctionType, variants: Sequence[V] = (), otherwise: str = "") -> None:
        super().__init__(function)
        self.variants = tuple(variants)
        self.otherwise = otherwise
        self._launch: Callable[..., Any] | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._launch is None:
            from tilebuild.runtime import find

            self._launch = find(self.__module__, self.__name__)
        return self._launch(*args, **kwargs)

    def forget(self) -> None:
        """Look the built kernel up again at the next call: another build took its place."""
        self._launch = None

    def reference(self, *args: Any, **kwargs: Any) -> Any:
        """Execute the kernel's Python body on NumPy, program by program, with poison in the lanes outside a tile.

        Takes the arrays and scalars of a launch, and `tb.Const` values by name (`BM=3`) in place of the variant's.
        Returns the output, or a tuple of outputs, allocating those that are left out. Warns of output elements that
        no program wrote; raises `TilebuildError` where the kernel breaks a rule of the language on this input.
        """
        from tilebuild.lang import reference

        return reference.run(self, args, kwargs)

    def __repr__(self) -> str:
        code = self.__wrapped__.__code__
        n, keywords = code.co_argcount, code.co_kwonlyargcount
        parameters = [*code.co_varnames[:n], *["*"][:keywords], *code.co_varnames[n : n + keywords]]
        return f"<tilebuild kernel {self.__module__}.{self.__qualname__}({', '.join(parameters)})>"


class Helper(_Wrapper):
    """A helper: inlined by the compiler, executed on the reference path with the dimensions of the kernel there."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from tilebuild.lang.reference import launch

        return launch.specialise(self.__wrapped__)(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<tilebuild helper {self.__module__}.{self.__qualname__}>"


def kernel(function: FunctionType | None = None, /, *, variants: Sequence[V] = (), otherwise: str = "") -> Any:
    """`@tb.kernel`, or `@tb.kernel(variants=[tb.V(BM=4, BN=1024, when="N <= 1024")], otherwise="name")`.

    The variants are tried in order. `otherwise` names the kernel of the same module that is taken where no guard holds.
    """
    if function is None:
        return lambda f: Kernel(f, variants, otherwise)
    return Kernel(function)


def fn(function: FunctionType) -> Helper:
    """`@tb.fn`: a helper that kernels of this package call."""
    return Helper(function)
