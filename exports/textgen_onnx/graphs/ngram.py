"""The n-gram in the graphs: small arrays in the file, from which tables of all contexts and ids are made.

The tables depend on constants only, so ONNX Runtime makes them when it opens a session. A step looks up the next
context and its row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from textgen import ContextTree, RecurrentNetwork
from textgen.errors import ArtifactError
from textgen_onnx.contract import NGram
from textgen_onnx.graphs.builder import FLOAT, INT32, INT64, Graph
from textgen_onnx.graphs.kinds import kinds_of_ngram, smallest_dtype

#: The beginning of the names of its tensors.
PREFIX = ContextTree.prefix


def describe_ngram(tree: ContextTree) -> NGram:
    """What decides the shapes and dtypes of a tree's tensors."""
    gaps = np.diff(_places(tree), prepend=0)
    is_half = all(np.array_equal(array, array.astype(np.float16)) for array in (tree.shares, tree.own))
    return NGram(contexts=len(tree), entries=len(tree.ids), largest_gap=int(gaps.max(initial=0)), is_half=is_half)


def pack_ngram(tree: ContextTree, power: float = 1.0) -> dict[str, NDArray[Any]]:
    """A tree as the tensors of a graph, of the smallest dtypes that hold them.

    * ``ngram.suffixes``, ``ngram.shares``: as in the tree.
    * ``ngram.led_from``: of the contexts, the entry that leads to it, where the first is 1; 0 if none does.
    * ``ngram.gaps``: the place of each entry in a table ``[contexts, V]``, less that of the entry before it.
    * ``ngram.own``: of the entries, as in the tree.
    * ``ngram.power``: ``[1]``, by which the log-probabilities are multiplied.
    """
    known = np.flatnonzero(tree.longer >= 0)
    led_from = np.zeros(len(tree), np.int64)
    led_from[tree.longer[known]] = known + 1
    arrays: dict[str, NDArray[Any]] = {
        "suffixes": tree.suffixes,
        "shares": tree.shares,
        "led_from": led_from,
        "gaps": np.diff(_places(tree), prepend=0),
        "own": tree.own,
        "power": np.array([power]),
    }
    kinds = kinds_of_ngram(describe_ngram(tree))
    return {PREFIX + name: array.astype(kinds[PREFIX + name][1]) for name, array in arrays.items()}


def unpack_ngram(tensors: Mapping[str, NDArray[Any]], vocab_size: int) -> ContextTree:
    """The inverse of :func:`pack_ngram`, for tensors of any values.

    Raises:
        ArtifactError: if they are not those of a tree.
    """
    suffixes, shares, led_from, gaps, own = (
        tensors[PREFIX + name] for name in ("suffixes", "shares", "led_from", "gaps", "own")
    )
    places = np.cumsum(gaps, dtype=np.int64)  # of less than 2**31 numbers below 2**32
    contexts = np.flatnonzero(led_from)
    entries = led_from[contexts].astype(np.int64) - 1
    longer = np.full(len(own), -1, np.int32)
    if (entries >= len(own)).any() or len(np.unique(entries)) < len(entries):
        raise ArtifactError("the n-gram is damaged: no entry of its own leads to a context")
    longer[entries] = contexts
    if not 0 <= tensors[f"{PREFIX}power"].item() <= RecurrentNetwork.largest_power:
        raise ArtifactError(f"the n-gram is damaged: its power is not between 0 and {RecurrentNetwork.largest_power}")
    arrays = {
        "suffixes": suffixes.astype(np.int32),
        "shares": shares.astype(np.float32),
        "offsets": np.searchsorted(places, np.arange(len(suffixes) + 1) * np.int64(vocab_size)).astype(np.int32),
        "ids": (places % vocab_size).astype(np.int32),
        "own": own.astype(np.float32),
        "longer": longer,
    }
    return ContextTree.from_tensors(arrays, vocab_size)


def _places(tree: ContextTree) -> NDArray[np.int64]:
    """The place of each entry in a table ``[contexts, V]``."""
    return np.repeat(np.arange(len(tree)), np.diff(tree.offsets)) * np.int64(tree.vocab_size) + tree.ids


