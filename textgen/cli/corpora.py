"""``textgen corpora``: the texts to train on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from textgen.base.console import folded, notice
from textgen.base.streams import print_json, print_result
from textgen.cli.parameters import AsJson, DataDir, Recipe, Tokenizer, complete_corpus

if TYPE_CHECKING:
    from textgen.evaluation.statistics import Bar
    from textgen.text.corpus import Corpus

app = typer.Typer(help="List, describe and download corpora.", no_args_is_help=True)

Name = Annotated[
    str,
    typer.Argument(
        help="The name of a corpus; `textgen corpora list` prints them.",
        autocompletion=complete_corpus,
        show_default=False,
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="corpus.OPTION=VALUE",
        help="An option of the corpus, such as corpus.field=description; may be repeated.",
        show_default=False,
    ),
]


@app.command("list")
def list_corpora(as_json: AsJson = False) -> None:
    """List the corpora, each with a summary."""
    from textgen.plugins.registry import plugins

    corpora = plugins().provided("corpus")
    if as_json:
        rows = [{"name": c.name, "summary": c.summary, "distribution": c.plugin.distribution} for c in corpora]
        print_json(rows)
        return
    width = max((len(corpus.name) for corpus in corpora), default=0)
    for corpus in corpora:
        print_result(folded(f"{corpus.name:{width}}  {corpus.summary}".rstrip(), width + 2))


@app.command()
def info(
    name: Name,
    assignments: Set = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
    plot: Annotated[
        Path | None,
        typer.Option(help="Write the histogram of document lengths to this PNG file.", show_default=False),
    ] = None,
) -> None:
    """Show the size of a corpus and the lengths of its documents. Downloads it if necessary."""
    from textgen.errors import OptionError
    from textgen.evaluation.statistics import describe_corpus, measure
    from textgen.files.writing import is_special
    from textgen.runs.output import check_output

    if plot is not None:
        if plot.suffix.lower() != ".png" and not is_special(plot):
            raise OptionError(f"--plot writes a PNG file; name it {plot}.png")
        check_output(plot, "--plot")
    corpus = _build(name, assignments or [], data_dir)
    if plot is not None and corpus.layout == "stream":
        raise OptionError(f"--plot draws the lengths of documents, but {name} is one stream of text; leave it out")
    statistics = measure(corpus.documents())
    if plot is not None:
        _plot(statistics.histogram, f"{name}: {statistics.documents:,} documents", plot)
    facts = describe_corpus(name, corpus, statistics)
    if as_json:
        print_json(facts)
        return
    _print_facts(facts)
    if corpus.layout == "documents":
        print_result("\ncharacters per document")
        _draw(statistics.histogram)


@app.command()
def show(
    corpus: Annotated[
        list[str],
        typer.Argument(
            help="The name of a corpus, or text files, folders or patterns.",
            autocompletion=complete_corpus,
            show_default=False,
        ),
    ],
    tokenizer: Tokenizer = None,
    recipe: Recipe = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="TABLE.OPTION=VALUE",
            help="An option of corpus, tokenizer or training, as for `textgen train`; may be repeated.",
            show_default=False,
        ),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Show a text as a model reads it: first characters, ids, vocabulary, and an example with its target."""
    from textgen.api import read
    from textgen.options import parse_settings

    settings = parse_settings(assignments or [])
    named = corpus if len(corpus) > 1 else corpus[0]
    print_result(read(named, tokenizer=tokenizer, recipe=recipe, settings=settings, data_dir=data_dir))


@app.command()
def fetch(name: Name, assignments: Set = None, data_dir: DataDir = None) -> None:
    """Download the files of a corpus, unless they are present, and print their paths."""
    paths = _build(name, assignments or [], data_dir).fetch()
    for path in paths:
        print_result(path)
    if not paths:
        notice(f"{name} does not read files")


def _build(name: str, assignments: list[str], data_dir: Path | None) -> Corpus:
    from textgen.errors import OptionError
    from textgen.options import parse_settings
    from textgen.plugins.registry import plugins

    settings = parse_settings(assignments)
    for table in settings.keys() - {"corpus"}:
        raise OptionError(
            f"--set {table}.NAME does not belong here: only options of the corpus can be set, as corpus.NAME"
        )
    corpus: Corpus = plugins().make("corpus", {**settings.get("corpus", {}), "name": name}, data_dir)
    return corpus


def _print_facts(facts: dict[str, Any]) -> None:
    for label, value in facts.items():
        if label == "histogram":
            continue
        if label == "files":
            shown = [f"{file['path']} ({file['state']})" for file in value]
        elif label == "labels":
            shown = [f"{each}: {count:,}" for each, count in value.items()]
        elif label == "options":
            shown = [
                f"{option}={json.dumps(chosen, ensure_ascii=False)}"
                for option, chosen in value.items()
                if not isinstance(chosen, list)  # many files, which are listed anyway
            ]
        elif isinstance(value, int):
            shown = [f"{value:,}"]
        elif isinstance(value, float):
            shown = [f"{value:,.1f}"]
        else:
            shown = [value] if value else []
        for text in shown:
            print_result(folded(f"{label.replace('_', ' '):21}{text}", 21))


def _draw(histogram: list[Bar]) -> None:
    labels = [str(b.shortest) if b.shortest == b.longest else f"{b.shortest}-{b.longest}" for b in histogram]
    most = max(bar.documents for bar in histogram)
    label_width, count_width = max(map(len, labels)), len(f"{most:,}")
    room = max(shutil.get_terminal_size().columns - label_width - count_width - 3, 10)
    for label, bar in zip(labels, histogram, strict=True):
        # At least one block for a bar that is not empty, so that a rare length does not look like a missing one.
        blocks = "█" * -(-bar.documents * room // most)
        print_result(f"{label:>{label_width}} {bar.documents:{count_width},} {blocks}".rstrip())


def _plot(histogram: list[Bar], title: str, path: Path) -> None:
    from textgen.base.figures import new_figure, save_figure
    from textgen.errors import TextgenError

    figure = new_figure(8, 4.5)
    axes = figure.add_subplot(title=title, xlabel="characters per document", ylabel="documents")
    for bar in histogram:
        width = bar.longest - bar.shortest + 1
        axes.bar(bar.shortest - 0.5, bar.documents, width, align="edge", color="tab:blue", edgecolor="white")
    try:
        save_figure(figure, path)
    except OSError as error:
        raise TextgenError(f"{path} cannot be written: {error.strerror}; choose another path for --plot") from None
    notice(f"wrote {path}")
