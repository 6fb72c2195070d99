import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.html_reader import Reader
from textgen import Token
from textgen.base import html
from textgen.base.console import visible


@given(st.text(), st.text())
def test_any_text_is_shown_as_it_is_but_for_what_a_terminal_acts_on(text, other):
    shown = Reader(html.box(text, html.block(text), html.table([text], [[html.code(text)]]), html.line(other))).text
    plain, last = (visible(each.encode("utf-8", "backslashreplace").decode()) for each in (text, other))
    assert shown == 4 * plain + last


@pytest.mark.parametrize(
    ("log_probability", "strength"),
    [(0.0, "0.00"), (-0.0, "0.00"), (-3.0, "0.32"), (-99.0, "0.75")],  # 3 nats are 4.3 bits of 10
)
def test_the_less_likely_a_token_the_stronger_its_colour(log_probability, strength):
    assert f",{strength})" in html.coloured([Token("a", log_probability)], "a", 9)


def test_a_token_that_was_not_scored_has_no_colour():
    assert html.coloured([Token("a", None)], "a", 9) == "a"


@given(st.lists(st.text("ab", max_size=9), max_size=200), st.text("ab", max_size=9), st.integers(1, 2000))
def test_a_coloured_text_is_whole_or_says_how_much_is_left_out(pieces, rest, most):
    text = "".join(pieces) + rest
    shown = Reader(html.coloured([Token(piece, -1.0) for piece in pieces], text, most)).text
    assert shown == html.cut(text, min(most, html.MOST_COLOURED))
