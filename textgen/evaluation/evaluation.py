"""The evaluation of a run, and the tables in which the command line and notebooks show it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from textgen.base import html
from textgen.evaluation.curve import Curve
from textgen.evaluation.labels import LabelEvaluation
from textgen.evaluation.novelty import Neighbours
from textgen.evaluation.samples import DISTINCT, Samples
from textgen.evaluation.scoring import Score
from textgen.evaluation.statistics import TextStatistics

#: Labels that the table lists, those with the most held-out documents.
LABELS_LISTED = 40

#: The z of a run's texts below which it is said to copy.
COPIES = -3


class Table(NamedTuple):
    """A table of texts.

    Attributes:
        head: the titles of its columns; empty ones for a table without a head.
        rows: its cells.
        note: a line below it, if any.
    """

    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""


def tables_html(title: str, tables: Iterable[Table]) -> str:
    """Tables in HTML, below a title."""
    parts = [
        html.table(table.head, (tuple(map(html.code, row)) for row in table.rows)) + html.line(table.note)
        for table in tables
    ]
    return html.box(title, *parts)


@dataclass(frozen=True, kw_only=True)
class WrittenTexts:
    """The texts that a run writes, compared with the documents that it was trained on.

    Attributes:
        sampler: the chain that drew them.
        seed: the seed of the texts, whose own seeds are 0, 1, 2 and so on.
        length: the number of characters after which a text was cut.
        ended: the share of texts that ended before that, by the end of a document or a stop text.
        texts: the texts, compared with the training documents.
        held_out: at most as many held-out documents, compared with the training documents: the figures of real texts.
        training_lengths: the number of training documents of each length in characters, by length.
        copying: the z of the test for copies of Meehan, Chaudhuri and Dasgupta (A Non-Parametric Test to Detect
            Data-Copying in Generative Models, AISTATS 2020): Mann and Whitney's, of the distances of the texts and of
            held-out documents from the nearest training documents. Far below 0 if the texts are nearer.
    """

    sampler: str
    seed: int
    length: int
    ended: float
    texts: TextStatistics
    held_out: TextStatistics
    training_lengths: Mapping[int, int]
    copying: float


@dataclass(frozen=True, kw_only=True, repr=False)
class Evaluation:
    """The evaluation of a run.

    Attributes:
        run: the run's folder.
        runtime: the runtime that ran it, by registered name.
        device: the device that it ran on.
        corpus: the name of the corpus.
        same_text: whether the corpus has the text that the run was trained on.
        documents: the number of held-out documents; ``None`` for a stream.
        context: the text that each held-out token was predicted from, in words.
        held_out: how well the held-out text was predicted.
        carried: the same with the state carried through the whole text, if ``held_out`` is not; else ``None``.
        ngram: how well an n-gram predicts it, counted in the run's training text and given the same context; ``None``
            for a long text, a run of n-grams, or if the plugin is disabled.
        written: the texts that the run writes; ``None`` for a stream.
        labels: the same by label; ``None`` for a run without labels.
        samples: what the run writes, document or stream, by its n-grams of characters.
        curve: the same at several temperatures; ``None`` unless asked for.
    """

    run: str
    runtime: str
    device: str
    corpus: str
    same_text: bool
    documents: int | None
    context: str
    held_out: Score
    carried: Score | None = None
    ngram: Score | None = None
    written: WrittenTexts | None
    labels: LabelEvaluation | None = None
    samples: Samples
    curve: Curve | None = None

    def __repr__(self) -> str:
        return f"Evaluation({self.run!r}, held_out={_loss(self.held_out)} per character)"

    def _repr_html_(self) -> str:
        return tables_html(self.title, self.tables())

    @property
    def title(self) -> str:
        """What was evaluated, and what ran it."""
        return f"{self.run}, {self.runtime} on {self.device}"

    def tables(self) -> Iterator[Table]:
        """Yields what ``textgen evaluate`` prints."""
        yield self._scores()
        if self.labels is not None:
            yield _labels(self.labels)
        if self.written is not None:
            yield _documents(self.written)
        yield _samples(self.samples)
        if self.written is not None:
            yield _examples(self.written.texts.neighbours)
        if self.curve is not None:
            yield _curve(self.curve, self.samples)

    def _scores(self) -> Table:
        score = self.held_out
        documents = "" if self.documents is None else f"{self.documents:,} documents, "
        tokens = f", {score.tokens:,} tokens" if score.has_long_tokens else ""
        per_token = f", {score.nats_per_token:.4f} nats per token" if score.has_long_tokens else ""
        rows = [
            ("held-out text", f"{documents}{score.characters:,} characters{tokens} judged"),
            ("context", self.context),
            ("loss", f"{_loss(score)} per character{per_token}"),
            *([("with carried state", _loss(self.carried))] if self.carried else []),
            *([("loss of an n-gram", _loss(self.ngram))] if self.ngram else []),
            ("accuracy", f"{score.accuracy:.2%}"),
            ("calibration error", f"{score.calibration_error:.4f} ({len(score.bins)} bins)"),
        ]
        return Table(("", ""), rows)


def _loss(score: Score) -> str:
    return f"{score.nats:.4f} nats ({score.bits:.4f} bits)"


def _labels(evaluation: LabelEvaluation) -> Table:
    most = sorted(evaluation.labels, key=lambda score: -score.documents)[:LABELS_LISTED]
    listed = [score for score in evaluation.labels if score in most]
    rows = [
        (
            "all" if score.label is None else score.label,
            f"{score.documents:,}",
            f"{score.characters:,}",
            _figure(score.nats, ".4f"),
            _figure(score.recognised, ".1%"),
            f"{score.texts:,}",
            _figure(score.agreement, ".1%"),
        )
        for score in (*listed, evaluation.all)
    ]
    left = len(evaluation.labels) - len(listed)
    note = f"and {left:,} labels with fewer documents" if left else ""
    return Table(("by label", "held out", "characters", "nats", "recognised", "written", "agree"), rows, note)


def _documents(written: WrittenTexts) -> Table:
    columns = (written.texts, written.held_out)
    near = [statistics.neighbours for statistics in columns]
    rows = [
        ("texts", *(f"{each.texts:,}" for each in columns)),
        ("new", *(f"{each.novelty:.1%}" for each in columns)),
        ("distinct", *(f"{each.uniqueness:.1%}" for each in columns)),
        ("ended by themselves", f"{written.ended:.1%}", ""),
        ("length divergence, bits", *(f"{each.length_divergence:.4f}" for each in columns)),
        ("bigram divergence, bits", *(f"{each.bigram_divergence:.4f}" for each in columns)),
        ("nearest, mean distance", *(f"{each.mean:.3f}" for each in near)),
        ("nearest, median distance", *(f"{each.median:.3f}" for each in near)),
        ("nearest, texts compared", *(f"{each.texts:,}" for each in near)),
        ("copying test, z", f"{written.copying:z.1f}", ""),
    ]
    copies = "these texts copy: they are nearer to training documents than held-out ones are"
    return Table(
        ("beside the training documents", "written", "held out"), rows, copies if written.copying < COPIES else ""
    )


def _samples(samples: Samples) -> Table:
    columns = (samples.written, samples.training, samples.held_out)
    lengths = sorted({length for each in columns for length in each.novelty})
    rows = [
        ("texts", *(f"{each.texts:,}" for each in columns)),
        ("characters", *(f"{each.characters:,}" for each in columns)),
        ("reverse loss, nats per character", *(_figure(each.reverse_loss, ".4f") for each in columns)),
        (f"distinct {DISTINCT}-grams", *(_figure(each.distinct, ".1%") for each in columns)),
        *(
            (f"new {length}-grams", *(_figure(each.novelty.get(length), ".1%") for each in columns))
            for length in lengths
        ),
    ]
    return Table(
        ("by n-grams of characters", "written", "training", "held out"),
        [row for row in rows if any(row[1:])],
        f"written with {samples.sampler}, seed {samples.seed}, at most {samples.length} characters",
    )


def _examples(neighbours: Neighbours) -> Table:
    rows = [(f"{example.distance:.3f}", example.text, example.nearest) for example in neighbours.examples]
    return Table(("distance", "written", "nearest training document"), rows)


def _curve(curve: Curve, samples: Samples) -> Table:
    rows = [(f"{point.temperature:.1f}", point.reverse_loss, point.distinct) for point in curve.points]
    rows.append(("training", samples.training.reverse_loss, samples.training.distinct))
    best = "" if curve.best is None else f"the reverse loss is lowest at temperature {curve.best:.1f}"
    return Table(
        ("temperature", "reverse loss", f"distinct {DISTINCT}-grams"),
        [(name, _figure(loss, ".4f"), _figure(distinct, ".1%")) for name, loss, distinct in rows],
        best,
    )


def _figure(value: float | None, form: str) -> str:
    """A number as a table has it; empty for ``None``."""
    return "" if value is None else format(value, form)
