"""Kernels are found again in wheels, directories and packages, and what is not one says so."""

from __future__ import annotations

import gzip
import json
import sys
import zipfile
from pathlib import Path

import pytest

from tilebuild.manifest import SCHEMA
from tilebuild.package.read import UnreadableError, builds, open_built

PLAN_FILE = "plans/k.json.gz"
BUILD = {"target": "cpu", "plan": PLAN_FILE}
MANIFEST = {
    "schema": SCHEMA,
    "package": "thing",
    "kernels": [{"name": "k", "variants": [{"consts": {}, "builds": [BUILD]}]}],
    "libraries": {},
}
FILES = {
    "thing/__init__.py": b"raise RuntimeError('nobody imports this')\n",
    "thing/kernels.py": b"def k(): ...\n",
    "thing/_kernels/manifest.json": json.dumps(MANIFEST).encode(),
    f"thing/_kernels/{PLAN_FILE}": gzip.compress(b"{}"),
}


def unpack(root: Path) -> Path:
    for name, data in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def pack(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


@pytest.fixture(params=["wheel", "root", "package directory", "kernels directory", "project", "installed"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "wheel":
        return str(pack(tmp_path / "thing-1-py3-none-linux_x86_64.whl", FILES))
    root = unpack(tmp_path / "root")
    if request.param == "project":
        (root / "build" / "tilebuild").mkdir(parents=True)
        (root / "thing" / "_kernels").rename(root / "build" / "tilebuild" / "wheel")
        return str(root)
    if request.param == "installed":
        monkeypatch.syspath_prepend(root)
        monkeypatch.chdir(tmp_path)
        return "thing"
    return str(root / {"root": "", "package directory": "thing", "kernels directory": "thing/_kernels"}[request.param])


def test_every_place_gives_the_manifest_its_files_and_the_sources(place: str) -> None:
    built = open_built(place)
    ((kernel, _, build),) = builds(built.manifest)
    assert (kernel["name"], build["target"]) == ("k", "cpu")
    assert gzip.decompress(built.read(build["plan"])) == b"{}"
    assert built.source("src/thing/kernels.py") == "def k(): ...\n"
    assert built.source("src/thing/absent.py") is None
    assert "thing" not in sys.modules


def test_a_plan_that_is_none_names_the_file(place: str) -> None:
    built = open_built(place)
    with pytest.raises(UnreadableError, match=r"plans/k\.json\.gz: not a plan"):
        built.plan(next(builds(built.manifest))[2])


def broken(**changes: object) -> dict[str, bytes]:
    return {"thing/_kernels/manifest.json": json.dumps(MANIFEST | changes).encode()}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.py": b""}, r"has 0 files _kernels/manifest\.json, not one"),
        ({"thing/_kernels/manifest.json": b"{"}, r"manifest\.json is not a manifest"),
        ({"thing/_kernels/manifest.json": b"[]"}, r"manifest\.json is not a manifest"),
        (broken(schema=99), f"schema is 99, and this version reads {SCHEMA}"),
        (broken(kernels=[{"name": "k"}]), r"manifest\.json is not a manifest: .*variants"),
    ],
)
def test_wheels_that_cannot_be_read(files: dict[str, bytes], message: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match=message) as e:
        open_built(str(pack(tmp_path / "x.whl", files)))
    assert e.value.exit_code == 2


def test_other_places_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "text.whl").write_text("not a wheel")
    for place, message in (
        (tmp_path / "text.whl", "not a wheel"),
        (tmp_path, r"no _kernels/manifest\.json in it"),
        (tmp_path / "absent", "no such file, directory or installed package"),
        ("no_such_package", "no such file, directory or installed package"),
    ):
        with pytest.raises(UnreadableError, match=message):
            open_built(str(place))
    unpack(tmp_path / "one")
    (tmp_path / "one" / "thing").rename(tmp_path / "one" / "other")
    unpack(tmp_path / "one")
    with pytest.raises(UnreadableError, match="more than one build"):
        open_built(str(tmp_path / "one"))
