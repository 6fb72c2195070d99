"""A model: bigrams, counted. Nothing heavy is imported before it is used."""

from textgen import Register, hookimpl


@hookimpl
def textgen_register_models(register: Register) -> None:
    register("template-name", "textgen_template_name.model:TemplateNameModel", "Counts bigrams.")


@hookimpl
def textgen_register_runtimes(register: Register) -> None:
    register(
        "template-name",
        "textgen.generation.runtime:ModelRuntime",
        "Runs the model template-name by its own forward pass.",
    )
