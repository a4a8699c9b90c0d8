"""The inner backend: it builds everything in the package that is not a kernel, through its own PEP 517 hooks.

tilebuild adds only settings that it knows the inner backend to read; what is a user's own is passed on untouched.
"""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tilebuild.build import config_toml
from tilebuild.diagnostics import Diagnostic, TilebuildError

Settings = Mapping[str, str | list[str]]

# the name in `inner-backend` -> (what to install, the module with the hooks)
INNER_BACKENDS: Mapping[str, tuple[str, str]] = {
    "scikit-build-core": ("scikit-build-core>=1.0", "scikit_build_core.build")
}
OWN_PREFIX = "tilebuild."


class InnerBackend:
    """The inner backend of one project, by its name in the configuration.

    Hooks run with the project as the working directory, as PEP 517 has it.
    """

    def __init__(self, name: str, project: Path) -> None:
        self.name = name
        self.requirement, self._module = INNER_BACKENDS[name]
        self.project = project
        self.has_cmake = (project / "CMakeLists.txt").is_file()

    @property
    def installed(self) -> bool:
        return importlib.util.find_spec(self._module.partition(".")[0]) is not None

    def table(self) -> dict[str, Any]:
        """`[tool.scikit-build]` of the project."""
        table: dict[str, Any] = config_toml.read(self.project).data.get("tool", {}).get("scikit-build", {})
        return table

    def settings(self, given: Settings | None) -> dict[str, str | list[str]]:
        """The config settings for any hook that concerns a wheel: the user's, without tilebuild's own, and ours.

        The same ones must go to the metadata hooks, because the inner backend compares prepared metadata with the
        wheel's. Without `wheel.platlib` it would say `py3-none-any` around a shared library. A project with a
        CMakeLists.txt may build an extension module, so its Python and ABI tags stay its own business.
        """
        settings = strip_own(given) | {"wheel.platlib": "true", "wheel.reproducible": "true"}
        if not self.has_cmake:
            settings |= {"wheel.cmake": "false", "wheel.py-api": "py3"}
        return settings

    def requires(self, hook: str, given: Settings | None) -> list[str]:
        """What the inner backend needs before `hook` runs, itself included.

        Where it is not installed yet (it is itself one of these requirements), it cannot be asked: then CMake and
        Ninja are requested for a project with a CMakeLists.txt, as it would do itself.
        """
        if self.installed:
            settings = strip_own(given) if hook == "build_sdist" else self.settings(given)
            more = self.call(f"get_requires_for_{hook}", settings) if self.has(f"get_requires_for_{hook}") else []
            return [self.requirement, *more]
        if not self.has_cmake or hook == "build_sdist":
            return [self.requirement]
        return [self.requirement, *(tool for tool in ("cmake", "ninja") if not shutil.which(tool))]

    def has(self, hook: str) -> bool:
        """Whether the inner backend offers this (optional) hook; False where it is not installed."""
        return self.installed and hasattr(importlib.import_module(self._module), hook)

    def call(self, hook: str, *args: Any) -> Any:
        """Runs a hook. An exit of the inner backend is explained on stderr and then passed on."""
        try:
            function: Callable[..., Any] = getattr(importlib.import_module(self._module), hook)
        except ImportError as e:
            raise TilebuildError(
                Diagnostic(
                    "E701",
                    f"the inner backend {self.name} cannot be imported: {e}",
                    fix=f'install "{self.requirement}" (with build isolation this happens by itself)',
                )
            ) from None
        try:
            return function(*args)
        except SystemExit as e:
            sys.stdout.flush()
            fact = f"the inner backend {self.name} stopped in {hook} with exit code {e.code}; its own message is above"
            print(Diagnostic("E702", fact).render(), file=sys.stderr)
            raise


def strip_own(given: Settings | None) -> dict[str, str | list[str]]:
    """The config settings that are not tilebuild's: inner backends exit on keys that they do not know."""
    return {key: value for key, value in (given or {}).items() if not key.startswith(OWN_PREFIX)}
