"""The command ``textgen tune``."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import textgen
from textgen import Cluster, Display, Position, notice, quoted, show_progress
from textgen.errors import OptionError, TextgenError, UnavailableError
from textgen.options import merge_settings, parse_settings, read_config
from textgen_tune.space import DEFAULT, MODELS, Searched, read_space

if TYPE_CHECKING:
    from textgen_tune.trials import Search, Trial

#: The trials that are listed at the end, those of the lowest loss first.
LISTED = 10


def _folder(text: str | Path) -> Path:
    if not str(text):
        raise OptionError("--out must be a path, not ''")
    return Path(text)


def tune(
    corpus: Annotated[
        list[str],
        typer.Argument(metavar="CORPUS...", help="Corpus, by name, or files, folders or patterns.", show_default=False),
    ],
    trials: Annotated[int, typer.Option(min=1, max=100_000, help="Trials in all, with those of earlier calls.")] = 20,
    search: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TABLE.OPTION=VALUES",
            help="An option to search: a range, as in model.units=64..512, or values, as in training.batch_size=32,64; "
            f"may be repeated. By default {', '.join(DEFAULT)}.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model, by name; by default gru.")] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Tokenizer, by name; by default one that suits the corpus.")
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="A set of options, by name, which others change.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file of options, as for textgen train.")] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="TABLE.OPTION=VALUE", help="An option of all trials; may be repeated."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the text, in every trial.")] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Judge a trial by cross-validation, too, with so many folds of the documents: a model more for each.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of the search.")] = 0,
    out: Annotated[
        Path,
        typer.Option(parser=_folder, metavar="PATH", help="Folder of the search; continues the one that is there."),
    ] = Path("tune"),
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder searched for the corpus's files before anything is downloaded.")
    ] = None,
) -> None:
    """Search a model's options by held-out loss: each trial trains a run, and the best one is kept.

    The same command continues a search that was stopped or killed, and does as if it had not been; with more --trials,
    it goes on. The path of the best run is printed on stdout, everything else on stderr; OUT/tune.json has all trials.
    """
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise UnavailableError(
            f"textgen tune needs Optuna ({error}); install it with: pip install 'textgen-rnn[tune]'"
        ) from None
    from textgen_tune.plot import save_plot
    from textgen_tune.trials import Search

    if Cluster.from_environment() is not None:
        raise OptionError("trials are trained by one process; unset TF_CONFIG")
    given = {} if epochs is None else {"training": {"epochs": epochs}}
    settings = merge_settings(read_config(config) if config else {}, parse_settings(assignments or []), given)
    space = _space(search, model or settings["model"].get("name"), recipe)
    _check_apart(space, settings)
    names = {"model": model, "tokenizer": tokenizer, "recipe": recipe}
    about = {
        "corpus": corpus,
        **names,
        "settings": {table: values for table, values in settings.items() if values},
        "search": [*(search or DEFAULT)],
        "folds": folds,
        "seed": seed,
    }
    found = Search(out, about, space)
    while len(found.trials) < trials:
        _delete_all_but_best(found)
        options = found.suggest(seed)
        trial = _try(found, options, corpus, names, settings, folds, data_dir)
        found.add(trial)
        best = found.best
        told = "" if best is None else f"; best: {best.loss:.4f} (trial {best.number + 1})"
        notice(f"trial {trial.number + 1} of {trials}: {_loss(trial)}, {' '.join(trial.assignments)}{told}")
    _delete_all_but_best(found)
    if found.best is None:
        raise OptionError(f"no trial of {out} has a loss that is a number; search other values")
    _print_table(found, space)
    save_plot(found, space)
    run = found.run(found.best.number)
    notice(f"train it on all text: textgen train --refit {quoted(run)}")
    print(run)


def _space(search: Sequence[str] | None, model: str | None, recipe: str | None) -> list[Searched]:
    if not search and (recipe is not None or model not in (None, *MODELS)):
        what = f"the recipe {recipe}" if recipe is not None else f"the model {model}"
        raise OptionError(f"name what to search for {what}, as in --search model.units=64..512; see textgen options")
    return read_space(search or DEFAULT)


def _check_apart(space: Sequence[Searched], settings: Any) -> None:
    """Check that no option is both searched and set."""
    for each in space:
        table, _, option = each.name.partition(".")
        if option in settings[table]:
            raise OptionError(f"{each.name} is both searched and set; leave one of them out")


def _try(
    search: Search,
    options: dict[str, str],
    corpus: Sequence[str],
    names: dict[str, str | None],
    settings: Any,
    folds: int | None,
    data_dir: Path | None,
) -> Trial:
    """Train and judge the next trial."""
    from textgen_tune.trials import Trial, finite

    number = len(search.trials)
    started = time.monotonic()
    chosen = [f"{name}={value}" for name, value in options.items()]
    with show_progress() as progress:
        try:
            generator = textgen.train(
                corpus if len(corpus) > 1 else corpus[0],
                settings=merge_settings({"training": {"sample_every": 0}}, settings, parse_settings(chosen)),
                out=search.run(number),
                data_dir=data_dir,
                display=_Progress(f"trial {number + 1}, batches", progress),
                **{name: value for name, value in names.items() if value is not None},
            )
        except textgen.Interrupted:
            notice(f"stopped; to continue {search.folder}, run the same command again")
            raise
        except TextgenError as error:
            raise OptionError(f"trial {number + 1} ({' '.join(chosen)}): {error}") from None
        manifest = generator.artifact.manifest
        if folds is not None:
            loss = textgen.cross_validate(search.run(number), folds=folds, data_dir=data_dir, progress=progress).nats
        elif "held_out_loss" in manifest.metrics:
            loss = manifest.metrics["held_out_loss"]
        else:
            raise OptionError("trials are judged by held-out text; set training.held_out above 0, or use --folds")
    return Trial(number, options, finite(loss), round(time.monotonic() - started, 1))


class _Progress(Display):
    """Reports the training of a trial as progress."""

    def __init__(self, label: str, progress: Callable[[str, int, int], None]) -> None:
        self._label = label
        self._progress = progress

    def started(self, plan: Any, folder: Path, position: Position) -> None:
        self._total = plan.training.last_epoch * plan.dataset.train.steps

    def batch(self, position: Position, loss: float, characters_per_second: float, learning_rate: float | None) -> None:
        self._progress(self._label, position.total, self._total)


def _delete_all_but_best(search: Search) -> None:
    """Delete the runs of all trials but the best one, and of a trial that was not finished."""
    kept = search.run(search.best.number) if search.best else None
    for run in search.folder.glob("run-*"):
        if run != kept:
            shutil.rmtree(run)


def _loss(trial: Trial) -> str:
    return "diverged" if trial.loss is None else f"{trial.loss:.4f}"


def _print_table(search: Search, space: Sequence[Searched]) -> None:
    """Print the trials of the lowest loss on stderr."""
    judged = sorted((trial for trial in search.trials if trial.loss is not None), key=lambda trial: trial.loss or 0)
    rows = [["trial", "loss", "seconds", *(each.name for each in space)]]
    for trial in judged[:LISTED]:
        values = [_short(trial.options[each.name]) for each in space]
        rows.append([str(trial.number + 1), _loss(trial), f"{trial.seconds:.0f}", *values])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)), file=sys.stderr)


def _short(value: str) -> str:
    """A value, if it is a number with four digits."""
    try:
        return f"{float(value):.4g}"
    except ValueError:
        return value
