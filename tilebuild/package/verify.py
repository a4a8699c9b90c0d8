"""A last look at a wheel that the inner backend made: the kernels are in it, unchanged, and its tag fits them."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import zipfile
from email.parser import BytesParser
from pathlib import Path

from tilebuild.build.driver import KernelBuild
from tilebuild.diagnostics import Diagnostic, TilebuildError


def verify_wheel(wheel: Path, kernels: KernelBuild, *, editable: bool = False) -> None:
    """Raises `TilebuildError` (E704) and removes the wheel where it would not install as what was built."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        info = next(n for n in names if n.endswith(".dist-info/WHEEL")).rpartition("/")[0]
        tags = BytesParser().parsebytes(archive.read(f"{info}/WHEEL"))
        record = {row[0]: row[1] for row in csv.reader(io.StringIO(archive.read(f"{info}/RECORD").decode()))}
    facts = [
        f"{destination} is {'not in the wheel' if destination not in record else 'not the file that was built'}"
        for destination, source in kernels.files.items()
        if record.get(destination) != _record_digest(source)
    ]
    if tags["Root-Is-Purelib"] != "false" or any(tag.endswith("-any") for tag in tags.get_all("Tag", [])):
        facts.append(f"its tag is {', '.join(tags.get_all('Tag', []))}, but kernel libraries are for one platform")
    package = f"{kernels.package.replace('.', '/')}/__init__.py"
    if not editable and package not in names:
        facts.append(f"{package} is not in the wheel, so its kernels could never be imported")
    if facts:
        wheel.unlink()
        raise TilebuildError(
            Diagnostic(
                "E704",
                f"the wheel {wheel.name} is not what was built: {facts[0]}",
                notes=tuple((None, fact) for fact in facts[1:]),
                fix="see [tool.scikit-build.wheel] in pyproject.toml: `packages`, `install-dir`, `platlib`",
            )
        )


def _record_digest(path: Path) -> str:
    digest = hashlib.sha256(path.read_bytes()).digest()
    return f"sha256={base64.urlsafe_b64encode(digest).decode().rstrip('=')}"
