"""textgen: from a text file to a small recurrent text generator that runs anywhere.

Example:
    >>> import textgen
    >>> textgen.train("dinos-lite").generate("Ram", temperature=0.8, seed=7)  # doctest: +SKIP
"""

from typing import TYPE_CHECKING, Any

from textgen.base.version import __version__
from textgen.plugins.hookspecs import hookimpl

if TYPE_CHECKING:
    from textgen.api import cross_validate, export, load, train
    from textgen.text_generator import TextGenerator

__all__ = ["TextGenerator", "__version__", "cross_validate", "export", "hookimpl", "load", "train"]


def __getattr__(name: str) -> Any:
    # Plugins import textgen.plugins.hookspecs when the command line lists them: NumPy and pydantic can wait until then.
    if name in ("TextGenerator", "cross_validate", "export", "load", "train"):
        from textgen import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
