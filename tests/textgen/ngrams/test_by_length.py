from collections import Counter

import numpy as np
from hypothesis import given

from tests.textgen.ngrams.definition import MARK, ORDERS, ROWS, Definition, V, count
from textgen.ngrams.by_length import by_length


def spelt(code, length):
    """The digits of a code, as ids and marks."""
    return tuple(int(code) // (V + 1) ** place % (V + 1) - 1 for place in range(length - 1, -1, -1))


@given(ROWS, ORDERS)
def test_the_n_grams_of_a_text_and_their_links(rows, order):
    levels = by_length(count(rows, order))
    grams = [[spelt(code, length) for code in level.codes] for length, level in enumerate(levels, 1)]
    contexts = [[spelt(code, length) for code in level.contexts] for length, level in enumerate(levels)]
    found: Counter = Counter()
    for names, level in zip(grams, levels, strict=True):
        found.update(dict(zip(names, level.counts.tolist(), strict=True)))
    assert +found == Definition(rows, order).raw
    for length, level in enumerate(levels):
        assert (np.diff(level.codes) > 0).all()
        assert (np.diff(level.contexts) > 0).all()
        always = {(), (MARK,)} if length < 2 else set()
        assert {*contexts[length]} - always == {gram[:-1] for gram in grams[length]} - always
        assert always & {*contexts[length]} or length > 1
        for place, gram in enumerate(grams[length]):
            assert contexts[length][level.context_of[place]] == gram[:-1]
            assert level.offsets[level.context_of[place]] <= place < level.offsets[level.context_of[place] + 1]
            assert level.begins[place] == (gram[0] == MARK)
            if length:
                assert grams[length - 1][level.suffixes[place]] == gram[1:]
            if length + 1 < order:
                longer = level.longer[place]
                assert (contexts[length + 1][longer] if longer >= 0 else None) == (
                    gram if gram in contexts[length + 1] else None
                )
        if length:  # every context can be reached by reading
            assert {context for context in contexts[length] if context[-1] != MARK} <= {*grams[length - 1]}
