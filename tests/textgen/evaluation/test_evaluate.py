import dataclasses
import json
import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import textgen
from textgen import api
from textgen.errors import CorpusError, OptionError
from textgen.evaluation import novelty, scoring
from textgen.evaluation.novelty import find_neighbours
from textgen.evaluation.plot import save_evaluation_plot
from textgen.evaluation.scoring import BINS, Reading, judge, mean_loss
from textgen.evaluation.statistics import compare_texts, jensen_shannon
from textgen.generation.runtime import Runtime
from textgen.model.state import State, StateSpec, TensorSpec
from textgen.plugins.registry import Registry
from textgen.text import encoding
from textgen.text.encoded import EncodedText, draw_documents, draw_folds

V = 5


class Table(Runtime):
    """Looks its logits up by the last id, and records its calls: the ids, and how many ids were read up to each.

    Args:
        table: ``[vocab, vocab]``, logits by the last id.
    """

    def __init__(self, table):
        self.table = np.asarray(table, np.float32)
        self.vocab_size = len(self.table)
        self.state_spec = StateSpec((TensorSpec("read", (), "int64"),))
        self.calls = []

    @classmethod
    def open(cls, artifact, make_model, device="auto"):
        raise NotImplementedError

    def forward(self, ids, state, lengths=None):
        read = state["read"][:, None] + np.arange(1, ids.shape[1] + 1)
        self.calls.append((ids, read))
        return self.table[ids], State({"read": read[:, -1]})


def judge_characters(runtime, reading, progress=lambda done, total: None):
    """Judge tokens that are characters."""
    return judge(runtime, reading, np.ones(runtime.vocab_size, np.int32), progress)


def uniform() -> Table:
    return Table(np.zeros((V, V)))


def counter() -> np.ndarray:
    """Ids that count up from 0 to V - 1 again and again."""
    return (np.arange(5000) % V).astype(np.int32)


READINGS = {
    "carried": Reading.carried(counter()),
    "carried at once": Reading.carried(counter(), rows=1),
    "windows": Reading.windows(counter(), 7),
    "documents": Reading.documents(EncodedText(counter(), np.array([0, 1, 9, 10, 4000, 5000]))),
}


@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)
def test_uniform_logits_cost_log_v(reading):
    score = judge_characters(uniform(), reading)
    assert score.nats == pytest.approx(math.log(V))
    assert score.bits == pytest.approx(math.log2(V))
    assert score.characters == reading.predictions == sum(b.predictions for b in score.bins)
    # Ties go to id 0; confidence is 1 / 5 everywhere.
    assert score.accuracy == pytest.approx(1 / V, abs=0.01)
    assert score.calibration_error == pytest.approx(abs(score.accuracy - 1 / V))


@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)
def test_a_perfect_model_has_no_loss(reading):
    score = judge_characters(Table(1000 * np.roll(np.eye(V), 1, axis=1)), reading)
    assert (score.nats, score.accuracy, score.calibration_error) == (0, 1, 0)
    assert [b.predictions for b in score.bins] == [0] * (BINS - 1) + [reading.predictions]


def test_calibration_is_computed_by_the_formula():
    generator = np.random.default_rng(0)
    ids = generator.integers(0, V, 900).astype(np.int32)
    table = generator.normal(0, 2, (V, V)).astype(np.float32)
    score = judge_characters(Table(table), Reading.carried(ids))
    exponentials = np.exp(table.astype(np.float64)[ids[:-1]])
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    right = probabilities.argmax(axis=1) == ids[1:]
    confidence = probabilities.max(axis=1)
    expected = 0.0
    for m in range(1, BINS + 1):  # Guo et al. (2017), equations 1 to 3
        inside = ((m - 1) / BINS < confidence) & (confidence <= m / BINS)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
            assert score.bins[m - 1].accuracy == pytest.approx(right[inside].mean())
        assert score.bins[m - 1].predictions == inside.sum()
    assert score.calibration_error == pytest.approx(expected)
    assert score.nats == pytest.approx(-np.log(probabilities[np.arange(899), ids[1:]]).mean())
    assert score.accuracy == pytest.approx(right.mean())


def test_tokens_are_judged_by_the_characters_that_they_stand_for():
    score = judge(uniform(), Reading.carried(counter()), np.array([0, 1, 2, 3, 4], np.int32))
    assert (score.tokens, score.characters) == (4999, 10_000)
    assert score.nats_per_token == pytest.approx(math.log(V))
    assert score.nats == pytest.approx(math.log(V) * 4999 / 10_000)
    assert score.bits == pytest.approx(score.nats / math.log(2))


