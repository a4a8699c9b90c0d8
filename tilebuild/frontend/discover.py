"""Finding kernels: parse the package's files and read what they declare. Nothing is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence, Set
from pathlib import Path

from tilebuild.diagnostics import Diagnostic, Span, TilebuildError, did_you_mean
from tilebuild.frontend.modules import files, find_modules, find_texts, module_name
from tilebuild.frontend.scope import Function, Scope, Sources, function_kind
from tilebuild.frontend.signature import KernelDef, ParameterDef, SignatureReader, VariantDef

__all__ = ["KernelDef", "ParameterDef", "VariantDef", "discover", "find_modules"]

_MLIR_WORDS = (b"tile.func", b"hacc.entry", b"@__tile_", b"@ascend_tile_")


def _package_folder(file: Path) -> Path | None:
    """The folder of the outermost package that a file is part of."""
    folder = file.parent
    if not (folder / "__init__.py").is_file():
        return None
    while (folder.parent / "__init__.py").is_file():
        folder = folder.parent
    return folder


def discover(project: Path, kernels: Sequence[str] = ()) -> list[KernelDef]:
    """All kernels, those of Python files first, in file order; raises `TilebuildError` with every malformed one."""
    configured = find_modules(project, kernels)
    # helpers may live beside the configured files: every module of their packages can be named in an import
    packages = {folder for file in configured.values() if (folder := _package_folder(file)) is not None}
    modules = {module_name(file): file for folder in sorted(packages) for file in files(folder, ".py")}
    sources = Sources(project, modules | configured)
    found: list[KernelDef] = []
    names: set[tuple[str, str]] = set()
    problems: list[Diagnostic] = []
    broken: set[str] = set()
    for module, path in configured.items():
        try:
            if b"tilebuild" not in path.read_bytes():
                continue
            scope = sources.scope(module)
        except OSError as e:
            problems.append(Diagnostic("E100", f"cannot be read: {e.strerror or e}", Span(sources.relative(path), 1)))
            continue
        except TilebuildError as e:
            problems += e.diagnostics
            continue
        problems += _misplaced(sources, scope)
        for node in _kernel_nodes(scope):
            names.add((module, node.name))
            try:
                found.append(SignatureReader(scope, node).read())
            except TilebuildError as e:
                problems += e.diagnostics
            except RecursionError:
                problems.append(Diagnostic("E119", f"{node.name} is nested too deeply", scope.span(node)))
    for module, path in find_texts(project, kernels).items():
        try:
            written = _texts(module, sources.relative(path), path)
        except TilebuildError as e:
            problems += e.diagnostics
            broken.add(module)
            continue
        problems += _defined_twice(written, found)
        names.update((k.module, k.name) for k in written)
        found += written
    problems += _check_otherwise(found, names, broken)
    if problems:
        raise TilebuildError(dict.fromkeys(problems), project)
    return found


def _texts(module: str, file: str, path: Path) -> list[KernelDef]:
    """The kernels of a `.mlir` file; none where it has nothing to do with tiles."""
    try:
        data = path.read_bytes()
        if not any(word in data for word in _MLIR_WORDS):
            return []
        from tilebuild.frontend import mlir  # needs the IR library

        return list(mlir.read(module, file, path))
    except OSError as e:
        raise TilebuildError(Diagnostic("E100", f"cannot be read: {e.strerror or e}", Span(file, 1))) from None


def _defined_twice(kernels: Sequence[KernelDef], others: Sequence[KernelDef]) -> Iterator[Diagnostic]:
    """Kernels of a `.mlir` file that the Python file of the same name has too."""
    by_name = {(k.module, k.name): k for k in others}
    for kernel in kernels:
        other = by_name.get((kernel.module, kernel.name))
        if other is not None:
            notes = ((other.span, "the other one"),)
            message = f"{kernel.name} is a kernel of {other.file} too: both are {kernel.module}.{kernel.name}"
            yield Diagnostic("E104", message, kernel.span, notes, "give each kernel a name of its own")


def _kernel_nodes(scope: Scope) -> Iterator[ast.FunctionDef]:
    for node in scope.tree.body:
        if isinstance(node, ast.FunctionDef) and function_kind(scope, node) == "kernel":
            yield node


def _misplaced(sources: Sources, scope: Scope) -> Iterator[Diagnostic]:
    """Kernels that a build would miss, or build in place of what the module's name means when it is imported."""
    for node in _kernel_nodes(scope):
        bound = scope.names.get(node.name)
        if not (isinstance(bound, Function) and bound.node is node):
            other = bound.node if isinstance(bound, Function) and bound.scope is scope else None
            notes = ((scope.span(other), "the name means this one"),) if other else ()
            yield Diagnostic(
                "E104", f"{node.name} is defined again later in the file: this kernel could not be called",
                scope.span(node), notes, "give each kernel a name of its own",
            )  # fmt: skip
    anywhere = Scope(scope.module, scope.file, scope.path, scope.tree, dict(scope.names))
    for inner in ast.walk(scope.tree):
        if isinstance(inner, (ast.Import, ast.ImportFrom)):
            anywhere.names.update(sources.tilebuild_imports(scope, inner))
    top = set(map(id, scope.tree.body))
    for inner in ast.walk(scope.tree):
        if isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef)) and function_kind(anywhere, inner) == "kernel":
            if id(inner) not in top:
                problem = f"the kernel {inner.name} is not at module level: it stands in a function, class or branch"
                yield Diagnostic("E104", problem, scope.span(inner), fix="move it to the left margin of the file")
            elif isinstance(inner, ast.AsyncFunctionDef):
                yield Diagnostic("E104", f"the kernel {inner.name} is async", scope.span(inner), fix="write `def`")


def _check_otherwise(
    kernels: Sequence[KernelDef], names: Set[tuple[str, str]], broken: Set[str]
) -> Iterator[Diagnostic]:
    """`names` has the kernels that could not be read as well, `broken` modules that could not: what is wrong with
    those is said already."""
    by_name = {(k.module, k.name): k for k in kernels}

    def following(kernel: KernelDef) -> KernelDef | None:
        return by_name.get((kernel.module, kernel.otherwise)) if kernel.otherwise else None

    for kernel in kernels:
        other = following(kernel)
        if kernel.otherwise and (kernel.module, kernel.otherwise) not in names and kernel.module not in broken:
            known = [n for m, n in by_name if m == kernel.module]
            message = f"otherwise={kernel.otherwise!r} names no kernel of {kernel.file}"
            yield Diagnostic("E106", f"{message}{did_you_mean(kernel.otherwise, known)}", kernel.span)
        elif other is not None and _signature(other) != _signature(kernel):
            message = f"{kernel.name} and its otherwise={kernel.otherwise!r} do not have the same parameters"
            fix = "give both the same arrays, scalars and tb.Static values, in the same order"
            yield Diagnostic("E106", message, kernel.span, ((other.span, "the other signature"),), fix)
        seen = [kernel]
        while other is not None and other not in seen:
            seen.append(other)
            other = following(other)
        if other is kernel and kernel is min(seen, key=lambda k: k.span.line):  # a circle is told once
            circle = " -> ".join(k.name for k in [*seen, kernel])
            yield Diagnostic("E106", f"otherwise= leads in a circle: {circle}", kernel.span)


def _signature(kernel: KernelDef) -> tuple[object, ...]:
    return *((p.name, p.mode, p.dtype, p.dims) for p in kernel.parameters), kernel.statics
