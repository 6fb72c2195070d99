"""A sampler: epsilon sampling. Nothing heavy is imported before it is used."""

from textgen import Register, hookimpl


@hookimpl
def textgen_register_samplers(register: Register) -> None:
    register(
        "template-name",
        "textgen_template_name.sampler:TemplateNameSampler",
        "Keeps ids of at least some probability.",
    )
