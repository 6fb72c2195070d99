"""``textgen corpora``: what text there is to train on."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from textgen.cli.parameters import AsJson, DataDir

if TYPE_CHECKING:
    from textgen.text.corpus import Corpus

app = typer.Typer(help="List, describe and download corpora.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A corpus, as `textgen corpora list` names it.", show_default=False)]
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
    """Print the names of the corpora, each with a summary."""
    from textgen.plugins.registry import plugins

    corpora = plugins().provided("corpus")
    if as_json:
        rows = [{"name": c.name, "summary": c.summary, "distribution": c.plugin.distribution} for c in corpora]
        print(json.dumps(rows, indent=1))
        return
    width = max((len(corpus.name) for corpus in corpora), default=0)
    for corpus in corpora:
        print(f"{corpus.name:{width}}  {corpus.summary}".rstrip())


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
    """Count a corpus, and show how long its documents are. Downloads it if need be."""
    from textgen.errors import OptionError

    corpus = _build(name, assignments or [], data_dir)
    if plot is not None and corpus.layout == "stream":
        raise OptionError(f"--plot draws the lengths of documents, and {name} is one stream of text; leave it out")
    if plot is not None and plot.suffix.lower() != ".png":
        raise OptionError(f"--plot writes a PNG file; name it {plot}.png")
    statistics = measure(corpus.documents())
    if plot is not None:
        _plot(statistics, f"{name}: {statistics.documents:,} documents", plot)
    facts = _facts(name, corpus, statistics)
    if as_json:
        print(json.dumps(facts, indent=1))
        return
    _print_facts(facts)
    if corpus.layout == "documents":
        print("\ncharacters a document")
        _draw(statistics.histogram)


@app.command()
def fetch(name: Name, assignments: Set = None, data_dir: DataDir = None) -> None:
    """Make the files of a corpus present on this machine, and print their paths."""
    paths = _build(name, assignments or [], data_dir).fetch()
    for path in paths:
        print(path)
    if not paths:
        print(f"textgen: {name} reads no files", file=sys.stderr)


@dataclass(frozen=True)
class Bar:
    """Documents of ``shortest`` to ``longest`` characters, both included."""

    shortest: int
    longest: int
    documents: int


@dataclass(frozen=True)
class Statistics:
    """Counts of a corpus; lengths are in characters (code points) a document."""

    documents: int
    characters: int
    distinct_characters: int
    shortest: int
    mean: float
    longest: int
    histogram: list[Bar]


def measure(documents: Iterable[str], bars: int = 20) -> Statistics:
    """Count documents; their lengths go into at most ``bars`` bars of one width.

    Raises:
        CorpusError: where there is no document.
    """
    from textgen.errors import CorpusError

    lengths: list[int] = []
    distinct: set[str] = set()
    for document in documents:
        lengths.append(len(document))
        distinct.update(document)
    if not lengths:
        raise CorpusError("the corpus is empty: it has no documents")
    shortest, longest = min(lengths), max(lengths)
    width = -(-(longest - shortest + 1) // bars)
    counts = Counter((length - shortest) // width for length in lengths)
    starts = range(shortest, longest + 1, width)
    return Statistics(
        documents=len(lengths),
        characters=sum(lengths),
        distinct_characters=len(distinct),
        shortest=shortest,
        mean=sum(lengths) / len(lengths),
        longest=longest,
        histogram=[Bar(start, min(start + width - 1, longest), counts[index]) for index, start in enumerate(starts)],
    )


def _build(name: str, assignments: list[str], data_dir: Path | None) -> Corpus:
    from textgen.errors import OptionError
    from textgen.options import parse_settings
    from textgen.plugins.registry import plugins

    settings = parse_settings(assignments)
    for table in settings.keys() - {"corpus"}:
        raise OptionError(f"--set {table}.NAME does not belong here: set options of the corpus only, as corpus.NAME")
    corpus: Corpus = plugins().make("corpus", {**settings.get("corpus", {}), "name": name}, data_dir)
    return corpus


def _facts(name: str, corpus: Corpus, statistics: Statistics) -> dict[str, Any]:
    """What ``info`` prints; a stream has no document lengths."""
    provenance = corpus.provenance()
    counts = asdict(statistics)
    if corpus.layout == "stream":
        counts = {label: counts[label] for label in ("characters", "distinct_characters")}
    facts = {"corpus": name, "layout": corpus.layout, **counts, "licence": provenance.licence}
    return {**facts, "homepage": provenance.homepage, "files": _files(corpus)}


def _files(corpus: Corpus) -> list[dict[str, str]]:
    """The files that the corpus reads, each with its hash, and how that compares with the published one."""
    from textgen.base.files import sha256

    sources = corpus.provenance().sources
    files = []
    for path in corpus.fetch():
        published = next((s.sha256 for s in sources if path.as_posix().endswith(s.file)), None)
        digest = sha256(path)
        state = "your own" if published is None else "published" if digest == published else "differs"
        files.append({"path": str(path), "sha256": digest, "state": state})
    return files


def _print_facts(facts: dict[str, Any]) -> None:
    for label, value in facts.items():
        if label == "histogram":
            continue
        if label == "files":
            shown = [f"{file['path']} ({file['state']})" for file in value]
        elif isinstance(value, int):
            shown = [f"{value:,}"]
        elif isinstance(value, float):
            shown = [f"{value:,.1f}"]
        else:
            shown = [value] if value else []
        for text in shown:
            print(f"{label.replace('_', ' '):21}{text}")


def _draw(histogram: list[Bar]) -> None:
    labels = [str(b.shortest) if b.shortest == b.longest else f"{b.shortest}-{b.longest}" for b in histogram]
    most = max(bar.documents for bar in histogram)
    label_width, count_width = max(map(len, labels)), len(f"{most:,}")
    room = max(shutil.get_terminal_size().columns - label_width - count_width - 3, 10)
    for label, bar in zip(labels, histogram, strict=True):
        # At least one block for a bar that is not empty: a rare length is not a missing one.
        blocks = "█" * -(-bar.documents * room // most)
        print(f"{label:>{label_width}} {bar.documents:{count_width},} {blocks}".rstrip())


def _plot(statistics: Statistics, title: str, path: Path) -> None:
    from textgen.base.files import write_atomically
    from textgen.errors import TextgenError, UnavailableError

    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UnavailableError('--plot needs matplotlib: pip install "textgen-rnn[plots]"') from None
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot(title=title, xlabel="characters a document", ylabel="documents")
    for bar in statistics.histogram:
        width = bar.longest - bar.shortest + 1
        axes.bar(bar.shortest - 0.5, bar.documents, width, align="edge", color="tab:blue", edgecolor="white")
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=150)
    try:
        write_atomically(path, image.getvalue())
    except OSError as error:
        raise TextgenError(f"{path} cannot be written: {error.strerror}; choose another path for --plot") from None
    print(f"textgen: wrote {path}", file=sys.stderr)
