import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import textgen.training.plot
from textgen.files.writing import write_atomically
from textgen.model.fitting import Position
from textgen.options import Settings, build_options, merge_settings
from textgen.plugins.registry import Registry, plugins
from textgen.runs.artifact import Artifact
from textgen.testing import counting, registered
from textgen.text.tokenizer import Tokenizer
from textgen.training import train as training
from textgen.training.display import Display
from textgen.training.plan import Plan, make_plan


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
def registry() -> Iterator[Registry]:
    """The plugins of this process, with the counting model among them."""
    with registered(counting, name="counting") as registry:
        yield registry


class Diary(Display):
    """A display that records what it is shown."""

    def __init__(self) -> None:
        self.begun: list[tuple[Path, Position]] = []
        self.batches: list[tuple[Position, float]] = []
        self.epochs: list[tuple[Mapping[str, float], str | None]] = []
        self.ends: list[str] = []

    def started(self, plan: Plan, folder: Path, position: Position) -> None:
        self.begun.append((folder, position))

    def batch(self, position: Position, loss: float, characters_per_second: float, learning_rate: float | None) -> None:
        assert characters_per_second > 0
        self.batches.append((position, loss))

    def epoch(self, record: Mapping[str, float], sample: str | None) -> None:
        self.epochs.append((record, sample))

    def ended(self, artifact: Artifact, *, lost_patience: bool) -> None:
        self.ends.append(artifact.manifest.status)


class Workplace:
    """A folder with a stream and documents of random letters, and training on them with the counting model."""

    def __init__(self, folder: Path, registry: Registry) -> None:
        self.folder = folder
        self.registry = registry
        letters = random.Random(5)
        drawn = ("".join(letters.choices("abcd", k=letters.randint(1, 9))) for _ in range(70))
        self.words = list(dict.fromkeys(drawn))[:60]
        self.lines = folder / "words.txt"
        self.lines.write_text("\n".join(self.words), encoding="utf-8")
        self.stream = folder / "stream.txt"
        self.stream.write_text("".join(letters.choices("abcde\n", k=1000)), encoding="utf-8")

    def settings(self, *layers: Settings, stream: bool = False, **training: Any) -> Settings:
        corpus = {"name": "file", "path": str(self.stream if stream else self.lines)}
        base: Settings = {
            "corpus": corpus | ({} if stream else {"layout": "lines"}),
            "model": {"name": "counting"},
            "training": {"batch_size": 8, "length": 10, "epochs": 3} | training,
        }
        return merge_settings(base, *layers)

    def plan(self, *layers: Settings, **options: Any) -> Plan:
        return make_plan(self.settings(*layers, **options), self.registry)

    def train(self, name: str, *layers: Settings, display: Display | None = None, **options: Any) -> Artifact:
        return training.train(
            self.plan(*layers, **options), self.registry, display or Display(), folder=self.folder / name
        )

    def resume(self, name: str, display: Display | None = None, **changes: Any) -> Artifact:
        return training.resume(
            self.folder / name, self.registry, display or Display(), changes={"training": changes} if changes else None
        )


@pytest.fixture
def diary() -> Diary:
    return Diary()


@pytest.fixture
def work(tmp_path, monkeypatch, registry) -> Workplace:
    """See :class:`Workplace`. The plot is an empty file: importing matplotlib takes a second."""

    def save_nothing(history: object, path: Path) -> None:
        write_atomically(path, b"")

    monkeypatch.setattr(textgen.training.plot, "save_training_plot", save_nothing)
    monkeypatch.setenv("TEXTGEN_RUNS_DIR", str(tmp_path / "runs"))
    return Workplace(tmp_path, registry)
