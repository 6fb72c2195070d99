"""The interfaces Sampler, one step of a chain over logits, with two usual kinds of it, and Selector, which ends it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, final

import numpy as np
from numpy.typing import NDArray

from textgen.options import Options as BaseOptions

#: Unnormalised log-probabilities of the next id, ``[batch, vocab_size]`` float32.
Logits = NDArray[np.float32]

#: The numbers of a sampler, each ``[batch, 1]`` float32: the rows of a batch may differ in them.
Parameters = Mapping[str, Logits]

#: The number of a data type in ONNX (``TensorProto.DataType``).
INT64 = 7


class GraphBuilder(Protocol):
    """The interface by which a sampler writes itself into an ONNX graph; values are referred to by name."""

    #: The number of ids.
    vocab_size: int

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of the default operator set (opset 17) with one output; return the output's name."""

    def add_multiple(self, op: str, outputs: int, *inputs: str, **attributes: Any) -> tuple[str, ...]:
        """Add a node with several outputs; return their names."""

    def constant(self, value: Any) -> str:
        """The name of a constant, with the dtype and shape of ``numpy.asarray(value)``."""


class Sampler(ABC):
    """One step of a chain: maps logits to logits. The logit ``-inf`` excludes an id; at least one id stays.

    Rows are independent: a row's result is the same alone and in any batch. Ties are broken towards the lower id.

    Args:
        options: an instance of the class attribute ``Options``. Its fields are numbers, the sampler's parameters;
            in a chain they are written in the order of the fields: ``top-k(40)``.

    Example:
        >>> class Sharpen(Sampler):
        ...     def transform(self, logits, parameters, seen):
        ...         return logits * 2
    """

    #: The schema of its options.
    Options: ClassVar[type[BaseOptions]] = BaseOptions

    #: Whether the sampler needs to know which ids are already in a row.
    uses_history: ClassVar[bool] = False

    #: The numbers, by name, with which it changes nothing: every logit stays as it is, bit for bit. ``None`` if there
    #: are none.
    neutral: ClassVar[Mapping[str, float] | None] = None

    def __init__(self, options: BaseOptions) -> None:
        self.options = options

    @property
    def parameters(self) -> dict[str, float]:
        """The numbers that may differ between rows, by name."""
        values: dict[str, Any] = self.options.model_dump()
        return {name: float(value) for name, value in values.items()}

    @abstractmethod
    def transform(self, logits: Logits, parameters: Parameters, seen: NDArray[np.bool_] | None) -> Logits:
        """One step of the chain.

        Args:
            logits: ``[batch, vocab]`` float32; must not be written to.
            parameters: :attr:`parameters`, each ``[batch, 1]`` float32.
            seen: ``[batch, vocab]`` bool, true for the ids in the row's prompt and text so far; ``None`` unless
                :attr:`uses_history`.

        Returns:
            ``[batch, vocab]`` float32.
        """

    def emit(self, graph: GraphBuilder, logits: str, parameters: Mapping[str, str], seen: str | None) -> str | None:
        """Write :meth:`transform` into an ONNX graph, for the fastest loop.

        Args:
            graph: the graph to add nodes to.
            logits: name of a ``[batch, vocab]`` float tensor.
            parameters: names of ``[batch, 1]`` float tensors.
            seen: name of a ``[batch, vocab]`` bool tensor, or ``None`` unless :attr:`uses_history`.

        Returns:
            The name of the resulting ``[batch, vocab]`` float tensor; ``None`` if the sampler cannot be written.
        """
        return None


