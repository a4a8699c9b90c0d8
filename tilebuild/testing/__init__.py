"""What tests of kernels use: second opinions that share no code with what they judge.

`ptx` runs PTX on NumPy arrays. This folder uses NumPy and `tilebuild.diagnostics`, nothing else of tilebuild; importing
it is the choice of a test, and nothing outside of it imports it.
"""
