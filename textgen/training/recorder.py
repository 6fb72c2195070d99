"""The files of a run under way: history, samples, checkpoints, the best weights, the plot."""

from __future__ import annotations

import json
import re
from pathlib import Path

import safetensors.numpy

from textgen.errors import ArtifactError, UnavailableError
from textgen.files.writing import inside
from textgen.model.fitting import Checkpoint, Position
from textgen.plugins.recorded import record_plugins
from textgen.plugins.registry import Registry
from textgen.runs.artifact import Artifact
from textgen.runs.checkpoint import drop_old_checkpoints, save_checkpoint
from textgen.runs.folder import empty
from textgen.runs.history import History
from textgen.runs.manifest import MANIFEST, SAMPLES, TOKENIZER, WEIGHTS, Manifest
from textgen.text.labels import labels_of
from textgen.training.plan import Plan


class Recorder:
    """Writes the files of a run, so that its folder is whole at any moment.

    Args:
        artifact: the run; its folder exists.
        plan: the model whose weights are saved, and its tokenizer.
        overwrite: whether the folder is emptied first.
    """

    def __init__(self, artifact: Artifact, plan: Plan, *, overwrite: bool = False) -> None:
        self._artifact = artifact
        self._plan = plan
        self._overwrite = overwrite
        self._samples = ""
        self._is_new = False

    def open(self, start: Position) -> None:
        """Begins to write a run that starts, or is resumed, at a position; samples after it are dropped."""
        if self._overwrite:
            empty(self._artifact.path)
        self._is_new = not (self._artifact.path / MANIFEST).exists()
        self._samples = _read_samples(self._artifact.path / SAMPLES, start)
        self._artifact.manifest.status = "training"
        self._artifact.commit()  # first: a folder that is not empty is a run, which can be resumed or replaced
        self._artifact.put(TOKENIZER, json.dumps(self._plan.tokenizer.to_json()) + "\n")
        self._artifact.commit()

    def discard(self) -> None:
        """Deletes what a new run has written; its folder, empty then, is removed by :func:`new_folder`."""
        if self._is_new:
            empty(self._artifact.path)

    def add_sample(self, position: Position, loss: float, sample: str) -> None:
        """Adds a sample to the logs; it is written with them."""
        self._samples += f"--- epoch {position.epoch}, loss {loss:.3f}\n{sample}\n"

    def save(self, checkpoint: Checkpoint, history: History, *, best: bool) -> Path:
        """Saves a checkpoint, and the logs; returns the checkpoint's file.

        Args:
            checkpoint: what the model needs to be resumed; its weights are taken from the model.
            history: the records so far.
            best: whether these are the weights to generate with.

        Raises:
            ArtifactError: if the folder is gone: what it had, such as the vocabulary, would be missing from now on.
        """
        self._check_folder()
        path = save_checkpoint(self._artifact, self._plan.model.weights(), checkpoint)
        if best:
            self._artifact.manifest.weights = self._artifact.manifest.last_checkpoint
        self._put_logs(history)
        drop_old_checkpoints(self._artifact)
        return path

    def save_logs(self, history: History) -> None:
        """Saves the logs; errors as for :meth:`save`."""
        self._check_folder()
        self._put_logs(history)
        self._artifact.commit()

    def finish(self, history: History) -> None:
        """Closes the run: the best weights of a finished one get a file of their own. Errors as for :meth:`save`."""
        self._check_folder()
        manifest = self._artifact.manifest
        if manifest.status == "finished" and manifest.weights != WEIGHTS:
            self._artifact.put(WEIGHTS, safetensors.numpy.save(self._artifact.weights()))
            manifest.weights = WEIGHTS
        self._put_logs(history)  # a run that was killed may have left them ahead of their records
        if history.records:
            self._plot(history)
        drop_old_checkpoints(self._artifact)

    def _check_folder(self) -> None:
        if not (self._artifact.path / MANIFEST).exists():
            raise ArtifactError(f"{self._artifact.path} was deleted or moved while it was trained; train again")

    def _put_logs(self, history: History) -> None:
        if self._samples:  # first: the history never has an epoch whose sample is missing
            self._artifact.put(SAMPLES, self._samples)
        history.write(self._artifact)

    def _plot(self, history: History) -> None:
        from textgen.training.plot import save_training_plot

        try:
            save_training_plot(history.records, inside(self._artifact.path, "plots/training.png"))
        except UnavailableError:
            pass  # who wants the plot installs matplotlib for it; the history has the same figures
        else:
            self._artifact.record("plots/training.png")


def make_manifest(plan: Plan, registry: Registry) -> Manifest:
    """Returns the manifest of a new run, before anything is trained."""
    boundaries = plan.text.boundaries
    manifest = Manifest(
        settings=plan.settings,
        provenance=plan.text.provenance,
        vocab_size=plan.tokenizer.vocab_size,
        state_spec=plan.model.state_spec.to_json(),
        end_id=boundaries.end_id,
        labels=list(labels_of(plan.tokenizer)),
        normalization=plan.text.corpus.normalization,
        first_ids=dict(boundaries.starts),
        lineage=plan.base.lineage if plan.base else [],
        refit=plan.refit.record if plan.refit else None,
    )
    record_plugins(manifest, registry, plan.recipe)
    return manifest


def _read_samples(path: Path, until: Position) -> str:
    """Reads the samples up to a position."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    lost = (m.start() for m in re.finditer(r"^--- epoch (\d+), ", text, re.MULTILINE) if int(m[1]) > until.epoch)
    return text[: next(lost, len(text))]
