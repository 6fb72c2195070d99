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
def test_load_is_the_inverse_of_save(tmp_path_factory, state):
    path = tmp_path_factory.mktemp("state") / "new" / "state.safetensors"
    state.save(path, {"step": "7", "ünïcode": "ja"})
    loaded, metadata = State.load(path)
    assert metadata == {"step": "7", "ünïcode": "ja"}
    assert equal(State({name: loaded[name] for name in state}), state)
    assert len(loaded) == len(state)


def test_a_strided_array_is_saved_by_its_values(tmp_path):
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    State({"h": array.T}).save(tmp_path / "s")
    np.testing.assert_array_equal(State.load(tmp_path / "s")[0]["h"], array.T)


@pytest.mark.parametrize("content", [b"", b"{}", b"\x08" + b"\0" * 7 + b"not json", b"x" * 100])
def test_a_file_that_is_not_a_state_is_refused(tmp_path, content):
    path = tmp_path / "state.safetensors"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="is not a readable safetensors file"):
        State.load(path)


def test_a_truncated_or_missing_file_is_refused(tmp_path):
    path = tmp_path / "state.safetensors"
    with pytest.raises(ArtifactError, match="is missing"):
        State.load(path)
    State({"h": np.ones((2, 3), np.float32)}).save(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match="is not a readable safetensors file"):
        State.load(path)
    with pytest.raises(ArtifactError):
        State.load(tmp_path)


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
