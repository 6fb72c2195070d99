"""Training, from a plan to a finished artifact, and going on with a run that stopped."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from textgen.artifact import Artifact, runs_folder
from textgen.cluster import Cluster
from textgen.errors import ArtifactError, OptionError
from textgen.follower import Follower
from textgen.options import Settings, merge_settings
from textgen.plan import Plan, make_plan
from textgen.plugins import Plugins
from textgen.records import check_transforms, needing, tell_changes
from textgen.run import Display, Run

#: Training options that may differ when a run goes on.
RESUMABLE = ("epochs", "max_steps", "checkpoint_every", "sample_every", "callbacks", "device")


def train(
    plan: Plan,
    plugins: Plugins,
    display: Display,
    *,
    folder: Path | None = None,
    callbacks: Sequence[Any] = (),
) -> Artifact:
    """Train a new run.

    Args:
        plan: what to train on what.
        plugins: whose hooks are called.
        display: shows progress.
        folder: where the run is written; by default a new one in :func:`textgen.artifact.runs_folder`.
        callbacks: ``keras.callbacks.Callback`` objects, for models that train with Keras.

    Returns:
        The finished (or interrupted) run; in a process that is not its cluster's chief, without files.

    Raises:
        ArtifactError: where the folder is in use.
        OptionError: where ``TF_CONFIG`` describes no cluster.
        UnavailableError: where a library is missing.
    """
    folder = folder or _new_folder(plan)
    make_run = _run_class()
    if make_run is Run:  # all others write nothing
        _check_room(folder)
    return _fit(make_run(plan, folder, plugins, display, callbacks=callbacks))


def resume(
    folder: Path,
    plugins: Plugins,
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
        data_dir: as for :func:`textgen.plan.make_plan`.
        callbacks: as for :func:`train`.

    Raises:
        ArtifactError: where the run cannot be read, or its text is no longer the same.
        OptionError: for a change of another option, or where the run is finished and nothing is left to do.
    """
    artifact = Artifact.open(folder)
    for table, values in (changes or {}).items():
        for option in values:
            if table != "training" or option not in RESUMABLE:
                raise OptionError(
                    f"{table}.{option} cannot change when a run goes on; training.{', training.'.join(RESUMABLE)} can"
                )
    tell_changes(artifact, plugins)
    check_transforms(artifact, plugins)
    with needing(artifact, plugins):
        plan = make_plan(merge_settings(artifact.manifest.settings, changes or {}), plugins, data_dir)
    same_text = plan.text_sha256 == artifact.manifest.provenance.get("text_sha256")
    if not same_text or plan.tokenizer.to_json() != artifact.tokenizer_json():
        raise ArtifactError(f"the text of {folder} has changed since the run began; train a new run instead")
    artifact.manifest.settings = plan.settings
    run = _run_class()(plan, folder, plugins, display, callbacks=callbacks, artifact=artifact)
    if artifact.manifest.status == "finished" and run.is_complete:
        raise OptionError(
            f"{folder} is finished, with epochs={plan.training.epochs} and max_steps={plan.training.max_steps}; "
            "to go on, raise them: --epochs, --max-steps"
        )
    return _fit(run)


def _run_class() -> type[Run]:
    """What this process is in its cluster, if it is in one: only the chief writes the run."""
    cluster = Cluster.from_environment()
    return Run if cluster is None or cluster.is_chief else Follower


def _fit(run: Run) -> Artifact:
    with run.stopping_on_signals():
        run.begin()
        run.plan.model.fit(run.plan.dataset, run)
        run.finish()
    return run.artifact


def _check_room(folder: Path) -> None:
    """Raise :class:`ArtifactError` where a folder is in use or cannot be made: a mistake told before anything else."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ArtifactError(f"{folder} exists already; choose another --out, or go on with: --resume {folder}")
    at_hand = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not at_hand.is_dir():
        raise ArtifactError(f"{at_hand} is a file, not a folder to put a run in; choose another --out")
    if not os.access(at_hand, os.W_OK):
        raise ArtifactError(f"{at_hand} cannot be written to; choose another --out")


def _new_folder(plan: Plan) -> Path:
    settings = plan.settings
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{settings['corpus']['name']}-{settings['model']['name']}"
    folder, count = runs_folder() / name, 2
    while folder.exists():
        folder, count = runs_folder() / f"{name}-{count}", count + 1
    return folder
