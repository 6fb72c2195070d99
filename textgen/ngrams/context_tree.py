"""An n-gram as an automaton: contexts are numbered states, and each says how likely every id is to come next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from textgen.errors import ArtifactError
from textgen.ngrams.counts import find

Ids = NDArray[np.int32]
Places = NDArray[np.intp]

#: The most numbers of a table of all contexts and ids: with what follows, 64 MB.
MOST_NUMBERS = 2**23

#: The most ids of a context, and the least probability of an id.
LONGEST, LEAST = 16, 1e-30

#: Probabilities may add up to so much more than 1.
ROUNDING = 1e-3

#: The state before the first id.
BEGINNING = 1


@dataclass(frozen=True)
class ContextTree:
    """Contexts, each an end that a text may have, and the ids that were seen after it.

    The probability of an id w after context c is ``own(c, w) + shares[c] * p(w | suffixes[c])``, with own 0 for an id
    that is not listed; after the empty context it is ``own(c, w) + shares[c] / V``. This is interpolated smoothing.

    The state of a text is the longest context that it ends with. Context 0 is the empty one, context 1 the beginning of
    a text. Longer contexts have higher numbers.

    Attributes:
        suffixes: ``[contexts]`` int32, the context without its first id; 0 for the empty one.
        shares: ``[contexts]`` float32.
        offsets: ``[contexts + 1]`` int32, where the ids of each context begin, and the end of the last.
        ids: ``[entries]`` int32, seen after the contexts, sorted within each.
        own: ``[entries]`` float32.
        longer: ``[entries]`` int32, the context which is the id after this context, if there is one; else -1, and it is
            the one that the id leads to after the suffix.
        vocab_size: the number V of ids.
    """

    suffixes: Ids
    shares: NDArray[np.float32]
    offsets: Ids
    ids: Ids
    own: NDArray[np.float32]
    longer: Ids
    vocab_size: int

    #: The state before the first id.
    beginning: ClassVar[int] = BEGINNING
    #: The least probability of an id.
    least: ClassVar[float] = LEAST
    #: The beginning of the names of the arrays among the weights of a model.
    prefix: ClassVar[str] = "ngram."

    @staticmethod
    def most_contexts(vocab_size: int) -> int:
        """The most contexts for which there are tables, and which :meth:`from_tensors` takes."""
        return MOST_NUMBERS // vocab_size

    def __len__(self) -> int:
        return len(self.suffixes)

    @cached_property
    def levels(self) -> list[int]:
        """Where the contexts of 0, 1, ... ids begin, and the end of the last."""
        starts = [0, 1]
        while len(starts) <= LONGEST + 1 and starts[-1] < len(self):
            is_longer = self.suffixes[starts[-1] :] >= starts[-1]
            starts.append(starts[-1] + int(is_longer.argmax()) if is_longer.any() else len(self))
        return starts

    @cached_property
    def logits(self) -> NDArray[np.float32]:
        """The log-probabilities of all ids after each context, ``[contexts, V]`` float32."""
        table = np.full((len(self), self.vocab_size), 1 / self.vocab_size, np.float32)
        for level, entries, rows in self._by_level():
            table[level] = table[self.suffixes[level]] * self.shares[level, None]
            table[rows, self.ids[entries]] += self.own[entries]
        return np.log(np.maximum(table, LEAST), out=table)

    @cached_property
    def following(self) -> Ids:
        """The context that each id leads to after each context, ``[contexts, V]`` int32."""
        table = np.zeros((len(self), self.vocab_size), np.int32)
        for level, entries, rows in self._by_level():
            table[level] = table[self.suffixes[level]]
            known = self.longer[entries] >= 0
            table[rows[known], self.ids[entries][known]] = self.longer[entries][known]
        return table

    def read(self, ids: Ids, contexts: Ids) -> Ids:
        """The contexts before the first id and after each, ``[batch, time + 1]`` int32.

        Args:
            ids: ``[batch, time]`` int32.
            contexts: before the first id, ``[batch]`` int32.

        Raises:
            ArtifactError: if a context is not in the tree.
        """
        if contexts.min(initial=0) < 0 or contexts.max(initial=0) >= len(self):
            raise ArtifactError(f"the state does not belong to this model, whose n-gram has {len(self):,} contexts")
        read = np.empty((len(ids), ids.shape[1] + 1), np.int32)
        read[:, 0] = contexts
        for position in range(ids.shape[1]):
            read[:, position + 1] = self._next(read[:, position], ids[:, position])
        return read

    def advance(self, ids: Ids, contexts: Ids, lengths: Ids | None = None) -> tuple[Ids, Ids]:
        """The contexts after each id, ``[batch, time]`` int32, and after the last one of each row, ``[batch]`` int32.

        Arguments and errors are those of :meth:`read`; ``lengths`` is the number of ids of each row that count,
        ``[batch]``, by default all.
        """
        read = self.read(ids, contexts)
        last = ids.shape[1] if lengths is None else np.clip(lengths, 0, ids.shape[1])
        return read[:, 1:], np.asarray(read[np.arange(len(ids)), last])

    def log_probabilities(self, contexts: Ids) -> NDArray[np.float32]:
        """The rows of :attr:`logits` of contexts ``[...]``: ``[..., V]`` float32; no table is made if it were large."""
        if self._fits_tables:
            return self.logits[contexts]
        p = np.full((contexts.size, self.vocab_size), 1 / self.vocab_size, np.float32)
        for rows, read in self._with_suffixes(contexts.ravel()):
            p[rows] *= self.shares[read, None]
            ends = self.offsets[read + 1]
            sizes = ends - self.offsets[read]
            entries = np.repeat(ends - np.cumsum(sizes), sizes) + np.arange(sizes.sum())
            p[np.repeat(rows, sizes), self.ids[entries]] += self.own[entries]
        return np.log(np.maximum(p, LEAST), out=p).reshape(*contexts.shape, -1)

    def log_probability_of(self, ids: Ids, contexts: Ids) -> NDArray[np.float32]:
        """The log-probability of each id after its context, both ``[k]``: ``[k]`` float32."""
        p = np.full(len(ids), 1 / self.vocab_size, np.float32)
        for rows, read in self._with_suffixes(contexts):
            entries, is_known = self._find(read, ids[rows])
            p[rows] *= self.shares[read]
            p[rows[is_known]] += self.own[entries[is_known]]
        return np.log(np.maximum(p, LEAST), out=p)

    @property
    def _fits_tables(self) -> bool:
        return len(self) <= self.most_contexts(self.vocab_size)

    def _next(self, contexts: Ids, ids: Ids) -> Ids:
        """The contexts that ids lead to, ``[k]``, as in :attr:`following`; no table is made if it were large."""
        if self._fits_tables:
            return np.asarray(self.following[contexts, ids])
        found = np.zeros(len(ids), np.int32)
        for rows, read in self._with_suffixes(contexts):  # the longest one that the id leads on from is the last
            entries, is_known = self._find(read, ids[rows])
            leads = is_known.copy()
            leads[is_known] = self.longer[entries[is_known]] >= 0
            found[rows[leads]] = self.longer[entries[leads]]
        return found

    def _with_suffixes(self, contexts: Ids) -> Iterator[tuple[Places, Ids]]:
        """Contexts ``[k]`` and all of their suffixes, the shortest first, with the row of each."""
        chain = [(np.arange(len(contexts)), contexts)]
        while (is_longer := chain[-1][1] > 0).any():
            rows, read = chain[-1]
            chain.append((rows[is_longer], self.suffixes[read[is_longer]]))
        return reversed(chain)

    def _find(self, contexts: Ids, ids: Ids) -> tuple[Places, NDArray[np.bool_]]:
        """The entries of ids after contexts, and whether there is one."""
        return find(self._places, contexts * np.int64(self.vocab_size) + ids)

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        """Context and id of each entry as one number, ``[entries]`` int64, sorted."""
        rows = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        return rows * np.int64(self.vocab_size) + self.ids

    def _by_level(self) -> Iterator[tuple[slice, slice, NDArray[np.intp]]]:
        """The contexts of each length, their entries, and the context of each entry."""
        rows = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        for first, end in pairwise(self.levels):
            entries = slice(self.offsets[first], self.offsets[end])
            yield slice(first, end), entries, rows[entries]

    def rounded(self) -> ContextTree:
        """The tree with its numbers as half precision has them, so that they take half the room.

        They are rounded down, so that they add up to no more than before; a share stays above 0.
        """
        least = np.finfo(np.float16).smallest_subnormal
        return replace(self, shares=np.maximum(_halved(self.shares), least), own=_halved(self.own))

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The arrays by name, for :meth:`from_tensors`."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "vocab_size"}

    def with_ids(self, old_ids: Ids) -> ContextTree:
        """The tree for another vocabulary; an id that is new is as unlikely as the least likely one.

        Args:
            old_ids: ``[ids]`` int32: for each id the one that it had in this tree, -1 for a new one.
        """
        new_ids = np.full(self.vocab_size, -1, np.int32)
        kept = np.flatnonzero(old_ids >= 0)
        new_ids[old_ids[kept]] = kept
        contexts = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        ids = new_ids[self.ids]
        order = np.lexsort((ids, contexts))
        order = order[ids[order] >= 0]
        return ContextTree(
            suffixes=self.suffixes,
            shares=self.shares,
            offsets=np.searchsorted(contexts[order], np.arange(len(self) + 1)).astype(np.int32),
            ids=ids[order],
            own=self.own[order],
            longer=self.longer[order],
            vocab_size=len(old_ids),
        )

    @classmethod
    def of_nothing(cls, vocab_size: int) -> ContextTree:
        """The tree of no text: every id is as likely as any other."""
        none = np.zeros(0, np.int32)
        return cls(
            suffixes=np.zeros(2, np.int32),
            shares=np.ones(2, np.float32),
            offsets=np.zeros(3, np.int32),
            ids=none,
            own=np.zeros(0, np.float32),
            longer=none,
            vocab_size=vocab_size,
        )

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]], vocab_size: int) -> ContextTree:
        """The inverse of :meth:`tensors`; all arrays are checked before tables are made of them.

        Raises:
            ArtifactError: if they are not those of a tree.
        """
        dtypes = {field.name: np.float32 if field.name in ("shares", "own") else np.int32 for field in fields(cls)}
        del dtypes["vocab_size"]
        kinds = {name: (array.dtype, array.ndim) for name, array in tensors.items()}
        if kinds != {name: (np.dtype(dtype), 1) for name, dtype in dtypes.items()}:
            raise ArtifactError("the tensors of the n-gram are missing, superfluous, or of a wrong dtype or shape")
        tree = cls(vocab_size=vocab_size, **{name: np.asarray(array) for name, array in tensors.items()})
        for is_damaged, fault in tree._faults():
            if is_damaged:
                raise ArtifactError(f"the n-gram is damaged: {fault}")
        return tree

    def _faults(self) -> Iterator[tuple[bool | np.bool_, str]]:
        """Whether the arrays are damaged, and how; what follows a fault relies on there being none."""
        contexts, entries = len(self.suffixes), len(self.ids)
        sizes = (len(self.shares), len(self.offsets) - 1, len(self.own), len(self.longer))
        yield contexts < 2 or sizes != (contexts, contexts, entries, entries), "its tensors differ in length"
        too_many = f"{contexts:,} contexts of {self.vocab_size:,} ids are too many"
        yield contexts > self.most_contexts(self.vocab_size), too_many
        numbers = np.arange(contexts)
        is_earlier = (self.suffixes >= 0) & (self.suffixes < np.maximum(numbers, 1))
        yield not is_earlier.all() or self.suffixes[BEGINNING] != 0, "a suffix does not come before its context"
        yield self.levels[-1] != contexts, f"it has contexts of more than {LONGEST} ids"
        lengths = np.searchsorted(self.levels, numbers, "right") - 1
        suffix_lengths = np.maximum(lengths - 1, 0)
        yield (lengths[self.suffixes] != suffix_lengths).any(), "its contexts are not sorted by length"
        offsets = self.offsets.astype(np.int64)  # differences of 32 bits could overflow
        steps = offsets[1:] - offsets[:-1]
        is_whole = self.offsets[0] == 0 and self.offsets[-1] == entries
        yield not is_whole or (steps < 0).any(), "its offsets are not in order"
        yield ((self.ids < 0) | (self.ids >= self.vocab_size)).any(), "an id is not in the vocabulary"
        rows = np.repeat(numbers, steps)
        yield (np.diff(self._places) <= 0).any(), "the ids of a context are not sorted"
        yield ((self.longer < -1) | (self.longer >= contexts)).any(), "an id leads to no context"
        known = self.longer >= 0
        before, ids, longer = rows[known], self.ids[known], self.longer[known]
        led_to = np.bincount(longer, minlength=contexts)
        is_longer = (lengths[longer] == lengths[before] + 1) & (
            (before == 0) | (self.following[self.suffixes[before], ids] == self.suffixes[longer])
        )
        yield not is_longer.all() or led_to[:2].any() or led_to.max() > 1, "an id leads to another context than its own"
        yield not (np.isfinite(self.shares).all() and np.isfinite(self.own).all()), "it has numbers that are not finite"
        is_no_share = (self.shares <= 0) | (self.shares > 1)
        yield is_no_share.any() or (self.own < 0).any(), "it has numbers that are no shares"
        sums = np.bincount(rows, self.own, contexts).astype(np.float64)
        for first, end in pairwise(self.levels):
            suffixes = self.suffixes[first:end]
            sums[first:end] += self.shares[first:end] * (sums[suffixes] if first else 1.0)
        yield (sums > 1 + ROUNDING).any(), "its probabilities add up to more than 1"


def _halved(numbers: NDArray[np.float32]) -> NDArray[np.float32]:
    """Numbers from 0 on, rounded down to those of half precision."""
    half = numbers.astype(np.float16)
    return np.where(half > numbers, np.nextafter(half, np.float16(0)), half).astype(np.float32)
