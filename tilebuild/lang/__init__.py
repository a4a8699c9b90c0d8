"""What a kernel author imports (through `tilebuild` itself), and the reference path that executes kernels on NumPy.

Uses `tilebuild.diagnostics` and the runtime; `reference` also the operation table and `tilebuild.plan.expr`. All of
it is imported on first use: outside `reference`, nothing here imports anything.
"""
