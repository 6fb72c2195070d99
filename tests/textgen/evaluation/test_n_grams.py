from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.evaluation.n_grams import LENGTHS, distinct_share, hashed_n_grams, new_shares
from textgen.text import encoding

texts = st.lists(st.text("ab\n", max_size=40), min_size=1, max_size=6)
any_texts = st.lists(st.text(max_size=12), min_size=1, max_size=6)


def n_grams(some: list[str], length: int) -> list[str]:
    return [text[at : at + length] for text in some for at in range(len(text) - length + 1)]


@given(any_texts, st.sets(st.integers(1, 6), max_size=3))
def test_n_grams_have_the_same_hash_if_they_are_equal(some, lengths):
    found = {length: (rows, hashes) for length, rows, hashes in hashed_n_grams(some, lengths)}
    for length in lengths:
        expected = n_grams(some, length)
        rows, hashes = found.get(length, ([], []))
        assert len(hashes) == len(expected)
        assert len(set(zip(hashes, expected, strict=True))) == len(set(expected)) == len(set(hashes))
        inside = Counter({row: max(len(text) - length + 1, 0) for row, text in enumerate(some)})
        assert Counter(list(rows)) == +inside


@given(any_texts, st.integers(1, 5))
def test_the_share_of_distinct_n_grams_is_that_of_a_set(some, length):
    expected = n_grams(some, length)
    assert distinct_share(some, length) == (len(set(expected)) / len(expected) if expected else None)


@given(texts, texts, texts, st.booleans(), st.integers(1, 50))
def test_an_n_gram_is_new_if_no_training_text_has_it(written, held_out, training, is_stream, piece):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "PIECE", piece)
        found = new_shares([written, held_out], iter(training), is_stream=is_stream)
    real = ["".join(training)] if is_stream else training
    for shares, own in zip(found, (written, held_out), strict=True):
        occurrences = {length: n_grams(own, length) for length in LENGTHS}
        assert {*shares} == {length for length, grams in occurrences.items() if grams}
        for length, share in shares.items():
            known = {*n_grams(real, length)}
            new = sum(gram not in known for gram in occurrences[length])
            assert share == pytest.approx(new / len(occurrences[length]))
