"""The requirements for a model."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import safetensors.numpy

from textgen import Checkpoint, ContextTree, Dataset, Layout, Model, ModelRuntime, Position, State, Tensors, load
from textgen.errors import ArtifactError, UnsupportedModelError
from textgen.options import build_options
from textgen.plugins.registry import plugins
from textgen.testing.memory import MemoryRun
from textgen.testing.suites.forward import ForwardCases, Ids, same
from textgen.testing.suites.plugin import OptionsSuite
from textgen.testing.suites.runs import train_tiny
from textgen.text.batches import Lanes, PaddedDocuments
from textgen.text.encoded import EncodedText

V = 7


def stream() -> Dataset:
    """Ids that increase by 1 or 2, which is easy to learn, in four lanes with carried state."""
    ids = (np.cumsum(np.random.default_rng(0).integers(1, 3, 700)) % V).astype(np.int32)
    train, held_out = EncodedText.join([ids]).split_tail(0.2)
    return Dataset(Lanes(train, 20, 4), Lanes(held_out, 20, 4), carries_state=True)


def documents() -> Dataset:
    """Rows of 2 to 9 ids, padded with 0; nothing is held out."""
    rng = np.random.default_rng(1)
    texts = [rng.integers(1, V, length).astype(np.int32) for length in rng.integers(2, 10, 21)]
    return Dataset(PaddedDocuments(EncodedText.join(texts), 4, pad_id=0, bucket=True))


def through_files(tensors: Tensors) -> Tensors:
    """Tensors, written to a safetensors file and read again."""
    return safetensors.numpy.load(safetensors.numpy.save({n: np.asarray(a, order="C") for n, a in tensors.items()}))


class ModelSuite(ForwardCases, OptionsSuite):
    """Cases for a :class:`textgen.Model`. Keep it small: it is fitted about ten times.

    Example:
        >>> class TestGRU(ModelSuite):
        ...     name = "gru"
        ...     options = {"units": 8, "embedding_dim": 4}
        ...     training = {"learning_rate": 0.02}

    Attributes:
        training: training options with which about twenty batches teach it that either of two ids follows each id.
        learns: whether fitting changes the model; false for a fake.
    """

    kind = "model"
    interface = Model

    training: ClassVar[Mapping[str, Any]] = {}
    learns: ClassVar[bool] = True

    @classmethod
    def model(cls) -> Model:
        """A new model under test."""
        return plugins().make("model", {"name": cls.name, **cls.options}, V)

    @classmethod
    def fit(cls, dataset: Dataset, **changes: Any) -> tuple[Model, MemoryRun]:
        """A new model, fitted, and its reports."""
        model = cls.model()
        run = MemoryRun(dataset, model.TrainingOptions, **{"epochs": 3, "seed": 5, **cls.training, **changes})
        model.fit(dataset, run)
        return model, run

    @pytest.fixture(scope="class")
    @classmethod
    def fitted(cls, kit: None) -> tuple[Model, MemoryRun]:
        """A model fitted on a stream."""
        return cls.fit(stream())

    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls, fitted: tuple[Model, MemoryRun]) -> Model:
        """The fitted model, for the cases of its forward pass."""
        return fitted[0]

    def light_use(self) -> str:
        settings = json.dumps(json.dumps({"name": self.name, **self.options}))
        return (
            "import json\nfrom textgen.plugins import plugins\n"
            f"model = plugins().make('model', json.loads({settings}), {V})\n"
            "model.state_spec, model.parameter_count"
        )

    def test_its_properties_are_known_without_weights(self, subject: Model) -> None:
        model = self.model()
        assert model.vocab_size == V
        assert model.state_spec == subject.state_spec
        assert model.parameter_count is None or 0 < model.parameter_count == subject.parameter_count
        assert plugins().find("runtime", model.native_runtime)

    def test_suggested_options_exist(self) -> None:
        for characters in (100, 20_000, 1_000_000, 10**9):
            suggested = type(self.model()).suggested_options(characters, labels=2)
            build_options(type(self.model()).Options, suggested, where="model")

    def test_options_that_it_declares_exist(self) -> None:
        model = self.model()
        assert {*model.adjustable} <= type(model).Options.model_fields.keys()
        assert {*model.TrainingOptions.resumable} <= model.TrainingOptions.model_fields.keys()
        build_options(model.TrainingOptions, model.TrainingOptions.from_trained, where="training")

    @pytest.mark.parametrize("dataset", [stream(), documents()], ids=["stream", "documents"])
    def test_fitting_reports_what_it_does(self, dataset: Dataset) -> None:
        _, run = self.fit(dataset, epochs=2)
        steps = dataset.train.steps
        assert run.positions == [
            Position(epoch, step, epoch * steps + step) for epoch in range(2) for step in range(1, steps + 1)
        ]
        counted = [int((batch.weights > 0).sum()) for epoch in range(2) for batch in dataset.train.batches(epoch)]
        assert run.characters == counted, "the number of targets that count, per batch"
        assert np.isfinite(run.losses).all()
        assert [position for position, _, _ in run.epochs] == [Position(e, 0, e * steps) for e in (1, 2)]
        for position, metrics, checkpoint in run.epochs:
            assert checkpoint.position == position
            assert np.isfinite(metrics["loss"])
            assert ("held_out_loss" in metrics) == (dataset.held_out is not None)
        assert run.interruption is None

    def test_fitting_learns(self, fitted: tuple[Model, MemoryRun]) -> None:
        if not self.learns:
            pytest.skip("learns = False")
        _, metrics, _ = fitted[1].epochs[-1]
        assert metrics["held_out_loss"] < math.log(V) - 1e-3, "better than a uniform prediction"

    def test_fitting_starts_from_loaded_weights(self, fitted: tuple[Model, MemoryRun]) -> None:
        if not self.learns:
            pytest.skip("learns = False")
        model, dataset = self.model(), stream()
        model.load_weights(through_files(fitted[0].weights()))
        run = MemoryRun(dataset, model.TrainingOptions, **{"epochs": 1, "seed": 5, **self.training})
        model.fit(dataset, run)
        assert run.losses[0] < fitted[1].losses[0], "the first batch is better predicted than by a new model"

    def test_the_seed_decides(self, fitted: tuple[Model, MemoryRun]) -> None:
        again, _ = self.fit(stream())
        same_tensors(again.weights(), fitted[0].weights())

    @pytest.mark.parametrize("at_end_of_epoch", [False, True])
    def test_resuming_gives_the_same_as_not_stopping(
        self, fitted: tuple[Model, MemoryRun], at_end_of_epoch: bool
    ) -> None:
        dataset = stream()
        stop = dataset.train.steps if at_end_of_epoch else dataset.train.steps + 2
        _, stopped = self.fit(dataset, stop_after=stop)
        assert len(stopped.positions) == stop, "a model stops after the batch when the run asks it to"
        checkpoint = stopped.interruption or stopped.epochs[-1][2]
        assert checkpoint.position.total == stop
        numbers = json.loads(json.dumps(checkpoint.numbers))
        saved = Checkpoint(checkpoint.position, through_files(checkpoint.tensors), numbers)
        resumed, run = self.fit(dataset, checkpoint=saved)
        assert stopped.positions + run.positions == fitted[1].positions
        np.testing.assert_allclose(stopped.losses + run.losses, fitted[1].losses, rtol=0, atol=1e-5)
        assert run.epochs[-1][1] == pytest.approx(fitted[1].epochs[-1][1], abs=1e-5)
        same_tensors(resumed.weights(), fitted[0].weights())

    def test_resuming_from_a_checkpoint_within_an_epoch_gives_the_same(self, fitted: tuple[Model, MemoryRun]) -> None:
        dataset = stream()
        after = dataset.train.steps + 2
        undisturbed, run = self.fit(dataset, save_after=after)
        if run.saved is None:
            pytest.skip("it saves at the end of epochs alone")
        assert run.saved.position == Position(1, 2, after)
        assert run.losses == fitted[1].losses, "saving changes nothing"
        same_tensors(undisturbed.weights(), fitted[0].weights())
        numbers = json.loads(json.dumps(run.saved.numbers))
        saved = Checkpoint(run.saved.position, through_files(run.saved.tensors), numbers)
        resumed, rest = self.fit(dataset, checkpoint=saved)
        assert rest.positions == run.positions[after:]
        for (_, found, _), (_, expected, _) in zip(rest.epochs, run.epochs[1:], strict=True):
            assert found == pytest.approx(expected, abs=1e-5), "the loss of an epoch is that of all of its batches"
        same_tensors(resumed.weights(), undisturbed.weights())

    def test_weights_come_back(self, subject: Model, ids: Ids, start: State) -> None:
        again = self.model()
        again.load_weights(through_files(subject.weights()))
        same_tensors(again.weights(), subject.weights())
        same(again.forward(ids, start)[0], subject.forward(ids, start)[0], self.tolerance)

    def test_weights_are_converted_to_a_vocabulary_that_grew(self, subject: Model, ids: Ids, start: State) -> None:
        again = self.model()
        again.load_weights(again.grow_weights(through_files(subject.weights()), np.arange(V, dtype=np.int32)))
        same_tensors(again.weights(), subject.weights())
        old_ids = np.array([0, 1, 2, -1, *range(3, V), -1], np.int32)
        larger: Model = plugins().make("model", {"name": self.name, **self.options}, len(old_ids))
        try:
            grown = larger.grow_weights(through_files(subject.weights()), old_ids)
        except UnsupportedModelError:
            pytest.skip("it cannot take another vocabulary")
        larger.load_weights(through_files(grown))
        kept = np.flatnonzero(old_ids >= 0)  # the new id of each old one
        logits = larger.forward(kept[ids].astype(np.int32), larger.state_spec.initial_state(len(ids)))[0]
        likeliest = subject.forward(ids, subject.state_spec.initial_state(len(ids)))[0].argmax(axis=-1)
        assert np.isfinite(logits).all()
        np.testing.assert_array_equal(logits[..., kept].argmax(axis=-1), likeliest)

    def test_weights_that_do_not_fit_are_refused(self, subject: Model) -> None:
        weights = dict(subject.weights())
        name = next(iter(weights))
        missing = {other: array for other, array in weights.items() if other != name}
        longer = np.concatenate([weights[name], weights[name]])
        for bad in (missing, {**weights, "superfluous": np.zeros(3)}, {**weights, name: longer}):
            with pytest.raises(ArtifactError):
                self.model().load_weights(bad)

    def test_its_description_is_the_same_model(self, subject: Model, ids: Ids, start: State) -> None:
        network = subject.describe(subject.weights())
        if network is None:
            pytest.skip("neither a GRU or LSTM stack nor an n-gram")
        if isinstance(network, ContextTree):
            read = network.read(ids, start["context"])[:, 1:]
            same(network.logits[read], subject.forward(ids, start)[0], self.tolerance)
            return
        assert (network.vocab_size, network.state_spec) == (subject.vocab_size, subject.state_spec)
        same_tensors(network.tensors(), subject.weights())
        numpy_runtime: Any = plugins().get("runtime", "numpy")
        described = numpy_runtime(network)
        same(described.forward(ids, start)[0], subject.forward(ids, start)[0], self.tolerance)

    def test_its_keras_step_is_the_same_model(self, subject: Model, ids: Ids, start: State) -> None:
        step = getattr(subject, "keras_step", lambda: None)()
        if step is None:
            pytest.skip("no step function of TensorFlow tensors")
        import tensorflow as tf

        lengths = np.array([12, 5, 0, 1], np.int32)
        logits, *after = step(tf.constant(ids), tf.constant(lengths), *(tf.constant(a) for a in start.values()))
        expected, state = subject.forward(ids, start, lengths)
        reads = np.arange(ids.shape[1]) < lengths[:, None]
        same(np.asarray(logits)[reads], expected[reads], self.tolerance)
        names = [tensor.name for tensor in subject.state_spec.tensors]
        same(State({n: np.asarray(a) for n, a in zip(names, after, strict=True)}), state, self.tolerance)

    @pytest.mark.parametrize("layout", ["stream", "documents"])
    def test_a_run_of_it_is_saved_and_loaded(self, tmp_path: Path, layout: Layout) -> None:
        training = {**self.training, "epochs": 1}
        run = train_tiny(tmp_path / "run", {"name": self.name, **self.options}, layout, training)
        model = run.plan.model
        generator = load(run.artifact.path, runtime=model.native_runtime, device="cpu")
        generations = generator.sample(generator.request(num=3, seed=1))
        rows = generator.sample(generator.request(rows=[2], seed=1))
        assert rows[0].text == generations[2].text, "a text does not depend on the others"
        prompt = run.plan.tokenizer.encode("elm")[None]
        start = model.state_spec.initial_state(1)
        expected = ModelRuntime(model).forward(prompt, start)[0]
        same(generator.runtime.forward(prompt, start)[0], expected, self.tolerance)


def same_tensors(found: Tensors, expected: Tensors) -> None:
    """Asserts that weights are equal, except for the order of float32 sums."""
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert (found[name].shape, found[name].dtype) == (array.shape, array.dtype)
        np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-5, err_msg=name)
