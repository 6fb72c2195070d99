"""An exporter: weights and vocabulary as JSON. Heavy imports wait until it is used."""

from textgen import Register, hookimpl


@hookimpl
def textgen_register_exporters(register: Register) -> None:
    register(
        "template-name",
        "textgen_template_name.exporter:TemplateNameExporter",
        "Weights and vocabulary as JSON.",
    )
