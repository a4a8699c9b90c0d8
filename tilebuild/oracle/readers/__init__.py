"""Readers of artifacts: text that an assembler takes or gives, made ready to be judged.

They use the plan's data only, and nothing of the compilers whose output they read; text that is not of their format
raises the format's `SyntaxProblem`, with the line. `pto.read(text, name)` gives one plan a function.
"""
