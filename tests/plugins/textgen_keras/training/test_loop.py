import random
from typing import Any

import numpy as np
import pytest

from textgen.errors import ArtifactError, OptionError
from textgen.model.fitting import Position
from textgen.text.batches import Dataset, Lanes, PaddedDocuments, Windows
from textgen.text.encoded import EncodedText
from textgen_keras.models import GRU, LSTM, RecurrentModel
from textgen_keras.network.options import RecurrentOptions
from textgen_keras.training.noise import add_noise, draw_resets
from textgen_numpy.runtime import NumpyRuntime

pytestmark = pytest.mark.keras

VOCAB = 5
#: The training options that Keras has by default.
PLAIN = {"schedule": "constant", "warmup_steps": 0, "average": 0.0}
#: A learning rate so small that float32 weights do not change.
STILL = {"optimizer": "sgd", "learning_rate": 1e-30} | PLAIN


def make_gru(**options: Any) -> GRU:
    return GRU(RecurrentOptions(**{"units": 8, "embedding_dim": 4} | options), VOCAB)


def make_lstm(**options: Any) -> LSTM:
    return LSTM(RecurrentOptions(**{"units": 8, "input": "one-hot"} | options), VOCAB)


def runtime_of(model: RecurrentModel) -> NumpyRuntime:
    return NumpyRuntime(model.describe(model.weights()))


def nats(logits, targets):
    """The cross-entropy of each target by its definition, in double precision."""
    logits = logits.astype(float)
    chosen = np.take_along_axis(logits, targets[..., None].astype(int), axis=-1)[..., 0]
    return np.log(np.exp(logits).sum(axis=-1)) - chosen


def plans(stream, documents):
    return {
        "windows": Windows(stream, 10, 8),
        "lanes": Lanes(stream, 10, 8),
        "documents": PaddedDocuments(documents, 4, pad_id=0),
    }


@pytest.mark.parametrize(("layout", "make"), [("windows", make_gru), ("lanes", make_lstm), ("documents", make_gru)])
def test_the_loss_falls_in_every_layout(make_run, stream, documents, make, layout):
    plan = plans(stream, documents)[layout]
    dataset = Dataset(plan, held_out=plan, carries_state=layout == "lanes")
    run = make_run(dataset, epochs=8, learning_rate=0.02)
    make().fit(dataset, run)
    first, last = run.epochs[0][1], run.epochs[-1][1]
    assert last["loss"] < first["loss"] - 0.2
    assert last["held_out_loss"] < first["held_out_loss"] - 0.1
    assert first["loss"] < np.log(VOCAB) + 0.1


def test_positions_count_epochs_steps_and_batches(make_run, stream):
    dataset = Dataset(Windows(stream, 40, 4))
    run = make_run(dataset, epochs=2)
    make_gru().fit(dataset, run)
    assert run.positions == [Position(0, 1, 1), Position(0, 2, 2), Position(1, 1, 3), Position(1, 2, 4)]
    assert [position for position, _, _ in run.epochs] == [Position(1, 0, 2), Position(2, 0, 4)]
    assert run.characters == [160] * 4
    losses = np.array(run.losses).reshape(2, 2)
    for row, (_, metrics, _) in zip(losses, run.epochs, strict=True):
        assert metrics["loss"] == pytest.approx(row.mean())


@pytest.mark.parametrize("masked", [True, False])
def test_the_loss_of_documents_is_the_mean_over_the_targets_that_count(make_run, documents, masked):
    plan = PaddedDocuments(documents, 21, pad_id=0, shuffle=False, masked=masked)
    dataset = Dataset(plan, held_out=PaddedDocuments(documents, 5, pad_id=0, shuffle=False, masked=masked))
    model = make_gru()
    run = make_run(dataset, epochs=1, **STILL)
    model.fit(dataset, run)
    runtime = runtime_of(model)
    losses = []
    for document in np.split(documents.ids, documents.offsets[1:-1]):
        padded = document if masked else np.pad(document, (0, 9 - len(document)))
        logits, _ = runtime.forward(padded[None, :-1], runtime.initial_state(1))
        losses += nats(logits[0], padded[1:]).tolist()
    assert run.characters == [len(losses)]
    assert run.losses == [pytest.approx(np.mean(losses), abs=1e-5)]
    if masked:  # without a mask, padding counts, and its amount depends on the batch
        assert run.epochs[0][1]["held_out_loss"] == pytest.approx(np.mean(losses), abs=1e-5)


