"""textgen as a contender: runs and exports with untrained weights, and the texts that they write."""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from benchmarks.harness import Work
from benchmarks.subjects import Subject

#: The run's folder, beside those of its exports.
RUN = "run"

#: Lines of the corpus, and characters of each: few, since an export measures its loss on a part of them.
LINES, LINE = 40, 40


def make_runs(subject: Subject, folder: Path, precisions: Sequence[str], environment: Mapping[str, str]) -> None:
    """Train a run for a single batch, which leaves its weights all but random, and export it.

    Args:
        subject: the run's model.
        folder: gets the run in :data:`RUN`, and an export a precision, named after it.
        precisions: of the exports.
        environment: variables of the process that does it.
    """
    # A process of its own: TensorFlow and its threads end with it.
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        pool.submit(_make_runs, subject, folder, precisions, dict(environment)).result()


def _make_runs(subject: Subject, folder: Path, precisions: Sequence[str], environment: dict[str, str]) -> None:
    os.environ.update(environment)
    import textgen

    folder.mkdir(parents=True)
    corpus = folder / "corpus.txt"
    characters = subject.characters.replace("\n", "")
    generator = random.Random(0)
    lines = ["".join(generator.choices(characters, k=LINE)) for _ in range(LINES)]
    corpus.write_text("\n".join([*lines, characters]) + "\n", encoding="utf-8")
    textgen.train(
        tokenizer=subject.tokenizer,
        settings={
            "corpus": {"name": "file", "path": str(corpus), "layout": subject.layout},
            "model": {
                "name": subject.cell,
                "units": subject.units,
                "input": "one-hot" if subject.embedding_dim is None else "embedding",
                "embedding_dim": subject.embedding_dim,
            },
            "training": {"batch_size": 1, "max_steps": 1, "sample_every": 0, "device": "cpu"},
            "generation": {"sampler": f"temperature({subject.temperature}) | multinomial"},
        },
        out=folder / RUN,
    )
    for precision in precisions:
        textgen.export(
            folder / RUN,
            out=folder / precision,
            options={"precision": precision},
            notice=partial(print, file=sys.stderr),
        )


def make(*, path: str, runtime: str, prompt: str, batch: int, length: int, device: str) -> Work:
    """Texts through :class:`textgen.TextGenerator`: encoding, prefill, sampling and decoding included.

    Args:
        path: of a run or an export.
        runtime: by registered name.
        prompt: what each text goes on from.
        batch: texts at once; a piece is one batch.
        length: characters a text.
        device: as for :func:`textgen.load`.

    The onnx runtime's cache goes below ``TEXTGEN_CACHE_DIR``, which must be set.
    """
    import textgen

    generator = textgen.load(path, runtime=runtime, device=device)

    def write() -> int:
        generator.generate(prompt, num=batch, length=length, seed=0, ignore_eos=True)
        return batch * length

    cache = Path(os.environ["TEXTGEN_CACHE_DIR"]) / str(os.getpid())  # a calibration of its own
    os.environ["TEXTGEN_CACHE_DIR"] = str(cache)
    write()
    return Work(write, _threads_chosen(cache / "threads.json"))


def _threads_chosen(calibration: Path) -> str:
    """What the onnx runtime's calibration of the writing graph came to; empty for other runtimes."""
    choices = json.loads(calibration.read_text(encoding="utf-8")) if calibration.exists() else {}
    return ", ".join(f"threads: {threads}" for graph, threads in choices.items() if ":generate.onnx:" in graph)
