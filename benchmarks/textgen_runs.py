"""textgen as a contender: makes runs and exports with random weights, and writes texts with them."""

from __future__ import annotations

import json
import math
import os
import random
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Contender, Work
from benchmarks.subjects import Subject

#: The name of the run's folder, beside those of its exports.
RUN = "run"

#: The useful precisions by device.
PRECISIONS = {"cpu": ("fp32", "int8"), "cuda": ("fp32", "fp16")}

#: Lines of the corpus, and characters per line: few, since an export measures its loss on some of them.
LINES, LINE = 40, 40


def make_runs(subject: Subject, folder: Path, precisions: Sequence[str], environment: Mapping[str, str]) -> None:
    """Writes a run with random weights, and exports it.

    Args:
        subject: the run's model.
        folder: for the run, in :data:`RUN`, and one export per precision, named after it.
        precisions: of the exports.
        environment: variables of the process that does the work.
    """
    # A separate process: the threads of BLAS and ONNX Runtime end with it.
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        pool.submit(_make_runs, subject, folder, precisions, dict(environment)).result()


def _make_runs(subject: Subject, folder: Path, precisions: Sequence[str], environment: dict[str, str]) -> None:
    os.environ.update(environment)
    import textgen

    folder.mkdir(parents=True)
    _write_run(subject, folder)
    for precision in precisions:
        textgen.export(
            folder / RUN,
            out=folder / precision,
            options={"precision": precision},
            notice=partial(print, file=sys.stderr),
        )


def _write_run(subject: Subject, folder: Path) -> None:
    """Writes a finished run without training it, so that TensorFlow is not needed."""
    import safetensors.numpy

    from textgen import Artifact
    from textgen.plugins.registry import plugins
    from textgen.runs.manifest import TOKENIZER, WEIGHTS
    from textgen.training.plan import make_plan
    from textgen.training.recorder import make_manifest

    corpus = folder / "corpus.txt"
    characters = subject.characters.replace("\n", "")
    letters = random.Random(0)
    lines = ["".join(letters.choices(characters, k=LINE)) for _ in range(LINES)]
    corpus.write_text("\n".join([*lines, characters]) + "\n", encoding="utf-8")
    model: dict[str, Any] = {"name": subject.cell, "units": subject.units, "layers": subject.layers, "ngram": 0}
    if subject.embedding_dim is None:
        model["input"] = "one-hot"
    else:
        model["embedding_dim"] = subject.embedding_dim
    settings: dict[str, dict[str, Any]] = {
        "corpus": {"name": "file", "path": str(corpus), "layout": subject.layout},
        "tokenizer": {"name": subject.tokenizer},
        "model": model,
        "training": {"batch_size": 1},
        "generation": {"sampler": f"temperature({subject.temperature}) | multinomial"},
    }
    plan = make_plan(settings, plugins())
    if plan.tokenizer.vocab_size != subject.vocab_size:
        raise ValueError(f"{subject.title}: the tokenizer has {plan.tokenizer.vocab_size} ids")
    generator = np.random.default_rng(0)

    def draw(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        if name.endswith("bias"):
            return np.zeros(shape, np.float32)
        return generator.standard_normal(shape, np.float32) / np.float32(math.sqrt(shape[0]))

    weights = {name: draw(name, shape) for name, shape in plan.model.tensor_shapes.items()}  # type: ignore[attr-defined]
    manifest = make_manifest(plan, plugins())
    manifest.status, manifest.weights = "finished", WEIGHTS
    run = Artifact(folder / RUN, manifest)
    run.put(TOKENIZER, json.dumps(plan.tokenizer.to_json()))
    run.put(WEIGHTS, safetensors.numpy.save(weights))
    run.commit()


def onnx(precision: str) -> str:
    """The name of the contender that runs an export."""
    return f"textgen onnx {precision}"


def writer(name: str, path: Path, runtime: str, **options: Any) -> Contender:
    """A contender that writes with textgen; for the arguments, see :func:`make`."""
    return Contender(name, "benchmarks.textgen_runs:make", {"path": str(path), "runtime": runtime, **options})


def make(*, path: str, runtime: str, prompt: str, batch: int, length: int, device: str) -> Work:
    """Writing through :class:`textgen.TextGenerator`, including encoding, prefill, sampling and decoding.

    Args:
        path: of a run or an export.
        runtime: by registered name.
        prompt: the beginning of each text.
        batch: texts at once; a piece is one batch.
        length: characters per text.
        device: as for :func:`textgen.load`.

    The cache of the onnx runtime is written below ``TEXTGEN_CACHE_DIR``, which must be set.
    """
    import textgen

    generator = textgen.load(path, runtime=runtime, device=device)

    def write() -> int:
        generator.generate(prompt, num=batch, length=length, seed=0, ignore_eos=True)
        return batch * length

    cache = Path(os.environ["TEXTGEN_CACHE_DIR"]) / str(os.getpid())  # so that thread counts are measured anew
    os.environ["TEXTGEN_CACHE_DIR"] = str(cache)
    write()
    return Work(write, _threads_chosen(cache / "threads.json"))


def _threads_chosen(calibration: Path) -> str:
    """The thread counts that the onnx runtime chose for the writing graph; empty for other runtimes."""
    choices = json.loads(calibration.read_text(encoding="utf-8")) if calibration.exists() else {}
    generating = [way for graph, way in choices.items() if ":generate.onnx:" in graph]
    return ", ".join(f"threads: {number}" + " (rows)" * (share == "rows") for number, share in generating)
