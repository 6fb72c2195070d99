import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

import textgen
from tests.textgen.ngrams.definition import MARK, ORDERS, ROWS, Definition, V, count
from textgen.errors import ArtifactError, OptionError
from textgen.model.state import State
from textgen.testing.suites import ModelSuite
from textgen_ngram.model import NGram, NGramOptions


class TestNGram(ModelSuite):
    name = "ngram"
    options = {"order": 3}


class TestPrunedNGram(ModelSuite):
    name = "ngram"
    options = {"order": 4, "contexts": 20}


def model_of(rows, order, contexts=None):
    """A model that has counted rows, each from its beginning."""
    counts = count(rows, order)
    model = NGram(NGramOptions(order=order, contexts=contexts), V)
    model.load_weights({"ngrams": counts.codes, "counts": counts.counts})
    return model


@given(ROWS, ROWS, ORDERS)
def test_probabilities_are_those_of_the_definition(rows, others, order):
    definition, model = Definition(rows, order), model_of(rows, order)
    for row in (*rows, *others):
        ids = [i for i, _ in row]
        logits, _ = model.forward(np.array([ids], np.int32), model.state_spec.initial_state(1))
        expected = [
            [definition.probability((MARK, *ids[:end]), following) for following in range(V)]
            for end in range(1, len(ids) + 1)
        ]
        np.testing.assert_allclose(np.exp(logits[0]), expected, rtol=1e-5)
        np.testing.assert_allclose(np.exp(logits[0].astype(np.float64)).sum(axis=1), 1, rtol=1e-5)


@given(
    ROWS, st.lists(st.integers(0, V - 1), min_size=2, max_size=30), ORDERS, st.none() | st.integers(2, 30), st.data()
)
def test_a_text_read_in_pieces_is_as_if_read_at_once(rows, text, order, contexts, data):
    model = model_of(rows, order, contexts)
    whole, end = model.forward(np.array([text], np.int32), model.state_spec.initial_state(1))
    cut = data.draw(st.integers(1, len(text) - 1))
    first, state = model.forward(np.array([text[:cut]], np.int32), model.state_spec.initial_state(1))
    second, state = model.forward(np.array([text[cut:]], np.int32), state)
    np.testing.assert_array_equal(np.concatenate([first, second], axis=1), whole)
    assert state["context"] == end["context"]


@given(ROWS, ORDERS, st.none() | st.integers(2, 30))
def test_its_description_is_the_automaton(rows, order, contexts):
    model = model_of(rows, order, contexts)
    tree = model.describe(model.weights())
    ids, start = np.array([[0, 1, 3, 2, 1]], np.int32), model.state_spec.initial_state(1)
    logits, after = model.forward(ids, start)
    read = tree.read(ids, start["context"])
    np.testing.assert_array_equal(tree.logits[read[:, 1:]], logits)
    assert after["context"].tolist() == read[:, -1].tolist()
    assert contexts is None or len(tree) <= contexts


def test_one_with_too_many_contexts_is_not_exported_and_the_advice_works(command_line, tmp_path, monkeypatch):
    (tmp_path / "text.txt").write_text("".join(np.random.default_rng(0).choice([*"abcdefgh"], 3_000)))
    monkeypatch.setattr("textgen.ngrams.context_tree.MOST_NUMBERS", 800)
    train = ["train", tmp_path / "text.txt", "--model", "ngram", "--set", "training.sample_every=0"]
    assert command_line(*train, "--out", tmp_path / "all")[0] == 0
    code, _, stderr = command_line("export", "--onnx", tmp_path / "all")
    assert code == 2
    found = re.search(
        r"error: this n-gram has [0-9,]+ contexts, .*: train it with (--set model.contexts=100)\n", stderr
    )
    assert found, stderr
    assert command_line("sample", tmp_path / "all", "--seed", 1)[0] == 0
    assert command_line(*train, *found[1].split(), "--out", tmp_path / "some")[0] == 0
    assert command_line("export", "--onnx", tmp_path / "some")[0] == 0


