"""Encoding a corpus, piece by piece, because it may be larger than memory."""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, repeat, tee
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from textgen.errors import CorpusError, PluginError, UnknownCharacterError, suggestion
from textgen.text.boundaries import Boundaries
from textgen.text.corpus import Corpus, Layout
from textgen.text.encoded import EncodedText
from textgen.text.id_store import IdStore, smallest_type
from textgen.text.labels import LabelledTokenizer, label_id, without_labels
from textgen.text.tokenizer import Tokenizer, check_ids, check_vocabulary

Item = TypeVar("Item")

#: Characters counted or encoded, and ids hashed, at a time.
PIECE = 1 << 20

#: Characters of a stream whose lines are counted by :func:`count_starts`.
HEAD = 1_000_000


class TextFacts:
    """Facts about texts, gathered while they are encoded, so that they are read only once.

    Attributes:
        characters: the number of characters of all texts.
        multiline: whether a text has several lines.
        head: the first characters of all texts, at most :data:`HEAD`.
    """

    def __init__(self) -> None:
        self.characters = 0
        self.multiline = False
        self._lengths = array("q")
        self.head = ""

    def add(self, texts: Sequence[str]) -> None:
        """Counts texts, none of them empty."""
        self._lengths.extend(map(len, texts))
        self.characters += sum(map(len, texts))
        self.multiline = self.multiline or any("\n" in text for text in texts)
        for text in texts:
            if len(self.head) >= HEAD:
                break
            self.head += text[: HEAD - len(self.head)]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The number of characters of each text, ``[texts]`` int64."""
        return np.array(self._lengths, np.int64)


def count_starts(layout: Layout, text: EncodedText, facts: TextFacts, tokenizer: Tokenizer) -> dict[int, int]:
    """Counts how texts begin: the number of documents, or of the first lines of a stream, that begin with each id.

    Args:
        layout: the layout of the corpus.
        text: the texts, encoded.
        facts: of the same texts.
        tokenizer: without labels, which do begin texts; no text begins with one of its forbidden ids, or its end.
    """
    if layout == "documents":
        first = text.ids[text.offsets[:-1]]
    else:
        lines = [line for line in facts.head.splitlines() if line] or [""]
        try:
            ids, lengths = tokenizer.encode_batch(lines)
        except UnknownCharacterError:  # a word may be known only with the line end before it
            parts = [tokenizer.encode(line, "skip") for line in lines]
            ids, lengths = np.concatenate(parts), np.array([*map(len, parts)])
        first = ids[(np.cumsum(lengths) - lengths)[lengths > 0]]
    never = Boundaries(end_id=None).forbidden_ids(tokenizer)
    known = first[~np.isin(first, never)]
    if first.size and not known.size:  # each text begins with something rare, as names do under tokenizer.min_count
        anywhere = np.asarray(text.ids[:HEAD])
        known = anywhere[~np.isin(anywhere, never)]
    found, counts = np.unique(known, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def read_documents(corpus: Corpus, name: str) -> Iterator[str]:
    """Yields the texts of a corpus that are not empty, without duplicates if the corpus drops them.

    Raises:
        CorpusError: at the end, if there were none, or if they were others at an earlier reading.
        PluginError: if one is not a text.
    """
    return (text for _, text in _distinct(corpus, name, labelled=False))


def read_labelled(corpus: Corpus, name: str) -> Iterator[tuple[str, str]]:
    """Yields the label and the text of each document that :func:`read_documents` yields, in the same order.

    Raises:
        CorpusError: at the end, if there were none, or if they were others at an earlier reading.
        PluginError: if the corpus is a stream, or a label or a document is not a text.
    """
    if corpus.layout != "documents":
        raise PluginError(f"the corpus {name} has labels, but it is a stream: report this to its author")
    yield from _distinct(corpus, name, labelled=True)


def _distinct(corpus: Corpus, name: str, *, labelled: bool) -> Iterator[tuple[Any, str]]:
    """Yields documents with their labels or ``None``; those that repeat an earlier one only if they are kept."""
    if not corpus.drops_duplicates or corpus.layout == "stream":
        yield from _read(corpus, name, labelled=labelled)
        return
    if corpus.duplicates is None:
        corpus.duplicates = _find_duplicates(corpus, name)
    repeated = iter(corpus.duplicates)
    following = next(repeated, None)
    for number, document in enumerate(_read(corpus, name, labelled=labelled)):
        if number == following:
            following = next(repeated, None)
        else:
            yield document


def _find_duplicates(corpus: Corpus, name: str) -> array[int]:
    """The numbers of the documents with the text, and the label if there are labels, of an earlier one; ascending.

    Of each document 8 bytes are kept, so that many fit in memory: among 20 million different ones, two have the same
    hash with a probability of 1 in 100,000.
    """
    hashes = bytearray()
    for label, text in _read(corpus, name, labelled=corpus.is_labelled):
        whole = text if label is None else f"{len(label)} {label}{text}"
        hashes += hashlib.blake2b(whole.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    found = np.frombuffer(hashes, np.uint64)
    order = np.argsort(found, kind="stable")  # equal ones stay in the order of the corpus
    is_again = found[order[1:]] == found[order[:-1]]
    return array("q", np.sort(order[1:][is_again]).tobytes())


def _read(corpus: Corpus, name: str, *, labelled: bool) -> Iterator[tuple[Any, str]]:
    """Yields documents that are not empty, with their labels or ``None``, after checks."""
    documents = corpus.labelled_documents() if labelled else zip(repeat(None), corpus.documents(), strict=False)
    is_stream = corpus.layout == "stream"
    texts = labels = count = 0
    for number, (label, text) in enumerate(documents, 1):
        if label is not None and not isinstance(label, str):
            raise PluginError(
                f"the corpus {name} has the label {label!r}, which is not a text: report this to its author"
            )
        if not isinstance(text, str):
            raise PluginError(
                f"the corpus {name} has {type(text).__name__} as document {number}, which is not a text: "
                "report this to its author"
            )
        if text:
            count += 1
            # The pieces of a stream may be cut elsewhere at each reading.
            texts = texts + len(text) if is_stream else hash((texts, text))
            labels = 0 if label is None else hash((labels, label))
            yield label, text
    if not count:
        raise CorpusError(f"the corpus {name} is empty")
    before_texts, before_labels = corpus.first_reading or (texts, labels)
    if texts != before_texts or (labels and before_labels and labels != before_labels):
        raise CorpusError(
            f"the corpus {name} is not the same when it is read again: it must yield the same documents in the same "
            "order each time, so its files must not change, and nothing in it may be random"
        )
    corpus.first_reading = (texts, labels or before_labels)


def fit_corpus(corpus: Corpus, name: str, tokenizer: Tokenizer) -> Tokenizer:
    """Builds a tokenizer's vocabulary from a corpus; returns it, with ids for the labels if the documents have any.

    Raises:
        CorpusError: if the text cannot be read, or is empty.
    """
    labels: set[str] = set()
    fit(corpus.layout, to_learn(corpus, name, tokenizer, labels), tokenizer)
    check_vocabulary(tokenizer)
    return LabelledTokenizer(tokenizer, sorted(labels)) if corpus.is_labelled else tokenizer


def encode_corpus(corpus: Corpus, name: str, tokenizer: Tokenizer, facts: TextFacts | None = None) -> EncodedText:
    """Encodes the texts of a corpus, each beginning with the id of its label, if the tokenizer has any.

    Raises:
        CorpusError: if the text cannot be read, is empty, or has a label that the tokenizer lacks.
        UnknownCharacterError: if the tokenizer rejects an unknown character.
    """
    if not isinstance(tokenizer, LabelledTokenizer) or not corpus.is_labelled:
        return encode(corpus.layout, read_documents(corpus, name), tokenizer, facts)
    ids = {label: label_id(tokenizer, label) for label in tokenizer.labels}

    def known() -> Iterator[tuple[int, str]]:
        for label, text in read_labelled(corpus, name):
            if label not in ids:
                raise CorpusError(
                    f"the corpus {name} has the label {label!r}, which the run does not know; {suggestion(label, ids)}"
                )
            yield ids[label], text

    for_labels, for_texts = tee(known())
    labels, texts = (label for label, _ in for_labels), (text for _, text in for_texts)
    return encode(corpus.layout, texts, tokenizer, facts, labels)


def to_learn(corpus: Corpus, name: str, tokenizer: Tokenizer, labels: set[str]) -> Iterator[str]:
    """Yields the texts of a corpus, for a tokenizer to learn; their labels, if they have any, are added to ``labels``.

    Raises:
        CorpusError: if the text cannot be read, or is empty; at a document of several lines, if the tokenizer ends
            documents with a newline: it would end before its end.
    """
    one_line = corpus.layout == "documents" and not tokenizer.has_eos
    labelled = read_labelled(corpus, name) if corpus.is_labelled else ((None, t) for t in read_documents(corpus, name))
    for number, (label, text) in enumerate(labelled, 1):
        if label is not None:
            labels.add(label)
        if one_line and "\n" in text:
            raise CorpusError(
                f"document {number} has several lines, but the tokenizer ends a document with its line; "
                "use --tokenizer char-eos"
            )
        yield text


def fit(layout: Layout, documents: Iterable[str], tokenizer: Tokenizer) -> None:
    """Builds a tokenizer's vocabulary from the same texts, ends included, that :func:`encode` passes to it."""
    tokenizer.fit(with_ends(layout, documents, tokenizer))


