"""The requirements for the forward pass of models and runtimes."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

import numpy as np
import pytest
from numpy.typing import NDArray

from textgen import State, StateSpec

Ids = NDArray[np.int32]


class Forward(Protocol):
    """The forward pass that :class:`textgen.Model` and :class:`textgen.Runtime` have in common."""

    @property
    def vocab_size(self) -> int:
        """The number of ids."""

    @property
    def state_spec(self) -> StateSpec:
        """The tensors of the state."""

    def forward(self, ids: Ids, state: State, lengths: Ids | None = None) -> tuple[NDArray[np.float32], State]:
        """Reads ids."""


def same(found: Any, expected: Any, tolerance: float) -> None:
    """Asserts that two arrays or states are equal within a tolerance."""
    if isinstance(expected, State):
        assert set(found) == set(expected)
        for name in expected:
            same(np.asarray(found[name]), expected[name], tolerance)
    else:
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


class ForwardCases:
    """Cases for the forward pass; a suite provides the fixture ``subject``.

    Attributes:
        tolerance: the largest difference between equal logits or states, since float32 sums depend on their order.
    """

    tolerance: ClassVar[float] = 1e-4

    @pytest.fixture
    def ids(self, subject: Forward) -> Ids:
        """Four rows of twelve ids."""
        return np.random.default_rng(7).integers(0, subject.vocab_size, (4, 12)).astype(np.int32)

    @pytest.fixture
    def start(self, subject: Forward, ids: Ids) -> State:
        """The initial state for the first row, and a state that has read ids for each other row."""
        fresh = subject.state_spec.initial_state(len(ids))
        used = subject.forward(ids[:, ::-1].copy(), fresh)[1]
        return State({name: np.concatenate([fresh[name][:1], np.asarray(used[name])[1:]]) for name in fresh})

    def test_logits_and_state_have_their_shapes(self, subject: Forward, ids: Ids, start: State) -> None:
        logits, state = subject.forward(ids, start)
        assert logits.shape == (*ids.shape, subject.vocab_size)
        assert logits.dtype == np.float32
        assert np.isfinite(logits).all()
        subject.state_spec.check(State({name: np.asarray(array) for name, array in state.items()}))
        assert StateSpec.from_json(subject.state_spec.to_json()) == subject.state_spec

    def test_reading_in_parts_is_reading_at_once(self, subject: Forward, ids: Ids, start: State) -> None:
        logits, state = subject.forward(ids, start)
        for cut in (1, 5, 11):
            first, between = subject.forward(ids[:, :cut], start)
            second, last = subject.forward(ids[:, cut:], between)
            same(np.concatenate([first, second], axis=1), logits, self.tolerance)
            same(last, state, self.tolerance)

    def test_a_row_alone_is_the_row_in_a_batch(self, subject: Forward, ids: Ids, start: State) -> None:
        logits, state = subject.forward(ids, start)
        for row in range(len(ids)):
            alone, after = subject.forward(ids[[row]], start.select([row]))
            same(alone[0], logits[row], self.tolerance)
            same(after, state.select([row]), self.tolerance)

    def test_padding_is_not_read(self, subject: Forward, ids: Ids, start: State) -> None:
        lengths = np.array([12, 5, 0, 1], np.int32)
        logits, state = subject.forward(ids, start, lengths)
        for row, length in enumerate(lengths):
            after = start.select([row])
            if length:
                alone, after = subject.forward(ids[[row], :length], after)
                same(logits[row, :length], alone[0], self.tolerance)
            same(state.select([row]), after, self.tolerance)

    def test_it_changes_nothing_and_remembers_nothing(self, subject: Forward, ids: Ids, start: State) -> None:
        read, state = ids.copy(), start.copy()
        first, first_state = subject.forward(ids, start)
        first, first_state = first.copy(), first_state.copy()
        subject.forward(ids[::-1].copy(), start)
        second, second_state = subject.forward(ids, start)
        same(second, first, self.tolerance)
        same(second_state, first_state, self.tolerance)
        np.testing.assert_array_equal(ids, read)
        same(start, state, 0)
