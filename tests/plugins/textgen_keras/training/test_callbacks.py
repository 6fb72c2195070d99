import csv
import json
import shlex
import sys

import numpy as np
import pytest

from textgen.errors import OptionError
from textgen.text.batches import Dataset, Windows
from textgen_keras import GradientOptions
from textgen_keras.models import GRU
from textgen_keras.network.options import RecurrentOptions
from textgen_keras.training.callbacks import load_callbacks

pytestmark = pytest.mark.keras

#: Options that leave the learning rate and the weights to the callbacks.
PLAIN = {"schedule": "constant", "warmup_steps": 0, "average": 0.0}


@pytest.fixture
def fit(make_run, stream):
    """Trains for 2 epochs of 2 batches, held-out text included; returns the run and the weights."""

    def train(*callbacks, **options):
        plan = Windows(stream, 20, 9)
        dataset = Dataset(plan, held_out=plan)
        model = GRU(RecurrentOptions(units=4, embedding_dim=3), 5)
        run = make_run(dataset, **{"epochs": 2, "callbacks": callbacks} | PLAIN | options)
        model.fit(dataset, run)
        return run, model.weights()

    return train


@pytest.fixture
def recorder():
    import keras

    class Recorder(keras.callbacks.Callback):  # type: ignore[misc]  # keras has no types
        """Records each call: its name, the epoch or batch, the names of the logged values."""

        def __init__(self):
            super().__init__()
            self.calls = []

        def on_train_begin(self, logs=None):
            self.calls.append("train begins")

        def on_epoch_begin(self, epoch, logs=None):
            self.calls.append(f"epoch {epoch} begins")

        def on_train_batch_begin(self, batch, logs=None):
            self.calls.append(f"batch {batch} begins")

        def on_train_batch_end(self, batch, logs=None):
            self.calls.append(f"batch {batch} ends: {sorted(logs)}")

        def on_epoch_end(self, epoch, logs=None):
            self.calls.append(f"epoch {epoch} ends: {sorted(logs)}")

        def on_train_end(self, logs=None):
            self.calls.append("train ends")

    return Recorder


def test_callbacks_are_called_as_by_keras_own_fit_with_the_values_that_the_run_reports(fit, recorder, tmp_path):
    import keras

    ours, theirs = recorder(), recorder()
    run, _ = fit(ours, keras.callbacks.CSVLogger(str(tmp_path / "log.csv")))
    model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    data = np.zeros((4, 1), np.float32)
    model.fit(data, data, batch_size=2, epochs=2, verbose=0, callbacks=[theirs], validation_data=(data, data))
    assert ours.calls == theirs.calls
    assert (ours.params["epochs"], ours.params["steps"]) == (2, 2)
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == [metrics["loss"] for _, metrics, _ in run.epochs]
    assert [float(row["val_loss"]) for row in rows] == [metrics["held_out_loss"] for _, metrics, _ in run.epochs]


def test_a_callback_can_stop_within_an_epoch(fit):
    import keras

    class Stop(keras.callbacks.Callback):  # type: ignore[misc]  # keras has no types
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = True

    run, _ = fit(Stop())
    assert (len(run.epochs), len(run.losses), run.interruption.position.step) == (0, 1, 1)


def test_early_stopping_watches_the_held_out_loss_and_restores_the_best_weights(fit):
    import keras

    restoring = keras.callbacks.EarlyStopping("val_loss", mode="max", patience=1, restore_best_weights=True)
    run, weights = fit(restoring, epochs=5)
    assert len(run.epochs) == 2
    saved = run.epochs[0][2].tensors
    np.testing.assert_array_equal(weights["head.kernel"], saved["weights.head.kernel"])


def test_a_schedule_changes_the_learning_rate_once_per_epoch_even_if_resumed(fit):
    import keras

    halve = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    first, _ = fit(halve, learning_rate=0.1, stop_after=3)
    fit(halve, learning_rate=0.1, checkpoint=first.interruption)
    assert float(halve.model.optimizer.learning_rate) == pytest.approx(0.025)


