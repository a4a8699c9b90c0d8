"""YAML as plain data together with the place of every key and value.

Stricter than YAML: a key that stands twice in one table, and a key that is no string, are errors.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

from tilebuild.diagnostics import Diagnostic, Span, TilebuildError
from tilebuild.schema import KeyPath, dotted

CODE = "E505"
# the C parser, where PyYAML was built with it: the same nodes in a fifth of the time
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass
class Source:
    """`values` and `keys` give the span of what stands at a path and of the key that it stands under."""

    file: str
    data: Any = None
    values: dict[KeyPath, Span] = field(default_factory=dict)
    keys: dict[KeyPath, Span] = field(default_factory=dict)


def load(text: str, file: str) -> Source:
    """Parses one YAML document; raises `TilebuildError` (E505) with the line and column."""
    source = Source(file)
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        source.data = None if node is None else _value(loader, node, (), source)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        span = Span(file, mark.line + 1, mark.column) if mark else None
        raise TilebuildError(Diagnostic(CODE, f"not valid YAML: {error.problem}", span)) from None
    except yaml.YAMLError as error:
        raise TilebuildError(Diagnostic(CODE, f"{file}: not valid YAML: {error}")) from None
    finally:
        loader.dispose()
    return source


def _value(loader: Any, node: yaml.Node, path: KeyPath, source: Source) -> Any:
    source.values[path] = _span(node, source.file)
    if isinstance(node, yaml.SequenceNode):
        return [_value(loader, item, (*path, i), source) for i, item in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        return loader.construct_object(node)
    table: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node)
        span = _span(key_node, source.file)
        if not isinstance(key, str):
            raise TilebuildError(Diagnostic(CODE, f"{dotted(path)}: expected a string as key, found {key}", span))
        inner = (*path, key)
        if key in table:
            notes = ((source.keys[inner], "the first is here"),)
            raise TilebuildError(Diagnostic(CODE, f"{dotted(inner)}: this key stands twice", span, notes))
        source.keys[inner] = span
        table[key] = _value(loader, value_node, inner, source)
    return table


def _span(node: yaml.Node, file: str) -> Span:
    start, end = node.start_mark, node.end_mark
    return Span(file, start.line + 1, start.column, end.line + 1, end.column)


def place(source: Source, path: KeyPath, at_key: bool) -> Span | None:
    """The span of a path's key or value; of the nearest thing around it where it does not stand in the text."""
    tables = (source.keys, source.values) if at_key else (source.values, source.keys)
    for end in range(len(path), -1, -1):
        for table in tables:
            if path[:end] in table:
                return table[path[:end]]
    return None
