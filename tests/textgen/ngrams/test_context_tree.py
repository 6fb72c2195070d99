from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.textgen.ngrams.definition import MARK, ORDERS, ROWS, V, count
from tests.textgen.ngrams.test_pruning import contexts_of, same
from textgen import ContextTree, make_tree
from textgen.errors import ArtifactError
from textgen.ngrams import context_tree

MOST = st.none() | st.integers(2, 40)
TEXT = st.lists(st.integers(0, V - 1), min_size=1, max_size=20)


@pytest.fixture(scope="module")
def tree():
    """A tree of a text of 60 ids, of contexts of 0 to 3."""
    ids = np.random.default_rng(1).integers(0, V, 60)
    return make_tree(count([[(int(i), True) for i in ids]], 4))


@given(ROWS, ORDERS, MOST, TEXT, st.integers(0, 20))
def test_the_longest_known_end_of_a_text_is_read(rows, order, most, text, cut):
    tree = make_tree(count(rows, order), most)
    contexts = contexts_of(tree)
    expected = []
    for end in range(len(text) + 1):
        marked = (MARK, *text[:end])
        expected.append(next(contexts.index(marked[at:]) for at in range(end + 2) if marked[at:] in contexts))
    start = np.array([tree.beginning], np.int32)
    np.testing.assert_array_equal(tree.read(np.array([text], np.int32), start), [expected])
    first = tree.advance(np.array([text[:cut]], np.int32).reshape(1, -1), start)[1]
    second = tree.advance(np.array([text[cut:]], np.int32).reshape(1, -1), first)[1]
    assert second.tolist() == expected[-1:]
    at = np.array([min(cut, len(text))], np.int32)
    assert tree.advance(np.array([text], np.int32), start, at)[1].tolist() == [expected[at[0]]]


@given(ROWS, ORDERS, MOST, TEXT)
def test_a_tree_too_large_for_tables_computes_the_same(rows, order, most, text):
    small, large = (make_tree(count(rows, order), most) for _ in range(2))
    ids, start = np.array([text, text[::-1]], np.int32), np.array([0, 1], np.int32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(context_tree, "MOST_NUMBERS", 0)
        read = large.read(ids, start)
        logits = large.log_probabilities(read)
        assert not {"logits", "following"} & {*vars(large)}
    np.testing.assert_array_equal(read, small.read(ids, start))
    np.testing.assert_array_equal(logits, small.log_probabilities(read))
    np.testing.assert_array_equal(logits, small.logits[read])
    flat = read[:, :-1].ravel()
    np.testing.assert_array_equal(small.log_probability_of(ids.ravel(), flat), small.logits[flat, ids.ravel()])


@given(ROWS, ORDERS, MOST)
def test_arrays_come_back(rows, order, most):
    tree = make_tree(count(rows, order), most)
    assert same(ContextTree.from_tensors(tree.tensors(), V), tree)


def test_a_tree_of_nothing_is_that_of_no_text():
    assert same(ContextTree.of_nothing(V), make_tree(count([], 3)))
    np.testing.assert_allclose(ContextTree.of_nothing(V).logits, -np.log(V), rtol=1e-6)


@given(ROWS, ORDERS, MOST, st.permutations([0, 1, 2, 3, -1, -1]), TEXT)
def test_old_ids_are_predicted_as_before_beside_new_ones(rows, order, most, old_ids, text):
    tree = make_tree(count(rows, order), most)
    grown = tree.with_ids(np.array(old_ids, np.int32))
    assert grown.vocab_size == 6
    ContextTree.from_tensors(grown.tensors(), 6)
    start = np.array([tree.beginning], np.int32)
    renamed = np.array([[old_ids.index(i) for i in text]], np.int32)
    read = tree.read(np.array([text], np.int32), start)[0]
    np.testing.assert_array_equal(grown.read(renamed, start)[0], read)
    p, old = np.exp(grown.logits[read].astype(np.float64)), np.exp(tree.logits[read].astype(np.float64))
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    kept = [old_ids.index(i) for i in range(V)]
    assert (p[:, kept] <= old + 1e-6).all()
    new = [i for i in range(6) if old_ids[i] < 0]
    assert (p[:, new] <= p[:, kept].min(axis=1, keepdims=True) * (1 + 1e-5)).all(), "none is less likely than a new one"


@pytest.mark.parametrize("context", [-1, 10**6])
def test_an_unknown_context_is_refused(tree, context):
    with pytest.raises(ArtifactError, match=r"does not belong to this model, whose n-gram has [0-9]+ contexts"):
        tree.read(np.zeros((1, 1), np.int32), np.array([context], np.int32))


def changed(name, at, value):
    def change(tensors):
        tensors[name] = tensors[name].copy()
        tensors[name][at] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("own"), "missing, superfluous, or of a wrong dtype or shape"),
        (lambda tensors: tensors.update(other=tensors["own"]), "superfluous"),
        (lambda tensors: tensors.update(own=tensors["own"].astype(np.float64)), "wrong dtype"),
        (lambda tensors: tensors.update(ids=tensors["ids"][:, None]), "wrong dtype or shape"),
        *(
            (lambda tensors, n=name: tensors.update({n: tensors[n][:-1]}), "differ in length")
            for name in ("shares", "ids")
        ),
        (lambda tensors: tensors.update({name: array[:0] for name, array in tensors.items()}), "differ in length"),
        (changed("suffixes", 0, 1), "suffix does not come before"),
        (changed("suffixes", 1, 1), "suffix does not come before"),
        (changed("suffixes", 7, -1), "suffix does not come before"),
        (changed("suffixes", 7, 10**6), "suffix does not come before"),
        (changed("suffixes", -1, 0), "not sorted by length"),
        (changed("offsets", 0, 1), "offsets are not in order"),
        (changed("offsets", 3, 0), "offsets are not in order"),
        (changed("offsets", -1, 10**6), "offsets are not in order"),
        (changed("offsets", slice(3, 6), [2**31 - 1, -(2**31), -1]), "offsets are not in order"),
        (changed("ids", 2, V), "not in the vocabulary"),
        (changed("ids", 2, -1), "not in the vocabulary"),
        (changed("ids", 1, 0), "ids of a context are not sorted"),
        (changed("longer", 2, -2), "leads to no context"),
        (changed("longer", 2, 10**6), "leads to no context"),
        (changed("longer", 0, 0), "leads to another context than its own"),
        (changed("longer", 0, 1), "leads to another context than its own"),
        (changed("longer", 0, 3), "leads to another context than its own"),
        (changed("longer", -1, 7), "leads to another context than its own"),
        (changed("shares", 4, np.nan), "not finite"),
        (changed("own", 4, np.inf), "not finite"),
        (changed("shares", 4, 0), "no shares"),
        (changed("shares", 4, 1.5e4), "no shares"),
        (changed("own", 4, -0.1), "no shares"),
        (changed("own", 4, 1), "add up to more than 1"),
        (changed("shares", slice(None), 1), "add up to more than 1"),
    ],
)
def test_damaged_arrays_are_refused(tree, change, message):
    tensors = tree.tensors()
    change(tensors)
    with pytest.raises(ArtifactError, match=message):
        ContextTree.from_tensors(tensors, V)


