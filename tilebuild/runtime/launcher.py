"""Launchers: one a kernel, which binds, checks and launches a call on the best target that this machine can run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tilebuild.manifest import BuildEntry, KernelEntry, VariantEntry
from tilebuild.plan.expr import ExprError
from tilebuild.runtime import expressions, machine, refusals
from tilebuild.runtime.arrays import View
from tilebuild.runtime.choice import Candidate, Choice
from tilebuild.runtime.contract import Contract
from tilebuild.runtime.devices import DeviceError, Launch
from tilebuild.runtime.errors import LaunchError
from tilebuild.runtime.geometry import Geometry
from tilebuild.runtime.package import Package, find_package, malformed


@dataclass(frozen=True)
class _Variant:
    statics: dict[str, int]
    guard: expressions.Function[bool] | None
    slots: expressions.Function[tuple[int, ...]]
    launch: Launch


class Launcher:
    """Calls one built kernel; made by `find`."""

    def __init__(self, package: Package, kernel: KernelEntry, otherwise: Launcher | None) -> None:
        self._package = package
        self._kernel = kernel
        self._otherwise = otherwise
        self._contract = Contract(kernel)
        beyond = None if otherwise is None else otherwise._choice
        self._statics = kernel.get("statics", {})
        self._choice: Choice = Choice(kernel, package.manifest["libraries"], beyond)
        self._variants: dict[str, tuple[_Variant, ...]] = {}  # of the targets that are loaded
        self._by_memory: dict[int, str] = {}  # DLDeviceType to the target that is taken for it

    @property
    def name(self) -> str:
        return self._kernel["name"]

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets that can be used here, best first; one whose library fails to load drops out."""
        return tuple(self._choice.usable())

    @property
    def trace(self) -> list[Candidate]:
        """Every build, best first, with why it can be used here or not; looks at every device."""
        return self._choice.all()

    def __repr__(self) -> str:
        return f"<launcher of {self._kernel['module']}.{self.name} for {', '.join(self.targets) or 'no target'}>"

    def __call__(self, *args: Any, target: str | None = None, **kwargs: Any) -> Any:
        """Launch; outputs that are left out are allocated. Returns the output, or a tuple of them.

        `target` asks for one target by name; without it, the best one that reads the arrays' memory is taken.
        Raises `LaunchError` before anything is written.
        """
        contract = self._contract
        statics = self._chosen_statics(kwargs) if self._statics else ()
        geometry, views, scalars, results = contract.check(contract.bind(args, kwargs))
        chosen = self._by_memory.get(views[0].device) if target is None else target
        if chosen is None or chosen not in self._variants:
            chosen = self._choose(target, views)
        variant = geometry.picked.get((chosen, statics))
        if variant is None and not geometry.empty:
            variant = geometry.picked[chosen, statics] = self._pick(chosen, dict(statics), geometry, views)
        if variant is not None:
            variant.launch(variant.slots(views, geometry.dims, scalars), views, geometry.bytes)
        return results

    def _chosen_statics(self, kwargs: dict[str, Any]) -> tuple[tuple[str, int], ...]:
        """The static values of a call, taken out of its keywords; the first built of each that it does not name."""
        chosen = []
        for name, built in self._statics.items():
            value = kwargs.pop(name, built[0])
            if not isinstance(value, int) or value not in built:
                raise refusals.static(self._kernel, name, value, built)
            chosen.append((name, int(value)))
        return tuple(chosen)

    def _pick(self, target: str, statics: dict[str, int], geometry: Geometry, views: Sequence[View]) -> _Variant:
        """The first variant whose guard holds, here or in the kernels of `otherwise`; raises `LaunchError`."""
        if not geometry.devices <= self._choice.device(target).memory:
            raise self._wrong_device(views, target)
        launcher: Launcher = self
        while True:
            for variant in launcher._load(target):
                if variant.statics != statics:
                    continue
                if variant.guard is None or expressions.holds(variant.guard, views, geometry.dims):
                    return variant
            if launcher._otherwise is None:
                raise self._no_variant(target, geometry)
            launcher = launcher._otherwise
            launcher._contract.rules.check_requires(views, geometry.dims)

    # -- the choice of a target -------------------------------------------------------------------------

    def _choose(self, target: str | None, views: Sequence[View]) -> str:
        """Load a target for a call's arrays, the best first; raises `LaunchError`."""
        with self._package.lock:
            if target is not None:
                self._demand(target)
                return target
            memory = views[0].device
            for name in self._choice.reading(memory):
                try:
                    self._load(name)
                except LaunchError as e:
                    if e.code != "E805":
                        raise
                else:
                    self._by_memory[memory] = name
                    return name
        if not self.targets:
            raise self.no_build()
        raise self._wrong_device(views, *self.targets)

    def _demand(self, target: str) -> None:
        if not self._choice.can_use(target):
            reasons = [f"{c.arch}: {c.reason}" for c in self._choice.candidates(target)]
            why = f"cannot run here ({'; '.join(reasons)})" if reasons else "is not among its builds"
            raise LaunchError(
                "E806",
                f"the target {target} was asked for, and {self.name} {why}",
                kernel=self._kernel,
                notes=(self._builds(),),
                fix=f"leave target= out, or ask for {' or '.join(self.targets)}" if self.targets else "",
            )
        self._load(target)

    def _load(self, target: str) -> tuple[_Variant, ...]:
        """The variants built for a target, loaded and linked; raises `LaunchError` (E803, E804, E805)."""
        with self._package.lock:
            if target not in self._variants:
                try:
                    linked = (self._link(target, v) for v in self._kernel["variants"])
                    self._variants[target] = tuple(v for v in linked if v is not None)
                except DeviceError as e:
                    self._choice.refuse(target, str(e))
                    raise self.no_build() from None
                except (ExprError, KeyError, TypeError) as e:
                    raise malformed(self._package.name, self._kernel, e) from e
            return self._variants[target]

    def _link(self, target: str, variant: VariantEntry) -> _Variant | None:
        builds = {b["arch"]: b for b in variant["builds"] if b["target"] == target and _fits(variant, b)}
        for candidate in self._choice.candidates(target):
            if candidate.accepted and candidate.arch in builds:
                build = builds[candidate.arch]
                parameters = self._contract.parameters
                return _Variant(
                    variant.get("statics", {}),
                    expressions.condition(variant["when"], parameters.symbols) if variant["when"] else None,
                    expressions.slots(build["slots"], parameters.slots),
                    self._package.library(build["library"], self._choice.device(target)).function(build),
                )
        return None

    # -- what is said when there is none ----------------------------------------------------------------

    def no_build(self) -> LaunchError:
        """The error for a machine that can run none of the kernel's builds."""
        return LaunchError(
            "E805",
            f"no build of {self.name} can run on this machine ({machine.describe()})",
            kernel=self._kernel,
            notes=(self._builds(), *(f"{c.target} {c.arch}: {c.reason}" for c in self.trace if not c.accepted)),
            fix=f"install a wheel of {self._package.name} for this machine, or build it here: `pip install .`",
        )

    def _builds(self) -> str:
        return f"built are: {', '.join(f'{c.target} {c.arch}' for c in self.trace) or 'none'}"

    def _wrong_device(self, views: Sequence[View], *targets: str) -> LaunchError:
        memory = {t: self._choice.device(t).memory for t in targets}
        readable = frozenset[int]().union(*memory.values())
        arrays = list(zip(self._contract.parameters.arrays, views))
        p, view = next(((p, v) for p, v in arrays if v.device not in readable), arrays[0])
        return refusals.device(self._kernel, p, view, memory)

    def _no_variant(self, target: str, geometry: Geometry) -> LaunchError:
        chain, launcher = [self], self._otherwise
        while launcher is not None:
            chain.append(launcher)
            launcher = launcher._otherwise
        guards = [f"{k.name}: {v['when']}" for k in chain for v in k._kernel["variants"] if v["when"]]
        return refusals.no_variant(
            self._kernel, target, guards, dict(zip(self._contract.parameters.dims, geometry.dims))
        )


