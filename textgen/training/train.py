"""Training: from a plan to a finished run, and resuming a run that stopped."""

from __future__ import annotations

import signal
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import FrameType

from textgen.base.cluster import Cluster
from textgen.base.machine import signals_handled
from textgen.errors import ArtifactError, OptionError
from textgen.options import Settings, merge_settings
from textgen.plugins.recorded import check_transforms, needing, report_changes
from textgen.plugins.registry import Registry
from textgen.runs.artifact import Artifact
from textgen.runs.folder import claimed, name_run, new_folder
from textgen.training.display import Display
from textgen.training.plan import Plan, make_plan
from textgen.training.recorder import Recorder, make_manifest
from textgen.training.run import Run
from textgen.training.settings import check_resumable, recorded_settings


def train(
    plan: Plan, registry: Registry, display: Display, *, folder: Path | None = None, overwrite: bool = False
) -> Artifact:
    """Trains a new run.

    Args:
        plan: the plan of what to train on what.
        registry: the plugins whose hooks are called.
        display: shows progress.
        folder: the run's folder; by default a new one in :func:`textgen.base.environment.runs_folder`.
        overwrite: whether to replace a run that is in the folder, once the new one is known to be able to train.

    Returns:
        The finished (or interrupted) run. In a process that is not its cluster's chief it has no files; its weights are
        those of the plan's model.

    Raises:
        ArtifactError: if the folder is in use.
        OptionError: if ``TF_CONFIG`` does not describe a cluster.
        UnavailableError: if a library is missing.
    """
    manifest = make_manifest(plan, registry)
    name = name_run(manifest.settings)
    if not is_chief():
        return _fit(Run(plan, Artifact(folder or Path(name), manifest), registry, Display()))
    with new_folder(folder, name, overwrite=overwrite) as made:
        artifact = Artifact(made, manifest)
        return _fit(Run(plan, artifact, registry, display, Recorder(artifact, plan, overwrite=overwrite)))


def resume(
    folder: Path,
    registry: Registry,
    display: Display,
    *,
    changes: Settings | None = None,
    data_dir: Path | None = None,
) -> Artifact:
    """Resumes a run from its last checkpoint, as if it had not stopped.

    Args:
        folder: the run's folder.
        registry: the plugins whose hooks are called.
        display: shows progress.
        changes: new values of the training options that the model declares as ``resumable``.
        data_dir: as for :func:`textgen.training.text.read_text`.

    Raises:
        ArtifactError: if the run cannot be read, its text has changed, or another process trains it.
        OptionError: if another option is changed, or the run is finished and nothing is left to do.
    """
    with claimed(folder) if is_chief() and folder.is_dir() else nullcontext():
        return _resume(Artifact.open(folder), registry, display, changes or {}, data_dir)


def _resume(
    artifact: Artifact, registry: Registry, display: Display, changes: Settings, data_dir: Path | None
) -> Artifact:
    with needing(artifact, registry):
        check_resumable(changes, registry.get("model", artifact.manifest.settings["model"]["name"]).TrainingOptions)
        report_changes(artifact, registry)
        check_transforms(artifact, registry)
        plan = make_plan(merge_settings(recorded_settings(artifact, registry), changes), registry, data_dir)
    if not plan.text.is_text_of(artifact):
        raise ArtifactError(f"the text of {artifact.path} has changed since the run began; train a new run instead")
    if is_chief():
        run = Run(plan, artifact, registry, display, Recorder(artifact, plan))
    else:
        run = Run(plan, artifact, registry, Display())
    if artifact.manifest.status == "finished":
        _check_unfinished(run)
    artifact.manifest.settings = plan.settings
    return _fit(run)


def _check_unfinished(run: Run) -> None:
    """Checks that something is left to train, by the options as they are now."""
    options, folder = run.options, run.artifact.path
    if run.has_lost_patience:
        raise OptionError(
            f"{folder} is finished: it ended by training.patience={options.patience}; "
            "raise it to resume the run: --set training.patience=NUMBER, or none"
        )
    if run.is_complete:
        raise OptionError(
            f"{folder} is finished, with epochs={options.epochs} and max_steps={options.max_steps}; "
            "raise them to resume the run: --epochs, --max-steps"
        )


def is_chief() -> bool:
    """Returns whether this process writes its runs: in a cluster only one does."""
    cluster = Cluster.from_environment()
    return cluster is None or cluster.is_chief


def _fit(run: Run) -> Artifact:
    with signals_handled(partial(_stop, run)):
        run.begin()
        run.plan.model.fit(run.plan.dataset, run)
        run.finish()
    return run.artifact


def _stop(run: Run, number: int, frame: FrameType | None) -> None:
    """Stops a run after the current batch on Ctrl-C or SIGTERM; a second Ctrl-C stops it at once."""
    if run.was_asked_to_stop and number == signal.SIGINT:
        raise KeyboardInterrupt
    run.ask_to_stop()