def test_too_many_contexts_are_refused(tree):
    with pytest.raises(ArtifactError, match="contexts of 4,000,000 ids are too many"):
        ContextTree.from_tensors(tree.tensors(), 4_000_000)


def test_contexts_that_are_too_long_are_refused():
    chain = ContextTree.of_nothing(1)
    contexts = 30
    longer = replace(
        chain,
        suffixes=np.array([0, *range(contexts - 1)], np.int32),
        shares=np.ones(contexts, np.float32),
        offsets=np.zeros(contexts + 1, np.int32),
    )
    with pytest.raises(ArtifactError, match="contexts of more than 16 ids"):
        ContextTree.from_tensors(longer.tensors(), 1)


@given(
    st.sampled_from(["suffixes", "shares", "offsets", "ids", "own", "longer"]),
    st.integers(0, 10**6),
    st.integers(-(2**31), 2**31 - 1) | st.integers(-3, 80),
)
def test_whatever_is_accepted_can_be_read(name, at, value):
    """One number is changed: the tree is refused, or gives contexts that it has and finite logits."""
    ids = np.random.default_rng(1).integers(0, V, 60)
    tensors = make_tree(count([[(int(i), True) for i in ids]], 4)).tensors()
    changed(name, at % len(tensors[name]), value / 40 if name in ("shares", "own") else value)(tensors)
    try:
        tree = ContextTree.from_tensors(tensors, V)
    except ArtifactError:
        return
    read = tree.read(ids[None].astype(np.int32), np.array([tree.beginning], np.int32))
    assert 0 <= read.min() <= read.max() < len(tree)
    assert np.isfinite(tree.logits).all()


@given(ROWS, ORDERS)
def test_numbers_of_half_precision_are_no_larger_and_still_a_tree(rows, order):
    tree = make_tree(count(rows, order))
    half = tree.rounded()
    assert same_structure(half, tree)
    for ours, theirs in ((half.own, tree.own), (half.shares, tree.shares)):
        np.testing.assert_array_equal(ours, ours.astype(np.float16))
        assert (ours <= np.maximum(theirs, 2.0**-24)).all()
        np.testing.assert_allclose(ours, theirs, rtol=2**-10, atol=2.0**-24)
    ContextTree.from_tensors(half.tensors(), half.vocab_size)


def same_structure(tree, other):
    names = ("suffixes", "offsets", "ids", "longer")
    return all(np.array_equal(getattr(tree, name), getattr(other, name)) for name in names)
