import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache as cache_results
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import safetensors.numpy

from textgen import ContextTree, NGramCounts, api
from textgen import make_tree as make_tree_of
from textgen.model.network import GATES, Cell, RecurrentNetwork
from textgen.plugins.registry import plugins
from textgen.runs.artifact import Artifact
from textgen.runs.manifest import TOKENIZER, WEIGHTS
from textgen.sampling.chain import Chain
from textgen.training.plan import make_plan
from textgen.training.recorder import make_manifest
from textgen_numpy.runtime import NumpyRuntime
from textgen_onnx.running import threads
from textgen_onnx.runtime import OnnxRuntime

STREAM = "The quick brown fox\njumps over\nthe lazy dog.\n" * 9


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory) -> Iterator[Path]:
    """The folder that remembers the threads of a graph: one for all tests, and chosen in a hurry."""
    folder: Path = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEXTGEN_CACHE_DIR", str(folder))
        patch.setattr(threads, "MEASURE", 0.0)
        yield folder


@pytest.fixture(scope="session")
def rounding() -> float:
    """A bound for the difference of two float32 results of one computation whose additions are in another order.

    Such are a row alone and in a batch, a text in parts and at once, a loop and a block. The order is up to the
    processor. A logit or gate of the networks here adds at most 64 products, which come to less than 8 in all; each
    addition rounds by at most 2**-24 of the sum. That is 64 * 8 * 2**-24 < 4e-5 in the worst case, and 8 times less,
    4e-6, if the errors are independent. Another id changes a logit by far more than 1e-2.
    """
    return 1e-5


def random_tree(vocab: int, contexts: int, order: int = 4, seed: int = 0) -> ContextTree:
    """The n-gram of a random text, which often begins anew, and in which ids make some of those after them likely."""
    rng = np.random.default_rng([vocab, order, seed])
    counts, base = NGramCounts(order, vocab), vocab + 1
    before = 0
    for _ in range(900):
        id_ = (before % base * 3 + int(rng.geometric(0.5))) % vocab
        counts.add(np.array([before * base + id_ + 1]))
        before = 0 if rng.random() < 0.05 else (before * base + id_ + 1) % base ** (order - 1)
    return make_tree_of(counts, contexts)


@pytest.fixture(scope="session")
def make_tree() -> Callable[..., ContextTree]:
    return random_tree


def random_network(
    cell: Cell,
    *,
    layers: int = 1,
    vocab: int = 7,
    width: int | None = 3,
    units: int = 6,
    seed: int = 0,
    contexts: int = 0,
) -> RecurrentNetwork:
    """A network of random weights and biases, whose logits are far apart and depend on the past.

    Args:
        width: of the embedding; ``None`` for one-hot input.
        contexts: of an n-gram, at most; 0 for none.
    """
    rng = np.random.default_rng([layers, vocab, units, seed])
    columns = GATES[cell] * units
    tensors = {} if width is None else {"embedding": rng.normal(0, 1, (vocab, width))}
    for index in range(layers):
        inputs = units if index else width or vocab
        spread = 1.0 if index == 0 and width is None else 1.5 / np.sqrt(inputs)
        tensors[f"layers.{index}.kernel"] = rng.normal(0, spread, (inputs, columns))
        tensors[f"layers.{index}.recurrent_kernel"] = rng.normal(0, 1.2 / np.sqrt(units), (units, columns))
        tensors[f"layers.{index}.bias"] = rng.normal(0, 0.3, (2, columns) if cell == "gru" else (columns,))
    tensors["head.kernel"] = rng.normal(0, 4 / np.sqrt(units), (units, vocab))
    tensors["head.bias"] = rng.normal(0, 0.5, vocab)
    network = RecurrentNetwork.from_tensors(cell, tensors)
    return (
        replace(network, ngram=random_tree(vocab, contexts), powers=np.array([0.8, 0.7], np.float32))
        if contexts
        else network
    )


@pytest.fixture(scope="session")
def make_network() -> Callable[..., RecurrentNetwork]:
    return random_network


@pytest.fixture(scope="session")
def chain() -> Callable[[str], Chain]:
    """Builds a sampler chain by registered names."""
    return lambda text: Chain(text, lambda name: plugins().get("sampler", name))


