"""L2, the plan: what is physical on one target, as plain frozen data, its JSON, and the memory planner.

Uses nothing of tilebuild but `tilebuild.diagnostics`; everything else may use it.
"""
