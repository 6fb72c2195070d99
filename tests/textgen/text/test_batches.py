from dataclasses import replace
from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen.errors import CorpusError
from textgen.text import encoded, id_store
from textgen.text.batches import Batch, BatchPlan, Dataset, Lanes, PackedDocuments, PaddedDocuments, Windows
from textgen.text.encoded import EncodedText

PAD = -1


def stream(count: int) -> EncodedText:
    """A text in which every id is its own position."""
    return EncodedText.join([np.arange(count, dtype=np.int32)])


def numbered(lengths: list[int]) -> EncodedText:
    """Documents in which every id is its own position in the whole text."""
    return EncodedText.join(np.split(np.arange(sum(lengths), dtype=np.int32), np.cumsum(lengths)[:-1]))


windows = st.builds(
    Windows,
    st.integers(0, 200).map(stream),
    length=st.integers(1, 12),
    batch_size=st.integers(1, 6),
    seed=st.integers(0, 2**32 - 1),
    shuffle=st.booleans(),
    drop_remainder=st.booleans(),
)
lanes = st.builds(Lanes, st.integers(0, 200).map(stream), length=st.integers(1, 12), batch_size=st.integers(1, 6))
documents = st.builds(
    PaddedDocuments,
    st.lists(st.integers(2, 9), min_size=1, max_size=25).map(numbered),
    batch_size=st.integers(1, 6),
    pad_id=st.just(PAD),
    seed=st.integers(0, 2**32 - 1),
    shuffle=st.booleans(),
    drop_remainder=st.booleans(),
    pad_to=st.sampled_from([None, 9, 12]),
    masked=st.booleans(),
    bucket=st.booleans(),
)
bucketed = documents.map(lambda plan: replace(plan, bucket=True))
packed = st.builds(
    PackedDocuments,
    st.lists(st.integers(1, 9), min_size=1, max_size=25).map(numbered),
    length=st.integers(1, 12),
    batch_size=st.integers(1, 6),
    seed=st.integers(0, 2**32 - 1),
    shuffle=st.booleans(),
)
plans = st.one_of(windows, lanes, documents, packed)
epochs = st.integers(0, 3)


def same(a: Batch, b: Batch) -> bool:
    return a.resets_state == b.resets_state and all(
        np.array_equal(x, y) for x, y in ((a.inputs, b.inputs), (a.targets, b.targets), (a.weights, b.weights))
    )


@given(plans, epochs)
def test_every_counted_target_is_the_id_after_its_input(plan: BatchPlan, epoch: int):
    for batch in plan.batches(epoch):
        assert batch.inputs.shape == batch.targets.shape == batch.weights.shape
        assert batch.inputs.dtype == batch.targets.dtype == np.int32
        assert batch.weights.dtype == np.float32
        counts = (batch.weights == 1) & (batch.targets != PAD)
        np.testing.assert_array_equal(batch.targets[counts], batch.inputs[counts] + 1)
        assert set(np.unique(batch.weights)) <= {0, 1}


@given(plans, epochs)
def test_an_epoch_has_the_number_of_batches_it_reports_and_resets_the_state_before_the_first(plan, epoch):
    assert [batch.resets_state for batch in plan.batches(epoch)] == ([True] + [False] * plan.steps)[: plan.steps]


@given(plans, epochs, st.data())
def test_resuming_at_a_batch_gives_the_rest_of_the_epoch(plan, epoch, data):
    start = data.draw(st.integers(0, plan.steps))
    tail = list(islice(plan.batches(epoch), start, None))
    resumed = list(plan.batches(epoch, start))
    assert len(resumed) == len(tail)
    assert all(map(same, resumed, tail))


@given(windows, epochs)
def test_windows_are_adjacent(plan: Windows, epoch: int):
    count, span = len(plan.text.ids), plan.length + 1
    assert plan.examples == count // span
    full, rest = divmod(plan.examples, plan.batch_size)
    assert plan.steps == (full if plan.drop_remainder or rest == 0 else full + 1)
    rows = [row for batch in plan.batches(epoch) for row in batch.inputs]
    starts = [int(row[0]) for row in rows]
    assert all((row == np.arange(row[0], row[0] + plan.length)).all() for row in rows)
    assert all(start % span == 0 for start in starts)
    assert len(set(starts)) == len(starts) == min(plan.examples, plan.steps * plan.batch_size)
    if not plan.shuffle:
        assert starts == sorted(starts)