@dataclass(frozen=True)
class Tables:
    """The tables of a tree in a graph.

    Attributes:
        rows: name of what is added to the logits after each context, ``[contexts, V]`` float.
        following: name of the contexts after each context and id, ``[contexts * V]`` int32.
        vocab_size: the number V of ids.
    """

    rows: str
    following: str
    vocab_size: int

    @classmethod
    def of(cls, graph: Graph, tree: ContextTree, addend: str | None) -> Tables:
        """Add the tables of a tree to a graph whose tensors include those of :func:`pack_ngram`.

        Args:
            graph: the graph.
            tree: says which contexts and entries are of which length.
            addend: name of a tensor ``[V]`` that is added to each row, or ``None``.
        """
        vocab_size, levels, entries = tree.vocab_size, tree.levels, tree.offsets[tree.levels]
        is_led_to = np.bincount(tree.longer[tree.longer >= 0], minlength=len(tree))
        led_to = np.append(0, np.cumsum(is_led_to))[[*levels[1:], levels[-1]]]  # from contexts of each length

        def cut(values: str, at: Any) -> tuple[str, ...]:
            return graph.add_multiple("Split", len(levels) - 1, values, graph.constant(np.diff(at).astype(np.int64)))

        zero, one, column = (graph.constant(np.array(each)) for each in (0, 1, [1]))
        places = graph.add("CumSum", graph.add("Cast", f"{PREFIX}gaps", to=INT64), zero)
        halves = [graph.add(op, places, graph.constant(np.int64(vocab_size))) for op in ("Div", "Mod")]
        places = graph.add("Concat", *(graph.add("Unsqueeze", half, column) for half in halves), axis=1)
        led_from = graph.add("Cast", f"{PREFIX}led_from", to=INT64)
        contexts = graph.add("Squeeze", graph.add("NonZero", led_from), graph.constant(np.array([0])))
        led_from = graph.add("Sub", graph.add("Gather", led_from, contexts), one)
        dtype = smallest_dtype(len(tree))
        parts = zip(
            cut(graph.add("Cast", f"{PREFIX}suffixes", to=INT64), levels),
            cut(graph.add("Unsqueeze", graph.add("Cast", f"{PREFIX}shares", to=FLOAT), column), levels),
            cut(places, entries),
            cut(graph.add("Cast", f"{PREFIX}own", to=FLOAT), entries),
            cut(graph.add("Gather", places, led_from), led_to),
            cut(graph.add("Cast", contexts, to=helper.np_dtype_to_tensor_dtype(dtype)), led_to),
            strict=True,
        )
        # Each level begins as the rows of its suffixes; the first one with ids that are equally likely.
        p = graph.constant(np.full((1, vocab_size), 1 / vocab_size, np.float32))
        f = graph.constant(np.zeros((1, vocab_size), dtype))
        tables: list[tuple[str, str]] = []
        for level, (suffixes, shares, seen_at, own, leads_at, to) in enumerate(parts):
            if level:
                shorter = graph.add("Sub", suffixes, graph.constant(np.array([levels[level - 1]])))
                p, f = graph.add("Gather", p, shorter), graph.add("Gather", f, shorter)
            first = graph.constant(np.array([levels[level], 0]))
            p = graph.add("Mul", p, shares)
            p = graph.add("ScatterND", p, graph.add("Sub", seen_at, first), own, reduction="add")
            f = graph.add("ScatterND", f, graph.add("Sub", leads_at, first), to)
            tables.append((p, f))
        p, f = (graph.add("Concat", *each, axis=0) for each in zip(*tables, strict=True))
        rows = graph.add("Log", graph.add("Max", p, graph.constant(np.float32(ContextTree.least))))
        rows = graph.add("Mul", rows, f"{PREFIX}power")
        if addend is not None:
            rows = graph.add("Add", rows, addend)
        following = graph.add("Cast", graph.add("Reshape", f, graph.constant(np.array([-1]))), to=INT32)
        return cls(rows, following, vocab_size)

    def next_contexts(self, graph: Graph, contexts: str, ids: str) -> tuple[str, str]:
        """Add the look-up of the contexts after ids; all are ``[batch]`` int64.

        Returns:
            The names of the contexts, and of their places in a table: ``context * V + id``.
        """
        rows = graph.add("Mul", contexts, graph.constant(np.int64(self.vocab_size)))
        places = graph.add("Add", rows, ids)
        return graph.add("Cast", graph.add("Gather", self.following, places), to=INT64), places
