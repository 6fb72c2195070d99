"""The version of textgen, which pyproject.toml reads from here."""

#: The version of textgen.
__version__ = "0.1.0"
