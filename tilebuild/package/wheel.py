"""Wheels, editable wheels and sdists: the kernels, and beside them what the inner backend makes of all the rest."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tilebuild.build import configure
from tilebuild.build.driver import held, requirements
from tilebuild.diagnostics import Diagnostic, TilebuildError
from tilebuild.package import repack, sbom
from tilebuild.package.inner import InnerBackend, Settings, strip_own


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
    """Prepared metadata: the inner backend's, made with the settings and the tags that the wheel will have."""
    inner = InnerBackend(configure(project, given).inner_backend, project)
    name: str = inner.call(hook, directory, inner.settings(given))
    tags = Path(directory, name, "WHEEL")
    if hook == "prepare_metadata_for_build_wheel" and tags.is_file():
        tags.write_text(repack.for_platform(tags.read_text(encoding="utf-8")), encoding="utf-8")
    return name


def build_wheel(project: Path, directory: str, given: Settings | None, metadata_directory: str | None) -> str:
    """Builds the kernels and the wheel around them; the file's name. Raises `TilebuildError`."""
    config = configure(project, given)
    inner = InnerBackend(config.inner_backend, project)
    with held(project, config, log=_log) as kernels, tempfile.TemporaryDirectory() as place:
        name: str = inner.call("build_wheel", place, inner.settings(given), metadata_directory)
        wheel = repack.Wheel(Path(place, name))
        _check(wheel, kernels.package, inner.name)
        bill = sbom.text(kernels.manifest, wheel.name, wheel.version)
        files: dict[str, bytes | Path] = {**kernels.files, f"{wheel.info}/{sbom.FILE_NAME}": bill}
        tags = repack.for_platform(wheel.tags)
        made = wheel.write(Path(directory), repack.platform_name(name), files, tags)
        if made.stat().st_size > config.size_budget.bytes:
            from tilebuild.package import size

            size.refuse(made, config.size_budget, kernels, project / config.build_dir)
        return made.name


def build_editable(project: Path, directory: str, given: Settings | None, metadata_directory: str | None) -> str:
    """Sources are used where they lie, and kernels too: see `tilebuild.package.editable`."""
    from tilebuild.package import editable

    config = configure(project, given)
    inner = InnerBackend(config.inner_backend, project)
    with held(project, config, log=_log) as kernels, tempfile.TemporaryDirectory() as place:
        name: str = inner.call("build_editable", place, inner.settings(given), metadata_directory)
        wheel = repack.Wheel(Path(place, name))
        folder = project / config.build_dir
        editable.publish(folder, project, kernels)
        files = editable.finder(folder, project, kernels.package, rebuild=config.rebuild_on_import)
        return wheel.write(Path(directory), name, files, wheel.tags).name


def build_sdist(project: Path, directory: str, given: Settings | None) -> str:
    """The sources, without anything that a build leaves in the build directory."""
    from tilebuild.package import sources

    config = configure(project, given)
    inner = InnerBackend(config.inner_backend, project)
    name: str = inner.call("build_sdist", directory, strip_own(given))
    sources.leave_out(Path(directory, name), config.build_dir)
    return name


def _check(wheel: repack.Wheel, package: str, inner: str) -> None:
    """Raises `TilebuildError` (E704) where the kernels could not be found in what the inner backend made."""
    folder = package.replace(".", "/")
    fact = ""
    if f"{folder}/__init__.py" not in wheel.names:
        fact = f"{folder}/__init__.py is not in it, so its kernels could never be imported"
    elif any(name.startswith(f"{folder}/_kernels/") for name in wheel.names):
        fact = f"{folder}/_kernels is in it already, where tilebuild puts the kernels"
    if fact:
        fix = f"see the settings of {inner} that say what goes into the wheel, and to which place"
        raise TilebuildError(Diagnostic("E704", f"the wheel {wheel.path.name} cannot take kernels: {fact}", fix=fix))


def _log(line: str) -> None:
    print(line, flush=True)
