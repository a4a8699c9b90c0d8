"""What the gpu target's tools are for, as the toolchain files call it."""

COMPILER, ASSEMBLER, LINKER = "cuda-compiler", "ptx-assembler", "fatbin-linker"
