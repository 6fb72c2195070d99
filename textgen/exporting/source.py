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
from textgen.model.model import Model
from textgen.options import build_options
from textgen.plugins.recorded import needing
from textgen.plugins.registry import Plugins
from textgen.runs.artifact import Artifact
from textgen.text.batches import Batch, Dataset
from textgen.text.tokenizer import Tokenizer
from textgen.training.plan import has_text_of, make_plan

#: Characters that the loss of an export is measured on, about.
MEASURED_CHARACTERS = 20_000


def export_run(
    artifact: Artifact,
    plugins: Plugins,
    name: str,
    options: Mapping[str, Any],
    folder: Path,
    *,
    tokenizer: Tokenizer,
    make_model: Callable[[], Model],
    notice: Callable[[str], None],
) -> ExportReport:
    """Export a run with a registered exporter.

    Args:
        artifact: the run.
        plugins: where names are looked up.
        name: of the exporter.
        options: of the exporter.
        folder: where the files go.
        tokenizer: the run's, loaded.
        make_model: builds the run's model, without weights.
        notice: tells the user something, in one line.

    Raises:
        ArtifactError: where the run is not whole, or the export differs too much from it; nothing is left then.
    """
    factory = plugins.get("exporter", name)
    exporter: Exporter = factory(build_options(factory.Options, options, where=name))
    return exporter.export(export_source(artifact, plugins, tokenizer, make_model, notice), folder)


def export_source(
    artifact: Artifact,
    plugins: Plugins,
    tokenizer: Tokenizer,
    make_model: Callable[[], Model],
    notice: Callable[[str], None],
) -> ExportSource:
    """What an exporter starts from; arguments and errors as in :func:`export_run`."""

    def open_runtime(runtime: str) -> Runtime:
        opened: Runtime = plugins.get("runtime", runtime).open(artifact, make_model, "cpu")
        return opened

    with needing(artifact, plugins):
        chain = plugins.chain(artifact.manifest.settings["generation"]["sampler"])
    batches, carries, text = _text_to_measure(artifact, plugins, open_runtime, make_model)
    return ExportSource(
        artifact,
        make_model,
        chain,
        tokenizer.forbidden_ids,
        open_runtime,
        lambda runtime: mean_loss(runtime, batches, carries_state=carries),
        text,
        notice,
    )


def _text_to_measure(
    artifact: Artifact, plugins: Plugins, open_runtime: Callable[[str], Runtime], make_model: Callable[[], Model]
) -> tuple[list[Batch], bool, str]:
    """Batches, whether they carry state, and what they are: held-out text where the run's own text is at hand."""
    dataset = _dataset(artifact, plugins)
    if dataset is None:
        try:
            runtime = open_runtime("numpy")  # which needs no training library
        except UnsupportedModelError:
            runtime = open_runtime(make_model().native_runtime)
        return [_own_text(runtime, plugins.chain("multinomial"))], False, "text of the model itself"
    plan = dataset.held_out or dataset.train
    batches, characters = [], 0.0
    for batch in plan.batches(0):
        batches.append(batch)
        characters += float(batch.weights.sum())
        if characters >= MEASURED_CHARACTERS:
            break
    return batches, dataset.carries_state, "held-out text" if dataset.held_out else "training text"


def _dataset(artifact: Artifact, plugins: Plugins) -> Dataset | None:
    """What the run learnt from; ``None`` where its text is not at hand, or has changed since."""
    try:
        plan = make_plan(artifact.manifest.settings, plugins)
    except TextgenError:
        return None
    return plan.dataset if has_text_of(plan, artifact) else None


def _own_text(runtime: Runtime, chain: Chain) -> Batch:
    """Text that the model itself writes at temperature 1, where that which it learnt from is not at hand."""
    rows, steps = 40, MEASURED_CHARACTERS // 40
    first = (np.arange(rows) % runtime.vocab_size).astype(np.int32)
    draw = Draw([chain] * rows, runtime.vocab_size)
    block = runtime.generate(first, runtime.initial_state(rows), draw, uniforms(0, range(rows), 1, steps))
    ids = np.concatenate([first[None], block.ids]).T
    return Batch(ids[:, :-1], ids[:, 1:], np.ones((rows, steps), np.float32))
