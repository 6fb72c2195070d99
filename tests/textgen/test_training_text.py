"""A text as training reads it, to look at."""

import pytest

import textgen
from tests.html_reader import Reader
from textgen.errors import CorpusError, OptionError


def test_a_stream_is_read_as_it_would_be_trained_on():
    stream = "".join(chr(97 + i % 7) for i in range(4000))
    settings = {"training": {"length": 9, "layout": "windows", "shuffle": False}}
    text = textgen.read(text=stream, tokenizer="string-lookup", settings=settings)
    assert text.head[:20] == stream[:20]
    assert text.tokenizer.decode(text.ids) == stream
    assert [text.vocabulary[i] for i in text.ids[:7]] == [*"abcdefg"]
    example = text.example()
    assert example.inputs.tolist() == text.ids[:9].tolist()
    assert example.targets.tolist() == text.ids[1:10].tolist()
    assert "".join(example.input_tokens) == stream[:9]
    assert "".join(example.target_tokens) == stream[1:10]
    assert example.counts.all()
    assert str(example) == f"input  {stream[:9]!r}\ntarget {stream[1:10]!r}"
    assert (text.statistics.characters, text.statistics.distinct_characters) == (4000, 7)
    assert text.dataset.train.steps == -(-(3600 // 10) // 64)
    with pytest.raises(OptionError, match="row is 64, but the first batch has 64 rows, from 0"):
        text.example(64)


def test_documents_have_ends_and_padding_and_a_histogram():
    names = ["ab", "abcd", "b", "cccccc", "dd", "a"] * 3
    settings = {"training": {"drop_duplicates": False, "shuffle": False, "bucket": False, "held_out": 0}}
    text = textgen.read(text=names, tokenizer="char-eos", settings=settings)
    assert text.head.split("\n") == names
    example = text.example(1)
    assert [*example.input_tokens] == [*"abcd", "<eos>", "<pad>"]
    assert [*example.target_tokens] == [*"bcd", "<eos>", "<pad>", "<pad>"]
    assert example.counts.tolist() == [True] * 4 + [False] * 2
    assert sum(bar.documents for bar in text.statistics.histogram) == text.facts["documents"] == len(names)
    shown = Reader(text._repr_html_()).text
    assert "documents by their length" in shown
    assert "one of 18 examples, in 1 batch per epoch" in shown
    assert str(text.example()) in shown
    # All ids are 18 names, of 14 letters for each 6, and their ends: more than are listed; the vocabulary is whole.
    assert str(text).count("…") == 1


def test_what_is_listed_whole_does_not_end_in_dots():
    settings = {"training": {"drop_duplicates": False, "held_out": 0}}
    text = textgen.read(text=["ab", "cd"], tokenizer="char-eos", settings=settings)
    assert len(text.ids) == 6
    assert "…" not in str(text) + text._repr_html_()


def test_advice_for_the_command_line_is_not_given_in_python():
    text = textgen.read(text=["ab", "ab", "cd"])
    assert "(1 duplicate is left out)" in repr(text)


def test_a_text_too_short_to_train_on_can_be_looked_at_all_the_same():
    text = textgen.read(text="abc")
    assert text.ids.tolist() == [0, 1, 2]
    for shown in (str(text), Reader(text._repr_html_()).text):
        assert "first characters" in shown
        assert "no example" in shown
        assert "needs 101" in shown
    with pytest.raises(CorpusError, match="needs 101"):
        text.example()


def test_the_histogram_says_that_it_counts_duplicates():
    for documents, said in ((["ab", "cd"], False), (["ab", "ab", "cd"], True)):
        shown = Reader(textgen.read(text=documents)._repr_html_()).text
        assert ("documents by their length, with the duplicates" in shown) == said


def test_control_characters_are_shown_by_their_codes():
    text = textgen.read(text="a\x1b[31mb" * 200)
    assert "\x1b" not in str(text)
    assert "\x1b" in text.head


def test_examples_can_be_compared():
    text = textgen.read(text="abcdefg" * 100)
    example = text.example()
    assert example == example  # noqa: PLR0124 - arrays cannot be compared so
    assert example != text.example(1)
    assert len({example, text.example(1)}) == 2
