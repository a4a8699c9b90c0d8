"""Kernels of tile intrinsics as text, as their code generators print them."""

from __future__ import annotations

from collections.abc import Sequence


class Text:
    """One `llvm.func`: constants and calls get their numbers as they come."""

    def __init__(self, name: str, arrays: int, scalars: Sequence[str] = (), prefix: str = "__tile_") -> None:
        self.name, self.prefix = name, prefix
        types = ["!llvm.ptr<1>"] * arrays + list(scalars)
        self.header = ", ".join(f"%arg{i}: {t}" for i, t in enumerate(types))
        self.lines: list[str] = []
        self.constants: dict[int | float, str] = {}
        self.count = 0

    def fresh(self) -> str:
        self.count += 1
        return f"%{self.count}"

    def number(self, value: int | float) -> str:
        if value not in self.constants or type(value) is float:
            name = self.fresh()
            kind = "i32" if isinstance(value, int) else "f32"
            text = str(value) if isinstance(value, int) else f"{value:e}"
            self.lines.append(f"{name} = llvm.mlir.constant({text} : {kind}) : {kind}")
            self.constants[value] = name
        return self.constants[value]

    def operands(self, values: Sequence[str | int | float]) -> tuple[str, str]:
        names = [v if isinstance(v, str) else self.number(v) for v in values]
        types = [
            "!llvm.ptr<1>" if n.startswith("%arg") and n in self.pointers else "f32" if type(v) is float else "i32"
            for n, v in zip(names, values)
        ]
        return ", ".join(names), ", ".join(types)

    @property
    def pointers(self) -> list[str]:
        return [p.split(":")[0] for p in self.header.split(", ") if "ptr" in p]

    def call(self, intrinsic: str, *values: str | int | float) -> str:
        names, types = self.operands(values)
        result = self.fresh()
        self.lines.append(f"{result} = llvm.call @{self.prefix}{intrinsic}({names}) : ({types}) -> i32")
        return result

    def load(self, array: str, rows: int, cols: int, dtype: str = "f32") -> str:
        return self.call(f"load_{dtype}", array, rows, cols)

    def store(self, array: str, tile: str, rows: int, cols: int, dtype: str = "f32") -> None:
        names, types = self.operands((array, tile, rows, cols))
        self.lines.append(f"llvm.call @{self.prefix}store_{dtype}({names}) : ({types}) -> ()")

    def __str__(self) -> str:
        body = "".join(f"    {line}\n" for line in [*self.lines, "llvm.return"])
        return f"  llvm.func @{self.name}({self.header}) attributes {{hacc.entry}} {{\n{body}  }}\n"


def module(*functions: Text) -> str:
    return "module {\n" + "".join(map(str, functions)) + "}\n"
