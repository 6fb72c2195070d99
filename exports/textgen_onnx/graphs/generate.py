"""The graphs that write text: the whole loop, ``generate.onnx``, a block of it without control flow, and slots."""

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
    last_ids = graph.input("last_ids", INT64, ("batch",))
    loop = _Loop(graph, weights, chain, forbidden)
    start = loop.start(graph, last_ids)
    uniforms = graph.input("uniforms", FLOAT, ("steps", "batch"))
    each = graph.add("Unsqueeze", uniforms, graph.constant(np.array([2])))
    body = graph.body()
    last = body.input("last", INT64, ("batch",))
    before, seen = loop.carry(body)
    uniform = body.input("uniform", FLOAT, ("batch", 1))
    ids, after, seen_after, drawn = loop.step(body, last, before, seen, uniform)
    carried = [Value(ids, INT64, ("batch",)), *loop.carried(after, seen_after)]
    stacked = Value(body.name(ids, "drawn") if drawn == ids else drawn, INT64, ("batch",))
    results = graph.scan(body, [last_ids, *start, *loop.seen], [each], [*carried, stacked])
    return loop.finish(graph, results[-1], results[1:-1], end_id, "steps")


def build_write(weights: GraphWeights, chain: Chain, forbidden: Sequence[int]) -> onnx.ModelProto:
    """The graph that reads and writes, batch first: an id per slot, given or drawn.

    A server that puts requests together wants the batch first everywhere, and equal shapes. With slots, rows that still
    read their prompts and rows that write can share a call.

    Inputs: ``given [batch, steps]`` int64, the id to read, or a negative number to draw one; ``uniforms [batch,
    steps]`` float in [0, 1), which do not matter where an id is given; ``past.*``, the state after the row's last id,
    ``[batch, 1]`` where :func:`build_step` has ``[batch]``; the chain's parameters and ``seen`` as for
    :func:`build_generate`. Outputs: ``ids [batch, steps]`` int64, given or drawn; ``present.*``, after the last of
    them; ``present.seen`` if there is ``seen``.

    Raises:
        UnsupportedModelError: if a sampler of the chain cannot be written as ONNX nodes.
    """
    graph = Graph(weights.tensors, weights.vocab_size)
    given = graph.input("given", INT64, ("batch", "steps"))
    uniforms = graph.input("uniforms", FLOAT, ("batch", "steps"))
    loop = _Loop(graph, weights, chain, forbidden, columns=True)
    by_time = [graph.add("Transpose", each, perm=[1, 0]) for each in (given, uniforms)]
    by_time[1] = graph.add("Unsqueeze", by_time[1], graph.constant(np.array([2])))
    body = graph.body()
    before, seen = loop.carry(body)
    slot, uniform = body.input("slot", INT64, ("batch",)), body.input("uniform", FLOAT, ("batch", 1))
    hidden = [each[0] for each in weights.by_layer(before)]
    drawn = loop.draw(body, hidden[-1] if hidden else "", before[-1], seen, uniform)
    ids = body.add("Where", body.add("Less", slot, body.constant(np.int64(0))), drawn, slot)
    after, _ = loop.read(body, ids, before)
    if loop.tables is not None:
        after.append(loop.tables.next_contexts(body, before[-1], ids)[0])
    results = [*loop.carried(after, loop.note(body, seen, ids)), Value(ids, INT64, ("batch",))]
    *state, written = graph.scan(body, [*loop.past.names, *loop.seen], by_time, results)
    written = graph.name(graph.add("Transpose", written, perm=[1, 0]), "ids")
    size = len(loop.past.names)
    outputs = [*loop.past.outputs(state[:size]), *loop.seen_output(graph, state[size:])]
    return graph.model([Value(written, INT64, ("batch", "steps")), *outputs])


def build_block(
    weights: GraphWeights, chain: Chain, forbidden: Sequence[int], end_id: int | None, *, steps: int, batch: int
) -> onnx.ModelProto:
    """The graph of ``steps`` steps, written out one after the other, for a fixed batch.

    Inputs, outputs and errors are those of :func:`build_generate`. It has no control flow and fixed shapes only, so
    that it can be captured as a CUDA graph.
    """
    graph = Graph(weights.tensors, weights.vocab_size)
    last = graph.input("last_ids", INT64, (batch,))
    loop = _Loop(graph, weights, chain, forbidden, batch)
    state, seen = loop.start(graph, last), loop.seen[0] if loop.seen else None
    uniforms = graph.input("uniforms", FLOAT, (steps, batch))
    each = graph.add("Unsqueeze", uniforms, graph.constant(np.array([2])))
    stacked = []
    for step in range(steps):
        uniform = graph.add("Gather", each, graph.constant(np.int64(step)))
        last, state, seen, drawn = loop.step(graph, last, state, seen, uniform)
        stacked.append(graph.add("Unsqueeze", drawn, graph.constant(np.array([0]))))
    return loop.finish(
        graph, graph.add("Concat", *stacked, axis=0), [*state, *([seen] if seen else [])], end_id, steps, batch
    )


