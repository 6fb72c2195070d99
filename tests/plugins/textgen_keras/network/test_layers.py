"""The layers with their own gradient against Keras's layers, and against finite differences."""

import numpy as np
import pytest

pytestmark = [
    pytest.mark.keras,
    # tf.numpy_function outside a graph; textgen trains in graphs
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

TIME, BATCH = 40, 5  # more rows than the kernels' block of 128
RAGGED = [0, 1, 40, 3, 25]


@pytest.fixture(scope="module")
def tf():
    from textgen_keras.libraries import require_tensorflow

    require_tensorflow()
    import tensorflow

    return tensorflow


@pytest.fixture(autouse=True)
def on_the_cpu(tf):
    """Train on the CPU; on a GPU, Keras's own layers train."""
    with tf.device("/CPU:0"):
        yield


def make_network(cell, **options):
    from textgen_keras.network.options import RecurrentOptions
    from textgen_keras.network.recurrent import KerasNetwork

    vocab_size = options.pop("vocab_size", 11)
    if options.get("input") != "one-hot":
        options = {"embedding_dim": 6} | options
    network = KerasNetwork(cell, RecurrentOptions(**{"units": 8} | options), vocab_size, seed=3)
    rng = np.random.default_rng(4)
    for variable in network.named_variables().values():  # Keras's biases are 0: every part must count
        variable.assign(np.asarray(variable) + rng.normal(0, 0.2, variable.shape))
    return network


def results(tf, network, read, lengths):
    """The logits that count, the states, and the gradients of a loss by weights and initial states."""
    rng = np.random.default_rng(5)
    ids = rng.integers(0, network.vocab_size, (BATCH, TIME)).astype(np.int32)
    state = [tf.Variable(rng.normal(0, 1, (BATCH, s.shape[1])).astype(np.float32)) for s in network.state_signature]
    counts = np.ones((BATCH, TIME), bool) if lengths is None else np.arange(TIME) < np.array(lengths)[:, None]
    mix = rng.normal(0, 1, (BATCH, TIME, network.vocab_size)).astype(np.float32) * counts[:, :, None]
    variables = [v.value for v in network.named_variables().values()]

    @tf.function(autograph=False)
    def differentiate():
        with tf.GradientTape() as tape:
            logits, after = read(ids, [tf.convert_to_tensor(s) for s in state], lengths and np.array(lengths, np.int32))
            loss = tf.reduce_sum(mix * logits)
        gradients = tape.gradient(loss, [*variables, *state])
        return logits, after, [tf.convert_to_tensor(gradient) for gradient in gradients]

    logits, after, gradients = differentiate()
    return [logits.numpy()[counts], *(a.numpy() for a in after), *(g.numpy() for g in gradients)]


@pytest.fixture
def choose(monkeypatch):
    """Choose one of the two ways in which a layer trains on a CPU."""
    from textgen_keras.network import layers

    def choose(way):
        monkeypatch.setattr(layers, "LARGEST_COMPILED", {"compiled": 2**40, "loops": 0}[way])

    return choose


@pytest.fixture(params=["compiled", "loops"])
def way(request, choose):
    choose(request.param)


# Each case reaches code that the others do not: a look-up in a table of all gates or after it, a head of its own or the
# embedding, a second layer, and sizes that are not whole tiles of the kernels.
@pytest.mark.parametrize(
    ("options", "lengths"),
    [
        ({}, None),
        ({}, RAGGED),
        ({"units": 70, "vocab_size": 300}, RAGGED),
        ({"layers": 2, "input": "one-hot"}, RAGGED),
        ({"vocab_size": 1500}, RAGGED),
        ({"vocab_size": 1500, "input": "one-hot"}, RAGGED),
        ({"tie_weights": True, "embedding_dim": 8}, RAGGED),
    ],
    ids=str,
)
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_outputs_states_and_gradients_equal_those_of_keras_layers(tf, choose, cell, options, lengths):
    network = make_network(cell, **options)
    theirs = results(tf, network, network, lengths)
    for way in ("compiled", "loops"):
        choose(way)
        ours = results(tf, network, lambda ids, state, n: network.learn(ids, state, n, None), lengths)
        for mine, expected in zip(ours, theirs, strict=True):
            assert np.abs(mine - expected).max() <= 1e-5 * np.abs(expected).max(), way


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_the_gradient_in_double_precision_equals_finite_differences(tf, way, cell):
    from textgen_keras.network import layers

    units, gates = 3, {"gru": 3, "lstm": 4}[cell]
    rng = np.random.default_rng(6)
    inputs = rng.normal(0, 1, (4, 2, 5))
    shapes: dict[str, tuple[int, ...]] = {"kernel": (5, gates * units), "recurrent": (units, gates * units)}
    shapes["bias"] = (2, gates * units) if cell == "gru" else (gates * units,)
    parts = [rng.normal(0, 0.5, shape) for shape in shapes.values()]
    state = [rng.normal(0, 1, (2, units)) for _ in range(1 if cell == "gru" else 2)]
    mix = rng.normal(0, 1, (4, 2, units))

    @tf.function(autograph=False)
    def loss(kernel, recurrent, bias, *state):
        def project(columns, offset):
            return tf.einsum("tbi,ij->tbj", tf.constant(inputs), columns) + offset

        outputs, _ = layers.run_layer(cell, project, list(state), recurrent, kernel, bias)
        return tf.reduce_sum(mix * outputs)

    analytic, numeric = tf.test.compute_gradient(loss, [tf.constant(a) for a in (*parts, *state)], delta=1e-5)
    for ours, expected in zip(analytic, numeric, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("options", [{"layers": 2}, {"tie_weights": True, "embedding_dim": 8}], ids=str)
@pytest.mark.parametrize("lengths", [None, RAGGED])
def test_the_loss_is_the_cross_entropy_of_the_logits_and_so_is_its_gradient(tf, options, lengths):
    from textgen_keras.stateful_network import StatefulNetwork

    network = make_network("gru", **options)
    rng = np.random.default_rng(9)
    ids, targets = rng.integers(0, network.vocab_size, (2, BATCH, TIME)).astype(np.int32)
    weights = rng.integers(0, 2, (BATCH, TIME)).astype(np.float32) / 3
    variables = [variable.value for variable in network.named_variables().values()]

    def results(nats):
        with tf.GradientTape() as tape:
            lengths_of_rows = lengths and np.array(lengths, np.int32)
            loss, after = nats(network, ids, targets, weights, network.initial_state(BATCH), lengths_of_rows, None)
        gradients = tape.gradient(loss, variables)
        return [np.asarray(tf.convert_to_tensor(tensor)) for tensor in (loss, *after, *gradients)]

    pairs = zip(results(type(network).nats), results(StatefulNetwork.nats), strict=True)
    assert all(np.abs(ours - expected).max() <= 1e-5 * np.abs(expected).max() for ours, expected in pairs)


@pytest.mark.parametrize(("largest", "is_compiled"), [(8 * 24 * 4, True), (8 * 24 * 4 - 1, False)])
def test_a_kernel_larger_than_a_cache_is_left_to_tensorflow(tf, monkeypatch, largest, is_compiled):
    from textgen_keras.network import layers
    from textgen_keras.network.compiled import compiled_gru

    calls: list = []

    def counted(*tensors):
        calls.append(tensors)
        return compiled_gru(*tensors)

    monkeypatch.setattr(layers, "compiled_gru", counted)
    monkeypatch.setattr(layers, "LARGEST_COMPILED", largest)  # the kernel has units by gates float32 numbers
    network = make_network("gru")
    network.learn(np.zeros((BATCH, TIME), np.int32), network.initial_state(BATCH), None, None)
    assert bool(calls) == is_compiled


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_weight_dropout_drops_recurrent_weights_by_the_seed(tf, cell):
    network = make_network(cell, weight_dropout=0.5)
    kernel = network.named_variables()["layers.0.recurrent_kernel"].value
    ids = np.random.default_rng(7).integers(0, 11, (BATCH, TIME)).astype(np.int32)

    def gradient(seed):
        with tf.GradientTape() as tape:
            logits, _ = network.learn(ids, network.initial_state(BATCH), None, np.array(seed, np.int64))
            loss = tf.reduce_sum(logits**2)
        return tape.gradient(loss, kernel).numpy()

    first = gradient([1, 2])
    assert 0.3 < (first == 0).mean() < 0.7
    np.testing.assert_array_equal(first, gradient([1, 2]))
    assert ((first == 0) != (gradient([1, 3]) == 0)).any()
    logits = network.learn(ids, network.initial_state(BATCH), None, None)[0]
    np.testing.assert_allclose(logits, network(ids, network.initial_state(BATCH))[0], atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"input": "one-hot"}, {"vocab_size": 1500}], ids=str)
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_input_weight_dropout_is_keras_layers_with_weights_that_are_zero_or_scaled(tf, way, cell, options):
    network = make_network(cell, layers=2, input_weight_dropout=0.3, **options)
    plain = make_network(cell, layers=2, **options)
    ids = np.random.default_rng(7).integers(0, 11, (BATCH, TIME)).astype(np.int32)
    kernels = [network.named_variables()[f"layers.{index}.kernel"].value for index in range(2)]

    def learn(seed):
        with tf.GradientTape() as tape:
            logits, after = network.learn(ids, network.initial_state(BATCH), None, np.array(seed, np.int64))
            loss = tf.reduce_sum(logits**2)
        kept = [gradient.numpy() != 0 for gradient in map(tf.convert_to_tensor, tape.gradient(loss, kernels))]
        return [logits, *after], kept

    ours, kept = learn([1, 2])
    assert all(0.55 < each.mean() < 0.85 for each in kept)
    tensors = plain.tensors()
    plain.set_tensors(tensors | {f"layers.{i}.kernel": tensors[f"layers.{i}.kernel"] * kept[i] / 0.7 for i in range(2)})
    logits, after = plain(ids, plain.initial_state(BATCH))
    for mine, expected in zip(ours, [logits, *after], strict=True):
        np.testing.assert_allclose(mine, expected, rtol=1e-5, atol=1e-5)
    assert all((a == b).all() for a, b in zip(kept, learn([1, 2])[1], strict=True))
    assert all((a != b).any() for a, b in zip(kept, learn([1, 3])[1], strict=True))


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_the_weights_that_are_dropped_from_each_kernel_are_independent(tf, cell):
    network = make_network(cell, layers=2, embedding_dim=8, weight_dropout=0.5, input_weight_dropout=0.5)
    names = [f"layers.{index}.{kernel}" for index in range(2) for kernel in ("kernel", "recurrent_kernel")]
    variables = [network.named_variables()[name].value for name in names]
    ids = np.random.default_rng(7).integers(0, 11, (BATCH, TIME)).astype(np.int32)
    with tf.GradientTape() as tape:
        logits, _ = network.learn(ids, network.initial_state(BATCH), None, np.array([1, 2], np.int64))
        loss = tf.reduce_sum(logits**2)
    kept = [gradient.numpy().ravel() != 0 for gradient in tape.gradient(loss, variables)]
    assert np.abs(np.corrcoef(kept)[np.triu_indices(4, 1)]).max() < 0.4  # 192 weights: 5 standard errors are 0.36


