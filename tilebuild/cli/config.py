"""`tilebuild config`: the configuration that a build of a project would use."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tilebuild.build.config import Config

DESCRIPTION = """
Prints the configuration that a build of the project would use, as TOML; with --explain each setting with its value and
the place that it comes from. Mistakes are reported all at once, and the exit code is then 1.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds this command to the command line."""
    parser = commands.add_parser("config", description=DESCRIPTION)
    parser.add_argument("project", nargs="?", default=".", type=Path, help="the directory of a pyproject.toml")
    parser.add_argument("--explain", action="store_true", help="say where each value comes from")
    help_c = "a config setting, as pip and build take it: tilebuild.targets=cpu"
    parser.add_argument("-C", dest="settings", action="append", default=[], metavar="KEY=VALUE", help=help_c)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Prints the configuration; 0. Raises `TilebuildError` where it is wrong."""
    import os

    from tilebuild.build import configure

    settings = dict(setting.partition("=")[::2] for setting in args.settings)
    config = configure(args.project.resolve(), settings)
    print("\n".join(explain(config, os.environ) if args.explain else as_toml(config)))
    return 0


def as_toml(config: Config) -> Iterator[str]:
    """The whole configuration, defaults included, as it could stand in pyproject.toml."""
    from tilebuild.build.config_docs import toml

    table: tuple[str, ...] | None = None
    for setting, value, _ in sorted(config.explain(), key=lambda entry: entry[0].path[:-1]):
        if setting.path[:-1] != table:
            if table is not None:
                yield ""
            table = setting.path[:-1]
            yield f"[{'.'.join(('tool', 'tilebuild', *table))}]"
        if value is not None:
            yield f"{setting.path[-1]} = {toml(value)}"


def explain(config: Config, environ: Mapping[str, str]) -> Iterator[str]:
    """Each setting with its value and origin; then variables that look like settings and are none."""
    from tilebuild.build.config_docs import toml
    from tilebuild.package.show import table

    entries = list(config.explain())
    rows = [
        (".".join(setting.path), "as default" if value is None else toml(value), str(origin))
        for setting, value, origin in entries
    ]
    yield from table(("setting", "value", "from"), rows)
    strays = list(_strays({setting.variable for setting, _, _ in entries}, environ))
    if strays:
        yield ""
        yield "set in the environment, and no setting of a build:"
        yield from (f"  {stray}" for stray in strays)


def _strays(settings: set[str], environ: Mapping[str, str]) -> Iterator[str]:
    from tilebuild.diagnostics import did_you_mean
    from tilebuild.toolchain.description import VARIABLE, descriptions

    places = [place for description in descriptions(environ=environ).values() for place in description.find]
    known = settings | {VARIABLE} | {place.environment for place in places if place.environment}
    for name in sorted(environ):
        if name.startswith("TILEBUILD_") and name not in known:
            yield name + did_you_mean(name, sorted(known))
