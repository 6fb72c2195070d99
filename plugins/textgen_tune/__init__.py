"""``textgen tune``: searches options by held-out loss."""

from textgen import Register, hookimpl


@hookimpl
def textgen_register_commands(register: Register) -> None:
    register("tune", "textgen_tune.command:tune", "Search a model's options by held-out loss.")
