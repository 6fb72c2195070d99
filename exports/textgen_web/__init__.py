"""The web: the exporter ``web``, which writes a model together with an engine in JavaScript."""

from textgen import Register, hookimpl


@hookimpl
def textgen_register_exporters(register: Register) -> None:
    register("web", "textgen_web.exporter:WebExporter", "A JavaScript module with its model, for browsers and Node.")
