"""A runtime: a model's own forward pass, a few rows at a time. Heavy imports wait until it is used."""

from textgen import Register, hookimpl


@hookimpl
def textgen_register_runtimes(register: Register) -> None:
    register(
        "template-name",
        "textgen_template_name.runtime:TemplateNameRuntime",
        "Runs a model a few rows at a time.",
    )
