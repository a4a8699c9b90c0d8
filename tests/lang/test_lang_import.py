"""What `import tilebuild` costs, and what it offers."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import tilebuild as tb
from tilebuild.lang import functions, library
from tilebuild.lang.kernel import Helper
from tilebuild.optable import OPS

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "fastnorm" / "src"
HEAVY = {
    "numpy",
    "dataclasses",
    "inspect",
    "typing",
    "re",
    "ast",
    "ctypes",
    "tilebuild.diagnostics",
    "tilebuild.runtime",
}
BUDGET_MS = 30.0


def python(*arguments):
    """Output of a Python that has nothing but the standard library, this tree and the example on its path."""
    environment = {"PYTHONPATH": f"{ROOT}:{EXAMPLE}"}
    command = [sys.executable, "-S", *arguments]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True)


def loaded_by(statement):
    code = f"import sys; before = set(sys.modules); {statement}; print(*sorted(set(sys.modules) - before))"
    return set(python("-c", code).stdout.split())


def test_import_loads_nothing_else():
    assert loaded_by("import tilebuild") <= {"tilebuild", "__future__"}


def test_a_kernel_module_loads_only_the_language():
    loaded = loaded_by("import fastnorm.kernels")
    assert "fastnorm.kernels.norms" in loaded
    assert not loaded & HEAVY
    ours = {m for m in loaded if m.startswith("tilebuild")}
    assert ours == {"tilebuild", "tilebuild.lang", "tilebuild.lang.kernel", "tilebuild.lang.types"}


def test_import_time():
    def milliseconds():
        report = python("-X", "importtime", "-c", "import tilebuild").stderr
        return int(re.search(r"\|\s+(\d+) \| tilebuild$", report, re.M)[1]) / 1000

    best = min(milliseconds() for _ in range(5))
    print(f"import tilebuild: {best:.2f} ms beyond Python (budget {BUDGET_MS:g} ms)")
    assert best < BUDGET_MS


def test_every_name_resolves_and_is_listed():
    for name in tb.__all__:
        assert getattr(tb, name) is not None
    assert set(tb.__all__) <= set(dir(tb))
    namespace = {}
    exec("from tilebuild import *", namespace)
    assert namespace["exp"] is tb.exp


def test_every_function_of_the_table_is_offered():
    functions = {n for n, op in OPS.items() if op.kind in ("unary", "reduce")} - {"not"}  # `not` is written ~
    assert functions <= set(tb.__all__)


def test_every_composite_is_offered():
    for name, module in (("functions", functions), ("library", library)):
        composites = {n for n, v in vars(module).items() if isinstance(v, Helper) and not n.startswith("_")}
        assert set(tb._HOMES[name]) == composites


def test_type_checkers_see_the_same_names():
    stub = (ROOT / "tilebuild" / "__init__.pyi").read_text()
    declared = set(re.findall(r"^(?:def|class) (\w+)|^(\w+):|^from .* import \w+ as (\w+)$", stub, re.M))
    names = {n for found in declared for n in found if n and not n.startswith("_")}
    # `rebuild` is no word of the language
    assert names == set(tb.__all__) - set(tb._HOMES["library"]) - set(tb._HOMES["functions"]) | {"rebuild"}


def test_the_version_is_the_project_s():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.findall(r'^version = "(.+)"$', text, re.M) == [tb.__version__]