def test_the_models_own_text_is_calibrated_and_overconfidence_is_not():
    generator = np.random.default_rng(1)
    probabilities = generator.dirichlet(np.ones(V), V)
    ids = [0]
    for uniform_ in generator.random(20_000):
        ids.append(min(int(np.searchsorted(np.cumsum(probabilities[ids[-1]]), uniform_)), V - 1))
    text = np.array(ids, np.int32)
    honest = judge_characters(Table(np.log(probabilities)), Reading.carried(text))
    assert honest.calibration_error < 0.02
    overconfident = judge_characters(Table(4 * np.log(probabilities)), Reading.carried(text))
    assert overconfident.accuracy == honest.accuracy
    assert overconfident.calibration_error > 0.15


@given(st.integers(2, 400), st.integers(1, 9), st.integers(1, 60))
def test_lanes_judge_every_character_once_after_enough_context(count, rows, warm_up):
    reading = Reading.carried(np.zeros(count, np.int32), rows=rows, warm_up=warm_up)
    judged = [
        (place, place - start)
        for start, length, skip in zip(reading.starts, reading.lengths, reading.skips, strict=True)
        for place in range(start + skip, start + length)
    ]
    assert sorted(place for place, _ in judged) == list(range(count - 1))
    assert all(context == place or context >= warm_up for place, context in judged)
    assert reading.lengths.sum() <= 2 * count + warm_up
    assert len(reading.starts) <= rows


@given(st.integers(2, 400), st.integers(1, 500))
def test_windows_judge_every_character_once(count, length):
    reading = Reading.windows(np.zeros(count, np.int32), length)
    judged = [p for s, n in zip(reading.starts, reading.lengths, strict=True) for p in range(s, s + n)]
    assert judged == list(range(count - 1))
    assert reading.lengths.max() <= length


def test_lanes_agree_with_one_pass_if_the_model_forgets(work):
    runtime = api.load(work.train("run", stream=True).path).runtime  # looks back two characters
    ids = np.random.default_rng(2).integers(0, runtime.vocab_size, 4000).astype(np.int32)
    at_once, lanes = Reading.carried(ids, rows=1), Reading.carried(ids, warm_up=100)
    assert (len(at_once.starts), len(lanes.starts)) == (1, 38)
    expected, found = judge_characters(runtime, at_once), judge_characters(runtime, lanes)
    assert found.nats == pytest.approx(expected.nats, rel=1e-12)
    assert (found.characters, found.accuracy) == (3999, expected.accuracy)
    assert expected.characters == 3999
    assert judge_characters(runtime, Reading.windows(ids, 2)).nats != pytest.approx(expected.nats, rel=1e-3)


def test_work_is_done_in_portions_and_reported(monkeypatch):
    monkeypatch.setattr(scoring, "LOGITS", scoring.ROWS * V * 10)
    reports = []
    runtime = uniform()
    documents = EncodedText.join([np.zeros(n, np.int32) for n in range(2, 200)])
    judge_characters(runtime, Reading.documents(documents), lambda done, total: reports.append((done, total)))
    assert max(ids.size for ids, _ in runtime.calls) <= scoring.ROWS * 10
    assert reports == sorted(reports)
    assert reports[-1] == (sum(range(1, 199)),) * 2


def test_the_loss_of_batches_is_the_one_that_training_reports(work):
    artifact = work.train("run", epochs=1)
    dataset = work.plan(epochs=1).dataset
    ones = np.ones(artifact.manifest.vocab_size, np.int32)
    loss = mean_loss(api.load(artifact.path).runtime, [*dataset.held_out.batches(0)], ones, carries_state=False)
    assert loss == pytest.approx(artifact.manifest.metrics["held_out_loss"])


# --- texts

counts = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 50), min_size=1)


def entropy(p: list[float]) -> float:
    return -sum(x * math.log2(x) for x in p if x)


@given(counts, counts)
def test_divergence_is_that_of_the_entropies(a, b):
    p, q = ([c.get(key, 0) / sum(c.values()) for key in "abcdef"] for c in (a, b))
    both = [(x + y) / 2 for x, y in zip(p, q, strict=True)]
    expected = entropy(both) - (entropy(p) + entropy(q)) / 2
    assert jensen_shannon(a, b) == pytest.approx(expected, abs=1e-12)
    assert 0 <= jensen_shannon(a, b) <= 1
    assert jensen_shannon(a, b) == pytest.approx(jensen_shannon(b, a), abs=1e-15)


