"""The jobs of a CI run that builds a release: one a device's kernels, one a platform for all that is host code."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

from tilebuild.build.config import Config, TargetSpec
from tilebuild.diagnostics import Diagnostic, TilebuildError
from tilebuild.targets.api import Target


@dataclass(frozen=True)
class Platform:
    """What a platform is called elsewhere: its `machine`, the runner label of GitHub, the runner tag of GitLab, and the
    build selector of cibuildwheel."""

    machine: str
    github: str
    gitlab: str
    cibuildwheel: str


PLATFORMS: Mapping[str, Platform] = {
    "linux-x86_64": Platform("x86_64", "ubuntu-24.04", "saas-linux-small-amd64", "*-manylinux_x86_64"),
    "linux-aarch64": Platform("aarch64", "ubuntu-24.04-arm", "saas-linux-small-arm64", "*-manylinux_aarch64"),
}


_REPAIR = "auditwheel repair -w {dest_dir} {wheel}"


class KernelJob(TypedDict):
    """Makes one kernel set, `name`, for `tilebuild merge`."""

    name: str
    target: str
    platform: str
    runner: str


class HostJob(TypedDict):
    """Makes the wheels of one platform with its host code: the package itself and the kernels of `targets` (separated
    by commas). `build` is cibuildwheel's selector; `repair` its repair command, empty where nothing is host code, which
    auditwheel would refuse."""

    name: str
    targets: str
    platform: str
    runner: str
    build: str
    repair: str


class Jobs(TypedDict):
    """Every job of a run."""

    kernels: list[KernelJob]
    hosts: list[HostJob]


def jobs(config: Config, targets: Mapping[str, Target], runners: Mapping[str, str], service: str = "github") -> Jobs:
    """The jobs for the configured targets and platforms. `runners` replace the runner of a platform; `service` is
    "github" or "gitlab".

    Kernels that are host code belong to their platform's wheel, where its tags are decided; a device's are made once,
    on the first platform. Where nothing is host code the wheels carry the first target, since a wheel without kernels
    could not be told from a broken one. Raises `TilebuildError` (E608) for a target that no platform builds.
    """
    device = [spec for spec in config.targets if not targets[spec.name].machines]
    hosted = [spec for spec in config.targets if targets[spec.name].machines]
    carried = device[:1] if not hosted else []
    found: Jobs = {"kernels": [], "hosts": []}

    def runner(name: str) -> str:
        chosen: str = runners.get(name) or getattr(PLATFORMS[name], service)
        return chosen

    for spec in device[len(carried) :]:
        first = config.platforms[0]
        found["kernels"].append(
            {"name": f"kernels-{_label(spec)}", "target": str(spec), "platform": first, "runner": runner(first)}
        )
    left = set(hosted)
    for name in config.platforms:
        platform = PLATFORMS[name]
        of_platform = [r for spec in hosted for r in _resolved(spec, targets[spec.name], platform.machine)]
        left -= {spec for spec, _ in of_platform}
        named = [str(resolved) for _, resolved in of_platform] or [str(spec) for spec in carried]
        if not named:
            where = f"no target has code for it: the targets are {', '.join(map(str, config.targets))}"
            raise TilebuildError(
                Diagnostic(
                    "E608",
                    f"a wheel for {name} would have no kernels of its host: {where}",
                    fix=f'add "cpu" to `targets`, or take "{name}" out of `platforms`',
                )
            )
        found["hosts"].append(
            {
                "name": f"wheels-{name}",
                "targets": ",".join(dict.fromkeys(named)),
                "platform": name,
                "runner": runner(name),
                "build": platform.cibuildwheel,
                "repair": _REPAIR if hosted else "",
            }
        )
    if left:
        raise TilebuildError(
            Diagnostic(
                "E608",
                f'"{spec}" is host code of none of the platforms {", ".join(config.platforms)}',
                fix="add its platform to `platforms`, or take it out of `targets`",
            )
            for spec in sorted(left, key=str)
        )
    return found


def _resolved(spec: TargetSpec, target: Target, machine: str) -> Iterator[tuple[TargetSpec, TargetSpec]]:
    """The target with its architecture written out, for the platforms of this machine."""
    for arch, of in target.machines:
        if of == machine and spec.arch in ("", arch):
            yield spec, TargetSpec(spec.name, arch)


def _label(spec: TargetSpec) -> str:
    return str(spec).replace(":", "-")


def as_json(found: Jobs) -> str:
    """The jobs as plain JSON."""
    return json.dumps(found, indent=2)


def as_github(found: Jobs) -> str:
    """Lines for `$GITHUB_OUTPUT`: the value of `strategy.matrix` for each kind of job. A matrix must not be empty, so a
    run without kernel jobs has `kernels=`, which the job's condition sees."""
    lines = []
    for kind, entries in found.items():
        text = json.dumps({"include": entries}, separators=(",", ":")) if entries else ""
        lines.append(f"{kind}={text}")
    return "\n".join(lines)


def as_gitlab(found: Jobs) -> str:
    """YAML for a child pipeline: a hidden job for each kind that the template's jobs extend. Variables of a GitLab
    matrix are in capitals."""
    import yaml

    hidden: dict[str, Any] = {}
    for kind, entries in (("kernels", found["kernels"]), ("hosts", found["hosts"])):
        rows = [{key.upper(): str(value) for key, value in entry.items()} for entry in entries]
        # a job with an empty matrix is an error: without rows the job is left out by its rule
        hidden[f".{kind}"] = {"parallel": {"matrix": rows}} if rows else {"rules": [{"when": "never"}]}
    return yaml.safe_dump(hidden, sort_keys=False, width=1000).rstrip()
