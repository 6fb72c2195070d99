"""Within ``onnx``, a row's text does not depend on its batch, the chunks or the threads: bit for bit, trained weights.

Trained weights, since random ones give logits of another size, and other near ties.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import textgen
from textgen_onnx.running import threads
from textgen_onnx.running.shared_rows import SharedRows

pytestmark = [pytest.mark.keras, pytest.mark.slow]

ROWS, LENGTH = 64, 400


@pytest.fixture(scope="module", params=[("gru", "fp32"), ("lstm", "fp32"), ("gru", "int8")], ids="-".join)
def trained(request, tmp_path_factory) -> Path:
    """A run that was trained for some hundred steps, and exported."""
    model, precision = request.param
    run: Path = tmp_path_factory.mktemp("runs") / "run"
    settings: dict[str, Any] = {"model": {"units": 96}, "training": {"max_steps": 150, "sample_every": 0}}
    textgen.train(corpus="dinos-lite", model=model, out=run, settings=settings)
    textgen.export(run, to="onnx", options={"precision": precision})
    return run


def test_logits_do_not_depend_on_the_batch_or_on_pieces(trained):
    runtime = textgen.load(trained, runtime="onnx").runtime
    ids = np.random.default_rng(0).integers(0, runtime.vocab_size, (ROWS, 40)).astype(np.int32)
    whole, _ = runtime.forward(ids, runtime.initial_state(ROWS))
    for rows in (1, 2, 3, 5, 8, 17, 63):
        part, _ = runtime.forward(ids[:rows], runtime.initial_state(rows))
        np.testing.assert_array_equal(part, whole[:rows])
    pieces, state = [], runtime.initial_state(ROWS)
    for start, end in pairwise((0, 1, 8, 40)):
        piece, state = runtime.forward(ids[:, start:end], state)
        pieces.append(piece)
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), whole)


def test_texts_do_not_depend_on_batch_or_chunk(trained):
    generator = textgen.load(trained, runtime="onnx")
    options: dict[str, Any] = {"length": LENGTH, "seed": 5, "ignore_eos": True}
    whole = generator.generate("a", num=ROWS, **options)
    assert generator.generate("a", num=ROWS, chunk=7, **options) == whole
    for row in range(0, ROWS, 9):
        assert generator.generate("a", rows=[row], **options) == whole[row]


@pytest.mark.parametrize("way", [threads.Threads(1), threads.Threads(2), threads.Threads(2, "rows")], ids=str)
def test_texts_do_not_depend_on_threads(trained, monkeypatch, tmp_path, way):
    options: dict[str, Any] = {"num": ROWS, "length": LENGTH, "seed": 5, "ignore_eos": True}
    expected = textgen.load(trained, runtime="onnx").generate("a", **options)
    monkeypatch.setenv("TEXTGEN_CACHE_DIR", str(tmp_path))
    chosen = []

    def choose(key: str, rows: int, open_with: Any, run: Any, *, again: bool) -> threads.Choice:
        chosen.append(way)
        session = open_with(1 if way.share == "rows" else way.number)
        return threads.Choice(SharedRows(session, way.number) if way.share == "rows" and rows > 1 else session)

    monkeypatch.setattr("textgen_onnx.running.runner.choose_threads", choose)
    assert textgen.load(trained, runtime="onnx").generate("a", **options) == expected
    assert chosen
