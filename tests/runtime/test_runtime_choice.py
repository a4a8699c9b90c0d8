"""What is launched: instruction-set levels, variants, guards, otherwise, targets and the trace."""

from __future__ import annotations

import sys
import types
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from runtime_support import ARCH, OTHER_ARCH, SCALE, Site, build, kernel, mark, variant

from tilebuild.runtime import Candidate, LaunchError, find


def ran(launch: Any, n: int, **options: Any) -> int:
    y = np.zeros(n, np.int32)
    launch(y, **options)
    assert len(set(y.tolist())) == 1
    return int(y[0])


LEVEL = kernel("level", ["y: out i32[N]"], variant(build("level", "ptr:y dim:N")))


@pytest.mark.parametrize(("library", "expected"), [("v2", 12), ("v3", 13)])
def test_the_library_says_which_level_runs(site: Site, library: str, expected: int) -> None:
    # 10 + the level: one part of one
    module = site.package(LEVEL, levels=("v2", "v3"), library=library)
    assert ran(find(module, "level"), 3) == expected


def test_a_processor_below_every_level_is_no_machine_for_the_build(site: Site) -> None:
    launch = find(site.package(LEVEL, levels=("v2", "v3"), library="neither"), "level")
    with pytest.raises(LaunchError, match=r"runs none of its instruction-set levels \(v2, v3\)") as caught:
        launch(np.zeros(3, np.int32))
    assert caught.value.code == "E805"
    assert [c.accepted for c in launch.trace] == [False]
    with pytest.raises(LaunchError, match="E805"):
        launch(np.zeros(3, np.int32))


def test_levels_without_a_chooser_or_an_entry_are_refused(site: Site) -> None:
    for entry, levels, reason in (("mark_1", ("v2",), "no tilebuild_level"), ("nothing", (), "not export nothing")):
        broken = kernel("broken", ["y: out i32[N]"], variant(build(entry, "ptr:y dim:N")))
        launch = find(site.package(broken, levels=levels), "broken")
        with pytest.raises(LaunchError, match=reason) as caught:
            launch(np.zeros(3, np.int32))
        assert caught.value.code == "E805"


VARIANTS = kernel(
    "sized",
    ["y: out i32[N]"],
    variant(build("mark_1", "ptr:y dim:N"), when="N <= 4"),
    variant(build("mark_2", "ptr:y dim:N"), when="N <= 8 and N % 2 == 0"),
    otherwise="any_size",
)


@pytest.mark.parametrize(("n", "expected"), [(1, 1), (4, 1), (5, 3), (6, 2), (8, 2), (9, 3), (100, 3)])
def test_the_first_variant_whose_guard_holds_else_otherwise(site: Site, n: int, expected: int) -> None:
    module = site.package(VARIANTS, mark("any_size", 3))
    assert ran(find(module, "sized"), n) == expected
    assert ran(find(module, "any_size"), n) == 3


def test_otherwise_follows_a_chain_and_keeps_each_contract(site: Site) -> None:
    last = mark("last", 3, requires=("N % 2 == 0",))
    middle = mark("middle", 2, when="N <= 2", otherwise="last")
    launch = find(site.package(mark("first", 1, when="N <= 1", otherwise="middle"), middle, last), "first")
    assert [ran(launch, n) for n in (1, 2, 4)] == [1, 2, 3]
    with pytest.raises(LaunchError, match="last requires N % 2 == 0"):
        ran(launch, 5)


def test_no_guard_holds(site: Site) -> None:
    launch = find(
        site.package(mark("first", 1, when="N <= 1", otherwise="next"), mark("next", 2, when="N == 7")), "first"
    )
    with pytest.raises(LaunchError) as caught:
        ran(launch, 5)
    assert caught.value.code == "E823"
    for fact in ("no variant of first", "N = 5", "first: N <= 1", "next: N == 7", "src/pkg/kernels.py:7"):
        assert fact in str(caught.value)


def test_guards_may_divide_and_name_strides(site: Site) -> None:
    guarded = kernel(
        "guarded",
        ["x: in f32[M, N]", "y: out i32[N]"],
        variant(build("mark_1", "ptr:y dim:N"), when="N % (M - 1) == 0"),
        variant(build("mark_2", "ptr:y dim:N"), when="x__s0 >= 2*N"),
        variant(build("mark_3", "ptr:y dim:N")),
    )
    launch = find(site.package(guarded), "guarded")
    assert launch(np.ones((3, 4), np.float32))[0] == 1
    assert launch(np.ones((1, 4), np.float32))[0] == 3  # the first guard divides by zero: it does not hold
    assert launch(np.ones((4, 8), np.float32)[:, :4])[0] == 2


def test_builds_of_other_machines_are_passed_over_with_a_reason(site: Site) -> None:
    both = kernel(
        "both",
        ["y: out i32[N]"],
        variant(build("mark_1", "ptr:y dim:N", arch=OTHER_ARCH), build("mark_2", "ptr:y dim:N")),
        variant(build("mark_3", "ptr:y dim:N", target="quantum")),
    )
    launch = find(site.package(both), "both")
    assert ran(launch, 3) == 2
    assert [c[:3] for c in launch.trace] == [("cpu", OTHER_ARCH, False), ("cpu", ARCH, True), ("quantum", ARCH, False)]
    assert "this machine is" in launch.trace[0].reason
    assert "no device for the target quantum" in launch.trace[2].reason
    assert launch.targets == ("cpu",)


