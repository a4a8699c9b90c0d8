"""Finding, trusting and loading a package's built kernels."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runtime_support import RUNNING_SUM, SCALE, Site, kernel, mark, variant

from tilebuild.runtime import Launcher, LaunchError, find

ROOT = Path(__file__).parents[2]
X = np.ones((2, 3), np.float32)


def refused(module: str, name: str, code: str, *facts: str) -> None:
    with pytest.raises(LaunchError) as caught:
        find(module, name)(X, 1.0)
    assert caught.value.code == code
    for fact in ("fix: ", *facts):
        assert fact in str(caught.value)


def test_the_locator_nearest_to_the_module_is_taken(site: Site) -> None:
    outer = site.package(SCALE).partition(".")[0]
    inner = site.root / outer / "inner"
    (inner / "deep").mkdir(parents=True)
    for place in (inner, inner / "deep"):
        (place / "__init__.py").write_text("")
    module = f"{outer}.inner.deep"
    site.edit(outer, lambda m: [k.update(module=module) for k in m["kernels"]])
    assert find(module, "scale")(X, 2.0).sum() == 12
    (site.root / outer / "_kernels").rename(inner / "_kernels")
    other = f"{outer}.inner.deep.further"
    site.edit(f"{outer}.inner", lambda m: [k.update(module=other) for k in m["kernels"]], inner / "_kernels")
    import importlib

    importlib.invalidate_caches()
    assert find(other, "scale")(X, 2.0).sum() == 12


def test_a_locator_may_be_mapped_elsewhere(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    # as a redirecting editable install does: a finder maps the module's name to a build directory
    import importlib.util

    module = site.package(SCALE)
    top = module.partition(".")[0]
    elsewhere = site.root / "build" / "anywhere"
    elsewhere.parent.mkdir()
    (site.root / top / "_kernels").rename(elsewhere)

    class Redirect:
        @staticmethod
        def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
            if name == f"{top}._kernels":
                return importlib.util.spec_from_file_location(name, elsewhere / "__init__.py")
            return None

    monkeypatch.setattr(sys, "meta_path", [Redirect, *sys.meta_path])
    assert find(module, "scale")(X, 2.0).sum() == 12


def test_a_package_without_built_kernels(site: Site) -> None:
    (site.root / "plain_package").mkdir()
    (site.root / "plain_package" / "__init__.py").write_text("")
    facts = "no plain_package._kernels", 'build-backend = "tilebuild.backend"', "pip install .", ".reference("
    refused("plain_package.kernels", "scale", "E801", *facts)
    refused("__main__", "scale", "E801", "no __main__._kernels")
    refused("no_such_package_at_all.kernels", "scale", "E801")


def test_a_stale_build_names_what_it_has(site: Site) -> None:
    module = site.package(SCALE, RUNNING_SUM)
    refused(module, "softmax", "E802", f"{module}.softmax is not among", f"{module}.running_sum, {module}.scale")


@pytest.mark.parametrize(
    ("schema", "fix"), [(99, "pip install -U tilebuild"), (0, "build it again"), (None, "build it")]
)
def test_a_manifest_of_another_schema(site: Site, schema: Any, fix: str) -> None:
    refused(site.package(SCALE, schema=schema), "scale", "E803", f"has schema {schema!r}", "reads 1", fix)


def test_a_manifest_that_is_none(site: Site) -> None:
    for text, fact in (("{", "cannot be read"), ("[]", "schema None"), ('{"schema": 1}', "lacks package")):
        module = site.package(SCALE)
        site.manifest(module).write_text(text)
        refused(module, "scale", "E803", fact)
    refused(site.package(SCALE, kernels=[7]), "scale", "E803", "kernels[0]")


def with_build(**changes: Any) -> dict[str, Any]:
    (v,) = SCALE["variants"]
    return {**SCALE, "variants": [{**v, "builds": [{**v["builds"][0], **changes}]}]}


@pytest.mark.parametrize(
    ("entry", "fact"),
    [
        ({**SCALE, "requires": ["Q >= 1"]}, "names Q"),
        ({**SCALE, "requires": ["__import__('os')"]}, "is no comparison"),
        ({**SCALE, "requires": ["().__class__ == 1"]}, "not an integer expression"),
        ({**SCALE, "otherwise": "scale"}, "circle: scale, scale"),
        ({k: v for k, v in SCALE.items() if k != "requires"}, "'requires' is missing"),
        (with_build(library="nowhere"), "'nowhere' is missing"),
        (with_build(target="gpu"), "a build for gpu is in cpu, for cpu"),
        (with_build(slots=["ptr:q"]), "'ptr:q' is not one of"),
        (kernel("scale", ["x: in f64[N]"], variant()), "dtype 'f64'"),
        (kernel("scale", ["x: lost f32[N]"], variant()), "mode 'lost'"),
        (kernel("scale", ["x: in f32[N + 1]"], variant()), "names N"),
        (kernel("scale", ["x: scalar f32"], variant()), "no array parameter"),
    ],
)
def test_an_entry_that_cannot_be_used(site: Site, entry: dict[str, Any], fact: str) -> None:
    refused(site.package(entry), "scale", "E803", "unusable entry for scale", fact)


def test_an_otherwise_that_does_not_fit(site: Site) -> None:
    refused(site.package({**SCALE, "otherwise": "k"}, mark("k", 1)), "scale", "E803", "have different parameters")
    refused(site.package({**SCALE, "otherwise": "gone"}), "scale", "E802", "gone")


def test_an_altered_or_missing_library_is_never_loaded(site: Site) -> None:
    module = site.package(SCALE)
    library = site.manifest(module).parent / "cpu" / "main.so"
    data = bytearray(library.read_bytes())
    data[-1] ^= 1
    library.write_bytes(data)
    facts = "cpu/main.so", "altered", "not loaded", f"its sha256 is {hashlib.sha256(data).hexdigest()}", "manifest says"
    refused(module, "scale", "E804", *facts)
    library.unlink()
    refused(module, "scale", "E804", "cannot be read")


def test_a_library_that_the_loader_refuses(site: Site) -> None:
    text = site.root / "text.so"
    text.write_text("no library")
    refused(Site(site.root, {"main": text}).package(SCALE), "scale", "E805", "loader refuses it", "built are: cpu")


@pytest.mark.parametrize("distribution", ["same", "Other.Name"])
def test_an_installed_manifest_must_be_the_recorded_one(site: Site, distribution: str) -> None:
    for altered in (False, True):
        module = site.package(SCALE)
        top = module.partition(".")[0]
        name = top if distribution == "same" else distribution
        if distribution != "same":
            site.edit(module, lambda m: m.update(package="Other.Name"))
        info = site.root / f"{name.replace('.', '_')}-1.{int(altered)}.dist-info"
        info.mkdir()
        digest = base64.urlsafe_b64encode(hashlib.sha256(site.manifest(module).read_bytes()).digest()).rstrip(b"=")
        (info / "RECORD").write_text(f"{top}/_kernels/manifest.json,sha256={digest.decode()},1\n{info.name}/RECORD,,\n")
        if altered:
            site.edit(module, lambda m: m.update(tilebuild="0.0"))
            refused(module, "scale", "E804", "manifest", "altered", f"{info.name}/RECORD says")
        else:
            assert find(module, "scale")(X, 2.0).sum() == 12


def test_sixteen_threads_race_for_the_first_call(site: Site) -> None:
    module = site.package(SCALE)
    start = threading.Barrier(16)
    found: list[Launcher] = []
    wrong: list[object] = []

    def first_call(i: int) -> None:
        x = np.full((3, 5), i, np.float32)
        start.wait()
        try:
            launcher = find(module, "scale")
            found.append(launcher)
            if not (launcher(x, 2.0) == 2 * i).all():
                wrong.append(i)
        except BaseException as e:
            wrong.append(e)

    threads = [threading.Thread(target=first_call, args=(i,)) for i in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(30)
    assert wrong == []
    assert (len(found), len(set(map(id, found)))) == (16, 1)


ALONE = """
import sys
sys.path[:0] = {paths!r}
class Refuse:
    def find_spec(self, name, path=None, target=None):
        top, _, rest = name.partition(".")
        own = ("runtime", "diagnostics", "manifest", "plan")
        if top == "tilebuild" and rest and rest.split(".")[0] not in own:
            raise AssertionError("the run time imported " + name)
        if top in ("numpy", "torch", "xdsl", "yaml", "ninja", "pytest"):
            raise AssertionError("the run time imported " + name)
