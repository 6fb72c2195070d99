"""Words of the Philox4x64-10 streams of many keys at once.

Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3, SC 2011.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Numbers of 64 bits.
Words = NDArray[np.uint64]

#: Multipliers of the first and the third word of a block, and what is added to the two words of a key in each round.
MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
STEPS = np.array([[0x9E3779B97F4A7C15], [0xBB67AE8584CAA73B]], np.uint64)
ROUNDS = 10

#: Words of a block.
BLOCK = 4

#: Blocks that are computed at once: their arrays stay in the cache.
AT_ONCE = 4096

_HALF, _LOW = np.uint64(32), np.uint64(2**32 - 1)


def stream_words(keys: Words, starts: NDArray[np.int64], count: int) -> Words:
    """Words of the stream of each key, which is ``numpy.random.Philox(key=key).random_raw()``.

    Args:
        keys: ``[keys, 2]`` uint64.
        starts: the place of the first word in each stream, ``[keys]`` int64.
        count: the number of words of each key.

    Returns:
        ``[count, keys]`` uint64.
    """
    first, skip = np.divmod(starts, BLOCK)
    blocks = -(-(int(skip.max(initial=0)) + count) // BLOCK)
    words = np.empty((blocks, BLOCK, len(keys)), np.uint64)
    counters = first.astype(np.uint64) + np.arange(1, blocks + 1, dtype=np.uint64)[:, None]
    step = max(1, AT_ONCE // max(1, blocks))
    for start in range(0, len(keys), step):
        some = slice(start, start + step)
        words[:, :, some] = _blocks(keys[some], counters[:, some])
    return np.take_along_axis(words.reshape(blocks * BLOCK, len(keys)), skip + np.arange(count)[:, None], axis=0)


def _blocks(keys: Words, counters: Words) -> Words:
    """The blocks of keys ``[keys, 2]`` with counters ``[blocks, keys]``: ``[blocks, 4, keys]``."""
    keys = keys.T.copy()
    words = np.zeros((BLOCK, *counters.shape), np.uint64)
    words[0] = counters
    (word_0, word_1, word_2, word_3), spare = words, np.empty((7, *counters.shape), np.uint64)
    high_0, low_0, high_1, low_1 = spare[:4]
    for _ in range(ROUNDS):
        _multiply(word_0, MULTIPLIERS[0], high_0, low_0, spare[4:])
        _multiply(word_2, MULTIPLIERS[1], high_1, low_1, spare[4:])
        for high, word, key in ((high_1, word_1, keys[0]), (high_0, word_3, keys[1])):
            np.bitwise_xor(high, word, out=high)
            np.bitwise_xor(high, key, out=high)
        # The next products overwrite the words that these were computed from.
        word_0, word_1, word_2, word_3, high_0, low_0, high_1, low_1 = (
            *(high_1, low_1, high_0, low_0),
            *(word_0, word_1, word_2, word_3),
        )
        keys += STEPS
    return np.stack([word_0, word_1, word_2, word_3], axis=1)


def _multiply(words: Words, multiplier: int, upper: Words, lower: Words, spare: Words) -> None:
    """Multiply words by a number of 64 bits, by halves of both.

    Args:
        words: of any shape.
        multiplier: the number.
        upper: of that shape, for the upper halves of the products.
        lower: the same for the lower halves.
        spare: three such arrays, which are written to.
    """
    times_high, times_low = np.uint64(multiplier >> 32), np.uint64(multiplier % 2**32)
    low, high, middle = spare
    np.multiply(words, np.uint64(multiplier), out=lower)
    np.bitwise_and(words, _LOW, out=low)
    np.right_shift(words, _HALF, out=high)
    np.multiply(low, times_low, out=middle)
    np.right_shift(middle, _HALF, out=middle)
    np.multiply(low, times_high, out=low)
    np.add(middle, low, out=middle)
    np.multiply(high, times_high, out=upper)
    np.multiply(high, times_low, out=high)
    np.bitwise_and(middle, _LOW, out=low)
    np.add(high, low, out=high)
    for carried in (middle, high):
        np.right_shift(carried, _HALF, out=carried)
        np.add(upper, carried, out=upper)
