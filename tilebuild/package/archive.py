"""Writes a wheel anew with other kernel files: everything else is copied as it is, compressed bytes included."""

from __future__ import annotations

import base64
import copy
import csv
import hashlib
import io
import struct
import zipfile
from collections.abc import Mapping
from email.message import Message
from email.parser import BytesParser
from pathlib import Path, PurePosixPath

from tilebuild.diagnostics import Diagnostic, TilebuildError

_LOCAL_HEADER = 30  # bytes before the name (APPNOTE.TXT 4.3.7); the lengths of name and extra field are the last two
_MODE = 0o100644
_PACKED = (".gz", ".png", ".zip")  # nothing is gained by compressing these
Date = tuple[int, int, int, int, int, int]


class Wheel:
    """A wheel file that is read; use it as a context. `info` is its dist-info's name, `machine` that of its platform
    tag, empty for a wheel that fits any. Raises `TilebuildError` (E744) where it is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._archive = zipfile.ZipFile(path)
            self.members = self._archive.infolist()
            record = next(m.filename for m in self.members if m.filename.endswith(".dist-info/RECORD"))
            self.info = record.partition("/")[0]
            self.metadata = self._message("METADATA")
            self.tags = self._message("WHEEL")
            self._record = self._archive.read(record)
            self.machine = _machine(path.stem)
        except (OSError, zipfile.BadZipFile, StopIteration, LookupError) as e:
            raise TilebuildError(Diagnostic("E744", f"{path}: not a wheel: {e or 'there is no RECORD'}")) from None
        self.digests = {row[0]: row[1] for row in csv.reader(io.StringIO(self._record.decode())) if len(row) > 1}

    def __enter__(self) -> Wheel:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def read(self, name: str) -> bytes:
        """A member; raises `TilebuildError` (E743) where its bytes are not those of its RECORD."""
        try:
            data = self._archive.read(name)
        except (zipfile.BadZipFile, KeyError) as e:
            raise TilebuildError(Diagnostic("E743", f"{self.path}: {e}", fix="build the wheel again")) from None
        if self.digests.get(name, "") != record_digest(data):
            facts = f"its digest is {record_digest(data)}", f"RECORD says {self.digests.get(name) or 'nothing'}"
            raise TilebuildError(
                Diagnostic(
                    "E743",
                    f"{self.path}: {name} was altered after the wheel was built",
                    notes=tuple((None, fact) for fact in facts),
                    fix="build the wheel again",
                )
            )
        return data

    def _message(self, name: str) -> Message:
        return BytesParser().parsebytes(self._archive.read(f"{self.info}/{name}"))

    def write(self, target: Path, folder: str, files: Mapping[str, bytes], info: Mapping[str, bytes]) -> None:
        """Writes the wheel to `target`, with `files` (by their names in the wheel) in place of everything in `folder`,
        and `info` (by name in the dist-info) beside or in place of what is there.

        Members that stay keep their place and their compressed bytes. New files stand where the folder's stood, and are
        compressed as those were, so that the bytes are those of a wheel that was built with them.
        """
        stay = [m for m in self.members if not m.filename.startswith(f"{folder}/")]
        stay = [m for m in stay if m.filename != f"{self.info}/RECORD"]
        given = {f"{self.info}/{name}": data for name, data in info.items()}
        at = sum(member in stay for member in self.members[: self._place(folder)])
        date = next(m.date_time for m in self.members if m.filename == f"{self.info}/WHEEL")
        lines: list[tuple[str, str, int | str]] = []
        temporary = target.with_name(f"{target.name}.new")
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as out:

            def add(name: str, data: bytes) -> None:
                _add(out, name, data, date, self._compression(name))
                lines.append((name, record_digest(data), len(data)))

            def add_all(files: Mapping[str, bytes]) -> None:
                for name in sorted(files, key=_order):
                    add(name, files[name])

            for number, member in enumerate(stay):
                if number == at:
                    add_all(files)
                if member.filename in given:
                    add(member.filename, given.pop(member.filename))
                else:
                    _copy(self._archive, member, out)
                    if not member.is_dir():
                        lines.append((member.filename, self.digests.get(member.filename, ""), member.file_size))
            if at == len(stay):
                add_all(files)
            add_all(given)
            lines.append((f"{self.info}/RECORD", "", ""))
            _add(out, f"{self.info}/RECORD", _csv(lines, "\r\n" if b"\r\n" in self._record else "\n"), date)
        temporary.replace(target)

    def _place(self, folder: str) -> int:
        """How many of the members come before the folder's, or would: before the dist-info, where there are none."""
        names = [m.filename for m in self.members]
        starts = (f"{folder}/", f"{self.info}/")
        return next(n for start in starts for n, name in enumerate(names) if name.startswith(start))

    def _compression(self, name: str) -> int:
        """What the wheel does with files of that kind: compressed already, or not."""
        packed = name.endswith(_PACKED)
        same = (m.compress_type for m in self.members if m.filename.endswith(_PACKED) == packed)
        return next(same, zipfile.ZIP_DEFLATED)


def new_wheel(target: Path, info: str, contents: Mapping[str, bytes], date: Date) -> None:
    """Writes a wheel of `contents` (by name in the wheel, the dist-info `info` among them) and its RECORD."""
    lines: list[tuple[str, str, int | str]] = []
    temporary = target.with_name(f"{target.name}.new")
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as out:
        for name in sorted(contents, key=lambda name: (name.startswith(f"{info}/"), _order(name))):
            _add(out, name, contents[name], date)
            lines.append((name, record_digest(contents[name]), len(contents[name])))
        lines.append((f"{info}/RECORD", "", ""))
        _add(out, f"{info}/RECORD", _csv(lines, "\n"), date)
    temporary.replace(target)


def record_digest(data: bytes) -> str:
    """As RECORD has it: sha256, URL-safe base64 without padding."""
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")


def _machine(stem: str) -> str:
    parts = stem.split("-")  # name, version, perhaps a build number, Python, ABI, platform, perhaps a label
    platform = parts[4 + parts[2][:1].isdigit()].split(".")[0]
    return next((m for m in ("x86_64", "aarch64") if platform.endswith(m)), "")


def _order(name: str) -> tuple[str, ...]:
    return PurePosixPath(name).parts


def _csv(lines: list[tuple[str, str, int | str]], end: str) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator=end).writerows(lines)
    return text.getvalue().encode()


def _add(out: zipfile.ZipFile, name: str, data: bytes, date: Date, compression: int = zipfile.ZIP_DEFLATED) -> None:
    entry = zipfile.ZipInfo(name, date)
    entry.compress_type = compression
    entry.external_attr = _MODE << 16
    out.writestr(entry, data)


def _copy(source: zipfile.ZipFile, member: zipfile.ZipInfo, out: zipfile.ZipFile) -> None:
    """Copies a member without decompressing it, which for libraries of 100 MB is a fifth of a second, not five."""
    assert source.fp is not None
    assert out.fp is not None
    source.fp.seek(member.header_offset + _LOCAL_HEADER - 4)
    name_length, extra_length = struct.unpack("<HH", source.fp.read(4))
    source.fp.seek(name_length + extra_length, io.SEEK_CUR)
    entry = copy.copy(member)
    entry.flag_bits &= ~0x08  # sizes and checksum stand in the header, not after the data
    entry.header_offset = out.fp.tell()
    out.fp.write(entry.FileHeader())
    out.fp.write(source.fp.read(entry.compress_size))
    out.filelist.append(entry)
    out.NameToInfo[entry.filename] = entry
    out.start_dir = out.fp.tell()