class ThresholdSampler(Sampler):
    """A sampler that keeps the ids of each row whose logit is no less than a threshold, which follows from the largest.

    Example:
        >>> class TenTimesLessLikely(ThresholdSampler):
        ...     def threshold(self, best, parameters):
        ...         return best - np.log(np.float32(10))
        ...
        ...     def emit_threshold(self, graph, best, parameters):
        ...         return graph.add("Sub", best, graph.constant(np.log(np.float32(10))))
    """

    @abstractmethod
    def threshold(self, best: Logits, parameters: Parameters) -> Logits:
        """The least logit to keep, no more than ``best``, the largest one of each row; both ``[batch, 1]`` float32."""

    @abstractmethod
    def emit_threshold(self, graph: GraphBuilder, best: str, parameters: Mapping[str, str]) -> str:
        """Write :meth:`threshold` into an ONNX graph; the names are those of ``[batch, 1]`` float tensors."""

    @final
    def transform(self, logits: Logits, parameters: Parameters, seen: NDArray[np.bool_] | None) -> Logits:
        least = self.threshold(logits.max(axis=1, keepdims=True), parameters)
        return np.where(logits >= least, logits, np.float32(-np.inf))

    @final
    def emit(self, graph: GraphBuilder, logits: str, parameters: Mapping[str, str], seen: str | None) -> str:
        best = graph.add("ReduceMax", logits, axes=[1], keepdims=1)
        return _exclude_below(graph, logits, self.emit_threshold(graph, best, parameters))


class RankSampler(Sampler):
    """A sampler that keeps the first ids of each row by falling logits, then by rising ids, and always the first one.

    In a graph, those that follow one another, with thresholds between them or without, share one sort, of no more ids
    than a row of the batch needs.

    Example:
        >>> class Likeliest(RankSampler):
        ...     def keep(self, ranked, parameters):
        ...         return np.arange(ranked.shape[1]) == 0
        ...
        ...     def emit_count(self, graph, parameters, left):
        ...         return graph.constant(np.float32([[1]]))
        ...
        ...     def emit_keep(self, graph, ranked, ranks, parameters):
        ...         return graph.add("Equal", ranks, graph.constant(np.float32([[0]])))
    """

    @abstractmethod
    def keep(self, ranked: Logits, parameters: Parameters) -> NDArray[np.bool_]:
        """Which ids stay.

        Args:
            ranked: ``[batch, vocab]`` float32, each row in falling order.
            parameters: as of :meth:`transform`.

        Returns:
            Bool that broadcasts to ``[batch, vocab]``: in each row true for the first ids, false for the others.
        """

    @abstractmethod
    def emit_count(self, graph: GraphBuilder, parameters: Mapping[str, str], left: str) -> str:
        """Write into an ONNX graph of how many of the first ids of a row :meth:`emit_keep` needs the logits.

        Args:
            graph: the graph to add nodes to.
            parameters: names of ``[batch, 1]`` float tensors.
            left: name of a ``[batch, 1]`` float tensor, the most ids that the samplers before it leave.

        Returns:
            The name of a float tensor of whole numbers that broadcasts to ``[batch, 1]``: ``left`` or fewer, and at
            least as many as stay; 0 if all stay.
        """

    @abstractmethod
    def emit_keep(self, graph: GraphBuilder, ranked: str, ranks: str, parameters: Mapping[str, str]) -> str:
        """Write :meth:`keep` into an ONNX graph.

        Args:
            graph: the graph to add nodes to.
            ranked: name of a ``[batch, n]`` float tensor: of each row, the n largest logits in falling order, with n
                from 1 to the number of ids. The result for a row must not depend on n.
            ranks: name of a ``[1, n]`` float tensor: 0, 1, 2 and so on.
            parameters: names of ``[batch, 1]`` float tensors.

        Returns:
            The name of a bool tensor that broadcasts to ``[batch, n]``.
        """

    @final
    def transform(self, logits: Logits, parameters: Parameters, seen: NDArray[np.bool_] | None) -> Logits:
        order = np.argsort(-logits, axis=1, kind="stable")
        kept_in_order = self.keep(np.take_along_axis(logits, order, axis=1), parameters)
        kept = np.empty(logits.shape, np.bool_)
        np.put_along_axis(kept, order, np.broadcast_to(kept_in_order, logits.shape), axis=1)
        return np.where(kept, logits, np.float32(-np.inf))

    @final
    def emit(self, graph: GraphBuilder, logits: str, parameters: Mapping[str, str], seen: str | None) -> str:
        return emit_ranked(graph, logits, [(self, parameters)])