def _fits(variant: VariantEntry, build: BuildEntry) -> bool:
    return variant["target"] in ("", build["target"], f"{build['target']}:{build['arch']}")


_launchers: dict[tuple[str, str], Launcher] = {}


def find(module: str, name: str) -> Launcher:
    """The launcher of the kernel `name` that the module named `module` defines, made once a process.

    Raises `LaunchError`: E801 to E804 where there is no trustworthy build.
    """
    launcher = _launchers.get((module, name))
    if launcher is None:
        package = find_package(module)
        with package.lock:
            launcher = _make(package, module, name, ())
    return launcher


def forget(top: str) -> None:
    """Drop the launchers of a package, so that its kernels are looked for again."""
    for key in [key for key in _launchers if key[0].partition(".")[0] == top]:
        del _launchers[key]


def _make(package: Package, module: str, name: str, above: tuple[str, ...]) -> Launcher:
    if (module, name) in _launchers:
        return _launchers[module, name]
    kernel = package.kernel(module, name)
    try:
        if name in above:
            raise ExprError(f"otherwise goes round in a circle: {', '.join((*above, name))}")
        otherwise = _make(package, module, kernel["otherwise"], (*above, name)) if kernel["otherwise"] else None
        if otherwise is not None and otherwise._kernel["parameters"] != kernel["parameters"]:
            raise ExprError(f"{name} and {otherwise.name}, its otherwise, have different parameters")
        if otherwise is not None and otherwise._kernel.get("statics", {}) != kernel.get("statics", {}):
            raise ExprError(f"{name} and {otherwise.name}, its otherwise, have different static values")
        launcher = Launcher(package, kernel, otherwise)
    except (ExprError, KeyError, TypeError) as e:
        raise malformed(package.name, kernel, e) from e
    _launchers[module, name] = launcher
    return launcher
