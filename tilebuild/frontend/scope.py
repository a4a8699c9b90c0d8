"""What the names of one source file mean to a kernel: the file's own tilebuild imports, dimensions, literal
constants and helpers, and those it imports from other files of the same package. Nothing is executed."""

from __future__ import annotations

import ast
import keyword
import warnings
from collections.abc import Iterator, Mapping, Sequence
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
    """`static`: the values that it is built for; empty for any."""

    name: str
    static: tuple[int, ...] = ()


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
        """Where a node stands; of a function, its `def` and name."""
        line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            word = "def" if isinstance(node, ast.FunctionDef) else "async def"
            return Span(self.file, line, column, line, column + len(f"{word} {node.name}".encode()))
        end_line = getattr(node, "end_lineno", None) or line
        return Span(self.file, line, column, end_line, getattr(node, "end_col_offset", None) or 0)


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
        scope = Scope(module, file, path, self._parse(path, file))
        self._scopes[module] = scope  # before its imports: two files may import each other
        try:
            for statement in scope.tree.body:
                self._bind(scope, statement)
        except TilebuildError:
            del self._scopes[module]  # half read: whoever asks again gets the same error
            raise
        for node in ast.walk(scope.tree):
            if isinstance(node, ast.Global):
                scope.names.update({n: Foreign("changed by a function (`global`)") for n in node.names})
        return scope

    def _parse(self, path: Path, file: str) -> ast.Module:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the file's own warnings are shown when it is imported
                tree = ast.parse(path.read_bytes())
                # finds the rest: duplicate arguments, stray returns; a name in <> has Python look for no file
                compile(tree, "<source>", "exec", dont_inherit=True)
                return tree
        except SyntaxError as e:
            raise TilebuildError(_not_python(e, file), self.root) from None
        except (ValueError, RecursionError, MemoryError) as e:
            what = "nested too deeply" if isinstance(e, (RecursionError, MemoryError)) else str(e)
            raise TilebuildError(Diagnostic("E100", f"not valid Python: {what}", Span(file, 1)), self.root) from None
        except OSError as e:
            message = f"cannot be read: {e.strerror or e}"
            raise TilebuildError(Diagnostic("E100", message, Span(file, 1)), self.root) from None

    def _bind(self, scope: Scope, node: ast.stmt) -> None:
        names = scope.names
        if isinstance(node, ast.Import):
            names.update(_imported_modules(node))
        elif isinstance(node, ast.ImportFrom):
            names.update(self._imported_names(scope, node))
        elif isinstance(node, ast.FunctionDef):
            names[node.name] = Function(function_kind(scope, node), node, scope)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                self._bind_assignment(scope, target, node.value)
        elif isinstance(node, ast.AnnAssign):
            if node.value is not None:
                self._bind_assignment(scope, node.target, node.value)
        elif isinstance(node, (ast.ClassDef, ast.AsyncFunctionDef)):
            names[node.name] = Foreign("a class" if isinstance(node, ast.ClassDef) else "an async function")
        elif not _is_main_guard(node):
            names.update({n: Foreign("defined under a condition, or changed later") for n in _bound_names(node)})
            for inner in ast.walk(node):  # `try: import tilebuild as tb`
                if isinstance(inner, (ast.Import, ast.ImportFrom)):
                    names.update(self.tilebuild_imports(scope, inner))

    def tilebuild_imports(self, scope: Scope, node: ast.Import | ast.ImportFrom) -> dict[str, Binding]:
        """What an import statement, wherever it stands, brings in of tilebuild."""
        found = _imported_modules(node) if isinstance(node, ast.Import) else self._imported_names(scope, node)
        return {n: b for n, b in found.items() if isinstance(b, (Module, Member))}

    def _imported_names(self, scope: Scope, node: ast.ImportFrom) -> dict[str, Binding]:
        source = node.module or ""
        if node.level:
            is_package = scope.path.name == "__init__.py"
            base = scope.module.split(".")
            base = base[: max(0, len(base) - node.level + is_package)]
            source = ".".join([*base, source] if source else base)
        found: dict[str, Binding] = {}
        for alias in node.names:
            bound = alias.asname or alias.name
            if source == "tilebuild" or source.startswith("tilebuild.lang"):
                if alias.name == "*":
                    raise self._error(
                        "E104", "a star import hides which names are tilebuild's", scope, node, "import tilebuild as tb"
                    )
                found[bound] = Member(alias.name)
            elif source in self.modules:
                other = self.scope(source)
                scope.uses[other.file] = other.path
                scope.uses.update(other.uses)
                if alias.name == "*":
                    found.update({n: b for n, b in other.names.items() if not n.startswith("_")})
                elif f"{source}.{alias.name}" in self.modules and alias.name not in other.names:
                    found[bound] = Foreign(f"a module; write `from {source}.{alias.name} import ...`")
                else:
                    found[bound] = other.names.get(alias.name, Foreign(f"not defined in {other.file}"))
            else:
                found[bound] = Foreign(f"imported from {source or '.'}, which is no file of this package")
        return found

    def _bind_assignment(self, scope: Scope, target: ast.expr, value: ast.expr) -> None:
        targets = target.elts if isinstance(target, ast.Tuple) else [target]
        names = [t.id for t in targets if isinstance(t, ast.Name)]
        if isinstance(value, ast.Call) and resolve_member(scope, value.func) == "dims" and len(names) == len(targets):
            scope.names.update(self._dimensions(scope, names, value))
            return
        maker = resolve_member(scope, value.func) if isinstance(value, ast.Call) else None
        if isinstance(value, ast.Call) and maker == "dim" and len(names) == len(targets) == 1:
            scope.names[names[0]] = self._dimension(scope, value)
            return
        values = value.elts if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) else [value]
        if len(names) == len(targets) == len(values):
            scope.names.update(dict(zip(names, [_value(scope, v) for v in values])))
        else:
            scope.names.update(dict.fromkeys(_bound_names(target), _NOT_LITERAL))

    def _dimensions(self, scope: Scope, targets: Sequence[str], call: ast.Call) -> dict[str, Binding]:
        def error(message: str) -> TilebuildError:
            return self._error("E102", message, scope, call, 'M, N = tb.dims("M N")')

        argument = call.args[0] if len(call.args) == 1 and not call.keywords else None
        if not (isinstance(argument, ast.Constant) and isinstance(argument.value, str)):
            raise error("tb.dims takes one string literal")
        declared = argument.value.replace(",", " ").split()
        what = f"tb.dims({argument.value!r:.40})"
        for name in declared:
            problem = name_problem(name)
            if problem:
                raise error(f"{what}: {problem}")
        if len(set(declared)) < len(declared):
            raise error(f"{what} names a dimension twice")
        if len(declared) != len(targets):
            raise error(f"{what} names {len(declared)} dimension(s) for {len(targets)} name(s)")
        return {name: Dimension(dim) for name, dim in zip(targets, declared)}

    def _dimension(self, scope: Scope, call: ast.Call) -> Dimension:
        """`tb.dim("D", static=(64, 128))`."""
        name = call.args[0].value if len(call.args) == 1 and isinstance(call.args[0], ast.Constant) else None
        given = [k.value for k in call.keywords if k.arg == "static"]
        values = [_literal(e) for v in given if isinstance(v, (ast.Tuple, ast.List)) for e in v.elts]
        sizes = tuple(v for v in values if type(v) is int and v >= 1)
        problem = name_problem(name) if isinstance(name, str) else "it takes one string literal"
        if not problem and (len(given) != len(call.keywords) or len(set(sizes)) < len(values)):
            problem = "static= is a tuple of different positive integers"
        if problem or (given and not sizes):
            fix = 'D = tb.dim("D", static=(64, 128))'
            raise self._error("E102", f"tb.dim: {problem or 'static= has no value'}", scope, call, fix)
        return Dimension(str(name), sizes)

    def _error(self, code: str, message: str, scope: Scope, node: ast.AST, fix: str) -> TilebuildError:
        return TilebuildError(Diagnostic(code, message, scope.span(node), fix=fix), self.root)


