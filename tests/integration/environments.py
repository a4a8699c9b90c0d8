"""A virtual environment as a test uses it: its programs, offline, with nothing of the surrounding shell's Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import wheelhouse  # noqa: E402


def has_compiler() -> bool:
    """Whether the machine has a C compiler that a build would take."""
    return any(shutil.which(name) for name in ("gcc", "cc", "clang", "zig"))


@dataclass(frozen=True)
class Environment:
    """A virtual environment whose commands run offline; its own programs come before those of PATH."""

    python: Path
    house: Path
    variables: dict[str, str] = field(default_factory=dict)

    def run(self, *command: object, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs a program of this environment (by name) or of the system; output and errors come together."""
        base = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "TILEBUILD_", "SKBUILD_"))}
        environ = wheelhouse.offline(self.house, base) | self.variables | variables
        environ["PATH"] = os.pathsep.join([str(self.python.parent), environ["PATH"]])
        own = self.python.with_name(str(command[0]))
        line = [str(own if own.exists() else command[0]), *map(str, command[1:])]
        return subprocess.run(
            line,
            env=environ,
            cwd=cwd or self.python.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def must(self, *command: object, cwd: Path | None = None, **variables: str) -> str:
        """Like `run`, and the output; a failure fails the test with all that was printed."""
        done = self.run(*command, cwd=cwd, **variables)
        assert done.returncode == 0, f"{command} exited with {done.returncode}:\n{done.stdout}"
        return done.stdout