def test_a_callback_is_found_by_its_import_path(fit, tmp_path, monkeypatch):
    (tmp_path / "my_callbacks.py").write_text(
        "import keras\n"
        "class Stop(keras.callbacks.Callback):\n"
        "    def on_epoch_end(self, epoch, logs=None):\n"
        "        self.model.stop_training = True\n"
        "stop = Stop()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    run, _ = fit(callbacks=("my_callbacks:Stop",))
    assert (len(run.epochs), run.interruption) == (1, None)
    (found,) = load_callbacks(["my_callbacks:stop"])
    assert found is sys.modules["my_callbacks"].stop


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("keras.callbacks", "not of the form package.module:Name"),
        ("no_such_module:Name", "ModuleNotFoundError"),
        ("keras.callbacks:Nothing", "AttributeError"),
        ("keras.callbacks:LearningRateScheduler", "TypeError"),
        ("builtins:dict", "is not a keras.callbacks.Callback"),
    ],
)
def test_a_path_without_a_callback_is_refused_in_one_line(fit, path, message):
    with pytest.raises(OptionError, match=message) as raised:
        fit(callbacks=(path,))
    assert "\n" not in str(raised.value)


def test_an_object_that_is_not_a_callback_is_an_error(fit):
    with pytest.raises(OptionError, match=r"training.callbacks: <built-in function print> is not a keras.callbacks"):
        fit(print)


def test_callbacks_are_recorded_by_import_paths(recorder):
    options = GradientOptions(callbacks=(recorder(), "my_callbacks:Stop"))
    path = f"{__name__}:{recorder.__qualname__}"
    assert options.model_dump(mode="json")["callbacks"] == [path, "my_callbacks:Stop"]
    assert len(options.callbacks) == 2


def test_what_a_run_names_is_not_run(command_line, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "planted.py").write_text("open('run', 'w').close()\nimport os\nstop = os.abort\n")
    (tmp_path / "names.txt").write_text("".join(f"{name} {n}\n" for name in ("Ada", "Bo") for n in range(16)))
    train = ["train", "names.txt", "--set", "corpus.layout=lines", "--set", "model.units=4", "--epochs", "1"]
    assert command_line(*train, "--out", "mine")[0] == 0
    manifest = json.loads((tmp_path / "mine" / "textgen.json").read_text())
    manifest["settings"]["training"]["callbacks"] = ["planted:stop"]
    (tmp_path / "mine" / "textgen.json").write_text(json.dumps(manifest))

    code, out, err = command_line("train", "--resume", "mine", "--epochs", "2")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "--set 'training.callbacks=[\"planted:stop\"]' if you trust it" in err
    code, _, err = command_line("train", "names.txt", "--from", "mine", "--epochs", "1", "--out", "next")
    assert (code, err.count("what training.callbacks of mine names is not run here")) == (0, 1)
    assert command_line("train", "--resume", "mine", "--epochs", "2", "--set", "training.callbacks=[]")[0] == 0
    for command in (["sample", "mine"], ["evaluate", "mine", "--folds", "2"], ["runs", "show", "mine"]):
        assert command_line(*command)[0] == 0
    assert not (tmp_path / "run").exists()
    assert "planted" not in sys.modules


CALLBACK = """
import keras
from pathlib import Path

class Halve(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.model.optimizer.learning_rate = self.model.optimizer.learning_rate / 2
        with Path("epochs.txt").open("a") as file:
            print(epoch, file=file)
"""


def test_a_run_is_resumed_exactly_if_its_callbacks_are_given_again(command_line, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "halving.py").write_text(CALLBACK)
    (tmp_path / "names.txt").write_text("".join(f"{name} {n}\n" for name in ("Ada", "Bo") for n in range(16)))
    options = ["corpus.layout=lines", "model.units=4", "training.schedule=constant", "training.warmup_steps=0"]
    train = ["train", "names.txt", *(word for option in options for word in ("--set", option))]
    callbacks = ["--set", "training.callbacks=halving:Halve"]
    assert command_line(*train, *callbacks, "--epochs", "4", "--out", "whole")[0] == 0
    assert command_line(*train, *callbacks, "--epochs", "2", "--out", "part")[0] == 0
    assert (tmp_path / "epochs.txt").read_text().split() == [*"0123", *"01"]
    code, _, err = command_line("train", "--resume", "part", "--epochs", "4")
    assert code == 2
    again = shlex.split(err.partition(": add ")[2].partition(" if you")[0])
    assert command_line("train", "--resume", "part", "--epochs", "4", *again)[0] == 0
    weights = [(tmp_path / run / "weights.safetensors").read_bytes() for run in ("whole", "part")]
    assert weights[0] == weights[1]
    assert (tmp_path / "epochs.txt").read_text().split() == [*"0123", *"01", *"23"]
    (changed,) = json.loads((tmp_path / "part" / "textgen.json").read_text())["changes"]
    assert changed["settings"] == {"training": {"epochs": 4}}
