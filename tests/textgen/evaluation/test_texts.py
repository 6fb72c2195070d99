from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen import api
from textgen.errors import CorpusError
from textgen.evaluation.novelty import count_new, find_neighbours, training_documents
from textgen.evaluation.statistics import compare_texts, measure
from textgen.text import encoding
from textgen.text.encoded import draw_documents


class Reread:
    """Documents that are generated anew each time they are iterated, as by a corpus that is read from disk."""

    def __init__(self, documents: list[str]) -> None:
        self._documents = documents
        self.readings = 0

    def __iter__(self):
        self.readings += 1
        yield from self._documents


words = st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=20)


@given(words, words)
def test_a_text_is_new_if_it_is_not_a_training_document(texts, training):
    new = sum(text not in training for text in texts)
    assert count_new(texts, iter(training)) == new
    assert compare_texts(texts, training).novelty == new / len(texts)


@given(words, words, st.integers(1, 30))
def test_documents_that_are_reread_are_compared_as_a_list_is_and_read_twice(texts, training, piece):
    reread = Reread(training)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "PIECE", piece)
        found = compare_texts(texts, reread)
    assert found == compare_texts(texts, training)
    assert reread.readings == 2


def test_ties_of_nearest_neighbours_go_to_the_first_document(monkeypatch):
    monkeypatch.setattr(encoding, "PIECE", 1)
    (example,) = find_neighbours(["ab"], ["xy", "ax", "xb", "ab"[::-1]]).examples
    assert (example.nearest, example.distance) == ("ax", 0.5)


@pytest.mark.parametrize("held_out", [0.0, 0.3])
def test_training_documents_are_all_but_the_held_out_ones(work, held_out):
    run = api.load(work.train("run", held_out=held_out, seed=7).path).run
    drawn = draw_documents(len(work.words), held_out, 7)
    expected = [word for number, word in enumerate(work.words) if number not in drawn]
    assert list(training_documents(run, run.corpus())) == expected


def test_training_documents_that_cannot_be_read_are_an_error_before_the_first_one(work):
    run = api.load(work.train("run").path).run
    work.lines.unlink()
    with pytest.raises(CorpusError, match=r"words\.txt does not exist"):
        training_documents(run, run.corpus())


def test_an_empty_corpus_cannot_be_measured():
    with pytest.raises(CorpusError, match="empty"):
        measure([])


@given(st.lists(st.text(max_size=60), min_size=1), st.integers(1, 30))
def test_the_histogram_counts_every_length(documents, bars):
    found = measure(documents, bars)
    lengths = sorted(map(len, documents))
    assert (found.documents, found.characters) == (len(documents), len("".join(documents)))
    assert found.distinct_characters == len(set("".join(documents)))
    assert (found.shortest, found.longest) == (lengths[0], lengths[-1])
    assert found.mean == sum(lengths) / len(lengths)
    assert 1 <= len(found.histogram) <= bars
    assert (found.histogram[0].shortest, found.histogram[-1].longest) == (lengths[0], lengths[-1])
    assert all(before.longest + 1 == after.shortest for before, after in pairwise(found.histogram))
    for bar in found.histogram:
        assert bar.documents == sum(bar.shortest <= length <= bar.longest for length in lengths)
