from collections.abc import Callable, Sequence

import numpy as np
import pytest

from textgen.plugins.registry import plugins
from textgen.sampling.chain import Chain
from textgen.sampling.draw import Draw

Transform = Callable[..., np.ndarray]


@pytest.fixture(scope="session")
def chain() -> Callable[[str], Chain]:
    """Builds a chain from text, with registered samplers."""
    return lambda text: Chain(text, lambda name: plugins().get("sampler", name))


@pytest.fixture(scope="session")
def apply(chain) -> Transform:
    """Applies the samplers of chains, one per row (or one for all), to logits."""

    def transform(texts: str | Sequence[str], logits, seen=None) -> np.ndarray:
        logits = np.atleast_2d(np.asarray(logits, np.float32))
        texts = [texts] * len(logits) if isinstance(texts, str) else texts
        draw = Draw([chain(f"{text} | greedy") for text in texts], logits.shape[1])
        before = logits.copy()
        result: np.ndarray = logits
        for sampler, parameters in zip(draw.chain.samplers, draw.parameters, strict=True):
            result = sampler.transform(result, parameters, seen)
        np.testing.assert_array_equal(logits, before)
        assert result.dtype == np.float32
        return result

    return transform


@pytest.fixture(scope="session")
def draw(chain) -> Callable[..., np.ndarray]:
    """Draws one id per row."""

    def ids(text: str, logits, uniforms, forbidden=()) -> np.ndarray:
        logits = np.asarray(logits, np.float32)
        return Draw([chain(text)] * len(logits), logits.shape[1], forbidden).draw(
            logits, np.asarray(uniforms, np.float32)
        )

    return ids