def test_divergence_of_equal_disjoint_and_empty_distributions():
    assert jensen_shannon({"a": 1, "b": 3}, {"a": 2, "b": 6}) == pytest.approx(0, abs=1e-15)
    assert jensen_shannon({"a": 1}, {"b": 5, "c": 2}) == 1
    assert jensen_shannon({}, {"a": 1}) == 1
    assert jensen_shannon({}, {}) == 0


def levenshtein(a: str, b: str) -> int:
    """Wagner and Fischer's table."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


words = st.text("abcü\U0001f996", min_size=1, max_size=8)


@given(st.lists(words, min_size=1, max_size=12), st.lists(words, min_size=1, max_size=12))
def test_the_nearest_neighbour_is_the_one_of_least_distance(texts, known):
    found = find_neighbours(texts, known)
    distances = [[levenshtein(text, other) / max(len(text), len(other)) for other in known] for text in texts]
    least = [min(row) for row in distances]
    assert found.texts == len(texts)
    assert found.mean == pytest.approx(np.mean(least), abs=1e-6)
    assert found.median == pytest.approx(np.median(least), abs=1e-6)
    assert [example.distance for example in found.examples] == sorted(example.distance for example in found.examples)
    for example in found.examples:
        expected = min(levenshtein(example.text, other) / max(len(example.text), len(other)) for other in known)
        assert example.distance == pytest.approx(expected, abs=1e-6)
        own = levenshtein(example.text, example.nearest) / max(len(example.text), len(example.nearest))
        assert own == pytest.approx(expected, abs=1e-6)
    assert found.examples[0].distance == pytest.approx(min(least), abs=1e-6)
    assert found.examples[-1].distance == pytest.approx(max(least), abs=1e-6)


def test_distances_are_computed_in_portions_and_long_work_is_limited_to_the_first_texts(monkeypatch):
    letters = random.Random(0)
    texts, known = (["".join(letters.choices("abcd", k=6)) for _ in range(90)] for _ in range(2))
    whole = find_neighbours(texts, known)
    monkeypatch.setattr(novelty, "DISTANCES", 7 * len(known))
    assert find_neighbours(texts, known) == whole
    monkeypatch.setattr(novelty, "COMPARISONS", 10 * 6 * 6 * len(known))
    assert find_neighbours(texts, known) == find_neighbours(texts[:10], known)
    assert find_neighbours(texts, known).texts == 10


def test_texts_are_described_beside_known_ones():
    found = compare_texts(["ada", "ada", "bo", "eve"], ["ada", "bob"])
    assert (found.texts, found.novelty, found.uniqueness) == (4, 0.5, 0.75)
    assert found.lengths == {2: 1, 3: 3}
    assert found.length_divergence == pytest.approx(jensen_shannon({2: 1, 3: 3}, {3: 2}))
    bigrams = {"ad": 2, "da": 2, "bo": 1, "ev": 1, "ve": 1}
    assert found.bigram_divergence == pytest.approx(jensen_shannon(bigrams, {"ad": 1, "da": 1, "bo": 1, "ob": 1}))
    same = compare_texts(["ada", "bob"], ["ada", "bob"])
    assert (same.novelty, same.length_divergence, same.bigram_divergence, same.neighbours.mean) == (0, 0, 0, 0)


# --- runs


def test_documents_are_judged_as_in_training(work):
    artifact = work.train("run")
    evaluation = api.load(artifact.path).evaluate(num=50)
    assert evaluation.held_out.nats == pytest.approx(artifact.manifest.metrics["held_out_loss"])
    assert evaluation.documents == 6
    assert evaluation.context == "each document from the initial state"
    assert (evaluation.runtime, evaluation.device, evaluation.corpus) == ("counting", "cpu", "file")
    assert evaluation.same_text
    json.dumps(dataclasses.asdict(evaluation))


def test_the_held_out_documents_are_those_of_the_run(work):
    artifact = work.train("run", held_out=0.3, seed=7)
    written = api.load(artifact.path).evaluate(num=5).written
    drawn = draw_documents(60, 0.3, 7)
    held_out = [work.words[number] for number in drawn]
    training = [word for number, word in enumerate(work.words) if number not in drawn]
    assert (len(held_out), len(training)) == (18, 42)
    assert written is not None
    assert written.held_out == compare_texts(held_out[:5], training)
    assert sum(written.training_lengths.values()) == 42


def test_texts_are_those_of_the_seed_in_any_portions(work, monkeypatch):
    generator = api.load(work.train("run", {"generation": {"prompt": "ab"}}).path)
    written = generator.evaluate(num=70, seed=3, temperature=0.5).written
    texts = generator.generate("", num=70, seed=3, temperature=0.5)
    assert written is not None
    assert written.sampler == "temperature(0.5) | multinomial"
    training = [word for number, word in enumerate(work.words) if number not in draw_documents(60, 0.1, 0)]
    assert written.texts == compare_texts(texts, training)
    monkeypatch.setattr("textgen.evaluation.samples.TEXTS_AT_ONCE", 16)
    assert generator.evaluate(num=70, seed=3, temperature=0.5).written == written
    assert generator.evaluate(num=70, seed=4, temperature=0.5).written != written


def test_texts_that_were_cut_do_not_count_as_ended(work):
    generator = api.load(work.train("run", {"generation": {"length": 1}}).path)
    written = generator.evaluate(num=200).written
    ends = [g.finish_reason == "eos" for g in generator.sample(generator.request("", num=200, seed=0))]
    assert written is not None
    assert 0 < written.ended == np.mean(ends) < 1
    assert (written.length, max(written.texts.lengths)) == (1, 2)


def test_a_stream_is_judged_with_and_without_carried_state(work):
    artifact = work.train("run", stream=True)
    generator = api.load(artifact.path)
    carried, windows = generator.evaluate(), generator.evaluate(context=1)
    assert carried.held_out.characters == windows.held_out.characters == 99  # the last tenth of 1,000, but its first
    assert carried.context == "state carried through the whole text"
    assert windows.context == "state not carried: windows of 1 token, each from the initial state"
    assert carried.held_out.nats != windows.held_out.nats
    assert carried.documents is None
    assert carried.written is None
    ids = generator.tokenizer.encode(work.stream.read_text()[-100:])
    logits, _ = generator.runtime.forward(ids[None, :-1], generator.runtime.initial_state(1))
    assert carried.held_out.nats == pytest.approx(-logits[0, np.arange(99), ids[1:]].mean())


def test_a_changed_corpus_is_reported(work):
    artifact = work.train("run", {"tokenizer": {"name": "char-index"}})
    work.lines.write_text("\n".join([*work.words, "dada"]), encoding="utf-8")
    assert not api.load(artifact.path).evaluate(num=5).same_text
    work.lines.write_text("\n".join([*work.words, "xyz"]), encoding="utf-8")
    with pytest.raises(CorpusError, match=r"has changed: 'x' is not in the run's vocabulary"):
        api.load(artifact.path).evaluate()
    work.lines.write_text("a", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"is too short to judge by; the corpus has changed"):
        api.load(artifact.path).evaluate()
    work.lines.unlink()
    with pytest.raises(CorpusError, match=r"words\.txt"):
        api.load(artifact.path).evaluate()


def test_evaluations_that_are_impossible_are_errors_of_one_line(work):
    documents, stream = api.load(work.train("documents").path), api.load(work.train("stream", stream=True).path)
    for generator, options, message in (
        (api.load(work.train("all", held_out=0).path), {}, "held out no text to judge by"),
        (documents, {"num": 0}, "num must be a whole number from 1 to 1,000,000, not 0"),
        (documents, {"context": 10}, "a context is for streams"),
        (documents, {"sampler": "greedy", "temperature": 1}, "exclude each other"),
        (stream, {"context": 0}, "context must be a whole number from 1 to 1,000,000,000, not 0"),
        (stream, {"num": 0}, "num must be a whole number from 1 to 1,000,000, not 0"),
        (stream, {"curve": 0.4}, "curve must be True or False, not 0.4"),
    ):
        with pytest.raises(OptionError, match=message) as raised:
            generator.evaluate(**options)
        assert "\n" not in str(raised.value)


class Counted:
    """Counts the readings of a corpus, and the documents of a reading that are alive at the same time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, registry: Registry) -> None:
        self.readings = self.alive = self.most = 0
        corpus, counted = registry.get("corpus", "file"), self

        class Document(str):
            def __del__(self):
                counted.alive -= 1

        def documents(self):
            counted.readings += 1
            for text in read(self):
                counted.alive += 1
                counted.most = max(counted.most, counted.alive)
                yield Document(text)

        read = corpus.documents
        monkeypatch.setattr(corpus, "documents", documents)