sys.meta_path.insert(0, Refuse())
from runtime_support import Producer, floats
import tilebuild.runtime
launch = tilebuild.runtime.find({module!r}, "scale")
y = Producer((1, 3), floats(0, 0, 0))
launch(Producer((1, 3), floats(1, 2, 3)), y, 2.0)
assert list(y.values) == [2, 4, 6], list(y.values)
for call in (lambda: launch(), lambda: launch([], y, 1.0), lambda: launch(y, y, 1.0), lambda: launch(y, 1.0)):
    try:
        call()
    except tilebuild.runtime.LaunchError as e:
        print(e.code)
"""


def test_the_run_time_needs_the_standard_library_only(site: Site) -> None:
    paths = [str(ROOT), str(Path(__file__).parent), str(site.root)]
    code = ALONE.format(paths=paths, module=site.package(SCALE))
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.split()) == (0, ["E810", "E811", "E819", "E824"]), done.stderr


def test_every_code_is_documented_and_every_documented_code_exists() -> None:
    import re

    sources = "".join(p.read_text() for p in (ROOT / "tilebuild" / "runtime").rglob("*.py"))
    pages = "".join(p.read_text() for p in (ROOT / "docs" / "errors").glob("*.md"))
    documented = re.findall(r"(?m)^## (E8\d\d)", pages)
    assert sorted(documented) == sorted(set(re.findall(r'"(E8\d\d)"', sources)))
