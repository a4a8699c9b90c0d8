"""`[tool.tilebuild]`: what is read, where from, and how mistakes are reported."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilebuild.build import config_docs, config_toml
from tilebuild.build.config import Config, KnownTargets, TargetSpec, load_config
from tilebuild.build.config import settings as all_settings
from tilebuild.build.waivers import in_force, policy, today
from tilebuild.diagnostics import TilebuildError
from tilebuild.oracle import Waiver


@dataclass(frozen=True)
class Options:
    """Of a target."""

    compiler: Literal["auto", "gcc"] = "auto"
    """Which."""
    levels: tuple[str, ...] = ()
    """Several."""
    fast_path: bool = False
    """A flag."""
    jobs: int = 0
    """A number."""


KNOWN = KnownTargets(
    {"cpu": ("x86-64", "aarch64"), "gpu": ("sm_80", "sm_90", "sm_90a"), "spirv": ()}, {"cpu": Options, "gpu": Options}
)


def load(
    directory: Path, table: str, *, config: dict[str, Any] | None = None, environ: dict[str, str] | None = None
) -> Config:
    (directory / "pyproject.toml").write_text(f'[project]\nname = "x"\n{table}', encoding="utf-8")
    return load_config(directory, KNOWN, config, environ or {})


def mistakes(directory: Path, table: str, **given: Any) -> list[str]:
    with pytest.raises(TilebuildError) as caught:
        load(directory, table, **given)
    return [d.render(caught.value.root) for d in caught.value.diagnostics]


@pytest.mark.parametrize("table", ["", "[tool.other]\na = 1\n", "[tool.tilebuild]\n"])
def test_defaults(tmp_path: Path, table: str) -> None:
    config = load(tmp_path, table)
    assert config == Config()
    assert config.targets == (TargetSpec("cpu"),)
    assert (config.kernels, config.wheel, config.build_dir) == ((), "fat", "build/tilebuild")
    assert config.oracle.severity("dead-writes") == "error"
    assert {str(origin) for _, _, origin in config.explain()} == {"default"}


def test_everything(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    config = load(
        tmp_path,
        """
[tool.tilebuild]
kernels = ["src"]
targets = ["cpu", "gpu:sm_80", "gpu:sm_90", "spirv"]
inner-backend = "scikit-build-core"
wheel = "fat"
build-dir = "out"
oracle = {default = "warn", linear-use = "off"}
[tool.tilebuild.target.cpu]
compiler = "gcc"
fast-path = true
jobs = 3
""",
    )
    assert list(map(str, config.targets)) == ["cpu", "gpu:sm_80", "gpu:sm_90", "spirv"]
    assert config.targets[1] == TargetSpec("gpu", "sm_80")
    assert (config.oracle.severity("linear-use"), config.oracle.severity("aliasing")) == ("off", "warn")
    assert config.target == {"cpu": {"compiler": "gcc", "fast_path": True, "jobs": 3}}
    assert config.options("cpu", Options) == Options("gcc", (), True, 3)
    assert config.options("gpu", Options) == Options()
    with pytest.raises(KeyError):
        config.oracle.severity("banks")


def test_severities_of_kernels_and_waivers(tmp_path: Path) -> None:
    table = """
