"""textgen: from a text file to a small recurrent text generator that runs anywhere."""

from textgen.hookspecs import hookimpl

__version__ = "0.1.0"

__all__ = ["__version__", "hookimpl"]
