from collections.abc import Callable, Iterator
from typing import Any

import pytest

from textgen.options import build_options
from textgen.plugins import Plugins, plugins
from textgen.testing import counting, registered
from textgen.tokenizer import Tokenizer


@pytest.fixture(scope="session")
def make_tokenizer() -> Callable[..., Tokenizer]:
    """A bundled tokenizer, fitted on texts: ``make_tokenizer("char-eos", texts, order="frequency")``."""

    def make(name: str, texts: list[str], **options: Any) -> Tokenizer:
        factory = plugins().get("tokenizer", name)
        tokenizer: Tokenizer = factory(build_options(factory.Options, options, where="tokenizer"))
        tokenizer.fit(texts)
        return tokenizer

    return make


@pytest.fixture
def found() -> Iterator[Plugins]:
    """The plugins of this process, with the counting model among them."""
    with registered(counting, name="counting") as plugins:
        yield plugins
