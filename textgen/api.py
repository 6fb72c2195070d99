"""The Python interface: look at a text, train a run on it, load one and generate text, export or cross-validate it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from textgen.base import values
from textgen.base.cluster import Cluster
from textgen.errors import OptionError
from textgen.files.writing import quoted
from textgen.options import Settings, merge_settings
from textgen.plugins.registry import Registry, plugins
from textgen.runs.artifact import Artifact, Trust
from textgen.runs.folder import find_run
from textgen.saved_run import SavedRun
from textgen.text_generator import TextGenerator

if TYPE_CHECKING:
    from textgen.evaluation.folds import CrossValidation
    from textgen.evaluation.samples import Progress
    from textgen.exporting.exporter import ExportReport
    from textgen.model.model import Model
    from textgen.text.tokenizer import Tokenizer
    from textgen.training.display import Display
    from textgen.training.plan import Plan
    from textgen.training_text import TrainingText


class Interrupted(KeyboardInterrupt):
    """Training was interrupted, as by Ctrl-C or the stop button of a notebook, after everything was saved.

    It ends a program, a loop and "Run all", as any :class:`KeyboardInterrupt`. Its message says how to resume.

    Args:
        run: the folder of the run.
        generator: as the attribute.

    Attributes:
        run: the folder of the run.
        generator: writes with the best weights so far; ``None`` if none were saved yet.
    """

    def __init__(self, run: Path, generator: TextGenerator | None) -> None:
        self.run = run
        self.generator = generator
        path = str(run)
        write = f"; to write with the model as it is now: textgen.load({path!r})" if generator else ""
        super().__init__(
            f"training was stopped, and everything is saved in {path}; resume it with: textgen.train(resume={path!r}), "
            f"on the command line: textgen train --resume {quoted(run)}{write}"
        )

    def __reduce__(self) -> tuple[Any, ...]:  # an exception is made again from its message otherwise
        return type(self), (self.run, self.generator)


def load(
    path: str | PathLike[str] | None = None, *, runtime: str = "auto", device: str = "auto", trust: Trust = "weights"
) -> TextGenerator:
    """Loads a run, or an export of one.

    Args:
        path: its folder, or its name in the folder of runs; by default the latest run.
        runtime: ``"auto"`` for the fastest one that runs the model, or its registered name.
        device: ``"auto"``, ``"cpu"`` or ``"cuda[:N]"``.
        trust: what of the folder may run: with ``"weights"`` nothing, as its graphs are built anew from the weights in
            it, or checked; with ``"graph"`` the graphs as they are, so give it for folders only whose source you trust.

    Raises:
        OptionError: if ``trust`` is neither.
        ArtifactError: if the run is missing, incomplete, altered, or of a later format.
        UnavailableError: if a library or the device is missing.
    """
    if values.text(trust, "trust") not in get_args(Trust):
        raise OptionError(f"unknown trust {trust!r}; there are: {', '.join(get_args(Trust))}")
    run = SavedRun.open(_path(path, "path"), trust=trust)
    device = values.text(device, "device")
    name, opened = run.runtime(values.text(runtime, "runtime"), device)
    return TextGenerator(run, opened, name, load=partial(load, device=device, trust=trust))


def export(
    path: str | PathLike[str] | None = None,
    *,
    to: str = "onnx",
    out: str | PathLike[str] | None = None,
    sampler: str | None = None,
    options: Mapping[str, Any] | None = None,
    notice: Callable[[str], None] | None = None,
) -> ExportReport:
    """Exports a run.

    Args:
        path: its folder, or its name in the folder of runs; by default the latest run.
        to: the exporter, by registered name.
        out: the folder to write; by default one in the run's folder, named after the exporter.
        sampler: the sampler chain that the export generates with; by default the run's own.
        options: options of the exporter, such as ``{"precision": "int8"}``.
        notice: called with each line that the exporter reports; by default nothing is shown.

    Returns:
        The files written, and how far they are from their source.

    Raises:
        OptionError: if ``sampler`` is not a chain.
        ArtifactError: if the export differs too much from the run; nothing is left then.
    """
    from textgen.exporting.source import export_run

    run = SavedRun.open(_path(path, "path"))
    exporter, chosen, folder = values.text(to, "to"), values.table(options or {}, "options"), _path(out, "out")
    sampler = None if sampler is None else values.text(sampler, "sampler")
    return export_run(run, exporter, chosen, folder, sampler=sampler, notice=notice or (lambda line: None))


def cross_validate(
    path: str | PathLike[str] | None = None,
    *,
    folds: int = 5,
    device: str | None = None,
    data_dir: str | PathLike[str] | None = None,
    progress: Progress | None = None,
) -> CrossValidation:
    """Judges the options of a run by k-fold cross-validation: one model per fold, scored on the fold it has not seen.

    Args:
        path: the run's folder, or its name in the folder of runs; by default the latest run.
        folds: the number of folds, at least 2.
        device: the device to train on; by default the run's.
        data_dir: a folder searched for the corpus's files before anything is downloaded.
        progress: called with the name of the current step, the amount done, and the total.

    Raises:
        OptionError: if there are fewer than 2 folds, more than documents, or the run was trained on a stream.
        UnavailableError: if a library to train with is missing.
    """
    from textgen.evaluation.folds import cross_validate_run

    return cross_validate_run(
        SavedRun.open(_path(path, "path")),
        values.whole_number(folds, "folds", 2, 10**6),
        changes={"training": {} if device is None else {"device": values.text(device, "device")}},
        data_dir=_path(data_dir, "data_dir"),
        progress=progress,
    )


def train(
    corpus: str | PathLike[str] | Iterable[str | PathLike[str]] | None = None,
    model: str | None = None,
    *,
    text: str | Iterable[str] | None = None,
    labels: Iterable[str] | None = None,
    tokenizer: str | None = None,
    recipe: str | None = None,
    from_: str | PathLike[str] | None = None,
    refit: str | PathLike[str] | None = None,
    resume: str | PathLike[str] | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    out: str | PathLike[str] | None = None,
    data_dir: str | PathLike[str] | None = None,
    callbacks: Sequence[Any] = (),
    display: Display | Literal["auto"] | None = "auto",
) -> TextGenerator:
    """Trains a model and loads it.

    Ctrl-C, or the stop button of a notebook, ends it after the current batch, with everything saved; pressed again, at
    once. Python delivers interrupts to the main thread only.

    Under ``TF_CONFIG`` it is called in each worker. Only the first one writes the run and loads it from its folder; the
    others return the same weights from memory, with an artifact that has no files.

    Args:
        corpus: a registered name, or the path of a text file, a folder or a pattern, or several of them.
        model: a registered name; ``"gru"`` by default.
        text: the text itself, instead of a corpus: a string is one long text; a list, another iterable, a NumPy array
            or a column of a data frame is documents. It is kept in the cache folder, as a file that the run records.
        labels: the label of each document of ``text``.
        tokenizer: a registered name; by default one that suits the corpus.
        recipe: a registered name, whose settings are the base of all others.
        from_: a run, by its folder or its name in the folder of runs, whose trained weights to begin with. Its model,
            tokenizer and options take the place of ``model``, ``tokenizer`` and ``recipe``.
        refit: a finished run, by its folder or its name, to train again on all of its text, for as many epochs as its
            best weights were; the new run is not judged. Its corpus, too, takes the place of ``corpus``.
        resume: a run that stopped, or is to train longer, by its folder or its name: it continues as if it had not
            stopped. Of its options only some can change, such as the number of epochs.
        settings: options by table, such as ``{"model": {"units": 512}, "training": {"epochs": 5}}``.
        out: the run's folder; by default a new one in ``runs``.
        data_dir: a folder searched for the corpus's files before anything is downloaded.
        callbacks: objects to add to the training option ``callbacks``, for models that have it.
        display: shows progress. ``"auto"`` shows it in a notebook, in one output that is updated in place, and nothing
            elsewhere; ``None`` shows nothing.

    Raises:
        OptionError: if an option is unknown, out of range, or not one of the model's, or ``text`` is not text.
        CorpusError: if the text cannot be read, or is too short.
        ArtifactError: if the folder is in use, the run to begin with has no weights that fit, or the best epoch of the
            run to train again is not known.
        UnavailableError: if a library is missing.
        Interrupted: after Ctrl-C, with a generator of what is saved.

    Example:
        >>> textgen.train("dinos-lite", settings={"training": {"epochs": 5}}).generate()  # doctest: +SKIP
    """
    from textgen.notebook.display import shown
    from textgen.training.plan import make_plan
    from textgen.training.settings import check_taken
    from textgen.training.train import is_chief, open_base, plan_refit
    from textgen.training.train import resume as resume_run
    from textgen.training.train import train as train_run

    registry = plugins()
    named = {"corpus": corpus, "text": text, "labels": labels, "model": model, "tokenizer": tokenizer, "recipe": recipe}
    if resume is not None:
        check_taken("resume", {**named, "from_": from_, "refit": refit, "out": out})
        if Cluster.from_environment() is not None:
            raise OptionError("a run of several workers is resumed on the command line: textgen train --resume RUN")
    if refit is not None:
        check_taken("refit", {**named, "from_": from_})
    base = None
    if from_ is not None:
        check_taken("from_", {name: named[name] for name in ("model", "tokenizer", "recipe")})
        base = open_base(values.path(from_, "from_"), registry)
    wanted = _wanted(registry, named, settings, callbacks)
    folder, data, plan = _path(out, "out"), _path(data_dir, "data_dir"), None
    with shown(display) as chosen:
        if resume is not None:
            run = find_run(values.path(resume, "resume"))
            artifact = resume_run(run, registry, chosen, changes=wanted, data_dir=data)
        else:
            if refit is None:
                plan = make_plan(wanted, registry, data, recipe=_name(recipe, "recipe"), base=base)
            else:
                plan = plan_refit(values.path(refit, "refit"), registry, wanted, data)
            artifact = train_run(plan, registry, chosen, folder=folder)
    was_stopped = artifact.manifest.status == "interrupted"
    if was_stopped and artifact.manifest.weights is None:
        raise Interrupted(artifact.path, None)
    generator = load(artifact.path) if plan is None or is_chief() else _in_memory(artifact, registry, plan)
    if was_stopped:
        raise Interrupted(artifact.path, generator)
    return generator


def read(
    corpus: str | PathLike[str] | Iterable[str | PathLike[str]] | None = None,
    *,
    text: str | Iterable[str] | None = None,
    labels: Iterable[str] | None = None,
    tokenizer: str | None = None,
    recipe: str | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    data_dir: str | PathLike[str] | None = None,
) -> TrainingText:
    """Reads a text as :func:`train` would with the same arguments, to look at it.

    Args:
        corpus: a registered name, or the path of a text file, a folder or a pattern, or several of them.
        text: the text itself, instead of a corpus, as for :func:`train`.
        labels: the label of each document of ``text``.
        tokenizer: a registered name; by default one that suits the corpus.
        recipe: a registered name, whose settings are the base of all others.
        settings: options by table, such as ``{"training": {"length": 50}}``.
        data_dir: a folder searched for the corpus's files before anything is downloaded.

    Raises:
        OptionError: if an option is unknown or out of range, or ``text`` is not text.
        CorpusError: if the text cannot be read, or is empty.

    Example:
        >>> textgen.read("dinos-lite").example()  # doctest: +SKIP
    """
    from textgen.training_text import TrainingText

    registry = plugins()
    named = {"corpus": corpus, "text": text, "labels": labels, "tokenizer": tokenizer, "recipe": recipe}
    return TrainingText.read(_wanted(registry, named, settings), registry, _path(data_dir, "data_dir"))


def _wanted(
    registry: Registry,
    named: Mapping[str, Any],
    settings: Mapping[str, Mapping[str, Any]] | None,
    callbacks: Sequence[Any] = (),
) -> Settings:
    """The settings that arguments of :func:`train` ask for: of a text that is passed, those of its file.

    Args:
        registry: where names are looked up.
        named: the arguments ``corpus``, ``text``, ``labels``, ``model``, ``tokenizer`` and ``recipe``, by name.
        settings: options by table.
        callbacks: to add to those of ``settings``.
    """
    from textgen.base.passed_text import keep_text
    from textgen.training.settings import read_settings

    corpus, text, labels = (named.get(name) for name in ("corpus", "text", "labels"))
    if text is not None:
        if corpus is not None:
            raise OptionError(f"give either corpus={str(corpus)!r} or text=…, not both")
        corpus = keep_text(text, labels)
    elif labels is not None:
        raise OptionError(
            "labels belong to text=…; for a corpus set corpus.label, as in settings={'corpus': {'label': …}}"
        )
    names = {name: _name(named.get(name), name) for name in ("model", "tokenizer")}
    recipe = _name(named.get("recipe"), "recipe")
    wanted = read_settings(registry, {"corpus": _corpus(corpus), **names}, _settings(settings), recipe=recipe)
    if labels is not None:
        wanted = merge_settings(wanted, {"corpus": {"label": "label"}})
    if not isinstance(callbacks, list | tuple):
        raise OptionError(f"callbacks must be a list, not {values.shown(callbacks)}")
    if callbacks:
        given = wanted["training"].get("callbacks", ())
        wanted = merge_settings(wanted, {"training": {"callbacks": [*callbacks, *given]}})
    return wanted


def _name(value: object, name: str) -> str | None:
    return None if value is None else values.text(value, name)


def _path(path: object, name: str) -> Path | None:
    return None if path is None else values.path(path, name)


def _corpus(corpus: object) -> str | Path | list[str | Path] | None:
    """The name of a corpus, or its path or paths."""
    if corpus is None or isinstance(found := values.plain(corpus), str):
        if corpus is not None and not values.is_possible_path(found):
            raise OptionError(f"corpus must be a name or a path, not {values.shown(found)}")
        return None if corpus is None else found
    if isinstance(found, list):
        if not found:
            raise OptionError("corpus is empty; name at least one file")
        return [values.path(each, f"corpus[{index}]") for index, each in enumerate(found)]
    return values.path(found, "corpus")


def _settings(settings: object) -> dict[str, dict[str, Any]]:
    """Options by table, as plain values."""
    if settings is None:
        return {}
    return {
        values.text(table, "the name of a table in settings"): values.table(options, f"settings[{table!r}]")
        for table, options in values.table(settings, "settings").items()
    }


def _in_memory(artifact: Artifact, registry: Registry, plan: Plan) -> TextGenerator:
    """The model that a process has trained whose run another process writes."""
    from textgen.generation.runtime import ModelRuntime

    return TextGenerator(_UnsavedRun(artifact, registry, plan), ModelRuntime(plan.model), plan.model.native_runtime)


class _UnsavedRun(SavedRun):
    """A run whose files are written by another process."""

    def __init__(self, artifact: Artifact, registry: Registry, plan: Plan) -> None:
        super().__init__(artifact, registry)
        self._plan = plan

    def tokenizer(self) -> Tokenizer:
        return self._plan.tokenizer

    def model(self) -> Model:
        return self._plan.model
