"""The JSON schema and the reference page of `[tool.tilebuild]`, out of the classes in `config`.

`python -m tilebuild.build.config_docs` in a source tree writes both files anew; a test compares them.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import json
import pkgutil
import textwrap
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tilebuild import targets
from tilebuild.build.config import Config, Setting
from tilebuild.schema import choices, expected, is_one_text, is_table, is_text, keys, unwrapped

SCHEMA_FILE = Path(__file__).with_name("schema.json")
PAGE_FILE = Path(__file__).parents[2] / "docs" / "config.md"
_HEAD = """\
# Configuration

<!-- made by `python -m tilebuild.build.config_docs` out of tilebuild/build/config.py: change it there -->

All of it is optional and stands in `pyproject.toml`, in the table `[tool.tilebuild]`. A setting is taken from the first
of these places that has it:

1. a config setting: `pip install -C tilebuild.targets=cpu .`, `python -m build -C tilebuild.targets=cpu`;
2. an environment variable: `TILEBUILD_TARGETS=cpu`. pip does not hand config settings on to dependencies, variables
   reach them. An empty variable counts as not set;
3. `pyproject.toml`;
4. the default.

Where only text can be given, the items of a list are separated by commas: `TILEBUILD_TARGETS=cpu,gpu:sm_90`. The name
of a variable is `TILEBUILD_` and the key in capitals, with an underscore for every dot and dash.

`tilebuild config --explain` shows each value and where it came from. Mistakes are reported all at once, each with its
place: see [errors/config.md](errors/config.md). [validate-pyproject](https://pypi.org/project/validate-pyproject/)
checks the table too, by the schema in [schemas/config.json](schemas/config.json) (`tilebuild schema config`).
"""


def schema(options: Mapping[str, type[Any]]) -> dict[str, Any]:
    """The JSON schema of the table; `options` are the options classes of the targets, by name."""
    result = table_schema(Config)
    result["properties"]["targets"] |= {"minItems": 1, "uniqueItems": True}
    result["properties"]["kernels"] |= {"uniqueItems": True}
    result["properties"]["platforms"] |= {"minItems": 1, "uniqueItems": True}
    result["properties"]["target"] |= {"properties": {name: table_schema(cls) for name, cls in options.items()}}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": "urn:tilebuild:config",
        "title": "The table [tool.tilebuild] of pyproject.toml",
        **result,
    }


def schema_text(options: Mapping[str, type[Any]]) -> str:
    """The schema as the file has it."""
    return json.dumps(schema(options), indent=2, ensure_ascii=False) + "\n"


def page(options: Mapping[str, type[Any]]) -> str:
    """The reference page, as Markdown."""
    parts = [_HEAD, *_table(Config, ())]
    for name, cls in options.items():
        parts += _table(cls, ("target", name))
    return "\n".join(parts)


def _table(cls: type[Any], path: tuple[str, ...], *, listed: bool = False) -> Iterator[str]:
    name = f"[{'.'.join(('tool', 'tilebuild', *path))}]"
    name = f"[{name}]" if listed else name
    summary = " ".join((cls.__doc__ or "").split())
    yield f"## {name}\n"
    if name not in summary:  # some say no more than the name
        yield f"{summary}\n"
    documented = field_docs(cls)
    tables, items = [], []
    for key in keys(cls).values():
        if is_table(key.hint):
            tables.append(((*path, key.name), key.hint))
            continue
        yield f"### {key.name}\n\n{documented[key.field]}\n"
        if listed:
            default = "required" if key.required else f"default: `{toml(key.default)}`"
            yield f"- type: {expected(key.hint)}\n- {default}\n"
        elif is_one_text(key.hint):
            default = "not set" if key.default is None else f"`{toml(key.default)}`"
            variable = Setting((*path, key.name), key).variable
            yield f"- type: {expected(key.hint)}\n- default: {default}\n- variable: `{variable}`\n"
        elif typing.get_origin(key.hint) is tuple:
            items.append(((*path, key.name), typing.get_args(key.hint)[0]))
    for inner, hint in tables:
        yield from _table(hint, inner)
    for inner, hint in items:
        yield from _table(hint, inner, listed=True)


def toml(value: object) -> str:
    """A value of a setting as TOML has it."""
    if isinstance(value, tuple):
        return json.dumps([str(item) for item in value], ensure_ascii=False)
    if isinstance(value, bool | int):
        return str(value).lower()
    return json.dumps(str(value), ensure_ascii=False)


def table_schema(cls: type) -> dict[str, Any]:
    """The JSON schema of a dataclass."""
    documented = field_docs(cls)
    properties = {}
    for key in keys(cls).values():
        entry = _type_schema(key.hint)
        if documented.get(key.field):
            entry["description"] = documented[key.field]
        if not key.required and key.default is not None and entry.get("type") != "object":
            entry["default"] = _plain(key.default)
        properties[key.name] = entry
    schema: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": properties}
    required = [key.name for key in keys(cls).values() if key.required]
    return {**schema, "required": required} if required else schema


def _type_schema(hint: Any) -> dict[str, Any]:
    if is_text(hint):
        return {"type": "string", "pattern": hint.PATTERN}
    if is_table(hint):
        return table_schema(typing.cast(type, hint))
    options = choices(hint)
    if options is not None:
        return {"type": "string", "enum": list(options)}
    hint = unwrapped(hint)
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        return {"type": "array", "items": _type_schema(arguments[0])}
    if typing.get_origin(hint) is not None:
        return {"type": "object", "additionalProperties": _type_schema(arguments[1])}
    names: dict[Any, str] = {str: "string", int: "integer", bool: "boolean"}
    return {"type": names[hint]} if hint in names else {}


def _plain(value: object) -> object:
    """A default as JSON has it; a type with a parser has its text in `str()`."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, (str, int, bool)) else str(value)


def field_docs(cls: type) -> dict[str, str]:
    """The docstring under each field, as one line each, out of the class's source."""
    body = typing.cast(ast.ClassDef, ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]).body
    documented = {}
    for field, text in itertools.pairwise(body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
            and isinstance(text.value.value, str)
        ):
            documented[field.target.id] = " ".join(text.value.value.split())
    return documented


def built_in() -> dict[str, type[Any]]:
    """The options classes of the targets that come with tilebuild, by name, in name order."""
    folders = [module.name for module in pkgutil.iter_modules(targets.__path__) if module.ispkg]
    modules = [importlib.import_module(f"{targets.__name__}.{name}") for name in sorted(folders)]
    found = [module.TARGET for module in modules if hasattr(module, "TARGET")]  # some folders are what targets share
    return {target.name: target.options for target in found}


def main() -> None:
    """Writes both files anew."""
    options = built_in()
    SCHEMA_FILE.write_text(schema_text(options), encoding="utf-8")
    PAGE_FILE.write_text(page(options), encoding="utf-8")


if __name__ == "__main__":
    main()
