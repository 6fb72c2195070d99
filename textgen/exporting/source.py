"""Export of a run: the source that an exporter starts from is its folder, its plugins, and text to compare by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textgen.errors import TextgenError, fault_of
from textgen.evaluation.scoring import mean_loss
from textgen.exporting.exporter import Exporter, ExportReport, ExportSource
from textgen.exporting.host import describe_for_hosts
from textgen.files.writing import inside
from textgen.generation.runtime import Runtime
from textgen.options import build_options
from textgen.plugins.recorded import with_chain
from textgen.runs.artifact import Artifact
from textgen.runs.folder import check_circle, check_place
from textgen.sampling.chain import Chain
from textgen.sampling.draw import Draw, uniforms
from textgen.saved_run import SavedRun
from textgen.text.batches import Batch, Dataset
from textgen.training.layout import arrange_batches
from textgen.training.settings import common_options
from textgen.training.text import read_text

#: About how many tokens the loss of an export is measured on, and how many rows of the model's own text that is.
MEASURED_TOKENS, MEASURED_ROWS = 20_000, 40


def export_run(
    run: SavedRun,
    name: str,
    options: Mapping[str, Any],
    folder: Path | None,
    *,
    sampler: str | None = None,
    reads_corpus: bool = True,
    notice: Callable[[str], None],
) -> ExportReport:
    """Export a run with a registered exporter.

    Args:
        run: the run.
        name: the exporter, as registered.
        options: of the exporter.
        folder: the folder to write; ``None`` for one in the run's folder, named after the exporter.
        sampler: the chain that the export generates with; by default the run's own.
        reads_corpus: whether losses are compared on the run's corpus, which may have to be downloaded; otherwise, and
            if there is none, on text that the model itself writes.
        notice: shows the user a line.

    Raises:
        OptionError: if ``sampler`` is not a chain.
        ArtifactError: if the run is incomplete, or the export differs too much from it; no file is left then.
    """
    factory = run.registry.get("exporter", name)
    if folder is None:
        folder = inside(run.artifact.path, name)
    check_circle(folder)
    check_place(folder.parent)
    exporter: Exporter = factory(build_options(factory.Options, options, where=name))
    run.artifact.keep_weights()  # a process that trains the run may replace them: all parts are of one checkpoint
    report = exporter.export(export_source(run, notice, sampler, reads_corpus=reads_corpus), folder)
    if owner := run.registry.outsider("exporter", name):
        _check_report(report, owner)
    return report


def _check_report(report: Any, owner: str) -> None:
    """Checks that the exporter of a third party has written what it reports."""
    if not isinstance(report, ExportReport):
        raise fault_of(owner, f"returned {type(report).__name__} instead of a report")
    missing = [file for file in report.files if not Path(report.folder, file).is_file()]
    if missing or not report.files:
        raise fault_of(owner, f"has not written {missing[0]}" if missing else "has written no file")
    if wrong := [name for name, value in report.parity.items() if not np.isfinite(value)]:
        raise fault_of(owner, f"has measured no {wrong[0]}")


def export_source(
    run: SavedRun, notice: Callable[[str], None], sampler: str | None = None, *, reads_corpus: bool = True
) -> ExportSource:
    """The source that an exporter starts from; arguments and errors as in :func:`export_run`."""

    def open_runtime(name: str) -> Runtime:
        return run.runtime(name, "cpu", from_weights=True)[1]

    chain, tokenizer, boundaries = run.chain(sampler), run.tokenizer(), run.boundaries()
    text_of_run = _text(run) if reads_corpus else None
    characters_per_id = tokenizer.characters_per_id.astype(np.float64)
    if text_of_run is not None:
        dataset, characters_per_id = text_of_run
        batches, carries_state = _measured_batches(dataset), dataset.carries_state
        text = "held-out text" if dataset.held_out else "training text"
    else:
        batches, carries_state = [_own_text(open_runtime("auto"), run.registry.chain("multinomial"))], False
        text = "text of the model itself"
    artifact = run.artifact
    if sampler is not None:
        artifact = Artifact(artifact.path, with_chain(artifact.manifest, run.registry, chain))
    return ExportSource(
        artifact=artifact,
        make_model=run.model,
        chain=chain,
        is_own_chain=sampler is None or str(chain) == run.generation().sampler,
        forbidden_ids=boundaries.forbidden_ids(tokenizer),
        open_runtime=open_runtime,
        measure_loss=lambda runtime: mean_loss(runtime, batches, characters_per_id, carries_state=carries_state),
        text=text,
        notice=notice,
        host=describe_for_hosts(tokenizer, boundaries, artifact.manifest),
    )


def _text(run: SavedRun) -> tuple[Dataset, NDArray[np.float64]] | None:
    """The batches that the run was trained on, and the number of characters that each id stands for there.

    ``None`` if its text is not available, or has changed since.
    """
    try:
        text = read_text(run.settings, run.registry, tokenizer=run.tokenizer())
        if not text.is_text_of(run.artifact):
            return None
        return arrange_batches(text, common_options(run.settings)), text.characters_per_id
    except TextgenError:
        return None


def _measured_batches(dataset: Dataset) -> list[Batch]:
    """The first batches of the held-out text, or of the training text if nothing was held out."""
    batches, tokens = [], 0.0
    for batch in (dataset.held_out or dataset.train).batches(0):
        batches.append(batch)
        tokens += float(batch.weights.sum())
        if tokens >= MEASURED_TOKENS:
            break
    return batches


def _own_text(runtime: Runtime, chain: Chain) -> Batch:
    """Text that the model itself writes at temperature 1."""
    rows, steps = MEASURED_ROWS, MEASURED_TOKENS // MEASURED_ROWS
    first = (np.arange(rows) % runtime.vocab_size).astype(np.int32)
    draw = Draw([chain] * rows, runtime.vocab_size)
    block = runtime.generate(first, runtime.initial_state(rows), draw, uniforms(0, range(rows), 1, steps))
    ids = np.concatenate([first[None], block.ids]).T
    return Batch(ids[:, :-1], ids[:, 1:], np.ones((rows, steps), np.float32))