@pytest.mark.parametrize("contexts", [None, 30])
def test_an_export_writes_the_same_text(tmp_path, contexts):
    settings = {"training": {"sample_every": 0}, "model": {"contexts": contexts}}
    text = "the cat sat on the mat, and the dog sat on the log. " * 20
    textgen.train(text=text, model="ngram", out=tmp_path / "run", settings=settings)
    textgen.export(tmp_path / "run", to="onnx", out=tmp_path / "export")
    loaded = [
        textgen.load(tmp_path / name, runtime=name_of) for name, name_of in (("run", "numpy"), ("export", "onnx"))
    ]
    first, second = (generator.generate("the ", length=80, seed=3) for generator in loaded)
    assert first == second


def test_the_order_is_bounded_by_the_vocabulary():
    NGram(NGramOptions(order=9), vocab_size=100)
    with pytest.raises(OptionError, match=r"model.order=10 is too large for 100 ids; use at most 9"):
        NGram(NGramOptions(order=10), vocab_size=100)
    assert NGram(NGramOptions(), vocab_size=60).order == 8
    assert NGram(NGramOptions(), vocab_size=30_000).order == 4


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"ngrams": np.array([7], np.int64), "counts": np.array([0], np.int64)}, "counts below 1"),
        (
            {"ngrams": np.array([7, 6], np.int64), "counts": np.array([1, 1], np.int64)},
            "not sorted n-grams of 3 out of 4 ids",
        ),
        ({"ngrams": np.array([125], np.int64), "counts": np.array([1], np.int64)}, "not sorted n-grams"),
        ({"ngrams": np.array([-1], np.int64), "counts": np.array([1], np.int64)}, "not sorted n-grams"),
        (
            {"ngrams": np.array([5], np.int64), "counts": np.array([1], np.int64)},
            "not sorted n-grams",
        ),  # ends with no id
        (
            {"ngrams": np.array([1 * 25 + 0 * 5 + 2], np.int64), "counts": np.array([1], np.int64)},
            "not sorted n-grams",
        ),  # has a gap
        ({"ngrams": np.array([7], np.int64), "counts": np.array([1, 2], np.int64)}, "not n-grams and their counts"),
        (
            {"ngrams": np.array([7, 8], np.int64), "counts": np.array([2**62, 2**62], np.int64)},
            "count more than 9,007,199,254,740,992 n-grams",
        ),
        ({"ngrams": np.array([7], np.int32), "counts": np.array([1], np.int64)}, "not n-grams and their counts"),
        ({"ngrams": np.array([7], np.int64)}, "not n-grams and their counts"),
    ],
)
def test_damaged_weights_are_refused(tensors, message):
    with pytest.raises(ArtifactError, match=message):
        NGram(NGramOptions(order=3), V).load_weights(tensors)


def test_the_most_counts_give_finite_probabilities():
    model = NGram(NGramOptions(order=3), V)
    model.load_weights({"ngrams": np.array([6, 7], np.int64), "counts": np.array([1, 2**53 - 1], np.int64)})
    logits, _ = model.forward(np.array([[0, 1, 3]], np.int32), model.state_spec.initial_state(1))
    assert np.isfinite(logits).all()
    np.testing.assert_allclose(np.exp(logits).sum(axis=-1), 1, rtol=1e-5)


@pytest.mark.parametrize("node", [-1, 10**6])
def test_a_state_of_another_model_is_refused(node):
    with pytest.raises(ArtifactError, match="the state does not belong to this model"):
        model_of([[(0, True), (1, True), (2, True)]], 3).forward(
            np.array([[0]], np.int32), State({"context": np.array([node], np.int32)})
        )