def test_an_evaluation_holds_some_documents_at_a_time(work, monkeypatch):
    generator = api.load(work.train("run").path)
    whole = generator.evaluate(num=3)
    counted = Counted(monkeypatch, work.registry)
    monkeypatch.setattr(encoding, "PIECE", 5)  # characters, of some 300
    assert generator.evaluate(num=3) == whole
    assert counted.readings > 1
    assert counted.most < 20
    assert len(work.words) == 60


def test_folds_read_the_corpus_once(work, monkeypatch):
    artifact = work.train("run", held_out=0, epochs=1)
    counted = Counted(monkeypatch, work.registry)
    textgen.cross_validate(artifact.path, folds=5)
    assert counted.readings == 3, "once for duplicates, once for the vocabulary, and once for the ids"


def test_a_run_that_recorded_options_of_other_models_is_evaluated_and_cross_validated(work, capsys):
    artifact = work.train("run", epochs=1)
    expected = api.load(artifact.path).evaluate(num=3)
    artifact.manifest.settings["training"] |= {"learning_rate": 0.002, "average": 0.99, "callbacks": []}
    artifact.commit()
    assert api.load(artifact.path).evaluate(num=3) == expected
    textgen.cross_validate(artifact.path, folds=2)
    notice = "sets training options that the model 'counting' does not use: learning_rate, average, callbacks"
    assert capsys.readouterr().err == f"textgen: {artifact.path} {notice}\n"


