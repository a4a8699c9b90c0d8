"""A compiler that was found and fits: what it is, and the command lines that run it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tilebuild.diagnostics import Diagnostic, TilebuildError, did_you_mean
from tilebuild.toolchain.description import LISTS, PLACEHOLDER, Description, Platform


@dataclass(frozen=True)
class Tool:
    """`command` starts every command line; `fingerprint` (hex sha256) changes with whatever changes its output."""

    name: str
    version: str
    command: tuple[str, ...]
    fingerprint: str
    machine: str
    description: Description

    @property
    def identity(self) -> str:
        """A short text for manifests, such as "gcc 12.2.0"."""
        return f"{self.name} {self.version}"

    @property
    def architectures(self) -> tuple[str, ...]:
        """The instruction sets that it can make code for on this machine, as the toolchain file lists them."""
        return tuple(self._platform.architectures)

    @property
    def platform_flags(self) -> tuple[str, ...]:
        """The flags that say what machine it makes code for; raises `TilebuildError` (E504)."""
        return self._platform.flags

    def flags(self, arch: str = "") -> tuple[str, ...]:
        """The flags of a compilation, without any path; raises `TilebuildError` (E504)."""
        return (*self.description.flags, *self._platform.flags, *self._arch_flags(arch))

    def compile_command(
        self,
        source: str,
        output: str,
        *,
        arch: str = "",
        depfile: str | None = None,
        include: Sequence[str] = (),
        define: Sequence[str] = (),
    ) -> tuple[str, ...]:
        """The command that compiles one source file. `depfile` is `<output>.d` unless given; `define` items are
        `NAME` or `NAME=VALUE`. Raises `TilebuildError` (E504) for an instruction set that is not described."""
        lists = {"in": (source,), "include": include, "define": define}
        return self.fill("compile", {"out": output, "depfile": depfile or f"{output}.d"}, lists, arch)

    def link_command(self, inputs: Sequence[str], output: str) -> tuple[str, ...]:
        """The command that links object files into a shared library."""
        return self.fill("link", {"out": output}, {"in": inputs})

    def fill(
        self, step: str, texts: Mapping[str, str], lists: Mapping[str, Sequence[str]], arch: str = ""
    ) -> tuple[str, ...]:
        """The command line of a step. A word of the template that names a list stands once for every item of it.

        Raises `TilebuildError` (E504) where the toolchain file has no such step or instruction set.
        """
        template = self.description.commands.get(step)
        if template is None:
            known = ", ".join(self.description.commands)
            raise TilebuildError(Diagnostic("E504", f'{self.name} has no command for the step "{step}", only {known}'))
        platform = self._platform
        all_lists = {
            "command": self.command,
            "flags": self.description.flags,
            "platform_flags": platform.flags,
            "arch_flags": self._arch_flags(arch),
            "link_flags": platform.link,
            **lists,
        }
        all_texts = {**texts, "arch": arch}
        words: list[str] = []
        for word in template:
            names = PLACEHOLDER.findall(word)
            spliced = next((name for name in names if name in LISTS), None)
            for item in all_lists.get(spliced, ()) if spliced else ("",):
                values = {**all_texts, spliced: item} if spliced else all_texts
                words.append(PLACEHOLDER.sub(lambda match, v=values: v[match[1]], word))  # type: ignore[misc]
        return tuple(words)

    def environment(self, cache: Path, environ: Mapping[str, str] | None = None) -> dict[str, str]:
        """Variables to set for its commands where the user has not; `cache` is a directory that outlives a build."""
        given = os.environ if environ is None else environ
        values = self.description.environment.items()
        return {name: value.replace("{cache}", str(cache)) for name, value in values if name not in given}

    @property
    def _platform(self) -> Platform:
        platform = self.description.platform(self.machine)
        if platform is None:
            known = ", ".join(self.description.platforms)
            message = f"{self.name} is not described for {self.machine}, only for {known}"
            raise TilebuildError(Diagnostic("E504", message))
        return platform

    def _arch_flags(self, arch: str) -> tuple[str, ...]:
        if not arch:
            return ()
        known = self._platform.architectures
        if arch not in known:
            message = f'{self.name} is not described for the instruction set "{arch}"{did_you_mean(arch, list(known))}'
            fix = f"on {self.machine} it makes code for {', '.join(known) or 'the machine alone'}"
            raise TilebuildError(Diagnostic("E504", message, fix=fix))
        return known[arch]


def fingerprint(description: Description, version_text: str, content: object) -> str:
    """The digest over all that decides what a compiler puts out; `content` stands for the executable's bytes."""
    return hashlib.sha256(repr((description, version_text, content)).encode()).hexdigest()
