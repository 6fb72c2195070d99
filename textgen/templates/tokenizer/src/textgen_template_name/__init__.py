"""A tokenizer: frequent words as one id each. Nothing heavy is imported before it is used."""

from textgen import Register, hookimpl


@hookimpl
def textgen_register_tokenizers(register: Register) -> None:
    register(
        "template-name",
        "textgen_template_name.tokenizer:TemplateNameTokenizer",
        "Frequent words are one id each, all else is characters.",
    )
