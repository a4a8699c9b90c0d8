"""Plans as JSON: one codec driven by the dataclasses, so that the schema cannot drift from the data.

Fields with their default value are left out; expressions and predicates are their text. Reading a file that is
not a plan raises `PlanReadError` with the path of the first wrong entry, never anything else.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from typing import Any

from tilebuild.plan import model
from tilebuild.plan.expr import Expr, ExprError, Predicate, parse, parse_predicates

_STORAGE: dict[str, type] = {
    c.__name__.lower(): c for c in (model.Placed, model.Distributed, model.Fused, model.Global)
}


class PlanReadError(ValueError):
    """The text is not a plan of a schema this version reads; the message starts with the entry's path."""


def dumps(plan: model.Plan) -> str:
    """Canonical JSON text (sorted keys, no spaces): the same plan gives the same bytes."""
    return json.dumps(_encode(plan), sort_keys=True, separators=(",", ":"), allow_nan=False)


def loads(text: str) -> model.Plan:
    """Read a plan; raises `PlanReadError`."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise PlanReadError(f"not JSON: {e}") from None
    if not isinstance(data, dict) or "schema" not in data:
        raise PlanReadError('not a plan: no "schema" entry')
    if data["schema"] != model.SCHEMA:
        raise PlanReadError(f"schema: {data['schema']!r} is not {model.SCHEMA}, the one this version reads")
    plan: model.Plan = _decode(model.Plan, data, "plan")
    return plan


def _encode(value: Any) -> Any:
    if isinstance(value, (Expr, Predicate)):
        return str(value)
    if isinstance(value, tuple):
        return [_encode(v) for v in value]
    if dataclasses.is_dataclass(value):
        out: dict[str, Any] = {}
        for f in dataclasses.fields(value):
            v = getattr(value, f.name)
            if f.name == "attrs":
                if v:
                    out["attrs"] = dict(v)
            elif f.name == "schema" or v != _default(f):
                out[f.name] = _encode(v)
        if type(value) in _STORAGE.values():
            out["kind"] = type(value).__name__.lower()
        return out
    return value


def _default(f: dataclasses.Field[Any]) -> Any:
    if f.default_factory is not dataclasses.MISSING:
        return f.default_factory()
    return f.default


@functools.cache
def _fields(cls: type) -> dict[str, tuple[Any, bool]]:
    hints = typing.get_type_hints(cls)
    return {f.name: (hints[f.name], _default(f) is not dataclasses.MISSING) for f in dataclasses.fields(cls)}


def _decode(kind: Any, data: Any, path: str) -> Any:
    if kind in (Expr, Predicate):
        return _decode_text(kind, data, path)
    if kind in (int, str):
        if type(data) is not kind:
            raise PlanReadError(f"{path}: expected {kind.__name__}, found {data!r:.80}")
        return data
    origin = typing.get_origin(kind)
    if origin is tuple:
        return _decode_tuple(kind, data, path)
    if origin in (typing.Union, types.UnionType):
        options = [k for k in typing.get_args(kind) if k is not type(None)]
        if data is None and len(options) < len(typing.get_args(kind)):
            return None
        if len(options) == 1:
            return _decode(options[0], data, path)
        return _decode_storage(data, path)
    return _decode_record(kind, data, path)


def _decode_text(kind: Any, data: Any, path: str) -> Expr | Predicate:
    if not isinstance(data, str):
        raise PlanReadError(f"{path}: expected an expression as text, found {data!r:.80}")
    try:
        if kind is Expr:
            return parse(data)
        (predicate,) = parse_predicates(data)
        return predicate
    except (ExprError, ValueError) as e:
        raise PlanReadError(f"{path}: {e}") from None


def _decode_tuple(kind: Any, data: Any, path: str) -> tuple[Any, ...]:
    args = typing.get_args(kind)
    if path.endswith(".attrs"):
        if not isinstance(data, dict) or not all(type(v) in (int, str) for v in data.values()):
            raise PlanReadError(f"{path}: expected an object of integers and strings, found {data!r:.80}")
        return tuple(sorted(data.items()))
    if not isinstance(data, list):
        raise PlanReadError(f"{path}: expected a list, found {data!r:.80}")
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(_decode(args[0], d, f"{path}[{i}]") for i, d in enumerate(data))
    if len(data) != len(args):
        raise PlanReadError(f"{path}: expected {len(args)} entries, found {len(data)}")
    return tuple(_decode(a, d, f"{path}[{i}]") for i, (a, d) in enumerate(zip(args, data)))


def _decode_storage(data: Any, path: str) -> Any:
    kind = data.get("kind") if isinstance(data, dict) else None
    if not isinstance(kind, str) or kind not in _STORAGE:
        raise PlanReadError(f"{path}: expected a storage ({', '.join(sorted(_STORAGE))}), found {data!r:.80}")
    return _decode_record(_STORAGE[kind], {k: v for k, v in data.items() if k != "kind"}, path)


def _decode_record(kind: Any, data: Any, path: str) -> Any:
    if not isinstance(data, dict):
        raise PlanReadError(f"{path}: expected an object, found {data!r:.80}")
    fields = _fields(kind)
    unknown = sorted(set(data) - set(fields))
    missing = sorted(n for n, (_, optional) in fields.items() if not optional and n not in data)
    if unknown or missing:
        what = [f"unknown entry {n!r}" for n in unknown] + [f"missing entry {n!r}" for n in missing]
        raise PlanReadError(f"{path}: {', '.join(what)}")
    return kind(**{n: _decode(fields[n][0], d, f"{path}.{n}") for n, d in data.items()})