@pytest.mark.parametrize("make", [make_gru, make_lstm])
def test_lanes_carry_the_state_from_batch_to_batch_and_reset_it_each_epoch(make_run, stream, make):
    plan = Lanes(stream, 7, 3)
    dataset = Dataset(plan, held_out=plan, carries_state=True)
    model = make(layers=2)
    run = make_run(dataset, epochs=2, **STILL)
    model.fit(dataset, run)
    runtime = runtime_of(model)
    lane = 399 // 3
    inputs, targets = stream.ids[: lane * 3].reshape(3, lane), stream.ids[1 : lane * 3 + 1].reshape(3, lane)
    losses = nats(runtime.forward(inputs, runtime.initial_state(3))[0], targets)
    expected = [losses[:, at : at + 7].mean() for at in range(0, lane, 7)]
    np.testing.assert_allclose(run.losses, expected * 2, atol=1e-5)
    for _, metrics, _ in run.epochs:
        assert metrics["held_out_loss"] == pytest.approx(losses.mean(), abs=1e-5)


def test_a_carried_state_does_not_read_padding_and_is_reset_for_fewer_rows(make_run):
    rows = [[1, 2], [1, 2, 3, 4], [3, 1, 2], [2, 4, 1], [4, 3]]
    text = EncodedText.join([np.array(row, np.int32) for row in rows])
    dataset = Dataset(PaddedDocuments(text, 2, pad_id=0, shuffle=False), carries_state=True)
    model = make_gru()
    run = make_run(dataset, epochs=1, **STILL)
    model.fit(dataset, run)
    runtime = runtime_of(model)

    def losses(before, row):
        state = runtime.prefill(np.array([before[:-1]], np.int32), runtime.initial_state(1))
        logits, _ = runtime.forward(np.array([row[:-1]], np.int32), state)
        return nats(logits[0], np.array(row[1:]))

    second = np.concatenate([losses(rows[0], rows[2]), losses(rows[1], rows[3])])
    assert run.losses[1] == pytest.approx(second.mean(), abs=1e-5)
    assert run.losses[2] == pytest.approx(losses([0], rows[4]).mean(), abs=1e-5)


def test_a_batch_without_targets_changes_nothing(make_run):
    text = EncodedText.join([np.array([1], np.int32)] * 2)
    dataset = Dataset(PaddedDocuments(text, 2, pad_id=0))
    model = make_gru()
    before = model.weights()
    run = make_run(dataset, epochs=1)
    model.fit(dataset, run)
    assert (run.losses, run.characters) == ([0.0], [0])
    for name, array in model.weights().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(("optimizer", "decay"), [("adam", {}), ("adamw", {"weight_decay": 0.1}), ("rmsprop", {})])
