"""`tilebuild matrix`: the jobs of a CI run that builds a release of the project."""

from __future__ import annotations

import argparse
from pathlib import Path

DESCRIPTION = """
Prints the jobs that build a release: one for the kernels of each device target, one a platform for the wheels with host
code. `github` prints lines for $GITHUB_OUTPUT, `gitlab` the hidden jobs of a child pipeline, `json` plain data. The
workflows in `templates/ci` use it.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds this command to the command line."""
    parser = commands.add_parser("matrix", description=DESCRIPTION)
    parser.add_argument("project", nargs="?", default=".", type=Path, help="the directory of a pyproject.toml")
    parser.add_argument("--format", choices=("json", "github", "gitlab"), default="json", help="the default is json")
    help_runner = "run the jobs of a platform on other runners: linux-x86_64=my-label"
    parser.add_argument("--runner", action="append", default=[], metavar="PLATFORM=LABEL", help=help_runner)


def run(args: argparse.Namespace) -> int:
    """Prints the jobs; 0. Raises `TilebuildError` where the configuration is wrong."""
    from tilebuild.build import configure, matrix
    from tilebuild.diagnostics import Diagnostic, TilebuildError, did_you_mean
    from tilebuild.targets import api

    runners = dict(entry.partition("=")[::2] for entry in args.runner)
    for name in runners:
        if name not in matrix.PLATFORMS:
            known = list(matrix.PLATFORMS)
            message = f'--runner: unknown platform "{name}"{did_you_mean(name, known)}'
            raise TilebuildError(Diagnostic("E608", message, fix=f"the platforms are {', '.join(known)}"))
    service = "gitlab" if args.format == "gitlab" else "github"
    found = matrix.jobs(configure(args.project.resolve()), api.installed(), runners, service)
    print({"json": matrix.as_json, "github": matrix.as_github, "gitlab": matrix.as_gitlab}[args.format](found))
    return 0
