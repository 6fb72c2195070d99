"""A network with an n-gram mixed in: the powers of both, and the losses that follow from them."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from textgen import Batch, ContextTree, Dataset, Model, State, count_text, make_tree
from textgen.errors import ArtifactError
from textgen.plugins.registry import plugins
from textgen.testing.memory import MemoryRun
from textgen.text.batches import BatchPlan, Lanes, PaddedDocuments
from textgen.text.encoded import EncodedText
from textgen_keras import mixture
from textgen_keras.mixture import LARGEST, LEAST, Mixture

V, ORDER = 6, 4


def documents(seed: int, count: int) -> EncodedText:
    """Texts in which an id tends to follow the one before it."""
    rng = np.random.default_rng(seed)
    steps = (rng.choice(V, length, p=[0.1, 0.6, 0.1, 0.1, 0.05, 0.05]) for length in rng.integers(2, 20, count))
    return EncodedText.join([(np.cumsum(each) % V).astype(np.int32) for each in steps])


def dataset(layout: str = "documents") -> Dataset:
    train, held_out = documents(0, 80), documents(1, 40)
    plans: list[BatchPlan] = [
        PaddedDocuments(part, 7, pad_id=0) if layout == "documents" else Lanes(part, 9, 4) for part in (train, held_out)
    ]
    return Dataset(plans[0], plans[1], carries_state=layout == "lanes")


def held_out(data: Dataset) -> list[Batch]:
    assert data.held_out is not None
    return list(data.held_out.batches(0))


def mixed(data: Dataset) -> Mixture:
    return Mixture(make_tree(count_text(data, ORDER, V)), data)


def of_tree(tree: ContextTree, data: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """For each held-out target, row by row: the log-probabilities of all ids, and the target."""
    found: list[tuple[np.ndarray, int]] = []
    for batch in held_out(data):
        for ids, targets, weights in zip(batch.inputs, batch.targets, batch.weights, strict=True):
            context = tree.beginning
            for token, target, weight in zip(ids, targets, weights, strict=True):
                context = tree.following[context, token]
                if weight:
                    found.append((tree.logits[context], int(target)))
    logits, targets = zip(*found, strict=True)
    return np.array(logits, float), np.array(targets)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True)))


def network_for(targets: np.ndarray, knows: float = 2.0) -> np.ndarray:
    """Log-probabilities of a network that has an idea of what comes."""
    logits = np.random.default_rng(2).normal(size=(len(targets), V))
    logits[np.arange(len(targets)), targets] += knows
    return log_softmax(logits).astype(np.float32)


def test_the_powers_are_the_likeliest_ones():
    data = dataset()
    fitted = mixed(data)
    ours, targets = of_tree(fitted.tree, data)
    network = network_for(targets)
    loss = fitted.fit([network[:100], network[100:]])

    def loss_of(power, ngram_power):
        logits = log_softmax(power * network.astype(float) + ngram_power * ours)
        return -logits[np.arange(len(targets)), targets].mean()

    assert loss == pytest.approx(loss_of(*fitted.powers), abs=1e-6)
    power, ngram_power = map(float, fitted.powers)
    assert LEAST < power < LARGEST
    assert LEAST < ngram_power < LARGEST
    for by in (-0.02, 0.02):
        assert loss < loss_of(power + by, ngram_power)
        assert loss < loss_of(power, ngram_power + by)
    assert loss < min(loss_of(1, 0), loss_of(0, 1))


def test_a_network_that_knows_nothing_has_little_power():
    data = dataset()
    fitted = mixed(data)
    ours, targets = of_tree(fitted.tree, data)
    loss = fitted.fit([network_for(targets, knows=0)])
    assert fitted.powers[0] < 0.2
    assert loss <= -ours[np.arange(len(targets)), targets].mean() + 1e-6


def test_of_a_long_text_some_targets_are_judged(monkeypatch):
    data = dataset()
    ours, targets = of_tree(mixed(data).tree, data)
    monkeypatch.setattr(mixture, "HELD", len(targets) * V // 3)
    monkeypatch.setattr(mixture, "FITTED", 100 * V)
    fitted = mixed(data)
    judged = fitted.is_judged
    assert 0.2 < judged.mean() < 0.5
    network = network_for(targets)[judged]
    loss = fitted.fit([network])
    logits = log_softmax(fitted.powers[0] * network.astype(float) + fitted.powers[1] * ours[judged])
    assert loss == pytest.approx(-logits[np.arange(len(network)), targets[judged]].mean(), abs=1e-6)


@pytest.mark.parametrize("scale", [-1.0, 0.1])
def test_a_power_at_its_bound_leaves_the_other_one_likeliest(scale):
    data = dataset()
    fitted = mixed(data)
    ours, targets = of_tree(fitted.tree, data)
    network = log_softmax(scale * network_for(targets))  # misled, or too careful
    loss = fitted.fit([network])
    grid = np.linspace(LEAST, LARGEST, 400)
    losses = [
        -log_softmax(power * network.astype(float) + ngram_power * ours)[np.arange(len(targets)), targets].mean()
        for power in (LEAST, LARGEST)
        for ngram_power in grid
    ]
    assert {LEAST, LARGEST} & {round(float(power), 6) for power in fitted.powers}
    assert loss <= min(losses) + 1e-4


def test_given_powers_are_not_fitted():
    data = dataset()
    tree = make_tree(count_text(data, ORDER, V))
    fitted = Mixture(tree, data, (0.7, 0.2))
    fitted.fit([network_for(of_tree(tree, data)[1])])
    np.testing.assert_array_equal(fitted.powers, np.array([0.7, 0.2], np.float32))


@pytest.mark.parametrize(
    "wrong",
    [None, np.ones(3, np.float32), np.ones(2), np.array([np.nan, 1], np.float32), np.array([-1, 1], np.float32)],
)
def test_powers_of_another_model_are_refused(wrong):
    with pytest.raises(ArtifactError, match="powers"):
        mixed(dataset()).take(wrong)


def fitted_model(data: Dataset, **changes) -> tuple[Model, MemoryRun]:
    options = {"name": "gru", "units": 8, "embedding_dim": 4, "ngram": 1000}
    model = plugins().make("model", options, V)
    run = MemoryRun(data, model.TrainingOptions, **{"epochs": 2, "seed": 1, **changes})
    model.fit(data, run)
    return model, run


@pytest.mark.keras
@pytest.mark.parametrize("layout", ["documents", "lanes"])
def test_the_held_out_loss_of_training_is_that_of_the_model(layout):
    data = dataset(layout)
    model, run = fitted_model(data)
    state, nats, targets = None, 0.0, 0
    for batch in held_out(data):
        if state is None or not data.carries_state:
            state = model.state_spec.initial_state(len(batch.inputs))
        logits, state = model.forward(batch.inputs, state, batch.lengths())
        counts = batch.weights > 0
        p = log_softmax(logits.astype(float))
        nats -= np.take_along_axis(p, batch.targets[:, :, None], 2)[:, :, 0][counts].sum()
        targets += int(counts.sum())
    assert run.epochs[-1][1]["held_out_loss"] == pytest.approx(nats / targets, abs=1e-5)


@pytest.mark.keras
def test_what_is_judged_of_a_long_text_is_found_in_its_batches(monkeypatch):
    data = dataset("lanes")
    whole = fitted_model(data)[1].epochs[-1][1]["held_out_loss"]
    targets = sum(int((batch.weights > 0).sum()) for batch in held_out(data))
    monkeypatch.setattr(mixture, "HELD", targets * V // 2)
    some = fitted_model(data)[1].epochs[-1][1]["held_out_loss"]
    assert some != whole
    assert some == pytest.approx(whole, abs=0.15)


@pytest.mark.keras
def test_a_resumed_run_has_the_powers_of_its_checkpoint():
    data = dataset()
    model, run = fitted_model(data)
    powers = model.weights()["ngram.powers"]
    again = plugins().make("model", {"name": "gru", **model.options.model_dump()}, V)
    resumed = MemoryRun(data, again.TrainingOptions, checkpoint=run.epochs[-1][2], epochs=2, seed=1)
    again.fit(data, resumed)  # nothing is left to train
    np.testing.assert_array_equal(again.weights()["ngram.powers"], powers)
    assert (powers != 0.5).all()


@pytest.mark.keras
def test_without_held_out_text_the_powers_are_those_of_the_options():
    data = Dataset(dataset().train)
    model, _ = fitted_model(data)
    np.testing.assert_array_equal(model.weights()["ngram.powers"], np.array([0.5, 0.5], np.float32))
    options = {**model.options.model_dump(), "ngram_powers": (0.9, 0.3)}
    again = plugins().make("model", {"name": "gru", **options}, V)
    again.fit(data, MemoryRun(data, again.TrainingOptions, epochs=1))
    np.testing.assert_array_equal(again.weights()["ngram.powers"], np.array([0.9, 0.3], np.float32))


@pytest.mark.keras
@pytest.mark.parametrize("context", [-1, 10**6])
def test_a_state_of_another_model_is_refused(context):
    model, _ = fitted_model(dataset())
    numpy_runtime: Any = plugins().get("runtime", "numpy")
    for forward in (model.forward, numpy_runtime(model.describe(model.weights())).forward):
        state = model.state_spec.initial_state(1)
        wrong = State({**state, "context": np.array([context], np.int32)})
        with pytest.raises(ArtifactError, match="contexts"):
            forward(np.zeros((1, 3), np.int32), wrong)


@pytest.mark.keras
def test_a_vocabulary_that_outgrows_the_tables_has_weights_all_the_same(monkeypatch):
    model, _ = fitted_model(dataset())
    contexts = len(model.weights()["ngram.shares"])
    monkeypatch.setattr("textgen.ngrams.context_tree.MOST_NUMBERS", contexts * V)
    larger = plugins().make("model", {"name": "gru", **model.options.model_dump()}, V + 1)
    larger.load_weights(larger.grow_weights(model.weights(), np.array([*range(V), -1], np.int32)))


@pytest.mark.keras
def test_fine_tuning_counts_the_new_text():
    model, _ = fitted_model(dataset())
    other = Dataset(PaddedDocuments(documents(5, 30), 7, pad_id=0))
    again = plugins().make("model", {"name": "gru", **model.options.model_dump()}, V)
    again.load_weights(model.weights())
    again.fit(other, MemoryRun(other, again.TrainingOptions, epochs=1))
    expected = make_tree(count_text(other, 8, V), 1000)
    found = again.weights()
    for name, array in expected.tensors().items():
        np.testing.assert_allclose(found[f"ngram.{name}"], array, rtol=1e-3)  # half precision


def test_the_counts_are_those_of_every_n_gram_of_the_text():
    data = dataset("lanes")
    counts = count_text(data, 2, V)
    expected = np.zeros((V + 1) ** 2, int)
    batches = list(data.train.batches(0))
    lanes = np.concatenate([*(batch.inputs for batch in batches), batches[-1].targets[:, -1:]], axis=1)
    for lane in lanes.tolist():
        for before, after in pairwise(lane):
            expected[(before + 1) * (V + 1) + after + 1] += 1
    np.testing.assert_array_equal(counts.codes, np.flatnonzero(expected))
    np.testing.assert_array_equal(counts.counts, expected[expected > 0])
