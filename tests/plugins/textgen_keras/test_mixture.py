"""A network with an n-gram mixed in: the shares, and the losses that follow from them."""

from itertools import pairwise

import numpy as np
import pytest

from textgen import Batch, ContextTree, Dataset, Model, count_text, make_tree
from textgen.errors import ArtifactError
from textgen.plugins.registry import plugins
from textgen.testing.memory import MemoryRun
from textgen.text.batches import BatchPlan, Lanes, PaddedDocuments
from textgen.text.encoded import EncodedText
from textgen_keras.mixture import LARGEST, LEAST, PRIOR, Mixture

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


def targets_of(batches: list[Batch]) -> int:
    return int(sum((batch.weights > 0).sum() for batch in batches))


def mixture(data: Dataset, contexts: int | None = None) -> tuple[Mixture, ContextTree]:
    tree = make_tree(count_text(data, ORDER, V), contexts)
    return Mixture(tree, data), tree


def own_probabilities(tree: ContextTree, data: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Of each held-out target: its probability, and the number of its context; row by row."""
    assert data.held_out is not None
    found: list[tuple[float, int]] = []
    for batch in data.held_out.batches(0):
        for ids, targets, weights in zip(batch.inputs, batch.targets, batch.weights, strict=True):
            context = tree.beginning
            for token, target, weight in zip(ids, targets, weights, strict=True):
                context = tree.following[context, token]
                if weight:
                    found.append((tree.table[context, target], int(context)))
    p, contexts = zip(*found, strict=True)
    return np.array(p, float), np.array(contexts)


def test_the_shares_are_the_likeliest_ones_but_for_what_few_targets_say():
    data = dataset()
    fitted, tree = mixture(data)
    p, contexts = own_probabilities(tree, data)
    network = np.random.default_rng(2).random(len(p)) ** 2
    loss = fitted.fit([np.log(network).astype(np.float32)])
    kinds = tree.lengths * 4 + np.minimum(np.diff(tree.offsets), 3)
    grid = np.linspace(LEAST, LARGEST, 2001)

    def likelihood(shares, chosen):
        return np.log(np.outer(shares, network[chosen]) + np.outer(1 - shares, p[chosen])).sum(axis=1)

    share = grid[likelihood(grid, np.ones(len(p), bool)).argmax()]
    for kind in np.unique(kinds[contexts]):
        chosen = kinds[contexts] == kind
        # As many more targets as PRIOR says, of which the network has written its share.
        prior = PRIOR * (share * np.log(grid) + (1 - share) * np.log(1 - grid))
        assert fitted.shares[kind] == pytest.approx(grid[(likelihood(grid, chosen) + prior).argmax()], abs=2e-3)
    shares = fitted.shares[kinds[contexts]]
    assert loss == pytest.approx(-np.log(shares * network + (1 - shares) * p).mean(), abs=1e-6)
    worst = min(-np.log(constant * network + (1 - constant) * p).mean() for constant in (0.0, 1.0))
    assert loss < worst


def test_the_tree_is_scaled_by_the_odds_of_its_shares():
    data = dataset()
    fitted, tree = mixture(data, contexts=20)
    shares = np.random.default_rng(0).uniform(LEAST, LARGEST, fitted.shares.shape)
    fitted.trust(shares)
    kinds = tree.lengths * 4 + np.minimum(np.diff(tree.offsets), 3)
    odds = ((1 - shares) / shares)[kinds]
    np.testing.assert_allclose(fitted.tree.table, tree.table * odds[:, None], rtol=1e-5)
    logits = np.random.default_rng(1).normal(size=(3, V)).astype(np.float32)
    contexts = np.array([0, 5, 19], np.int32)
    p = np.exp(fitted.tree.mixed(logits, contexts).astype(float))
    p /= p.sum(axis=1, keepdims=True)
    softmax = np.exp(logits.astype(float)) / np.exp(logits.astype(float)).sum(axis=1, keepdims=True)
    share = shares[kinds][contexts][:, None]
    np.testing.assert_allclose(p, share * softmax + (1 - share) * tree.table[contexts], rtol=1e-5)


def test_without_held_out_text_both_count_alike():
    data = Dataset(dataset().train)
    fitted, tree = mixture(data)
    np.testing.assert_array_equal(fitted.tree.table, tree.table)
    assert (fitted.shares == 0.5).all()


@pytest.mark.parametrize("wrong", [np.full(3, 0.5), np.float32(0.5), np.nan, 0.0, 1.0])
def test_shares_of_another_model_are_refused(wrong):
    fitted, _ = mixture(dataset())
    shares = np.full(fitted.shares.shape, wrong) if np.ndim(wrong) == 0 else wrong
    with pytest.raises(ArtifactError, match="shares"):
        fitted.trust(shares)


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
    assert data.held_out is not None
    state, nats, targets = None, 0.0, 0
    for batch in data.held_out.batches(0):
        if state is None or not data.carries_state:
            state = model.state_spec.initial_state(len(batch.inputs))
        logits, state = model.forward(batch.inputs, state, batch.lengths())
        p = np.exp(logits.astype(float))
        p /= p.sum(axis=2, keepdims=True)
        counts = batch.weights > 0
        nats -= np.log(np.take_along_axis(p, batch.targets[:, :, None], 2)[:, :, 0][counts]).sum()
        targets += int(counts.sum())
    assert run.epochs[-1][1]["held_out_loss"] == pytest.approx(nats / targets, abs=1e-5)


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
        np.testing.assert_allclose(found[f"ngram.{name}"], array, rtol=1e-6)


def test_the_counts_are_those_of_every_n_gram_of_the_text():
    data = dataset("lanes")
    counts = count_text(data, 2, V)
    expected = np.zeros((V + 1) ** 2, int)
    lanes = np.concatenate([batch.inputs for batch in data.train.batches(0)], axis=1)
    lasts = [batch.targets[:, -1:] for batch in data.train.batches(0)][-1]
    for lane in np.concatenate([lanes, lasts], axis=1).tolist():
        for before, after in pairwise(lane):
            expected[(before + 1) * (V + 1) + after + 1] += 1
    np.testing.assert_array_equal(counts.codes, np.flatnonzero(expected))
    np.testing.assert_array_equal(counts.counts, expected[expected > 0])
