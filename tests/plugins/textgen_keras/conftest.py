from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from textgen.testing import MemoryRun
from textgen.text.encoded import EncodedText
from textgen_keras import GradientOptions


@pytest.fixture(scope="session")
def make_run() -> Callable[..., MemoryRun]:
    return partial(MemoryRun, schema=GradientOptions)


@pytest.fixture(scope="session")
def stream() -> EncodedText:
    """400 ids below 5 with a pattern that can be learned."""
    rng = np.random.default_rng(0)
    return EncodedText.join([np.cumsum(rng.integers(1, 3, 400)).astype(np.int32) % 5])


@pytest.fixture(scope="session")
def documents() -> EncodedText:
    """21 documents of 1 to 9 ids from 1 to 4; 0 pads."""
    rng = np.random.default_rng(1)
    return EncodedText.join([rng.integers(1, 5, length).astype(np.int32) for length in rng.integers(1, 10, 21)])
