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

from textgen import ContextTree
from textgen_onnx.contract import NGram
from textgen_onnx.graphs.builder import BOOL, INT32, INT64, Graph
from textgen_onnx.graphs.kinds import NGRAM, kinds_of_ngram

#: The least probability of an id, as in :attr:`textgen.ContextTree.logits`.
LEAST = np.float32(1e-30)


def describe_ngram(tree: ContextTree) -> NGram:
    """What decides the shapes and dtypes of a tree's tensors."""
    gaps = np.diff(_positions(tree), prepend=0)
    return NGram(contexts=len(tree), entries=len(tree.ids), largest_gap=int(gaps.max(initial=0)))


def pack_ngram(tree: ContextTree) -> dict[str, NDArray[Any]]:
    """A tree as the tensors of a graph; whole numbers have the smallest dtype that holds them.

    * ``ngram.suffixes``, ``ngram.shares``: as in the tree.
    * ``ngram.gaps``: the place of each entry in a table ``[contexts, V]``, less that of the entry before it.
    * ``ngram.own``: of the entries, as in the tree.
    * ``ngram.longer``: of the entries, 1 more than in the tree, so that 0 stands for none.
    """
    arrays: dict[str, NDArray[Any]] = {
        "suffixes": tree.suffixes,
        "shares": tree.shares,
        "gaps": np.diff(_positions(tree), prepend=0),
        "own": tree.own,
        "longer": tree.longer + 1,
    }
    kinds = kinds_of_ngram(describe_ngram(tree))
    return {NGRAM + name: array.astype(kinds[NGRAM + name][1]) for name, array in arrays.items()}


def unpack_ngram(tensors: Mapping[str, NDArray[Any]], vocab_size: int) -> ContextTree:
    """The inverse of :func:`pack_ngram`, for tensors of any values.

    Raises:
        ArtifactError: if they are not those of a tree.
    """
    # Gaps of 32 bits, of which a file can hold no 2**31, do not overflow.
    places = np.cumsum(tensors[f"{NGRAM}gaps"], dtype=np.int64)
    contexts = len(tensors[f"{NGRAM}suffixes"])
    arrays = {
        "suffixes": tensors[f"{NGRAM}suffixes"],
        "shares": tensors[f"{NGRAM}shares"],
        "offsets": np.searchsorted(places, np.arange(contexts + 1) * np.int64(vocab_size)),
        "ids": places % vocab_size,
        "own": tensors[f"{NGRAM}own"],
        "longer": tensors[f"{NGRAM}longer"].astype(np.int64) - 1,
    }
    kinds = {name: array.dtype if array.dtype == np.float32 else np.int32 for name, array in arrays.items()}
    return ContextTree.from_tensors({name: array.astype(kinds[name]) for name, array in arrays.items()}, vocab_size)


def _positions(tree: ContextTree) -> NDArray[np.int64]:
    """The place of each entry in a table ``[contexts, V]``."""
    return np.repeat(np.arange(len(tree)), np.diff(tree.offsets)) * np.int64(tree.vocab_size) + tree.ids


@dataclass(frozen=True)
class Tables:
    """The tables of a tree in a graph.

    Attributes:
        logits: name of the log-probabilities ``[contexts, V]`` float, with what was added to them.
        following: name of the contexts after each context and id, ``[contexts * V]`` int64.
        vocab_size: the number V of ids.
    """

    logits: str
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
        vocab_size, levels, number = tree.vocab_size, tree.levels, np.min_scalar_type(len(tree))
        kind, column = helper.np_dtype_to_tensor_dtype(number), graph.constant(np.array([1]))
        entries = tree.offsets[levels]
        known = np.concatenate([[0], np.cumsum(tree.longer >= 0)])[entries]

        def cut(values: str, at: Any) -> tuple[str, ...]:
            return graph.add_multiple("Split", len(levels) - 1, values, graph.constant(np.diff(at).astype(np.int64)))

        places = graph.add("CumSum", graph.add("Cast", f"{NGRAM}gaps", to=INT64), graph.constant(np.int64(0)))
        halves = [graph.add(op, places, graph.constant(np.int64(vocab_size))) for op in ("Div", "Mod")]
        places = graph.add("Concat", *(graph.add("Unsqueeze", half, column) for half in halves), axis=1)
        is_known = graph.add("Cast", f"{NGRAM}longer", to=BOOL)
        longer = graph.add("Sub", graph.add("Cast", f"{NGRAM}longer", to=INT32), graph.constant(np.int32(1)))
        parts = zip(
            cut(graph.add("Cast", f"{NGRAM}suffixes", to=INT64), levels),
            cut(graph.add("Unsqueeze", f"{NGRAM}shares", column), levels),
            cut(places, entries),
            cut(f"{NGRAM}own", entries),
            cut(graph.add("Compress", places, is_known, axis=0), known),
            cut(graph.add("Compress", graph.add("Cast", longer, to=kind), is_known, axis=0), known),
            strict=True,
        )
        # Each level begins as the rows of its suffixes; the first one with ids that are equally likely.
        p = graph.constant(np.full((1, vocab_size), 1 / vocab_size, np.float32))
        f = graph.constant(np.zeros((1, vocab_size), number))
        tables: list[tuple[str, str]] = []
        for level, (suffixes, shares, rows, own, known_rows, contexts) in enumerate(parts):
            before, first = (graph.constant(np.array(each)) for each in ([levels[level - 1]], [levels[level], 0]))
            if level:
                shorter = graph.add("Sub", suffixes, before)
                p, f = graph.add("Gather", p, shorter), graph.add("Gather", f, shorter)
            p = graph.add("Mul", p, shares)
            p = graph.add("ScatterND", p, graph.add("Sub", rows, first), own, reduction="add")
            f = graph.add("ScatterND", f, graph.add("Sub", known_rows, first), contexts)
            tables.append((p, f))
        p, f = (graph.add("Concat", *each, axis=0) for each in zip(*tables, strict=True))
        logits = graph.add("Log", graph.add("Max", p, graph.constant(LEAST)))
        if addend is not None:
            logits = graph.add("Add", logits, addend)
        # A step that had to cast a number would be slower.
        following = graph.add("Cast", graph.add("Reshape", f, graph.constant(np.array([-1]))), to=INT64)
        return cls(logits, following, vocab_size)

    def next_contexts(self, graph: Graph, contexts: str, ids: str) -> str:
        """Add the look-up of the contexts after ids; all are ``[batch]`` int64."""
        row = graph.add("Mul", contexts, graph.constant(np.int64(self.vocab_size)))
        return graph.add("Gather", self.following, graph.add("Add", row, ids))
