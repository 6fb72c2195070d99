"""Tokens longer than characters, through the command line: what is counted in characters, and what in tokens."""

import json
from typing import Any

import pytest

from textgen.api import load

TEXT = "".join(
    f"The {a} cat saw the {b} dog.\nThen it ran home\n" for a in ("old", "new", "big") for b in ("red", "sad")
)
NAMES = "".join(
    f"{first} {last}\n" for first in ("Silent", "Leather", "Cotton") for last in ("Wool", "Bottle", "Blanket")
)

TOKENIZERS = {
    "words": ("--tokenizer", "words", "--set", "tokenizer.min_count=1"),
    "byte-bpe": ("--tokenizer", "byte-bpe", "--set", "tokenizer.vocab_size=290"),
}
tokenizers = pytest.mark.parametrize("tokenizer", TOKENIZERS)


@pytest.fixture
def train(textgen, tmp_path):
    """Trains a model of two ids of context; returns the folder of the run, and what was said."""

    def train(tokenizer: str, text: str, *options: Any) -> Any:
        path = tmp_path / "text.txt"
        path.write_text(text * 4, encoding="utf-8")
        layout = () if text is TEXT else ("--set", "corpus.layout=lines", "--set", "training.drop_duplicates=false")
        held_out = ("--set", "training.held_out=0.3", "--batch-size", 4)
        more = (*TOKENIZERS[tokenizer], "--model", "counting", "--epochs", 2, *layout, *held_out, *options)
        done = textgen("train", path, *more, "--out", tmp_path / "run", "--overwrite")
        assert done.code == 0, done.err
        return tmp_path / "run", done.err

    return train


def figures(run):
    return json.loads((run / "history.jsonl").read_text().splitlines()[-1])


@tokenizers
@pytest.mark.parametrize("text", [TEXT, NAMES])
def test_losses_are_per_character_and_per_token_beside_it(textgen, train, tokenizer, text):
    run, said = train(tokenizer, text, "--set", "training.length=20")
    record = figures(run)
    judged = json.loads(textgen("evaluate", run, "--json", *(["--num", 9] if text is NAMES else [])).out)["held_out"]
    assert judged["tokens"] < judged["characters"]
    assert judged["nats"] * judged["characters"] == pytest.approx(judged["nats_per_token"] * judged["tokens"])
    ratio = record["held_out_loss_per_token"] / record["held_out_loss"]
    assert ratio == pytest.approx(judged["characters"] / judged["tokens"], rel=0.1)
    assert record["loss_per_token"] > record["loss"]
    assert record["held_out_bits"] == pytest.approx(record["held_out_loss"] / 0.6931471805599453)
    assert f"held out {record['held_out_loss']:.3f} nats" in said
    assert f"{record['held_out_loss_per_token']:.3f} nats per token" in said
    assert " tokens, vocabulary " in said
    listed = textgen("runs", "show", run).out
    assert "nats per token" in listed
    if text is NAMES:  # every token but the first of each document is judged in training and in the evaluation
        assert record["held_out_loss"] == pytest.approx(judged["nats"])


@tokenizers
def test_a_length_is_a_number_of_characters(textgen, train, tokenizer):
    run, _ = train(tokenizer, TEXT)
    for length in (1, 2, 7, 50):
        shown = textgen("sample", run, "--prompt", "The old", "--length", length, "--seed", 3)
        assert len(shown.out) == len("The old") + length + 1, shown.err


@tokenizers
@pytest.mark.parametrize("text", [TEXT, NAMES])
def test_a_text_without_a_prompt_begins_as_texts_do(textgen, train, tokenizer, text):
    run, _ = train(tokenizer, text)
    starts = [line for line in text.splitlines() if line]
    decode = load(run).tokenizer.decode
    arguments = ("sample", run, "--num", 20, "--seed", 1, "--length", 12)
    generations = json.loads(textgen(*arguments, "--json").out)
    for generation in generations:
        first = decode(generation["ids"][:1])
        assert any(start.startswith(first) for start in starts)
        assert generation["text"].startswith(first)
        assert len(generation["text"]) <= len(first) + 12
    separator = "\n" if text is NAMES else "\n\n"
    expected = separator.join(generation["text"] for generation in generations) + "\n"
    for options in ((), ("--stream",)):
        assert textgen(*arguments, *options).out == expected