def save_run(
    folder: Path,
    cell: Cell = "gru",
    *,
    text: str = STREAM,
    tokenizer: str = "char-index",
    sampler: str = "temperature(0.8) | multinomial",
    width: int | None = 3,
    layers: int = 1,
    units: int = 6,
    seed: int = 0,
    contexts: int = 0,
) -> Artifact:
    """A finished run over a text file beside its folder, with the weights of a :func:`random_network`.

    The text is one document per line for ``char-eos``, and a stream for the other tokenizers.
    """
    corpus = folder.with_name(f"{folder.name}.txt")
    corpus.parent.mkdir(parents=True, exist_ok=True)
    corpus.write_text(text, encoding="utf-8", newline="")
    options = {"input": "one-hot"} if width is None else {"embedding_dim": width}
    settings: dict[str, dict[str, Any]] = {
        "corpus": {
            "name": "file",
            "path": str(corpus),
            "layout": "lines" if tokenizer == "char-eos" else "stream",
        },
        "tokenizer": {"name": tokenizer},
        "model": {"name": cell, "units": units, "layers": layers, "ngram": contexts, **options},
        "training": {"batch_size": 4, "length": 20, "drop_duplicates": False},
        "generation": {"sampler": sampler, "length": 60},
    }
    plan = make_plan(settings, plugins())
    artifact = Artifact(folder, make_manifest(plan, plugins()))
    sizes: dict[str, Any] = {"layers": layers, "vocab": plan.tokenizer.vocab_size, "width": width, "units": units}
    network = random_network(cell, **sizes, seed=seed, contexts=contexts)
    tensors = {name: np.ascontiguousarray(array) for name, array in network.tensors().items()}
    artifact.put(WEIGHTS, safetensors.numpy.save(tensors))
    artifact.manifest.weights = WEIGHTS
    artifact.put(TOKENIZER, json.dumps(plan.tokenizer.to_json()))
    artifact.manifest.status = "finished"
    artifact.manifest.metrics = {"loss": 1.25, "held_out_loss": 1.5}
    artifact.commit()
    return artifact


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Artifact]:
    return save_run


def alphabet(size: int) -> str:
    """A text of ``size`` distinct characters, long enough to train on."""
    letters = "".join(chr(0x4E00 + number) for number in range(size))
    return (letters + letters[::-1]) * max(3, 200 // size)


@dataclass(frozen=True)
class Exported:
    """A run, its network, and its export in the runtime ``onnx``, with the runtime ``numpy`` to compare with."""

    run: Artifact
    network: RecurrentNetwork
    onnx: OnnxRuntime
    numpy: NumpyRuntime


@pytest.fixture(scope="session")
def exported(tmp_path_factory) -> Callable[..., Exported]:
    """Exports random networks, once each; takes the arguments of :func:`save_run`, or ``vocab`` in place of a text."""

    @cache_results
    def export(cell: Cell = "gru", *, vocab: int | None = None, precision: str = "fp32", **options: Any) -> Exported:
        text: dict[str, Any] = {} if vocab is None else {"text": alphabet(vocab)}
        run = save_run(tmp_path_factory.mktemp("runs") / "run", cell, **text, **options)
        api.export(run.path, options={"precision": precision}, notice=pytest.fail)
        network = RecurrentNetwork.from_tensors(cell, run.weights())
        return Exported(run, network, OnnxRuntime.open(run, pytest.fail, "cpu"), NumpyRuntime(network))

    return export


@pytest.fixture(scope="session")
def texts(exported) -> Callable[..., list[str]]:
    """A thousand texts of 200 characters each, from an export of two layers: ``texts("gru", "greedy", "onnx")``."""

    @cache_results
    def write(cell: Cell, sampler: str, runtime: str) -> list[str]:
        generator = api.load(exported(cell, layers=2).run.path, runtime=runtime, device="cpu")
        return generator.generate(["The "], num=1000, length=200, seed=5, sampler=sampler)

    return write


@dataclass(frozen=True)
class Outcome:
    """The exit code of a command, and its output."""

    code: int
    out: str
    err: str


@pytest.fixture
def textgen(command_line, capfd) -> Callable[..., Outcome]:
    """Runs a command line in this process."""

    def run(*arguments: object) -> Outcome:
        capfd.readouterr()
        return Outcome(*command_line(*arguments))

    return run


@pytest.fixture
def opened(monkeypatch) -> list[bytes]:
    """The graphs that are handed to ONNX Runtime."""
    handed: list[bytes] = []
    session = onnxruntime.InferenceSession

    def spy(model: bytes, *arguments: Any, **options: Any) -> Any:
        handed.append(model)
        return session(model, *arguments, **options)

    monkeypatch.setattr(onnxruntime, "InferenceSession", spy)
    return handed
