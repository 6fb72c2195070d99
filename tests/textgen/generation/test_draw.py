import numpy as np
import pytest
from pydantic import Field

from textgen.errors import OptionError
from textgen.generation.chain import Chain
from textgen.generation.draw import Draw
from textgen.generation.sampler import Selector
from textgen.options import Options
from textgen.plugins.registry import plugins


class NthOptions(Options):
    n: int = Field(1)


class Nth(Selector):
    Options = NthOptions

    options: NthOptions

    def select(self, logits, uniforms):
        return np.full(len(logits), self.options.n, np.int32)


def make(text: str) -> Chain:
    return Chain(text, lambda name: Nth if name == "nth" else plugins().get("sampler", name))


def test_rows_share_the_names_of_a_chain_and_its_selector():
    Draw([make("top-k(3) | greedy"), make("top-k(4) | greedy")], 5)
    for others in ("top-p(0.5) | greedy", "top-k(3) | multinomial", "greedy"):
        with pytest.raises(OptionError, match="must share the names of their sampler chain"):
            Draw([make("top-k(3) | greedy"), make(others)], 5)
    with pytest.raises(OptionError, match="must share"):
        Draw([make("nth(1)"), make("nth(2)")], 5)


def test_something_must_be_left_to_draw():
    Draw([make("greedy")], 3, (0, 2))
    with pytest.raises(OptionError, match="every id of the vocabulary is forbidden"):
        Draw([make("greedy")], 3, (0, 1, 2))
