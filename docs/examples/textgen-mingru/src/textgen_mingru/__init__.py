"""The model ``mingru`` for textgen."""

from __future__ import annotations

from textgen import Register, hookimpl


@hookimpl
def textgen_register_models(register: Register) -> None:
    """Register the model by name; its module is imported when the name is first used."""
    register("mingru", "textgen_mingru.model:MinGRU", "Minimal gated recurrent units, parallel over time.")
