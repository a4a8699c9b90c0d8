"""Editable installs at run time: kernels that are older than their source are said to be."""

from __future__ import annotations

import hashlib
import json
import os
import warnings

from tilebuild.diagnostics import Diagnostic
from tilebuild.manifest import EDITABLE, KernelEntry


class StaleKernelWarning(UserWarning):
    """A kernel of an editable install was built from other text than its source file has now."""


def project_of(directory: str) -> str:
    """The project that an editable install's kernels in `directory` were built from; empty for any other install."""
    try:
        with open(os.path.join(directory, EDITABLE), encoding="utf-8") as f:
            return str(json.load(f)["project"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def warn_if_stale(project: str, kernel: KernelEntry) -> None:
    """Warn (`StaleKernelWarning`, W809) where the text of a kernel's source files is not what it was built from."""
    h = hashlib.sha256()
    for file in kernel["sources"]:
        try:
            with open(os.path.join(project, file), "rb") as f:
                h.update(file.encode() + b"\0" + f.read() + b"\0")
        except OSError:
            break  # what is gone is not what was built from
    if h.hexdigest() != kernel["sha256"]:
        top = kernel["module"].partition(".")[0]
        changed = f"{' or '.join(kernel['sources'])} changed since it was built"
        stale = Diagnostic(
            "W809",
            f"the kernel {kernel['name']} is older than its source: {changed}",
            fix=f"tilebuild.rebuild({top!r}), or `pip install -e .` again in {project}",
            severity="warning",
        )
        warnings.warn(stale.render(), StaleKernelWarning, stacklevel=2)
