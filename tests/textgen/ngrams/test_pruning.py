import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.textgen.ngrams.definition import MARK, ORDERS, ROWS, Definition, V, count
from textgen import make_tree


def contexts_of(tree):
    """The ids of each context, by its number."""
    rows = np.repeat(np.arange(len(tree)), np.diff(tree.offsets))
    found = {0: (), tree.beginning: (MARK,)}
    for row, following, longer in zip(rows.tolist(), tree.ids.tolist(), tree.longer.tolist(), strict=True):
        if longer >= 0:
            assert longer not in found
            found[longer] = (*found[row], following)
    return [found[number] for number in range(len(tree))]


def same(tree, other):
    return all(np.array_equal(array, other.tensors()[name]) for name, array in tree.tensors().items())


@given(ROWS, ORDERS, st.none() | st.integers(2, 40))
def test_probabilities_are_those_of_the_definition(rows, order, most):
    tree = make_tree(count(rows, order), most)
    contexts = contexts_of(tree)
    assert most is None or len(tree) <= most
    definition = Definition(rows, order, None if most is None else {*contexts})
    expected = [[definition.probability(context, following) for following in range(V)] for context in contexts]
    np.testing.assert_allclose(np.exp(tree.logits), expected, rtol=1e-5)
    np.testing.assert_allclose(np.exp(tree.logits.astype(np.float64)).sum(axis=1), 1, rtol=1e-5)


@given(ROWS, ORDERS)
def test_all_contexts_are_there_unless_they_are_limited(rows, order):
    tree = make_tree(count(rows, order))
    assert {gram[:-1] for gram in Definition(rows, order).raw} <= {*contexts_of(tree)}
    assert same(tree, make_tree(count(rows, order), len(tree)))


@given(ROWS, ORDERS, st.integers(2, 40))
def test_what_a_context_needs_is_kept(rows, order, most):
    contexts = contexts_of(make_tree(count(rows, order), most))
    for context in contexts[2:]:
        assert context[1:] in contexts
        assert context[:-1] in contexts


def test_contexts_that_predict_are_kept():
    # After 0, 1, 2 comes 3, unless 1 came before it; all else is random. Four ids decide, so three do not help.
    rng = np.random.default_rng(0)
    ids = rng.integers(0, V, 40_000)
    for at in np.flatnonzero((ids[:-3] == 0) & (ids[1:-2] == 1) & (ids[2:-1] == 2)):
        ids[at + 3] = 1 if at and ids[at - 1] == 1 else 3
    rows = [[(int(i), True) for i in ids]]
    contexts = contexts_of(make_tree(count(rows, 6), 12))
    assert {(0, 1, 2), (1, 0, 1, 2)} <= {*contexts}
    assert len(contexts) <= 12
    assert max(map(len, contexts)) == 4
