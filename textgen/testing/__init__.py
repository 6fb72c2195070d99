"""What the author of a plugin needs for tests.

- :mod:`textgen.testing.suites`: a conformance suite for each interface; it alone needs pytest.
- :func:`registered`: a plugin for the time of a test.
- :mod:`~textgen.testing.tiny`: two tiny corpora; :mod:`~textgen.testing.counting` and
  :mod:`~textgen.testing.recurrent`: two deterministic models. Each of these modules is a plugin.
- :class:`MemoryRun`: fits a model without a folder. :class:`OnnxGraph`: runs what a sampler emits.

Example:
    >>> from textgen.testing import counting, registered
    >>> with registered(counting) as plugins:
    ...     plugins.get("model", "counting").__name__
    'CountingModel'
"""

from textgen.testing import counting, recurrent, tiny
from textgen.testing.counting import CountingModel, CountingOptions
from textgen.testing.graph import OnnxGraph
from textgen.testing.memory import MemoryRun
from textgen.testing.plugins import registered
from textgen.testing.recurrent import FixedGRU, FixedGRUOptions

__all__ = [
    "CountingModel",
    "CountingOptions",
    "FixedGRU",
    "FixedGRUOptions",
    "MemoryRun",
    "OnnxGraph",
    "counting",
    "recurrent",
    "registered",
    "tiny",
]
