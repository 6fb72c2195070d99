from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from textgen import Decoder

cuts = st.lists(st.integers(0, 40), max_size=12)


def decode_bytes(ids):
    return bytes(ids).decode("utf-8", "replace")


def decode_words(ids):
    return " ".join("ab"[i % 2] * (i + 1) for i in ids)


def pieces(ids, cuts):
    places = [0, *sorted(min(cut, len(ids)) for cut in cuts), len(ids)]
    return [ids[start:end] for start, end in pairwise(places)]


@given(st.binary(max_size=40), cuts)
def test_any_bytes_come_as_the_text_of_all_of_them(data, cuts):
    decoder = Decoder(decode_bytes)
    text = "".join(decoder.feed(list(piece)) for piece in pieces(data, cuts))
    assert text + decoder.flush() == decode_bytes(data)


@given(st.text(max_size=12), cuts)
def test_a_character_is_never_given_in_part(text, cuts):
    decoder = Decoder(decode_bytes)
    given_so_far = ""
    for piece in pieces(list(text.encode()), cuts):
        given_so_far += decoder.feed(piece)
        assert text.startswith(given_so_far)


@given(st.lists(st.integers(0, 5), max_size=40), cuts)
def test_words_that_are_joined_by_blanks_come_with_their_blanks(ids, cuts):
    decoder = Decoder(decode_words)
    assert "".join(decoder.feed(piece) for piece in pieces(ids, cuts)) + decoder.flush() == decode_words(ids)