def test_names_are_predicted_as_well_as_by_the_published_formula(tmp_path, data_dir):
    settings: dict[str, Any] = {"model": {"order": 8}, "training": {"sample_every": 0, "drop_duplicates": False}}
    generator = textgen.train("dinos", "ngram", settings=settings, out=tmp_path / "run", data_dir=data_dir)
    # 1.3698 by a program of its own in dictionaries, which also counts the first letters of names.
    assert generator.artifact.manifest.metrics["held_out_loss"] == pytest.approx(1.3698, abs=2e-3)
    assert textgen.load(tmp_path / "run", runtime="numpy").generate("Ty", seed=1).startswith("Ty")


def test_a_run_is_the_same_if_it_was_stopped_and_resumed(command_line, tmp_path):
    def run(*arguments: object) -> None:
        code, _, stderr = command_line("train", *arguments)
        assert code == 0, stderr

    quick = ["--model", "ngram", "--corpus", "dinos-lite", "--set", "training.sample_every=0", "--batch-size", "32"]
    run(*quick, "--out", tmp_path / "whole")
    run(*quick, "--out", tmp_path / "parts", "--max-steps", 5)
    run("--resume", tmp_path / "parts", "--max-steps", 1000)
    whole, parts = (json.loads((tmp_path / run / "textgen.json").read_text()) for run in ("whole", "parts"))
    assert whole["files"]["weights.safetensors"] == parts["files"]["weights.safetensors"]
    assert whole["metrics"]["loss"] == parts["metrics"]["loss"]
    assert whole["metrics"]["held_out_loss"] == parts["metrics"]["held_out_loss"]


@pytest.fixture
def interrupted(command_line, tmp_path: Path) -> Path:
    """A run that was stopped within its first epoch."""
    (tmp_path / "text.txt").write_text("abcab" * 40)
    quick = ["--set", "training.sample_every=0", "--batch-size", 2, "--set", "training.length=8", "--max-steps", 4]
    code, _, stderr = command_line(
        "train", tmp_path / "text.txt", "--model", "ngram", *quick, "--out", tmp_path / "run"
    )
    assert code == 0, stderr
    return tmp_path / "run"