def test_a_variant_for_one_architecture_only(site: Site) -> None:
    other, here = (
        variant(build(f"mark_{i}", "ptr:y dim:N"), target=f"cpu:{a}") for i, a in ((1, OTHER_ARCH), (2, ARCH))
    )
    assert ran(find(site.package(kernel("k", ["y: out i32[N]"], other, here)), "k"), 3) == 2


def test_a_machine_that_no_build_is_for(site: Site) -> None:
    module = site.package(kernel("k", ["y: out i32[N]"], variant(build("mark_1", "ptr:y dim:N", arch=OTHER_ARCH))))
    launch = find(module, "k")
    assert launch.targets == ()
    with pytest.raises(LaunchError) as caught:
        launch(np.zeros(3, np.int32))
    assert caught.value.code == "E805"
    for fact in (f"({sys.platform}, {ARCH})", f"built are: cpu {OTHER_ARCH}"):
        assert fact in str(caught.value)


@pytest.mark.parametrize(("target", "fact"), [("gpu", "is not among its builds"), ("quantum", "cannot run here")])
def test_a_target_that_is_not_there(site: Site, target: str, fact: str) -> None:
    builds = build("mark_1", "ptr:y dim:N"), build("mark_1", "ptr:y dim:N", target="quantum", arch="q1")
    launch = find(site.package(kernel("k", ["y: out i32[N]"], variant(*builds))), "k")
    with pytest.raises(LaunchError, match=f"{target} was asked for, and k {fact}") as caught:
        ran(launch, 3, target=target)
    assert caught.value.code == "E806"
    assert "leave target= out, or ask for cpu" in str(caught.value)


class _Recorder:
    """A device of another target: host memory, preferred to all others."""

    rank = 1
    memory = frozenset({1})

    def __init__(self) -> None:
        self.calls: list[tuple[tuple[int, ...], list[tuple[int, ...]]]] = []

    def available(self, build: Any, library: Any) -> tuple[bool, str]:
        return True, "always here"

    def preference(self, build: Any, library: Any) -> int:
        return 0

    def load(self, path: str, library: Any) -> _Recorder:
        return self

    def function(self, build: Any) -> Any:
        def launch(slots: Sequence[int], views: Sequence[Any], size: int) -> None:
            self.calls.append((tuple(slots), [v.shape for v in views]))

        return launch


def test_a_device_of_another_package_is_found_ranked_and_called(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in = types.ModuleType("made_up_device")
    recorder = plug_in.DEVICE = _Recorder()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "made_up_device", plug_in)
    info = site.root / "made_up_device-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: made-up-device\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[tilebuild.devices]\nabacus = made_up_device:DEVICE\n")
    builds = build("mark_1", "ptr:y dim:N"), build("any", "dim:N ptr:y", target="abacus", arch="wood")
    launch = find(site.package(kernel("k", ["y: out i32[N]"], variant(*builds))), "k")
    assert launch.targets == ("abacus", "cpu")
    assert launch.trace[0] == Candidate("abacus", "wood", True, "always here")
    y = np.zeros(3, np.int32)
    launch(y)
    assert recorder.calls == [((3, y.ctypes.data), [(3,)])]
    assert ran(launch, 3, target="cpu") == 1


def test_the_best_target_fails_to_load_and_the_next_one_runs(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from tilebuild.runtime import devices

    class Refusing(_Recorder):
        def load(self, path: str, library: Any) -> _Recorder:
            raise devices.DeviceError("its driver is too old")

    module = types.ModuleType("tilebuild.runtime.devices.refusing")
    module.__spec__ = types.SimpleNamespace()  # type: ignore[assignment]
    for name in ("rank", "memory", "available", "preference", "load"):
        setattr(module, name, getattr(Refusing(), name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    builds = build("mark_1", "ptr:y dim:N"), build("mark_2", "ptr:y dim:N", target="refusing")
    name = site.package(kernel("k", ["y: out i32[N]"], variant(*builds)))
    launch = find(name, "k")
    assert launch.targets == ("refusing", "cpu")
    assert ran(launch, 3) == 1
    assert launch.targets == ("cpu",)
    assert "its driver is too old" in launch.trace[0].reason


def test_a_device_is_not_looked_at_before_it_is_needed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []

    class Slow(_Recorder):
        def __init__(self, rank: int, memory: int) -> None:
            super().__init__()
            self.rank, self.memory = rank, frozenset({memory})

        def available(self, build: Any, library: Any) -> tuple[bool, str]:
            looked.append(self.rank)
            return super().available(build, library)

    for target, slow in {"elsewhere": Slow(1, memory=2), "last": Slow(999, memory=1)}.items():
        module = types.ModuleType(f"tilebuild.runtime.devices.{target}")
        module.__spec__ = types.SimpleNamespace()  # type: ignore[assignment]
        for name in ("rank", "memory", "available", "preference", "load"):
            setattr(module, name, getattr(slow, name))
        monkeypatch.setitem(sys.modules, module.__name__, module)
    builds = (build("mark_1", "ptr:y dim:N", target=target) for target in ("elsewhere", "last", "cpu"))
    launch = find(site.package(kernel("k", ["y: out i32[N]"], variant(*builds))), "k")
    assert ran(launch, 3) == 1
    assert looked == []
    assert launch.targets == ("elsewhere", "cpu", "last")
    assert looked == [1, 999]


def test_launchers_are_made_once(site: Site) -> None:
    module = site.package(SCALE)
    assert find(module, "scale") is find(module, "scale")
