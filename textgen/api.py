"""The Python face: load a run and generate, or train one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textgen.options import Settings, merge_settings
from textgen.plugins.registry import Registry, plugins
from textgen.runs.artifact import Artifact
from textgen.runs.folder import find_run
from textgen.saved_run import SavedRun
from textgen.text_generator import TextGenerator

if TYPE_CHECKING:
    from textgen.evaluation.evaluate import Progress
    from textgen.evaluation.folds import CrossValidation
    from textgen.exporting.exporter import ExportReport


def load(path: str | Path | None = None, *, runtime: str = "auto", device: str = "auto") -> TextGenerator:
    """Load a run, or an export of one.

    Args:
        path: its folder, or its name in the folder of runs; the latest run for ``None``.
        runtime: ``"auto"`` for the fastest one that runs the model, or its registered name.
        device: ``"auto"``, ``"cpu"`` or ``"cuda[:N]"``.

    Raises:
        ArtifactError: where the run is missing, incomplete, altered, or of a later format.
        UnavailableError: where a library or the device is missing.
    """
    run = SavedRun.open(path)
    name, opened = run.runtime(runtime, device)
    return TextGenerator(run, opened, name)


def export(
    path: str | Path | None = None,
    *,
    to: str = "onnx",
    out: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    notice: Callable[[str], None] = print,
) -> ExportReport:
    """Export a run.

    Args:
        path: its folder, or its name in the folder of runs; the latest run for ``None``.
        to: the exporter, by registered name.
        out: the folder to write; by default one in the run's folder, named after the exporter.
        options: of the exporter, such as ``{"precision": "int8"}``.
        notice: tells what the exporter has to say, a line at a time.

    Returns:
        What was written, and how far it is from its source.

    Raises:
        ArtifactError: where the export differs too much from the run; nothing is left then.
    """
    from textgen.exporting.source import export_run

    run = SavedRun.open(path)
    return export_run(run, to, options or {}, Path(out) if out else run.artifact.path / to, notice=notice)


def cross_validate(
    path: str | Path | None = None,
    *,
    folds: int = 5,
    device: str | None = None,
    data_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> CrossValidation:
    """Judge the options of a run on documents: train a model a fold, and judge it by the fold that it did not see.

    Args:
        path: the run's folder, or its name in the folder of runs; the latest run for ``None``.
        folds: how many, at least 2.
        device: to train on, by default the run's.
        data_dir: searched for the corpus's files before anything is downloaded.
        progress: is told what is under way, how much of it is done, and of how much.

    Raises:
        OptionError: for fewer than 2 folds, more than documents, or a run that was trained on a stream.
        UnavailableError: where a library to train with is missing.
    """
    from textgen.evaluation.evaluate import say_nothing
    from textgen.evaluation.folds import cross_validate_run

    return cross_validate_run(
        Artifact.open(find_run(None if path is None else Path(path))),
        plugins(),
        folds,
        changes={"training": {} if device is None else {"device": device}},
        data_dir=None if data_dir is None else Path(data_dir),
        progress=progress or say_nothing,
    )


def train(
    corpus: str | Path | None = None,
    model: str | None = None,
    *,
    tokenizer: str | None = None,
    recipe: str | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    out: str | Path | None = None,
    data_dir: str | Path | None = None,
    callbacks: Sequence[Any] = (),
) -> TextGenerator:
    """Train a model and load it.

    Args:
        corpus: a registered name, or the path of a text file.
        model: a registered name; ``"gru"`` by default.
        tokenizer: a registered name; by default one that suits the corpus.
        recipe: a registered name, whose settings are the base of all others.
        settings: options by table, such as ``{"model": {"units": 512}, "training": {"epochs": 5}}``.
        out: the run's folder; by default a new one in ``runs``.
        data_dir: searched for the corpus's files before anything is downloaded.
        callbacks: ``keras.callbacks.Callback`` objects.

    Raises:
        TextgenError: as the parts raise it.

    Example:
        >>> textgen.train("dinos-lite", settings={"training": {"epochs": 5}}).generate()  # doctest: +SKIP
    """
    from textgen.training.display import make_display
    from textgen.training.plan import make_plan
    from textgen.training.train import train as train_run

    found = plugins()
    chosen = choose(found, corpus=corpus, model=model, tokenizer=tokenizer, recipe=recipe, settings=settings)
    plan = replace(make_plan(chosen, found, Path(data_dir) if data_dir else None), recipe=recipe)
    with make_display() as display:
        artifact = train_run(plan, found, display, folder=Path(out) if out else None, callbacks=callbacks)
    return load(artifact.path)


def choose(
    found: Registry,
    *,
    corpus: str | Path | None = None,
    model: str | None = None,
    tokenizer: str | None = None,
    recipe: str | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
) -> Settings:
    """Settings from the names that :func:`train` takes: the recipe, then the names, then the settings over them."""
    named: Settings = {}
    if corpus is not None:
        named["corpus"] = _corpus_settings(found, corpus)
    if model is not None:
        named["model"] = {"name": model}
    if tokenizer is not None:
        named["tokenizer"] = {"name": tokenizer}
    base = found.get("recipe", recipe) if recipe is not None else {}
    return merge_settings(base, named, settings or {})


def _corpus_settings(found: Registry, corpus: str | Path) -> dict[str, Any]:
    is_name = isinstance(corpus, str) and any(item.name == corpus for item in found.provided("corpus"))
    if not is_name and (isinstance(corpus, Path) or Path(corpus).exists()):
        return {"name": "file", "path": str(corpus)}
    return {"name": str(corpus)}
