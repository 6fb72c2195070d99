"""The interfaces Sampler, one step of a chain over logits, and Selector, which ends the chain."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from textgen.options import Options as BaseOptions

Logits = NDArray[np.float32]

#: The numbers of a sampler, each ``[batch, 1]`` float32: the rows of a batch may differ in them.
Parameters = Mapping[str, Logits]


class GraphBuilder(Protocol):
    """The interface by which a sampler writes itself into an ONNX graph; values are referred to by name."""

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


class Selector(ABC):
    """The last link of a chain: draws one id per row.

    Args:
        options: an instance of the class attribute ``Options``.
    """

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
