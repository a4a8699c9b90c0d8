"""One kernel's declaration: what its decorator and signature say."""

from __future__ import annotations

import ast
import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tilebuild.diagnostics import Diagnostic, Span, TilebuildError, did_you_mean
from tilebuild.frontend.scope import Constant, Dimension, Foreign, Scope, name_problem, resolve_member, source_text
from tilebuild.plan.expr import LARGEST, Expr, ExprError, build_bounded, const, parse_predicates, sym
from tilebuild.plan.model import DTYPE_BYTES


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
    """One set of tuning constants and static values; `when` is a guard's text (static dimensions included) or empty,
    `target` a target's or empty for all."""

    consts: tuple[tuple[str, int], ...]
    when: str
    target: str
    span: Span
    statics: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class KernelDef:
    """A kernel as its source declares it, in Python or in MLIR."""

    module: str
    name: str
    file: str
    span: Span
    parameters: tuple[ParameterDef, ...]
    dims: tuple[str, ...]
    variants: tuple[VariantDef, ...]
    otherwise: str
    statics: tuple[tuple[str, tuple[int, ...]], ...]  # `tb.Static` parameters: what each is built for
    digest: str  # sha256 of the text of every file the kernel's meaning depends on

    @property
    def sources(self) -> tuple[str, ...]:
        """The files that `digest` is over, relative to the project, sorted."""
        return (self.file,)


@dataclass(frozen=True)
class PythonKernel(KernelDef):
    """A decorated function, and the file that it stands in."""

    node: ast.FunctionDef
    scope: Scope

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(sorted({self.scope.file, *self.scope.uses}))


