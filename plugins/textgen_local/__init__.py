"""The engine ``local``: the processes of this machine."""

from textgen import Register, hookimpl


@hookimpl
def textgen_register_engines(register: Register) -> None:
    register("local", "textgen_local.engine:LocalEngine", "Writes with the cores of this machine, a process each.")
