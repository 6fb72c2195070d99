"""What a notebook shows of objects, and what a text is to look at."""

import json
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import textgen
from textgen.base import html
from textgen.base.console import visible
from textgen.errors import CorpusError, OptionError
from textgen.generation.request import Token

#: A text that would be code, a formula or a command to a terminal, if it were not escaped.
HOSTILE = '<script>alert("x")</script>&lt; $x^2$ \x1b[31m\u202e'

DOCUMENTS = [HOSTILE, *(f"name {number}" for number in range(20))]


class Reader(HTMLParser):
    """The text of HTML, and its tags; each that is opened must be closed."""

    EMPTY = ("circle", "rect", "polyline", "path")

    def __init__(self, source: str) -> None:
        super().__init__()
        self.text = ""
        self.tags: list[str] = []
        self._open: list[str] = []
        self.feed(source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self._open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def generator(work) -> textgen.TextGenerator:
    settings = {"training": {"epochs": 1, "batch_size": 4}}
    return textgen.train(text=DOCUMENTS, model="counting", settings=settings, out=work.folder / "run")


def test_everything_is_shown_as_escaped_html(generator, work):
    text = textgen.read(text=DOCUMENTS)
    generations = generator.sample(["<b>"[1:2], "n"], num=2, score=True, length=30, seed=1)
    shown = [generator, text, text.example(), text.corpus, text.tokenizer, generator.tokenizer, generations]
    shown += [*generations, generator.generate(num=3, seed=2), generator.evaluate(num=10)]
    for each in shown:
        source = each._repr_html_()
        reader = Reader(source)
        assert not {"script", "b"} & set(reader.tags), each
        assert not {"\x1b", "\u202e"} & set(source)
        assert len(source) < 100_000
        assert "\n" not in repr(each) or isinstance(each, textgen.Example)
        assert len(repr(each)) < 2000
    assert f"textgen.load({str(work.folder / 'run')!r})" in Reader(generator._repr_html_()).text


@given(st.text(), st.text())
def test_any_text_is_shown_as_it_is_but_for_what_a_terminal_acts_on(text, other):
    shown = Reader(html.box(text, html.block(text), html.table([text], [[html.code(text)]]), html.line(other))).text
    plain, last = (visible(each.encode("utf-8", "backslashreplace").decode()) for each in (text, other))
    assert shown == 4 * plain + last


def test_a_scored_text_has_a_token_per_id_and_each_is_the_stronger_coloured_the_less_likely_it_was(generator):
    for generation in generator.sample(num=20, score=True, seed=5, length=12):
        tokens = generation.tokens
        assert "".join(token.text for token in tokens).startswith(generation.text)
        scored = [token.log_probability for token in tokens if token.log_probability is not None]
        assert len(tokens) == len(generation.ids)
        assert sum(scored) == pytest.approx(generation.log_probability)
    assert generator.sample(seed=5)[0].tokens is None
    certain, unlikely, unscored = (html.coloured([Token("a", p)], "a", 9) for p in (0.0, -3.0, None))
    assert "0.00)" in certain
    assert "0.32)" in unlikely  # 3 nats are 4.3 bits of 10
    assert unscored == "a"


def test_scores_do_not_change_what_is_equal_or_printed(generator):
    plain, scored = (generator.sample("n", seed=3, score=score)[0] for score in (False, True))
    assert plain.text == scored.text
    assert generator.sample("n", seed=3, score=True)[0] == scored


def test_sample_takes_a_request_or_a_prompt_with_options(generator):
    request = generator.request(["n", "na"], num=2, seed=4)
    assert generator.sample(request) == generator.sample(["n", "na"], num=2, seed=4)
    with pytest.raises(OptionError, match="a request has its options already; leave out num"):
        generator.sample(request, num=3)
    # They stay lists.
    texts = generator.generate("n", num=3, seed=4)
    assert isinstance(texts, list)
    assert json.loads(json.dumps(texts)) == texts
    assert isinstance(generator.sample("n"), list)


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
    assert "documents by their length" in text._repr_html_()


def test_a_text_too_short_to_train_on_can_be_looked_at_all_the_same():
    text = textgen.read(text="abc")
    assert text.ids.tolist() == [0, 1, 2]
    assert "first characters" in text._repr_html_()
    with pytest.raises(CorpusError, match="needs 101"):
        text.example()


def test_texts_and_numbers_of_numpy_and_pandas_are_taken(generator, work):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"title": DOCUMENTS, "class": ["x", "y", "z"] * 7})
    settings = {"training": {"epochs": np.int64(1), "batch_size": np.int32(4), "held_out": np.float64(0.2)}}
    labelled = textgen.train(text=table["title"], labels=table["class"], model="counting", settings=settings)
    assert labelled.artifact.manifest.labels == ["x", "y", "z"]
    options: dict[str, Any] = {"num": np.int64(2), "label": pandas.Series(["x", "z"]), "seed": np.uint8(1)}
    assert len(labelled.generate(**options)) == 4
    plain = textgen.read(text=np.array(DOCUMENTS))
    assert plain.ids.tolist() == textgen.read(text=DOCUMENTS).ids.tolist()
    row: Any = np.int64(0)
    assert plain.example(row).inputs.dtype == np.int32
    with pytest.raises(OptionError, match=r"text is a table \(DataFrame\); pass one of its columns"):
        textgen.read(text=table)
    missing = table["title"].where(table.index != 3)
    with pytest.raises(OptionError, match=r"text\[3\] is nan, which is not a str"):
        textgen.read(text=missing)
    temperatures = np.array([0.5, 1.0], np.float32)
    assert len(generator.sample(pandas.Series(["n", "na"]), temperature=temperatures, length=np.int16(5))) == 4
