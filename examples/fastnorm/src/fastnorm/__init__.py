"""Normalisation, activation and matmul kernels built ahead of time with tilebuild."""