@given(lanes, epochs)
def test_lanes_continue_where_the_previous_batch_ended(plan: Lanes, epoch: int):
    batches = list(plan.batches(epoch))
    if not batches:
        assert len(plan.text.ids) <= plan.batch_size
        return
    read = np.concatenate([batch.inputs for batch in batches], axis=1)
    expected = np.concatenate([batch.targets for batch in batches], axis=1)
    assert read.shape == (plan.batch_size, (len(plan.text.ids) - 1) // plan.batch_size)
    np.testing.assert_array_equal(read.ravel(), np.arange(read.size))
    np.testing.assert_array_equal(expected.ravel(), np.arange(read.size) + 1)
    assert all(batch.inputs.shape[1] == plan.length for batch in batches[:-1])


@given(documents, epochs)
def test_each_document_is_a_row_whose_padding_does_not_count(plan: PaddedDocuments, epoch: int):
    texts = [plan.text.ids[a:b].tolist() for a, b in pairwise(plan.text.offsets)]
    found = []
    for batch in plan.batches(epoch):
        whole = np.concatenate([batch.inputs[:, :1], batch.targets], axis=1)
        rows = [row[row != PAD].tolist() for row in whole]
        found += rows
        longest = plan.pad_to or max(map(len, rows))
        assert whole.shape[1] == longest
        for row, text, weights in zip(whole, rows, batch.weights, strict=True):
            assert row.tolist() == text + [PAD] * (longest - len(text))
            padded = [0] * (longest - len(text)) if plan.masked else [1] * (longest - len(text))
            assert weights.tolist() == [1] * (len(text) - 1) + padded
    if plan.drop_remainder:
        assert len(found) == len(texts) // plan.batch_size * plan.batch_size
        assert all(found.count(text) == 1 for text in found)
        assert all(text in texts for text in found)
    else:
        assert sorted(found) == sorted(texts)


@given(bucketed, epochs)
def test_a_bucket_holds_documents_of_similar_length(plan: PaddedDocuments, epoch: int):
    bounds = []
    for batch in plan.batches(epoch):
        lengths = 1 + (batch.targets != PAD).sum(axis=1)
        bounds.append((int(lengths.min()), int(lengths.max())))
    bounds.sort()
    assert all(a[1] <= b[0] for a, b in pairwise(bounds))


@given(packed, epochs)
def test_packed_documents_are_whole_and_end_to_end(plan: PackedDocuments, epoch: int):
    batches = list(plan.batches(epoch))
    count = len(plan.text.ids)
    assert len(batches) == plan.steps
    assert all(batch.inputs.shape[1] == plan.length for batch in batches[:-1])
    if not batches:
        assert count <= plan.batch_size
        return
    inputs, targets, weights = (
        np.concatenate([getattr(batch, name) for batch in batches], axis=1) for name in ("inputs", "targets", "weights")
    )
    read = np.append(inputs.ravel(), targets[-1, -1])
    np.testing.assert_array_equal(targets.ravel(), read[1:])
    assert count - plan.batch_size < len(read) <= count
    begins = np.isin(read, plan.text.offsets[:-1])
    assert begins[0]
    np.testing.assert_array_equal(weights.ravel(), np.where(begins[1:], 0, 1))
    found = np.split(read, np.flatnonzero(begins)[1:])
    starts = [int(document[0]) for document in found]
    assert len(set(starts)) == len(starts)
    if not plan.shuffle:
        assert starts == sorted(starts)
    documents = {int(a): np.arange(a, b) for a, b in pairwise(plan.text.offsets)}
    for document in found[:-1]:
        np.testing.assert_array_equal(document, documents[int(document[0])])
    np.testing.assert_array_equal(found[-1], documents[starts[-1]][: len(found[-1])])


@given(documents, epochs)
def test_lengths_count_the_ids_before_padding(plan: PaddedDocuments, epoch: int):
    for batch in replace(plan, masked=True).batches(epoch):
        before_padding = (batch.targets != PAD).sum(axis=1)
        lengths = batch.lengths()
        if lengths is None:
            assert (before_padding == batch.targets.shape[1]).all()
        else:
            assert lengths.dtype == np.int32
            assert lengths.tolist() == before_padding.tolist()
            assert (before_padding < batch.targets.shape[1]).any()


def test_a_packed_row_that_ends_with_the_first_id_of_a_document_has_no_padding():
    batch = next(PackedDocuments(numbered([3, 3, 3]), 3, 1, shuffle=False).batches(0))
    assert (batch.inputs.tolist(), batch.targets.tolist()) == ([[0, 1, 2]], [[1, 2, 3]])
    assert batch.weights.tolist() == [[1, 1, 0]]
    assert batch.lengths() is None
    lengths = replace(batch, is_padded=True).lengths()
    assert lengths is not None
    assert lengths.tolist() == [2]


@given(documents, epochs)
def test_every_batch_of_padded_documents_may_reset_the_state(plan: PaddedDocuments, epoch: int):
    batches = list(replace(plan, resets_state=True).batches(epoch))
    assert len(batches) == plan.steps
    assert all(batch.resets_state for batch in batches)


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=40),
    st.sampled_from([np.uint8, np.uint16, np.int32]),
    st.integers(1, 30),
    st.data(),
)
def test_a_text_in_a_file_gives_the_same_batches_as_one_in_memory(lengths, dtype, large, data):
    text = numbered(lengths)
    text = EncodedText(text.ids.astype(dtype), text.offsets)
    wanted = np.array(data.draw(st.lists(st.integers(0, len(lengths) - 1))), np.intp)
    texts = np.split(text.ids, text.offsets[1:-1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(id_store, "LARGE", large)
        patch.setattr(encoded, "PIECE", data.draw(st.integers(1, 50)))
        mapped = text.select(wanted)
    plain = EncodedText.join([texts[document] for document in wanted])
    assert mapped.ids.dtype == dtype
    np.testing.assert_array_equal(mapped.ids, plain.ids)
    np.testing.assert_array_equal(mapped.offsets, plain.offsets)
    makers = [
        lambda text: Windows(text, 3, 2, seed=1),
        lambda text: Lanes(text, 3, 2),
        lambda text: PackedDocuments(text, 3, 2, seed=1),
        lambda text: PaddedDocuments(text, 2, pad_id=77, seed=1, bucket=True),
    ]
    for make in makers[: 4 if (plain.lengths() > 0).all() else 3]:
        batches = list(make(mapped).batches(1))
        assert all(batch.inputs.dtype == batch.targets.dtype == np.int32 for batch in batches)
        assert len(batches) == make(plain).steps
        assert all(map(same, batches, make(plain).batches(1)))


def test_dropping_the_remainder_does_not_always_drop_the_longest_documents():
    text = numbered([2, 3, 4, 5, 9])
    plan = PaddedDocuments(text, 2, pad_id=PAD, drop_remainder=True, bucket=True)
    longest = {max(int((b.targets != PAD).sum(axis=1).max()) + 1 for b in plan.batches(epoch)) for epoch in range(9)}
    assert longest == {5, 9}


@pytest.mark.parametrize(
    "make",
    [
        lambda seed: Windows(stream(400), 3, 4, seed=seed),
        lambda seed: PackedDocuments(numbered([3] * 81), 3, 1, seed=seed),
        lambda seed: PaddedDocuments(numbered([3] * 80), 4, pad_id=PAD, seed=seed),
        lambda seed: PaddedDocuments(numbered([3, 4] * 40), 4, pad_id=PAD, seed=seed, bucket=True),
    ],
)
def test_the_order_depends_only_on_seed_and_epoch(make):
    def order(seed: int, epoch: int) -> list[int]:
        return [int(start) for batch in make(seed).batches(epoch) for start in batch.inputs[:, 0]]

    assert order(1, 0) == order(1, 0)
    assert len({tuple(order(seed, epoch)) for seed in (1, 2) for epoch in (0, 1)}) == 4
    assert sorted(order(1, 0)) == sorted(order(2, 1))


def test_the_error_for_too_little_text_says_what_to_change():
    with pytest.raises(CorpusError, match="3 training examples, fewer than one batch"):
        Dataset(Windows(stream(33), 10, 4, drop_remainder=True)).check()
    Dataset(Windows(stream(33), 10, 4, drop_remainder=False)).check()
