"""The model ``mingru`` for textgen."""

from __future__ import annotations

from textgen import hookimpl
from textgen.plugins.hookspecs import Register


@hookimpl
def textgen_register_models(register: Register) -> None:
    """Name the model; it is imported when the name is used."""
    register("mingru", "textgen_mingru.model:MinGRU", "Minimal gated recurrent units, parallel over time.")
