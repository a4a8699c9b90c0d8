"""Runs one build from the configuration to the files that go into the wheel.

Code generation and judgement run in this process; compilers are edges of a Ninja graph. Nothing is written outside
the build directory. A build whose inputs have not changed reads one stamp and imports no IR library.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tilebuild.build import stamp, waivers
from tilebuild.build.config import Config
from tilebuild.build.lock import locked
from tilebuild.diagnostics import Diagnostic, Span, TilebuildError
from tilebuild.manifest import Manifest
from tilebuild.targets import api
from tilebuild.targets.api import Artifact, Edge, Job, Target

if TYPE_CHECKING:
    from tilebuild.build.records import Record
    from tilebuild.frontend.discover import KernelDef
    from tilebuild.toolchain import Tool

_XDSL = "xdsl>=0.70,<0.80"
_NINJA = "ninja>=1.11"
Log = Callable[[str], None]


@dataclass(frozen=True)
class KernelBuild:
    """What a build made: `files` maps a path inside the wheel to a file on disk; `package` is the import name of the
    package that holds `_kernels`."""

    package: str
    files: Mapping[str, Path]
    manifest: Manifest
    requirements: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Selected:
    """One configured target, resolved on this machine."""

    target: Target
    arch: str
    options: object

    @property
    def name(self) -> str:
        return f"{self.target.name}:{self.arch}"


def requirements(project: Path, config: Config) -> list[str]:
    """What the configured targets need from the package index; nothing where a kept build is complete."""
    folder = project / config.build_dir
    selected = _select(config)
    if stamp.load(folder, _stamp(project, config, selected), _tools_here(project, config, selected)) is not None:
        return []
    from tilebuild.build import ninja

    needed = [_XDSL, *([] if ninja.executable() else [_NINJA])]
    for s in selected:
        needed += s.target.requirements(s.options, folder / stamp.PROBES, s.arch)
    return list(dict.fromkeys(needed))


def build_kernels(project: Path, config: Config, *, log: Log) -> KernelBuild:
    """Build, judge and stage every kernel of the project.

    Raises `TilebuildError` with everything that is wrong: sources (E1xx to E4xx), compilers (E5xx), findings of the
    oracle (O-...), a failing compiler (E720).
    """
    with held(project, config, log=log) as built:
        return built


@contextmanager
def held(project: Path, config: Config, *, log: Log) -> Iterator[KernelBuild]:
    """`build_kernels`, with the build directory locked until the files were used: another build, of edited sources,
    would change them."""
    folder = project / config.build_dir
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        selected = _select(config)
        key = _stamp(project, config, selected)
        kept = stamp.load(folder, key, _tools_here(project, config, selected))
        if kept is not None:
            manifest, files = kept
            log(f"tilebuild: {len(manifest['kernels'])} kernels of {manifest['package']} are up to date")
            yield KernelBuild(manifest["package"], files, manifest)
            return
        stamp.clear(folder)
        tools = _tools(project, config, selected)
        built = _build(project, config, selected, folder, log)
        stamp.save(folder, key, tools, built.files)
        yield built


def programs(project: Path, config: Config) -> dict[str, str]:
    """The paths in the commands of a build's graph, and the variables of the environment that stand for them there."""
    cache = project / config.build_dir / stamp.PROBES
    return _variables(tool for s in _select(config) for tool in s.target.tools(s.options, cache, s.arch))


def _variables(tools: Iterable[Tool]) -> dict[str, str]:
    named: dict[str, str] = {}
    for tool in tools:
        for i, word in enumerate(tool.command):
            if Path(word).is_absolute():
                named.setdefault(word, f"TILEBUILD_{tool.name}_{i}".upper().replace("-", "_"))
    return named


def _select(config: Config) -> list[_Selected]:
    targets = api.installed()
    found = []
    for spec in config.targets:
        target = targets[spec.name]
        options = config.options(spec.name, target.options)
        found.append(_Selected(target.with_options(options), target.architecture(spec.arch), options))
    return found


def _stamp(project: Path, config: Config, selected: Sequence[_Selected]) -> str:
    """The digest of all that a build's result depends on, beside its compilers."""
    h = hashlib.sha256()
    for part in (
        stamp.generator_digest([s.target for s in selected]),
        repr(config),
        repr(waivers.in_force(config.oracle, waivers.today())),
        stamp.sources_digest(project, config.kernels),
    ):
        h.update(part.encode() + b"\0")
    for s in selected:
        h.update(s.name.encode() + b"\0")
    return h.hexdigest()


def _tools(project: Path, config: Config, selected: Sequence[_Selected]) -> tuple[str, ...]:
    """The fingerprints of the compilers; raises E501 to E503."""
    cache = project / config.build_dir / stamp.PROBES
    return tuple(tool.fingerprint for s in selected for tool in s.target.tools(s.options, cache, s.arch))


def _tools_here(project: Path, config: Config, selected: Sequence[_Selected]) -> tuple[str, ...] | None:
    """The same, or None where a compiler is missing: one that comes from the package index is not asked for where a
    kept build serves, so that a build that has nothing to do downloads none."""
    try:
        return _tools(project, config, selected)
    except TilebuildError as error:
        if {d.code for d in error.diagnostics} != {"E501"}:
            raise
        return None


