"""L1, values: the tile dialect in xDSL, its type rules and its verifier.

Uses `plan`'s expressions, the operation table and diagnostics. Importing it imports xDSL (0.4 s), so only what
has to compile something does.
"""
