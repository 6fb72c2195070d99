"""Drawing ids: a sampler chain at work on the rows of a batch, and the random numbers that it draws with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textgen.base.values import dtype_and_shape
from textgen.errors import OptionError, fault_of
from textgen.sampling.chain import Chain
from textgen.sampling.philox import stream_words
from textgen.sampling.sampler import Logits, Sampler

#: NumPy's generator is set up anew for each row, which takes as long as some 30 words. For so many rows and more, with
#: so many words each and fewer, computing the words of all rows at once is faster.
MANY_ROWS, FEW_WORDS = 256, 32


class Draw:
    """A sampler chain at work on the rows of a batch, each row with its own numbers.

    Args:
        chains: one per row; all with the same names in the same order.
        vocab_size: ids from 0 to ``vocab_size - 1``.
        forbidden: ids that are never drawn.

    Attributes:
        chain: the chain of the first row, which stands for all: the others differ in numbers alone.
        forbidden: the ids that are never drawn, ``[n]`` intp.
        parameters: of each sampler, by name, ``[batch, 1]`` float32.
        seen: ``[batch, vocab]`` bool, the ids in each row's prompt and text; ``None`` unless the chain uses them.

    Raises:
        OptionError: if the chains of the rows differ in more than numbers, or every id is forbidden.
    """

    def __init__(self, chains: Sequence[Chain], vocab_size: int, forbidden: Sequence[int] = ()) -> None:
        self.chain = chains[0]
        self._vocab_size = vocab_size
        if any(chain.form != self.chain.form for chain in chains):
            raise OptionError("the rows of one batch must share the names of their sampler chain, and its selector")
        if len(set(forbidden)) >= vocab_size:
            raise OptionError("every id of the vocabulary is forbidden: there is nothing to draw")
        self.forbidden = np.asarray(forbidden, dtype=np.intp)
        self._is_forbidden = np.zeros(vocab_size, np.bool_)
        self._is_forbidden[self.forbidden] = True
        self.seen = np.zeros((len(chains), vocab_size), np.bool_) if self.chain.uses_history else None
        self.parameters: list[dict[str, Logits]] = [
            {name: _column([chain.parameters[i][name] for chain in chains]) for name in parameters}
            for i, parameters in enumerate(self.chain.parameters)
        ]

    def draw(self, logits: Logits, uniforms: NDArray[np.float32]) -> NDArray[np.int32]:
        """Draw ids ``[batch]`` int32 from logits ``[batch, vocab]`` float32 and uniforms ``[batch]`` float32."""
        logits, selector = self.transform(logits), self.chain.owners[-1]
        ids = self.chain.selector.select(logits if selector is None else logits.copy(), uniforms)
        if selector is not None:
            ids = self._selected(selector, ids, logits)
        self.note(np.arange(len(ids)), ids)
        return ids

    def transform(self, logits: Logits) -> Logits:
        """What the selector draws from: logits after the samplers, ``[batch, vocab]`` float32."""
        if len(self.forbidden):
            logits = logits.copy()
            logits[:, self.forbidden] = -np.inf
        for sampler, parameters, owner in zip(self.chain.samplers, self.parameters, self.chain.owners, strict=False):
            if owner is None:
                logits = sampler.transform(logits, parameters, self.seen)
            else:
                logits = self._transformed(owner, sampler, logits, parameters)
        return logits

    def checked_ids(self, ids: Any, shape: tuple[int, ...], owner: str) -> NDArray[np.int32]:
        """The ids that a plugin has drawn, as int32, after a check.

        Args:
            ids: what it returned.
            shape: what the shape must be.
            owner: the plugin, as errors name it.

        Raises:
            PluginError: if these are not whole numbers of that shape, one is not in the vocabulary, or is forbidden.
        """
        if not isinstance(ids, np.ndarray) or ids.shape != shape or ids.dtype.kind not in "iu":
            raise fault_of(owner, f"drew {dtype_and_shape(ids)} instead of ids int32 {shape}")
        if ids.size and not 0 <= ids.min() <= ids.max() < self._vocab_size:
            wrong = ids.min() if ids.min() < 0 else ids.max()
            raise fault_of(owner, f"drew the id {wrong}, but ids are from 0 to {self._vocab_size - 1}")
        if (wrong := self.first_forbidden(ids)) is not None:
            raise fault_of(owner, f"drew the id {wrong}, which must never be drawn")
        return ids.astype(np.int32, copy=False)

    def first_forbidden(self, ids: NDArray[np.integer[Any]]) -> int | None:
        """The first of some ids of the vocabulary that is forbidden; ``None`` if none is."""
        if not len(self.forbidden):
            return None
        drawn = ids[self._is_forbidden[ids]]
        return int(drawn[0]) if drawn.size else None

    def _transformed(self, owner: str, sampler: Sampler, logits: Logits, parameters: dict[str, Logits]) -> Logits:
        """What the sampler of a third party makes of logits, after a check; forbidden ids stay excluded."""
        own = {name: values.copy() for name, values in parameters.items()}
        found: Any = sampler.transform(logits.copy(), own, None if self.seen is None else self.seen.copy())
        if not isinstance(found, np.ndarray) or (found.shape, found.dtype) != (logits.shape, np.float32):
            raise fault_of(owner, f"returned {dtype_and_shape(found)} instead of logits float32 {logits.shape}")
        if len(self.forbidden):
            found = found.copy()
            found[:, self.forbidden] = -np.inf
        best = found.max(axis=1)
        if np.isneginf(best).any():
            raise fault_of(owner, "leaves no id to draw")
        if not np.isfinite(best).all():
            raise fault_of(owner, f"returned the logit {best[~np.isfinite(best)][0]}")
        checked: Logits = found
        return checked

    def _selected(self, owner: str, ids: Any, logits: Logits) -> NDArray[np.int32]:
        """The ids that the selector of a third party drew, after a check."""
        drawn = self.checked_ids(ids, logits.shape[:1], owner)
        excluded = drawn[np.isneginf(logits[np.arange(len(drawn)), drawn])]
        if len(excluded):
            raise fault_of(owner, f"drew the id {excluded[0]}, which the samplers before it exclude")
        return drawn

    def note(self, rows: NDArray[np.intp] | int, ids: NDArray[np.int32]) -> None:
        """Mark ids as seen in rows, or in one row."""
        if self.seen is not None:
            self.seen[rows, ids] = True

    def join(self, other: Draw) -> None:
        """Append the rows of another one, whose chains share names and selector with these."""
        self.parameters = [
            {name: np.concatenate([values, others[name]]) for name, values in each.items()}
            for each, others in zip(self.parameters, other.parameters, strict=True)
        ]
        if self.seen is not None and other.seen is not None:
            self.seen = np.concatenate([self.seen, other.seen])

    def keep(self, rows: NDArray[np.intp]) -> None:
        """Drop all rows but these."""
        self.parameters = [{name: values[rows] for name, values in each.items()} for each in self.parameters]
        if self.seen is not None:
            self.seen = self.seen[rows]


def _column(values: Sequence[float]) -> Logits:
    return np.asarray(values, dtype=np.float32)[:, None]


def uniforms(
    seed: int | Sequence[int], row_seeds: Sequence[int], start: int | Sequence[int], steps: int
) -> NDArray[np.float32]:
    """The random numbers of generation: one per row and step, which depends on nothing but (seed, row's seed, step).

    The number of step s is the upper 24 bits of word s, over 2**24, of the Philox4x64-10 stream with the key
    ``(seed, row's seed)``, which is ``numpy.random.Philox(key=[seed, row_seed]).random_raw()`` (Salmon, Moraes, Dror
    and Shaw, Parallel random numbers: as easy as 1, 2, 3, SC 2011).

    Args:
        seed: of the generation, 0 to 2**64 - 1, or one per row.
        row_seeds: the seed of each row, 0 to 2**64 - 1.
        start: the first step, or that of each row.
        steps: the number of steps.

    Returns:
        ``[steps, rows]`` float32 in [0, 1), multiples of 2**-24.
    """
    words = random_words(seed, row_seeds, start, steps)
    return (words >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)


def random_words(
    seed: int | Sequence[int], row_seeds: Sequence[int], start: int | Sequence[int], steps: int
) -> NDArray[np.uint64]:
    """The words that :func:`uniforms` takes its numbers from, ``[steps, rows]`` uint64; arguments as there."""
    rows = len(row_seeds)
    if rows >= MANY_ROWS and steps <= FEW_WORDS:
        keys = np.empty((rows, 2), np.uint64)
        keys[:, 0], keys[:, 1] = seed, row_seeds
        return stream_words(keys, np.broadcast_to(np.asarray(start, np.int64), rows), steps)
    seeds = [seed] * rows if isinstance(seed, int | np.integer) else seed
    starts = [start] * rows if isinstance(start, int | np.integer) else start
    words = np.empty((rows, steps), np.uint64)
    generator = np.random.Philox(key=np.zeros(2, np.uint64))
    state: Any = generator.state
    for index, (key, row_seed, first) in enumerate(zip(seeds, row_seeds, starts, strict=True)):
        state["state"]["key"][:] = (key, row_seed)
        state["state"]["counter"][:] = (first // 4, 0, 0, 0)  # the stream comes in blocks of four words
        generator.state = state
        words[index] = generator.random_raw(first % 4 + steps)[first % 4 :]
    return words.T.copy()