@pytest.mark.parametrize("read", ["call", "learn"])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_mixed_precision_multiplies_in_bfloat16_and_keeps_float32(tf, cell, read):
    network = make_network(cell, layers=2)
    ids = np.random.default_rng(8).integers(0, 11, (BATCH, TIME)).astype(np.int32)
    state = network.initial_state(BATCH)
    exact, _ = network(ids, state)
    network.use_mixed_precision()
    assert network.recurrent[0].compute_dtype == "bfloat16"
    with tf.GradientTape() as tape:
        logits, after = getattr(network, read)(ids, state, np.array(RAGGED, np.int32), None)
        loss = tf.reduce_mean(logits**2)
    variables = [variable.value for variable in network.named_variables().values()]
    assert {value.dtype for value in (logits, *after, *variables)} == {tf.float32}
    assert all(np.isfinite(tf.convert_to_tensor(g)).all() for g in tape.gradient(loss, variables))
    difference = np.abs(logits - exact)[np.arange(TIME) < np.array(RAGGED)[:, None]]
    assert 0 < difference.max() < 0.05 * np.abs(exact).max()


@pytest.mark.parametrize("multiplies", [True, False])
def test_mixed_precision_needs_a_processor_that_multiplies_in_bfloat16(make_run, stream, monkeypatch, multiplies):
    from textgen.errors import OptionError
    from textgen.text.batches import Dataset, Windows
    from textgen_keras import keras_model
    from textgen_keras.models import GRU
    from textgen_keras.network.options import RecurrentOptions

    monkeypatch.setattr(keras_model, "multiplies_bfloat16", lambda device: multiplies)
    dataset = Dataset(Windows(stream, 10, 8))
    run = make_run(dataset, epochs=1, mixed_precision=True, device="cpu")
    model = GRU(RecurrentOptions(units=4), 5)
    if multiplies:
        model.fit(dataset, run)
        assert np.isfinite(run.losses).all()
    else:
        with pytest.raises(OptionError, match="needs a GPU, or a CPU with bfloat16 products"):
            model.fit(dataset, run)
