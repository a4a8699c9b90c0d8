"""The wheel: hands the package to the inner backend and puts the built kernels into what it makes; reads kernels back.

Uses `tilebuild.build` and below; only the command line and `tilebuild.backend` use it.
"""
