"""A text as training reads it, to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textgen.base import html, values
from textgen.base.console import visible
from textgen.errors import CorpusError, OptionError
from textgen.evaluation.statistics import CorpusStatistics, describe_corpus, measure
from textgen.model.fitting import TrainingOptions
from textgen.notebook.chart import bars
from textgen.options import Settings
from textgen.plugins.faults import contained
from textgen.plugins.registry import Registry
from textgen.text.batches import Dataset
from textgen.text.corpus import Corpus
from textgen.text.encoding import read_documents
from textgen.text.id_store import StoredIds
from textgen.text.tokenizer import Tokenizer
from textgen.training.layout import arrange_batches
from textgen.training.settings import common_options
from textgen.training.text import Text, read_text

#: Characters of :attr:`TrainingText.head`, and of it and of the tokens of an example that are shown.
HEAD, SHOWN, TOKENS = 10_000, 250, 24


@dataclass(frozen=True, kw_only=True, eq=False)
class Example:
    """A row of a batch: what the model reads, and what it is to predict.

    Attributes:
        inputs: ``[time]`` int32.
        targets: ``[time]`` int32; at each place the id that follows the input.
        counts: ``[time]`` bool; whether the target counts in the loss, which padding does not.
        input_tokens: the inputs as people read them.
        target_tokens: the targets as people read them.
    """

    inputs: NDArray[np.int32]
    targets: NDArray[np.int32]
    counts: NDArray[np.bool_]
    input_tokens: tuple[str, ...]
    target_tokens: tuple[str, ...]

    def __str__(self) -> str:
        return f"input  {_joined(self.input_tokens)}\ntarget {_joined(self.target_tokens)}"

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return html.box("an example", self.rows_html())

    def rows_html(self) -> str:
        """The example in HTML, without a title."""
        shown = slice(TOKENS)
        rows = (
            ("input", *map(str, self.inputs[shown])),
            ("", *(html.code(repr(token)) for token in self.input_tokens[shown])),
            ("target", *map(str, self.targets[shown])),
            ("", *(html.code(repr(token)) for token in self.target_tokens[shown])),
        )
        more = max(len(self.inputs) - TOKENS, 0)
        return (
            html.block(str(self), 2 * SHOWN)
            + f'<div style="overflow-x:auto">{html.table((), rows)}</div>'
            + (html.line(f"and {more:,} more places", faint=True) if more else "")
        )


class TrainingText:
    """A text as training reads it: :func:`textgen.read` returns it.

    Args:
        text: encoded.
        options: those of training that arrange it in batches.

    Attributes:
        corpus: it reads the text from its source.
        tokenizer: fitted to the text.

    Example:
        >>> text = textgen.read("dinos-lite")  # doctest: +SKIP
        >>> text.head[:12], text.ids[:12], text.tokenizer.decode(text.ids[:12])  # doctest: +SKIP
    """

    def __init__(self, text: Text, options: TrainingOptions) -> None:
        self.corpus: Corpus = text.corpus
        self.tokenizer: Tokenizer = text.tokenizer
        self._text = text
        self._options = options

    @classmethod
    def read(cls, settings: Settings, registry: Registry, data_dir: Path | None = None) -> TrainingText:
        """Reads the text that settings name; errors as for :func:`textgen.training.text.read_text`."""
        options = common_options(settings)
        with contained():
            return cls(read_text(settings, registry, data_dir), options)

    @cached_property
    def head(self) -> str:
        """The first 10,000 characters, those of documents on lines of their own."""
        parts: list[str] = []
        length, is_stream = 0, self.corpus.layout == "stream"
        for document in read_documents(self.corpus, self._text.corpus_name):
            parts.append(document)
            length += len(document) + (not is_stream)
            if length >= HEAD:
                break
        return ("" if is_stream else "\n").join(parts)[:HEAD]

    @property
    def ids(self) -> StoredIds:
        """The ids of the whole text, ``[n]`` uint8, uint16 or int32; those of documents end to end, with their ends."""
        return self._text.encoded.ids

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """The tokens by their ids, as people read them: see :meth:`textgen.Tokenizer.token`."""
        return tuple(map(self.tokenizer.token, range(self.tokenizer.vocab_size)))

    @cached_property
    def statistics(self) -> CorpusStatistics:
        """Counts of the text, and the histogram of the lengths of its documents in characters."""
        return measure(self.corpus.documents())

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What ``textgen corpora info`` prints, by name."""
        return describe_corpus(self._text.corpus_name, self.corpus, self.statistics)

    @cached_property
    def dataset(self) -> Dataset:
        """The batches of training.

        Raises:
            CorpusError: if the text is too short for one.
        """
        return arrange_batches(self._text, self._options)

    def example(self, row: int = 0) -> Example:
        """An example to learn from: a row of the first batch.

        Args:
            row: from 0.

        Raises:
            OptionError: if the batch has no such row.
            CorpusError: if the text is too short for a batch.
        """
        batch = next(self.dataset.train.batches(0))
        row = values.whole_number(row, "row", 0, 2**31)
        if row >= len(batch.inputs):
            raise OptionError(f"row is {row}, but the first batch has {len(batch.inputs)} rows, from 0")
        inputs, targets, counts = batch.inputs[row], batch.targets[row], batch.weights[row] > 0
        is_text = counts if batch.is_padded else np.ones_like(counts)
        tokens = ["<pad>" if pad else self.tokenizer.token(i) for i, pad in zip(targets, ~is_text, strict=True)]
        return Example(
            inputs=inputs,
            targets=targets,
            counts=counts,
            input_tokens=(self.tokenizer.token(inputs[0]), *tokens[:-1]),
            target_tokens=tuple(tokens),
        )

    def __repr__(self) -> str:
        described = self._text.describe(splits_long=False, has_long_tokens=False, advises=False)
        tokenizer = f"{self._text.tokenizer_name}, vocabulary {self.tokenizer.vocab_size:,}"
        return f"TrainingText({self._text.corpus_name}: {described}; {tokenizer})"

    def __str__(self) -> str:
        title, example = self._example()
        parts = {**self._beginnings(), title: str(example)}
        return "\n\n".join([repr(self), *(f"{name}\n{text}" for name, text in parts.items())])

    def _repr_html_(self) -> str:
        title, example = self._example()
        parts = [html.line(name, faint=True) + html.block(text) for name, text in self._beginnings().items()]
        if self.corpus.layout == "documents":
            lengths = [(f"{bar.shortest}-{bar.longest}", bar.documents) for bar in self.statistics.histogram]
            also = ", with the duplicates" * bool(self._text.duplicates)
            parts += [html.line(f"documents by their length{also}", faint=True), bars(lengths, "characters")]
        shown = html.line(example) if isinstance(example, str) else example.rows_html()
        return html.box(repr(self), *parts, html.line(title, faint=True), shown)

    def _beginnings(self) -> dict[str, str]:
        """How the text begins: its characters, ids and vocabulary, by what they are called."""
        ids = [*map(str, self.ids[:TOKENS]), *["…"] * (len(self.ids) > TOKENS)]
        listed = [*map(_token, self.vocabulary[: html.MOST_ROWS]), *["…"] * (len(self.vocabulary) > html.MOST_ROWS)]
        return {"first characters": visible(self.head[:SHOWN]), "ids": " ".join(ids), "vocabulary": " ".join(listed)}

    def _example(self) -> tuple[str, Example | str]:
        """A title, and an example, or why there is none."""
        try:
            example, batches = self.example(), self.dataset.train
        except CorpusError as error:
            return "no example", str(error)
        of = f"one of {batches.examples:,} examples" if batches.examples > 1 else "the only example"
        return f"{of}, in {batches.steps:,} batch{'es' * (batches.steps != 1)} per epoch", example


def _token(token: str) -> str:
    """A token in a list: as it is, if it can be seen."""
    return token if token.isprintable() and not token.isspace() and token else repr(token)


def _joined(tokens: Sequence[str]) -> str:
    """Tokens as one text on a line, between quotes."""
    return repr("".join(tokens))