[tool.tilebuild.oracle]
default = "warn"
[tool.tilebuild.oracle.kernel."soft*"]
sync = "off"
[[tool.tilebuild.oracle.waivers]]
finding = "O-CAP-01"
reason = "the next device has more"
expires = 2027-01-31
[[tool.tilebuild.oracle.waivers]]
finding = "O-DEAD-02"
kernel = "softmax"
reason = "x"
expires = "2027-02-28"
"""
    config = load(tmp_path, table)
    read = policy(config.oracle, datetime.date(2027, 2, 1))
    assert [read.severity("sync", k) for k in ("softmax", "matmul")] == ["off", "warn"]
    assert read.waivers == (
        Waiver("O-CAP-01", "the next device has more", datetime.date(2027, 1, 31)),
        Waiver("O-DEAD-02", "x", datetime.date(2027, 2, 28), "softmax"),
    )
    assert in_force(config.oracle, read.today) == [False, True]
    assert [read.in_force(w) for w in read.waivers] == [False, True]


def test_the_day_of_a_build() -> None:
    assert today({"SOURCE_DATE_EPOCH": "0"}) == datetime.date(1970, 1, 1)
    assert today({"SOURCE_DATE_EPOCH": "1777593599"}) == datetime.date(2026, 4, 30)
    assert abs(today({}) - datetime.datetime.now(datetime.timezone.utc).date()) <= datetime.timedelta(1)


# the table starts on line 3
@pytest.mark.parametrize(
    ("table", "place", "code", "facts"),
    [
        ('[tool.tilebuild]\ntargest = ["cpu"]', "4:1", "E602",
         ['tool.tilebuild.targest: unknown key (did you mean "targets"?)', "^^^^^^^", "the keys here are kernels"]),
        ('[tool.tilebuild]\ntargets = ["cpu", "gpu:sm_9O"]', "4:19", "E604",
         ['tool.tilebuild.targets[1]: unknown architecture "sm_9O" (did you mean "sm_90"?)', "sm_80, sm_90, sm_90a"]),
        ('[tool.tilebuild]\ntargets = ["cqu"]', "4:12", "E604", ['unknown target "cqu" (did you mean "cpu"?)']),
        ('[tool.tilebuild]\ntargets = ["gpu:"]', "4:12", "E604", ['unknown architecture ""']),
        ('[tool.tilebuild]\ntargets = ["spirv:x"]', "4:12", "E604", ['unknown architecture "x"', 'write "spirv"']),
        ('[tool.tilebuild]\ntargets = ["cpu", "gpu", "cpu"]', "4:26", "E605",
         ['"cpu" stands here twice, first as item 0']),
        ("[tool.tilebuild]\ntargets = []", "4:11", "E604", ["tool.tilebuild.targets: is empty"]),
        ('[tool.tilebuild]\ntargets = "cpu"', "4:11", "E603",
         ['expected a list of strings, found the string "cpu"', '["cpu"]']),
        ('[tool.tilebuild]\ntargets = [\n  "cpu",  # yes\n  3,\n]', "6:3", "E603",
         ["tool.tilebuild.targets[1]: expected a string, found the integer 3"]),
        ('[tool.tilebuild]\nwheel = "splot"', "4:9", "E604",
         ['tool.tilebuild.wheel: "splot" is not supported (did you mean "split"?)', '"fat", "split" or "variants"']),
        ("[tool.tilebuild]\nplatforms = []", "4:13", "E604", ["tool.tilebuild.platforms: is empty"]),
        ('[tool.tilebuild]\nplatforms = ["linux-aarch"]', "4:14", "E604", ['did you mean "linux-aarch64"?']),
        ('[tool.tilebuild]\n"inner-backend" = "meson-pyhton"', "4:19", "E604",
         ['"meson-pyhton" is not supported (did you mean "meson-python"?)', '"scikit-build-core"']),
        ('[tool.tilebuild]\nsize-budget = "1 mb"', "4:15", "E604", ['"1 mb" is not a size', '"100 MB"']),
        ("[tool.tilebuild]\nbuild-dir = 3", "4:13", "E603", ["expected a string, found the integer 3"]),
        ('[tool.tilebuild]\nbuild-dir = "."', "4:13", "E604", ["the project itself"]),
        ('[tool.tilebuild]\nbuild-dir = ""', "4:13", "E604", ["the project itself"]),
        ('[tool.tilebuild]\nkernels = ["/etc"]', "4:12", "E604", ['"/etc" is not a path inside the project']),
        ('[tool.tilebuild]\nkernels = ["a/../.."]', "4:12", "E604", ["not a path inside the project"]),
        ('[tool.tilebuild]\nkernels = ["pyproject.tmol"]', "4:12", "E604",
         ['no such file or directory: "pyproject.tmol" (did you mean "pyproject.toml"?)']),
        ('[tool.tilebuild]\nkernels = ["a\\u0000"]', "4:12", "E604", ["no such file or directory"]),
        ('[tool.tilebuild.oracle]\nbanks = "warn"', "4:1", "E602", ["tool.tilebuild.oracle.banks: unknown key"]),
        ('[tool.tilebuild]\noracle.dead-writes = "of"', "4:22", "E604",
         ['tool.tilebuild.oracle.dead-writes: "of" is not supported (did you mean "off"?)', '"warn" or "off"']),
        ("[tool.tilebuild]\noracle = true", "4:10", "E603", ["tool.tilebuild.oracle: expected a table, found true"]),
        ("[tool.tilebuild]\noracle = 1979-05-27 07:32:00 # x", "4:10", "E603", ["found the date or time"]),
        ("[[tool.tilebuild.oracle]]\n", "3:1", "E603", ["tool.tilebuild.oracle: expected a table, found a list"]),
        ('[tool.tilebuild.oracle.kernel.softmax]\nalising = "off"', "4:1", "E602",
         ['oracle.kernel.softmax.alising: unknown key (did you mean "aliasing"?)', "default, aliasing, capacity"]),
        ('[tool.tilebuild.oracle.kernel]\nsoftmax = "off"', "4:11", "E603",
         ['oracle.kernel.softmax: expected a table, found the string "off"']),
        ('[[tool.tilebuild.oracle.waivers]]\nfinding = "O-CAP-01"\nexpires = 2027-01-31', "3:1", "E606",
         ['oracle.waivers[0]: the key "reason" is missing']),
        ('[tool.tilebuild.oracle]\nwaivers = [{finding = "O-CAP-01", reason = " ", expires = "2027-01-31"}]', "4:44",
         "E604", ["oracle.waivers[0].reason: is empty", "say why the finding may be borne"]),
        ('[tool.tilebuild.oracle]\nwaivers = [{finding = "O-CAP-01", reason = "x", expires = "2027-02-30"}]', "4:59",
         "E604", ['oracle.waivers[0].expires: "2027-02-30" is not a day', '"2027-01-31"']),
        ('[tool.tilebuild.oracle]\nwaivers = [{finding = "aliasing", reason = "x", expires = "2027-02-20"}]', "4:23",
         "E604", ['oracle.waivers[0].finding: "aliasing" is no code of a finding', '"O-"']),
        ("[tool.tilebuild.target.gqu]\n", "3:1", "E602",
         ['tool.tilebuild.target.gqu: unknown target (did you mean "gpu"?)']),
        ("[tool.tilebuild.target.spirv]\n", "3:1", "E602", ["tool.tilebuild.target.spirv: unknown target"]),
        ("[tool.tilebuild]\ntarget.cpu = 1", "4:14", "E603", ["tool.tilebuild.target.cpu: expected a table"]),
        ('[tool.tilebuild.target.cpu]\ncompiler = "gc"', "4:12", "E604",
         ['tool.tilebuild.target.cpu.compiler: "gc" is not supported (did you mean "gcc"?)']),
        ("[tool.tilebuild.target.cpu]\njobs = true", "4:8", "E603", ["expected an integer, found true"]),
        ("[tool.tilebuild.target.cpu]\nfast_path = true", "4:1", "E602", ['unknown key (did you mean "fast-path"?)']),
        ("[tool]\ntilebuild = 3", "4:13", "E603", ["tool.tilebuild: expected a table"]),
        ('[tool.tilebuild]\n"schlüssel" = 1', "4:1", "E602", ["^^^^^^^^^^^"]),
    ],
)  # fmt: skip
def test_mistake(tmp_path: Path, table: str, place: str, code: str, facts: list[str]) -> None:
    (message,) = mistakes(tmp_path, table)
    assert message.startswith(f"pyproject.toml:{place}: error[{code}]: ")
    for fact in facts:
        assert fact in message


def test_tool_that_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('tool = "x"')
    with pytest.raises(TilebuildError, match=r"E603.*tool: expected a table"):
        load_config(tmp_path, KNOWN, environ={})


def test_all_mistakes_at_once_in_the_order_of_the_text(tmp_path: Path) -> None:
    table = '[tool.tilebuild]\nwheel = 1\ntargets = ["cqu", 2]\nbuild = 1\n[tool.tilebuild.target.cpu]\njobs = "x"\n'
    messages = mistakes(tmp_path, table, config={"tilebuild.targes": "cpu"}, environ={"TILEBUILD_ORACLE_DEFAULT": "no"})
    assert [message.split(": ")[0] for message in messages[:5]] == [
        f"pyproject.toml:{place}" for place in ("4:9", "5:12", "5:19", "6:1", "8:8")
    ]
    assert len(messages) == 7
    assert any('environment variable TILEBUILD_ORACLE_DEFAULT: "no" is not supported' in m for m in messages[5:])
    assert any('setting tilebuild.targes: unknown key (did you mean "tilebuild.targets"?)' in m for m in messages[5:])


@pytest.mark.parametrize(
    ("text", "place", "fact"),
    [
        (b"[tool.tilebuild]\ntargets = [\n", "3:1", "not valid TOML"),
        (b"[tool.tilebuild]\nkernels = x\n", "2:11", "Invalid value"),
        (b'[tool]\n"\xc3\xbc" = x\n', "2:8", "Invalid value"),  # columns count bytes, as in `ast`
        (b"a = 1\na = 2\n", "2:6", "Cannot overwrite a value"),
        (b"[tool.tilebuild", "1:16", "Expected ']'"),
    ],
)
def test_invalid_toml(tmp_path: Path, text: bytes, place: str, fact: str) -> None:
    (tmp_path / "pyproject.toml").write_bytes(text)
    with pytest.raises(TilebuildError) as caught:
        load_config(tmp_path, KNOWN, environ={})
    assert str(caught.value).startswith(f"pyproject.toml:{place}: error[E601]: ")
    assert fact in str(caught.value)


def test_unreadable(tmp_path: Path) -> None:
    with pytest.raises(TilebuildError, match=r"E601.*pyproject\.toml: no such file"):
        load_config(tmp_path, KNOWN, environ={})
    (tmp_path / "pyproject.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(TilebuildError, match=r"E601.*cannot be read"):
        load_config(tmp_path, KNOWN, environ={})
    (tmp_path / "pyproject.toml").write_text(f"a = {'[' * 100_000}")
    with pytest.raises(TilebuildError, match="E601"):
        load_config(tmp_path, KNOWN, environ={})


def test_precedence(tmp_path: Path) -> None:
    table = '[tool.tilebuild]\ntargets = ["spirv"]\nbuild-dir = "a"\noracle.default = "off"\n'
    config = load(
        tmp_path,
        table,
        environ={"TILEBUILD_TARGETS": "cpu, gpu:sm_80", "TILEBUILD_BUILD_DIR": "b", "TILEBUILD_ORACLE_DEFAULT": ""},
        config={"tilebuild.targets": "gpu", "tilebuild.target.cpu.levels": ["v2", "v3"], "wheel.cmake": "false"},
    )
    found = {".".join(setting.path): (value, str(origin)) for setting, value, origin in config.explain()}
    assert found["targets"] == ((TargetSpec("gpu"),), "config setting tilebuild.targets")
    assert found["build-dir"] == ("b", "environment variable TILEBUILD_BUILD_DIR")
    assert found["oracle.default"] == ("off", "pyproject.toml:6")  # an empty variable is not set
    assert found["target.cpu.levels"] == (("v2", "v3"), "config setting tilebuild.target.cpu.levels")
    assert found["wheel"] == ("fat", "default")
    # what is replaced is not looked at, what replaces it is
    assert load(tmp_path, "[tool.tilebuild]\ntargets = 3\n", environ={"TILEBUILD_TARGETS": "cpu"}).targets
    (message,) = mistakes(tmp_path, table, environ={"TILEBUILD_TARGETS": "cpu,gpu:sm_9"})
    assert message.startswith("error[E604]: environment variable TILEBUILD_TARGETS[1]: unknown architecture")
    (message,) = mistakes(tmp_path, table, config={"tilebuild.target.cpu.jobs": "many"})
    assert "config setting tilebuild.target.cpu.jobs: expected an integer" in message
    # a table cannot be put in the place of a value, whose own mistake is reported
    (message,) = mistakes(tmp_path, "[tool.tilebuild]\noracle = 1\n", environ={"TILEBUILD_ORACLE_DEFAULT": "off"})
    assert "tool.tilebuild.oracle: expected a table" in message


TEXTS = {"kernels": "pyproject.toml", "targets": "gpu", "platforms": "linux-aarch64", "build-dir": "b",
         "compiler": "gcc", "levels": "v2,v3", "fast-path": "true", "jobs": "-4", "inner-backend": "scikit-build-core",
         "wheel": "fat", "size-budget": "3 KiB", "rebuild-on-import": "true"}  # fmt: skip


@pytest.mark.parametrize("setting", list(all_settings(KNOWN)), ids=lambda setting: setting.variable)
def test_every_setting_has_a_variable_and_a_config_setting(tmp_path: Path, setting: Any) -> None:
    text = TEXTS.get(setting.path[-1], "off")
    assert setting.variable == "TILEBUILD_" + setting.config_setting[10:].upper().replace(".", "_").replace("-", "_")
    by_variable = load(tmp_path, "", environ={setting.variable: text})
    by_config = load(tmp_path, "", config={setting.config_setting: text})
    assert by_variable == by_config
    (value,) = [value for entry, value, origin in by_variable.explain() if origin.kind != "default"]
    assert (",".join(map(str, value)) if isinstance(value, tuple) else str(value).lower()) == text.lower()


# --- places in the text -------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f"), max_size=6)
VALUES = st.recursive(
    st.one_of(TEXT, st.integers(-(2**60), 2**60), st.booleans(), st.floats(allow_nan=False)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=6,
)


def toml(value: object) -> str:
    """A value in one line of TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(key)} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, float):
        return repr(value).replace("e+", "e").replace("inf", "inf")
    return quoted(value) if isinstance(value, str) else json.dumps(value)


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def paths(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], object]]:
    if path:
        yield path, value
    for key, item in value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ()):
        yield from paths(item, (*path, key))


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(TEXT, VALUES, max_size=4), st.dictionaries(TEXT, VALUES, max_size=4))
def test_places_of_values(tmp_path_factory: pytest.TempPathFactory, top: dict[str, Any], inner: dict[str, Any]) -> None:
    directory = tmp_path_factory.mktemp("toml")
    lines = [f"{quoted(key)} = {toml(value)}  # {{ [ '" for key, value in top.items()]
    table = next(name for name in ("t", "tt", "ttt", "tttt", "ttttt") if name not in top)
    lines += [f" [ {table} . 'in' ]", *(f"\t{quoted(key)}={toml(value)}" for key, value in inner.items())]
    (directory / "pyproject.toml").write_bytes("\r\n".join(lines).encode())
    document = config_toml.read(directory)
    assert document.data == {**top, table: {"in": inner}}
    for path, value in [*paths(top), *(((table, "in", *path), value) for path, value in paths(inner))]:
        start, end = document.values[path]
        assert config_toml._tomllib.loads(f"v = {document.text[start:end]}") == {"v": value}
        if isinstance(path[-1], str):
            start, end = document.keys[path]
            assert document.text[start:end] == quoted(path[-1])


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        ('a = """\n]x"\\""" """ # c\nb = 1', ("b",), "1"),
        ('a = """x"""""\nb = 1', ("b",), "1"),
        ("a = '''\n'x''' # '\nb = 1", ("b",), "1"),
        ("a = '\\'\nb = '#'", ("b",), "'#'"),
        ('a = "\\\\"\nb = "]"', ("b",), '"]"'),
        ("a = [ # one ]\n 1, # two\n [2, 3] ,\n]\n", ("a", 1, 1), "3"),
        ("[[a]]\nx = 1\n[[a]]\nx = 2\n[a.b]\ny = 3\n[[a.c]]\nz = 4\n[[a.c]]\nz = 5", ("a", 1, "x"), "2"),
        ("[[a]]\nx = 1\n[[a]]\nx = 2\n[a.b]\ny = 3\n[[a.c]]\nz = 4\n[[a.c]]\nz = 5", ("a", 1, "b", "y"), "3"),
        ("[[a]]\nx = 1\n[[a]]\nx = 2\n[a.b]\ny = 3\n[[a.c]]\nz = 4\n[[a.c]]\nz = 5", ("a", 1, "c", 1, "z"), "5"),
        ('a . "b.c" . d = 2024-01-01 10:00:00 # x', ("a", "b.c", "d"), "2024-01-01 10:00:00"),
    ],
)
def test_place_in_unusual_text(tmp_path: Path, text: str, path: tuple[str | int, ...], expected: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    document = config_toml.read(tmp_path)
    start, end = document.values[path]
    assert document.text[start:end] == expected


# --- anything goes in, a configuration or a readable error comes out ----------------------------------------------

KEYS = st.sampled_from([*(".".join(s.path) for s in all_settings(KNOWN)), "oracle", "target", "target.cpu", "targest"])
WORDS = st.sampled_from(
    ["cpu", "gpu:sm_80", "gpu:sm_9O", "cpu:", "", ".", "off", "fat", "gcc", "src", "\x00", "ü" * 300]
)
ANYTHING = st.one_of(WORDS, st.lists(WORDS, max_size=3), VALUES)


def accepted(directory: Path, config: dict[str, Any], environ: dict[str, str]) -> bool:
    try:
        loaded = load_config(directory, KNOWN, config, environ)
    except TilebuildError as caught:
        error = caught
    else:
        assert list(loaded.explain())
        return True
    assert error.diagnostics
    assert all(d.code.startswith("E60") and d.message in str(error) for d in error.diagnostics)
    return False


@settings(max_examples=80, deadline=None)
@given(
    st.dictionaries(KEYS, ANYTHING, max_size=4),
    st.dictionaries(KEYS, ANYTHING, max_size=2),
    st.dictionaries(KEYS, WORDS, max_size=2),
)
def test_never_anything_but_a_configuration_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, table: dict[str, Any], config: dict[str, Any], environ: dict[str, str]
) -> None:
    directory = tmp_path_factory.mktemp("any")
    tree: dict[str, Any] = {}
    for key, value in table.items():
        *outer, name = key.split(".")
        inner = tree
        for part in outer:
            inner = inner.setdefault(part, {}) if isinstance(inner, dict) else {}
        if isinstance(inner, dict):
            inner[name] = value
    (directory / "pyproject.toml").write_text(f"tool.tilebuild = {toml(tree)}", encoding="utf-8")
    variables = {f"TILEBUILD_{key.upper()}".replace(".", "_").replace("-", "_"): text for key, text in environ.items()}
    accepted(directory, {f"tilebuild.{key}": value for key, value in config.items()}, variables)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 200), st.integers(0, 10), st.text(max_size=4))
