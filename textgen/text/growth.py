"""The growth of a vocabulary, to train trained weights on other text: where its ids come from, and which are new."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from textgen.errors import PluginError
from textgen.text.corpus import Corpus
from textgen.text.encoding import read_documents, read_labelled, to_learn, with_ends
from textgen.text.labels import LabelledTokenizer, labels_of
from textgen.text.tokenizer import Tokenizer

#: New tokens that are listed.
LISTED = 40


def grow_for(corpus: Corpus, name: str, tokenizer: Tokenizer) -> tuple[Tokenizer, NDArray[np.int32]]:
    """Adds to a fitted vocabulary what a corpus has and it lacks, labels included.

    Labels that the corpus lacks keep their ids, unless it has none at all: its documents then have no label to begin
    with.

    Args:
        corpus: the corpus.
        name: its registered name.
        tokenizer: is changed.

    Returns:
        The tokenizer of the corpus; and ``[vocab_size]`` int32, for each of its ids the one that the given one had
        before, -1 for a new one.

    Raises:
        CorpusError: if the text cannot be read, or is empty.
        PluginError: if the tokenizer does not return an old id, or -1, for each of its ids.
    """
    base = tokenizer.base if isinstance(tokenizer, LabelledTokenizer) else tokenizer
    before, old_labels = base.vocab_size, labels_of(tokenizer)
    old_ids = grow(corpus, name, base)
    if not corpus.is_labelled:
        return base, old_ids
    new = sorted({label for label, _ in read_labelled(corpus, name)} - set(old_labels))
    labels = (*old_labels, *new)
    return LabelledTokenizer(base, labels), with_labels(old_ids, before, old_labels, labels)


def grow(corpus: Corpus, name: str, tokenizer: Tokenizer) -> NDArray[np.int32]:
    """Adds to a fitted vocabulary what a corpus has and it lacks.

    Args:
        corpus: the corpus.
        name: its registered name.
        tokenizer: is changed.

    Returns:
        ``[vocab_size]`` int32, as :meth:`textgen.Tokenizer.grow`.

    Raises:
        CorpusError: if the text cannot be read, or is empty.
        PluginError: if the tokenizer does not return an old id, or -1, for each of its ids.
    """
    before = tokenizer.vocab_size
    documents = to_learn(corpus, read_documents(corpus, name), tokenizer)
    old_ids = np.asarray(tokenizer.grow(with_ends(corpus.layout, documents, tokenizer)))
    known = old_ids[old_ids >= 0]
    is_whole = old_ids.shape == (tokenizer.vocab_size,) and np.unique(known).size == known.size
    if not is_whole or old_ids.min() < -1 or old_ids.max() >= before:
        raise PluginError(
            f"{type(tokenizer).__name__}.grow must return an old id or -1 for each of its {tokenizer.vocab_size} ids: "
            "report this to its author"
        )
    return old_ids.astype(np.int32)


def with_labels(
    old_ids: NDArray[np.int32], vocab_size: int, old_labels: Sequence[str], labels: Sequence[str]
) -> NDArray[np.int32]:
    """Adds the ids of labels, which follow those of the tokenizer, to the old ids of a tokenizer.

    Args:
        old_ids: ``[ids]`` int32: for each id of the tokenizer the one that it had before, -1 for a new one.
        vocab_size: the number of ids that the tokenizer had before.
        old_labels: the labels before, in the order of their ids.
        labels: the labels now, in the order of their ids; others of the old ones are forgotten.

    Returns:
        ``[ids + labels]`` int32: the same for tokenizer and labels together.

    Example:
        >>> with_labels(np.int32([0, -1, 1]), 2, ["Sports", "World"], ["World", "Business"]).tolist()
        [0, -1, 1, 3, -1]
    """
    known = {label: vocab_size + index for index, label in enumerate(old_labels)}
    return np.concatenate([old_ids, [known.get(label, -1) for label in labels]]).astype(np.int32)


def new_tokens(tokenizer: Tokenizer, old_ids: NDArray[np.int32]) -> tuple[list[str], list[str]]:
    """The texts of the new ids of a grown vocabulary, and the new labels.

    Args:
        tokenizer: with the grown vocabulary.
        old_ids: ``[ids]`` int32: for each of its ids the one that it had before, -1 for a new one.
    """
    new, labels = np.flatnonzero(old_ids < 0), labels_of(tokenizer)
    first = tokenizer.vocab_size - len(labels)
    return [tokenizer.decode([int(i)]) for i in new if i < first], [labels[i - first] for i in new if i >= first]


def describe_new(tokens: Sequence[str], kind: str = "") -> str:
    """New tokens or labels, at least one, in a line.

    Args:
        tokens: their texts.
        kind: what they are, in the singular; by default characters or tokens.

    Example:
        >>> describe_new(["Å", " "])
        "2 new characters: Å ' '"
    """
    kind = kind or ("character" if all(len(token) == 1 for token in tokens) else "token")
    listed = " ".join(each if each.isprintable() and not each.isspace() else repr(each) for each in tokens[:LISTED])
    more = f" and {len(tokens) - LISTED:,} more" if len(tokens) > LISTED else ""
    return f"{len(tokens):,} new {kind}{'s' * (len(tokens) > 1)}: {listed}{more}"
