"""Wheels, editable wheels and sdists: kernels first, then the inner backend with the kernel files on its list."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from tilebuild.build import configure
from tilebuild.build.driver import KernelBuild, build_kernels, requirements
from tilebuild.diagnostics import Diagnostic, TilebuildError
from tilebuild.package.inner import InnerBackend, Settings, strip_own
from tilebuild.package.verify import verify_wheel


def requires(project: Path, hook: str, given: Settings | None) -> list[str]:
    """What must be installed before `hook` ("build_wheel", "build_editable" or "build_sdist") can run."""
    config = configure(project, given)
    inner = InnerBackend(config.inner_backend, project).requires(hook, given)
    needed = inner if hook == "build_sdist" else inner + requirements(project, config)
    return list(dict.fromkeys(needed))


def inner_backend(project: Path) -> InnerBackend:
    """The project's inner backend; raises `TilebuildError`."""
    return InnerBackend(configure(project, None).inner_backend, project)


def metadata(project: Path, hook: str, directory: str, given: Settings | None) -> str:
    """Prepared metadata: the inner backend's, made with the settings that the wheel will be built with."""
    inner = InnerBackend(configure(project, given).inner_backend, project)
    name: str = inner.call(hook, directory, inner.settings(given))
    return name


def build_wheel(project: Path, directory: str, given: Settings | None, metadata_directory: str | None) -> str:
    """Builds the kernels and the wheel around them; the file's name. Raises `TilebuildError`."""
    config = configure(project, given)
    inner = InnerBackend(config.inner_backend, project)
    kernels = build_kernels(project, config, log=_log)
    settings = inner.settings(given) | {f"wheel.force-include.{src}": dst for dst, src in kernels.files.items()}
    name: str = inner.call("build_wheel", directory, settings, metadata_directory)
    verify_wheel(Path(directory) / name, kernels)
    return name


def build_editable(project: Path, directory: str, given: Settings | None, metadata_directory: str | None) -> str:
    """Like `build_wheel`; sources are used where they lie, and kernels are those of this build until the next one."""
    config = configure(project, given)
    inner = InnerBackend(config.inner_backend, project)
    mode = strip_own(given).get("editable.mode", inner.table().get("editable", {}).get("mode", "redirect"))
    if mode != "redirect":
        raise TilebuildError(
            Diagnostic(
                "E703",
                f'scikit-build-core\'s editable mode is "{mode}", which imports the package from its source directory '
                "alone, where no kernel is",
                fix='remove `editable.mode` from [tool.scikit-build], or set it to "redirect"',
            )
        )
    kernels = build_kernels(project, config, log=_log)
    with tempfile.TemporaryDirectory() as staging:
        settings = inner.settings(given) | _neutral_names(kernels, Path(staging))
        name: str = inner.call("build_editable", directory, settings, metadata_directory)
    verify_wheel(Path(directory) / name, kernels, editable=True)
    return name


def build_sdist(project: Path, directory: str, given: Settings | None) -> str:
    """The sources, without anything that a build leaves in the build directory."""
    config = configure(project, given)
    inner = InnerBackend(config.inner_backend, project)
    # a list in config settings replaces the project's own
    exclude = [*inner.table().get("sdist", {}).get("exclude", []), f"/{config.build_dir}/"]
    name: str = inner.call("build_sdist", directory, strip_own(given) | {"sdist.exclude": exclude})
    return name


def _neutral_names(kernels: KernelBuild, staging: Path) -> dict[str, str]:
    """Copies under names with no suffix: the inner backend would import a `.py` or `.so` from where it was built, apart
    from the data files beside it, which it copies; so all of them are copied, and stay together."""
    settings = {}
    for number, (destination, source) in enumerate(kernels.files.items()):
        copy = staging / f"{number}"
        shutil.copy(source, copy)
        settings[f"wheel.force-include.{copy}"] = destination
    return settings


def _log(line: str) -> None:
    print(line, flush=True)
