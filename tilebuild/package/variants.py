"""Variant wheels (PEP 817 and 825, drafts): which property of which vendor stands for a kernel library's architecture.

The namespaces belong to the vendors' own provider plug-ins; nothing here looks at a device.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tilebuild.manifest import LibraryEntry

FILE = "variant.json"
NULL = "null"
SCHEMA = "https://variants-schema.wheelnext.dev/v0.2.0.json"
Properties = tuple[tuple[str, str, str], ...]
"""(namespace, feature, value), sorted."""


@dataclass(frozen=True)
class Provider:
    """Who says whether a machine has a property: `requires` (PEP 508) and the plug-in's object. `values` turn an
    architecture that fits a pattern into the feature's value."""

    namespace: str
    feature: str
    values: Mapping[str, str]
    requires: str
    plugin: str


# Machine code of one compute capability runs on later minor versions of it, which is what the value `NN_real` says.
# sm_90a runs on 9.0 alone, and the major version 9 has no other. Architectures that fit no pattern have no property.
PROVIDERS: Mapping[str, Provider] = {
    "gpu": Provider(
        "nvidia",
        "sm_arch",
        {r"sm_(\d+)": r"\1_real", "sm_90a": "90_real"},
        "nvidia-variant-provider>=0.0.1",
        "nvidia_variant_provider.plugin:NvidiaVariantPlugin",
    ),
    "pto": Provider(
        "ascend",
        "npu_type",
        {"a2a3": "910b"},
        "ascend-variant-provider>=0.0.1",
        "ascend_variant_provider.plugin:AscendVariantPlugin",
    ),
}


def properties(library: LibraryEntry) -> Properties:
    """What a machine must have for a library; empty where no vendor has a word for it."""
    provider = PROVIDERS.get(library["target"])
    for pattern, value in provider.values.items() if provider else ():
        match = re.fullmatch(pattern, library["arch"])
        if match and provider:
            return ((provider.namespace, provider.feature, match.expand(value)),)
    return ()


def label(wanted: Properties) -> str:
    """The end of the wheel's name: letters, digits, dots and underscores."""
    return "_".join(part for _, feature, value in wanted for part in (feature, value))


def description(labelled: Mapping[str, Properties], of_release: Iterable[Properties]) -> bytes:
    """The JSON that stands in the dist-info of a variant wheel, and beside the wheels for all of them. Every wheel of a
    release names the namespaces of the whole release: the null variant, too, is chosen by asking their providers."""
    used = sorted({namespace for wanted in of_release for namespace, _, _ in wanted})
    data = {
        "$schema": SCHEMA,
        "default-priorities": {"namespace": used},
        "providers": {
            p.namespace: {"requires": [p.requires], "plugin-api": p.plugin}
            for p in PROVIDERS.values()
            if p.namespace in used
        },
        "variants": {name: _nested(wanted) for name, wanted in labelled.items()},
    }
    return (json.dumps(data, indent=4, sort_keys=True) + "\n").encode()


def read(data: bytes) -> dict[str, Properties]:
    """The labels and properties of a description."""
    return {name: tuple(sorted(_flat(wanted))) for name, wanted in json.loads(data)["variants"].items()}


def _nested(wanted: Properties) -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = {}
    for namespace, feature, value in wanted:
        found.setdefault(namespace, {}).setdefault(feature, []).append(value)
    return found


def _flat(wanted: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for namespace, features in wanted.items():
        for feature, values in features.items():
            for value in values:
                yield namespace, feature, value
