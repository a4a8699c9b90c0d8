"""Finding kernels: parse the package's files, read each kernel's signature and decorator. Nothing is imported."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tilebuild.diagnostics import Diagnostic, Span, TilebuildError, did_you_mean
from tilebuild.frontend.scope import Dimension, Foreign, Function, Scope, Sources, resolve_member
from tilebuild.plan.expr import Expr, ExprError, build, const, parse_predicates, sym
from tilebuild.plan.model import DTYPE_BYTES

_SKIPPED = {"tests", "test", "docs", "build", "dist", "node_modules", "examples", "benchmarks"}


@dataclass(frozen=True)
class ParameterDef:
    """An array or a scalar of a kernel's signature; `dims` are expressions over dimension names."""

    name: str
    mode: str
    dtype: str
    dims: tuple[Expr, ...]
    span: Span


@dataclass(frozen=True)
class VariantDef:
    """One set of tuning constants; `when` is a guard's text or empty, `target` a target's or empty for all."""

    consts: tuple[tuple[str, int], ...]
    when: str
    target: str
    span: Span


@dataclass(frozen=True)
class KernelDef:
    """A kernel as its source declares it."""

    module: str
    name: str
    file: str
    span: Span
    parameters: tuple[ParameterDef, ...]
    dims: tuple[str, ...]
    variants: tuple[VariantDef, ...]
    otherwise: str
    digest: str  # sha256 of the text of every file the kernel's meaning depends on
    node: ast.FunctionDef
    scope: Scope


def find_modules(project: Path, kernels: Sequence[str]) -> dict[str, Path]:
    """Module name -> file, for the configured files and folders, or for every package of the project.

    A folder's modules belong to the package that its `__init__.py` files make it part of.
    """
    found: dict[str, Path] = {}
    for root in kernels or (["src"] if (project / "src").is_dir() else ["."]):
        path = project / root
        if not path.exists():
            raise TilebuildError(
                Diagnostic(
                    "E103",
                    f"tool.tilebuild.kernels names {root!r}, which is not in the project",
                    Span("pyproject.toml", 1),
                    fix="name files or folders relative to pyproject.toml",
                )
            )
        for file in [path] if path.is_file() else _python_files(path):
            found[_module_name(file)] = file
    return dict(sorted(found.items()))


