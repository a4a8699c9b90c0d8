"""`tilebuild check` on plans, wheels, directories, packages and garbage."""

from __future__ import annotations

import argparse
import copy
import gzip
import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tilebuild.cli import check
from tilebuild.plan.expr import Expr
from tilebuild.plan.model import Access, Buffer, Contract, Global, Instr, Launch, Parameter, Placed, Plan, Region, Slice
from tilebuild.plan.serialize import dumps

ONE, FOUR = Expr.of(1), Expr.of(4)
LIBRARY = b"\x7fELF a library"


def plan(*, overlap: bool = False) -> Plan:
    """y = -x, over [4, 1]; with `overlap`, the two tiles share their bytes."""
    view = (Expr.of(0), (ONE, ONE))

    def box(name: str) -> Access:
        return Access(name, Slice(Expr.of(0), FOUR), Slice(Expr.of(0), ONE), (FOUR, ONE))

    buffers = [Buffer(n, Global(n, view[0], (ONE, Expr.of(0))), "f32", FOUR, ONE) for n in ("x", "y")]
    places = (("a", 0), ("b", 0 if overlap else 64))
    buffers += [Buffer(n, Placed("arena", at, 16), "f32", FOUR, ONE) for n, at in places]
    steps = (("load", "x", "a"), ("neg", "a", "b"), ("store", "b", "y"))
    instructions = tuple(Instr(k, op, (box(r),), (box(w),)) for k, (op, r, w) in enumerate(steps))
    parameters = (Parameter("x", "in", "f32", (FOUR,)), Parameter("y", "out", "f32", (FOUR,)))
    return Plan(
        "cpu", "x86_64", "negate", "", "k.py", Contract(parameters), (), (), tuple(buffers),
        (Region(0, 0, "program"),), instructions, Launch(()),
    )  # fmt: skip


def files(*, overlap: bool = False) -> dict[str, bytes]:
    """A package `thing` with one kernel, as a build leaves it."""
    text = dumps(plan(overlap=overlap)).encode()
    build = {
        "target": "cpu", "arch": "x86_64", "library": "cpu", "entry": "e", "slots": [], "grid": [],
        "plan": "plans/negate.json.gz", "plan_sha256": hashlib.sha256(text).hexdigest(),
    }  # fmt: skip
    manifest = {
        "schema": 1,
        "package": "thing",
        "kernels": [{"name": "negate", "variants": [{"consts": {}, "builds": [build]}]}],
        "libraries": {"cpu": {"file": "cpu/lib.so", "sha256": hashlib.sha256(LIBRARY).hexdigest()}},
    }
    return {
        "thing/__init__.py": b"raise RuntimeError('nobody imports this')\n",
        "thing/_kernels/manifest.json": json.dumps(manifest).encode(),
        "thing/_kernels/plans/negate.json.gz": gzip.compress(text),
        "thing/_kernels/cpu/lib.so": LIBRARY,
    }


def wheel(path: Path, contents: dict[str, bytes]) -> str:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return str(path)


def unpacked(root: Path, contents: dict[str, bytes]) -> Path:
    for name, data in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    check.add_parser(parser.add_subparsers())
    args = parser.parse_args(["check", *arguments])
    assert args.func is check.run
    return int(args.func(args))


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """Both streams: verdicts go to the one, what cannot be read to the other."""
    streams = capsys.readouterr()
    return streams.out + streams.err


