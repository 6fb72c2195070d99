"""The graphs compute what NumPy computes: logits, states, greedy and sampled text."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgen import api
from textgen.model.network import GATES, RecurrentNetwork
from textgen.model.state import State
from textgen.saved_run import SavedRun
from textgen_numpy.runtime import NumpyRuntime
from textgen_onnx.contract import Description
from textgen_onnx.graphs.reading import read_weights
from textgen_onnx.graphs.step import build_step
from textgen_onnx.graphs.weights import GraphWeights
from textgen_onnx.running.session import open_session

#: Cell, layers, width of the embedding (none for one-hot), vocabulary, rows.
STACKS = [
    ("gru", 1, 3, 2, 1),
    ("gru", 2, 3, 7, 65),
    ("gru", 3, 3, 66, 2),
    ("gru", 1, None, 300, 16),
    ("gru", 2, None, 2, 33),
    ("gru", 3, None, 29, 1),
    ("lstm", 1, 3, 300, 1),
    ("lstm", 2, 3, 2, 17),
    ("lstm", 3, 3, 31, 65),
    ("lstm", 1, None, 84, 65),
    ("lstm", 2, None, 300, 3),
    ("lstm", 3, None, 2, 1),
]


def random_ids(vocab: int, rows: int, steps: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, vocab, (rows, steps)).astype(np.int32)


def assert_states_agree(state: State, expected: State) -> None:
    assert set(state) == set(expected)
    for name, array in expected.items():
        assert state[name].dtype == np.float32
        np.testing.assert_allclose(state[name], array, atol=1e-4)


@pytest.mark.parametrize(("cell", "layers", "width", "vocab", "rows"), STACKS)
def test_logits_over_a_thousand_steps(exported, cell, layers, width, vocab, rows):
    made = exported(cell, layers=layers, width=width, vocab=vocab)
    assert_logits_agree(made, random_ids(vocab, rows, 1000))


def test_logits_of_a_wide_stack(exported):
    assert_logits_agree(exported("gru", width=64, vocab=66, units=300), random_ids(66, 2, 1000))


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_layers_of_different_widths(cell, precision, rounding):
    """The bundled models have layers of one width, those of a plugin may not; a graph returns its weights."""
    rng = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {}
    width = 11
    for index, units in enumerate((5, 8, 3)):
        columns = GATES[cell] * units
        shapes[f"layers.{index}.kernel"] = (width, columns)
        shapes[f"layers.{index}.recurrent_kernel"] = (units, columns)
        shapes[f"layers.{index}.bias"] = (2, columns) if cell == "gru" else (columns,)
        width = units
    shapes |= {"head.kernel": (3, 11), "head.bias": (11,)}
    network = RecurrentNetwork.from_tensors(cell, {name: rng.normal(size=shape) for name, shape in shapes.items()})
    weights = GraphWeights.from_network(network, precision)
    model = build_step(weights).SerializeToString()
    again = read_weights(model, Description(via="weights", cell=cell, units=[5, 8, 3], precision=precision), 11)
    assert set(again.tensors) == set(weights.tensors)
    for name, array in weights.tensors.items():
        np.testing.assert_array_equal(again.tensors[name], array)

    numpy = NumpyRuntime(network)
    ids, start = random_ids(11, 4, 30), numpy.initial_state(4)
    feeds = {"ids": ids.astype(np.int64), "lengths": np.full(4, 30)}
    feeds |= {f"past.{name}": array for name, array in start.items()}
    (logits,) = open_session(model, "step", "cpu").run(["logits"], feeds)
    expected, _ = numpy.forward(ids, start)
    np.testing.assert_allclose(logits, expected, atol={"fp32": rounding, "fp16": 0.02, "int8": 0.5}[precision])


def assert_logits_agree(made, ids: np.ndarray) -> None:
    states = [runtime.initial_state(len(ids)) for runtime in (made.onnx, made.numpy)]
    spread = 0.0
    for part in np.array_split(ids, 9, axis=1):
        (logits, states[0]), (expected, states[1]) = (
            runtime.forward(part, state) for runtime, state in zip((made.onnx, made.numpy), states, strict=True)
        )
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, expected, atol=1e-4, rtol=0)
        spread = max(spread, float(expected.std()))
    assert spread > 0.2  # otherwise any two networks would agree
    assert_states_agree(*states)


@pytest.fixture(scope="session", params=["gru", "lstm"])
def stack(request, exported):
    """An export of two layers over 30 ids."""
    return exported(request.param, layers=2)


def random_state(runtime, rows: int) -> State:
    """Numbers between -1 and 1, as in the states that layers leave."""
    rng = np.random.default_rng(rows)
    shapes = {name: array.shape for name, array in runtime.initial_state(rows).items()}
    return State({name: np.tanh(rng.normal(size=shape)).astype(np.float32) for name, shape in shapes.items()})


lengths_of_rows = st.lists(st.integers(0, 12), min_size=1, max_size=65)


@settings(max_examples=60)
@given(lengths=lengths_of_rows, padding=st.integers(0, 3))
def test_prompts_of_any_lengths(stack, lengths, padding):
    rows, time = len(lengths), max(lengths) + padding
    ids, counts = random_ids(30, rows, time), np.array(lengths, np.int32)
    start = random_state(stack.numpy, rows)
    logits, state = stack.onnx.forward(ids, start, counts)
    expected, expected_state = stack.numpy.forward(ids, start, counts)
    read = np.arange(time) < counts[:, None]
    np.testing.assert_allclose(logits[read], expected[read], atol=1e-4, rtol=0)
    assert_states_agree(state, expected_state)
    assert_states_agree(stack.onnx.prefill(ids, start, counts), expected_state)


def test_empty_prompts_leave_the_state_as_it_is(stack):
    start = random_state(stack.numpy, 3)
    for time, lengths in ((0, None), (4, np.zeros(3, np.int32))):
        logits, state = stack.onnx.forward(random_ids(30, 3, time), start, lengths)
        assert logits.shape == (3, time, 30)
        for name, array in start.items():
            np.testing.assert_array_equal(state[name], array)


@settings(max_examples=40)
@given(cuts=st.lists(st.integers(0, 40), max_size=4).map(sorted), rows=st.integers(1, 5))
def test_a_text_in_parts_is_the_text_at_once(stack, cuts, rows, rounding):
    ids, start = random_ids(30, rows, 40), random_state(stack.numpy, rows)
    whole, end = stack.onnx.forward(ids, start)
    state, parts = start, []
    for part in np.split(ids, cuts, axis=1):
        logits, state = stack.onnx.forward(part, state)
        parts.append(logits)
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=rounding)
    assert_states_agree(state, end)


@settings(max_examples=30)
@given(rows=st.integers(2, 65), data=st.data())
def test_a_row_alone_is_the_row_in_a_batch(stack, rows, data, rounding):
    row = data.draw(st.integers(0, rows - 1))
    ids, start = random_ids(30, rows, 9), random_state(stack.numpy, rows)
    logits, state = stack.onnx.forward(ids, start)
    alone, state_alone = stack.onnx.forward(ids[[row]], start.select([row]))
    np.testing.assert_allclose(alone[0], logits[row], atol=rounding)
    assert_states_agree(state_alone, state.select([row]))


def test_a_state_never_changes(stack):
    start = random_state(stack.numpy, 2)
    before = start.copy()
    _, first = stack.onnx.forward(random_ids(30, 2, 5), start)
    kept = first.copy()
    stack.onnx.forward(random_ids(30, 2, 5, seed=1), first)
    stack.onnx.forward(random_ids(30, 2, 5, seed=2), start)
    for state, expected in ((start, before), (first, kept)):
        for name, array in expected.items():
            np.testing.assert_array_equal(state[name], array)


def test_arrays_of_any_memory_order(stack):
    ids, start = random_ids(30, 40, 7), random_state(stack.numpy, 40)
    expected, _ = stack.onnx.forward(ids, start)
    columns = State({name: np.asfortranarray(array) for name, array in start.items()})
    for _ in range(20):
        logits, _ = stack.onnx.forward(np.asfortranarray(ids), columns)
        np.testing.assert_array_equal(logits, expected)


@pytest.mark.parametrize(("cell", "layers", "width", "vocab"), [stack[:4] for stack in STACKS[::2]])
def test_greedy_text_of_a_thousand_characters(exported, cell, layers, width, vocab):
    made = exported(cell, layers=layers, width=width, vocab=vocab)
    run, prompt = made.run, chr(0x4E00 + vocab // 2) * 3
    texts = [
        api.load(run.path, runtime=runtime, device="cpu").generate(prompt, sampler="greedy", length=1000)
        for runtime in ("numpy", "onnx")
    ]
    assert len(texts[0]) == 1003
    assert texts[0] == texts[1]
    # The two likeliest ids are never so close that rounding, and with it the processor, could decide between them.
    ids = SavedRun.open(run.path).tokenizer().encode(texts[0])[None]
    logits, _ = made.numpy.forward(ids, made.numpy.initial_state(1))
    second, first = np.sort(logits[0, 2:-1], axis=1)[:, -2:].T
    assert (first - second).min() > 5e-4


@pytest.mark.parametrize(
    ("cell", "sampler"),
    [
        ("gru", "temperature(0.8) | multinomial"),
        ("lstm", "temperature(0.8) | multinomial"),
        ("gru", "temperature(1.3) | top-k(12) | top-p(0.95) | multinomial"),
        ("lstm", "repetition-penalty(1.2) | min-p(0.02) | multinomial"),
    ],
)
def test_one_seed_gives_one_text(texts, cell, sampler):
    written = [texts(cell, sampler, runtime) for runtime in ("numpy", "onnx")]
    assert len(set(written[0])) > 900  # the texts differ between rows
    # One text in a thousand may differ, where rounding decides a near tie.
    assert sum(ours == theirs for ours, theirs in zip(*written, strict=True)) >= 999