def test_the_weights_equal_those_of_keras_own_fit(make_run, stream, optimizer, decay):
    import keras

    model = make_gru()
    # A dense layer over one-hot vectors is an embedding with a dense gradient: its parts are summed before the square.
    layers = [
        keras.layers.Dense(4, use_bias=False),
        keras.layers.GRU(8, return_sequences=True),
        keras.layers.Dense(VOCAB),
    ]
    theirs = keras.Sequential([keras.Input([None, VOCAB]), *layers])
    theirs.set_weights(list(model.weights().values()))
    rules = {"adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW, "rmsprop": keras.optimizers.RMSprop}
    rule = rules[optimizer](0.01, **decay)
    theirs.compile(rule, keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)

    (batch,) = Windows(stream, 10, 36, shuffle=False).batches(0)
    one_hot = np.eye(VOCAB, dtype=np.float32)[batch.inputs]
    theirs.fit(one_hot, batch.targets, batch_size=12, epochs=2, shuffle=False, verbose=0)
    dataset = Dataset(Windows(stream, 10, 12, shuffle=False))
    options = {"optimizer": optimizer, "learning_rate": 0.01, "clip_norm": None, **decay}
    model.fit(dataset, make_run(dataset, epochs=2, **options, **PLAIN))
    for ours, expected in zip(model.weights().values(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(ours, expected, atol=2e-5)


def test_the_global_norm_of_a_step_is_clipped(make_run, stream):
    dataset = Dataset(Windows(stream, 10, 36))
    model = make_gru()
    before = model.weights()
    model.fit(dataset, make_run(dataset, epochs=1, optimizer="sgd", learning_rate=1.0, clip_norm=0.01, **PLAIN))
    change = [model.weights()[name] - before[name] for name in before]
    assert np.sqrt(sum((part.astype(float) ** 2).sum() for part in change)) == pytest.approx(0.01, rel=1e-3)


def test_noise_changes_what_is_read_in_training_alone(make_run, stream):
    plan = Lanes(stream, 20, 4)
    dataset = Dataset(plan, held_out=plan, marks=(2,))
    model = make_gru()
    run = make_run(dataset, epochs=2, noise=0.4, seed=3, **STILL)
    model.fit(dataset, run)
    runtime, expected = runtime_of(model), []
    for step, batch in enumerate([*plan.batches(0), *plan.batches(1)]):
        noisy = add_noise(batch, 0.4, (2,), seed=3, step=step)
        expected.append(nats(runtime.forward(noisy.inputs, runtime.initial_state(4))[0], batch.targets).mean())
    np.testing.assert_allclose(run.losses, expected, atol=1e-5)
    clean = [nats(runtime.forward(b.inputs, runtime.initial_state(4))[0], b.targets) for b in plan.batches(0)]
    mean = np.concatenate(clean, axis=1).mean()
    assert [metrics["held_out_loss"] for _, metrics, _ in run.epochs] == [pytest.approx(mean, abs=1e-5)] * 2
    assert abs(np.mean(expected) - mean) > 1e-4


@pytest.mark.parametrize("make", [make_gru, make_lstm])
def test_rows_whose_state_is_reset_start_like_a_new_text(make_run, stream, make):
    plan = Lanes(stream, 7, 3)
    dataset = Dataset(plan, held_out=plan, carries_state=True)
    model = make()
    run = make_run(dataset, epochs=2, state_reset=0.3, seed=3, **STILL)
    model.fit(dataset, run)
    runtime, expected = runtime_of(model), []
    batches = [*plan.batches(0), *plan.batches(1)]
    for step, batch in enumerate(batches):
        if batch.resets_state:
            starts = np.full(3, step)  # the batch with which the state of each row begins
        starts = np.where(draw_resets(3, 0.3, seed=3, step=step), step, starts)
        rows = []
        for row, start in enumerate(starts):
            read = np.concatenate([each.inputs[row] for each in batches[start : step + 1]])
            logits, _ = runtime.forward(read[None], runtime.initial_state(1))
            rows.append(nats(logits[0, -batch.inputs.shape[1] :], batch.targets[row]))
        expected.append(np.mean(rows))
    np.testing.assert_allclose(run.losses, expected, atol=1e-5)
    lane = 399 // 3
    inputs, targets = stream.ids[: lane * 3].reshape(3, lane), stream.ids[1 : lane * 3 + 1].reshape(3, lane)
    whole = nats(runtime.forward(inputs, runtime.initial_state(3))[0], targets).mean()
    assert [metrics["held_out_loss"] for _, metrics, _ in run.epochs] == [pytest.approx(whole, abs=1e-5)] * 2


@pytest.mark.parametrize("layout", ["windows", "documents"])
def test_a_state_that_is_not_carried_is_not_reset(make_run, stream, documents, layout):
    dataset = Dataset(plans(stream, documents)[layout])
    with pytest.raises(
        OptionError, match=r"^training.state_reset has no effect .* set it to 0, or training.carry_state="
    ):
        make_gru().fit(dataset, make_run(dataset, epochs=1, state_reset=0.01))


def train(make_run, stream, model=None, **options):
    dataset = Dataset(Lanes(stream, 20, 4), held_out=Lanes(stream, 20, 2), carries_state=True)
    model = model or make_lstm(dropout=0.4, weight_dropout=0.2, input_weight_dropout=0.2)
    options = {"epochs": 3, "learning_rate": 0.01, "seed": 7, "noise": 0.1, "state_reset": 0.2} | options
    run = make_run(dataset, **options)
    model.fit(dataset, run)
    return model.weights(), run


@pytest.fixture(scope="module")
def whole(make_run, stream):
    """The weights and the run of an uninterrupted training."""
    return train(make_run, stream)


def assert_equal_bit_for_bit(weights, expected):
    assert weights.keys() == expected.keys()
    for name, array in weights.items():
        np.testing.assert_array_equal(array.view(np.uint32), expected[name].view(np.uint32))


def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(make_run, stream, whole):
    weights, uninterrupted = whole
    assert len(uninterrupted.losses) == 15
    _, first = train(make_run, stream, stop_after=3)
    assert first.interruption.position == Position(0, 3, 3)
    _, second = train(make_run, stream, checkpoint=first.interruption, stop_after=10)
    assert second.interruption is None
    assert second.epochs[-1][2].position == Position(2, 0, 10)
    resumed, third = train(make_run, stream, checkpoint=second.epochs[-1][2])
    assert_equal_bit_for_bit(resumed, weights)
    runs = (first, second, third)
    assert [loss for run in runs for loss in run.losses] == uninterrupted.losses
    assert [m for run in runs for _, m, _ in run.epochs] == [m for _, m, _ in uninterrupted.epochs]


def test_dropout_and_initial_weights_are_functions_of_their_seeds():
    from textgen_keras.network.recurrent import KerasNetwork

    options = RecurrentOptions(embedding_dim=4, units=8, layers=2, dropout=0.4)

    def make(seed):
        return KerasNetwork("gru", options, vocab_size=5, seed=seed)

    network, again, other = make(7), make(7), make(8)
    assert_equal_bit_for_bit(again.tensors(), network.tensors())
    assert not np.array_equal(other.tensors()["head.kernel"], network.tensors()["head.kernel"])
    assert not np.array_equal(
        network.tensors()["layers.0.recurrent_kernel"], network.tensors()["layers.1.recurrent_kernel"]
    )

    ids, state = np.array([[1, 2, 3]], np.int32), network.initial_state(1)
    whole, seven, eight = (
        network(ids, state, None, seed)[0].numpy() for seed in (None, np.array([3, 7]), np.array([3, 8]))
    )
    np.testing.assert_array_equal(seven, again(ids, state, None, np.array([3, 7]))[0].numpy())
    assert not np.allclose(seven, eight)
    assert not np.allclose(seven, whole)


def test_fit_starts_from_loaded_weights(make_run, stream, whole):
    weights, _ = whole
    model = make_lstm()
    model.load_weights(weights)
    after, _ = train(make_run, stream, stop_after=1, model=model, **STILL)
    assert_equal_bit_for_bit(after, weights)


def test_a_checkpoint_of_another_optimizer_is_refused(make_run, stream, whole):
    _, run = whole
    with pytest.raises(ArtifactError, match="the checkpoint's tensors do not fit"):
        train(make_run, stream, checkpoint=run.epochs[0][2], optimizer="sgd")


def test_the_random_generators_of_the_program_are_left_alone(make_run, stream):
    import keras

    keras.utils.set_random_seed(1)
    expected = random.random(), np.random.random(), float(keras.random.normal([]))
    keras.utils.set_random_seed(1)
    train(make_run, stream, make_gru(), stop_after=1)
    assert (random.random(), np.random.random(), float(keras.random.normal([]))) == expected