@pytest.mark.parametrize(("overlap", "code"), [(False, 0), (True, 1)])
def test_plans_as_files(tmp_path: Path, capsys: pytest.CaptureFixture[str], overlap: bool, code: int) -> None:
    text = dumps(plan(overlap=overlap))
    (tmp_path / "k.json").write_text(text)
    (tmp_path / "k.json.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("k.json", "k.json.gz"):
        assert run(str(tmp_path / name)) == code
        out = said(capsys)
        assert ("error[O-ALIAS-01]: kernel negate: tile a [arena, 0..16) is live" in out) == overlap
        assert out.splitlines()[-1].startswith(f"negate on cpu:x86_64: {'violated' if overlap else 'proved'} (")


@pytest.fixture(params=["wheel", "directory", "kernels", "manifest", "package"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    def make(contents: dict[str, bytes]) -> str:
        if request.param == "wheel":
            return wheel(tmp_path / "thing-1-py3-none-any.whl", contents)
        root = unpacked(tmp_path / "root", contents)
        if request.param == "package":
            monkeypatch.syspath_prepend(root)
            monkeypatch.chdir(tmp_path)
            return "thing"
        kernels = root / "thing" / "_kernels"
        return str(
            {"directory": root / "thing", "kernels": kernels, "manifest": kernels / "manifest.json"}[request.param]
        )

    return make


@pytest.mark.parametrize(("overlap", "code"), [(False, 0), (True, 1)])
def test_built_kernels(place: Callable[..., str], capsys: pytest.CaptureFixture[str], overlap: bool, code: int) -> None:
    assert run(place(files(overlap=overlap))) == code
    assert f"negate on cpu:x86_64: {'violated' if overlap else 'proved'}" in said(capsys)


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("cpu/lib.so", b"\x7fELF another", "cpu/lib.so: cannot be judged: its sha256 is not the one that the manifest"),
        ("plans/negate.json.gz", gzip.compress(dumps(plan(overlap=True)).encode()), "the plan was altered"),
        ("plans/negate.json.gz", b"\x1f\x8b\x08", "plans/negate.json.gz: cannot be judged: not gzip"),
        ("plans/negate.json.gz", None, "plans/negate.json.gz: cannot be judged"),
        ("cpu/lib.so", None, "cpu/lib.so: cannot be judged"),
        ("manifest.json", None, "cannot be judged"),
        ("manifest.json", b"{}", "manifest.json is not a manifest"),
        ("manifest.json", b"[" * 100_000, "cannot be judged"),
        ("manifest.json", b'{"schema": 99}', "the manifest's schema is 99, and this version reads 1"),
        ("manifest.json", b'{"schema": 1, "kernels": 3}', "cannot be judged"),
        ("manifest.json", b'{"schema": 1, "kernels": [{"variants": [{"builds": [7]}]}]}', 'without the text "plan"'),
    ],
)  # fmt: skip
def test_altered_and_missing_files(
    place: Callable[..., str], capsys: pytest.CaptureFixture[str], name: str, data: bytes | None, text: str
) -> None:
    contents = files()
    if data is None:
        del contents[f"thing/_kernels/{name}"]
    else:
        contents[f"thing/_kernels/{name}"] = data
    assert run(place(contents)) == 2
    assert text in said(capsys)


def test_a_manifest_does_not_name_files_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    contents = files()
    manifest = (
        contents["thing/_kernels/manifest.json"].replace(b"plans/negate", b"../negate").replace(b"cpu/lib", b"/lib")
    )
    root = unpacked(tmp_path, {**contents, "thing/_kernels/manifest.json": manifest})
    assert run(str(root)) == 2
    out = said(capsys)
    assert "the manifest names '../negate.json.gz', which lies outside of its directory" in out
    assert "the manifest names '/lib.so', which lies outside" in out


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("k.json", b"", "not a plan: not JSON"),
        ("k.json", b"\xff\xfe", "not a plan: 'utf-8' codec"),
        ("k.json", b'{"schema": 7}', "not a plan: schema: 7 is not 1"),
        ("k.json", b"[" * 100_000, "not a plan"),
        ("k.json.gz", b"\x1f\x8bgarbage", "not gzip"),
        (
            "k.cu",
            b"int x;",
            "a file of an unknown kind: this command takes .json, .json.gz, .ptx, .pto, .whl, a directory",
        ),
        ("k.ptx", b".version 8.0", "not PTX: line 1: there is no .version or no .target"),
        ("k.ptx", b".version 8.0\n.target sm_80\n", "there is no kernel in it"),
        ("k.ptx", b"\xff", "not PTX: 'utf-8' codec"),
        ("k.ptx", None, "no such file, directory or installed package"),
        ("k.pto", b"module {", "not PTO: "),
        ("k.whl", b"PK\x03\x04", "not a wheel"),
        ("nothing.json", None, "no such file, directory or installed package"),
    ],
)
def test_what_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, data: bytes | None, text: str
) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    assert run(str(tmp_path / name)) == 2
    out = said(capsys)
    assert out.startswith(f"{tmp_path / name}: cannot be judged: ")
    assert text in out


@pytest.mark.parametrize("name", ["no_such_package", "json", "not a name", "a..b", "", "__main__", "sys"])
def test_names_that_are_no_package_of_kernels(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(name) == 2
    assert "cannot be judged" in said(capsys)


def test_a_text_that_inflates_without_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "LARGEST", 1000)
    (tmp_path / "k.json.gz").write_bytes(gzip.compress(b" " * 5000))
    assert run(str(tmp_path / "k.json.gz")) == 2
    assert "its text is longer than 1000 bytes" in said(capsys)


def test_every_file_is_named_and_the_worst_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "good.json").write_text(dumps(plan()))
    (tmp_path / "bad.json").write_text(dumps(plan(overlap=True)))
    names = [str(tmp_path / n) for n in ("good.json", "bad.json", "none1", "none2")]
    assert run(*names, "--quiet") == 2
    out = said(capsys)
    assert "none1: cannot be judged" in out
    assert "none2: cannot be judged" in out
    assert ": proved (" not in out
    assert run(*names[:2]) == 1
    assert run(names[0], "--quiet") == 0
    assert said(capsys).count("negate on") == 2


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "k.json").write_text(dumps(plan(overlap=True)))
    assert run(str(tmp_path / "k.json"), "none", "--format", "json") == 2
    document = json.loads(capsys.readouterr().out)
    assert [p["outcome"] for p in document["plans"]] == ["violated"]
    assert [u["file"] for u in document["unreadable"]] == ["none"]


