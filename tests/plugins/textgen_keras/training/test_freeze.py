"""``training.freeze``: weights that training leaves as they are."""

import numpy as np
import pytest

from textgen.errors import OptionError
from textgen.text.batches import Dataset, Windows
from textgen_keras.models import GRU
from textgen_keras.network.options import RecurrentOptions

pytestmark = pytest.mark.keras

VOCAB = 5

PARTS = ("kernel", "recurrent_kernel", "bias")
NAMES = "embedding, layers.0.kernel, layers.0.recurrent_kernel, layers.0.bias, layers.1.kernel, "


def make(**options):
    return GRU(RecurrentOptions(**{"units": 8, "embedding_dim": 4, "layers": 2} | options), VOCAB)


def weights_of(model):
    return {name: array.copy() for name, array in model.weights().items()}


@pytest.fixture
def dataset(stream):
    plan = Windows(stream, 40, 4)
    return Dataset(plan, held_out=plan)


@pytest.mark.parametrize(
    ("freeze", "expected"),
    [
        (["embedding"], {"embedding"}),
        (["layers.0"], {f"layers.0.{part}" for part in PARTS}),
        (["head.bias", "layers.1.kernel"], {"head.bias", "layers.1.kernel"}),
        (["embedding", "layers"], {"embedding", *(f"layers.{i}.{part}" for i in (0, 1) for part in PARTS)}),
    ],
)
@pytest.mark.parametrize("optimizer", [{"optimizer": "adam"}, {"optimizer": "adamw", "weight_decay": 0.5}])
def test_frozen_weights_stay_as_they_are_to_the_bit(make_run, dataset, freeze, expected, optimizer):
    model = make(dropout=0.2, weight_dropout=0.2, input_weight_dropout=0.2)
    before = weights_of(model)
    run = make_run(dataset, epochs=3, learning_rate=0.05, freeze=freeze, **optimizer)
    model.fit(dataset, run)
    after = model.weights()
    assert {name for name in before if np.array_equal(before[name], after[name])} == expected
    saved = run.epochs[-1][2].tensors
    assert {name.removeprefix("weights.") for name in saved if name.startswith("weights.")} == set(before)
    averaged = {name.removeprefix("average.") for name in saved if name.startswith("average.")}
    assert averaged == set(before) - expected
    shapes = [saved[name].shape for name in saved if name.startswith("optimizer.") and saved[name].ndim]
    trained = [before[name].shape for name in before if name not in expected]
    assert sorted(shapes) == sorted(trained * 2), "no moments of frozen weights"


def test_tied_weights_are_frozen_together(make_run, dataset):
    model = make(tie_weights=True, embedding_dim=8, layers=1)
    before = weights_of(model)
    model.fit(dataset, make_run(dataset, epochs=1, learning_rate=0.05, freeze=["embedding"]))
    np.testing.assert_array_equal(model.weights()["head.kernel"], before["head.kernel"])


def test_a_resumed_run_with_frozen_weights_ends_the_same(make_run, dataset):
    options = {"epochs": 3, "learning_rate": 0.05, "freeze": ["embedding", "layers.0"]}
    whole = make(dropout=0.2)
    whole.fit(dataset, make_run(dataset, **options))
    first = make_run(dataset, **options, stop_after=3)
    make(dropout=0.2).fit(dataset, first)
    resumed = make(dropout=0.2)
    resumed.fit(dataset, make_run(dataset, **options, checkpoint=first.interruption or first.epochs[-1][2]))
    for name, array in whole.weights().items():
        np.testing.assert_array_equal(resumed.weights()[name], array, err_msg=name)


@pytest.mark.parametrize(
    ("freeze", "message"),
    [
        (["layers.2"], f"training.freeze: the model has no weights 'layers.2'; it has {NAMES}"),
        (["layers.0.ker"], "the model has no weights 'layers.0.ker'"),
        (["embedding", "layers", "head"], "training.freeze leaves no weights to train"),
    ],
)
def test_names_that_cannot_be_frozen_are_refused(make_run, dataset, freeze, message):
    with pytest.raises(OptionError) as raised:
        make().fit(dataset, make_run(dataset, freeze=freeze))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
