"""A tokenizer: frequent words as single ids. Heavy imports wait until it is used."""

from textgen import Register, hookimpl


@hookimpl
def textgen_register_tokenizers(register: Register) -> None:
    register(
        "template-name",
        "textgen_template_name.tokenizer:TemplateNameTokenizer",
        "Frequent words are single ids, everything else is characters.",
    )
