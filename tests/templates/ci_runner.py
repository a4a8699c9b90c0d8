"""Runs CI workflows step by step on this machine: the `run:` and `script:` lines as they stand, in directories of their
own, with the services' environment, expressions, matrices and artifacts. What an action would fetch is done here, what
is not known here fails; images, services and `before_script`, which set a machine up, are left out."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}")


class StepError(AssertionError):
    """A step failed; the text has its command and all that it printed."""


@dataclass
class Machine:
    """Where jobs run: `checkout` is what `actions/checkout` gives, `programs` a directory for the front of PATH."""

    root: Path
    checkout: Path
    programs: Path
    said: dict[str, str] = field(default_factory=dict)

    def workspace(self, job: str, *, with_checkout: bool) -> Path:
        place = self.root / "jobs" / re.sub(r"\W+", "-", job)
        if with_checkout:
            shutil.copytree(self.checkout, place)
        else:
            place.mkdir(parents=True)
        return place

    def shell(self, job: str, script: str, place: Path, variables: Mapping[str, str]) -> None:
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("TILEBUILD_", "CIBW_", "PIP_"))}
        environ |= {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        environ |= variables
        environ["PATH"] = f"{self.programs}{os.pathsep}{environ['PATH']}"
        # as both services start it: stop at the first command that fails
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", script],
            cwd=place,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.said[job] = self.said.get(job, "") + done.stdout
        if done.returncode:
            raise StepError(f"{job}: exit status {done.returncode} of:\n{script}\n{done.stdout}")


# --- GitHub ---------------------------------------------------------------------------------------------------------


class GitHub:
    """One run of a GitHub workflow. `results` are the jobs that ran or were skipped; `artifacts` a directory a name."""

    def __init__(self, machine: Machine, workflow: Path) -> None:
        self.machine = machine
        self.jobs: dict[str, Any] = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]
        self.results: dict[str, str] = {}
        self.outputs: dict[str, dict[str, str]] = {}
        self.artifacts = machine.root / "artifacts"

    def run(self) -> None:
        waiting = dict(self.jobs)
        while waiting:
            ready = [name for name, job in waiting.items() if all(n in self.results for n in _needs(job))]
            assert ready, f"these jobs wait for each other: {', '.join(waiting)}"
            for name in ready:
                self._job(name, waiting.pop(name))

    def _job(self, name: str, job: dict[str, Any]) -> None:
        context = {
            "needs": {n: {"outputs": self.outputs.get(n, {}), "result": self.results[n]} for n in _needs(job)},
            "status": [self.results[n] for n in _needs(job)],
        }
        condition = str(job.get("if", "success()"))
        if not evaluate(_EXPRESSION.sub(r"\1", condition), context):
            self.results[name] = "skipped"
            return
        matrix = self._value(job.get("strategy", {}).get("matrix", {"include": [{}]}), context)
        for number, row in enumerate(matrix["include"]):
            self._instance(f"{name} {number}", name, job, context | {"matrix": row})
        self.results[name] = "success"

    def _instance(self, label: str, name: str, job: dict[str, Any], context: dict[str, Any]) -> None:
        steps = job["steps"]
        uses = [step.get("uses", "") for step in steps]
        place = self.machine.workspace(label, with_checkout=any(u.startswith("actions/checkout@") for u in uses))
        context = context | {"steps": {}}
        for number, step in enumerate(steps):
            given = self._value(step.get("with", {}), context)
            if "uses" in step:
                self._action(step["uses"], given, place)
                continue
            output = self.machine.root / f"output-{re.sub(r'[^a-z0-9]', '-', label)}-{number}"
            output.touch()
            variables = self._value({**job.get("env", {}), **step.get("env", {})}, context)
            script = self._value(step["run"], context)
            self.machine.shell(label, script, place, {**variables, "GITHUB_OUTPUT": str(output)})
            lines = (line.split("=", 1) for line in output.read_text().splitlines())
            context["steps"][step.get("id", number)] = {"outputs": dict(lines)}
        self.outputs[name] = self._value(job.get("outputs", {}), context)

    def _action(self, uses: str, given: Mapping[str, Any], place: Path) -> None:
        action = uses.partition("@")[0]
        if action == "actions/upload-artifact":
            source, target = place / given["path"], self.artifacts / given["name"]
            assert any(source.rglob("*")), f"{given['path']} is not there to upload"
            assert not target.exists(), f"two jobs upload {given['name']}"
            shutil.copytree(source, target)
        elif action == "actions/download-artifact":
            for artifact in sorted(self.artifacts.glob(given["pattern"])):
                assert given["merge-multiple"] is True
                shutil.copytree(artifact, place / given["path"], dirs_exist_ok=True)
        else:
            assert action in ("actions/checkout", "actions/setup-python"), f"the test does not know {uses}"

    def _value(self, value: Any, context: Mapping[str, Any]) -> Any:
        if isinstance(value, dict):
            return {key: self._value(item, context) for key, item in value.items()}
        if not isinstance(value, str):
            return value
        whole = _EXPRESSION.fullmatch(value.strip())
        if whole:
            return evaluate(whole[1], context)
        return _EXPRESSION.sub(lambda match: str(evaluate(match[1], context)), value)


def _needs(job: Mapping[str, Any]) -> list[str]:
    needs = job.get("needs", [])
    return [needs] if isinstance(needs, str) else list(needs)


def evaluate(expression: str, context: Mapping[str, Any]) -> Any:
    """A GitHub expression of names, strings, calls of a few functions, `==`, `!=`, `!`, `&&` and `||`."""
    functions: dict[str, Callable[..., Any]] = {
        "fromJSON": json.loads,
        "success": lambda: all(result == "success" for result in context["status"]),
        "failure": lambda: "failure" in context["status"],
        "cancelled": lambda: "cancelled" in context["status"],
    }
    tokens = re.findall(r"'[^']*'|&&|\|\||[!=]=|[!()]|[\w.-]+", expression)
    assert "".join(tokens) == re.sub(r"\s", "", expression), f"the test cannot read {expression!r}"
    words = {"&&": "and", "||": "or", "!": "not"}
    names: dict[str, Any] = {}
    python = []
    for number, token in enumerate(tokens):
        if re.match(r"[A-Za-z]", token) and token not in functions:
            found: Any = context
            for part in token.split("."):
                found = found[part]
            names[f"v{number}"] = found
            python.append(f"v{number}")
        else:
            python.append(words.get(token, token))
    return eval(" ".join(python), {"__builtins__": {}}, functions | names)


# --- GitLab ---------------------------------------------------------------------------------------------------------


class GitLab:
    """One run of a GitLab pipeline with child pipelines. Artifacts of a stage are there in the later ones."""

    def __init__(self, machine: Machine, files: Mapping[str, Path]) -> None:
        self.machine = machine
        self.files = files
        self.ran: list[str] = []

    def run(self, *documents: str, pipeline: str = "parent", artifacts: Path | None = None) -> None:
        merged: dict[str, Any] = {}
        for document in documents:
            merged |= yaml.safe_load(document)
        artifacts = artifacts or self.machine.root / "artifacts-parent"
        artifacts.mkdir(parents=True)
        for stage in merged["stages"]:
            made: list[tuple[Path, list[str]]] = []
            for name, own in merged.items():
                if not name.startswith(".") and isinstance(own, dict) and own.get("stage") == stage:
                    job = {**merged.get(own.get("extends"), {}), **own}
                    if "trigger" in job:
                        self._child(job["trigger"], artifacts)
                    elif job.get("rules") != [{"when": "never"}]:
                        made += self._job(f"{pipeline} {name}", job, artifacts)
            for place, paths in made:
                for path in paths:
                    _copy(place, path.rstrip("/"), artifacts)

    def _job(self, label: str, job: Mapping[str, Any], artifacts: Path) -> list[tuple[Path, list[str]]]:
        made = []
        for number, row in enumerate(_rows(job)):
            place = self.machine.workspace(f"{label} {number}", with_checkout=True)
            shutil.copytree(artifacts, place, dirs_exist_ok=True)
            variables = {k: str(v) for k, v in {**job.get("variables", {}), **row}.items()}
            self.machine.shell(label, "\n".join(job["script"]), place, variables)
            self.ran.append(f"{label} {row.get('NAME', '')}".strip())
            made.append((place, job.get("artifacts", {}).get("paths", [])))
        return made

    def _child(self, trigger: Mapping[str, Any], artifacts: Path) -> None:
        documents = [
            (artifacts / entry["artifact"]).read_text()
            if "artifact" in entry
            else self.files[entry["local"]].read_text()
            for entry in trigger["include"]
        ]
        self.run(*documents, pipeline="child", artifacts=self.machine.root / "artifacts-child")


def _rows(job: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Every row of a parallel matrix; a value that is a list stands for several rows."""
    for entry in job.get("parallel", {}).get("matrix", [{}]):
        lists = [[(key, v) for v in (value if isinstance(value, list) else [value])] for key, value in entry.items()]
        yield from (dict(row) for row in itertools.product(*lists))


def _copy(place: Path, pattern: str, to: Path) -> None:
    found = [path for path in place.iterdir() if fnmatch(path.name, pattern)]
    assert found, f"there is no artifact {pattern}"
    for path in found:
        if path.is_dir():
            shutil.copytree(path, to / path.name, dirs_exist_ok=True)
        else:
            shutil.copy(path, to)
