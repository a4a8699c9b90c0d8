"""The configuration of a build: `[tool.tilebuild]`, environment variables and config settings, checked as a whole.

The classes below are the single source: the validator, the JSON schema and docs/config.md come out of them.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal, TypeVar, cast

from tilebuild.build import config_toml, waivers
from tilebuild.diagnostics import Diagnostic, Span, TilebuildError, did_you_mean
from tilebuild.schema import NOT_A_KEY, Key, KeyPath, Problem, Reader, dotted, from_text, is_one_text, keys, leaves

T = TypeVar("T")
Severity = Literal["error", "warn", "off"]
Settings = Mapping[str, Any]

PREFIX = "tilebuild"
TABLE = ("tool", PREFIX)
CODES = {"key": "E602", "type": "E603", "value": "E604", "twice": "E605", "missing": "E606"}


@dataclass(frozen=True)
class TargetSpec:
    """A machine to build for, written `name` or `name:arch`; an empty `arch` is the target's own choice."""

    PATTERN: ClassVar[str] = "^[^:]+(:[^:]+)?$"
    name: str
    arch: str = ""

    def __str__(self) -> str:
        return f"{self.name}:{self.arch}" if self.arch else self.name


_UNITS = {"B": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}


@dataclass(frozen=True)
class Size:
    """A number of bytes, written with a unit, such as "100 MB"; `bytes` holds the number."""

    PATTERN: ClassVar[str] = r"^[0-9]+ ?(B|kB|MB|GB|KiB|MiB|GiB)$"
    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def bytes(self) -> int:
        number, unit = re.fullmatch(r"(\d+) ?(\w+)", self.text).groups()  # type: ignore[union-attr]
        return int(number) * _UNITS[unit]

    @classmethod
    def parse(cls, text: str) -> Size:
        """A size as it is written; raises `ValueError` with a sentence and a fix."""
        if not re.match(cls.PATTERN, text):
            raise ValueError(f'"{text}" is not a size', 'write a number and a unit, such as "100 MB"')
        return cls(text)


@dataclass(frozen=True)
class OracleConfig:
    """What a finding of each of the oracle's checks does to a build."""

    default: Severity = "error"
    """Of every check that is not set by itself: "error" fails the build, "warn" prints the finding, "off" skips the
    check."""
    aliasing: Severity | None = None
    """Two live buffers overlap in one memory space."""
    capacity: Severity | None = None
    """A memory space holds more than the machine has."""
    linear_use: Severity | None = None
    """Something is read that nothing wrote, or overwritten before it was read."""
    dead_writes: Severity | None = None
    """Something is written that nothing reads."""
    operands: Severity | None = None
    """An operand lies in the wrong space, or its shape, bounds or alignment are wrong."""
    sync: Severity | None = None
    """Threads or engines touch the same bytes with nothing that orders them."""
    kernel: Mapping[str, Mapping[str, Severity]] = field(default_factory=dict)
    """Severities of single kernels: one table a kernel, or a pattern with `*` and `?`, with the keys above, such as
    `[tool.tilebuild.oracle.kernel.softmax]`. They go before those of all kernels."""
    waivers: tuple[waivers.WaiverConfig, ...] = ()
    """Findings that are known and borne for a while."""

    def severity(self, check: str) -> Severity:
        """What a finding of a check does; raises `KeyError` for a check that there is not."""
        return getattr(self, keys(OracleConfig)[check].field) or self.default

    @classmethod
    def checks(cls) -> tuple[str, ...]:
        """The keys of a table of severities."""
        return tuple(key.name for key in keys(cls).values() if is_one_text(key.hint))


@dataclass(frozen=True)
class Origin:
    """Where a value comes from: `kind` is "default", "pyproject.toml", "environment variable" or "config setting"."""

    kind: str
    name: str = ""
    span: Span | None = None

    def __str__(self) -> str:
        return f"{self.span.file}:{self.span.line}" if self.span else f"{self.kind} {self.name}".strip()


class Each(Mapping[str, T]):
    """One thing about each of some things, looked at when it is asked for."""

    def __init__(self, things: Mapping[str, Any], get: Callable[[Any], T]) -> None:
        self._things, self._get = things, get

    def __getitem__(self, name: str) -> T:
        return self._get(self._things[name])

    def __contains__(self, name: object) -> bool:
        return name in self._things

    def __iter__(self) -> Iterator[str]:
        return iter(self._things)

    def __len__(self) -> int:
        return len(self._things)


