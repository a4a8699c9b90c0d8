"""The hooks of PEP 517 and PEP 660: `build-backend = "tilebuild.backend"`.

Each hook is one call; the decorator turns an error into one readable message and an exit code, never a traceback.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from tilebuild.diagnostics import TilebuildError, no_room
from tilebuild.package import wheel

Settings = Mapping[str, str | list[str]] | None
Hook = TypeVar("Hook", bound=Callable[..., Any])


def _boundary(hook: Hook) -> Hook:
    @functools.wraps(hook)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return hook(*args, **kwargs)
        except (TilebuildError, OSError) as caught:
            error = caught if isinstance(caught, TilebuildError) else no_room(caught)
            if error is None:
                raise
            sys.stdout.flush()
            print(f"\n{error}\n", file=sys.stderr, flush=True)
            raise SystemExit(error.exit_code) from None

    return run  # type: ignore[return-value]


@_boundary
def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    return wheel.requires(Path.cwd(), "build_wheel", config_settings)


@_boundary
def get_requires_for_build_sdist(config_settings: Settings = None) -> list[str]:
    return wheel.requires(Path.cwd(), "build_sdist", config_settings)


@_boundary
def build_wheel(wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None) -> str:
    return wheel.build_wheel(Path.cwd(), wheel_directory, config_settings, metadata_directory)


@_boundary
def build_sdist(sdist_directory: str, config_settings: Settings = None) -> str:
    return wheel.build_sdist(Path.cwd(), sdist_directory, config_settings)


def __getattr__(name: str) -> Any:
    if name in _OPTIONAL and _inner_has(name):
        return _OPTIONAL[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@_boundary
def _inner_has(name: str) -> bool:
    """Frontends ask for the editable hooks before they install what `get_requires` names: an inner backend that is not
    there yet counts as one that has them."""
    inner = wheel.inner_backend(Path.cwd())
    return inner.has(name) if inner.installed else not name.startswith("prepare_")


@_boundary
def _get_requires_for_build_editable(config_settings: Settings = None) -> list[str]:
    return wheel.requires(Path.cwd(), "build_editable", config_settings)


@_boundary
def _build_editable(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    return wheel.build_editable(Path.cwd(), wheel_directory, config_settings, metadata_directory)


@_boundary
def _prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: Settings = None) -> str:
    return wheel.metadata(Path.cwd(), "prepare_metadata_for_build_wheel", metadata_directory, config_settings)


@_boundary
def _prepare_metadata_for_build_editable(metadata_directory: str, config_settings: Settings = None) -> str:
    return wheel.metadata(Path.cwd(), "prepare_metadata_for_build_editable", metadata_directory, config_settings)


# they exist only where the inner backend has them: a frontend takes another way where a hook is missing
_OPTIONAL: dict[str, Callable[..., Any]] = {
    "get_requires_for_build_editable": _get_requires_for_build_editable,
    "build_editable": _build_editable,
    "prepare_metadata_for_build_wheel": _prepare_metadata_for_build_wheel,
    "prepare_metadata_for_build_editable": _prepare_metadata_for_build_editable,
}
