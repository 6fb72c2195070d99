"""``textgen serve``: a server that any OpenAI client can write text with."""

from textgen import Register, hookimpl


@hookimpl
def textgen_register_commands(register: Register) -> None:
    register("serve", "textgen_serve.command:serve", "Serve runs over HTTP, for any OpenAI client, with a page.")
