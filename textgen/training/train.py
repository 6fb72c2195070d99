"""Training: from a plan to a finished run, and resuming a run that stopped."""

from __future__ import annotations

import signal
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import FrameType

from textgen.base.cluster import Cluster
from textgen.base.console import notice
from textgen.base.machine import signals_handled
from textgen.errors import ArtifactError, OptionError, UnknownCharacterError
from textgen.files.writing import inside, quoted
from textgen.model.fitting import Position
from textgen.options import Settings, merge_settings
from textgen.plugins.recorded import check_transforms, needing, recorded_tokenizer, report_changes
from textgen.plugins.registry import Registry
from textgen.runs.artifact import Artifact
from textgen.runs.folder import claimed, find_run, name_run, new_folder
from textgen.runs.lineage import Base, Refit
from textgen.runs.manifest import CHECKPOINTS
from textgen.runs.output import OF_A_RUN
from textgen.training.display import Display
from textgen.training.plan import Plan, make_plan
from textgen.training.recorder import Recorder, make_manifest
from textgen.training.run import Run
from textgen.training.settings import (
    changes_to,
    check_code,
    check_resumable,
    common_options,
    recorded_code,
    recorded_settings,
    report_code,
)
from textgen.training.text import read_text


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


def open_base(run: Path, registry: Registry) -> Base:
    """Reads the run that another one is to begin with; plugins that have changed since it was made are reported.

    Args:
        run: its folder, or its name in the folder of runs.
        registry: the plugins to compare with.

    Raises:
        ArtifactError: as :meth:`Base.open`.
    """
    base = Base.open(find_run(run))
    report_changes(base.artifact, registry)
    return base


def plan_refit(run: Path, registry: Registry, changes: Settings, data_dir: Path | None = None) -> Plan:
    """Plans to train a finished run again on all of its text, for as many epochs as its best weights were.

    The step sizes are those of a run of all its epochs.

    Args:
        run: its folder, or its name in the folder of runs.
        registry: where names are looked up.
        changes: settings that override the run's.
        data_dir: as for :func:`textgen.training.text.read_text`.

    Raises:
        ArtifactError: if its best epoch is not known, or the run that it began with is not as it was.
        OptionError: if text is to be held out.
    """
    refit = Refit.open(find_run(run))
    artifact = refit.artifact
    report_changes(artifact, registry)
    report_code(artifact, changes, registry)
    with needing(artifact, registry):
        recorded = recorded_settings(artifact, registry)
        model = registry.make("model", recorded["model"], artifact.manifest.vocab_size)
        fitted = {"training": refit.options, "model": model.fitted_options(artifact.weights())}
        settings = merge_settings(recorded, fitted, changes)
        if common_options(settings).held_out:
            raise OptionError(
                f"a refit of {refit.path} holds no text out; leave out training.held_out, or train a new run"
            )
        base = Base.of(artifact) if artifact.manifest.lineage else None
        plan = make_plan(settings, registry, data_dir, base=base, refit=refit)
    if not plan.text.is_text_of(artifact):
        notice(f"the text of {refit.path} has changed since the run began, by which its best epoch was found")
    return plan


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
        changes: new values of the training options that the model declares as ``resumable``. Others may only be given
            with the values that they have.
        data_dir: as for :func:`textgen.training.text.read_text`.

    Raises:
        ArtifactError: if the run cannot be read, its text has changed, or another process trains it.
        OptionError: if another option is changed, the run is finished and nothing is left to do, or it was trained with
            callbacks, and ``changes`` neither names them again nor says that there are none.
    """
    with claimed(folder) if is_chief() and folder.is_dir() else nullcontext():
        return _resume(Artifact.open(folder), registry, display, changes or {}, data_dir)


def _resume(
    artifact: Artifact, registry: Registry, display: Display, changes: Settings, data_dir: Path | None
) -> Artifact:
    if is_chief():
        for name in (*OF_A_RUN, CHECKPOINTS):
            inside(artifact.path, name)  # before any work is done
    with needing(artifact, registry):
        recorded = recorded_settings(artifact, registry)
        code = check_code(artifact, changes, registry)
        known = merge_settings(recorded, {"training": recorded_code(artifact, registry)})
        changes = changes_to(known, changes, registry)
        check_resumable(artifact, recorded, changes, registry)
        report_changes(artifact, registry)
        check_transforms(artifact, registry)
        plan = _plan_again(artifact, merge_settings(recorded, changes, code), registry, data_dir)
    if plan is None or not plan.text.is_text_of(artifact):
        raise ArtifactError(f"the text of {artifact.path} has changed since the run began; train a new run instead")
    if is_chief():
        run = Run(plan, artifact, registry, display, Recorder(artifact, plan))
    else:
        run = Run(plan, artifact, registry, Display())
    if artifact.manifest.status == "finished":
        _check_unfinished(run)
    artifact.manifest.settings = plan.settings
    if changes:
        step = run.checkpoint.position.total if run.checkpoint else 0
        artifact.manifest.changes.append({"step": step, "settings": changes})
    return _fit(run)


def _plan_again(artifact: Artifact, settings: Settings, registry: Registry, data_dir: Path | None) -> Plan | None:
    """Plans a run as when it began; ``None`` if its text has characters that it did not have then."""
    if not artifact.manifest.lineage:
        return make_plan(settings, registry, data_dir)
    if artifact.manifest.last_checkpoint is None:
        return make_plan(settings, registry, data_dir, base=Base.of(artifact))
    tokenizer = recorded_tokenizer(artifact, registry)  # its vocabulary comes from the texts of several runs
    try:
        text = read_text(settings, registry, data_dir, tokenizer=tokenizer)
    except UnknownCharacterError:
        return None
    return make_plan(settings, registry, text=text)


def _check_unfinished(run: Run) -> None:
    """Checks that something is left to train, by the options as they are now."""
    if run.is_complete:
        options, folder = run.options, run.artifact.path
        done = run.checkpoint.position if run.checkpoint else Position()
        limits = (
            ("--epochs ", options.epochs, done.epoch),
            ("--max-steps ", options.max_steps, done.total),
            ("--set training.stop_after=", options.stop_after, done.epoch),
            ("--set training.patience=", options.patience, run.epochs_since_best),
        )
        reached = [(name, limit, count) for name, limit, count in limits if limit is not None and count >= limit]
        # A limit may have been lowered below what is done.
        now = " ".join(f"{name}{limit}" + f" ({count} are done)" * (count > limit) for name, limit, count in reached)
        longer = " ".join(f"{name}{2 * count}" for name, _, count in reached)
        raise OptionError(
            f"{folder} is finished, with {now}; train it longer with: textgen train --resume {quoted(folder)} {longer}"
        )


def is_chief() -> bool:
    """Returns whether this process writes its runs: in a cluster only one does."""
    cluster = Cluster.from_environment()
    return cluster is None or cluster.is_chief


def _fit(run: Run) -> Artifact:
    with signals_handled(partial(_stop, run)):
        run.begin()
        try:
            if run.checkpoint is None and run.plan.weights is not None:
                run.plan.model.load_weights(run.plan.weights)
            run.plan.model.fit(run.plan.dataset, run)
            run.finish()
        except BaseException as error:
            run.end("interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
            raise
        run.end("interrupted" if run.artifact.manifest.status == "interrupted" else "finished")
    return run.artifact


def _stop(run: Run, number: int, frame: FrameType | None) -> None:
    """Stops a run after the current batch on Ctrl-C, SIGTERM or SIGHUP; a second Ctrl-C stops it at once."""
    if number == signal.SIGINT:
        run.interrupt()
    else:
        run.ask_to_stop()