def _python_files(folder: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and not entry.name.startswith((".", "_")) and entry.name not in _SKIPPED:
            yield from _python_files(entry)
        elif entry.suffix == ".py" and entry.is_file():
            yield entry


def _module_name(file: Path) -> str:
    parts = [] if file.name == "__init__.py" else [file.stem]
    folder = file.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    return ".".join(parts)


def discover(project: Path, kernels: Sequence[str] = ()) -> list[KernelDef]:
    """All kernels, in file order; raises `TilebuildError` with every malformed one."""
    modules = find_modules(project, kernels)
    # helpers may live beside the configured files: every module of their packages can be named in an import
    roots = {m.split(".")[0]: p for m, p in modules.items() if "." in m or p.name == "__init__.py"}
    for module, file in list(roots.items()):
        top = next(parent for parent in file.parents if parent.name == module)
        modules = {_module_name(f): f for f in _python_files(top)} | modules
    configured = set(find_modules(project, kernels))
    sources = Sources(project, modules)
    found: list[KernelDef] = []
    problems: list[Diagnostic] = []
    for module in sorted(configured):
        if "tilebuild" not in sources.modules[module].read_text(encoding="utf-8", errors="replace"):
            continue
        try:
            scope = sources.scope(module)
        except TilebuildError as e:
            problems += e.diagnostics
            continue
        for binding in scope.names.values():
            if isinstance(binding, Function) and binding.kind == "kernel" and binding.scope is scope:
                try:
                    found.append(_SignatureReader(scope, binding.node).read())
                except TilebuildError as e:
                    problems += e.diagnostics
    _check_otherwise(found, problems)
    if problems:
        raise TilebuildError(problems, project)
    return found


def _check_otherwise(kernels: Sequence[KernelDef], problems: list[Diagnostic]) -> None:
    by_name = {(k.module, k.name): k for k in kernels}
    for kernel in kernels:
        seen, at = {kernel.name}, kernel
        while at.otherwise:
            following = by_name.get((at.module, at.otherwise))
            if following is None:
                names = [n for m, n in by_name if m == kernel.module]
                problems.append(
                    Diagnostic(
                        "E106",
                        f"otherwise={at.otherwise!r} names no kernel of {kernel.file}{did_you_mean(at.otherwise, names)}",
                        at.span,
                    )
                )
                break
            if following.name in seen:
                problems.append(Diagnostic("E106", f"otherwise= of {kernel.name} leads back to {following.name}", at.span))
                break
            if [(p.name, p.mode, p.dtype, p.dims) for p in following.parameters] != [
                (p.name, p.mode, p.dtype, p.dims) for p in at.parameters
            ]:
                problems.append(
                    Diagnostic(
                        "E106",
                        f"{at.name} and its otherwise={at.otherwise!r} do not have the same parameters",
                        at.span,
                        notes=((following.span, "the other signature"),),
                    )
                )
                break
            seen.add(following.name)
            at = following


class _SignatureReader:
    """Reads one kernel's decorator and signature."""

    def __init__(self, scope: Scope, node: ast.FunctionDef) -> None:
        self.scope, self.node = scope, node

    def fail(self, code: str, message: str, node: ast.AST, fix: str = "") -> TilebuildError:
        return TilebuildError(Diagnostic(code, message, self.scope.span(node), fix=fix))

    def read(self) -> KernelDef:
        node = self.node
        if len(node.decorator_list) != 1:
            raise self.fail("E104", f"{node.name} has further decorators", node.decorator_list[-1], "keep only @tb.kernel")
        arguments = node.args
        for extra in (arguments.vararg, arguments.kwarg, *arguments.posonlyargs[:1]):
            if extra is not None:
                raise self.fail("E104", "a kernel has ordinary parameters and keyword-only constants", extra)
        if arguments.defaults:
            raise self.fail("E104", "an array or scalar parameter has no default", arguments.defaults[0])
        dims: dict[str, None] = {}
        parameters = tuple(self.parameter(a, dims) for a in arguments.args)
        if not any(p.mode in ("out", "inout") for p in parameters):
            raise self.fail("E104", f"{node.name} has no output", node, "declare one parameter as tb.Out[...] or tb.InOut[...]")
        consts = {a.arg: self.constant(a, d) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults)}
        variants, otherwise = self.variants(consts, list(dims))
        first = self.scope.span(node)
        head = Span(self.scope.file, first.line, first.column, first.line, first.column + len(f"def {node.name}"))
        return KernelDef(
            self.scope.module, node.name, self.scope.file, head, parameters, tuple(dims), variants, otherwise,
            self.digest(), node, self.scope,
        )  # fmt: skip

    def digest(self) -> str:
        h = hashlib.sha256()
        for file, path in sorted({self.scope.file: self.scope.path, **self.scope.uses}.items()):
            h.update(file.encode() + b"\0" + path.read_bytes() + b"\0")
        return h.hexdigest()

    def parameter(self, arg: ast.arg, dims: dict[str, None]) -> ParameterDef:
        annotation = arg.annotation
        if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
            annotation = ast.copy_location(ast.parse(annotation.value, mode="eval").body, annotation)
        if annotation is None:
            raise self.fail("E105", f"parameter {arg.arg} has no annotation", arg, f"{arg.arg}: tb.In[tb.f32, M, N]")
        if "__" in arg.arg:
            raise self.fail("E105", f"parameter {arg.arg}: names with a double underscore are reserved", arg)
        span = self.scope.span(arg)
        if isinstance(annotation, ast.Subscript):
            mode = {"In": "in", "Out": "out", "InOut": "inout"}.get(resolve_member(self.scope, annotation.value) or "")
            entries = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
            if mode and len(entries) >= 2:
                extents = tuple(self.extent(e, dims) for e in entries[1:])
                return ParameterDef(arg.arg, mode, self.dtype(entries[0]), extents, span)
        elif resolve_member(self.scope, annotation) == "Const":
            raise self.fail("E105", f"tb.Const {arg.arg} stands among the arrays", arg, "put it after a bare `*`")
        elif resolve_member(self.scope, annotation) is not None:
            return ParameterDef(arg.arg, "scalar", self.dtype(annotation), (), span)
        raise self.fail(
            "E105", f"parameter {arg.arg}: not an annotation of the language", annotation,
            "tb.In[tb.f32, M, N], tb.Out[...], tb.InOut[...] or a scalar's dtype such as tb.f32",
        )  # fmt: skip

    def dtype(self, node: ast.expr) -> str:
        name = resolve_member(self.scope, node) or ""
        if name not in DTYPE_BYTES:
            raise self.fail(
                "E105", f"{ast.unparse(node)} is not a dtype{did_you_mean(name, list(DTYPE_BYTES))}", node,
                f"one of {', '.join(f'tb.{d}' for d in DTYPE_BYTES)}",
            )  # fmt: skip
        return name

    def extent(self, node: ast.expr, dims: dict[str, None]) -> Expr:
        if isinstance(node, ast.Constant) and type(node.value) is int and node.value >= 1:
            return const(node.value)
        if isinstance(node, ast.Name):
            binding = self.scope.names.get(node.id)
            if isinstance(binding, Dimension):
                dims[binding.name] = None
                return sym(binding.name)
            what = binding.what if isinstance(binding, Foreign) else "not declared"
            known = [n for n, b in self.scope.names.items() if isinstance(b, Dimension)]
            raise self.fail(
                "E102", f"{node.id} is no dimension ({what}){did_you_mean(node.id, known)}", node,
                f'{node.id} = tb.dims("{node.id}") at module level',
            )  # fmt: skip
        operators = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.FloorDiv: "//", ast.Mod: "%"}
        if isinstance(node, ast.BinOp) and type(node.op) in operators:
            return build(operators[type(node.op)], [self.extent(node.left, dims), self.extent(node.right, dims)])
        raise self.fail("E102", f"{ast.unparse(node)} is not an extent", node, "a dimension, a positive integer, or + - * // % of them")

    def constant(self, arg: ast.arg, default: ast.expr | None) -> int | None:
        if arg.annotation is None or resolve_member(self.scope, arg.annotation) != "Const":
            raise self.fail("E105", f"keyword-only {arg.arg} is not a tb.Const", arg, f"{arg.arg}: tb.Const = 4")
        if default is None:
            return None
        if isinstance(default, ast.Constant) and type(default.value) is int:
            return default.value
        raise self.fail("E105", f"the default of {arg.arg} is not an integer literal", default)

    def variants(self, consts: dict[str, int | None], dims: list[str]) -> tuple[tuple[VariantDef, ...], str]:
        decorator = self.node.decorator_list[0]
        given: list[ast.expr] = []
        otherwise = ""
        for keyword in decorator.keywords if isinstance(decorator, ast.Call) else ():
            if keyword.arg == "variants" and isinstance(keyword.value, (ast.List, ast.Tuple)):
                given = list(keyword.value.elts)
            elif keyword.arg == "otherwise" and isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, str):
                otherwise = keyword.value.value
            else:
                raise self.fail("E104", f"@tb.kernel does not take {ast.unparse(keyword)}", keyword, "variants=[tb.V(...)], otherwise=\"name\"")
        read = [self.variant(v, consts, dims) for v in given] or [self.plain_variant(consts)]
        if read[-1].when and not otherwise:
            raise self.fail(
                "E107", f"the last variant of {self.node.name} is guarded by {read[-1].when!r}: some shapes have no kernel",
                decorator, 'leave the last one without `when`, or name a kernel: otherwise="..."',
            )  # fmt: skip
        return tuple(read), otherwise

    def plain_variant(self, consts: dict[str, int | None]) -> VariantDef:
        missing = [n for n, v in consts.items() if v is None]
        if missing:
            raise self.fail("E107", f"{', '.join(missing)} of {self.node.name} has no value", self.node, f"{missing[0]}: tb.Const = 4, or variants=[tb.V(...)]")
        values = tuple(sorted((n, v) for n, v in consts.items() if v is not None))
        return VariantDef(values, "", "", self.scope.span(self.node))

    def variant(self, node: ast.expr, consts: dict[str, int | None], dims: list[str]) -> VariantDef:
        if not (isinstance(node, ast.Call) and resolve_member(self.scope, node.func) == "V" and not node.args):
            raise self.fail("E107", "a variant is tb.V(NAME=value, ..., when=..., target=...)", node)
        values = {n: v for n, v in consts.items() if v is not None}
        when = target = ""
        for keyword in node.keywords:
            value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
            if keyword.arg == "when" and isinstance(value, str):
                when = self.guard(value, keyword.value, dims)
            elif keyword.arg == "target" and isinstance(value, str):
                target = value
            elif keyword.arg in consts and type(value) is int:
                values[str(keyword.arg)] = value
            else:
                known = [*consts, "when", "target"]
                raise self.fail("E107", f"tb.V does not take {ast.unparse(keyword)}{did_you_mean(keyword.arg or '', known)}", keyword)
        missing = [n for n in consts if n not in values]
        if missing:
            raise self.fail("E107", f"the variant gives no {', '.join(missing)}", node)
        return VariantDef(tuple(sorted(values.items())), when, target, self.scope.span(node))

    def guard(self, text: str, node: ast.expr, dims: list[str]) -> str:
        try:
            predicates = parse_predicates(text)
        except ExprError as e:
            raise self.fail("E107", str(e), node) from None
        for name in sorted(set().union(*(p.left.symbols | p.right.symbols for p in predicates))):
            if name not in dims:
                raise self.fail("E107", f"{name} in {text!r} is no dimension of {self.node.name}{did_you_mean(name, dims)}", node)
        return " and ".join(map(str, predicates))
