"""Wheels as archives: what an inner backend made, with our files beside its own. Nothing is compressed twice.

Formats: the binary distribution format (packaging.python.org, "Binary distribution format"), and APPNOTE.TXT of ZIP,
sections 4.3.7 to 4.3.12.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import itertools
import os
import re
import sysconfig
import time
import zipfile
from collections.abc import Iterable, Mapping
from email.parser import BytesHeaderParser
from pathlib import Path

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment that an archive can name
_SIGNATURES = ("RECORD.jws", "RECORD.p7s")  # of a RECORD that is about to change
_PACKED = (".gz", ".png", ".zip")  # nothing is gained by compressing these


class Wheel:
    """A wheel that was read, and its distribution's names. `info` is the name of its dist-info folder, `tags` the text
    of its WHEEL file, `record` the rows of RECORD by path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with zipfile.ZipFile(path) as archive:
            self.names = tuple(archive.namelist())
            self.info = next(n for n in self.names if n.endswith(".dist-info/WHEEL")).rpartition("/")[0]
            self.tags = archive.read(f"{self.info}/WHEEL").decode()
            metadata = BytesHeaderParser().parsebytes(archive.read(f"{self.info}/METADATA"))
            self.name, self.version = str(metadata["Name"]), str(metadata["Version"])
            rows = csv.reader(io.StringIO(archive.read(f"{self.info}/RECORD").decode()))
            self.record = {row[0]: row for row in rows if row}

    def write(self, directory: Path, name: str, files: Mapping[str, bytes | Path], tags: str) -> Path:
        """A wheel `name` in `directory` with the members of this one and `files` (path in the wheel -> contents), and
        with `tags` as its WHEEL file. It appears whole or not at all. Members are copied as they are, not compressed
        again; RECORD comes last and lists every file but itself."""
        dropped = {f"{self.info}/{n}" for n in ("RECORD", "WHEEL", *_SIGNATURES)}
        kept = [n for n in self.names if n not in dropped]
        rows = [self.record[n] for n in kept if n in self.record]
        directory.mkdir(parents=True, exist_ok=True)
        target = directory / name
        temporary = directory / f".{name}.{os.getpid()}"
        try:
            with zipfile.ZipFile(self.path) as source, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
                _copy(source, archive, kept)
                for member, contents in {**files, f"{self.info}/WHEEL": tags.encode()}.items():
                    data = contents if isinstance(contents, bytes) else contents.read_bytes()
                    _add(archive, member, data)
                    rows.append([member, digest(data), str(len(data))])
                rows.append([f"{self.info}/RECORD", "", ""])
                _add(archive, f"{self.info}/RECORD", _rows(rows))
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
        return target


def digest(data: bytes) -> str:
    """As RECORD has it: sha256, base64 of the urlsafe kind, without padding."""
    return f"sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip('=')}"


def for_platform(tags: str) -> str:
    """The text of a WHEEL file whose tags say "any platform", with this platform's tag instead; one that names a
    platform already is only made to go where libraries go."""
    here = platform_tag()
    text = re.sub(r"^Root-Is-Purelib: .*$", "Root-Is-Purelib: false", tags, flags=re.MULTILINE)
    return re.sub(r"^(Tag: \S*-)any$", rf"\g<1>{here}", text, flags=re.MULTILINE)


def platform_name(wheel: str) -> str:
    """A wheel's file name with this platform's tag where it says "any platform"."""
    stem = wheel.removesuffix(".whl")
    return f"{stem.removesuffix('any')}{platform_tag()}.whl" if stem.endswith("-any") else wheel


def platform_tag() -> str:
    """Such as `linux_x86_64`; a cross build's is in `_PYTHON_HOST_PLATFORM`, which sysconfig knows."""
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")


def date() -> tuple[int, int, int, int, int, int]:
    """Of the files that tilebuild adds: SOURCE_DATE_EPOCH, else the same one in every build."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not epoch.isdecimal():
        return _EPOCH
    return max(_EPOCH, time.gmtime(int(epoch))[:6])


def _copy(source: zipfile.ZipFile, archive: zipfile.ZipFile, names: Iterable[str]) -> None:
    """Copies members with their headers, byte by byte: each reaches from its header to the next one's."""
    assert source.fp is not None
    assert archive.fp is not None
    starts = sorted([*(m.header_offset for m in source.infolist()), source.start_dir])
    ends = dict(itertools.pairwise(starts))
    for name in names:
        member = source.getinfo(name)
        source.fp.seek(member.header_offset)
        data = source.fp.read(ends[member.header_offset] - member.header_offset)
        member.header_offset = archive.fp.tell()
        archive.fp.write(data)
        archive.filelist.append(member)
        archive.NameToInfo[name] = member
        archive.start_dir = archive.fp.tell()


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(name, date())
    info.compress_type = zipfile.ZIP_STORED if name.endswith(_PACKED) else zipfile.ZIP_DEFLATED
    info.external_attr = 0o100644 << 16
    info.create_system = 3  # Unix, whose permissions these are, on every system
    archive.writestr(info, data)


def _rows(rows: Iterable[Iterable[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
