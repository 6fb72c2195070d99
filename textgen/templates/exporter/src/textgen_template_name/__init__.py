"""An exporter: weights and vocabulary as JSON. Nothing heavy is imported before it is used."""

from textgen import Register, hookimpl


@hookimpl
def textgen_register_exporters(register: Register) -> None:
    register(
        "template-name",
        "textgen_template_name.exporter:TemplateNameExporter",
        "Weights and vocabulary as JSON.",
    )
