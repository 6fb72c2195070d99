import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from textgen.options import build_options
from textgen.plugins.registry import plugins
from textgen.text.tokenizer import Tokenizer

Make = Callable[..., Tokenizer]


@pytest.fixture(scope="session")
def make() -> Make:
    """Builds a tokenizer by its registered name from raw options."""

    def build(name: str, **options: Any) -> Tokenizer:
        tokenizer = plugins().get("tokenizer", name)
        return tokenizer(build_options(tokenizer.Options, options, where="tokenizer"))

    return build


@pytest.fixture(scope="session")
def shakespeare(data_dir: Path) -> list[str]:
    return [(data_dir / "shakespeare.txt").read_text(encoding="utf-8")]


@pytest.fixture(scope="session")
def agnews_titles(data_dir: Path) -> list[str]:
    with (data_dir / "agnews" / "test.csv").open(encoding="utf-8", newline="") as file:
        return [title for _, title, _ in csv.reader(file)]


@pytest.fixture(scope="session")
def dinos(data_dir: Path) -> list[str]:
    return [f"{name}\n" for name in (data_dir / "dinos.txt").read_text(encoding="utf-8").splitlines()]
