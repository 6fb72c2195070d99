"""A runtime: a model's own forward pass, some rows at a time. Nothing heavy is imported before it is used."""

from textgen import Register, hookimpl


@hookimpl
def textgen_register_runtimes(register: Register) -> None:
    register(
        "template-name",
        "textgen_template_name.runtime:TemplateNameRuntime",
        "Runs a model some rows at a time.",
    )
