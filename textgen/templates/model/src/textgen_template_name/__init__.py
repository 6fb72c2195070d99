"""A model: bigrams, counted. Heavy imports wait until it is used."""

from textgen import Register, hookimpl


@hookimpl
def textgen_register_models(register: Register) -> None:
    register("template-name", "textgen_template_name.model:TemplateNameModel", "Counts bigrams.")


@hookimpl
def textgen_register_runtimes(register: Register) -> None:
    register(
        "template-name",
        "textgen:ModelRuntime",
        "Runs the model template-name by its own forward pass.",
    )
