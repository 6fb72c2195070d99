import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from textgen.text.encoded import EncodedText


def numbered(lengths: list[int]) -> EncodedText:
    """Documents in which every id is its own position in the whole text."""
    return EncodedText.join(np.split(np.arange(sum(lengths), dtype=np.int32), np.cumsum(lengths)[:-1]))


@given(st.lists(st.integers(1, 5), min_size=1, max_size=60), st.floats(0, 0.5), st.integers(0, 99))
def test_documents_are_held_out_by_seed(lengths, share, seed):
    text = numbered(lengths)
    rest, held = text.split_documents(share, seed)
    assert len(held) == round(len(lengths) * share)
    assert sorted([*rest.ids, *held.ids]) == list(range(sum(lengths)))
    for part in (rest, held):
        assert part.ids.tolist() == sorted(part.ids.tolist())
        assert (part.lengths() > 0).all()
    again = text.split_documents(share, seed)[1]
    np.testing.assert_array_equal(again.ids, held.ids)


def test_another_seed_holds_out_other_documents():
    text = numbered([1] * 100)
    assert len({tuple(text.split_documents(0.1, seed)[1].ids) for seed in range(5)}) == 5


@given(st.integers(1, 300), st.floats(0, 0.5))
def test_the_tail_of_a_stream_is_held_out(count, share):
    rest, tail = numbered([count]).split_tail(share)
    assert [*rest.ids, *tail.ids] == list(range(count))
    assert len(tail.ids) == round(count * share)


def test_join_of_nothing_is_empty():
    empty = EncodedText.join([])
    assert (len(empty), len(empty.ids)) == (0, 0)
    assert empty.ids.dtype == np.int32