def test_damaged_text(tmp_path_factory: pytest.TempPathFactory, at: int, gone: int, text: str) -> None:
    directory = tmp_path_factory.mktemp("damaged")
    whole = '[tool.tilebuild]\ntargets = ["cpu", "gpu:sm_90"] # x\noracle = {default = "warn"}\n'
    whole += "[tool.tilebuild.target.cpu]\njobs = 3\n"
    damaged = whole[:at] + text + whole[at + gone :]
    (directory / "pyproject.toml").write_bytes(damaged.encode(errors="surrogatepass"))
    accepted(directory, {}, {})


VALIDATOR = jsonschema.Draft7Validator(config_docs.schema(KNOWN.options))

# --- one source ---------------------------------------------------------------------------------------------------


def test_published_files_are_up_to_date() -> None:
    options = config_docs.built_in()
    assert list(options) == ["cpu", "gpu", "pto", "spirv"]
    fix = "run `python -m tilebuild.build.config_docs`"
    published = Path(__file__).parents[2] / "docs" / "config.md"
    assert published.read_text(encoding="utf-8") == config_docs.page(options), fix
    assert config_docs.SCHEMA_FILE.read_text(encoding="utf-8") == config_docs.schema_text(options), fix


def test_every_setting_is_on_the_page() -> None:
    page = config_docs.page(KNOWN.options)
    for setting in all_settings(KNOWN):
        assert f"`{setting.variable}`" in page
        assert f"### {setting.path[-1]}\n\n" in page


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(KEYS.filter(lambda key: "." not in key), ANYTHING, max_size=3))
def test_schema_and_loader_agree(tmp_path_factory: pytest.TempPathFactory, table: dict[str, Any]) -> None:
    """What the schema refuses, the loader refuses; the loader knows more (architectures, files)."""
    directory = tmp_path_factory.mktemp("schema")
    (directory / "pyproject.toml").write_text(f"tool.tilebuild = {toml(table)}", encoding="utf-8")
    if accepted(directory, {}, {}):
        VALIDATOR.validate(table)


