"""What a notebook shows of objects, and what Python takes of NumPy and pandas there."""

import ast
import json
from typing import Any

import numpy as np
import pytest

import textgen
from tests.html_reader import Reader
from textgen.errors import OptionError

#: A text that would be code, a formula or a command to a terminal, if it were not escaped.
HOSTILE = '<script>alert("x")</script>&lt; $x^2$ \x1b[31m\u202e'

DOCUMENTS = [HOSTILE, *(f"name {number}" for number in range(20))]


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


def test_a_scored_text_has_a_token_per_id(generator):
    for generation in generator.sample(num=20, score=True, seed=5, length=12):
        tokens = generation.tokens
        assert "".join(token.text for token in tokens).startswith(generation.text)
        scored = [token.log_probability for token in tokens if token.log_probability is not None]
        assert len(tokens) == len(generation.ids)
        assert sum(scored) == pytest.approx(generation.log_probability)
    assert generator.sample(seed=5)[0].tokens is None


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


def test_a_cross_validation_is_shown_as_the_table_that_is_printed(generator):
    validation = textgen.cross_validate(generator.artifact.path, folds=3)
    (table,) = validation.tables()
    shown = Reader(validation._repr_html_())
    assert shown.tags.count("tr") == len(table.rows) + 1
    assert all(cell in shown.text for row in table.rows for cell in row)
    assert [float(row[2]) for row in table.rows[:3]] == [round(fold.nats, 4) for fold in validation.folds]
    assert len(repr(validation)) < 300
    assert f"{validation.nats:.4f} nats" in repr(validation)


@pytest.mark.parametrize(("size", "dots"), [(49, 0), (50, 0), (51, 1)])
def test_a_tokenizer_shows_dots_only_where_ids_are_left_out(make_tokenizer, size, dots):
    tokenizer = make_tokenizer("string-lookup", ["".join(chr(0x4E00 + i) for i in range(size - 1))])
    assert tokenizer.vocab_size == size
    assert tokenizer._repr_html_().count("…") == dots


def test_parts_of_a_list_are_shown_as_the_list_is(generator):
    for written in (generator.sample("n", num=4, seed=1), generator.generate("n", num=4, seed=1)):
        for part in (written[:2], written[::-1], written + written, written.copy()):
            assert type(part) is type(written)
            assert "<table" in part._repr_html_()
        assert written[:2] == [written[0], written[1]]
        written.append("<b>")  # not one of the model's
        assert "<b>" not in (written._repr_html_() or "")


def test_ipython_prints_no_more_of_a_long_list_than_the_table_has(generator):
    pretty = pytest.importorskip("IPython.lib.pretty").pretty
    for written in (generator.generate("n", num=200, length=300), generator.sample("n", num=200, length=300)):
        assert len(pretty(written)) < 20_000
        assert pretty(written).endswith("] and 150 more")
        assert len(written[:2]) == 2
    assert ast.literal_eval(pretty(generator.generate("n", num=3, seed=1))) == generator.generate("n", num=3, seed=1)
