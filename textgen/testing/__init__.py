"""What the author of a plugin needs for tests.

Example:
    >>> from textgen.testing import counting, registered
    >>> with registered(counting) as plugins:
    ...     plugins.get("model", "counting").__name__
    'CountingModel'
"""

from textgen.testing import counting
from textgen.testing.counting import CountingModel, CountingOptions
from textgen.testing.plugins import registered

__all__ = ["CountingModel", "CountingOptions", "counting", "registered"]
