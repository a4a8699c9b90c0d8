"""The checks, one module each: `NAME`, and `run(context)` that adds to `context.findings` what is not proved.

They use the prepared plan (`tilebuild.oracle.program`) and what follows from it, and nothing of one another.
"""
