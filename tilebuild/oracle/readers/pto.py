"""PTO-MLIR text to plans that the oracle can judge, one plan a function.

Addresses, boxes, valid regions, loops and the grid are taken from the text; what the text does not say plainly becomes
unknown: an allocation without a constant address, an operation that is not in the reader's table, a number that
cannot be followed. Nothing is taken from the compiler that wrote the file.
"""

from __future__ import annotations

from tilebuild.diagnostics import Span
from tilebuild.oracle.readers.pto_instructions import Recorder
from tilebuild.oracle.readers.pto_text import Module, Operation, SyntaxProblem, parse
from tilebuild.oracle.readers.pto_types import (
    IGNORED,
    MACHINES,
    SECTIONS,
    TypeProblem,
    pointer_dtype,
    tile_type,
    view_dtype,
)
from tilebuild.oracle.readers.pto_uses import Names
from tilebuild.oracle.readers.pto_values import (
    Block,
    Handle,
    Linear,
    Number,
    Part,
    Pointer,
    Product,
    Value,
    View,
    as_expr,
    evaluate,
    symbol,
)
from tilebuild.plan.bounds import Range, nonnegative
from tilebuild.plan.expr import ONE, ZERO, Expr, Predicate, cdiv, const, sym
from tilebuild.plan.model import Contract, Launch, Parameter, Plan, Region, Symbol

_NEGATED = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", "<=": ">", ">": "<="}
_INTEGERS = ("i32", "i64", "index", "i16", "i8")


def read(text: str, name: str) -> tuple[Plan, ...]:
    """The plans of all functions of a file; `name` is what spans call it. Raises `SyntaxProblem`, with the line."""
    module = parse(text)
    functions = [f for f in module.functions if f.regions]
    if not functions:
        raise SyntaxProblem("the file holds no function", 1)
    return tuple(_Function(module, f, name).plan() for f in functions)


