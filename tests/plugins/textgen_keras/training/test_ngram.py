"""A network on top of an n-gram: the contexts that its batches are read in, and the losses that follow."""

from dataclasses import replace

import numpy as np
import pytest

from textgen import Batch, ContextTree, Dataset, count_parts, jackknifed_trees
from textgen.text.batches import PARTS, Lanes, PackedDocuments, PaddedDocuments, Windows
from textgen.text.encoded import EncodedText
from textgen_keras.training.ngram import CarriedContexts, NGram

V, ORDER = 6, 4


def text(seed: int = 0, documents: int = 60) -> EncodedText:
    rng = np.random.default_rng(seed)
    return EncodedText.join(
        [rng.choice(V, length, p=[0.4, 0.2, 0.2, 0.1, 0.06, 0.04]) for length in rng.integers(2, 30, documents)]
    )


PLANS = {
    "padded": lambda part: PaddedDocuments(part, 7, pad_id=0, bucket=True, resets_state=True),
    "packed": lambda part: PackedDocuments(part, length=9, batch_size=4),
    "windows": lambda part: Windows(part, length=9, batch_size=4),
    "lanes": lambda part: Lanes(part, length=9, batch_size=4),
    "one lane": lambda part: Lanes(part, length=9, batch_size=1),
}


def dataset(layout: str, seed: int = 0) -> Dataset:
    return Dataset(PLANS[layout](text(seed)), carries_state=layout not in ("padded", "windows"))


@pytest.mark.parametrize("layout", PLANS)
def test_a_target_is_predicted_by_a_tree_that_was_not_counted_in_it(layout):
    """The text of a part is changed: its own tree stays the same."""
    data = dataset(layout)
    trees = jackknifed_trees(count_parts(data, ORDER, V), 1000)
    ngram = NGram(trees)
    for epoch in range(2):
        contexts = CarriedContexts(ngram, carries=data.carries_state, is_learning=True)
        parts_seen = set()
        for batch in data.train.batches(epoch):
            rows = contexts.read(batch)
            numbers = np.searchsorted(ngram.firsts, rows, "right") - 1
            counts = batch.weights > 0
            np.testing.assert_array_equal(numbers[counts], batch.parts[counts] + 1)
            parts_seen |= {*batch.parts[counts].tolist()}
        assert parts_seen == {*range(PARTS)}


@pytest.mark.parametrize("layout", PLANS)
def test_the_parts_of_a_text_are_the_same_in_every_epoch(layout):
    """What was counted of a part in the first epoch is all that it has in a later one, but for ids that are left out."""
    data = dataset(layout)
    first = count_parts(data, 1, V)
    plan = data.train
    later = np.zeros((PARTS, V), int)
    for batch in plan.batches(epoch=3):
        counts = batch.weights > 0
        np.add.at(later, (batch.parts[counts], batch.targets[counts]), 1)
    for part, counted in enumerate(first):
        counted.merge()
        found = np.zeros(V, int)
        found[counted.codes - 1] = counted.counts
        if layout in ("packed", "windows"):  # up to a batch is left out of each epoch
            assert abs(found.sum() - later[part].sum()) <= 40
        else:
            np.testing.assert_array_equal(found, later[part])


@pytest.mark.parametrize("layout", PLANS)
def test_the_context_is_the_longest_known_end_of_the_text(layout):
    """The whole tree, as on held-out text, against all ends of what was read."""
    data = dataset(layout)
    (tree, *_) = jackknifed_trees(count_parts(data, ORDER, V), 1000)
    names = contexts_of(tree)
    reader = CarriedContexts(NGram([tree]), carries=data.carries_state, is_learning=False)
    read: list[list[int]] = []
    for batch in data.train.batches(0):
        rows = reader.read(batch)
        if not data.carries_state or batch.resets_state:
            read = [[-1] for _ in batch.inputs]
        lengths = batch.lengths()
        for row, ids in enumerate(batch.inputs):
            for position, token in enumerate(ids[: len(ids) if lengths is None else lengths[row]].tolist()):
                read[row].append(token)
                ends = (tuple(read[row][-length:]) for length in range(ORDER - 1, -1, -1) if length <= len(read[row]))
                longest = next(end if end != (-1,) else () for end in ends if (end if end else ()) in names)
                assert names[longest] == rows[row, position]


