"""Layers and losses for training on a CPU, as machine code of NumPy and Numba alone: see docs/kernels.md."""