def change_checkpoint(run: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> None:
    """Changes the tensors and the metadata of the last checkpoint, and its recorded hash."""
    manifest = json.loads((run / "textgen.json").read_text())
    file = run / manifest["last_checkpoint"]
    with safetensors.safe_open(file, "numpy") as opened:
        about = json.loads(opened.metadata()["checkpoint"])
    tensors = safetensors.numpy.load_file(file)
    for name, same in about["shared"].items():
        tensors[f"training/{name}"] = tensors[same]
    about["shared"] = {}
    change(tensors, about["numbers"])
    content = safetensors.numpy.save(tensors, metadata={"checkpoint": json.dumps(about)})
    file.write_bytes(content)
    record = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest["files"][manifest["last_checkpoint"]] = record
    (run / "textgen.json").write_text(json.dumps(manifest))


def test_a_checkpoint_of_this_form_is_resumed(command_line, interrupted):
    change_checkpoint(interrupted, lambda tensors, numbers: None)
    assert command_line("train", "--resume", interrupted, "--max-steps", 1000)[0] == 0


BEFORE = "before is not the end of a text of this model"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("numbers", None, "numbers are not those"),
        ("nats", "x", "numbers are not those"),
        ("nats", None, "numbers are not those"),
        ("nats", 1e308, "numbers are not those"),
        ("nats", -1e308, "numbers are not those"),
        ("nats", -5.0, "numbers are not those"),
        ("targets", -1, "numbers are not those"),
        ("targets", True, "numbers are not those"),
        ("targets", 10**299, "numbers are not those"),
        ("targets", 2**60, "numbers are not those"),
        ("targets", 1.5, "numbers are not those"),
        ("judged_targets", None, "numbers are not those"),
        ("judged_targets", -1, "numbers are not those"),
        ("judged_targets", [[1]], "numbers are not those"),
        ("judged_targets", 2**52, "numbers are not those"),
        ("ngrams", None, "not n-grams and their counts"),
        ("counts", None, "not n-grams and their counts"),
        ("counts", np.float32, "not n-grams and their counts"),
        ("judging.ngrams", None, "not n-grams and their counts"),
        ("judging.ngrams", lambda array: array[1:], "not n-grams and their counts"),
        ("judging.ngrams", lambda array: array[:, None], "not n-grams and their counts"),
        ("judging.ngrams", np.float64, "not n-grams and their counts"),
        ("judging.ngrams", np.uint8, "not n-grams and their counts"),
        ("judging.ngrams", lambda array: array * 0 - 1, "not sorted n-grams"),
        ("judging.ngrams", lambda array: array * 0 + 2**62, "not sorted n-grams"),
        ("judging.counts", lambda array: array * 0 - 1, "counts below 1"),
        ("judging.counts", np.int32, "not n-grams and their counts"),
        ("judging.counts", lambda array: array * 0, "counts below 1"),
        ("judging.counts", lambda array: array * 0 + 2**62, "count more than"),
        ("judging.ngrams", lambda array: array[::-1].copy(), "not sorted n-grams"),
        ("before", np.int32, BEFORE),
        ("before", lambda array: array[:, None], BEFORE),
        ("before", lambda array: array[:1].reshape(()), BEFORE),
        ("before", lambda array: np.repeat(array[:, None], 3, axis=1), BEFORE),
        ("before", lambda array: array * 0 + 2**62, BEFORE),
        ("before", lambda array: array * 0 + 1e300, BEFORE),
        ("before", lambda array: array * 0 - 5, BEFORE),
        ("before", lambda array: -array - 1, BEFORE),
        ("before", lambda array: array * 0 + 4**7, BEFORE),  # 3 ids in n-grams of 8
    ],
)
def test_a_damaged_checkpoint_is_refused_in_one_line(command_line, interrupted, name, value, message):
    def change(tensors: dict[str, Any], numbers: dict[str, Any]) -> None:
        if name == "numbers":
            numbers.clear()
            return
        table, key = (numbers, name) if name in numbers else (tensors, f"training/{name}")
        old = table.pop(key)
        if isinstance(value, type):
            table[key] = old.astype(value)
        elif value is not None:
            table[key] = value(old) if callable(value) else value

    change_checkpoint(interrupted, change)
    code, _, stderr = command_line("train", "--resume", interrupted, "--max-steps", 1000)
    assert (code, stderr.count("textgen: error: ")) == (2, 1), stderr
    assert message in stderr.splitlines()[-1]
    assert "Traceback" not in stderr


def test_a_second_text_adds_to_the_counts(tmp_path):
    settings = {"training": {"sample_every": 0}}
    textgen.train(text="abcab" * 30, model="ngram", out=tmp_path / "one", settings=settings)
    both = textgen.train(text="xyzxw" * 30, from_=tmp_path / "one", out=tmp_path / "both", settings=settings)
    options: dict[str, Any] = {"length": 12, "seed": 1, "sampler": "greedy"}
    assert both.generate("abc", **options) == "abcababcababcab"
    assert both.generate("xyz", **options) == "xyzxwxyzxwxyzxw"


def test_a_limit_keeps_all_counts_and_may_change_with_a_second_text(tmp_path):
    def train(name: str, contexts: int | None, from_: str | None = None) -> dict[str, Any]:
        settings: dict[str, Any] = {"training": {"sample_every": 0}, "model": {"contexts": contexts}}
        start: dict[str, Any] = {"from_": tmp_path / from_} if from_ else {"model": "ngram"}
        textgen.train(text="abcab" * 30, out=tmp_path / name, settings=settings, **start)
        return safetensors.numpy.load_file(tmp_path / name / "weights.safetensors")

    limited, free = train("limited", 5), train("free", None)
    again, free_again = train("again", None, from_="limited"), train("free-again", None, from_="free")
    for name, array in limited.items():
        np.testing.assert_array_equal(array, free[name])
        np.testing.assert_array_equal(again[name], free_again[name])
    assert again["counts"].sum() == 2 * limited["counts"].sum()
