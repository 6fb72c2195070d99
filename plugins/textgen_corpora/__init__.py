"""Bundled corpora: three that are downloaded, one that is embedded, and the user's own file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textgen import hookimpl

if TYPE_CHECKING:
    from textgen import Register


@hookimpl
def textgen_register_corpora(register: Register) -> None:
    """Register the bundled corpora."""
    register("agnews", "textgen_corpora.agnews:AgNews", "News titles, their descriptions, or both.")
    register("dinos", "textgen_corpora.dinos:Dinos", "1,543 dinosaur names, one per line.")
    register("dinos-lite", "textgen_corpora.dinos:DinosLite", "Dinosaur genera, embedded: needs no download.")
    register("file", "textgen_corpora.file:File", "Your own text: files, folders or a pipe; a stream, or documents.")
    register("shakespeare", "textgen_corpora.shakespeare:Shakespeare", "Tiny Shakespeare: 1.1 million characters.")
