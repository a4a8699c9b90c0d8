"""Source archives: an inner backend's, without anything that a build leaves in the build directory."""

from __future__ import annotations

import gzip
import os
import tarfile
from pathlib import Path


def leave_out(sdist: Path, folder: str) -> None:
    """Remove what lies in `folder` (relative to the project) from a `.tar.gz` archive; one without is not touched.

    Not every inner backend can be told to leave a directory out, and a build directory may be large.
    """
    parts = Path(folder).parts

    def inside(name: str) -> bool:
        return Path(name).parts[1 : len(parts) + 1] == parts

    with tarfile.open(sdist) as archive:
        if not any(inside(name) for name in archive.getnames()):
            return
    temporary = sdist.with_name(f".{sdist.name}.{os.getpid()}")
    try:
        with (
            tarfile.open(sdist) as archive,
            temporary.open("wb") as out,
            gzip.GzipFile("", "wb", mtime=0, fileobj=out) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as kept,
        ):
            for member in archive:
                if not inside(member.name):
                    kept.addfile(member, archive.extractfile(member) if member.isreg() else None)
        os.replace(temporary, sdist)
    finally:
        temporary.unlink(missing_ok=True)
