"""From source text to L1: finds kernels with `ast` (never importing the package) and lowers their bodies.

Uses `ir`, `plan`'s expressions, the operation table and diagnostics.
"""
