"""n-grams of characters: the share of a text's that are not in training text, and the share that are distinct."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from textgen.text.encoding import in_pieces

#: The numbers of characters for which novelty is measured.
LENGTHS = (4, 6, 8, 10, 15, 20, 30)

Hashes = NDArray[np.uint64]


def hashed_n_grams(texts: Sequence[str], lengths: Collection[int]) -> Iterator[tuple[int, NDArray[np.int64], Hashes]]:
    """Yields the n-grams inside texts, one length after the other, from the shortest.

    Args:
        texts: at least one text.
        lengths: the numbers of characters of an n-gram.

    Yields:
        The length, the number of the text that each n-gram is in, ``[n]`` int64, and its hash, ``[n]`` uint64. Two
        n-grams of one length have the same hash by chance once in about 2**64 pairs.
    """
    points = code_points(texts).astype(np.uint64)
    rows = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    rolling = np.zeros(len(points), np.uint64)
    for length in range(1, min(max(lengths, default=0), len(points)) + 1):
        last = points[length - 1 :]
        rolling = rolling[: len(last)] * np.uint64(1_000_003) + last + np.uint64(1)
        if length in lengths:
            # A polynomial hash, then Fibonacci hashing (Knuth, The Art of Computer Programming 3, section 6.4).
            hashes = rolling * np.uint64(0x9E3779B97F4A7C15)
            inside = rows[: len(last)] == rows[length - 1 :]
            yield length, rows[: len(last)][inside], hashes[inside]


def code_points(texts: Sequence[str]) -> NDArray[np.uint32]:
    """The code points of texts, end to end, ``[n]`` uint32."""
    return np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), "<u4")


def distinct_share(texts: Sequence[str], length: int) -> float | None:
    """The number of distinct n-grams of a length, as a share of all; ``None`` if there are none.

    The measure distinct-n of Li, Galley, Brockett, Gao and Dolan, A Diversity-Promoting Objective Function for Neural
    Conversation Models, NAACL 2016, with characters for words. It falls as a text gets longer.
    """
    for _, _, hashes in hashed_n_grams(texts, [length]):
        return len(np.unique(hashes)) / len(hashes) if len(hashes) else None
    return None


def new_shares(
    columns: Sequence[Sequence[str]], training: Iterable[str], *, is_stream: bool
) -> list[Mapping[int, float]]:
    """The share of texts' n-grams that do not occur in training text, by length.

    R. T. McCoy, P. Smolensky, T. Linzen, J. Gao and A. Celikyilmaz, How Much Do Language Models Copy From Their
    Training Data?, TACL 11, 2023. Every occurrence counts.

    Args:
        columns: several lists of texts, which are held in memory with the hashes of their n-grams.
        training: read once; about a million characters are held at a time.
        is_stream: whether the training texts are the pieces of one text; n-grams then run from one into the next.

    Returns:
        For each list, the shares by length; lengths of which it has no n-gram are left out.
    """
    found = [{length: hashes for length, _, hashes in hashed_n_grams(texts, LENGTHS)} for texts in columns]
    sought = {
        length: _Sought(np.unique(np.concatenate([hashes[length] for hashes in found if length in hashes])))
        for length in LENGTHS
        if any(len(hashes.get(length, ())) for hashes in found)
    }
    before = ""
    for piece in in_pieces(training):
        texts = piece
        if is_stream:
            texts = [before + "".join(piece)]
            before = texts[0][-(max(LENGTHS) - 1) :]
        for length, _, hashes in hashed_n_grams(texts, sought):
            sought[length].meet(hashes)
    return [
        {length: 1 - float(sought[length].has_met(hashes).mean()) for length, hashes in own.items() if len(hashes)}
        for own in found
    ]


class _Sought:
    """Hashes that are looked for among others.

    Args:
        hashes: ``[n]``, sorted, each once.
    """

    #: Bits of a hash by which most others are passed over, in a table that fits a cache.
    BITS = 20

    def __init__(self, hashes: Hashes) -> None:
        self._hashes = hashes
        self._met = np.zeros(len(hashes), np.bool_)
        self._table = np.zeros(1 << self.BITS, np.bool_)
        self._table[self._keys(hashes)] = True

    def _keys(self, hashes: Hashes) -> NDArray[np.intp]:
        return (hashes >> np.uint64(64 - self.BITS)).astype(np.intp)

    def meet(self, others: Hashes) -> None:
        """Notes those that occur among others."""
        others = others[self._table[self._keys(others)]]
        places = np.minimum(np.searchsorted(self._hashes, others), len(self._hashes) - 1)
        self._met[places[self._hashes[places] == others]] = True

    def has_met(self, hashes: Hashes) -> NDArray[np.bool_]:
        """Whether each of some hashes that are looked for was met, ``[k]``."""
        return self._met[np.searchsorted(self._hashes, hashes)]
