"""One build: configuration -> kernels -> plans and sources -> ninja graph -> artifacts -> verdicts -> wheel files.

Uses every floor below it; `package` and `cli` use it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tilebuild.build.config import Config, Settings


def configure(project: Path, config_settings: Settings | None = None) -> Config:
    """The project's configuration, checked against the installed targets; raises `TilebuildError` (E6xx)."""
    from tilebuild.build.config import Each, KnownTargets, load_config
    from tilebuild.targets import api

    targets = api.installed()
    known = KnownTargets(Each(targets, lambda t: t.architectures), Each(targets, lambda t: t.options))
    return load_config(project, known, config_settings)
