"""What tests of kernels use: second opinions that share no code with what they judge.

`ptx` runs PTX on NumPy arrays, `plan_simulator` runs plans on bytes. This folder uses NumPy, `tilebuild.diagnostics`
and the plan's data, nothing else of tilebuild. Importing it is the choice of a test or of
`tilebuild check --self-test`.
"""