@dataclass(frozen=True)
class KnownTargets:
    """What the installed targets say of themselves: their architectures (none where there is nothing to choose) and the
    frozen dataclass of their options."""

    architectures: Mapping[str, tuple[str, ...]]
    options: Mapping[str, type[Any]] = field(default_factory=dict)

    def parse(self, text: str) -> TargetSpec:
        """A target as it is written; raises `ValueError` with a sentence and a fix."""
        name, colon, arch = text.partition(":")
        if name not in self.architectures:
            known = list(self.architectures)
            raise ValueError(f'unknown target "{name}"{did_you_mean(name, known)}', f"known: {', '.join(known)}")
        listed = self.architectures[name]
        if colon and arch not in listed:
            fix = f"the architectures of {name} are {', '.join(listed)}" if listed else f'write "{name}"'
            raise ValueError(f'unknown architecture "{arch}"{did_you_mean(arch, listed)}', fix)
        return TargetSpec(name, arch)


@dataclass(frozen=True)
class Config:
    """The table `[tool.tilebuild]`."""

    kernels: tuple[str, ...] = ()
    """Files and directories with kernels, relative to the project. Empty: every module of the package that uses
    `@tb.kernel`."""
    targets: tuple[TargetSpec, ...] = (TargetSpec("cpu"),)
    """What to build for, each `name` or `name:architecture`."""
    inner_backend: Literal["scikit-build-core", "meson-python", "flit-core", "hatchling", "setuptools"] = (
        "scikit-build-core"
    )
    """The build backend that builds the rest of the package."""
    platforms: tuple[Literal["linux-x86_64", "linux-aarch64"], ...] = ("linux-x86_64",)
    """The platforms that a release has wheels for: `tilebuild matrix` makes the jobs of a CI run out of them and
    `targets`. A build by itself is for the machine that it runs on."""
    wheel: Literal["fat", "split", "variants"] = "fat"
    """How `tilebuild merge` spreads targets over wheels: "fat" puts all of them into one; "split" leaves those of
    devices to wheels of their own, which are chosen by extras; "variants" makes one labelled wheel an architecture. The
    wheel of a build by itself has every target of that build in any case."""
    build_dir: str = "build/tilebuild"
    """Where builds keep their files, relative to the project."""
    size_budget: Size = Size("100 MB")
    """The most that a wheel may take; a larger one fails the build with a table of what takes how much. Package indexes
    have a limit too, and that of pypi.org is 100 MB."""
    rebuild_on_import: bool = False
    """Whether an editable install builds kernels whose source changed when they are first looked for in a process. The
    environment must have what a build needs. The variable counts when the kernels are used, the rest when they are
    installed."""
    oracle: OracleConfig = OracleConfig()
    """What the oracle's findings do."""
    target: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """One table a target with the options of that target, such as `[tool.tilebuild.target.cpu]`."""
    provenance: Mapping[str, Origin] = field(default_factory=dict, compare=False, repr=False, metadata=NOT_A_KEY)
    """Where each value comes from, by dotted key; what is missing here is a default."""
    known: KnownTargets = field(default=KnownTargets({}), compare=False, repr=False, metadata=NOT_A_KEY)
    """The targets that it was checked against."""

    def options(self, target: str, cls: type[T]) -> T:
        """The options of a target as an instance of its options class."""
        return cls(**self.target.get(target, {}))

    def explain(self) -> Iterator[tuple[Setting, object, Origin]]:
        """Every setting with its value and where that comes from."""
        for setting in settings(self.known):
            value: Any = self
            for i, name in enumerate(setting.path):
                if setting.path[:i] == ("target",):
                    value = self.options(name, self.known.options[name])
                elif name != "target":
                    value = getattr(value, keys(type(value))[name].field)
            yield setting, value, self.provenance.get(dotted(setting.path), Origin("default"))


@dataclass(frozen=True)
class Setting:
    """A key that holds a value: its dotted name, and how it is called where only text can be given."""

    path: tuple[str, ...]
    key: Key

    @property
    def variable(self) -> str:
        """TILEBUILD_ and the dotted key in capitals, with an underscore for every dot and dash."""
        return "_".join((PREFIX, *self.path)).replace("-", "_").upper()

    @property
    def config_setting(self) -> str:
        return ".".join((PREFIX, *self.path))


