"""The engine ``ray``: the nodes of a Ray cluster."""

from textgen import Register, hookimpl


@hookimpl
def textgen_register_engines(register: Register) -> None:
    register("ray", "textgen_ray.engine:RayEngine", "Writes with the nodes of a Ray cluster, or with a Ray of its own.")
