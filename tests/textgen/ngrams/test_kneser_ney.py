from itertools import product

import numpy as np
from hypothesis import given

from tests.textgen.ngrams.definition import MARK, ORDERS, ROWS, Definition, V, count
from textgen import KneserNey


@given(ROWS, ORDERS)
def test_probabilities_are_those_of_the_definition(rows, order):
    definition, smoothed = Definition(rows, order), KneserNey(count(rows, order))
    base = V + 1
    contexts = [
        (MARK,) * (order - 1 - length) + ids for length in range(order) for ids in product(range(V), repeat=length)
    ][-300:]
    codes = (np.array(contexts) + 1) @ base ** np.arange(order - 2, -1, -1)
    for following in range(V):
        found = smoothed.probabilities(codes, np.full(len(codes), following))
        expected = [definition.probability(one_mark(context), following) for context in contexts]
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def one_mark(context):
    """A context with one mark at its beginning at most."""
    return context[max(context.count(MARK) - 1, 0) :]
