"""Training, from a plan to a finished artifact, and going on with a run that stopped."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from textgen.errors import ArtifactError, OptionError
from textgen.options import Settings, merge_settings
from textgen.plugins.recorded import check_transforms, needing, tell_changes
from textgen.plugins.registry import Registry
from textgen.runs.artifact import Artifact
from textgen.runs.folder import claimed, name_run, new_folder
from textgen.training.cluster import Cluster
from textgen.training.display import Display
from textgen.training.follower import Follower
from textgen.training.plan import Plan, has_text_of, make_plan
from textgen.training.run import Run

#: Training options that may differ when a run goes on.
RESUMABLE = ("epochs", "max_steps", "patience", "checkpoint_every", "sample_every", "callbacks", "device")


def train(
    plan: Plan,
    plugins: Registry,
    display: Display,
    *,
    folder: Path | None = None,
    overwrite: bool = False,
    callbacks: Sequence[Any] = (),
) -> Artifact:
    """Train a new run.

    Args:
        plan: what to train on what.
        plugins: whose hooks are called.
        display: shows progress.
        folder: where the run is written; by default a new one in :func:`textgen.base.environment.runs_folder`.
        overwrite: whether to replace a run that is in the folder, once the new one is known to be able to train.
        callbacks: ``keras.callbacks.Callback`` objects, for models that train with Keras.

    Returns:
        The finished (or interrupted) run; in a process that is not its cluster's chief, without files.

    Raises:
        ArtifactError: where the folder is in use.
        OptionError: where ``TF_CONFIG`` describes no cluster.
        UnavailableError: where a library is missing.
    """
    name = name_run(plan.settings)
    if not _is_chief():
        return _fit(Follower(plan, folder or Path(name), plugins, display, callbacks=callbacks))
    with new_folder(folder, name, overwrite=overwrite) as made:
        return _fit(Run(plan, made, plugins, display, overwrite=overwrite, callbacks=callbacks))


def resume(
    folder: Path,
    plugins: Registry,
    display: Display,
    *,
    changes: Settings | None = None,
    data_dir: Path | None = None,
    callbacks: Sequence[Any] = (),
) -> Artifact:
    """Go on with a run from its last checkpoint, as if it had not stopped.

    Args:
        folder: the run's folder.
        plugins: whose hooks are called.
        display: shows progress.
        changes: new values of the training options in :data:`RESUMABLE`.
        data_dir: as for :func:`textgen.training.plan.make_plan`.
        callbacks: as for :func:`train`.

    Raises:
        ArtifactError: where the run cannot be read, its text is no longer the same, or another process trains it.
        OptionError: for a change of another option, or where the run is finished and nothing is left to do.
    """
    with claimed(folder) if _is_chief() and folder.is_dir() else nullcontext():
        return _resume(Artifact.open(folder), plugins, display, changes or {}, data_dir, callbacks)


def _resume(
    artifact: Artifact,
    plugins: Registry,
    display: Display,
    changes: Settings,
    data_dir: Path | None,
    callbacks: Sequence[Any],
) -> Artifact:
    folder = artifact.path
    for table, values in changes.items():
        for option in values:
            if table != "training" or option not in RESUMABLE:
                raise OptionError(
                    f"{table}.{option} cannot change when a run goes on; training.{', training.'.join(RESUMABLE)} can"
                )
    tell_changes(artifact, plugins)
    check_transforms(artifact, plugins)
    with needing(artifact, plugins):
        plan = make_plan(merge_settings(artifact.manifest.settings, changes), plugins, data_dir)
    if not has_text_of(plan, artifact):
        raise ArtifactError(f"the text of {folder} has changed since the run began; train a new run instead")
    artifact.manifest.settings = plan.settings
    make_run = Run if _is_chief() else Follower
    run = make_run(plan, folder, plugins, display, callbacks=callbacks, artifact=artifact)
    was_finished = artifact.manifest.status == "finished"
    if was_finished and run.is_complete:
        raise OptionError(
            f"{folder} is finished, with epochs={plan.training.epochs} and max_steps={plan.training.max_steps}; "
            "to go on, raise them: --epochs, --max-steps"
        )
    _fit(run)
    if was_finished and plan.training.patience and not run.has_trained and not run.was_stopped:
        raise OptionError(
            f"{folder} is finished: it ended by training.patience={plan.training.patience}; "
            "to go on, raise it: --set training.patience=NUMBER, or none"
        )
    return run.artifact


def _is_chief() -> bool:
    """Whether this process writes the run: in a cluster only one does."""
    cluster = Cluster.from_environment()
    return cluster is None or cluster.is_chief


def _fit(run: Run) -> Artifact:
    with run.stopping_on_signals():
        run.begin()
        run.plan.model.fit(run.plan.dataset, run)
        run.finish()
    return run.artifact