def _build(project: Path, config: Config, selected: Sequence[_Selected], folder: Path, log: Log) -> KernelBuild:
    # imported here, where something is to be built: a build with nothing to do needs none of it
    from tilebuild import oracle
    from tilebuild.build import bundle, judged
    from tilebuild.build.records import Records, stems
    from tilebuild.frontend.discover import discover

    kernels = discover(project, config.kernels)
    package = _package(kernels, project)
    records = Records(project, folder, stamp.generator_digest([s.target for s in selected]), config)
    problems: list[Diagnostic] = []
    made: list[tuple[_Selected, list[Record]]] = []
    for s in selected:
        of_target: list[Record] = []
        for kernel, stem in zip(kernels, stems(kernels, [Path(name).stem for name in s.target.support()])):
            try:
                record = records.get(kernel, stem, s.target, s.arch)
            except TilebuildError as e:
                problems += e.diagnostics
                continue
            of_target.append(record)
            problems += [d for d in record.diagnostics if d.severity == "error"]
            for d in record.diagnostics:
                if d.severity != "error":
                    log(d.render(project))
            log(f"tilebuild: {kernel.module}.{kernel.name} for {s.name}: {_summary(record)}")
        made.append((s, of_target))
    if problems:
        raise TilebuildError(list(dict.fromkeys(problems)), project)
    jobs = [_job(s, of_target, folder, config) for s, of_target in made]
    graphs = [s.target.graph(job) for (s, _), job in zip(made, jobs)]
    _compile(project, folder, made, jobs, graphs, log=log)
    used = {records.policy.waivers[n] for _, of_target in made for record in of_target for n in record.waivers}
    libraries = []
    for (s, of_target), job, (_, artifact) in zip(made, jobs, graphs):
        texts = s.target.texts(job)
        verdicts, waived = judged.final_code(folder, texts, of_target, records.policy, arch=s.arch, log=log)
        used |= waived
        found = s.target.resources(job, folder)
        libraries.append(bundle.Library(s.name, s.target, job, artifact, of_target, found, verdicts))
    for waiver, why in oracle.stale(records.policy, used):
        fix = "take it out of [[tool.tilebuild.oracle.waivers]], or give it a later day and the reason for that"
        log(Diagnostic("E607", f"{waiver} {why}", fix=fix, severity="warning").render())
    manifest, files = bundle.stage(folder, package, kernels, libraries)
    return KernelBuild(package, files, manifest)


def _summary(record: Record) -> str:
    outcomes = sorted({v.verdict["outcome"] for v in record.variants})
    return f"{len(record.variants)} variant{'s' if len(record.variants) > 1 else ''}, {' and '.join(outcomes)}"


def _package(kernels: Sequence[KernelDef], project: Path) -> str:
    """The package that gets `_kernels`: the outermost one that holds all kernels."""
    if not kernels:
        raise TilebuildError(
            Diagnostic(
                "E710",
                "no kernel was found: no module has a function decorated @tb.kernel",
                fix="set `kernels` in [tool.tilebuild] to the folder that holds them",
            )
        )
    tops = sorted({k.module.split(".")[0] for k in kernels})
    if len(tops) > 1:
        raise TilebuildError(
            Diagnostic(
                "E711",
                f"kernels lie in several packages: {', '.join(tops)}",
                fix="name one of them in `kernels` of [tool.tilebuild]",
            )
        )
    flat = next((k for k in kernels if "." not in k.module and Path(k.file).name != "__init__.py"), None)
    if flat is not None:
        raise TilebuildError(
            Diagnostic(
                "E712",
                f"{flat.file} is a module outside any package",
                flat.span,
                fix="move it into a package: a folder with an __init__.py",
            ),
            project,
        )
    return tops[0]


def _job(s: _Selected, records: Sequence[Record], folder: Path, config: Config) -> Job:
    tools = s.target.tools(s.options, folder / stamp.PROBES, s.arch)
    plans = tuple(v.plan for r in records for v in r.variants)
    where = f"{s.target.name}-{s.arch}"
    sources = tuple(f"{r.stem}{suffix}" for r in records for suffix in r.sources)
    return Job(s.arch, s.options, tools, sources, plans, where)


def _compile(
    project: Path,
    folder: Path,
    made: Sequence[tuple[_Selected, list[Record]]],
    jobs: Sequence[Job],
    graphs: Sequence[tuple[list[Edge], Artifact]],
    *,
    log: Log,
) -> None:
    from tilebuild.build import bundle, ninja

    spans: dict[str, Sequence[Span | None]] = {}
    environment: dict[str, str] = {}
    for (s, records), job in zip(made, jobs):
        where = folder / job.folder
        for name, data in s.target.support().items():
            bundle.write_if_changed(where / name, data)
        for record in records:
            for suffix, source in record.sources.items():
                bundle.write_if_changed(where / f"{record.stem}{suffix}", source.text.encode())
                spans[f"{job.folder}/{record.stem}{suffix}"] = source.spans
        # an upgraded compiler at the same place is a changed input of everything it made
        bundle.write_if_changed(where / "tools.txt", "\n".join(t.fingerprint for t in job.tools).encode())
        for tool in job.tools:
            environment |= tool.environment(folder / "compiler-cache")
    named = _variables(tool for job in jobs for tool in job.tools)
    edges = [(edge, f"{job.folder}/tools.txt") for job, (graph, _) in zip(jobs, graphs) for edge in graph]
    ninja.run(project, folder, edges, spans, environment=environment, programs=named, log=log)
