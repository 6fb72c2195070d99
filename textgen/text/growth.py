"""The growth of a vocabulary, to fine-tune weights on other text: where its ids come from, and which are new."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from textgen.errors import PluginError
from textgen.text.corpus import Corpus
from textgen.text.encoding import to_learn, with_ends
from textgen.text.labels import LabelledTokenizer, labels_of, without_labels
from textgen.text.tokenizer import Tokenizer


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
    base, labels = without_labels(tokenizer), set[str]()
    if not corpus.is_labelled:
        return base, grow(corpus, name, base, labels)
    old_labels, old_ids = labels_of(tokenizer), grow(corpus, name, tokenizer, labels)
    new = sorted(labels - set(old_labels))
    return LabelledTokenizer(base, (*old_labels, *new)), np.append(old_ids, np.full(len(new), -1, np.int32))


def grow(corpus: Corpus, name: str, tokenizer: Tokenizer, labels: set[str]) -> NDArray[np.int32]:
    """Adds to a fitted vocabulary what a corpus has and it lacks.

    Args:
        corpus: the corpus.
        name: its registered name.
        tokenizer: is changed.
        labels: the labels of the corpus are added.

    Returns:
        ``[vocab_size]`` int32, as :meth:`textgen.Tokenizer.grow`.

    Raises:
        CorpusError: if the text cannot be read, or is empty.
        PluginError: if the tokenizer does not return an old id, or -1, for each of its ids.
    """
    before = tokenizer.vocab_size
    documents = to_learn(corpus, name, tokenizer, labels)
    old_ids = np.asarray(tokenizer.grow(with_ends(corpus.layout, documents, tokenizer)))
    known = old_ids[old_ids >= 0]
    is_whole = old_ids.shape == (tokenizer.vocab_size,) and np.unique(known).size == known.size
    if not is_whole or old_ids.min() < -1 or old_ids.max() >= before:
        base = without_labels(tokenizer)
        raise PluginError(
            f"{type(base).__name__}.grow must return an old id or -1 for each of its {base.vocab_size} ids: "
            "report this to its author"
        )
    return old_ids.astype(np.int32)


def new_tokens(tokenizer: Tokenizer, old_ids: NDArray[np.int32]) -> tuple[list[str], list[str]]:
    """The texts of the new ids of a grown vocabulary, and the new labels.

    Args:
        tokenizer: with the grown vocabulary.
        old_ids: ``[ids]`` int32: for each of its ids the one that it had before, -1 for a new one.
    """
    new, labels = np.flatnonzero(old_ids < 0), labels_of(tokenizer)
    first = without_labels(tokenizer).vocab_size
    return [tokenizer.decode([int(i)]) for i in new if i < first], [labels[i - first] for i in new if i >= first]