def with_ends(layout: Layout, documents: Iterable[str], tokenizer: Tokenizer) -> Iterable[str]:
    """The texts as a tokenizer reads them: a stream cut between words, documents with their ends, if these are text."""
    if layout == "stream":
        return whole_words(documents)
    return documents if tokenizer.has_eos else (text + "\n" for text in documents)


def encode(
    layout: Layout,
    documents: Iterable[str],
    tokenizer: Tokenizer,
    facts: TextFacts | None = None,
    labels: Iterator[int] | None = None,
) -> EncodedText:
    """Encodes texts: the pieces of a stream as one text, documents each with their end.

    Args:
        layout: the layout of the corpus.
        documents: the texts, none of them empty.
        tokenizer: a fitted tokenizer.
        facts: counts the texts on the way.
        labels: the ids that the documents begin with, one each.

    Raises:
        PluginError: if the tokenizer returns ids outside its vocabulary.
        UnavailableError: if there is not enough disk space for the ids.
        UnknownCharacterError: if the tokenizer rejects an unknown character.
    """
    store = IdStore(smallest_type(tokenizer.vocab_size))
    lengths = []
    for texts in in_pieces(whole_words(documents) if layout == "stream" else documents):
        if facts is not None:
            facts.add(texts)
        if layout == "documents" and not tokenizer.has_eos:
            texts = [text + "\n" for text in texts]  # noqa: PLW2901 - the end is part of the text
        ids, counts = tokenizer.encode_batch(texts)
        check_ids(ids, without_labels(tokenizer), len(texts), counts)
        if layout == "documents" and (end := tokenizer.eos_id) is not None:
            ids = np.insert(ids, np.cumsum(counts), end)
            counts = counts + 1
        if labels is not None:
            ids = np.insert(ids, np.cumsum(counts) - counts, list(islice(labels, len(texts))))
            counts = counts + 1
        store.add(ids)
        lengths.append(counts)
    ends = np.cumsum(np.concatenate(lengths))
    return EncodedText(store.take(), np.concatenate([[0], ends[-1:] if layout == "stream" else ends]))


