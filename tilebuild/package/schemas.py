"""The published JSON schemas: of [tool.tilebuild], of `_kernels/manifest.json` and of toolchain files.

`python -m tilebuild.package.schemas` in a source tree writes docs/schemas anew; a test compares them.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tilebuild.build import config_docs, validate
from tilebuild.manifest import SCHEMA, Manifest
from tilebuild.toolchain import Description

FOLDER = Path(__file__).parents[2] / "docs" / "schemas"
DRAFT = "http://json-schema.org/draft-07/schema#"
_DIGEST = "^[0-9a-f]{64}$"
_SCALARS: Mapping[Any, str] = {str: "string", int: "integer", bool: "boolean", float: "number"}


def manifest() -> dict[str, Any]:
    """The schema of a manifest, out of its classes."""
    found = _typed_dict(Manifest)
    found["properties"]["schema"] = {"const": SCHEMA}
    return {
        "$schema": DRAFT,
        "$id": f"urn:tilebuild:manifest:{SCHEMA}",
        "title": "The kernels of a wheel: _kernels/manifest.json",
        **found,
    }


def toolchain() -> dict[str, Any]:
    """The schema of a toolchain file, out of its classes."""
    found = config_docs.table_schema(Description)
    return {"$schema": DRAFT, "$id": "urn:tilebuild:toolchain", "title": "A toolchain file", **found}


SCHEMAS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "config": validate.schema,
    "manifest": manifest,
    "toolchain": toolchain,
}


def text(name: str) -> str:
    """One of `SCHEMAS` as its file has it."""
    return json.dumps(SCHEMAS[name](), indent=2, ensure_ascii=False) + "\n"


def _typed_dict(cls: Any) -> dict[str, Any]:
    properties = {}
    for name, hint in typing.get_type_hints(cls).items():
        properties[name] = _schema(hint)
        if name.endswith("sha256"):
            properties[name] |= {"pattern": _DIGEST}
    found = {"type": "object", "additionalProperties": False, "properties": properties}
    about = " ".join((cls.__doc__ or "").split())
    # a TypedDict without a docstring of its own shows that of dict
    described = {"description": about} if about and about != " ".join((dict.__doc__ or "").split()) else {}
    return {**described, **found, "required": sorted(cls.__required_keys__)}


def _schema(hint: Any) -> dict[str, Any]:
    if typing.is_typeddict(hint):
        return _typed_dict(hint)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is list:
        return {"type": "array", "items": _schema(arguments[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(arguments[1])}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [{"type": "null"} if a is type(None) else _schema(a) for a in arguments]}
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    return {"type": _SCALARS[hint]}


def main() -> None:
    """Writes the files anew."""
    FOLDER.mkdir(exist_ok=True)
    for name in SCHEMAS:
        (FOLDER / f"{name}.json").write_text(text(name), encoding="utf-8")


if __name__ == "__main__":
    main()
