from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from textgen.text import encoding


@given(st.lists(st.text(st.sampled_from("a \n\t")), max_size=9))
def test_a_stream_is_cut_between_words(pieces):
    cut = list(encoding.whole_words(pieces))
    assert "".join(cut) == "".join(pieces)
    assert all(cut)
    for before, after in pairwise(cut):
        assert not before[-1].isspace()
        assert after[0].isspace()


def test_a_stream_without_white_space_is_cut_somewhere(monkeypatch):
    monkeypatch.setattr(encoding, "PIECE", 10)
    assert list(encoding.whole_words(["a" * 6] * 5)) == ["a" * 12, "a" * 12, "a" * 6]


def test_a_break_is_found_far_from_the_end():
    text = "one two" + "x" * 10_000
    assert list(encoding.whole_words([text, "yz"])) == ["one", " two" + "x" * 10_000 + "yz"]