PTX = """.version 8.0
.target sm_80
.address_size 64
.visible .entry copy(.param .u64 to)
.reqntid 32, 1, 1
{
    .reg .b32 %r<9>;
    .shared .align 4 .b8 s[SIZE];
    mov.u32 %r1, %tid.x;
    shl.b32 %r2, %r1, 2;
    mov.u32 %r3, s;
    add.s32 %r4, %r3, %r2;
    st.shared.u32 [%r4], %r1;
    ret;
}
"""


def test_ptx_from_anywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = tmp_path / "good.ptx", tmp_path / "bad.ptx"
    good.write_text(PTX.replace("SIZE", "128"))
    bad.write_text(PTX.replace("SIZE", "124"))
    assert run(str(good)) == 0
    verdicts = "operands proved, capacity proved, sync proved, linear-use proved"
    assert said(capsys) == f"copy on gpu:sm_80: proved ({verdicts})\n"
    assert run(str(bad), str(good)) == 1
    lines = said(capsys).splitlines()
    assert lines[0].startswith(
        "error[O-PTX-01]: kernel copy: st.shared.u32 (line 13) writes bytes 124..128 of the shared"
    )
    assert lines[1] == f"  note: in {bad}:13: st.shared.u32 [%r4], %r1;"
    assert run(str(bad), "--format", "json") == 1
    (entry,) = json.loads(capsys.readouterr().out)["plans"]
    assert (entry["scope"], entry["findings"][0]["artifact_line"]) == ("artifact", 13)


def test_what_is_not_proved_of_foreign_code_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "k.ptx"
    file.write_text(PTX.replace("SIZE", "128").replace(".reqntid 32, 1, 1\n", ""))
    assert run(str(file)) == 0
    assert said(capsys).startswith(
        "warning[O-PTX-01]: kernel copy: st.shared.u32 (line 12) is not proved to stay inside"
    )
    assert run(str(file), "--strict") == 1
    assert said(capsys).startswith("unknown[O-PTX-01]")
    assert run(str(file), "--strict", "--block", "32,4") == 1
    assert said(capsys).startswith("unknown[O-PTX-11]"), "threads of four rows meet at each word"
    assert run(str(file), "--strict", "--block", "32,1") == 0
    assert run(str(file), "--block", "64") == 1
    with pytest.raises(SystemExit):
        run(str(file), "--block", "0")
    dynamic = PTX.replace("    .shared .align 4 .b8 s[SIZE];\n", "").replace(
        ".visible", ".extern .shared .align 4 .b8 s[];\n.visible"
    )
    file.write_text(dynamic)
    assert run(str(file)) == 0
    assert run(str(file), "--dynamic-shared", "128", "--strict") == 0
    assert run(str(file), "--dynamic-shared", "127") == 1
    assert run(str(file), "--dynamic-shared", str(100 * 1024), "--arch", "sm_86") == 1


def corruptions(data: bytes) -> st.SearchStrategy[bytes]:
    def change(choices: list[tuple[int, int]]) -> bytes:
        changed = bytearray(data)
        for at, value in choices:
            changed[at % len(changed)] = value
        return bytes(changed)

    places = st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255))
    return st.lists(places, min_size=1, max_size=6).map(change) | st.integers(0, len(data)).map(lambda n: data[:n])


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_corrupted_wheel_is_no_traceback(tmp_path: Path, data: st.DataObject) -> None:
    original = Path(wheel(tmp_path / "original.whl", files())).read_bytes()
    (tmp_path / "k.whl").write_bytes(data.draw(corruptions(original)))
    assert run(str(tmp_path / "k.whl")) in (0, 1, 2)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    value=st.none() | st.integers() | st.text() | st.lists(st.integers()) | st.dictionaries(st.text(), st.none()),
    at=st.integers(0, 40),
)
def test_a_corrupted_manifest_is_no_traceback(tmp_path: Path, value: Any, at: int) -> None:
    contents = files()
    manifest = json.loads(contents["thing/_kernels/manifest.json"])
    changed = copy.deepcopy(manifest)
    slots = [(node, key) for node in nodes(changed) for key in (node if isinstance(node, dict) else range(len(node)))]
    node, key = slots[at % len(slots)]
    node[key] = value
    contents["thing/_kernels/manifest.json"] = json.dumps(changed).encode()
    assert run(str(unpacked(tmp_path / "w", contents))) in (0, 2)


def nodes(value: Any) -> list[Any]:
    if not isinstance(value, (dict, list)):
        return []
    return [value, *(n for v in (value.values() if isinstance(value, dict) else value) for n in nodes(v))]
