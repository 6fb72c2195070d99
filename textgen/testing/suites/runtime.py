"""The requirements for a runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest

from textgen import Check, Draw, ModelRuntime, Runtime, State, uniforms
from textgen.errors import TextgenError
from textgen.plugins.registry import plugins
from textgen.testing.suites.forward import ForwardCases, Ids, same
from textgen.testing.suites.plugin import PluginSuite
from textgen.testing.suites.runs import TinyRun, train_tiny

ROWS, STEPS = 4, 30


class RuntimeSuite(ForwardCases, PluginSuite):
    """Cases for a :class:`textgen.Runtime`.

    Example:
        >>> class TestNumpy(RuntimeSuite):
        ...     name = "numpy"
        ...     model = {"name": "fixed-gru"}

    Attributes:
        model: the name and options of a model that the runtime runs: ``counting``, ``fixed-gru``, or your own.
    """

    kind = "runtime"
    interface = Runtime

    model: ClassVar[Mapping[str, Any]] = {"name": "counting"}

    @classmethod
    def prepare(cls, run: TinyRun) -> None:
        """Prepares a run for the runtime, for example by exporting it."""

    @pytest.fixture(scope="class")
    @classmethod
    def run(cls, kit: None, tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
        """A run of :attr:`model`."""
        run = train_tiny(tmp_path_factory.mktemp("runtime") / "run", cls.model)
        cls.prepare(run)
        return run

    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls, run: TinyRun) -> Runtime:
        """The runtime under test, with the run loaded."""
        return plugins().get("runtime", cls.name).open(run.artifact, run.make_model, "cpu")

    @pytest.fixture(scope="class")
    @classmethod
    def truth(cls, run: TinyRun) -> Runtime:
        """The model's own forward pass."""
        return ModelRuntime(run.load_model())

    def test_it_has_the_properties_of_the_run(self, subject: Runtime, run: TinyRun) -> None:
        assert isinstance(subject, Runtime)
        assert subject.vocab_size == run.artifact.manifest.vocab_size
        assert subject.state_spec == run.artifact.state_spec
        assert subject.device == "cpu"
        same(subject.initial_state(3), run.artifact.state_spec.initial_state(3), 0)

    def test_it_gives_the_logits_of_the_model(self, subject: Runtime, truth: Runtime, ids: Ids, start: State) -> None:
        logits, state = subject.forward(ids, start)
        expected, after = truth.forward(ids, start)
        same(logits, expected, self.tolerance)
        same(state, after, self.tolerance)

    def test_a_prompt_and_a_step_are_the_same_as_reading_at_once(
        self, subject: Runtime, ids: Ids, start: State
    ) -> None:
        logits, state = subject.forward(ids, start)
        before = subject.prefill(ids[:, :-1], start)
        last, after = subject.step(ids[:, -1], before)
        same(last, logits[:, -1], self.tolerance)
        same(after, state, self.tolerance)
        lengths = np.array([12, 5, 0, 1], np.int32)
        same(subject.prefill(ids, start, lengths), subject.forward(ids, start, lengths)[1], self.tolerance)

    @pytest.mark.parametrize("numbers", [1, 2000, 9000])
    def test_a_prompt_may_be_read_in_pieces(
        self, subject: Runtime, ids: Ids, start: State, numbers: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lengths = np.array([12, 5, 0, 1], np.int32)
        expected = subject.forward(ids, start, lengths)[1]
        monkeypatch.setattr("textgen.generation.runtime.NUMBERS_AT_ONCE", numbers)
        same(subject.prefill(ids, start, lengths), expected, self.tolerance)
        same(subject.prefill(ids, start), subject.forward(ids, start)[1], self.tolerance)

    @pytest.mark.parametrize("chain", ["greedy", "temperature(0.8) | top-k(9) | multinomial"])
    def test_one_seed_gives_one_text(self, subject: Runtime, truth: Runtime, run: TinyRun, chain: str) -> None:
        drawn = uniforms(3, range(ROWS), 1, STEPS)
        ids = np.arange(ROWS, dtype=np.int32) + 1

        def draw(rows: int = ROWS) -> Draw:
            return Draw([plugins().chain(chain)] * rows, subject.vocab_size, run.plan.tokenizer.forbidden_ids)

        expected = truth.generate(ids, truth.initial_state(ROWS), draw(), drawn)
        block = subject.generate(ids, subject.initial_state(ROWS), draw(), drawn)
        assert block.ids.shape == (STEPS, ROWS)
        assert block.ids.dtype == np.int32
        np.testing.assert_array_equal(block.ids, expected.ids)
        same(block.state, expected.state, self.tolerance)

        alone = subject.generate(ids[[2]], subject.initial_state(1), draw(1), drawn[:, [2]])
        np.testing.assert_array_equal(alone.ids[:, 0], block.ids[:, 2], "a row does not depend on the others")

        part = subject.generate(ids, subject.initial_state(ROWS), draw(), drawn[:11])
        rest = subject.generate(part.ids[-1], part.state, draw(), drawn[11:])
        np.testing.assert_array_equal(
            np.concatenate([part.ids, rest.ids]), block.ids, "a text does not depend on its chunks"
        )

    @pytest.mark.parametrize("device", ["cuda:99", "toaster"])
    def test_a_missing_device_is_an_error(self, run: TinyRun, device: str) -> None:
        with pytest.raises(TextgenError):
            self.provided.load().open(run.artifact, run.make_model, device)

    def test_it_diagnoses_this_machine(self) -> None:
        checks = self.provided.load().diagnose()
        assert isinstance(checks, list)
        assert all(isinstance(check, Check) for check in checks)