class _Function(Recorder):
    def __init__(self, module: Module, op: Operation, file: str) -> None:
        super().__init__(file)
        self.module, self.op, self.file = module, op, file
        arch = module.attributes.get("pto.target_arch", '"a3"').strip('"')
        if arch not in MACHINES:
            raise SyntaxProblem(f"the architecture {arch} is not one of {', '.join(MACHINES)}", op.line)
        self.arch, self.spaces = MACHINES[arch]
        self.unique = Names()
        self.symbols: list[Symbol] = []
        self.programs: list[Symbol] = []
        self.grid: tuple[Expr, ...] = ()
        self.grid_of: tuple[Expr, Expr] | None = None  # the bound and the factor of the loop over the cores
        self.parameters: dict[str, Parameter] = {}
        self.view_names: dict[object, str] = {}
        self.regions = [Region(0, 0, "program")]
        self.hoisted: set[int] = set()  # branches that are one product, of which the first starts from zero

    def plan(self) -> Plan:
        self.arguments()
        self.block(self.op.regions[0])
        name = next((t.text[1:] for t in self.op.tokens if t.kind == "symbol"), "kernel")
        instructions = tuple(self.assembler.instr(i, raw) for i, raw in enumerate(self.raw))
        parameters = tuple(
            p if p.mode == "scalar" else Parameter(p.name, self.mode(p.name), p.dtype, p.dims)
            for p in self.parameters.values()
        )
        return Plan(
            target="pto",
            arch=self.arch,
            kernel=name,
            variant=name,
            source=self.file,
            contract=Contract(parameters),
            symbols=(*self.symbols, *self.programs),
            spaces=self.spaces,
            buffers=tuple(self.assembler.buffers.values()),
            regions=tuple(self.regions),
            instructions=instructions,
            launch=Launch(self.grid),
        )

    def mode(self, parameter: str) -> str:
        touched = self.touched.get(parameter, set())
        return "inout" if len(touched) > 1 else next(iter(touched), "in")

    # -- names ----------------------------------------------------------------------------------

    def new_symbol(self, wanted: str, kind: str, lo: Expr | None = None, hi: Expr | None = None) -> Expr:
        name = self.unique(str(symbol(wanted)))
        (self.programs if kind == "program" else self.symbols).append(Symbol(name, kind, lo, hi))
        return sym(name)

    def arguments(self) -> None:
        tokens, extents = self.op.tokens, _extents(self.op)
        for i, token in enumerate(tokens[:-2]):
            if token.kind != "value" or tokens[i + 1].text != ":":
                continue
            kind = self.module.resolve(tokens[i + 2].text)
            try:
                dtype = pointer_dtype(kind)
            except TypeProblem as error:
                raise SyntaxProblem(str(error), token.line) from None
            bare = token.text.lstrip("%")
            if dtype is not None:
                self.env[token.text] = Pointer(bare.removeprefix("ptr."), dtype, ZERO)
            elif kind in _INTEGERS and token.text in extents:
                self.env[token.text] = self.new_symbol(token.text, "dim", ONE)
            elif kind in _INTEGERS:
                self.env[token.text] = self.new_symbol(token.text, "scalar")
            elif kind in ("f32", "f16", "bf16"):
                name = self.unique(bare.removeprefix("scalar."))
                self.parameters[name] = Parameter(name, "scalar", kind)
                self.env[token.text] = Number("param", "name", name, kind)

    def number(self, name: str) -> Expr:
        """A value as an index expression; one that cannot be followed is a symbol of which nothing is known."""
        found = as_expr(self.env.get(name))
        if found is None:
            found = self.new_symbol(f"{name}_unknown", "scalar")
            self.env[name] = found
        return found

    # -- structure ------------------------------------------------------------------------------

    def block(self, ops: tuple[Operation, ...]) -> None:
        for op in ops:
            if op.name in SECTIONS:
                self.block(op.regions[0] if op.regions else ())
            elif op.name == "scf.for":
                self.loop(op)
            elif op.name == "scf.if":
                self.branch(op)
            elif op.name not in IGNORED:
                try:
                    self.operation(op)
                except TypeProblem as error:
                    raise SyntaxProblem(str(error), op.line) from None

    def open(self, kind: str, op: Operation, **fields: object) -> int:
        outside = self.here
        number = len(self.regions)
        self.regions.append(Region(number, outside, kind, span=Span(self.file, op.line), **fields))  # type: ignore[arg-type]
        self.here = number
        return outside

    def loop(self, op: Operation) -> None:
        if len(op.values) < 4 or not op.regions:
            raise SyntaxProblem("this scf.for has no bounds and step", op.line)
        var, lower_name, upper_name, step_name = op.values[:4]
        carried = op.group("iter_args")[0]
        if any(isinstance(self.env.get(v), Handle) for v in carried):
            self.unknown("scf.for that carries tiles", op)
        for v in (*carried, *op.results):
            self.env.pop(v, None)
        lower, step, upper = self.env.get(lower_name), self.env.get(step_name), self.number(upper_name)
        if isinstance(lower, Block) and isinstance(step, Block) and self.is_grid(lower, step, upper):
            self.enter_grid(var, self.env.get(upper_name), upper, lower.factor)
            self.block(op.regions[0])
            return
        start, stride = self.number(lower_name), self.number(step_name)
        size = stride.value if stride.is_const and stride.value > 0 else 1  # any other step visits fewer of the same
        self.start_products(op, start, upper)
        name = self.unique(str(symbol(var)))
        # the loop counts its iterations, so that what its variable is a multiple of is known
        first, last = (start, upper) if size == 1 else (ZERO, cdiv(upper - start, size))
        self.symbols.append(Symbol(name, "loop", first, last - 1))
        self.env[var] = sym(name) if size == 1 else start + sym(name) * size
        outside = self.open("loop", op, var=name, lower=first, upper=last)
        self.block(op.regions[0])
        self.here = outside

    def is_grid(self, lower: Block, step: Block, upper: Expr) -> bool:
        """True for a loop over the cores: from a core's own number, in steps of their count."""
        if (lower.what, step.what) != ("idx", "num") or lower.factor != step.factor or self.here != 0:
            return False
        return self.grid_of is None or self.grid_of == (upper, lower.factor)

    def enter_grid(self, var: str, bound: Value, upper: Expr, factor: Expr) -> None:
        if self.grid_of is None:
            self.grid_of = (upper, factor)
            whole = factor == ONE and isinstance(bound, Product)
            self.grid = bound.factors if whole and isinstance(bound, Product) else (cdiv(upper, factor),)
            for axis, extent in enumerate(self.grid):
                self.new_symbol(f"{var}{axis}" if len(self.grid) > 1 else var, "program", ZERO, extent - 1)
        ids = tuple(sym(p.name) for p in self.programs)
        self.env[var] = Linear(ids, self.grid) if len(ids) > 1 else factor * ids[0]

    def start_products(self, op: Operation, lower: Expr, upper: Expr) -> None:
        """Where a loop's first iteration starts an accumulator and the others add to it, it is zero before the loop."""
        equal = {
            o.results[0]
            for o in op.regions[0]
            if o.name == "arith.cmpi"
            and any(t.text == "eq" for t in o.tokens)
            and op.values[0] in o.values
            and all(v == op.values[0] or as_expr(self.env.get(v)) == lower for v in o.values)
        }
        for branch in op.regions[0]:
            if branch.name != "scf.if" or len(branch.regions) != 2 or not set(branch.values) & equal:
                continue
            arms = [[o for o in arm if o.name not in IGNORED] for arm in branch.regions]
            if [[o.name for o in arm] for arm in arms] != [["pto.tmatmul"], ["pto.tmatmul.acc"]]:
                continue
            first, more = arms[0][0], arms[1][0]
            target = first.group("outs")[0]
            acc = self.env.get(target[0]) if target else None
            alike = (*target, *first.group("ins")[0]) == more.group("ins")[0] and target == more.group("outs")[0]
            if not isinstance(acc, Handle) or not alike:
                continue
            outside = self.here
            ranges = {s.name: Range(s.lo, s.hi) for s in (*self.symbols, *self.programs)}
            if not nonnegative(upper - lower - 1, ranges):
                self.open("branch", op, when=(Predicate("<", lower, upper),))
            self.zero(acc, first)
            self.here = outside
            self.hoisted.add(id(branch))

    def branch(self, op: Operation) -> None:
        if id(op) in self.hoisted:
            self.operation(next(o for o in op.regions[1] if o.name == "pto.tmatmul.acc"))
            return
        condition = self.env.get(op.values[0]) if op.values else None
        if not isinstance(condition, Predicate):
            condition = Predicate("==", self.new_symbol("condition", "scalar"), ONE)
        for v in op.results:
            self.env.pop(v, None)
        opposite = Predicate(_NEGATED[condition.op], condition.left, condition.right)
        for when, arm in zip((condition, opposite), op.regions):
            outside = self.open("branch", op, when=(when,))
            self.block(arm)
            self.here = outside

    # -- operations -----------------------------------------------------------------------------

    def operation(self, op: Operation) -> None:
        if op.name == "pto.alloc_tile":
            self.alloc(op)
        elif op.name in ("pto.get_block_idx", "pto.get_block_num"):
            self.env[op.results[0]] = Block(op.name.rsplit("_", 1)[1], ONE)
        elif op.name == "pto.make_tensor_view":
            self.view(op)
        elif op.name == "pto.partition_view":
            self.part(op)
        elif op.name == "pto.addptr" and len(op.values) == 2:
            pointer = self.env.get(op.values[0])
            if isinstance(pointer, Pointer):
                offset = pointer.offset + self.number(op.values[1])
                self.env[op.results[0]] = Pointer(pointer.argument, pointer.dtype, offset)
        elif op.name == "pto.set_validshape" and len(op.values) == 3:
            self.revalidate(op)
        elif op.name.startswith("arith."):
            for result in op.results:
                self.env[result] = evaluate(op, [self.env.get(v) for v in op.values])
        else:
            self.instruction(op)

    def alloc(self, op: Operation) -> None:
        kind = tile_type(self.module.resolve(op.type))
        address = as_expr(self.env.get(op.named("addr"))) if op.named("addr") else None
        extents = (kind.rows, kind.cols)
        given = [self.number(op.named(n)) if op.named(n) else None for n in ("valid_row", "valid_col")]
        valid = []
        for fixed, value, extent in zip(kind.valid, given, extents):
            valid.append(const(fixed) if fixed is not None else value if value is not None else const(extent))
        place = address.value if address is not None and address.is_const else None
        name = op.results[0]
        self.env[name] = Handle(name, kind, place, (valid[0], valid[1]), op.line, self.tiles.tick())
        if place is None:
            self.unknown("pto.alloc_tile without a constant address", op)

    def revalidate(self, op: Operation) -> None:
        handle = self.env.get(op.values[0])
        if isinstance(handle, Handle):
            valid = (self.number(op.values[1]), self.number(op.values[2]))
            again = Handle(handle.name, handle.type, handle.address, valid, op.line, self.tiles.tick())
            again.root = self.tiles.touch(handle) if handle.root is not None else None
            self.env[op.values[0]] = again

    def view(self, op: Operation) -> None:
        pointer = self.env.get(op.values[0]) if op.values else None
        rank, dtype = view_dtype(self.module.resolve(op.type))
        extents = tuple(self.number(v) for v in op.listed("shape"))
        if not isinstance(pointer, Pointer) or len(extents) != rank:
            return
        strides = tuple(op.listed("strides"))
        key = (pointer, dtype, extents, tuple(self.number(s) for s in strides))
        if key not in self.view_names:
            name = self.unique(pointer.argument)
            self.view_names[key] = name
            self.symbols += [Symbol(f"{name}__s{axis}", "stride", ZERO) for axis in range(rank - 1)]
            # extents that depend on where the program is: nothing is declared for all of them
            outer = all(e.symbols <= {s.name for s in self.symbols if s.kind == "dim"} for e in extents)
            fixed = extents if outer else tuple(self.new_symbol(f"{name}_extent", "dim", ONE) for _ in extents)
            self.parameters[name] = Parameter(name, "in", dtype, fixed)
        self.env[op.results[0]] = View(self.view_names[key], dtype, extents)

    def part(self, op: Operation) -> None:
        view = self.env.get(op.values[0]) if op.values else None
        offsets, sizes = (tuple(self.number(v) for v in op.listed(word)) for word in ("offsets", "sizes"))
        if isinstance(view, View) and len(offsets) == len(sizes) == len(view.extents):
            self.env[op.results[0]] = Part(view, offsets, sizes)


def _extents(function: Operation) -> set[str]:
    """The values that extents and strides of arrays are made of: of these the arguments are dimensions."""
    made: dict[str, Operation] = {}
    pending: list[str] = []

    def visit(ops: tuple[Operation, ...]) -> None:
        for op in ops:
            made.update(dict.fromkeys(op.results, op))
            if op.name == "pto.make_tensor_view":
                pending.extend((*op.listed("shape"), *op.listed("strides")))
            for region in op.regions:
                visit(region)

    for region in function.regions:
        visit(region)
    found: set[str] = set()
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            if name in made and made[name].name.startswith("arith."):
                pending.extend(made[name].values)
    return found