def emit_ranked(
    graph: GraphBuilder,
    logits: str,
    samplers: Sequence[tuple[RankSampler | ThresholdSampler, Mapping[str, str]]],
    *,
    has_fixed_shapes: bool = False,
) -> str:
    """Write samplers that follow one another into an ONNX graph, with one sort at most.

    Args:
        graph: the graph to add nodes to.
        logits: name of a ``[batch, vocab]`` float tensor.
        samplers: in order, each with the names of its parameters, ``[batch, 1]`` float tensors.
        has_fixed_shapes: whether the graph must not have sizes that depend on values; then all ids are sorted.

    Returns:
        The name of the resulting ``[batch, vocab]`` float tensor.
    """
    by_rank = [index for index, (sampler, _) in enumerate(samplers) if isinstance(sampler, RankSampler)]
    first, end = (by_rank[0], by_rank[-1] + 1) if by_rank else (0, 0)
    for sampler, parameters in samplers[:first]:
        logits = sampler.emit(graph, logits, parameters, None)
    if by_rank:
        logits = _emit_sorted(graph, logits, samplers[first:end], has_fixed_shapes)
    for sampler, parameters in samplers[end:]:
        logits = sampler.emit(graph, logits, parameters, None)
    return logits


def _emit_sorted(
    graph: GraphBuilder,
    logits: str,
    samplers: Sequence[tuple[RankSampler | ThresholdSampler, Mapping[str, str]]],
    has_fixed_shapes: bool,
) -> str:
    """Sort the first ids, exclude some of these in each step, and put them back."""
    excluded, zero = graph.constant(np.float32(-np.inf)), graph.constant(np.float32(0))
    first = graph.constant(np.array([0]))
    size = graph.constant(np.array([graph.vocab_size]))
    ranks = graph.constant(np.arange(graph.vocab_size, dtype=np.float32)[None, :])
    rest = logits  # what ids that are not sorted get: in a row where all stay by rank, their logits
    if not has_fixed_shapes:
        left, most = (graph.constant(np.array([[number]], np.float32)) for number in (graph.vocab_size, 0))
        for sampler, parameters in samplers:
            if isinstance(sampler, RankSampler):
                count = sampler.emit_count(graph, parameters, left)
                left = graph.add("Where", graph.add("Greater", count, zero), count, left)
                most = graph.add("Max", most, count)
        rest = graph.add("Where", graph.add("Greater", most, zero), excluded, logits)
        most = graph.add("ReduceMax", graph.add("Max", most, graph.constant(np.float32(1))), axes=[0], keepdims=0)
        size = graph.add("Cast", most, to=INT64)
        ranks = graph.add("Slice", ranks, first, size, graph.constant(np.array([1])))
    ranked, ids = graph.add_multiple("TopK", 2, logits, size, axis=1)
    for sampler, parameters in samplers:
        if isinstance(sampler, RankSampler):
            kept = sampler.emit_keep(graph, ranked, ranks, parameters)
            ranked = graph.add("Where", kept, ranked, excluded)
        else:
            least = sampler.emit_threshold(graph, graph.add("Gather", ranked, first, axis=1), parameters)
            ranked, rest = (_exclude_below(graph, each, least) for each in (ranked, rest))
    return graph.add("ScatterElements", rest, ids, ranked, axis=1)


def _exclude_below(graph: GraphBuilder, logits: str, least: str) -> str:
    kept = graph.add("GreaterOrEqual", logits, least)
    return graph.add("Where", kept, logits, graph.constant(np.float32(-np.inf)))


class Selector(ABC):
    """The last link of a chain: draws one id per row.

    Args:
        options: an instance of the class attribute ``Options``.
    """

    #: The schema of its options.
    Options: ClassVar[type[BaseOptions]] = BaseOptions

    def __init__(self, options: BaseOptions) -> None:
        self.options = options

    @abstractmethod
    def select(self, logits: Logits, uniforms: NDArray[np.float32]) -> NDArray[np.int32]:
        """Draw from logits.

        Args:
            logits: ``[batch, vocab]`` float32; ``-inf`` excludes an id.
            uniforms: ``[batch]`` float32 in [0, 1), the only source of randomness.

        Returns:
            ``[batch]`` int32.
        """

    def emit(self, graph: GraphBuilder, logits: str, uniforms: str) -> str | None:
        """Write :meth:`select` into an ONNX graph.

        Args:
            graph: the graph to add nodes to.
            logits: name of a ``[batch, vocab]`` float tensor.
            uniforms: name of a ``[batch, 1]`` float tensor.

        Returns:
            The name of the drawn ids, ``[batch]`` int64; ``None`` if the selector cannot be written.
        """
        return None