_ANY = Key("", "", object, False, None)


def settings(known: KnownTargets, of: Collection[str] | None = None) -> Iterator[Setting]:
    """Every setting there is, those of the known targets' options (or of the targets in `of`) last."""
    for path, key in leaves(Config):
        if is_one_text(key.hint):  # tables of free names, and lists of tables, stand in pyproject.toml only
            yield Setting(path, key)
    for name in known.options:
        if of is None or name in of:
            for path, key in leaves(known.options[name]):
                yield Setting(("target", name, *path), key)


def load_config(
    project_dir: Path,
    known: KnownTargets,
    config_settings: Settings | None = None,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """The configuration of a project. A config setting (`-C tilebuild.targets=cpu`) goes before an environment variable
    (`TILEBUILD_TARGETS=cpu`), that before `pyproject.toml`, and that before the default.

    Raises `TilebuildError` with every mistake at once: E601 pyproject.toml cannot be read, E602 unknown key, E603 wrong
    type, E604 wrong value, E605 the same twice.
    """
    return _Loader(config_toml.read(project_dir), project_dir, known).load(
        config_settings or {}, os.environ if environ is None else environ
    )


class _Loader:
    """One load: a tree of plain values, the origin of each, and the problems found on the way."""

    def __init__(self, document: config_toml.Document, project_dir: Path, known: KnownTargets) -> None:
        self.document, self.project_dir, self.known = document, project_dir, known
        self.reader = Reader({TargetSpec: known.parse, waivers.Day: waivers.Day.parse, Size: Size.parse})
        self.origins: dict[KeyPath, Origin] = {}
        self.tree: dict[str, Any] = {}
        self.foreign: list[Diagnostic] = []  # about config settings that are not in the tree

    def load(self, config_settings: Settings, environ: Mapping[str, str]) -> Config:
        table = self._table()
        self.tree = copy.deepcopy(table)
        self._remember((), self.tree)
        waivers.as_text(self.tree.get("oracle"))
        self._overlay(config_settings, environ)
        config = self.reader.read(Config, self.tree)
        given = self._target_options()
        self._check()
        errors = sorted((*map(self._diagnostic, self.reader.problems), *self.foreign), key=_position)
        if config is None or errors:
            raise TilebuildError(errors, root=self.project_dir)
        provenance = {dotted(path): origin for path, origin in self.origins.items()}
        return Config(
            **{key.field: getattr(config, key.field) for key in keys(Config).values() if key.name != "target"},
            target=given,
            provenance=provenance,
            known=self.known,
        )

    def _table(self) -> dict[str, Any]:
        """`[tool.tilebuild]`; nothing where there is none."""
        value: Any = self.document.data
        for i, name in enumerate(TABLE):
            value = value.get(name, {})
            if not isinstance(value, dict):
                message = f"{'.'.join(TABLE[: i + 1])}: expected a table"
                raise TilebuildError(
                    Diagnostic("E603", message, self.document.span(TABLE[: i + 1])), root=self.project_dir
                )
        return cast("dict[str, Any]", value)

    def _remember(self, path: KeyPath, value: object) -> None:
        if isinstance(value, dict):
            for name, item in value.items():
                self._remember((*path, name), item)
        else:
            self.origins[path] = Origin(self.document.file, span=self.document.span((*TABLE, *path), at_key=True))

    def _overlay(self, config_settings: Settings, environ: Mapping[str, str]) -> None:
        """Puts what was given outside of pyproject.toml into the tree, the strongest last."""
        given_text = (*environ, *(name.replace(".", "_").replace("-", "_").upper() for name in config_settings))
        starts = {name: Setting(("target", name, ""), _ANY).variable for name in self.known.options}
        concerned = [n for n, start in starts.items() if any(text.startswith(start) for text in given_text)]
        known = {setting.config_setting: setting for setting in settings(self.known, concerned)}
        for setting in known.values():
            if environ.get(setting.variable):  # an empty one counts as not set
                value = from_text(setting.key.hint, environ[setting.variable])
                self._put(setting.path, value, Origin("environment variable", setting.variable))
        for name, given in config_settings.items():
            if name in known:
                setting = known[name]
                value = from_text(setting.key.hint, given) if isinstance(given, str) else given
                self._put(setting.path, value, Origin("config setting", name))
            elif name.split(".")[0] == PREFIX:  # the others are for the inner backend
                every = [setting.config_setting for setting in settings(self.known)]
                message = f"config setting {name}: unknown key{did_you_mean(name, every)}"
                self.foreign.append(Diagnostic("E602", message, fix="`tilebuild config --explain` lists all settings"))

    def _put(self, path: tuple[str, ...], value: object, origin: Origin) -> None:
        table = self.tree
        for name in path[:-1]:
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                return  # the reader reports what stands in the place of a table
        table[path[-1]] = value
        self.origins[path] = origin

    def _target_options(self) -> dict[str, Mapping[str, object]]:
        given: dict[str, Mapping[str, object]] = {}
        tables = self.tree.get("target", {})
        for name, table in tables.items() if isinstance(tables, dict) else ():
            if name not in self.known.options:
                message = f"unknown target{did_you_mean(name, list(self.known.options))}"
                self.reader.report("key", ("target", name), message, f"known: {', '.join(self.known.options)}")
            elif isinstance(table, dict):  # else the reader has reported it
                options = self.known.options[name]
                read = self.reader.read(options, table, ("target", name))
                if read is not None:
                    fields = [key.field for key in keys(options).values() if key.name in table]
                    given[name] = {name: getattr(read, name) for name in fields}
        return given

    def _check(self) -> None:
        """What the types do not say."""
        self.reader.problems += waivers.problems(self.tree.get("oracle"), OracleConfig.checks())
        targets = self.tree.get("targets")
        if targets == []:
            self.reader.report("value", ("targets",), "is empty, so there is nothing to build", 'write ["cpu"]')
        if self.tree.get("platforms") == []:
            self.reader.report("value", ("platforms",), "is empty, so there is no wheel", 'write ["linux-x86_64"]')
        for key in ("targets", "kernels", "platforms"):
            value = self.tree.get(key)
            items = value if isinstance(value, list) else []
            for i, item in enumerate(items):
                if isinstance(item, str) and item in items[:i]:
                    message = f'"{item}" stands here twice, first as item {items.index(item)}'
                    self.reader.report("twice", (key, i), message, "remove one of them")
                elif key == "kernels" and isinstance(item, str):
                    self._check_kernels(item, (key, i))
        build_dir = self.tree.get("build-dir")
        if isinstance(build_dir, str) and PurePosixPath(build_dir).name in ("", ".."):
            message = f'"{build_dir}" is the project itself or lies above it: builds need a directory of their own'
            self.reader.report("value", ("build-dir",), message, f'write "{Config.build_dir}"')

    def _check_kernels(self, item: str, path: KeyPath) -> None:
        posix = PurePosixPath(item)
        try:
            inside = not posix.is_absolute() and ".." not in posix.parts
            exists = inside and (self.project_dir / posix).exists()
        except (OSError, ValueError):  # no name that a file could have
            exists = False
        if not inside:
            self.reader.report("value", path, f'"{item}" is not a path inside the project', "write a relative path")
        elif not exists:
            parent = self.project_dir / posix.parent
            near = [entry.name for entry in parent.iterdir()] if parent.is_dir() else []
            self.reader.report(
                "value",
                path,
                f'no such file or directory: "{item}"{did_you_mean(posix.name, near)}',
                "correct the path",
            )

    def _diagnostic(self, problem: Problem) -> Diagnostic:
        origin, rest = self._origin(problem.path)
        if origin is None or origin.kind == self.document.file:
            path = (*TABLE, *problem.path)
            span = next(
                (s for end in (len(path), len(path) - 1) if (s := self.document.span(path[:end], problem.at_key))), None
            )
            label = dotted(path)
        else:
            span, label = None, f"{origin.kind} {origin.name}{dotted(rest)}"
        return Diagnostic(CODES[problem.kind], f"{label}: {problem.message}", span, fix=problem.fix)

    def _origin(self, path: KeyPath) -> tuple[Origin | None, KeyPath]:
        """The origin of the value that a path lies in, and the rest of the path inside that value."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.origins:
                return self.origins[path[:end]], path[end:]
        return None, path


def _position(diagnostic: Diagnostic) -> tuple[bool, int, int]:
    """In the order of the text, what is not in it last."""
    span = diagnostic.span
    return (False, span.line, span.column) if span else (True, 0, 0)
