"""The graphs that write text: the whole loop, ``generate.onnx``, and a block of it without control flow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from textgen import Chain, RankSampler, ThresholdSampler, emit_ranked
from textgen.errors import UnsupportedModelError
from textgen_onnx.contract import parameter_name
from textgen_onnx.graphs.builder import BOOL, FLOAT, INT64, Graph, Value
from textgen_onnx.graphs.cells import add_step
from textgen_onnx.graphs.ngram import Tables
from textgen_onnx.graphs.step import StateInputs
from textgen_onnx.graphs.weights import GraphWeights


def build_generate(
    weights: GraphWeights, chain: Chain, forbidden: Sequence[int], end_id: int | None
) -> onnx.ModelProto:
    """The graph of the whole loop: read an id, draw the next, once per uniform number.

    Inputs: ``last_ids [batch]`` int64, not read yet; ``past.*``; the chain's parameters as ``{position}.{sampler}.
    {parameter} [batch, 1]`` float; ``uniforms [steps, batch]`` float in [0, 1); if the chain uses the ids of a
    row's text, ``seen [batch, vocab]`` bool. Outputs: ``ids [steps, batch]`` int64; ``present.*``, before the last id
    is read; ``finished [batch]`` bool, whether a row drew the end of a document; ``present.seen`` if there is ``seen``.

    Raises:
        UnsupportedModelError: if a sampler of the chain cannot be written as ONNX nodes.
    """
    graph = Graph(weights.tensors, weights.vocab_size)
    loop = _Loop(graph, weights, chain, forbidden)
    uniforms = graph.input("uniforms", FLOAT, ("steps", "batch"))
    each = graph.add("Unsqueeze", uniforms, graph.constant(np.array([2])))
    body = graph.body()
    last = body.input("last", INT64, ("batch",))
    before = [body.input(f"before.{each.name}", each.kind, each.shape) for each in loop.past.carried]
    seen = body.input("seen.before", BOOL, ("batch", weights.vocab_size)) if loop.seen else None
    uniform = body.input("uniform", FLOAT, ("batch", 1))
    ids, after, seen_after, drawn = loop.step(body, last, before, seen, uniform)
    carried = [Value(ids, INT64, ("batch",))]
    carried += [Value(name, old.kind, old.shape) for name, old in zip(after, loop.past.carried, strict=True)]
    if seen_after:
        carried.append(Value(seen_after, BOOL, ("batch", weights.vocab_size)))
    stacked = Value(body.name(ids, "drawn") if drawn == ids else drawn, INT64, ("batch",))
    results = graph.scan(body, [loop.last_ids, *loop.start, *loop.seen], [each], [*carried, stacked])
    return loop.finish(graph, results[-1], results[1:-1], end_id, "steps")


def build_block(
    weights: GraphWeights, chain: Chain, forbidden: Sequence[int], end_id: int | None, *, steps: int, batch: int
) -> onnx.ModelProto:
    """The graph of ``steps`` steps, written out one after the other, for a fixed batch.

    Inputs, outputs and errors are those of :func:`build_generate`. It has no control flow and fixed shapes only, so
    that it can be captured as a CUDA graph.
    """
    graph = Graph(weights.tensors, weights.vocab_size)
    loop = _Loop(graph, weights, chain, forbidden, batch)
    uniforms = graph.input("uniforms", FLOAT, (steps, batch))
    each = graph.add("Unsqueeze", uniforms, graph.constant(np.array([2])))
    last, state, seen = loop.last_ids, loop.start, loop.seen[0] if loop.seen else None
    stacked = []
    for step in range(steps):
        uniform = graph.add("Gather", each, graph.constant(np.int64(step)))
        last, state, seen, drawn = loop.step(graph, last, state, seen, uniform)
        stacked.append(graph.add("Unsqueeze", drawn, graph.constant(np.array([0]))))
    return loop.finish(
        graph, graph.add("Concat", *stacked, axis=0), [*state, *([seen] if seen else [])], end_id, steps, batch
    )


class _Loop:
    """The inputs of a generating graph, its steps, and its outputs.

    The context of an n-gram is looked up as soon as an id is drawn: within the loop it is the one after the last id.
    """

    def __init__(
        self, graph: Graph, weights: GraphWeights, chain: Chain, forbidden: Sequence[int], batch: int | str = "batch"
    ) -> None:
        self.weights, self.chain, self.batch = weights, chain, batch
        self.last_ids = graph.input("last_ids", INT64, (batch,))
        self.past = StateInputs(graph, weights, batch)
        self.parameters = [
            {name: graph.input(parameter_name(index, chain, name), FLOAT, (batch, 1)) for name in sampler.parameters}
            for index, sampler in enumerate(chain.samplers)
        ]
        self.seen = [graph.input("seen", BOOL, (batch, weights.vocab_size))] if chain.uses_history else []
        # In the head's bias, excluding ids costs no operator.
        bias = weights.tensors.get("head.bias", np.zeros(weights.vocab_size, np.float32)).copy()
        bias[list(forbidden)] = -np.inf
        self.bias = graph.constant(bias)
        # Nor does it in the rows of an n-gram, which are added in place of the bias.
        self.tables: Tables | None = None
        if weights.ngram is not None:
            self.tables = Tables.of(graph, weights.ngram, self.bias)
        self.start = list(self.past.names)
        if self.tables is not None:
            self.start[-1], _ = self.tables.next_contexts(graph, self.past.context, self.last_ids)

    def step(
        self, graph: Graph, last: str, state: list[str], seen: str | None, uniform: str
    ) -> tuple[str, list[str], str | None, str]:
        """Add a step.

        Returns:
            The names of the drawn ids, of the state after the step, of the ids seen by then, and of what :meth:`finish`
            takes of all steps.
        """
        weights = self.weights
        after: list[str] = []
        hidden = last
        for layer, before in enumerate(weights.by_layer(state)):
            parts = add_step(graph, weights, layer, weights.project(graph, hidden, layer), before)
            after, hidden = after + parts, parts[0]
        addend = self.bias if self.tables is None else graph.add("Gather", self.tables.rows, state[-1])
        logits = self._transform(graph, weights.logits(graph, hidden, addend), seen)
        ids = self.chain.selector.emit(graph, logits, uniform)
        if ids is None:
            raise UnsupportedModelError(f"the selector {self.chain.names[-1]} cannot be written into an ONNX graph")
        if seen is not None:
            drawn = graph.add("Unsqueeze", ids, graph.constant(np.array([1])))
            true = graph.add("Equal", drawn, drawn)
            seen = graph.add("ScatterElements", seen, drawn, true, axis=1)
        drawn = ids
        if self.tables is not None:
            context, drawn = self.tables.next_contexts(graph, state[-1], ids)
            after.append(context)
        return ids, after, seen, drawn

    def _transform(self, graph: Graph, logits: str, seen: str | None) -> str:
        """Add the samplers of the chain; those that can share a sort do, and one of a fixed batch has fixed shapes."""
        has_fixed_shapes = isinstance(self.batch, int)
        sharing: list[tuple[RankSampler | ThresholdSampler, dict[str, str]]] = []
        for name, sampler, parameters in zip(self.chain.names, self.chain.samplers, self.parameters, strict=False):
            if isinstance(sampler, (RankSampler, ThresholdSampler)):
                sharing.append((sampler, parameters))
                continue
            logits = emit_ranked(graph, logits, sharing, has_fixed_shapes=has_fixed_shapes)
            sharing = []
            written = sampler.emit(graph, logits, parameters, seen)
            if written is None:
                raise UnsupportedModelError(f"the sampler {name} cannot be written into an ONNX graph")
            logits = written
        return emit_ranked(graph, logits, sharing, has_fixed_shapes=has_fixed_shapes)

    def finish(
        self,
        graph: Graph,
        drawn: str,
        state: Sequence[str],
        end_id: int | None,
        steps: int | str,
        batch: int | str = "batch",
    ) -> onnx.ModelProto:
        """The finished model, with the loop's results as outputs.

        Of an n-gram, ``drawn`` has places in its table: they tell the ids, and the context before the last of them.
        """
        ids, after = drawn, list(state[: len(self.start)])
        if self.tables is not None:
            size = graph.constant(np.int64(self.weights.vocab_size))
            ids = graph.add("Mod", drawn, size)
            after[-1] = graph.add("Div", graph.add("Gather", drawn, graph.constant(np.int64(-1))), size)
        end = graph.constant(np.int64(-1 if end_id is None else end_id))
        ended = graph.add("Cast", graph.add("Equal", ids, end), to=FLOAT)
        finished = graph.add("Cast", graph.add("ReduceMax", ended, axes=[0], keepdims=0), to=BOOL)
        outputs = [Value(graph.name(ids, "ids"), INT64, (steps, batch))]
        outputs += self.past.outputs(after)
        outputs.append(Value(graph.name(finished, "finished"), BOOL, (batch,)))
        if self.seen:
            shape = (batch, self.weights.vocab_size)
            outputs.append(Value(graph.name(state[-1], "present.seen"), BOOL, shape))
        return graph.model(outputs)
