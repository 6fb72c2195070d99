import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from textgen.errors import ArtifactError
from textgen.model.state import State, StateSpec, TensorSpec

DTYPES = ("float32", "float16", "int32", "int64")

tensor_specs = st.builds(
    TensorSpec,
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8),
    st.lists(st.integers(0, 4), max_size=3).map(tuple),
    st.sampled_from(DTYPES),
    st.integers(-9, 9).map(float),
)
specs = st.lists(tensor_specs, min_size=1, max_size=4, unique_by=lambda tensor: tensor.name).map(
    lambda tensors: StateSpec(tuple(tensors))
)


@st.composite
def states(draw):
    rows = draw(st.integers(1, 5))
    spec = draw(specs)
    return State({t.name: draw(arrays.arrays(t.dtype, (rows, *t.shape))) for t in spec.tensors})


def equal(a: State, b: State) -> bool:
    return list(a) == list(b) and all(
        np.array_equal(a[name], b[name], equal_nan=a[name].dtype.kind == "f") and a[name].dtype == b[name].dtype
        for name in a
    )


@given(specs, st.integers(1, 4))
def test_the_initial_state_follows_the_spec(spec, batch):
    state = spec.initial_state(batch)
    spec.check(state)
    assert state.batch == batch
    for tensor in spec.tensors:
        assert state[tensor.name].shape == (batch, *tensor.shape)
        assert state[tensor.name].dtype == tensor.dtype
        assert (state[tensor.name] == tensor.initial).all()


@given(specs)
def test_a_spec_survives_json(spec):
    assert StateSpec.from_json(spec.to_json()) == spec


@given(states(), st.data())
@settings(max_examples=40)
def test_select_returns_the_rows_in_order(state, data):
    rows = data.draw(st.lists(st.integers(0, state.batch - 1), max_size=6))
    taken = state.select(rows)
    for name in state:
        assert len(taken[name]) == len(rows)
        for position, row in enumerate(rows):
            np.testing.assert_array_equal(taken[name][position], state[name][row])


@given(states(), st.data())
@settings(max_examples=40)
def test_concat_undoes_select(state, data):
    cut = data.draw(st.integers(0, state.batch))
    parts = [state.select(range(cut)), state.select(range(cut, state.batch))]
    assert equal(State.concat(parts), state)


@given(states(), st.data())
@settings(max_examples=40)
def test_replaced_rows_have_the_other_values_and_the_rest_its_own(state, data):
    rows = data.draw(st.lists(st.integers(0, state.batch - 1), unique=True) if state.batch else st.just([]))
    other = State({name: array[rows][::-1] for name, array in state.items()})
    before, found = state.copy(), state.replaced(rows, other)
    for name, array in found.items():
        expected = list(before[name])
        for row, values in zip(rows, other[name], strict=True):
            expected[row] = values
        np.testing.assert_array_equal(array, np.array(expected, array.dtype).reshape(array.shape))
        np.testing.assert_array_equal(state[name], before[name])


@given(states())
@settings(max_examples=40)
def test_returned_states_do_not_share_memory(state):
    others = [state.copy(), state.select(range(state.batch)), State.concat([state]), State.concat([state, state])]
    for other in others:
        for name in state:
            assert not np.shares_memory(state[name], other[name])


def test_a_state_copies_the_mapping_it_is_made_from():
    arrays = {"h": np.zeros((1, 2), np.float32)}
    state = State(arrays)
    arrays["c"] = np.zeros((1, 2), np.float32)
    assert list(state) == ["h"]


@given(state=states())
@settings(max_examples=40)
def test_from_bytes_is_the_inverse_of_to_bytes(state):
    loaded, metadata = State.from_bytes(state.to_bytes({"step": "7", "ünïcode": "ja"}), "it")
    assert metadata == {"step": "7", "ünïcode": "ja"}
    assert equal(State({name: loaded[name] for name in state}), state)
    assert len(loaded) == len(state)


def test_a_strided_array_is_saved_by_its_values():
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(State.from_bytes(State({"h": array.T}).to_bytes(), "it")[0]["h"], array.T)


WRITTEN = State({"h": np.ones((2, 3), np.float32)}).to_bytes()


@pytest.mark.parametrize("content", [b"", b"{}", b"\x08" + b"\0" * 7 + b"not json", b"x" * 100, WRITTEN[:-1]])
def test_bytes_that_are_not_a_state_are_refused(content):
    with pytest.raises(ArtifactError, match="it is not a readable safetensors file"):
        State.from_bytes(content, "it")


@pytest.mark.parametrize(
    "state",
    [
        State({}),
        State({"h": np.zeros((2, 4), np.float32)}),
        State({"h": np.zeros((2, 3), np.float64)}),
        State({"g": np.zeros((2, 3), np.float32)}),
        State({"h": np.zeros((2, 3), np.float32), "c": np.zeros((2, 3), np.float32)}),
    ],
)
def test_check_refuses_a_state_that_does_not_fit(state):
    spec = StateSpec((TensorSpec("h", (3,)),))
    spec.check(State({"h": np.zeros((5, 3), np.float32)}))
    with pytest.raises(ArtifactError, match="the state does not fit the model"):
        spec.check(state)


def test_a_model_without_state_does_not_count_rows():
    assert StateSpec(()).initial_state(3).batch == 0
