"""Tools to test plugins.

- :mod:`textgen.testing.suites`: a conformance suite for each interface; only this part needs pytest.
- :func:`registered`: registers a plugin for the duration of a test.
- :mod:`~textgen.testing.tiny`: two tiny corpora; :mod:`~textgen.testing.counting` and
  :mod:`~textgen.testing.recurrent`: two deterministic models. Each of these modules is a plugin.
- :class:`MemoryRun`: a training run without a folder. :class:`OnnxGraph`: a graph to run the ONNX code of a sampler.

Example:
    >>> from textgen.testing import counting, registered
    >>> with registered(counting) as registry:
    ...     registry.get("model", "counting").__name__
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
