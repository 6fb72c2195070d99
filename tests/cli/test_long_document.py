"""One long document among short ones decides neither on batches, nor on samples, nor on the time of an evaluation."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.text.encoded import EncodedText

LINES = [f"line {number} of some forty characters, or so" for number in range(99)]
BOOK = "a book of many words " * 1000


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("\n".join([*LINES[:50], BOOK, *LINES[50:]]) + "\n", encoding="utf-8")
    return path


def test_a_book_among_lines_is_split_to_train_on(textgen, texts):
    train = ("train", texts, "--set", "corpus.layout=lines", "--model", "counting")
    plan = json.loads(textgen(*train, "--dry-run").out)
    assert plan["settings"]["generation"]["length"] == 400
    assert (plan["documents"], plan["examples"]) == (100, 90 - 1 + -(-(len(BOOK) + 1) // 200))
    done = textgen(*train, "--epochs", 1, "--out", texts.parent / "run")
    assert done.code == 0, done.err
    assert "100 documents (1 longer than 200 tokens, split to train on), " in done.err
    evaluated = textgen("evaluate", texts.parent / "run", "--num", 5, "--json")
    assert json.loads(evaluated.out)["written"]["length"] == 400


def test_documents_laid_end_to_end_are_not_split(textgen, texts):
    train = ("train", texts, "--set", "corpus.layout=lines", "--set", "training.layout=packed")
    done = textgen(*train, "--model", "counting", "--epochs", 1, "--out", texts.parent / "run")
    assert f"on file: 100 documents, {len(BOOK) + sum(map(len, LINES)):,} characters, vocabulary " in done.err


@given(st.lists(st.integers(0, 50), min_size=1, max_size=20), st.integers(1, 60))
def test_pieces_are_the_documents(lengths, limit):
    text = EncodedText.join([np.full(length, number, np.int32) for number, length in enumerate(lengths)])
    split = text.split_long(limit)
    assert split.ids is text.ids
    assert split.lengths().max(initial=0) <= limit
    assert set(text.offsets.tolist()) <= set(split.offsets.tolist())
    assert len(split) == sum(max(1, -(-length // limit)) for length in lengths)
