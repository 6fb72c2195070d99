"""The runtime ``numpy``: runs a trained stack with NumPy alone; the reference that exports are compared with."""

from __future__ import annotations

from textgen import Register, hookimpl


@hookimpl
def textgen_register_runtimes(register: Register) -> None:
    register("numpy", "textgen_numpy.runtime:NumpyRuntime", "Pure NumPy on the CPU; needs no other library.")
