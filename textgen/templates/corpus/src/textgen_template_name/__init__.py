"""A corpus: names of birds. Heavy imports wait until it is used."""

from textgen import Register, hookimpl


@hookimpl
def textgen_register_corpora(register: Register) -> None:
    register("template-name", "textgen_template_name.corpus:TemplateNameCorpus", "Names of birds, embedded.")
