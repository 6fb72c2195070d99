"""How good a run's options are: a model a fold of the documents, judged by the fold that it did not see."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from textgen.errors import OptionError
from textgen.evaluation.evaluate import Progress
from textgen.evaluation.scoring import Reading, Score, judge
from textgen.generation.runtime import ModelRuntime
from textgen.model.fitting import Position
from textgen.options import Settings, merge_settings
from textgen.plugins.registry import Registry
from textgen.runs.artifact import Artifact
from textgen.text.encoded import draw_folds
from textgen.text.encoding import encode, read_documents
from textgen.training.cluster import Cluster
from textgen.training.plan import Plan, make_plan
from textgen.training.train import train


@dataclass(frozen=True)
class CrossValidation:
    """What the models of all folds come to.

    Attributes:
        run: whose options were used.
        folds: how well each fold was predicted by the model trained on the others.
        nats: mean of the folds' cross-entropies a character.
        nats_deviation: their standard deviation (of a sample: over folds - 1).
        bits: the mean in bits.
        bits_deviation: the standard deviation in bits.
        accuracy: mean of the folds' accuracies.
    """

    run: str
    folds: tuple[Score, ...]
    nats: float
    nats_deviation: float
    bits: float
    bits_deviation: float
    accuracy: float


def cross_validate_run(
    artifact: Artifact, plugins: Registry, folds: int, *, changes: Settings, data_dir: Path | None, progress: Progress
) -> CrossValidation:
    """Train a model a fold with a run's options, in temporary folders, and judge each.

    The documents are dealt into folds by the run's seed; each is held out once, and its model keeps the weights of the
    epoch that predicts it best, as a run does.

    Args:
        artifact: the run.
        plugins: where names are looked up.
        folds: how many, at least 2.
        changes: over the run's options.
        data_dir: as for :func:`textgen.training.plan.make_plan`.
        progress: is told how the work comes along.

    Raises:
        OptionError: for fewer than 2 folds, more than documents, or a stream.
        KeyboardInterrupt: where training was asked to stop.
    """
    if Cluster.from_environment() is not None:
        raise OptionError("folds are trained by one process; unset TF_CONFIG")
    settings = merge_settings(artifact.manifest.settings, {"training": {"sample_every": 0}}, changes)
    whole = make_plan(settings, plugins, data_dir)
    if whole.corpus.layout != "documents":
        raise OptionError("folds are made of documents; this run was trained on a stream")
    if not 2 <= folds <= whole.documents:
        raise OptionError(f"there must be from 2 to {whole.documents} folds, one a document, not {folds}")
    documents = read_documents(whole.corpus, settings["corpus"]["name"])
    text = encode(whole.corpus.layout, documents, whole.tokenizer)
    scores = []
    with tempfile.TemporaryDirectory(prefix="textgen-") as folder:
        for number, held_out in enumerate(draw_folds(whole.documents, folds, whole.training.seed), 1):
            plan = make_plan(settings, plugins, data_dir, held_out=held_out)
            display = _FoldDisplay(f"fold {number} of {folds}, batches", progress)
            trained = train(plan, plugins, display, folder=Path(folder) / str(number))
            if trained.manifest.status == "interrupted":
                raise KeyboardInterrupt
            plan.model.load_weights(trained.weights())
            scores.append(judge(ModelRuntime(plan.model), Reading.documents(text.select(held_out))))
    nats, bits = [score.nats for score in scores], [score.bits for score in scores]
    accuracy = fmean(score.accuracy for score in scores)
    return CrossValidation(
        str(artifact.path), tuple(scores), fmean(nats), stdev(nats), fmean(bits), stdev(bits), accuracy
    )


class _FoldDisplay:
    """Shows the training of a fold as progress."""

    def __init__(self, label: str, progress: Progress) -> None:
        self._label = label
        self._progress = progress

    def started(self, plan: Plan, folder: Path, position: Position) -> None:
        self._total = plan.training.epochs * plan.dataset.train.steps

    def batch(self, position: Position, loss: float, characters_per_second: float, learning_rate: float | None) -> None:
        self._progress(self._label, position.total, self._total)

    def epoch(self, record: Mapping[str, float], sample: str | None) -> None:
        pass

    def ended(self, artifact: Artifact) -> None:
        pass
