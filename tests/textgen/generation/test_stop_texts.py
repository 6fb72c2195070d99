"""Stop texts: found as a plain search of the whole text finds them, in time that does not depend on their length."""

from time import perf_counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from textgen.errors import OptionError
from textgen.generation.stop_texts import MOST_CHARACTERS, StopTexts

LETTERS = st.text("ab\n", max_size=8)


def find(stops: list[str], text: str) -> tuple[int, int] | None:
    """The first stop text to be complete; of two that end together, the longer one."""
    for end in range(1, len(text) + 1):
        for start in range(end):
            if text[start:end] in stops:
                return start, end
    return None


def longest_beginning(stops: list[str], text: str) -> int:
    return max(
        size for size in range(len(text) + 1) if any(stop.startswith(text[len(text) - size :]) for stop in stops)
    )


@given(st.lists(LETTERS, max_size=5), st.lists(LETTERS, max_size=6))
@example(["aab"], ["aa", "ab"])
@example(["abab", "ba"], ["aba", "b"])
@example(["b", "ab"], ["a", "b"])
def test_a_text_in_pieces_is_searched_as_if_at_once(stops, pieces):
    search, text = StopTexts(stops).search(), ""
    for piece in pieces:
        hit = search.feed(piece)
        text += piece
        expected = find(stops, text)
        assert hit == expected
        if expected:
            return
        assert search.held_back == (longest_beginning(stops, text) if any(stops) else 0)


@pytest.mark.parametrize(
    "stops",
    [["a" * 30_000], ["a" * 15_000 + "b" + "a" * 14_999], ["a" * n for n in range(2, 400)] + ["b" * 20_000]],
    ids=["long", "periodic", "many"],
)
def test_long_and_many_stop_texts_take_no_longer(stops):
    text = ("a" * (min(len(stop) for stop in stops) - 1) + "c") * 3 + "ac" * 50_000
    search, began = StopTexts(stops).search(), perf_counter()
    for start in range(0, len(text), 8):
        assert search.feed(text[start : start + 8]) is None
        assert search.held_back <= len(text)
    assert perf_counter() - began < 2  # linear; a search of every end of the text would take minutes


def test_stop_texts_are_bounded():
    StopTexts(["a" * MOST_CHARACTERS, "a" * MOST_CHARACTERS])  # the same one twice
    with pytest.raises(OptionError, match=r"have 100,001 characters, more than 100,000; give fewer or shorter ones"):
        StopTexts(["a" * MOST_CHARACTERS, "b"])