@given(st.integers(2, 60), st.integers(2, 60), st.integers(0, 5))
def test_folds_are_disjoint_cover_all_and_are_even(count, folds, seed):
    drawn = draw_folds(count, folds, seed)
    assert len(drawn) == folds
    assert sorted(np.concatenate(drawn).tolist()) == list(range(count))
    assert max(map(len, drawn)) - min(map(len, drawn)) <= 1
    np.testing.assert_array_equal(drawn[0], draw_documents(count, len(drawn[0]) / count, seed))


def test_each_fold_is_scored_by_a_model_trained_on_the_others(work, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    artifact = work.train("run", held_out=0, epochs=1)
    files = {path: path.read_bytes() for path in artifact.path.rglob("*") if path.is_file()}
    reports = []
    validation = textgen.cross_validate(artifact.path, folds=4, progress=lambda *report: reports.append(report))
    nats = []
    tokenizer = api.load(artifact.path).tokenizer
    end = [tokenizer.eos_id]
    for fold in draw_folds(60, 4, 0):
        counts = np.zeros((V + 2, V + 1, V + 1))  # by hand: (n(abc) + 1) / (n(ab) + V); a is 0 before the first id
        loss = []
        for held_out in (False, True):
            for number, word in enumerate(work.words):
                if (number in fold) == held_out:
                    ids = [*tokenizer.encode(word), *end]
                    for before, at, after in zip([0, *(i + 1 for i in ids)], ids, ids[1:], strict=False):
                        row = counts[before, at, : tokenizer.vocab_size] + 1
                        if held_out:
                            loss.append(-math.log(row[after] / row.sum()))
                        else:
                            counts[before, at, after] += 1
        nats.append(np.mean(loss))
    assert [fold.nats for fold in validation.folds] == pytest.approx(nats, rel=1e-5)
    assert validation.nats == pytest.approx(np.mean(nats), rel=1e-5)
    assert validation.nats_deviation == pytest.approx(np.std(nats, ddof=1), rel=1e-4)
    assert validation.bits == pytest.approx(validation.nats / math.log(2))
    assert {what for what, _, _ in reports} == {f"fold {n} of 4, batches" for n in range(1, 5)}
    assert all(done <= total for _, done, total in reports)
    assert list((tmp_path / "scratch").iterdir()) == []
    assert files == {path: path.read_bytes() for path in artifact.path.rglob("*") if path.is_file()}


def test_folds_that_are_impossible_are_errors(work):
    documents, stream = work.train("documents"), work.train("stream", stream=True)
    for artifact, folds, message in (
        (documents, 1, "folds must be a whole number from 2 to 1,000,000, not 1"),
        (documents, 61, r"folds must be between 2 and 60 \(the number of documents\), not 61"),
        (stream, 5, "folds are made of documents; this run was trained on a stream"),
    ):
        with pytest.raises(OptionError, match=message):
            textgen.cross_validate(artifact.path, folds=folds)


def test_the_plot_is_an_image(work, tmp_path):
    pytest.importorskip("matplotlib")
    for name, options in (("documents", {}), ("stream", {"stream": True})):
        generator = api.load(work.train(name, **options).path)
        widths = []
        for curve in (False, True):
            plot = tmp_path / "plots" / f"{name}-{curve}.png"
            save_evaluation_plot(generator.evaluate(num=20, curve=curve), plot)
            image = plot.read_bytes()
            assert image.startswith(b"\x89PNG\r\n\x1a\n")
            widths.append(int.from_bytes(image[16:20], "big"))
        parts = 1 if options else 2
        assert widths[1] * parts == widths[0] * (parts + 1)
    assert len(list((tmp_path / "plots").iterdir())) == 4
