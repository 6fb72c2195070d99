import random

import numpy as np
import pytest
from textgen_keras.models import GRU, LSTM, RecurrentModel, RecurrentOptions
from textgen_numpy.runtime import NumpyRuntime

from textgen.dataset import Dataset, EncodedText, Lanes, PaddedDocuments, Windows
from textgen.errors import ArtifactError
from textgen.model import Position

pytestmark = pytest.mark.keras

VOCAB = 5
#: A step so small that float32 weights stay what they are.
STILL = {"optimizer": "sgd", "learning_rate": 1e-30}


def make_gru(**options: object) -> GRU:
    return GRU(RecurrentOptions(**{"units": 8, "embedding_dim": 4} | options), VOCAB)


def make_lstm(**options: object) -> LSTM:
    return LSTM(RecurrentOptions(**{"units": 8, "input": "one-hot"} | options), VOCAB)


def runtime_of(model: RecurrentModel) -> NumpyRuntime:
    return NumpyRuntime(model.describe(model.weights()))


def nats(logits, targets):
    """The cross-entropy of each target, by its definition, in double precision."""
    logits = logits.astype(float)
    chosen = np.take_along_axis(logits, targets[..., None].astype(int), axis=-1)[..., 0]
    return np.log(np.exp(logits).sum(axis=-1)) - chosen


def plans(stream, documents):
    return {
        "windows": Windows(stream, 10, 8),
        "lanes": Lanes(stream, 10, 8),
        "documents": PaddedDocuments(documents, 4, pad_id=0),
    }


@pytest.mark.parametrize("layout", ["windows", "lanes", "documents"])
@pytest.mark.parametrize("make", [make_gru, make_lstm])
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
        assert metrics == {"loss": pytest.approx(row.mean())}


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
    if masked:  # unmasked, batches of other widths have other padding
        assert run.epochs[0][1]["held_out_loss"] == pytest.approx(np.mean(losses), abs=1e-5)


@pytest.mark.parametrize("make", [make_gru, make_lstm])
@pytest.mark.parametrize("carries", [True, False])
def test_lanes_carry_the_state_from_batch_to_batch_and_start_each_epoch_anew(make_run, stream, make, carries):
    plan = Lanes(stream, 7, 3)
    dataset = Dataset(plan, held_out=plan, carries_state=carries)
    model = make(layers=2)
    run = make_run(dataset, epochs=2, **STILL)
    model.fit(dataset, run)
    runtime = runtime_of(model)
    lane = 399 // 3
    inputs, targets = stream.ids[: lane * 3].reshape(3, lane), stream.ids[1 : lane * 3 + 1].reshape(3, lane)
    if carries:
        logits, _ = runtime.forward(inputs, runtime.initial_state(3))
    else:
        parts = [runtime.forward(inputs[:, at : at + 7], runtime.initial_state(3))[0] for at in range(0, lane, 7)]
        logits = np.concatenate(parts, axis=1)
    losses = nats(logits, targets)
    expected = [losses[:, at : at + 7].mean() for at in range(0, lane, 7)]
    np.testing.assert_allclose(run.losses, expected * 2, atol=1e-5)
    for _, metrics, _ in run.epochs:
        assert metrics["held_out_loss"] == pytest.approx(losses.mean(), abs=1e-5)


def test_a_carried_state_does_not_read_padding(make_run):
    rows = [[1, 2], [1, 2, 3, 4], [3, 1, 2], [2, 4, 1]]
    text = EncodedText.join([np.array(row, np.int32) for row in rows])
    dataset = Dataset(PaddedDocuments(text, 2, pad_id=0, shuffle=False), carries_state=True)
    model = make_gru()
    run = make_run(dataset, epochs=1, **STILL)
    model.fit(dataset, run)
    runtime = runtime_of(model)
    losses = []
    for before, row in ((rows[0], rows[2]), (rows[1], rows[3])):
        state = runtime.prefill(np.array([before[:-1]], np.int32), runtime.initial_state(1))
        logits, _ = runtime.forward(np.array([row[:-1]], np.int32), state)
        losses += nats(logits[0], np.array(row[1:])).tolist()
    assert run.losses[1] == pytest.approx(np.mean(losses), abs=1e-5)


