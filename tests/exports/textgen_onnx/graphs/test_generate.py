"""Samplers that share a graph: rows of several chains, and samplers that share one sort."""

from collections.abc import Callable, Iterator
from functools import cache
from itertools import permutations
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from textgen import emit_ranked
from textgen.plugins.registry import plugins
from textgen.sampling.draw import Draw, uniforms
from textgen.testing import OnnxGraph
from textgen_onnx.contract import parameter_feeds
from textgen_onnx.graphs.generate import build_block, build_generate
from textgen_onnx.graphs.weights import GraphWeights

FORBIDDEN, END, STEPS, ROWS = (0,), 1, 30, 16

#: Chains, and what the samplers of the full chain get in their place; all others get their neutral numbers.
CHAINS: dict[str, dict[str, float]] = {
    "multinomial": {},
    "greedy": {"top-k": 1},
    "temperature(0.7) | multinomial": {"temperature": 0.7},
    "temperature(1.3) | top-k(5) | multinomial": {"temperature": 1.3, "top-k": 5},
    "temperature(1.2) | top-p(0.8) | multinomial": {"temperature": 1.2, "top-p": 0.8},
    "repetition-penalty(1.3) | min-p(0.1) | multinomial": {"repetition-penalty": 1.3, "min-p": 0.1},
    "top-k(12) | top-p(0.9) | min-p(0.02) | multinomial": {"top-k": 12, "top-p": 0.9, "min-p": 0.02},
}
FULL = ("repetition-penalty", "temperature", "top-k", "top-p", "min-p")


def neutral(name: str) -> float:
    (number,) = plugins().get("sampler", name).neutral.values()  # type: ignore[union-attr]
    return float(number)


def full_chain(values: dict[str, float]) -> str:
    return " | ".join([*(f"{name}({values.get(name, neutral(name))!r})" for name in FULL), "multinomial"])


@pytest.fixture(scope="module", params=[(c, p) for c in ("gru", "lstm") for p in ("fp32", "int8")], ids="-".join)
def write(request, make_network, chain) -> Callable[..., np.ndarray]:
    """Writes rows with chains that differ in numbers alone; rows are numbered, for their start and random numbers."""
    cell, precision = request.param
    weights = GraphWeights.from_network(make_network(cell, layers=2, vocab=23, units=20), precision)

    @cache
    def session(names: tuple[str, ...]) -> Any:
        model = build_generate(weights, chain(" | ".join(names)), FORBIDDEN, END)
        return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    def run(texts: list[str], rows: range) -> np.ndarray:
        draw = Draw([chain(text) for text in texts], weights.vocab_size, FORBIDDEN)
        last = np.array([2 + row % 20 for row in rows])
        draw.note(np.arange(len(rows)), last.astype(np.int32))
        feeds: dict[str, Any] = {"last_ids": last, "uniforms": uniforms(5, rows, 1, STEPS), **parameter_feeds(draw)}
        feeds |= {f"past.{name}": array for name, array in weights.state_spec.initial_state(len(rows)).items()}
        if draw.seen is not None:
            feeds["seen"] = draw.seen
        found: np.ndarray = session(draw.chain.names).run(["ids"], feeds)[0]
        return found

    return run


def test_rows_of_any_chain_share_the_full_graph(write):
    texts = [list(CHAINS)[row % len(CHAINS)] for row in range(ROWS)]
    alone = [write([text], range(row, row + 1))[:, 0] for row, text in enumerate(texts)]
    assert len(np.unique(alone)) > 10
    for count in range(1, ROWS + 1):
        shared = write([full_chain(CHAINS[text]) for text in texts[:count]], range(count))
        np.testing.assert_array_equal(shared, np.stack(alone[:count], axis=1))


@pytest.mark.parametrize("text", CHAINS)
@pytest.mark.parametrize("rows", [1, 2, 5, 16])
def test_neutral_numbers_write_what_the_exact_chain_writes(write, text, rows):
    exact = write([text] * rows, range(rows))
    np.testing.assert_array_equal(write([full_chain(CHAINS[text])] * rows, range(rows)), exact)


ORDERS = [
    *(order for count in (1, 2, 3) for order in permutations(("top-k", "top-p", "min-p"), count)),
    ("top-p", "min-p", "top-p", "top-k"),
    ("min-p", "top-k", "min-p", "top-k", "top-p", "min-p"),
]
NUMBERS = {
    "top-k": st.one_of(st.integers(1, 12), st.just(1e9)),
    "top-p": st.one_of(st.just(1.0), st.floats(2**-16, 1, width=32)),
    "min-p": st.one_of(st.just(0.0), st.floats(0, 1, width=32)),
}
V = 9


def nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            yield from nodes(attribute.g)


@pytest.mark.parametrize("order", ORDERS, ids=" ".join)
@pytest.mark.parametrize("build", [build_generate, lambda *parts: build_block(*parts, steps=1, batch=1)])
def test_samplers_that_follow_one_another_share_one_sort(order, build, make_network, chain):
    weights = GraphWeights.from_network(make_network("gru"))
    model = build(weights, chain(" | ".join([*order, "temperature(0.9)", "multinomial"])), (), None)
    sorts = sum(node.op_type == "TopK" for node in nodes(model.graph))
    assert sorts == (0 if set(order) == {"min-p"} else 1)


@st.composite
def logits_and_numbers(draw, order: tuple[str, ...], rows: int = 3) -> tuple[np.ndarray, list[np.ndarray]]:
    logit = st.one_of(st.floats(-20, 20, width=32), st.sampled_from([-1.5, 0.0, 2.0, -np.inf]))
    logits: np.ndarray = draw(arrays(np.float32, (rows, V), elements=logit))
    logits[~np.isfinite(logits).any(axis=1), 0] = 1
    columns = [draw(st.lists(NUMBERS[name], min_size=rows, max_size=rows)) for name in order]
    return logits, [np.array(column, np.float32)[:, None] for column in columns]


@pytest.mark.parametrize("order", ORDERS, ids=" ".join)
@pytest.mark.parametrize("has_fixed_shapes", [False, True])
def test_a_shared_sort_keeps_what_each_sampler_alone_keeps(order, has_fixed_shapes):
    kinds: list[Any] = [plugins().get("sampler", name) for name in order]
    links = [
        (kind(kind.Options()), {name: f"{index}.{name}" for name in kind.Options.model_fields})
        for index, kind in enumerate(kinds)
    ]
    shared, each = OnnxGraph(V), OnnxGraph(V)
    result = emit_ranked(shared, "logits", links, has_fixed_shapes=has_fixed_shapes)
    output = "logits"
    for sampler, parameters in links:
        output = sampler.emit(each, output, parameters, None)
    inputs = [name for _, parameters in links for name in parameters.values()]

    @settings(max_examples=40)
    @given(given=logits_and_numbers(order))
    def check(given):
        logits, columns = given
        feeds = {"logits": logits, **dict(zip(inputs, columns, strict=True))}
        found = shared.run(result, feeds)
        np.testing.assert_array_equal(found, each.run(output, feeds))
        for row in range(len(logits)):
            alone = shared.run(result, {name: array[row : row + 1] for name, array in feeds.items()})
            np.testing.assert_array_equal(alone[0], found[row])

    check()
