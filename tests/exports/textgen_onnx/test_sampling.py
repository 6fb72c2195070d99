"""Samplers in the graphs draw the same ids as in NumPy."""

import subprocess
import sys
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from textgen import api, hookimpl
from textgen.options import Options
from textgen.plugins.registry import plugins
from textgen.sampling.draw import Draw, uniforms
from textgen.sampling.sampler import RankSampler, Sampler, Selector, ThresholdSampler
from textgen.testing import registered
from textgen_onnx.graphs.builder import BOOL, FLOAT, INT64, Graph, Value

V = 9
LINKS = {
    "temperature": st.one_of(st.sampled_from([0.0, 1e-40]), st.floats(2**-10, 2**13, width=32)),
    "top-k": st.integers(1, 2 * V),
    "top-p": st.one_of(st.just(1.0), st.floats(2**-16, 1, width=32)),
    "min-p": st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1, width=32)),
    "repetition-penalty": st.floats(0.125, 8, width=32),
}

#: Samplers alone, in the usual order, in an unusual order, and twice.
CHAINS = [
    "greedy",
    "multinomial",
    "temperature({t}) | multinomial",
    "top-k({k}) | multinomial",
    "top-p({p}) | multinomial",
    "min-p({m}) | multinomial",
    "repetition-penalty({r}) | greedy",
    "repetition-penalty({r}) | multinomial",
    "repetition-penalty({r}) | temperature({t}) | top-k({k}) | top-p({p}) | min-p({m}) | multinomial",
    "min-p({m}) | top-p({p}) | top-k({k}) | temperature({t}) | repetition-penalty({r}) | multinomial",
    "temperature({t}) | temperature({r}) | top-k({k}) | top-k(7) | greedy",
]

#: Numbers that differ between rows: no effect at all, greedy, usual.
NUMBERS = [
    {"t": 1.0, "k": 1000, "p": 1.0, "m": 0.0, "r": 1.0},
    {"t": 0.0, "k": 1, "p": 1e-6, "m": 1.0, "r": 3.0},
    {"t": 0.7, "k": 12, "p": 0.9, "m": 0.05, "r": 1.2},
    {"t": 2.0, "k": 29, "p": 0.6, "m": 0.3, "r": 0.8},
]

#: Some values are frequent, for ties; -inf excludes an id.
logit = st.one_of(st.floats(-20, 20, width=32), st.sampled_from([-1.5, 0.0, 2.0, -np.inf]))


@st.composite
def batches(draw, rows: int = 3) -> np.ndarray:
    logits: np.ndarray = draw(arrays(np.float32, (rows, V), elements=logit))
    logits[~np.isfinite(logits).any(axis=1), 0] = 1
    return logits


def in_a_graph(name: str, vocab: int = V):
    """A bundled sampler or selector, and a session of the graph that it writes."""
    kind = plugins().get("sampler", name)
    part = kind(kind.Options())
    graph = Graph({}, vocab)
    logits = graph.input("logits", FLOAT, ("batch", vocab))
    if isinstance(part, Selector):
        result = part.emit(graph, logits, graph.input("uniforms", FLOAT, ("batch", 1)))
        assert result is not None
        output = Value(graph.name(result, "result"), INT64, ("batch",))
    else:
        parameters = {each: graph.input(each, FLOAT, ("batch", 1)) for each in part.parameters}
        seen = graph.input("seen", BOOL, ("batch", vocab)) if part.uses_history else None
        result = part.emit(graph, logits, parameters, seen)
        assert result is not None
        output = Value(graph.name(result, "result"), FLOAT, ("batch", vocab))
    model = graph.model([output]).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return part, lambda **feeds: session.run(None, feeds)[0]


