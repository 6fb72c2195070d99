"""How often do two runtimes, or a row alone and in a batch, write different text for one seed?

``python -m benchmarks.agreement [--run RUN] [--characters N] [--quick]`` trains a GRU of 256 units on tiny Shakespeare,
or takes a run with an ONNX export, and answers twice. First from probabilities: the same texts are read in each way,
and the chance that one random number draws two different ids is the part of [0, 1) that two cumulative distributions
assign differently. Then by counting: onnx and numpy write the same rows, and each row counts up to its first
difference. The corpus is read from ``TEXTGEN_DATA_DIR``.
"""

from __future__ import annotations

from argparse import ArgumentParser
from itertools import count
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import textgen as tg
from benchmarks.command import Findings, Session, notice, run, textgen
from benchmarks.report import Figures
from benchmarks.tokenizers import CORPORA

#: Rows, and characters per row, whose probabilities are compared.
READ_ROWS, READ_LENGTH = 64, 1_000

#: The rows that are written side by side, and the length of each.
ROWS, LENGTH = 512, 2_000

#: The ways to read a text: the runtime, and whether its rows are read one by one. The first is compared with the rest.
WAYS = {
    "onnx": ("onnx", False),
    "onnx, each row alone": ("onnx", True),
    "numpy": ("numpy", False),
    "numpy, each row alone": ("numpy", True),
    "keras": ("keras", False),
    "keras, each row alone": ("keras", True),
}


def find(session: Session) -> Findings:
    path = session.options.run or _train(session)
    characters = 1_000_000 if session.is_quick else session.options.characters
    expected = {name: _compare(probabilities) for name, probabilities in _read(path).items()}
    columns = ["different draws per million characters", "largest difference of logits"]
    counted = _count(path, int(characters), session.options.first_seed)
    return Findings(
        figures=[
            Figures(
                f"Against onnx: {READ_ROWS} texts of {READ_LENGTH:,} characters, read in each way", columns, expected
            ),
            Figures("Texts of onnx and numpy", ["characters", "differences", "per million", "standard error"], counted),
        ]
    )


def _train(session: Session) -> Path:
    path = session.folder / "run"
    textgen(session, "train", *CORPORA["tiny Shakespeare"], "--out", str(path))
    textgen(session, "export", "--onnx", str(path))
    return path


def _read(path: Path) -> dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """The logits ``[rows, time, vocab]`` of the same texts, in the first way and in each other one."""
    generators = {name: tg.load(path, runtime=name) for name in dict.fromkeys(name for name, _ in WAYS.values())}
    first = next(iter(generators.values()))
    texts = first.sample(first.request(num=READ_ROWS, length=READ_LENGTH, seed=1, ignore_eos=True))
    length = min(len(text.ids) for text in texts)
    ids = np.array([text.ids[:length] for text in texts], np.int32)
    found: dict[str, NDArray[np.float32]] = {}
    for name, (runtime, is_alone) in WAYS.items():
        notice(f"reading: {name}")
        parts = np.split(ids, READ_ROWS) if is_alone else [ids]
        found[name] = np.concatenate([_logits(generators[runtime].runtime, part) for part in parts])
    reference, *_ = found
    return {name: (found[reference], logits) for name, logits in found.items() if name != reference}


def _logits(runtime: tg.Runtime, ids: NDArray[np.int32]) -> NDArray[np.float32]:
    logits, _ = runtime.forward(ids, runtime.initial_state(len(ids)))
    return np.asarray(logits)


def _compare(pair: tuple[NDArray[np.float32], NDArray[np.float32]]) -> list[float | None]:
    """The chance of different draws per million characters, and the largest difference of logits."""
    one, other = pair
    mine, yours = _cumulative(one), _cumulative(other)
    below_mine, below_yours = (np.pad(each[..., :-1], ((0, 0), (0, 0), (1, 0))) for each in (mine, yours))
    shared = np.minimum(mine, yours) - np.maximum(below_mine, below_yours)
    return [1e6 * float(1 - np.maximum(shared, 0).sum(-1).mean()), float(np.abs(one - other).max())]


def _cumulative(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """As the sampler ``multinomial`` sums them."""
    sums = np.cumsum(np.exp(logits - logits.max(axis=-1, keepdims=True)), axis=-1, dtype=np.float64)
    whole: NDArray[np.float64] = sums / sums[..., -1:]
    return whole


def _count(path: Path, characters: int, first_seed: int) -> dict[str, list[float | None]]:
    generators = [tg.load(path, runtime=name) for name in ("onnx", "numpy")]
    compared = differences = 0
    for seed in count(first_seed):
        if compared >= characters:
            break
        pairs = zip(*(_write(generator, seed) for generator in generators), strict=True)
        for one, other in pairs:
            differs = one.ids != other.ids
            differences += differs
            compared += _agreeing(one.ids, other.ids)
        notice(f"{compared:,} characters, {differences} differences")
    per_million = 1e6 / compared
    return {"multinomial": [compared, differences, differences * per_million, sqrt(differences) * per_million]}


def _write(generator: tg.TextGenerator, seed: int) -> list[Any]:
    return generator.sample(generator.request(num=ROWS, length=LENGTH, seed=seed, ignore_eos=True))


def _agreeing(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """The number of ids before the first that differs."""
    return next((place for place, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), len(one))


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--run", type=Path, help="a run with an ONNX export (default: one is trained)")
    parser.add_argument("--first-seed", type=int, default=1, help="of the texts to count over (default: 1)")
    parser.add_argument("--characters", type=float, default=1e8, help="to count over, at least (default: 1e8)")


if __name__ == "__main__":
    run("agreement", __doc__, find, add_arguments=_add_arguments)
