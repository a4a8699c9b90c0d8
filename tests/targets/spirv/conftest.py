"""The packages that the tests run: fastnorm, and every operation of the target."""

from __future__ import annotations

import pytest
import spirv_operations
import spirv_package
from spirv_package import Package


@pytest.fixture(scope="session")
def vulkan() -> None:
    """Skips where no Vulkan device can be used."""
    problem = spirv_package.vulkan_problem()
    if problem:
        pytest.skip(f"{problem} (Debian, Ubuntu: apt-get install libvulkan1 mesa-vulkan-drivers)")


@pytest.fixture(scope="session")
def fastnorm(tmp_path_factory: pytest.TempPathFactory) -> Package:
    validate = spirv_package.validator() is not None
    return spirv_package.build(
        spirv_package.FASTNORM, tmp_path_factory.mktemp("spirv") / "fastnorm-site", "fastnorm", validate=validate
    )


@pytest.fixture(scope="session")
def operations(tmp_path_factory: pytest.TempPathFactory) -> Package:
    root = tmp_path_factory.mktemp("operations")
    project = spirv_package.write(root / "project", "spirvops", spirv_operations.module())
    return spirv_package.build(project, root / "site", "spirvops")
