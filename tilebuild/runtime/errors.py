"""The one exception of the run time."""

from __future__ import annotations

from tilebuild.diagnostics import Diagnostic, Span, TilebuildError
from tilebuild.manifest import KernelEntry


class LaunchError(TilebuildError, ValueError):
    """A kernel cannot be found, loaded or launched as asked; the message states the facts and the fix."""

    def __init__(
        self, code: str, message: str, *, kernel: KernelEntry | None = None, notes: tuple[str, ...] = (), fix: str = ""
    ) -> None:
        span = Span(kernel["file"], kernel["line"]) if kernel else None
        super().__init__(Diagnostic(code, message, span, tuple((None, note) for note in notes), fix))

    @property
    def code(self) -> str:
        """The error code, as in docs/errors/runtime.md."""
        return self.diagnostics[0].code

    def __reduce__(self) -> tuple[object, ...]:
        # the constructor takes other arguments than `args` holds, and process pools pickle exceptions
        return _rebuild, (self.diagnostics[0],)


def _rebuild(diagnostic: Diagnostic) -> LaunchError:
    error = LaunchError.__new__(LaunchError)
    TilebuildError.__init__(error, diagnostic)
    return error