def _not_python(e: SyntaxError, file: str) -> Diagnostic:
    line, start = max(1, e.lineno or 1), max(1, e.offset or 1)
    end = e.end_offset if e.end_lineno == e.lineno and e.end_offset and e.end_offset > start else start + 1
    # with its text, Python counts characters from 1 here; spans count UTF-8 bytes from 0
    columns = [start - 1, end - 1]
    if e.text is not None:
        columns = [len(e.text[: c - 1].encode(errors="replace")) for c in (start, end)]
    span = Span(file, line, columns[0], line, max(columns[1], columns[0] + 1))
    return Diagnostic("E100", f"not valid Python: {e.msg:.200}", span)


def name_problem(name: str) -> str:
    """Why a name cannot stand for something in generated code and expressions; empty where it can."""
    if not name.isidentifier() or keyword.iskeyword(name):
        return f"{name} is not an identifier"
    if not name.isascii():
        return f"{name} has letters that are not ASCII: names of a kernel become names in C"
    return f"{name}: names with a double underscore are reserved" if "__" in name else ""


def function_kind(scope: Scope, node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """ "kernel", "fn" or "plain", by the decorators."""
    for decorator in node.decorator_list:
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        member = resolve_member(scope, target)
        if member in ("kernel", "fn"):
            return member
    return "plain"


def source_text(node: ast.AST) -> str:
    """The node as text for a message: one short line."""
    try:
        text = " ".join(ast.unparse(node).split())
    except (ValueError, RecursionError):  # a huge integer, a deep expression
        return "..."
    return text if len(text) <= 60 else f"{text[:57]}..."


def resolve_member(scope: Scope, node: ast.expr) -> str | None:
    """The tilebuild name that an expression such as `tb.exp` or `exp` stands for, or None."""
    if isinstance(node, ast.Name):
        binding = scope.names.get(node.id)
        return binding.name if isinstance(binding, Member) else None
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return node.attr if isinstance(scope.names.get(node.value.id), Module) else None
    return None


_NOT_LITERAL = Foreign("a module-level value that is not a literal")


def _value(scope: Scope, node: ast.expr) -> Binding:
    """What a module-level assignment binds: a literal, or another name for something known."""
    literal = _literal(node)
    if literal is not None:
        return Constant(literal)
    member = resolve_member(scope, node)
    if member is not None:
        return Member(member)
    return scope.names.get(node.id, _NOT_LITERAL) if isinstance(node, ast.Name) else _NOT_LITERAL


def _imported_modules(node: ast.Import) -> dict[str, Binding]:
    found: dict[str, Binding] = {}
    for alias in node.names:
        top = alias.name.split(".")[0]
        whole = alias.name == "tilebuild" or (alias.asname is None and top == "tilebuild")
        found[alias.asname or top] = Module() if whole else Foreign(f"the module {alias.name}")
    return found


def _bound_names(node: ast.AST) -> Iterator[str]:
    """Names that a statement other than an import or a plain assignment may bind, change or delete."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name) and not isinstance(inner.ctx, ast.Load):
            yield inner.id
        elif isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield inner.name
        elif isinstance(inner, (ast.Import, ast.ImportFrom)):
            yield from ((a.asname or a.name).split(".")[0] for a in inner.names)


def _is_main_guard(node: ast.stmt) -> bool:
    """`if __name__ == "__main__":`, whose body no import runs."""
    test = node.test if isinstance(node, ast.If) else None
    return isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__"


def _literal(node: ast.expr) -> int | float | bool | str | None:
    negative = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
    inner = node.operand if isinstance(node, ast.UnaryOp) and negative else node
    if isinstance(inner, ast.Constant) and isinstance(inner.value, (int, float, bool, str)):
        if not negative:
            return inner.value
        if not isinstance(inner.value, (bool, str)):
            return -inner.value
    return None