def contexts_of(tree: ContextTree) -> dict[tuple[int, ...], int]:
    """The contexts by their ids, -1 for the beginning; found by following the tree from its beginning."""
    names = {(): 0, (-1,): tree.beginning}
    for context in range(2, len(tree)):
        # The last id of a context is the one by which it is reached.
        entries = np.flatnonzero(tree.longer == context)
        if not len(entries):
            continue  # its first ids are never predicted, as where a document begins in a lane
        entry = int(entries[0])
        before = int(np.searchsorted(tree.offsets, entry, "right") - 1)
        shorter = next((name for name, number in names.items() if number == before), None)
        if shorter is None:
            continue
        names[(*shorter, int(tree.ids[entry]))] = context
    return names


def test_what_is_carried_goes_on_where_it_was_and_reset_rows_begin_anew():
    data = dataset("lanes")
    ngram = NGram(jackknifed_trees(count_parts(data, ORDER, V), 1000))
    batches = list(data.train.batches(0))
    whole = CarriedContexts(ngram, carries=True, is_learning=True)
    expected = [whole.read(batch) for batch in batches]
    begun, resumed = (CarriedContexts(ngram, carries=True, is_learning=True) for _ in range(2))
    for batch in batches[:3]:
        begun.read(batch)
    assert begun.after is not None
    resumed.take(begun.after)
    np.testing.assert_array_equal(resumed.read(batches[3]), expected[3])
    begun.reset(np.array([True, False, False, True]))
    anew = replace(batches[3], resets_state=True)
    reset, fresh = begun.read(batches[3]), CarriedContexts(ngram, carries=True, is_learning=True).read(anew)
    np.testing.assert_array_equal(reset[[1, 2]], expected[3][[1, 2]])
    if (batches[3].parts[:, 0] == batches[2].parts[:, -1]).all():
        np.testing.assert_array_equal(reset[[0, 3]], fresh[[0, 3]])


@pytest.mark.keras
def test_the_loss_and_its_gradients_are_those_of_the_sum_of_both_logits():
    import tensorflow as tf

    from textgen_keras.network.compiled import head_cross_entropy

    rng = np.random.default_rng(0)
    time, batch, units, contexts = 5, 3, 4, 7
    hidden, kernel, bias, table = (
        tf.constant(rng.normal(size=shape), tf.float32)
        for shape in ([time, batch, units], [units, V], [V], [contexts, V])
    )
    targets, rows = (tf.constant(rng.integers(0, most, (batch, time)), tf.int32) for most in (V, contexts))
    weights = tf.constant(rng.random((batch, time)), tf.float32)

    def ours():
        return head_cross_entropy(hidden, kernel, bias, targets, weights, table, rows)

    def theirs():
        logits = tf.transpose(hidden @ kernel + bias, [1, 0, 2]) + tf.gather(table, rows)
        return tf.reduce_sum(weights * tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits))

    found = []
    for loss in (ours, theirs):
        with tf.GradientTape() as tape:
            tape.watch([hidden, kernel, bias])
            nats = loss()
        found.append([nats, *tape.gradient(nats, [hidden, kernel, bias])])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_contexts_of_another_model_are_refused():
    from textgen.errors import ArtifactError

    contexts = CarriedContexts(NGram([ContextTree.of_nothing(V)]), carries=True, is_learning=False)
    for after in (
        np.array([2], np.int32),
        np.array([-1], np.int32),
        np.array([0], np.int64),
        np.zeros((1, 1), np.int32),
    ):
        with pytest.raises(ArtifactError, match="contexts"):
            contexts.take(after)


def test_a_batch_of_unknown_parts_is_read_with_the_tree_of_the_whole_text():
    ngram = NGram([ContextTree.of_nothing(V)] * 3)
    ids = np.zeros((2, 3), np.int32)
    rows = CarriedContexts(ngram, carries=False, is_learning=True).read(Batch(ids, ids, np.ones((2, 3), np.float32)))
    assert rows.max() < 2