class SignatureReader:
    """Reads one kernel's decorator and signature."""

    def __init__(self, scope: Scope, node: ast.FunctionDef) -> None:
        self.scope, self.node = scope, node

    def fail(self, code: str, message: str, node: ast.AST, fix: str = "") -> TilebuildError:
        return TilebuildError(Diagnostic(code, message, self.scope.span(node), fix=fix))

    def read(self) -> PythonKernel:
        node = self.node
        problem = name_problem(node.name)
        if problem and "__" not in node.name:
            raise self.fail("E104", problem, node, "rename the kernel")
        if len(node.decorator_list) != 1:
            others = [d for d in node.decorator_list if resolve_member(self.scope, _callee(d)) != "kernel"]
            raise self.fail(
                "E104",
                f"{node.name} has further decorators",
                [*node.decorator_list, *others][-1],
                "keep only @tb.kernel",
            )
        arguments = node.args
        for extra in (arguments.vararg, arguments.kwarg, *arguments.posonlyargs[:1]):
            if extra is not None:
                raise self.fail("E104", "a kernel has ordinary parameters and keyword-only constants", extra)
        if arguments.defaults:
            raise self.fail("E104", "an array or scalar parameter has no default", arguments.defaults[0])
        dims: dict[str, None] = {}
        parameters = tuple(self.parameter(a, dims) for a in arguments.args)
        if not any(p.mode in ("out", "inout") for p in parameters):
            fix = "declare one parameter as tb.Out[...] or tb.InOut[...]"
            raise self.fail("E104", f"{node.name} has no output", node, fix)
        require_values(parameters, dims)
        keywords = list(zip(arguments.kwonlyargs, arguments.kw_defaults))
        statics = {a.arg: self.static(a, d) for a, d in keywords if self.is_static(a)}
        consts = {a.arg: self.constant(a, d) for a, d in keywords if not self.is_static(a)}
        variants, otherwise = self.variants(consts, list(dims))
        variants = self.expanded(variants, statics, list(dims))
        return PythonKernel(
            self.scope.module, node.name, self.scope.file, self.scope.span(node), parameters, tuple(dims), variants,
            otherwise, tuple(statics.items()), self.digest(), node, self.scope,
        )  # fmt: skip

    def digest(self) -> str:
        h = hashlib.sha256()
        for file, path in sorted({self.scope.file: self.scope.path, **self.scope.uses}.items()):
            h.update(file.encode() + b"\0" + path.read_bytes() + b"\0")
        return h.hexdigest()

    def parameter(self, arg: ast.arg, dims: dict[str, None]) -> ParameterDef:
        annotation = arg.annotation
        if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
            annotation = self.quoted(annotation, annotation.value)
        if annotation is None:
            raise self.fail("E105", f"parameter {arg.arg} has no annotation", arg, f"{arg.arg}: tb.In[tb.f32, M, N]")
        self.require_name(arg)
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

    def quoted(self, node: ast.Constant, text: str) -> ast.expr:
        """An annotation in quotes; all of it stands where the string stands."""
        try:
            body = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise self.fail("E105", f"the annotation {text!r:.60} is not an expression", node) from None
        for inner in ast.walk(body):
            ast.copy_location(inner, node)
        return body

    def require_name(self, arg: ast.arg) -> None:
        problem = name_problem(arg.arg)
        if problem:
            raise self.fail("E105", problem, arg, "rename the parameter")

    def dtype(self, node: ast.expr) -> str:
        name = resolve_member(self.scope, node) or ""
        if name not in DTYPE_BYTES:
            message = f"{source_text(node)} is not a dtype{did_you_mean(name, list(DTYPE_BYTES))}"
            raise self.fail("E105", message, node, f"one of {', '.join(f'tb.{d}' for d in DTYPE_BYTES)}")
        return name

    def extent(self, node: ast.expr, dims: dict[str, None]) -> Expr:
        found = self.size(node, dims)
        if found.is_const and found.value < 1:
            raise self.fail("E102", f"the extent {source_text(node)} is not positive", node)
        return found

    def size(self, node: ast.expr, dims: dict[str, None]) -> Expr:
        binding = self.scope.names.get(node.id) if isinstance(node, ast.Name) else None
        value = (
            binding.value if isinstance(binding, Constant) else node.value if isinstance(node, ast.Constant) else None
        )
        if type(value) is int and 0 <= value <= LARGEST:
            return const(value)
        if isinstance(binding, Dimension):
            dims[binding.name] = None
            return sym(binding.name)
        if isinstance(node, ast.Name):
            what = binding.what if isinstance(binding, Foreign) else "not declared"
            known = [n for n, b in self.scope.names.items() if isinstance(b, Dimension)]
            raise self.fail(
                "E102", f"{node.id} is no dimension ({what}){did_you_mean(node.id, known)}", node,
                f'{node.id} = tb.dims("{node.id}") at module level',
            )  # fmt: skip
        if isinstance(node, ast.BinOp) and type(node.op) in _EXTENT_OPERATORS:
            sides = [self.size(node.left, dims), self.size(node.right, dims)]
            try:
                return build_bounded(_EXTENT_OPERATORS[type(node.op)], sides)
            except ExprError as e:
                raise self.fail("E102", f"{source_text(node)} is not an extent: {e}", node) from None
        fix = "a dimension, a positive integer, or + - * // % of them"
        raise self.fail("E102", f"{source_text(node)} is not an extent", node, fix)

    def is_static(self, arg: ast.arg) -> bool:
        return arg.annotation is not None and resolve_member(self.scope, arg.annotation) == "Static"

    def static(self, arg: ast.arg, default: ast.expr | None) -> tuple[int, ...]:
        """The values that a `tb.Static` parameter is built for."""
        self.require_name(arg)
        entries = default.elts if isinstance(default, (ast.Tuple, ast.List)) else []
        values = [e.value for e in entries if isinstance(e, ast.Constant) and type(e.value) in (int, bool)]
        if not values or len(values) < len(entries) or len(set(values)) < len(values):
            fix = f"{arg.arg}: tb.Static = (True, False)"
            message = f"tb.Static {arg.arg} needs the values to build, different booleans or integers"
            raise self.fail("E105", message, default or arg, fix)
        return tuple(v for v in values if isinstance(v, int))

    def expanded(
        self, variants: Sequence[VariantDef], statics: Mapping[str, tuple[int, ...]], dims: Sequence[str]
    ) -> tuple[VariantDef, ...]:
        """Each variant once for every choice of the static values and dimensions, the choices in the outer order."""
        sizes = {d: s for d, s in self.static_dims().items() if d in dims}
        choices = list(itertools.product(*statics.values(), *sizes.values()))
        if len(choices) * len(variants) > _MOST_BUILDS:
            message = f"{self.node.name} has {len(choices) * len(variants)} builds, of {len(variants)} variant(s) and "
            message += f"{len(choices)} choices of static values: more than {_MOST_BUILDS}"
            raise self.fail("E107", message, self.node, "build for fewer values")
        found = []
        for choice in choices:
            chosen = tuple(zip(statics, choice))
            facts = [f"{d} == {n}" for d, n in zip(sizes, choice[len(statics) :])]
            for v in variants:
                when = " and ".join([*facts, *([v.when] if v.when else [])])
                found.append(replace(v, when=when, statics=chosen))
        return tuple(found)

    def static_dims(self) -> dict[str, tuple[int, ...]]:
        return {b.name: b.static for b in self.scope.names.values() if isinstance(b, Dimension) and b.static}

    def constant(self, arg: ast.arg, default: ast.expr | None) -> int | None:
        self.require_name(arg)
        if arg.annotation is None or resolve_member(self.scope, arg.annotation) != "Const":
            raise self.fail(
                "E105",
                f"keyword-only {arg.arg} is not a tb.Const",
                arg,
                f"{arg.arg}: tb.Const = 4, or tb.Static = (True, False)",
            )
        value = _small_integer(default)
        if default is not None and value is None:
            raise self.fail("E105", f"the default of {arg.arg} is not an integer literal of 64 bits", default)
        return value

    def variants(self, consts: dict[str, int | None], dims: list[str]) -> tuple[tuple[VariantDef, ...], str]:
        decorator = self.node.decorator_list[0]
        fix = '@tb.kernel(variants=[tb.V(...)], otherwise="name")'
        if isinstance(decorator, ast.Call) and decorator.args:
            raise self.fail("E104", "@tb.kernel takes keyword arguments only", decorator.args[0], fix)
        given: list[ast.expr] = []
        otherwise = ""
        for keyword in decorator.keywords if isinstance(decorator, ast.Call) else ():
            value = keyword.value
            if keyword.arg == "variants" and isinstance(value, (ast.List, ast.Tuple)):
                given = list(value.elts)
            elif keyword.arg == "otherwise" and isinstance(value, ast.Constant) and isinstance(value.value, str):
                otherwise = value.value
            else:
                raise self.fail("E104", f"@tb.kernel does not take {source_text(keyword)}", keyword, fix)
        read = [self.variant(v, consts, dims) for v in given] or [self.plain_variant(consts)]
        if read[-1].when and not otherwise:
            guard = f"guarded by {read[-1].when!r}"
            raise self.fail(
                "E107", f"the last variant of {self.node.name} is {guard}: some shapes have no kernel",
                given[-1], 'leave the last one without `when`, or name a kernel: otherwise="..."',
            )  # fmt: skip
        return tuple(read), otherwise

    def plain_variant(self, consts: dict[str, int | None]) -> VariantDef:
        missing = [a for a in self.node.args.kwonlyargs if a.arg in consts and consts[a.arg] is None]
        if missing:
            name = missing[0].arg
            fix = f"{name}: tb.Const = 4, or variants=[tb.V({name}=4)]"
            raise self.fail("E107", f"{name} of {self.node.name} has no value", missing[0], fix)
        values = tuple(sorted((n, v) for n, v in consts.items() if v is not None))
        return VariantDef(values, "", "", self.scope.span(self.node))

    def variant(self, node: ast.expr, consts: dict[str, int | None], dims: list[str]) -> VariantDef:
        if not (isinstance(node, ast.Call) and resolve_member(self.scope, node.func) == "V" and not node.args):
            raise self.fail("E107", "a variant is tb.V(NAME=value, ..., when=..., target=...)", node)
        values = {n: v for n, v in consts.items() if v is not None}
        when = target = ""
        for keyword in node.keywords:
            value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
            number = _small_integer(keyword.value)
            if keyword.arg == "when" and isinstance(value, str):
                when = self.guard(value, keyword.value, dims)
            elif keyword.arg == "target" and isinstance(value, str):
                target = value
            elif keyword.arg in consts and number is not None:
                values[str(keyword.arg)] = number
            else:
                known = did_you_mean(keyword.arg or "", [*consts, "when", "target"])
                message = f"tb.V does not take {source_text(keyword)}{known}"
                fix = "a variant gives integer literals to tb.Const parameters, and text to when= and target="
                raise self.fail("E107", message, keyword, fix)
        missing = [n for n in consts if n not in values]
        if missing:
            raise self.fail("E107", f"the variant gives no {', '.join(missing)}", node, f"tb.V({missing[0]}=4)")
        return VariantDef(tuple(sorted(values.items())), when, target, self.scope.span(node))

    def guard(self, text: str, node: ast.expr, dims: list[str]) -> str:
        try:
            predicates = parse_predicates(text)
        except ExprError as e:
            raise self.fail("E107", str(e), node, 'when="N <= 1024 and N % 8 == 0"') from None
        for name in sorted(set().union(*(p.left.symbols | p.right.symbols for p in predicates))):
            if name not in dims:
                message = f"{name} in {text!r} is no dimension of {self.node.name}{did_you_mean(name, dims)}"
                raise self.fail("E107", message, node)
        return " and ".join(map(str, predicates))


_MOST_BUILDS = 64  # of one kernel for one target: each is compiled


def require_values(parameters: Sequence[ParameterDef], dims: Mapping[str, None]) -> None:
    """A dimension's value is the extent of an array that has it alone."""
    for name in dims:
        if not any(sym(name) in p.dims for p in parameters):
            p = next(p for p in parameters if any(name in e.symbols for e in p.dims))
            extents = ", ".join(str(e) for e in p.dims if name in e.symbols)
            message = f"no array has the extent {name}: its value cannot be found from {extents}"
            fix = f"give another array the extent {name}, or name {extents} as a dimension of its own"
            raise TilebuildError(Diagnostic("E102", message, p.span, fix=fix))


_EXTENT_OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.FloorDiv: "//", ast.Mod: "%"}


def _callee(decorator: ast.expr) -> ast.expr:
    return decorator.func if isinstance(decorator, ast.Call) else decorator


def _small_integer(node: ast.expr | None) -> int | None:
    value = node.value if isinstance(node, ast.Constant) else None
    return value if type(value) is int and value <= LARGEST else None
