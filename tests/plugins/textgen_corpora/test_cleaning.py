"""HTML entities, backslashes for line breaks, and the normal form."""

import html
import unicodedata
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen_corpora.text_files.cleaning import (
    backslashes_to_blanks,
    backslashes_to_breaks,
    changed_stream,
    nfc,
    unescape_html,
)

#: What may meet at a cut: letters with marks, parts of Hangul syllables, entities, breaks, white space.
PARTS = [*"e\u0301\u0327\u1112\u1161\u11ab가é\\\n ", " #39;", "&lt;", " quot;", "\\n"]
CHANGES = [(nfc,), (unescape_html,), (backslashes_to_blanks,), (backslashes_to_breaks,), (unescape_html, nfc)]


@given(st.text(st.characters(exclude_characters=";\r")))
def test_what_html_escapes_is_read_back(text):
    assert unescape_html(html.escape(text)) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("&lt;b&gt; &quot;Tom &amp; Ann&#39;s&quot;", '<b> "Tom & Ann\'s"'),
        ("doesn #39;t", "doesn't"),
        ("players #39; wages", "players' wages"),
        ("In  quot;helping themselves, quot; he", 'In "helping themselves," he'),
        (" quot;It hurt quot;", '"It hurt"'),
        (" lt;b gt;Wow lt;/b gt;", "<b>Wow</b>"),
        ("for the  #36;10 million", "for the $10 million"),
        ("Johnson  amp; Johnson", "Johnson & Johnson"),
        ("the store:  #147; #145;How", "the store: “‘How"),
        ("by phone; a copy; the year; not lt; but", "by phone; a copy; the year; not< but"),
        ("No. #1; two", "No. #1; two"),
        ("one&#13;&#10;two", "one\ntwo"),
    ],
)
def test_entities_as_files_have_them(text, expected):
    assert unescape_html(text) == expected


@pytest.mark.parametrize(
    ("text", "blanks", "breaks"),
    [
        ("a second\\team of\\\\rockets", "a second team of rockets", "a second team of rockets"),
        ("\\\\First\\", "First", "First"),
        ("one \\two\\ three", "one two three", "one two three"),
        ("one\\\ntwo", "one\ntwo", "one\ntwo"),
        ("one\\ntwo", "one ntwo", "one\ntwo"),
        ("one\\n\\ntwo", "one n ntwo", "one\n\ntwo"),
        ("none", "none", "none"),
    ],
)
def test_backslashes_become_blanks_or_breaks(text, blanks, breaks):
    assert backslashes_to_blanks(text) == blanks
    assert backslashes_to_breaks(text) == breaks


@pytest.mark.parametrize("changes", CHANGES, ids=lambda changes: "+".join(change.__name__ for change in changes))
@given(parts=st.lists(st.lists(st.sampled_from(PARTS)).map("".join)))
def test_a_stream_may_be_cut_anywhere(changes, parts):
    whole = "".join(parts)
    for change in changes:
        whole = change(whole)
    found = list(changed_stream(iter(parts), changes))
    assert "".join(found) == whole
    assert all(found)


def test_a_long_text_without_white_space_is_not_held(monkeypatch):
    monkeypatch.setattr("textgen_corpora.text_files.cleaning._LONG", 1000)
    pieces = ["각\u1161e\u0301字" * 50] * 200
    found = list(changed_stream(iter(pieces), (nfc,)))
    assert "".join(found) == unicodedata.normalize("NFC", "".join(pieces))
    assert max(map(len, found)) < 2000


@pytest.mark.parametrize("change", [backslashes_to_blanks, unescape_html, backslashes_to_breaks])
@pytest.mark.parametrize("filler", ["\\", " ", "&", "#", ";", "&#", "\\n", " \\", "&amp;", "a"])
def test_a_long_run_of_one_sign_takes_linear_time(change, filler):
    began = perf_counter()
    change(f"x{filler * 200_000}y")
    assert perf_counter() - began < 2  # a quadratic search would take minutes