def text_sha256(text: EncodedText) -> str:
    """The SHA-256 that identifies an encoded text: of its ids as int32, then its offsets."""
    digest = hashlib.sha256()
    for start in range(0, len(text.ids), PIECE):
        digest.update(text.ids[start : start + PIECE].astype(np.int32).data)
    digest.update(text.offsets.data)
    return digest.hexdigest()


def whole_words(pieces: Iterable[str]) -> Iterator[str]:
    r"""Yields the text of a stream in other pieces, cut between words: before white space that follows other text.

    Tokenizers of words and of parts of words then see each word whole. Text without white space is cut anywhere, after
    at least :data:`PIECE` characters.

    Example:
        >>> list(whole_words(["A tree, an", "other\n\ntree"]))
        ['A tree,', ' another', '\n\ntree']
    """
    rest = ""
    for piece in pieces:
        text = rest + piece
        cut = _last_break(text)
        if not cut and len(text) >= PIECE:
            cut = len(text)
        if cut:
            yield text[:cut]
        rest = text[cut:]
    if rest:
        yield rest


def _last_break(text: str) -> int:
    """The index of the last white space that follows other text; 0 if there is none."""
    end = len(text)
    while end:
        start = max(end - 4096, 0)
        found = [match.start() for match in re.finditer(r"(?<=\S)\s", text[start:end])]
        if found:
            return start + found[-1]
        end = start + 1 if start else 0  # a break needs the character before it
    return 0


def in_pieces(texts: Iterable[Item], length: Callable[[Any], int] = len) -> Iterator[list[Item]]:
    """Yields the texts in lists of at least :data:`PIECE` characters; the last list may be shorter.

    Args:
        texts: the texts, or items that have one each.
        length: returns the number of characters of an item.
    """
    piece: list[Item] = []
    characters = 0
    for text in texts:
        piece.append(text)
        characters += length(text)
        if characters >= PIECE:
            yield piece
            piece, characters = [], 0
    if piece:
        yield piece
