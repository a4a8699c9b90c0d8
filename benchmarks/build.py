"""Times builds of examples/fastnorm: cold, one kernel edited, and with nothing to do.

    python benchmarks/build.py [--targets cpu] [--rounds 5] [--append]

Needs tilebuild with its test extra. Every build is a hook called in a fresh process, as a frontend does it. A build is
compared with the raw compilers (the same commands, one after another, without tilebuild or Ninja) and with a backend
that does nothing: scikit-build-core alone, on the same package without kernels.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from report import interleaved, publish, ratio, spread, table

from tilebuild.build import configure, driver, ninja

EXAMPLE = Path(__file__).parents[1] / "examples" / "fastnorm"
_OURS = "from tilebuild import backend; backend.build_wheel({out!r})"
_NULL = (
    "from scikit_build_core import build; "
    "build.build_wheel({out!r}, {{'wheel.cmake': 'false', 'wheel.py-api': 'py3', 'wheel.platlib': 'true'}})"
)


class Example:
    """A copy of the example, and what can be timed with it."""

    def __init__(self, root: Path, targets: str) -> None:
        self.root, self.out, self.edits, self.targets = root / "fastnorm", root / "out", 0, targets
        shutil.copytree(EXAMPLE, self.root, ignore=shutil.ignore_patterns("build", "dist", "__pycache__"))

    def hook(self, code: str) -> None:
        command = [sys.executable, "-c", code.format(out=str(self.out))]
        environ = os.environ | {"TILEBUILD_TARGETS": self.targets}
        done = subprocess.run(command, cwd=self.root, env=environ, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stdout + done.stderr)

    def build(self) -> None:
        self.hook(_OURS)

    def null(self) -> None:
        self.hook(_NULL)

    def cold(self) -> None:
        shutil.rmtree(self.root / "build", ignore_errors=True)
        self.build()

    def edited(self) -> None:
        """One kernel computes something else than in the last build."""
        self.edits += 1
        path = self.root / "src" / "fastnorm" / "kernels" / "matmul.py"
        text = (EXAMPLE / path.relative_to(self.root)).read_text(encoding="utf-8")
        path.write_text(text.replace("] = acc", f"] = acc * {self.edits}.5"), encoding="utf-8")
        self.build()

    def compilers(self) -> float:
        """Seconds that the build's own commands take, one after another."""
        folder = self.root / "build" / "tilebuild"
        listed = subprocess.run(
            [ninja.executable() or "ninja", "-C", folder, "-t", "commands"], capture_output=True, text=True, check=True
        )
        # the commands name compilers by variables that a build sets
        project = self.root.resolve()
        variables = driver.programs(project, configure(project))
        environment = {**os.environ, **{variable: word for word, variable in variables.items()}}
        start = time.perf_counter()
        for command in listed.stdout.splitlines():
            if not command.startswith("ninja:"):
                subprocess.run(command, shell=True, cwd=folder, check=True, env=environment)
        return time.perf_counter() - start


def without_kernels(root: Path, targets: str) -> Example:
    """The same package as ordinary Python: what a backend without kernels has to pack."""
    example = Example(root, targets)
    pyproject = example.root / "pyproject.toml"
    text = pyproject.read_text(encoding="utf-8")
    text = text[: text.index("[tool.tilebuild]")]
    text = text.replace('"tilebuild.backend"', '"scikit_build_core.build"').replace(
        '["tilebuild"]', '["scikit-build-core"]', 1
    )
    pyproject.write_text(text, encoding="utf-8")
    return example


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", default="cpu", help="separated by commas; their compilers must be there")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--append", action="store_true", help="add the table to RESULTS.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        ours = Example(Path(name) / "ours", options.targets)
        null = without_kernels(Path(name) / "null", options.targets)
        cold, raw, edited = [], [], []
        for _ in range(options.rounds):
            for action, times in ((ours.cold, cold), (ours.edited, edited)):
                start = time.perf_counter()
                action()
                times.append(time.perf_counter() - start)
            raw.append(ours.compilers())
            ours.build()
        idle = interleaved({"ours": ours.build, "null": null.null}, max(5, 3 * options.rounds))
        python = [sys.executable, "-c"]
        imports = interleaved(
            {c: lambda c=c: subprocess.run([*python, c], check=True) for c in ("pass", "import tilebuild")},
            max(10, 6 * options.rounds),
        )  # fmt: skip
    extra = [(a - b) * 1e3 for a, b in zip(idle["ours"], idle["null"])]
    beyond = [(a - b) * 1e3 for a, b in zip(imports["import tilebuild"], imports["pass"])]
    rows = [
        ("cold build, s", spread(cold), f"{ratio(cold, raw)} x the compilers in sequence ({spread(raw)} s)"),
        ("one kernel edited, s", spread(edited), f"{ratio(edited, cold)} x the cold build"),
        (
            "nothing to do, s",
            spread(idle["ours"]),
            f"{spread(extra)} ms beyond a null backend ({spread(idle['null'])} s)",
        ),
        ("import tilebuild, s", spread(imports["import tilebuild"]), f"{spread(beyond)} ms beyond Python"),
    ]
    head = ("build of fastnorm", "median (quartiles)", "against")
    publish("Builds", table(head, rows), f"{os.cpu_count()} processors, {options.rounds} rounds", options.append)


if __name__ == "__main__":
    main()
