from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache as cache_results
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from tests.exports.random_runs import random_network, random_tree, save_run
from textgen import ContextTree, api
from textgen.model.network import Cell, RecurrentNetwork
from textgen.plugins.registry import plugins
from textgen.runs.artifact import Artifact
from textgen.sampling.chain import Chain
from textgen_numpy.runtime import NumpyRuntime
from textgen_onnx.running import threads
from textgen_onnx.runtime import OnnxRuntime


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


@pytest.fixture(scope="session")
def make_tree() -> Callable[..., ContextTree]:
    return random_tree


@pytest.fixture(scope="session")
def make_network() -> Callable[..., RecurrentNetwork]:
    return random_network


@pytest.fixture(scope="session")
def chain() -> Callable[[str], Chain]:
    """Builds a sampler chain by registered names."""
    return lambda text: Chain(text, lambda name: plugins().get("sampler", name))


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
