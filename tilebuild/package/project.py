"""New projects out of the templates that travel with tilebuild."""

from __future__ import annotations

import keyword
import re
import sys
from pathlib import Path

import tilebuild
from tilebuild.diagnostics import Diagnostic, TilebuildError

_NAME = "mykernels"  # of the template's distribution and of its package
# file in `templates` -> where it goes; hidden files have plain names there, so that no archive leaves them out
_CI = {
    "github": {"ci/github/wheels.yml": ".github/workflows/wheels.yml"},
    "gitlab": {"ci/gitlab/gitlab-ci.yml": ".gitlab-ci.yml", "ci/gitlab/wheels.yml": ".gitlab/wheels.yml"},
}
CI = tuple(_CI)


def templates() -> Path:
    """The templates: inside the package in a wheel, beside it in a source tree."""
    package = Path(tilebuild.__file__).resolve().parent
    inside = package / "templates"
    return inside if inside.is_dir() else package.parent / "templates"


def create(directory: Path, name: str, ci: str = "") -> list[Path]:
    """Writes a project called `name` into `directory`; the files. `ci` is one of `CI`, or empty.

    Raises `TilebuildError` and writes nothing: E750 a file is there already, E751 no name for a package.
    """
    package = _package_name(name)
    source = templates()
    contents: dict[Path, bytes] = {}
    for file in sorted((source / "project").rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            relative = file.relative_to(source / "project").as_posix().replace(_NAME, package)
            relative = ".gitignore" if relative == "gitignore" else relative
            contents[directory / relative] = _named(file.read_text(encoding="utf-8"), name, package).encode()
    for template, place in _CI.get(ci, {}).items():
        contents[directory / place] = (source / template).read_bytes()
    there = [path for path in contents if path.exists() or path.is_symlink()]
    if there:
        raise TilebuildError(
            Diagnostic(
                "E750",
                f"{directory} has files that a new project would overwrite: {', '.join(p.name for p in there)}",
                notes=tuple((None, str(path)) for path in there),
                fix="name a new directory",
            )
        )
    for path, data in contents.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return list(contents)


def _named(text: str, name: str, package: str) -> str:
    """The distribution's name stands in `name = "..."` and in titles, the package's everywhere else."""
    text = text.replace(f'name = "{_NAME}"', f'name = "{name}"').replace(f"# {_NAME}\n", f"# {name}\n")
    return text.replace(_NAME, package)


def _package_name(name: str) -> str:
    """The import name of a distribution."""
    package = re.sub(r"[-.]+", "_", name).lower()
    # PEP 508, section "Names"
    if not re.fullmatch(r"[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9._-]*[A-Za-z0-9]", name):
        why = "a name has letters, digits, and single dots, dashes or underscores between them"
    elif not package.isidentifier() or keyword.iskeyword(package):
        why = f'"{package}" cannot be imported'
    elif package in sys.stdlib_module_names or package == "tilebuild":
        why = f'"{package}" is a module of {"tilebuild" if package == "tilebuild" else "Python"} itself'
    else:
        return package
    raise TilebuildError(Diagnostic("E751", f'"{name}" is no name for a package: {why}', fix="give one with --name"))