def boundary(name: str, logits: np.ndarray, value: np.ndarray) -> np.ndarray:
    """The distance of each id from the limit of the kept ones, in double precision; infinite if there is no limit."""
    exact = logits.astype(float)
    far = np.full(logits.shape, np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        if name == "min-p":
            far = np.abs(exact - (exact.max(axis=1, keepdims=True) + np.log(value.astype(float))))
        if name == "top-p":
            order = np.argsort(-exact, axis=1, kind="stable")
            shares = np.exp(np.take_along_axis(exact, order, axis=1) - exact.max(axis=1, keepdims=True))
            shares /= shares.sum(axis=1, keepdims=True)
            np.put_along_axis(far, order, np.abs(np.cumsum(shares, axis=1) - shares - value), axis=1)
    return far


@pytest.mark.parametrize("name", sorted(LINKS))
def test_each_sampler_alone(name):
    sampler, run = in_a_graph(name)

    @settings(max_examples=150)
    @given(logits=batches(), values=st.lists(LINKS[name], min_size=3, max_size=3), data=st.data())
    def check(logits, values, data):
        (parameter,) = sampler.parameters
        value = np.array(values, np.float32)[:, None]
        seen = data.draw(arrays(np.bool_, (3, V))) if sampler.uses_history else None
        expected = sampler.transform(logits, {parameter: value}, seen)
        found = run(logits=logits, **{parameter: value}, **({} if seen is None else {"seen": seen}))
        # Near the limit rounding decides. Logits are up to 20, and shares are sums of float32 numbers up to 1.
        sure = boundary(name, logits, value) > 1e-5
        np.testing.assert_array_equal(np.isneginf(found)[sure], np.isneginf(expected)[sure])
        both = np.isfinite(found) & np.isfinite(expected)
        # A sampler changes a logit by one product or quotient, rounded by 2**-24 = 6e-8 of it in either implementation;
        # 1 / x * y in place of y / x rounds twice.
        np.testing.assert_allclose(found[both], expected[both], rtol=1e-6)
        assert not np.isnan(found).any()

    check()


@pytest.mark.parametrize("name", ["greedy", "multinomial"])
def test_each_selector_alone(name):
    selector, run = in_a_graph(name)
    drawn = st.integers(0, 2**24 - 1).map(lambda n: n / 2**24)

    @settings(max_examples=150)
    @given(logits=batches(), values=st.lists(drawn, min_size=3, max_size=3))
    @example(logits=np.zeros((3, V), np.float32), values=[0.0, 0.5, 1 - 2**-24])
    @example(logits=np.array([[-np.inf] * (V - 1) + [0]] * 3, np.float32), values=[0.0, 0.5, 1 - 2**-24])
    def check(logits, values):
        uniform = np.array(values, np.float32)
        expected = selector.select(logits, uniform)
        found = run(logits=logits, uniforms=uniform[:, None])
        weights = np.exp(logits.astype(float) - logits.max(axis=1, keepdims=True))
        shares = np.cumsum(weights, axis=1) / weights.sum(axis=1, keepdims=True)
        # Near a share rounding decides: exponential, sum and quotient are each off by some units of 2**-24 = 6e-8.
        sure = np.abs(shares - uniform[:, None]).min(axis=1) > 1e-6
        if name == "greedy":
            sure[:] = True
        np.testing.assert_array_equal(found[sure], expected[sure])
        assert np.isfinite(logits[np.arange(3), found]).all()

    check()


@pytest.mark.parametrize("size", [2, 3, 10, 64, 300])
def test_ties_at_every_share(size):
    """Equal logits: the first ids of a share, for every share that ends between two ids."""
    sampler, run = in_a_graph("top-p", size)
    logits = np.full((size, size), 0.25, np.float32)
    share = ((np.arange(size, dtype=np.float32) + 0.5) / size)[:, None]
    found = run(logits=logits, p=share)
    np.testing.assert_array_equal(found, sampler.transform(logits, {"p": share}, None))
    np.testing.assert_array_equal(np.isfinite(found), np.arange(size) <= np.arange(size)[:, None])


class Work:
    """Rows with one chain each, which continue from a state, in NumPy and in graphs."""

    def __init__(self, made, chain, text: str, rows: int, forbidden: tuple[int, ...] = ()) -> None:
        self.made = made
        self.chains = [chain(text.format(**NUMBERS[row % len(NUMBERS)])) for row in range(rows)]
        self.forbidden = forbidden
        self.last = np.arange(rows, dtype=np.int32) % made.onnx.vocab_size
        self.state = made.numpy.prefill(self.last[:, None], made.numpy.initial_state(rows))
        self.last = self.last[::-1].copy()

    def write(self, runtime, randoms: np.ndarray, rows=slice(None), cuts: tuple[int, ...] = ()) -> np.ndarray:
        """Ids of some rows, ``[steps, rows]``, in one call or, with cuts, in several."""
        picked = np.arange(len(self.last))[rows]
        draw = Draw([self.chains[row] for row in picked], runtime.vocab_size, self.forbidden)
        draw.note(np.arange(len(picked)), self.last[picked])
        last, state, parts = self.last[picked], self.state.select(picked), []
        for part in np.split(randoms[:, picked], cuts):
            block = runtime.generate(last, state, draw, part)
            last, state = block.ids[-1], block.state
            parts.append(block.ids)
            assert block.ids.dtype == np.int32
        self.seen = draw.seen
        return np.concatenate(parts)


@pytest.mark.parametrize("text", CHAINS)
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_chains_whose_rows_differ(exported, chain, cell, text):
    work = Work(exported(cell, layers=2), chain, text, rows=200, forbidden=(2, 17))
    randoms = uniforms(3, range(200), 1, 40)
    expected = work.write(work.made.numpy, randoms)
    seen = work.seen
    found = work.write(work.made.onnx, randoms)
    # One row in 200 may differ, where rounding decides a near tie.
    assert (found == expected).all(axis=0).sum() >= 199
    assert not np.isin(found, work.forbidden).any()
    assert len(np.unique(expected)) > 3
    if seen is not None:
        assert work.seen is not None
        np.testing.assert_array_equal(work.seen[(found == expected).all(axis=0)], seen[(found == expected).all(axis=0)])


@pytest.mark.parametrize("text", CHAINS[-3:])
def test_a_row_draws_the_same_alone_in_chunks_and_in_a_batch(exported, chain, text):
    work = Work(exported("lstm", layers=2), chain, text, rows=30)
    randoms = uniforms(4, range(30), 1, 24)
    whole = work.write(work.made.onnx, randoms)
    np.testing.assert_array_equal(work.write(work.made.onnx, randoms, cuts=(1, 2, 10)), whole)
    for row in (0, 1, 2, 3, 29):
        np.testing.assert_array_equal(work.write(work.made.onnx, randoms, [row], cuts=(5,))[:, 0], whole[:, row])


@pytest.mark.parametrize("chunk", [1, 3, 16, 64, 1000])
def test_the_chunk_does_not_change_the_text(exported, chunk):
    generator = api.load(exported("lstm", tokenizer="char-eos").run.path, runtime="onnx", device="cpu")
    options: dict[str, Any] = {
        "num": 12,
        "length": 50,
        "seed": 9,
        "sampler": "repetition-penalty(1.3) | top-p(0.9) | multinomial",
    }
    assert generator.generate("The", chunk=chunk, **options) == generator.generate("The", **options)
    assert "".join(generator.stream("The", **options | {"num": 1}, chunk=chunk)) == generator.generate(
        "The", **options | {"num": 1}
    )


class Doubling(Sampler):
    """Cannot write itself into a graph."""

    def transform(self, logits, parameters, seen):
        return logits * 2


class NthOptions(Options):
    n: int = 1


class Nth(Selector):
    """The n-th likeliest id: a selector with an option of its own."""

    Options = NthOptions
    options: NthOptions

    def select(self, logits, uniforms):
        return np.argsort(-logits, axis=1, kind="stable")[:, self.options.n].astype(np.int32)

    def emit(self, graph, logits, uniforms):
        _, ids = graph.add_multiple("TopK", 2, logits, graph.constant(np.array([graph.vocab_size])), axis=1)
        return graph.add("Gather", ids, graph.constant(np.int64(self.options.n)), axis=1)


class Half(RankSampler):
    """Keeps the likelier half of the ids."""

    def keep(self, ranked, parameters):
        return np.arange(ranked.shape[1]) < ranked.shape[1] // 2

    def emit_count(self, graph, parameters, left):
        return graph.constant(np.array([[graph.vocab_size // 2]], np.float32))

    def emit_keep(self, graph, ranked, ranks, parameters):
        return graph.add("Less", ranks, graph.constant(np.array([[graph.vocab_size // 2]], np.float32)))


class Near(ThresholdSampler):
    """Keeps ids at most 2 below the best."""

    def threshold(self, best, parameters):
        return best - np.float32(2)

    def emit_threshold(self, graph, best, parameters):
        return graph.add("Sub", best, graph.constant(np.float32(2)))


class Plugin:
    @hookimpl
    def textgen_register_samplers(self, register):
        register("doubling", Doubling)
        register("nth", Nth)
        register("half", Half)
        register("near", Near)


@pytest.fixture
def more_samplers():
    with registered(Plugin()):
        yield


def test_a_sampler_without_a_graph_runs_outside_of_the_graph(exported, more_samplers, capsys):
    run = exported("gru").run
    options: dict[str, Any] = {
        "length": 40,
        "seed": 2,
        "sampler": "doubling | temperature(1.1) | multinomial",
        "chunk": 8,
    }
    expected = api.load(run.path, runtime="numpy").generate("The", **options)
    generator = api.load(run.path, runtime="onnx", device="cpu")
    capsys.readouterr()
    assert generator.generate("The", **options) == expected
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert "doubling cannot be written into an ONNX graph" in printed.err
    assert generator.generate("The", **options) == expected
    assert capsys.readouterr().err == ""


def test_options_of_a_selector_are_part_of_the_graph(make_run, tmp_path, more_samplers):
    run = make_run(tmp_path / "run", sampler="nth(1)")
    api.export(run.path)
    for sampler in ("nth(1)", "nth(4)", "nth(0)", "greedy", "nth(4)"):
        texts = [
            api.load(run.path, runtime=runtime, device="cpu").generate("The", length=20, sampler=sampler)
            for runtime in ("numpy", "onnx")
        ]
        assert texts[0] == texts[1], sampler


@pytest.mark.parametrize(
    "chain", ["half | multinomial", "near | multinomial", "top-p(0.99) | near | half | min-p(0.01) | multinomial"]
)
def test_ranks_and_thresholds_of_a_plugin(exported, more_samplers, capsys, chain):
    run = exported("gru").run
    texts = [
        api.load(run.path, runtime=runtime, device="cpu").generate("The", length=60, seed=4, num=5, sampler=chain)
        for runtime in ("numpy", "onnx")
    ]
    assert texts[0] == texts[1]
    assert "cannot be written" not in capsys.readouterr().err


def test_a_run_whose_chain_cannot_be_exported(make_run, tmp_path, more_samplers, textgen):
    run = make_run(tmp_path / "run", sampler="doubling | multinomial")
    done = textgen("export", "--onnx", run.path)
    assert done.code == 0
    assert "no generate.onnx is written" in done.err
    assert not (run.path / "onnx" / "generate.onnx").exists()
    for sampler in (None, "multinomial"):  # the second can be built
        texts = [
            api.load(run.path, runtime=runtime, device="cpu").generate("The", length=20, seed=1, sampler=sampler)
            for runtime in ("numpy", "onnx")
        ]
        assert texts[0] == texts[1]


@pytest.mark.parametrize(("sampler", "needs_onnx"), [("temperature(0.3) | multinomial", False), ("greedy", True)])
def test_the_package_onnx_is_needed_only_for_chains_other_than_the_exported_one(exported, sampler, needs_onnx):
    folder = str(exported("gru").run.path)
    program = f"""
import sys
from textgen import api
generator = api.load({folder!r}, runtime="onnx", device="cpu")
print(generator.generate("The", length=5, sampler={sampler!r}))
print("onnx" in sys.modules, sorted({{"tensorflow", "keras", "numba", "tf2onnx"}} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == f"{needs_onnx} []\n"
