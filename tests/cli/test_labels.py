"""Text by label: training, sampling, continuing, evaluating and exporting, all by the command line."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest

import textgen as library
from textgen import Corpus, Provenance, hookimpl
from textgen.errors import UnavailableError
from textgen.evaluation import plot as evaluation_plot
from textgen.generation.probability import log_softmax
from textgen.testing import recurrent, registered, tiny
from textgen.testing.tiny import WORDS

LABELS = ["long", "medium", "short"]


class Outcome(Protocol):
    """The outcome of a command."""

    code: int
    out: str


RUNTIMES = ["fixed-gru", "numpy", "onnx"]


def label_of_word(word: str) -> str:
    return "short" if len(word) <= 4 else "medium" if len(word) == 5 else "long"


@pytest.fixture(autouse=True)
def tiny_plugins(monkeypatch):
    """The labelled corpus, and a recurrent model that every runtime runs; no plots."""

    def unavailable(*arguments: object) -> None:
        raise UnavailableError("plots need matplotlib")

    monkeypatch.setattr(evaluation_plot, "save_evaluation_plot", unavailable)
    with registered(tiny, name="tiny"), registered(recurrent, name="recurrent"):
        yield


@pytest.fixture
def run(textgen) -> Path:
    """A run of labelled words by the model that counts."""
    done = textgen("train", "--corpus", "tiny-labelled", "--model", "counting", "--epochs", 2, "--out", "run")
    assert done.code == 0
    return Path("run")


@pytest.fixture
def network(textgen) -> Path:
    """A run of labelled words by a recurrent network of random weights, and its export."""
    textgen("train", "--corpus", "tiny-labelled", "--model", "fixed-gru", "--epochs", 1, "--out", "network")
    assert textgen("export", "network", "--onnx").code == 0
    return Path("network")


@pytest.fixture
def plain(textgen, names) -> Path:
    """A run without labels."""
    textgen("train", names, "--model", "counting", "--set", "corpus.layout=lines", "--epochs", 2, "--out", "plain")
    return Path("plain")


def generations(outcome: Outcome) -> list[dict[str, Any]]:
    assert outcome.code == 0
    found: list[dict[str, Any]] = json.loads(outcome.out)
    return found


def test_the_label_decides_the_text(textgen, run):
    """The counting model knows the two ids before: after a label, only first letters of its words are likely."""
    greedy = ["--sampler", "greedy", "--length", 1]
    for label in LABELS:
        (written,) = generations(textgen("sample", run, "--label", label, "--json", *greedy))
        firsts = Counter(word[0] for word in WORDS if label_of_word(word) == label)
        assert firsts[written["text"]] >= 1
        assert (written["label"], written["prompt"]) == (label, "")


def test_several_labels_are_a_block_each(textgen, run):
    both = textgen("sample", run, "--label", "short", "--label", "long", "--num", 3, "--seed", 5).out
    blocks = both.split("--- label ")[1:]
    assert [block.splitlines()[0] for block in blocks] == ["short", "long"]
    assert blocks[0].endswith("\n\n")
    for label, block in zip(["short", "long"], blocks, strict=True):
        alone = textgen("sample", run, "--label", label, "--num", 3, "--seed", 5).out
        assert block.removesuffix("\n\n").rstrip("\n") == f"{label}\n{alone}".rstrip("\n")


def test_labels_go_with_temperatures_and_prompts(textgen, run):
    options = ["--prompt", "a", "--prompt", "e", "--num", 2, "--temperature", 0.5, "--temperature", 1.5, "--seed", 1]
    many = textgen("sample", run, "--label", "short", "--label", "long", *options)
    assert [line for line in many.out.splitlines() if line.startswith("---")] == [
        f"--- label {label}, temperature {temperature}" for label in ("short", "long") for temperature in ("0.5", "1.5")
    ]
    found = generations(textgen("sample", run, "--label", "short", "--label", "long", *options, "--json"))
    assert [item["label"] for item in found] == ["short"] * 8 + ["long"] * 8
    assert [item["prompt"] for item in found] == ["a", "a", "e", "e"] * 4
    assert [item["row"] for item in found] == [0, 1, 2, 3] * 4
    assert all(item["sampler"].startswith("temperature(0.5)") for item in found[:4] + found[8:12])
    shown = [line for line in many.out.splitlines() if line and not line.startswith("---")]
    assert shown == [item["prompt"] + item["text"] for item in found]


def test_a_text_does_not_depend_on_the_other_rows(textgen, run):
    many = generations(
        textgen("sample", run, "--label", "short", "--label", "long", "--num", 20, "--seed", 3, "--json")
    )
    alone = generations(textgen("sample", run, "--label", "long", "--num", 20, "--seed", 3, "--json"))
    assert many[20:] == alone
    assert generations(textgen("sample", run, "--label", "long", "--seed", 3, "--json")) == alone[:1]


def test_without_a_label_one_is_drawn_by_how_many_documents_have_it(textgen, run):
    written = generations(textgen("sample", run, "--num", 2000, "--seed", 2, "--json", "--length", 1))
    counts = Counter(item["label"] for item in written)
    for label, count in Counter(map(label_of_word, WORDS)).items():
        assert counts[label] / 2000 == pytest.approx(count / 48, abs=0.05)
    assert textgen("sample", run, "--num", 50, "--seed", 2).out.splitlines() == [
        item["text"] for item in generations(textgen("sample", run, "--num", 50, "--seed", 2, "--json"))
    ]


def test_a_drawn_label_and_the_same_label_give_the_same_text(textgen, run):
    for prompt in ([], ["--prompt", "a"]):
        drawn = generations(textgen("sample", run, *prompt, "--num", 9, "--seed", 4, "--json"))
        assert len({item["label"] for item in drawn}) > 1
        for label in LABELS:
            asked = generations(textgen("sample", run, *prompt, "--num", 9, "--seed", 4, "--json", "--label", label))
            assert [item for item in asked if item["label"] == drawn[item["row"]]["label"]] == [
                item for item in drawn if item["label"] == label
            ]


def test_a_label_is_never_drawn_inside_a_text(textgen, network):
    """Random weights make every id likely."""
    size = json.loads((network / "textgen.json").read_text())["vocab_size"]
    hot = ["--num", 40, "--length", 50, "--sampler", "temperature(5) | multinomial", "--ignore-eos", "--json"]
    for runtime in RUNTIMES:
        written = generations(textgen("sample", network, "--runtime", runtime, *hot))
        assert max(i for item in written for i in item["ids"]) < size - 3
        assert all(len(item["ids"]) == 50 for item in written)


def test_every_runtime_writes_the_same_text_and_so_does_the_export(textgen, network):
    options = ["--label", "long", "--label", "short", "--num", 5, "--seed", 9, "--length", 30]
    expected = textgen("sample", network, "--runtime", "fixed-gru", *options).out
    assert len(set(expected.splitlines())) > 8
    for runtime in ("numpy", "onnx"):
        assert textgen("sample", network, "--runtime", runtime, *options).out == expected
    shutil.move(network / "onnx", "exported")
    shutil.rmtree(network)
    assert textgen("sample", "exported", *options).out == expected
    exported = json.loads(Path("exported/textgen.json").read_text())
    assert exported["labels"] == LABELS
    assert "`--label NAME` with one of long, medium, short." in Path("exported/README.md").read_text()
    drawn = generations(textgen("sample", "exported", "--num", 30, "--seed", 1, "--json"))
    assert {item["label"] for item in drawn} == set(LABELS)


@pytest.mark.parametrize("tokenizer", ["words", "byte-bpe", "string-lookup"])
def test_labels_go_with_every_tokenizer(textgen, tokenizer):
    options = ["--corpus", "tiny-labelled", "--model", "fixed-gru", "--epochs", 1, "--tokenizer", tokenizer]
    assert textgen("train", *options, "--out", "run").code == 0
    assert textgen("export", "run", "--onnx").code == 0
    ask = ["--label", "long", "--label", "short", "--num", 4, "--seed", 9, "--length", 30]
    texts = [textgen("sample", "run", "--runtime", runtime, *ask).out for runtime in RUNTIMES]
    assert len(set(texts)) == 1
    assert "--- label long\n" in texts[0]
    found = json.loads(textgen("evaluate", "run", "--num", 9, "--json").out)
    assert found["labels"]["all"]["characters"] == found["held_out"]["characters"]


def test_the_export_is_evaluated_by_label_too(textgen, network):
    found = [json.loads(textgen("evaluate", path, "--num", 12, "--json").out) for path in (network, network / "onnx")]
    assert found[0]["labels"]["all"]["nats"] == pytest.approx(found[1]["labels"]["all"]["nats"], abs=1e-4)
    assert [row["texts"] for row in found[1]["labels"]["labels"]] == [4, 4, 4]


def test_streaming_shows_the_same_texts(textgen, run):
    options = ["--label", "long", "--label", "short", "--prompt", "a", "--num", 2, "--seed", 9]
    assert textgen("sample", run, *options, "--stream").out == textgen("sample", run, *options).out


@pytest.mark.parametrize("prompt", [["--prompt", "a"], []])
@pytest.mark.parametrize("label", [["--label", "long"], []])
def test_a_text_in_two_parts_is_the_text_at_once(textgen, network, prompt, label):
    common = ["--ignore-eos", "--repetition-penalty", 1.1]
    whole = textgen("sample", network, *prompt, *label, "--length", 50, "--seed", 3, *common)
    first = textgen("sample", network, *prompt, *label, "--length", 20, "--seed", 3, *common, "--save-state", "a")
    second = textgen("sample", network, "--length", 30, *common, "--load-state", "a")
    assert (first.code, second.code) == (0, 0)
    assert first.out.removesuffix("\n") + second.out == whole.out
    (rest,) = generations(textgen("sample", network, "--length", 3, *common, "--load-state", "a", "--json"))
    (begun,) = generations(textgen("sample", network, *prompt, *label, "--seed", 3, "--json"))
    assert rest["label"] == begun["label"]


def test_the_log_probability_is_that_of_the_text_given_its_label(textgen, network):
    generator = library.load(network, runtime="numpy")
    tokenizer = generator.tokenizer
    for prompt in ("", "el"):
        options = ["--prompt", prompt] if prompt else []
        (written,) = generations(textgen("sample", network, "--label", "short", *options, "--seed", 1, "--json"))
        ids = [tokenizer.vocab_size - 1, *tokenizer.encode(prompt), *written["ids"]]
        logits, _ = generator.runtime.forward(np.array([ids[:-1]], np.int32), generator.runtime.initial_state(1))
        steps = log_softmax(logits)[0][np.arange(len(ids) - 1), ids[1:]]
        assert written["log_probability"] == pytest.approx(steps[len(prompt) :].sum(), abs=1e-4)


def test_novelty_compares_the_texts_without_their_labels(textgen, run):
    shown = textgen("sample", run, "--label", "short", "--num", 4, "--seed", 1, "--novelty")
    new = sum(text not in WORDS for text in shown.out.splitlines())
    assert f"{new} of 4 ({new / 4:.0%}) are not training documents" in shown.err


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("shrt", "the run has no label 'shrt'; did you mean short?"),
        ("zzz", "the run has no label 'zzz'; there are: long, medium, short"),
    ],
)
def test_an_unknown_label_is_refused(textgen, run, label, message):
    assert message in textgen("sample", run, "--label", "short", "--label", label).error
    assert message in textgen("sample", run, "--label", label, "--stream").error


def test_labels_of_a_run_without_any_are_refused(textgen, plain):
    assert "the run has no labels; to train one with labels, set corpus.label" in (
        textgen("sample", plain, "--label", "short").error
    )
    assert generations(textgen("sample", plain, "--json"))[0]["label"] is None


def test_a_label_does_not_go_with_a_text_that_is_continued(textgen, run):
    textgen("sample", run, "--label", "long", "--save-state", "a", "--length", 2)
    error = textgen("sample", run, "--load-state", "a", "--label", "short").error
    assert "has the label that it began with; leave the label out" in error
    error = textgen("sample", run, "--label", "long", "--label", "short", "--save-state", "b").error
    assert "one label" in error


def test_python_asks_for_labels(run):
    generator = library.load(run)
    one = generator.generate(label="short", seed=1)
    assert isinstance(one, str)
    assert generator.generate(label=["long", "short"], seed=1)[1] == one
    assert "".join(generator.stream(label="short", seed=1)) == one
    written = generator.sample(generator.request(["a", "b"], label=["long", "short"], num=2, seed=1))
    assert [generation.label for generation in written] == ["long"] * 4 + ["short"] * 4
    assert [generation.whole[0] for generation in written] == ["a", "a", "b", "b"] * 2


def test_packed_documents_and_streams_of_them_train_too(textgen):
    options = ["--corpus", "tiny-labelled", "--model", "counting", "--epochs", 1, "--set", "training.length=20"]
    for layout in ("packed", "windows"):
        assert textgen("train", *options, "--set", f"training.layout={layout}", "--out", layout).code == 0
        (written,) = generations(textgen("sample", layout, "--label", "short", "--seed", 1, "--json"))
        assert written["label"] == "short"


def test_the_labels_of_a_run_are_shown(textgen, run, plain):
    assert "labels      long, medium, short\n" in textgen("runs", "show", run).out
    assert "\nlabels" not in textgen("runs", "show", plain).out


def test_a_run_with_labels_is_resumed(textgen, run):
    done = textgen("train", "--resume", run, "--epochs", 3)
    assert done.code == 0
    assert json.loads((run / "textgen.json").read_text())["labels"] == LABELS


def test_folds_of_labelled_documents_are_judged(textgen, run):
    found = json.loads(textgen("evaluate", run, "--folds", 3, "--json").out)
    assert len(found["folds"]) == 3
    # Every character counts but the label: the words, and the end of each.
    assert sum(fold["characters"] for fold in found["folds"]) == sum(map(len, WORDS)) + len(WORDS)


def test_evaluation_is_by_label_too(textgen, run):
    shown = textgen("evaluate", run, "--num", 31, "--json")
    found = json.loads(shown.out)["labels"]
    whole = json.loads(shown.out)["held_out"]
    rows, total = found["labels"], found["all"]
    assert [row["label"] for row in rows] == LABELS
    assert [row["texts"] for row in rows] == [11, 10, 10]
    assert (total["label"], total["texts"], total["documents"]) == (None, 31, 5)
    assert total["characters"] == whole["characters"] == sum(row["characters"] for row in rows)
    assert total["nats"] == pytest.approx(whole["nats"])
    agreed = sum(row["agreement"] * row["texts"] for row in rows)
    assert total["agreement"] == pytest.approx(agreed / 31)
    table = textgen("evaluate", run, "--num", 31).out
    (line,) = [line.split() for line in table.splitlines() if line.startswith("all ")]
    assert line == [
        "all",
        "5",
        f"{total['characters']:,}",
        f"{total['nats']:.4f}",
        f"{total['recognised']:.1%}",
        "31",
        f"{total['agreement']:.1%}",
    ]


def test_evaluation_of_a_run_without_labels_has_no_table_of_them(textgen, plain):
    assert "by label" not in textgen("evaluate", plain, "--num", 5).out
    assert json.loads(textgen("evaluate", plain, "--num", 5, "--json").out)["labels"] is None


class Letters(Corpus):
    """Two languages of one letter each: whoever learns them tells them apart at once."""

    layout = "documents"
    is_labelled = True

    def documents(self):
        return (text for _, text in self.labelled_documents())

    def labelled_documents(self):
        for count in range(40):
            yield ("A", "a" * (2 + count % 5)) if count % 2 else ("B", "b" * (2 + count % 7))

    def provenance(self):
        return Provenance((), "CC0-1.0")

    @staticmethod
    @hookimpl
    def textgen_register_corpora(register):
        register("letters", Letters, "Letters.")


def test_labels_that_the_model_and_the_classifier_know_are_held(textgen):
    options = ["--set", "model.smoothing=0.001", "--set", "generation.sampler=temperature(0.5) | multinomial"]
    options += ["--set", "training.drop_duplicates=false"]
    with registered(Letters, name="letters"):
        textgen("train", "--corpus", "letters", "--model", "counting", "--out", "letters", *options)
        found = json.loads(textgen("evaluate", "letters", "--num", 100, "--json").out)["labels"]
    for row in (*found["labels"], found["all"]):
        assert (row["recognised"], row["agreement"]) == (1.0, 1.0)
