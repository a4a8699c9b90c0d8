"""What the names of one source file mean to a kernel: the file's own tilebuild imports, dimensions, literal
constants and helpers, and those it imports from other files of the same package. Nothing is executed."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Union

from tilebuild.diagnostics import Diagnostic, Span, TilebuildError


@dataclass(frozen=True)
class Module:
    """The name is the tilebuild module itself (`import tilebuild as tb`)."""


@dataclass(frozen=True)
class Member:
    """The name is something of tilebuild (`from tilebuild import exp`)."""

    name: str


@dataclass(frozen=True)
class Dimension:
    name: str


@dataclass(frozen=True)
class Constant:
    value: int | float | bool | str


@dataclass(frozen=True)
class Function:
    """A top-level function; `kind` is "kernel", "fn" or "plain"."""

    kind: str
    node: ast.FunctionDef
    scope: Scope


@dataclass(frozen=True)
class Foreign:
    """A name that a kernel cannot use, with what it is."""

    what: str


Binding = Union[Module, Member, Dimension, Constant, Function, Foreign]


@dataclass(eq=False)
class Scope:
    """One parsed file. `file` is relative to the project, with forward slashes."""

    module: str
    file: str
    path: Path
    tree: ast.Module
    names: dict[str, Binding] = field(default_factory=dict)
    uses: dict[str, Path] = field(default_factory=dict)  # other files whose text this one's kernels depend on

    def span(self, node: ast.AST) -> Span:
        return span_of(node, self.file)


def span_of(node: ast.AST, file: str) -> Span:
    line = getattr(node, "lineno", 1)
    return Span(
        file,
        line,
        getattr(node, "col_offset", 0),
        getattr(node, "end_lineno", None) or line,
        getattr(node, "end_col_offset", None) or 0,
    )


class Sources:
    """The files of a project by module name, parsed once."""

    def __init__(self, root: Path, modules: Mapping[str, Path]) -> None:
        self.root = root
        self.modules = dict(modules)
        self._scopes: dict[str, Scope] = {}

    def relative(self, path: Path) -> str:
        try:
            return path.relative_to(self.root).as_posix()
        except ValueError:
            return path.name

    def scope(self, module: str) -> Scope:
        """Parse a module; raises `TilebuildError` E100 where it is not Python."""
        if module in self._scopes:
            return self._scopes[module]
        path = self.modules[module]
        file = self.relative(path)
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, ValueError) as e:
            line, column = getattr(e, "lineno", None) or 1, (getattr(e, "offset", None) or 1) - 1
            span = Span(file, line, column, line, column + 1)
            raise TilebuildError(Diagnostic("E100", f"not valid Python: {getattr(e, 'msg', e)}", span), self.root) from None
        scope = Scope(module, file, path, tree)
        self._scopes[module] = scope  # before its imports: two files may import each other
        for statement in tree.body:
            self._bind(scope, statement)
        return scope

    def _bind(self, scope: Scope, node: ast.stmt) -> None:
        names = scope.names
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.asname or alias.name.split(".")[0]
                names[bound] = Module() if alias.name == "tilebuild" else Foreign(f"the module {alias.name}")
        elif isinstance(node, ast.ImportFrom):
            self._bind_import_from(scope, node)
        elif isinstance(node, ast.FunctionDef):
            names[node.name] = Function(self._kind(scope, node), node, scope)
        elif isinstance(node, ast.ClassDef):
            names[node.name] = Foreign("a class")
        elif isinstance(node, ast.Assign) and len(node.targets) == 1:
            self._bind_assignment(scope, node.targets[0], node.value)
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            self._bind_assignment(scope, node.target, node.value)

    def _bind_import_from(self, scope: Scope, node: ast.ImportFrom) -> None:
        source = node.module or ""
        if node.level:
            is_package = scope.path.name == "__init__.py"
            base = scope.module.split(".")
            base = base[: len(base) - node.level + (1 if is_package else 0)]
            source = ".".join([*base, source] if source else base)
        for alias in node.names:
            bound = alias.asname or alias.name
            if source == "tilebuild":
                scope.names[bound] = Member(alias.name)
            elif source in self.modules:
                other = self.scope(source)
                scope.uses[other.file] = other.path
                scope.uses.update(other.uses)
                scope.names[bound] = other.names.get(alias.name, Foreign(f"not defined in {other.file}"))
            else:
                scope.names[bound] = Foreign(f"imported from {source or '.'}, which is no file of this package")

    def _bind_assignment(self, scope: Scope, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Name):
            targets = [target.id]
        elif isinstance(target, ast.Tuple) and all(isinstance(t, ast.Name) for t in target.elts):
            targets = [t.id for t in target.elts if isinstance(t, ast.Name)]
        else:
            return
        if isinstance(value, ast.Call) and resolve_member(scope, value.func) == "dims":
            self._bind_dims(scope, targets, value)
            return
        literal = _literal(value)
        for name in targets:
            if literal is not None and len(targets) == 1:
                scope.names[name] = Constant(literal)
            else:
                scope.names[name] = Foreign("a module-level value that is not a literal")

    def _bind_dims(self, scope: Scope, targets: list[str], call: ast.Call) -> None:
        argument = call.args[0] if len(call.args) == 1 and not call.keywords else None
        if not (isinstance(argument, ast.Constant) and isinstance(argument.value, str)):
            raise TilebuildError(
                Diagnostic("E102", "tb.dims takes one string literal", scope.span(call), fix='M, N = tb.dims("M N")'),
                self.root,
            )
        declared = argument.value.split()
        if len(declared) != len(targets) or not all(d.isidentifier() and "__" not in d for d in declared):
            raise TilebuildError(
                Diagnostic(
                    "E102",
                    f"tb.dims({argument.value!r}) names {len(declared)} dimension(s) for {len(targets)} name(s)"
                    if len(declared) != len(targets)
                    else f"tb.dims({argument.value!r}): a dimension is an identifier without a double underscore",
                    scope.span(call),
                    fix='M, N = tb.dims("M N")',
                ),
                self.root,
            )
        for name, dim in zip(targets, declared):
            scope.names[name] = Dimension(dim)

    def _kind(self, scope: Scope, node: ast.FunctionDef) -> str:
        for decorator in node.decorator_list:
            target = decorator.func if isinstance(decorator, ast.Call) else decorator
            member = resolve_member(scope, target)
            if member in ("kernel", "fn"):
                return member
        return "plain"


def resolve_member(scope: Scope, node: ast.expr) -> str | None:
    """The tilebuild name that an expression such as `tb.exp` or `exp` stands for, or None."""
    if isinstance(node, ast.Name):
        binding = scope.names.get(node.id)
        return binding.name if isinstance(binding, Member) else None
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        if isinstance(scope.names.get(node.value.id), Module):
            return node.attr
    return None


def _literal(node: ast.expr) -> int | float | bool | str | None:
    negative = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
    inner = node.operand if isinstance(node, ast.UnaryOp) and negative else node
    if isinstance(inner, ast.Constant) and isinstance(inner.value, (int, float, bool, str)):
        if not negative:
            return inner.value
        if not isinstance(inner.value, (bool, str)):
            return -inner.value
    return None
