"""Tokenizers whose ids are not characters, through the whole command line."""

import json
from pathlib import Path
from typing import Any

import pytest

from textgen.api import train
from textgen.testing import recurrent, registered

VERSE = "The cat sat on the mat;\nthe hat sat on the cat, naïve 🌲🌲 cat.\n\n  It's the café's cat.\n" * 30

TOKENIZERS: dict[str, dict[str, Any]] = {
    "words": {"name": "words"},
    "words by unk": {"name": "words", "rare": "unk"},
    "byte-bpe": {"name": "byte-bpe", "vocab_size": 300},
    "bytes": {"name": "byte-bpe", "vocab_size": 257},
}


@pytest.fixture(scope="module", autouse=True)
def network():
    """The model ``fixed-gru``, which all runtimes run, and which writes any ids."""
    with registered(recurrent, name="fixed-gru", distribution="textgen-fixed-gru"):
        yield


@pytest.fixture(scope="module", params=TOKENIZERS.values(), ids=list(TOKENIZERS))
def run(network, request, tmp_path_factory) -> Path:
    folder: Path = tmp_path_factory.mktemp("run")
    (folder / "verse.txt").write_text(VERSE, encoding="utf-8")
    settings = {"tokenizer": request.param, "training": {"length": 20, "epochs": 1, "sample_every": 0}}
    train(folder / "verse.txt", "fixed-gru", settings=settings, out=folder / "run")
    return folder / "run"


def test_a_run_is_sampled_streamed_stopped_evaluated_and_exported(textgen, run):
    wanted = ["sample", run, "--seed", 3, "--length", 60]
    whole = textgen(*wanted)
    assert whole.code == 0, whole.err
    text = whole.out.removesuffix("\n")
    assert len(text) > 20
    exported = textgen("export", run, "--onnx")
    assert exported.code == 0, exported.err
    for runtime in ("numpy", "onnx", "fixed-gru"):
        assert textgen(*wanted, "--runtime", runtime).out == whole.out, runtime
        assert textgen(*wanted, "--runtime", runtime, "--stream").out == whole.out, runtime
    stop = text[10:13]
    stopped = textgen(*wanted, "--stop", stop)
    assert stopped.out.removesuffix("\n") == text[: text.index(stop)]
    assert textgen(*wanted, "--stop", stop, "--stream").out == stopped.out
    evaluated = textgen("evaluate", run, "--json")
    assert evaluated.code == 0, evaluated.err
    assert json.loads(evaluated.out)["held_out"]["nats"] > 0


def test_each_begins_as_a_line_of_its_corpus(textgen, run):
    sampled = textgen("sample", run, "--num", 20, "--seed", 1, "--length", 12, "--json")
    assert sampled.code == 0, sampled.err
    begun = {line[0] for line in VERSE.splitlines() if line}
    texts = [each["text"] for each in json.loads(sampled.out)]
    assert len(texts) == 20
    assert {text[0] for text in texts} <= begun


def test_a_prompt_of_any_characters(textgen, run):
    name = json.loads((run / "textgen.json").read_text(encoding="utf-8"))["settings"]["tokenizer"]
    sampled = textgen("sample", run, "--prompt", "日本 ☂", "--seed", 1, "--length", 5, "--on-unknown", "error")
    if name["name"] == "byte-bpe":
        assert sampled.out.startswith("日本 ☂")
    elif name["rare"] == "unk":
        assert (
            "'日本' at position 0 is not in the vocabulary; remove it, or use --on-unknown skip or unk" in sampled.error
        )
    else:
        assert (
            "'日' (U+65E5) at position 0 is not in the vocabulary; remove it, or use --on-unknown skip" in sampled.error
        )


@pytest.mark.parametrize("tokenizer", ["words", "byte-bpe"])
def test_documents_may_have_line_ends(textgen, tokenizer):
    Path("poems.jsonl").write_text(
        "".join(json.dumps({"text": f"Rose {n},\nrose!\n<eos> is text"}) + "\n" for n in range(20)), encoding="utf-8"
    )
    corpus = ["--set", "corpus.format=jsonl", "--set", "corpus.column=text"]
    model = ["--model", "fixed-gru", "--epochs", 1, "--tokenizer", tokenizer]
    trained = textgen("train", "poems.jsonl", *corpus, *model, "--out", "run")
    assert trained.code == 0, trained.err
    manifest = json.loads(Path("run/textgen.json").read_text(encoding="utf-8"))
    assert manifest["end_id"] == manifest["vocab_size"] - 1
    assert textgen("sample", "run", "--num", 3, "--seed", 1, "--length", 30).code == 0


def test_rare_characters_are_counted_and_left_out(textgen):
    words = ["ab", "abba", "baab", "baé", "añba"] * 2
    Path("words.txt").write_text("\n".join([*words, *"aabb" * 10]) + "\n", encoding="utf-8")
    fates = {"string-lookup": "become [UNK]", "char-eos": "become the unknown id", "char-index": "are dropped"}
    for tokenizer, fate in fates.items():
        options = ["--model", "counting", "--tokenizer", tokenizer, "--set", "tokenizer.min_count=3", "--epochs", 1]
        options += ["--set", "training.drop_duplicates=false"]
        trained = textgen("train", "words.txt", "--set", "corpus.layout=lines", *options, "--out", tokenizer)
        assert trained.code == 0, trained.err
        known = 4 if tokenizer == "char-eos" else 5  # the others have the line end, too
        said = f"textgen: 2 of {known} characters occur fewer than 3 times, 4 times in all; they {fate}\n"
        assert trained.err.count(said) == 1
        evaluated = textgen("evaluate", tokenizer, "--num", 5)
        assert evaluated.code == 0, "the corpus has rare characters all the same"
    error = textgen("sample", "char-index", "--prompt", "abé").error
    assert "'é' (U+00E9) at position 2 is not in the vocabulary; remove it, or use --on-unknown skip" in error