@tokenizers
def test_a_text_in_two_parts_is_the_text_at_once(textgen, train, tokenizer, tmp_path):
    run, _ = train(tokenizer, TEXT)
    whole = textgen("sample", run, "--prompt", "Then", "--length", 60, "--seed", 3).out
    for length in (7, 8, 9, 10, 31):
        part = textgen(
            "sample", run, "--prompt", "Then", "--length", length, "--seed", 3, "--save-state", tmp_path / "state"
        )
        rest = textgen("sample", run, "--load-state", tmp_path / "state", "--length", 60 - length)
        assert part.out.removesuffix("\n") + rest.out == whole


def test_a_stream_is_not_cut_inside_words(textgen, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("characteristic words\n" * 250_000, encoding="utf-8")  # more than is read at a time
    arguments = ("train", text, "--tokenizer", "words", "--model", "counting", "--dry-run")
    found = json.loads(textgen(*arguments).out)["vocab_size"]
    assert found == len(set("characteristic words\n")) + len(["characteristic", " words"]) + 1


def test_unknown_words_count_as_the_characters_that_they_have(textgen, tmp_path):
    words = [f"word{number:03}" for number in range(60)]
    text = "".join(f"the {word} and the {word[::-1]} ran\n" for word in words)
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    options = ("--tokenizer", "words", "--set", "tokenizer.rare=unk", "--set", "corpus.layout=lines")
    trained = ("--model", "counting", "--epochs", 1, "--set", "training.held_out=0.5", "--out", tmp_path / "run")
    assert textgen("train", tmp_path / "text.txt", *options, *trained).code == 0
    judged = json.loads(textgen("evaluate", tmp_path / "run", "--num", 2, "--json").out)["held_out"]
    # Every line is as long, and its first token, "the", is not judged; the end counts as a character.
    assert judged["characters"] == 30 * (len(text.splitlines()[0]) - len("the") + 1)


@pytest.mark.parametrize("length", [1, 3, 5, 30])
def test_a_stop_text_in_the_rest_of_a_token_ends_the_text(textgen, tmp_path, length):
    (tmp_path / "text.txt").write_text("the elephant sat on the elephant\n" * 40, encoding="utf-8")
    trained = ("--model", "counting", "--set", "training.length=20", "--epochs", 2, "--out", tmp_path / "run")
    assert textgen("train", tmp_path / "text.txt", "--tokenizer", "words", *trained).code == 0
    state = tmp_path / "state"
    greedy = ("--top-k", 1, "--seed", 1)
    begun = textgen("sample", tmp_path / "run", "--prompt", "the", "--length", 4, *greedy, "--save-state", state)
    assert begun.out == "the ele\n"
    rest = textgen("sample", tmp_path / "run", "--load-state", state, "--length", length, "--stop", "h", *greedy)
    assert rest.out == "p\n"


def test_a_label_may_be_typed_with_a_decomposed_accent(textgen, tmp_path):
    (tmp_path / "table.csv").write_text("text,label\n" + "abc,caf\u00e9\nabd,tea\n" * 20, encoding="utf-8")
    corpus = ("--set", "corpus.label=label", "--set", "training.drop_duplicates=false")
    options = ("--model", "counting", *corpus, "--epochs", 1, "--out", tmp_path / "run")
    assert textgen("train", tmp_path / "table.csv", *options).code == 0
    assert textgen("sample", tmp_path / "run", "--label", "cafe\u0301", "--seed", 1).code == 0
