"""Texts passed by a program: kept as files that the corpus ``file`` reads."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import textgen
from textgen.base.passed_text import keep_text
from textgen.errors import CorpusError, OptionError, TextgenError
from textgen.files.writing import write_atomically
from textgen.testing import counting, registered

QUICK = {"training": {"epochs": 1, "batch_size": 2, "held_out": 0.25, "length": 10, "sample_every": 0}}
NAMES = ["Ada", "Adam", "Beatrix", "Bo", "Dora", "Dorian", "Ed", "Eda"]


class Column:
    """A column as those of pandas and polars are: iterable, with a length and a name."""

    def __init__(self, values: list[object]) -> None:
        self.values = values
        self.name = "title"

    def __iter__(self) -> Iterator[object]:
        return iter(self.values)

    def __len__(self) -> int:
        return len(self.values)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TEXTGEN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("TEXTGEN_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setattr("textgen.training.plot.save_training_plot", lambda history, path: write_atomically(path, b""))
    return tmp_path / "cache"


def train(text: Any) -> textgen.TextGenerator:
    with registered(counting, name="counting"):
        return textgen.train(text=text, model="counting", settings=QUICK)


def corpus_of(generator: textgen.TextGenerator) -> dict[str, object]:
    return generator.artifact.manifest.settings["corpus"]


def test_a_text_is_a_stream(cache):
    text = "the cat sat on the mat\r\nand that was that\n" * 5
    generator = train(text)
    path = cache / "texts" / (hashlib.sha256(text.encode()).hexdigest() + ".txt")
    assert (corpus_of(generator)["name"], corpus_of(generator)["path"]) == ("file", str(path))
    assert path.read_bytes() == text.encode()
    assert generator.artifact.manifest.provenance["layout"] == "stream"


@pytest.mark.parametrize(
    "texts",
    [NAMES, tuple(NAMES), iter(NAMES), np.array(NAMES), np.array(NAMES, object), Column([*NAMES])],
    ids=["list", "tuple", "iterator", "array", "objects", "column"],
)
def test_many_texts_are_documents(texts):
    generator = train(texts)
    path = Path(str(corpus_of(generator)["path"]))
    assert path.suffix == ".jsonl"
    assert [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()] == NAMES
    assert generator.artifact.manifest.provenance["layout"] == "documents"


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1).filter(lambda texts: any(map(str.strip, texts))))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_documents_are_kept_as_they_are(texts):
    kept = keep_text(texts).read_text(encoding="utf-8").split("\n")
    assert [json.loads(line) for line in kept if line] == [{"text": text} for text in texts]


def test_documents_may_have_labels():
    kinds = ["long" if len(name) > 3 else "short" for name in NAMES]
    with registered(counting, name="counting"):
        generator = textgen.train(text=NAMES, labels=iter(kinds), model="counting", settings=QUICK)
    assert generator.artifact.manifest.labels == ["long", "short"]
    assert generator.generate(label="short", seed=1)
    for text, labels, error in (
        (NAMES, kinds[1:], "text has 8 documents, but labels has 7 items"),
        ("Ada", ["short"], "text is one text, which has no labels"),
        (None, kinds, "labels belong to text="),
    ):
        with pytest.raises(OptionError, match=error):
            textgen.train(text=text, labels=labels, model="counting", settings=QUICK)


def test_a_run_of_a_text_can_be_evaluated_and_resumed():
    with registered(counting, name="counting") as registry:
        generator = textgen.train(text=NAMES, model="counting", settings=QUICK)
        assert generator.evaluate().held_out is not None
        from textgen.training.display import Display
        from textgen.training.train import resume

        resumed = resume(generator.artifact.path, registry, Display(), changes={"training": {"epochs": 2}})
        assert resumed.manifest.status == "finished"


def test_a_text_of_short_lines_is_told_how_to_pass_its_lines(capsys):
    textgen.read(text="\n".join(NAMES * 20))
    assert "in Python, pass text=TEXT.splitlines()" in capsys.readouterr().err
    textgen.read(text="\n".join(NAMES * 20).splitlines())
    assert capsys.readouterr().err == ""


def test_options_of_the_corpus_apply_to_a_text():
    with registered(counting, name="counting"):
        options = QUICK | {"corpus": {"layout": "lines"}}
        generator = textgen.train(text="\n".join(NAMES), model="counting", settings=options)
    assert generator.artifact.manifest.provenance["layout"] == "documents"


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("", CorpusError, "text has no text: it is empty"),
        (" \n", CorpusError, "text has no text: it is empty"),
        ([], CorpusError, "text has no text: it is empty"),
        (["", " "], CorpusError, "text has no text: it is empty"),
        (["a", None], OptionError, r"text\[1\] is None, which is not a str; leave such rows out, as in text=\["),
        (Column(["a", float("nan")]), OptionError, r"text\[1\] is nan, which is not a str"),
        (np.array([1, 2]), OptionError, r"text\[0\] is .*1.*, which is not a str"),
        (np.array([["a", "b"]]), OptionError, r"text\[0\] is .*, which is not a str"),
        (b"bytes", OptionError, r"text is bytes; decode it"),
        (Path("my.txt"), OptionError, r"text is a path; pass it as corpus='my.txt'"),
        ({"a": "b"}, OptionError, r"text is a mapping \(dict\)"),
        (5, OptionError, "text is of type int; pass a str"),
        (
            SimpleNamespace(columns=["title"]),
            OptionError,
            r"text is a table \(SimpleNamespace\); pass one of its",
        ),
        (SimpleNamespace(read=str), OptionError, r"text is an open file; pass its content"),
        ("half \ud83d", CorpusError, "text contains half of a surrogate pair"),
        (["a", "half \ud83d"], CorpusError, r"text\[1\] contains half of a surrogate pair"),
    ],
)
def test_what_is_not_text_is_an_error_of_one_line(cache, text, error, says):
    with pytest.raises(error, match=says) as caught:
        train(text)
    assert isinstance(caught.value, TextgenError)
    assert "\n" not in str(caught.value)
    assert list((cache / "texts").glob("*") if cache.exists() else []) == []


def test_a_text_and_a_corpus_exclude_each_other():
    with pytest.raises(OptionError, match="give either corpus='dinos-lite' or text=…, not both"):
        textgen.train("dinos-lite", text="hello")