class _Loop:
    """The state and the samplers of a generating graph as its inputs, its steps, and its outputs.

    Args:
        graph: the graph.
        weights: of the model.
        chain: draws the ids.
        forbidden: ids that are never drawn.
        batch: the number of rows, or the name of it.
        columns: see :class:`~textgen_onnx.graphs.step.StateInputs`.
    """

    def __init__(
        self,
        graph: Graph,
        weights: GraphWeights,
        chain: Chain,
        forbidden: Sequence[int],
        batch: int | str = "batch",
        *,
        columns: bool = False,
    ) -> None:
        self.weights, self.chain, self.batch = weights, chain, batch
        self.past = StateInputs(graph, weights, batch, columns=columns)
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

    def start(self, graph: Graph, last_ids: str) -> list[str]:
        """The state that :meth:`step` begins with: the context of an n-gram is the one after the last id."""
        if self.tables is None:
            return list(self.past.names)
        return [*self.past.names[:-1], self.tables.next_contexts(graph, self.past.context, last_ids)[0]]

    def carry(self, body: Graph) -> tuple[list[str], str | None]:
        """The state before a step, and the ids seen by then, as inputs of a loop's body."""
        before = [body.input(f"before.{each.name}", each.kind, each.shape) for each in self.past.carried]
        return before, body.input("seen.before", BOOL, ("batch", self.weights.vocab_size)) if self.seen else None

    def carried(self, after: Sequence[str], seen: str | None) -> list[Value]:
        """The same after the step, as outputs of the body."""
        values = [Value(name, old.kind, old.shape) for name, old in zip(after, self.past.carried, strict=True)]
        return values + ([Value(seen, BOOL, ("batch", self.weights.vocab_size))] if seen else [])

    def step(
        self, graph: Graph, last: str, state: list[str], seen: str | None, uniform: str
    ) -> tuple[str, list[str], str | None, str]:
        """Add a step: read an id, draw the next.

        The context of an n-gram is looked up as soon as an id is drawn: within the loop it is the one after the last
        id.

        Returns:
            The names of the drawn ids, of the state after the step, of the ids seen by then, and of what :meth:`finish`
            takes of all steps.
        """
        after, hidden = self.read(graph, last, state)
        ids = self.draw(graph, hidden, state[-1], seen, uniform)
        seen = self.note(graph, seen, ids)
        drawn = ids
        if self.tables is not None:
            context, drawn = self.tables.next_contexts(graph, state[-1], ids)
            after.append(context)
        return ids, after, seen, drawn

    def read(self, graph: Graph, ids: str, state: list[str]) -> tuple[list[str], str]:
        """Add the layers: their state after an id, and the output of the last one."""
        after: list[str] = []
        hidden = ids
        for layer, before in enumerate(self.weights.by_layer(state)):
            parts = add_step(graph, self.weights, layer, self.weights.project(graph, hidden, layer), before)
            after, hidden = after + parts, parts[0]
        return after, hidden

    def draw(self, graph: Graph, hidden: str, context: str, seen: str | None, uniform: str) -> str:
        """Add the head and the chain: the drawn ids.

        Args:
            graph: the graph to add nodes to.
            hidden: the output of the last layer; without layers, it is not used.
            context: that of an n-gram, after the last id; without one, it is not used.
            seen: the ids of each row.
            uniform: a random number for each row, ``[batch, 1]``.
        """
        addend = self.bias if self.tables is None else graph.add("Gather", self.tables.rows, context)
        logits = self._transform(graph, self.weights.logits(graph, hidden, addend), seen)
        ids = self.chain.selector.emit(graph, logits, uniform)
        if ids is None:
            raise UnsupportedModelError(f"the selector {self.chain.names[-1]} cannot be written into an ONNX graph")
        return ids

    def note(self, graph: Graph, seen: str | None, ids: str) -> str | None:
        """Add ids to those seen."""
        if seen is None:
            return None
        column = graph.add("Unsqueeze", ids, graph.constant(np.array([1])))
        true = graph.add("Equal", column, column)
        return graph.add("ScatterElements", seen, column, true, axis=1)

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
        ids, after, size = drawn, list(state), len(self.past.names)
        if self.tables is not None:
            vocab_size = graph.constant(np.int64(self.weights.vocab_size))
            ids = graph.add("Mod", drawn, vocab_size)
            context = graph.add("Div", graph.add("Gather", drawn, graph.constant(np.int64(-1))), vocab_size)
            after[size - 1] = context
        end = graph.constant(np.int64(-1 if end_id is None else end_id))
        ended = graph.add("Cast", graph.add("Equal", ids, end), to=FLOAT)
        finished = graph.add("Cast", graph.add("ReduceMax", ended, axes=[0], keepdims=0), to=BOOL)
        outputs = [Value(graph.name(ids, "ids"), INT64, (steps, batch)), *self.past.outputs(after[:size])]
        outputs.append(Value(graph.name(finished, "finished"), BOOL, (batch,)))
        return graph.model([*outputs, *self.seen_output(graph, after[size:])])

    def seen_output(self, graph: Graph, after: Sequence[str]) -> list[Value]:
        """Name the ids seen after all steps, if the chain uses them, as the output ``present.seen`` of the graph."""
        shape = (self.batch, self.weights.vocab_size)
        return [Value(graph.name(name, "present.seen"), BOOL, shape) for name in after]
