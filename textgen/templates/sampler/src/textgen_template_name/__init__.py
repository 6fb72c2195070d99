"""A sampler: epsilon sampling. Heavy imports wait until it is used."""

from textgen import Register, hookimpl


@hookimpl
def textgen_register_samplers(register: Register) -> None:
    register(
        "template-name",
        "textgen_template_name.sampler:TemplateNameSampler",
        "Keeps ids with at least a given probability.",
    )
