"""Exporting a run: what an exporter needs, gathered from its folder, its corpus and the plugins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from textgen.errors import TextgenError, UnsupportedModelError
from textgen.evaluation.scoring import mean_loss
from textgen.exporting.exporter import Exporter, ExportReport, ExportSource
from textgen.generation.chain import Chain
from textgen.generation.draw import Draw
from textgen.generation.randomness import uniforms
from textgen.generation.runtime import Runtime
from textgen.options import build_options
from textgen.saved_run import SavedRun
from textgen.text.batches import Batch, Dataset
from textgen.training.layout import arrange_batches
from textgen.training.settings import recorded_layout
from textgen.training.text import read_text

#: Characters that the loss of an export is measured on, about.
MEASURED_CHARACTERS = 20_000


def export_run(
    run: SavedRun, name: str, options: Mapping[str, Any], folder: Path, *, notice: Callable[[str], None]
) -> ExportReport:
    """Export a run with a registered exporter.

    Args:
        run: the run.
        name: of the exporter.
        options: of the exporter.
        folder: where the files go.
        notice: tells the user something, in one line.

    Raises:
        ArtifactError: where the run is not whole, or the export differs too much from it; nothing is left then.
    """
    factory = run.registry.get("exporter", name)
    exporter: Exporter = factory(build_options(factory.Options, options, where=name))
    return exporter.export(export_source(run, notice), folder)


def export_source(run: SavedRun, notice: Callable[[str], None]) -> ExportSource:
    """What an exporter starts from; arguments and errors as in :func:`export_run`."""

    def open_runtime(runtime: str) -> Runtime:
        return run.runtime(runtime, "cpu")[1]

    forbidden = run.tokenizer().forbidden_ids
    chain = run.chain()
    batches, carries, text = _text_to_measure(run, open_runtime)
    return ExportSource(
        run.artifact,
        run.model,
        chain,
        forbidden,
        open_runtime,
        lambda runtime: mean_loss(runtime, batches, carries_state=carries),
        text,
        notice,
    )


def _text_to_measure(run: SavedRun, open_runtime: Callable[[str], Runtime]) -> tuple[list[Batch], bool, str]:
    """Batches, whether they carry state, and what they are: held-out text where the run's own text is at hand."""
    dataset = _dataset(run)
    if dataset is None:
        try:
            runtime = open_runtime("numpy")  # which needs no training library
        except UnsupportedModelError:
            runtime = open_runtime(run.model().native_runtime)
        return [_own_text(runtime, run.registry.chain("multinomial"))], False, "text of the model itself"
    plan = dataset.held_out or dataset.train
    batches, characters = [], 0.0
    for batch in plan.batches(0):
        batches.append(batch)
        characters += float(batch.weights.sum())
        if characters >= MEASURED_CHARACTERS:
            break
    return batches, dataset.carries_state, "held-out text" if dataset.held_out else "training text"


def _dataset(run: SavedRun) -> Dataset | None:
    """The batches that the run was trained on; ``None`` if its text is not available, or has changed since."""
    try:
        text = read_text(run.settings, run.registry, tokenizer=run.tokenizer())
        return arrange_batches(text, recorded_layout(run.settings)) if text.is_text_of(run.artifact) else None
    except TextgenError:
        return None


def _own_text(runtime: Runtime, chain: Chain) -> Batch:
    """Text that the model itself writes at temperature 1, where that which it learnt from is not at hand."""
    rows, steps = 40, MEASURED_CHARACTERS // 40
    first = (np.arange(rows) % runtime.vocab_size).astype(np.int32)
    draw = Draw([chain] * rows, runtime.vocab_size)
    block = runtime.generate(first, runtime.initial_state(rows), draw, uniforms(0, range(rows), 1, steps))
    ids = np.concatenate([first[None], block.ids]).T
    return Batch(ids[:, :-1], ids[:, 1:], np.ones((rows, steps), np.float32))