@pytest.mark.parametrize(
    ("table", "valid"),
    [
        ({}, True),
        ({"targets": ["cpu", "gpu:sm_80"], "oracle": {"default": "off"}, "target": {"cpu": {"jobs": 1}}}, True),
        ({"targest": []}, False),
        ({"targets": []}, False),
        ({"targets": ["cpu", "cpu"]}, False),
        ({"oracle": {"banks": "warn"}}, False),
        ({"oracle": {"kernel": {"softmax": {"sync": "warn"}}}}, True),
        ({"oracle": {"kernel": {"softmax": {"sync": "loud"}}}}, False),
        ({"oracle": {"waivers": [{"finding": "O-CAP-01", "reason": "x", "expires": "2027-01-31"}]}}, True),
        ({"oracle": {"waivers": [{"finding": "O-CAP-01", "expires": "2027-01-31"}]}}, False),
        ({"oracle": {"waivers": [{"finding": "O-CAP-01", "reason": "x", "expires": "soon"}]}}, False),
        ({"target": {"cpu": {"compiler": "tcc"}}}, False),
        ({"wheel": "split", "platforms": ["linux-aarch64"]}, True),
        ({"platforms": []}, False),
    ],
)
def test_schema(tmp_path: Path, table: dict[str, Any], valid: bool) -> None:
    VALIDATOR.check_schema(VALIDATOR.schema)
    assert VALIDATOR.is_valid(table) == valid
    (tmp_path / "pyproject.toml").write_text(f"tool.tilebuild = {toml(table)}", encoding="utf-8")
    assert accepted(tmp_path, {}, {}) == valid
