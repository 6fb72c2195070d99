"""K-fold cross-validation: one model per fold, scored on the fold it was not trained on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean, stdev

from textgen.base.cluster import Cluster
from textgen.errors import OptionError
from textgen.evaluation.evaluation import Table, tables_html
from textgen.evaluation.samples import Progress, discard_progress
from textgen.evaluation.scoring import Reading, Score, judge
from textgen.generation.runtime import ModelRuntime
from textgen.model.fitting import Position
from textgen.options import Settings, merge_settings
from textgen.plugins.recorded import needing
from textgen.runs.lineage import Base
from textgen.saved_run import SavedRun
from textgen.text.encoded import draw_folds
from textgen.training.display import Display
from textgen.training.plan import Plan, grown_text, make_plan
from textgen.training.settings import common_options, recorded_settings, report_code
from textgen.training.text import read_text
from textgen.training.train import train


@dataclass(frozen=True, kw_only=True, repr=False)
class CrossValidation:
    """The scores of all folds.

    Attributes:
        run: the run whose options were used.
        folds: how well each fold was predicted by the model trained on the others.
        epochs: the epoch whose weights each of these models kept.
        nats: the mean over folds of the cross-entropy per character.
        nats_deviation: its standard deviation (of a sample: over folds - 1).
        bits: the mean in bits.
        bits_deviation: the standard deviation in bits.
        accuracy: the mean over folds of the accuracy.
    """

    run: str
    folds: tuple[Score, ...]
    epochs: tuple[int, ...]
    nats: float
    nats_deviation: float
    bits: float
    bits_deviation: float
    accuracy: float

    def __repr__(self) -> str:
        loss = f"{self.nats:.4f} nats ({self.bits:.4f} bits) per character"
        return f"CrossValidation({self.run!r}, {len(self.folds)} folds, {loss})"

    def _repr_html_(self) -> str:
        return tables_html(f"{self.run}, {len(self.folds)} folds", self.tables())

    def tables(self) -> Iterator[Table]:
        """Yields what ``textgen evaluate --folds`` prints: a line per fold, their mean and standard deviation."""
        rows = [
            (
                str(number),
                f"{fold.characters:,}",
                f"{fold.nats:.4f}",
                f"{fold.bits:.4f}",
                f"{fold.accuracy:.2%}",
                f"{epoch:,}",
            )
            for number, (fold, epoch) in enumerate(zip(self.folds, self.epochs, strict=True), 1)
        ]
        rows.append(("mean", "", f"{self.nats:.4f}", f"{self.bits:.4f}", f"{self.accuracy:.2%}", ""))
        rows.append(("deviation", "", f"{self.nats_deviation:.4f}", f"{self.bits_deviation:.4f}", "", ""))
        yield Table(("fold", "characters", "nats per character", "bits", "accuracy", "epoch"), rows)


def cross_validate_run(
    run: SavedRun,
    folds: int,
    *,
    changes: Settings | None = None,
    data_dir: Path | None = None,
    progress: Progress | None = None,
) -> CrossValidation:
    """Trains one model per fold with a run's options, in temporary folders, and scores each.

    The documents are dealt into folds by the run's seed; each fold is held out once, and its model keeps the weights of
    the epoch that predicts it best, as a run does. The corpus is read and encoded once.

    Args:
        run: the run.
        folds: the number of folds, at least 2.
        changes: settings that override the run's.
        data_dir: as for :func:`textgen.training.text.read_text`.
        progress: called with the progress of the work.

    Raises:
        OptionError: if there are fewer than 2 folds, more than documents, or the text is a stream.
        KeyboardInterrupt: if training was asked to stop.
    """
    if Cluster.from_environment() is not None:
        raise OptionError("folds are trained by one process; unset TF_CONFIG")
    scores, epochs = [], []
    with needing(run.artifact, run.registry), tempfile.TemporaryDirectory(prefix="textgen-") as folder:
        recorded = recorded_settings(run.artifact, run.registry)
        report_code(run.artifact, changes or {}, run.registry)
        settings = merge_settings(recorded, {"training": {"sample_every": 0}}, changes or {})
        base = Base.of(run.artifact) if run.artifact.manifest.lineage else None
        read = partial(grown_text, base) if base else read_text
        text = read(settings, run.registry, data_dir)
        count = len(text.encoded)
        if text.layout != "documents":
            raise OptionError("folds are made of documents; this run was trained on a stream")
        if not 2 <= folds <= count:
            raise OptionError(f"folds must be between 2 and {count} (the number of documents), not {folds}")
        for number, fold in enumerate(draw_folds(count, folds, common_options(settings).seed), 1):
            plan = make_plan(settings, run.registry, text=text, held_out=fold, base=base)
            display = _FoldDisplay(f"fold {number} of {folds}, batches", progress or discard_progress)
            trained = train(plan, run.registry, display, folder=Path(folder) / str(number))
            if trained.manifest.status == "interrupted":
                raise KeyboardInterrupt
            plan.model.load_weights(trained.weights())
            epochs.append(int(trained.manifest.metrics["epoch"]))
            scores.append(
                judge(ModelRuntime(plan.model), Reading.documents(text.encoded.select(fold)), text.characters_per_id)
            )
    nats, bits = [score.nats for score in scores], [score.bits for score in scores]
    return CrossValidation(
        run=str(run.artifact.path),
        folds=tuple(scores),
        epochs=tuple(epochs),
        nats=fmean(nats),
        nats_deviation=stdev(nats),
        bits=fmean(bits),
        bits_deviation=stdev(bits),
        accuracy=fmean(score.accuracy for score in scores),
    )


class _FoldDisplay(Display):
    """Reports the training of a fold as progress."""

    def __init__(self, label: str, progress: Progress) -> None:
        self._label = label
        self._progress = progress

    def started(self, plan: Plan, folder: Path, position: Position) -> None:
        self._total = plan.training.last_epoch * plan.dataset.train.steps

    def batch(self, position: Position, loss: float, characters_per_second: float, learning_rate: float | None) -> None:
        self._progress(self._label, position.total, self._total)