def test_a_batch_of_fewer_rows_starts_with_a_fresh_state(make_run, documents):
    dataset = Dataset(PaddedDocuments(documents, 20, pad_id=0, shuffle=False), carries_state=True)
    model = make_gru()
    run = make_run(dataset, epochs=1, **STILL)
    model.fit(dataset, run)
    runtime = runtime_of(model)
    last = documents.ids[documents.offsets[20] :]
    logits, _ = runtime.forward(last[None, :-1], runtime.initial_state(1))
    assert run.losses[1] == pytest.approx(nats(logits[0], last[1:]).mean(), abs=1e-5)


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


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
def test_weights_end_as_those_of_keras_own_fit(make_run, stream, optimizer):
    import keras

    model = make_gru()
    layers = [
        keras.layers.Embedding(VOCAB, 4),
        keras.layers.GRU(8, return_sequences=True),
        keras.layers.Dense(VOCAB),
    ]
    theirs = keras.Sequential([keras.Input([None], dtype="int32"), *layers])
    theirs.set_weights(list(model.weights().values()))
    rule = {"adam": keras.optimizers.Adam, "rmsprop": keras.optimizers.RMSprop, "sgd": keras.optimizers.SGD}[optimizer]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    theirs.compile(rule(0.01), loss, jit_compile=False)

    plan = Windows(stream, 10, 12, shuffle=False)
    (batch, *_) = Windows(stream, 10, 36, shuffle=False).batches(0)
    theirs.fit(batch.inputs, batch.targets, batch_size=12, epochs=2, shuffle=False, verbose=0)
    dataset = Dataset(plan)
    model.fit(dataset, make_run(dataset, epochs=2, optimizer=optimizer, learning_rate=0.01, clip_norm=None))
    for ours, expected in zip(model.weights().values(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(ours, expected, atol=2e-5)


def test_the_global_norm_of_a_step_is_clipped(make_run, stream):
    dataset = Dataset(Windows(stream, 10, 36))
    model = make_gru()
    before = model.weights()
    model.fit(dataset, make_run(dataset, epochs=1, optimizer="sgd", learning_rate=1.0, clip_norm=0.01))
    change = [model.weights()[name] - before[name] for name in before]
    assert np.sqrt(sum((part.astype(float) ** 2).sum() for part in change)) == pytest.approx(0.01, rel=1e-3)


def train(make_run, stream, *, fresh=True, checkpoint=None, stop_after=None, model=None, **options):
    dataset = Dataset(Lanes(stream, 20, 4), held_out=Lanes(stream, 20, 2), carries_state=True)
    model = model or make_lstm(layers=2, dropout=0.4)
    run = make_run(
        dataset, checkpoint=checkpoint, stop_after=stop_after, epochs=3, learning_rate=0.01, **{"seed": 7} | options
    )
    model.fit(dataset, run)
    return model.weights(), run


def assert_equal_bit_for_bit(weights, expected):
    assert weights.keys() == expected.keys()
    for name, array in weights.items():
        np.testing.assert_array_equal(array.view(np.uint32), expected[name].view(np.uint32))


@pytest.mark.parametrize("stop_after", [3, 5, 7])
def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(make_run, stream, stop_after):
    weights, whole = train(make_run, stream)
    assert len(whole.losses) == 15
    _, first = train(make_run, stream, stop_after=stop_after)
    checkpoint = first.interruption or first.epochs[-1][2]
    assert checkpoint.position.total == len(first.losses) == stop_after
    assert bool(first.interruption) == (stop_after % 5 > 0)
    resumed, second = train(make_run, stream, checkpoint=checkpoint)
    assert_equal_bit_for_bit(resumed, weights)
    assert first.losses + second.losses == whole.losses
    assert [m for _, m, _ in first.epochs + second.epochs] == [m for _, m, _ in whole.epochs]


def test_a_seed_decides_the_weights_and_another_one_others(make_run, stream):
    weights, run = train(make_run, stream, stop_after=4)
    again, _ = train(make_run, stream, stop_after=4)
    assert_equal_bit_for_bit(again, weights)
    other, _ = train(make_run, stream, stop_after=4, seed=8)
    assert not np.array_equal(other["head.kernel"], weights["head.kernel"])
    # the same initial weights and batches: only the units that are left out differ
    bare, without = train(make_run, stream, stop_after=4, model=make_lstm(layers=2))
    assert without.losses[0] != run.losses[0]


def test_fit_goes_on_from_weights_that_were_loaded(make_run, stream):
    weights, _ = train(make_run, stream, stop_after=4)
    model = make_lstm(layers=2)
    model.load_weights(weights)
    after, _ = train(make_run, stream, stop_after=1, model=model, **STILL)
    assert_equal_bit_for_bit(after, weights)


def test_a_checkpoint_of_another_optimizer_is_refused(make_run, stream):
    _, run = train(make_run, stream, stop_after=1)
    with pytest.raises(ArtifactError, match="the checkpoint's tensors do not fit"):
        train(make_run, stream, checkpoint=run.interruption, optimizer="sgd")


def test_the_random_generators_of_the_program_are_left_alone(make_run, stream):
    import keras

    keras.utils.set_random_seed(1)
    expected = random.random(), np.random.random(), float(keras.random.normal([]))  # noqa: NPY002
    keras.utils.set_random_seed(1)
    train(make_run, stream, stop_after=2)
    assert (random.random(), np.random.random(), float(keras.random.normal([]))) == expected  # noqa: NPY002
